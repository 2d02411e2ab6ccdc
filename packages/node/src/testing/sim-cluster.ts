/**
 * Whole nodes in one process on virtual time: real driver, real WAL code, real applier and lanes
 * (inline), real codec; only clock, chance, file system, WAL host, lane host and transports are
 * replaced. A disk is a MemoryFileSystem, so power cuts lose what was not synced.
 */
import type { ClusterId, Incarnation, LogFields } from '@holdfast/base';
import {
  clusterId,
  DEFAULT_GROUP_ID,
  deriveSeed,
  incarnation,
  must,
  nodeId,
  SeededRandom,
} from '@holdfast/base';
import type { Request, ResultBody } from '@holdfast/protocol';
import type { NodeIdentity, WalOptions } from '@holdfast/storage';
import { DATA_FORMAT_VERSION } from '@holdfast/storage';
import type { AssembleOptions, BackupPlace } from '../assemble.ts';
import type { BackupStores } from '../backup/node-backup-options.ts';
import { SimClientNetwork } from './sim-client-network.ts';
import { SimNode } from './sim-node.ts';
import { SimScheduler } from './sim-scheduler.ts';
import { SimStore } from './sim-store.ts';
import { FAIR_WEATHER, SimNetwork } from './sim-transport.ts';

export type { SimNode } from './sim-node.ts';

export interface SimClusterOptions {
  readonly nodeCount: number;
  readonly seed: number;
  /** One for all nodes, or one for each. */
  readonly laneCount?: number | readonly number[];
  /** How long things take at most, in whole virtual ms, by chance. Default 0: the next turn. */
  readonly latency?: {
    readonly networkMsMax?: number;
    readonly diskMsMax?: number;
    readonly laneMsMax?: number;
  };
  /** Share of peer messages that get lost. Default 0. */
  readonly lossRate?: number;
  /** How much faster than the world's the clock of each node runs, in ppm. Default 0. */
  readonly driftPpm?: readonly number[];
  /** Nodes listen for client libraries, in `clientNetwork`. Default false. */
  readonly hasClientPorts?: boolean;
  readonly wal?: Partial<WalOptions>;
  /** All nodes archive and back up into one store. Default: there is none. */
  readonly backup?: SimBackupOptions;
  /** Instead of `backup`: stores of the caller, which take no time. */
  readonly backupPlace?: BackupPlace;
  readonly settings?: Partial<
    Pick<
      AssembleOptions,
      | 'checkpointIntervalMs'
      | 'checkpointLogSizeBytes'
      | 'checkpointGenerationCount'
      | 'retainedEntryCount'
      | 'sessionIdleTimeoutMs'
      | 'dropRetentionMs'
      | 'digestVerifyIntervalMs'
      | 'limits'
      | 'heal'
    >
  >;
}

export interface SimBackupOptions
  extends Pick<BackupStores, 'archive' | 'retention' | 'schedules'> {
  /** Of each way to the store and back. */
  readonly delayMsMax: number;
}

/** Sees everything that happens to the nodes; changes nothing. */
export interface ClusterObserver {
  /** The node's replica exists and is about to start. */
  onRunning?(node: SimNode): void;
  /** A callback ran in the node's process. */
  onStep?(node: SimNode): void;
  onLog?(node: SimNode, fields: LogFields, message: string): void;
  /** The node is about to be killed, or to lose its power. */
  onHalt?(node: SimNode, isPowerCut: boolean): void;
  /** The node is about to run on after a pause. */
  onResume?(node: SimNode): void;
}

export class SimCluster {
  readonly options: SimClusterOptions;
  readonly scheduler = new SimScheduler();
  readonly network: SimNetwork;
  readonly clientNetwork: SimClientNetwork;
  /** Null without `backup`. */
  readonly store: SimStore | null;
  readonly #nodes: SimNode[];
  readonly #clusterId: ClusterId;
  readonly #identityRandom: SeededRandom;
  observer: ClusterObserver | null = null;

  constructor(options: SimClusterOptions) {
    this.options = options;
    const networkRandom = new SeededRandom(deriveSeed(options.seed, 'network'));
    this.network = new SimNetwork({
      scheduler: this.scheduler,
      random: networkRandom,
      weather: {
        ...FAIR_WEATHER,
        delayMsMax: options.latency?.networkMsMax ?? 0,
        lossRate: options.lossRate ?? 0,
      },
    });
    const clientRandom = new SeededRandom(deriveSeed(options.seed, 'client network'));
    this.clientNetwork = new SimClientNetwork(this.scheduler, clientRandom);
    this.store = this.#makeStore();
    const random = new SeededRandom(deriveSeed(options.seed, 'identities'));
    const members = Array.from({ length: options.nodeCount }, (_, i) => ({
      nodeId: nodeId(`n${i + 1}`),
      incarnation: randomIncarnation(random),
      address: `n${i + 1}:2`,
      clientAddress: `n${i + 1}:1`,
    }));
    this.#identityRandom = random;
    this.#clusterId = clusterId(randomIncarnation(random));
    this.#nodes = members.map(
      (member) =>
        new SimNode(this, member.nodeId, {
          clusterId: this.#clusterId,
          nodeId: member.nodeId,
          incarnation: member.incarnation,
          formatVersion: DATA_FORMAT_VERSION,
          group: DEFAULT_GROUP_ID,
          epoch: 1,
          firstConfiguration: members,
        }),
    );
  }

  get clusterId(): ClusterId {
    return this.#clusterId;
  }

  get nodes(): readonly SimNode[] {
    return this.#nodes;
  }

  /** A machine with an empty disk that is formatted to join; not started. */
  addJoining(name: string): SimNode {
    const node = new SimNode(this, nodeId(name), this.#joiningIdentity(name));
    this.#nodes.push(node);
    return node;
  }

  /** The machine lost its disk: it comes back as another life of its node, which has to join. */
  wipe(node: SimNode): void {
    node.format(this.#joiningIdentity(node.id));
  }

  /** The newest epoch of any disk: a node that joins learns it from whom it asks. */
  get #epoch(): number {
    return Math.max(1, ...this.#nodes.map((node) => node.epoch));
  }

  #joiningIdentity(name: string): NodeIdentity {
    return {
      clusterId: this.#clusterId,
      epoch: this.#epoch,
      nodeId: nodeId(name),
      incarnation: randomIncarnation(this.#identityRandom),
      formatVersion: DATA_FORMAT_VERSION,
      group: DEFAULT_GROUP_ID,
      firstConfiguration: [],
    };
  }

  async start(): Promise<void> {
    for (const node of this.nodes) await node.start();
  }

  node(position: number): SimNode {
    return must(this.nodes[position], 'no such node');
  }

  /** A running leader that may propose, once there is one. */
  async leader(limitMs = 20_000): Promise<SimNode> {
    await this.scheduler.until(() => this.#readyLeader() !== undefined, limitMs);
    return must(this.#readyLeader());
  }

  /** Executes on `node`, moving virtual time until the answer is there. */
  execute(node: SimNode, request: Request, timeoutMs = 5_000): Promise<ResultBody> {
    const deadlineMs = this.scheduler.clock.monotonicMs() + timeoutMs;
    return this.scheduler.resolve(node.node.service.execute(request, { deadlineMs }));
  }

  /** Waits until every running node has applied the same index, then returns their digests. */
  async digests(limitMs = 20_000): Promise<readonly { digest: string; appliedIndex: number }[]> {
    for (;;) {
      const digests = await this.#digestsNow(limitMs);
      // A new leader's first entry may come between two of them.
      if (new Set(digests.map(({ appliedIndex }) => appliedIndex)).size <= 1) return digests;
    }
  }

  async #digestsNow(limitMs: number) {
    const running = this.nodes.filter((node) => node.isRunning);
    await this.scheduler.until(() => {
      const indexes = running.map((node) => node.node.replica.applier.appliedIndex);
      const commits = running.map((node) => node.node.replica.raftStatus().commit);
      return new Set([...indexes, ...commits]).size === 1;
    }, limitMs);
    const digests = [];
    for (const node of running) {
      digests.push(await this.scheduler.resolve(node.node.service.stateDigest()));
    }
    return digests;
  }

  #makeStore(): SimStore | null {
    const { backup, seed } = this.options;
    if (backup === undefined) return null;
    const random = new SeededRandom(deriveSeed(seed, 'store'));
    return new SimStore({ scheduler: this.scheduler, random, delayMsMax: backup.delayMsMax });
  }

  #readyLeader(): SimNode | undefined {
    return this.nodes.find((node) => {
      if (!node.isRunning) return false;
      const { replica } = node.node;
      const { role, term } = replica.soft;
      if (role !== 'leader') return false;
      return this.nodes.every((other) => !other.isRunning || other.node.replica.soft.term <= term);
    });
  }
}

function randomIncarnation(random: SeededRandom): Incarnation {
  const words = Array.from({ length: 4 }, () => random.nextU32().toString(16).padStart(8, '0'));
  return incarnation(words.join(''));
}

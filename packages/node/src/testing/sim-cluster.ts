/**
 * Whole nodes in one process on virtual time: real driver, real WAL code, real applier and lanes
 * (inline), real codec; only clock, chance, file system, WAL host, lane host and transport are
 * replaced. A disk is a MemoryFileSystem, so power cuts lose what was not synced.
 */
import type { HoldfastError, Incarnation, NodeId } from '@holdfast/base';
import {
  clusterId,
  DEFAULT_GROUP_ID,
  deriveSeed,
  incarnation,
  must,
  nodeId,
  SeededRandom,
  SILENT_LOGGER,
  toHoldfastError,
} from '@holdfast/base';
import type { Request, ResultBody } from '@holdfast/protocol';
import { InlineHost } from '@holdfast/shard-worker';
import type { NodeIdentity, WalOptions } from '@holdfast/storage';
import {
  createEntryHasher,
  DATA_FORMAT_VERSION,
  InlineWal,
  joinPath,
  readIdentity,
  removeTemporaryFiles,
  writeIdentity,
} from '@holdfast/storage';
import type { CrashOptions } from '@holdfast/storage/testing';
import { CrashSignal, MemoryFileSystem } from '@holdfast/storage/testing';
import type { AssembledNode, AssembleOptions } from '../assemble.ts';
import { assembleNode } from '../assemble.ts';
import type { Defer } from '../replica/driver.ts';
import { SimScheduler } from './sim-scheduler.ts';
import type { SimTransport } from './sim-transport.ts';
import { SimNetwork } from './sim-transport.ts';

const DATA_DIRECTORY = '/data';

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
  readonly wal?: Partial<WalOptions>;
  readonly settings?: Partial<
    Pick<
      AssembleOptions,
      | 'checkpointIntervalMs'
      | 'checkpointLogSizeBytes'
      | 'retainedEntryCount'
      | 'sessionIdleTimeoutMs'
    >
  >;
}

interface RunningSimNode {
  readonly assembled: AssembledNode;
  readonly wal: InlineWal;
  readonly host: InlineHost;
  readonly transport: SimTransport;
}

export class SimNode {
  readonly id: NodeId;
  readonly fileSystem = new MemoryFileSystem();
  readonly #cluster: SimCluster;
  #running: RunningSimNode | null = null;
  #failure: HoldfastError | null = null;
  #bootCount = 0;

  constructor(cluster: SimCluster, id: NodeId, identity: NodeIdentity) {
    this.#cluster = cluster;
    this.id = id;
    this.fileSystem.makeDirectory(DATA_DIRECTORY);
    writeIdentity(this.fileSystem, DATA_DIRECTORY, identity);
  }

  get isRunning(): boolean {
    return this.#running !== null && this.#failure === null;
  }

  /** Why the node stopped by itself. */
  get failure(): HoldfastError | null {
    return this.#failure;
  }

  get node(): AssembledNode {
    return must(this.#running, `${this.id} is not running`).assembled;
  }

  /** Counts starts and ends: callbacks and answers of an earlier boot mean nothing any more. */
  get boot(): number {
    return this.#bootCount;
  }

  /** Snapshots that peers sent to this boot of the node. */
  get snapshotsInstalled(): number {
    return this.#running?.transport.stats().snapshotsReceived ?? 0;
  }

  get walStats() {
    return must(this.#running, `${this.id} is not running`).wal.stats();
  }

  async start(): Promise<void> {
    const { scheduler, network, options } = this.#cluster;
    this.#bootCount += 1;
    this.#failure = null;
    removeTemporaryFiles(this.fileSystem, DATA_DIRECTORY);
    const identity = readIdentity(this.fileSystem, DATA_DIRECTORY);
    const defer = this.#guardedDefer();
    const wal = InlineWal.open({
      fileSystem: this.fileSystem,
      directory: joinPath(DATA_DIRECTORY, 'wal'),
      options: { fileSizeBytes: 256 * 1024, ...options.wal },
      schedule: this.#delayed(defer, 'disk', options.latency?.diskMsMax ?? 0),
    });
    const host = new InlineHost({
      fs: this.fileSystem,
      dataDirectory: DATA_DIRECTORY,
      laneCount: this.#laneCount(),
      graphFactory: null,
      schedule: this.#delayed(queueMicrotask, 'lanes', options.latency?.laneMsMax ?? 0),
    });
    const transport = network.attach(this.id);
    const seed = deriveSeed(options.seed, `${this.id}/${this.#bootCount}`);
    const assembled = await scheduler.resolve(
      assembleNode(
        {
          identity,
          dataDirectory: DATA_DIRECTORY,
          tickIntervalMs: 20,
          heartbeatIntervalMs: 100,
          electionTimeoutMs: 600,
          checkpointIntervalMs: 1_000_000,
          checkpointLogSizeBytes: 1 << 30,
          retainedEntryCount: 10_000,
          sessionIdleTimeoutMs: 3_600_000,
          publicAddress: () => `${this.id}:1`,
          ...options.settings,
        },
        {
          fileSystem: this.fileSystem,
          wal,
          host,
          transport,
          clock: scheduler.clock,
          timers: scheduler.clock,
          defer,
          random: new SeededRandom(seed),
          hash: createEntryHasher(),
          logger: SILENT_LOGGER,
          onFailure: (error) => {
            this.#failure ??= error;
          },
        },
      ),
    );
    this.#running = { assembled, wal, host, transport };
    assembled.replica.start();
  }

  /** kill -9: the process is gone at once; the page cache stays. */
  kill(): void {
    this.#halt();
    this.fileSystem.crashProcess();
  }

  /** Power cut: what was not synced is lost or torn, by seed. */
  cutPower(options: CrashOptions): void {
    this.#halt();
    this.fileSystem.crash(options);
  }

  #laneCount(): number {
    const { options, nodes } = this.#cluster;
    if (options.laneCount === undefined || typeof options.laneCount === 'number') {
      return options.laneCount ?? 2;
    }
    return must(options.laneCount[nodes.indexOf(this)], 'a lane count for each node');
  }

  #delayed(defer: Defer, name: string, delayMsMax: number): Defer {
    if (delayMsMax === 0) return defer;
    const { options, scheduler } = this.#cluster;
    const seed = deriveSeed(options.seed, `${this.id}/${this.#bootCount}/${name}`);
    const line = scheduler.delayLine(new SeededRandom(seed), delayMsMax);
    const boot = this.#bootCount;
    return (callback) =>
      line(() => {
        // Of a dead process nothing is left.
        if (boot === this.#bootCount) defer(callback);
      });
  }

  /** Callbacks of this boot: a CrashSignal from the disk stops the node, as a power cut would. */
  #guardedDefer(): Defer {
    const boot = this.#bootCount;
    return (callback) => {
      this.#cluster.scheduler.defer(() => {
        if (boot !== this.#bootCount || this.#failure !== null) return;
        try {
          callback();
        } catch (error) {
          if (!(error instanceof CrashSignal)) throw error;
          this.#failure = toHoldfastError(error);
        }
      });
    };
  }

  #halt(): void {
    this.#bootCount += 1;
    const running = this.#running;
    this.#running = null;
    if (running === null) return;
    this.#cluster.network.detach(this.id);
    // Only stops loops of the dead object; nothing it does reaches disk or network any more.
    running.assembled.replica.stop().catch(() => undefined);
  }
}

export class SimCluster {
  readonly options: SimClusterOptions;
  readonly scheduler = new SimScheduler();
  readonly network: SimNetwork;
  readonly nodes: readonly SimNode[];

  constructor(options: SimClusterOptions) {
    this.options = options;
    const networkRandom = new SeededRandom(deriveSeed(options.seed, 'network'));
    this.network = new SimNetwork({
      makeLine: () => this.scheduler.delayLine(networkRandom, options.latency?.networkMsMax ?? 0),
      random: networkRandom,
      lossRate: options.lossRate ?? 0,
    });
    const random = new SeededRandom(deriveSeed(options.seed, 'identities'));
    const members = Array.from({ length: options.nodeCount }, (_, i) => ({
      nodeId: nodeId(`n${i + 1}`),
      incarnation: randomIncarnation(random),
      address: `n${i + 1}:2`,
      clientAddress: `n${i + 1}:1`,
    }));
    const cluster = clusterId(randomIncarnation(random));
    this.nodes = members.map(
      (member) =>
        new SimNode(this, member.nodeId, {
          clusterId: cluster,
          nodeId: member.nodeId,
          incarnation: member.incarnation,
          formatVersion: DATA_FORMAT_VERSION,
          group: DEFAULT_GROUP_ID,
          firstConfiguration: members,
        }),
    );
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

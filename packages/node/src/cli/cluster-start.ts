/**
 * `holdfast cluster start`: a cluster of processes on this machine. Forms it on first use, starts
 * the nodes, shows who leads, restarts what dies, stops everything in order at Ctrl-C.
 * On a terminal the table is redrawn in place; otherwise every event is one plain line.
 */
import { existsSync } from 'node:fs';
import { HoldfastError } from '@holdfast/base';
import { identityPath, joinPath, NodeFileSystem } from '@holdfast/storage';
import { initCluster } from '../cluster/init.ts';
import { fetchHealth, type HealthView, LeaderWatch } from '../cluster/leader-watch.ts';
import { type PlannedNode, planLocalCluster } from '../cluster/plan.ts';
import { renderTable } from '../cluster/table.ts';
import { CLUSTER_SECRET_FILE_NAME } from '../config/secrets.ts';
import {
  type LocalCluster,
  readClusterFile,
  runningProcess,
  writeClusterFile,
} from './cluster-file.ts';
import { type CliIo, EXIT_FAILED, ExitWith } from './io.ts';
import { NodeChild } from './node-child.ts';

export interface ClusterStartOptions {
  readonly directory: string;
  /** Undefined: as the cluster was formed, or three. */
  readonly nodeCount: number | undefined;
  readonly basePort: number;
  readonly isDetached: boolean;
  /** Passed on to every node. */
  readonly extraFlags: readonly string[];
}

const NODE_COUNT_DEFAULT = 3;
/** Often enough that a person sees an election as it happens. */
const WATCH_INTERVAL_MS = 250;
const HEALTH_TIMEOUT_MS = 1_000;
const MISSED_LOOK_COUNT_MAX = 4;

export async function startCluster(options: ClusterStartOptions, io: CliIo): Promise<void> {
  const cluster = formOrFind(options, io);
  refuseRunning(options.directory, cluster);
  await new ClusterRun(options, cluster, io).run();
}

/** The cluster of the directory; formed now when there is none. */
function formOrFind(options: ClusterStartOptions, io: CliIo): LocalCluster {
  const { directory, nodeCount, basePort } = options;
  const found = readClusterFile(directory);
  if (found !== null) {
    if (nodeCount !== undefined && nodeCount !== found.nodes.length) {
      const message =
        `${directory} holds a cluster of ${found.nodes.length} nodes, not ` +
        `${nodeCount}: leave --nodes out or choose another --directory`;
      throw new HoldfastError('CONFIG_INVALID', message);
    }
    io.out(`found cluster ${found.clusterId} in ${directory}\n`);
    return found;
  }
  const plan = { directory, nodeCount: nodeCount ?? NODE_COUNT_DEFAULT, basePort };
  const nodes = planLocalCluster(plan);
  const { clusterId } = initCluster(new NodeFileSystem(), nodes);
  const cluster = { clusterId, nodes };
  writeClusterFile(directory, cluster);
  io.out(`formed cluster ${clusterId} of ${nodes.length} nodes in ${directory}\n`);
  return cluster;
}

/** A node whose directory was emptied joins again, with the secret that the others still have. */
function flagsOf(
  node: PlannedNode,
  { nodes }: LocalCluster,
  { extraFlags }: ClusterStartOptions,
): readonly string[] {
  const fileSystem = new NodeFileSystem();
  if (fileSystem.exists(identityPath(node.dataDirectory))) return extraFlags;
  const others = nodes.filter((other) => other !== node);
  const secrets = others.map(({ dataDirectory }) =>
    joinPath(dataDirectory, CLUSTER_SECRET_FILE_NAME),
  );
  const secret = secrets.find((path) => fileSystem.exists(path));
  if (secret === undefined) return extraFlags;
  const addresses = others.map(({ peerAddress }) => peerAddress).join(',');
  return [...extraFlags, '--cluster-secret-file', secret, '--join', addresses];
}

function refuseRunning(directory: string, { nodes }: LocalCluster): void {
  for (const { nodeId, dataDirectory } of nodes) {
    const running = runningProcess(directory, nodeId);
    if (running === null) continue;
    const message =
      `node ${nodeId} of ${directory} runs already as process ${running.pid}: stop it ` +
      `with holdfast cluster stop --directory ${directory}`;
    throw new HoldfastError('DATA_DIR_LOCKED', message, { details: { directory: dataDirectory } });
  }
}

class ClusterRun {
  readonly #options: ClusterStartOptions;
  readonly #io: CliIo;
  readonly #children: readonly NodeChild[];
  readonly #watch = new LeaderWatch();
  readonly #views = new Map<string, HealthView>();
  readonly #missedCounts = new Map<string, number>();
  #giveUp: (reason: string) => void = () => {};
  #drawnLineCount = 0;
  #drawnText = '';
  #isOver = false;

  constructor(options: ClusterStartOptions, cluster: LocalCluster, io: CliIo) {
    this.#options = options;
    this.#io = io;
    this.#children = cluster.nodes.map(
      (node) =>
        new NodeChild(node, options.directory, flagsOf(node, cluster, options), {
          onExit: (child, how) => this.#say(`node ${child.node.nodeId} ended: ${how}`),
          onRestart: (child, delayMs, attempt) =>
            this.#say(
              `node ${child.node.nodeId} is started again in ${delayMs / 1_000} s (try ${attempt})`,
            ),
          onGivenUp: (child) => this.#onGivenUp(child),
        }),
    );
  }

  async run(): Promise<void> {
    const stopped = this.#io.untilStopped();
    const givenUp = new Promise<string>((resolve) => {
      this.#giveUp = resolve;
    });
    for (const child of this.#children) child.start();
    this.#showNodes();
    const watching = this.#watchLeadership();
    const ready = this.#options.isDetached ? watching.allUp : new Promise<never>(() => {});
    const end = await Promise.race([
      stopped.then((signal) => ({ kind: 'signal', signal }) as const),
      givenUp.then((reason) => ({ kind: 'failed', reason }) as const),
      ready.then(() => ({ kind: 'detached' }) as const),
    ]);
    this.#isOver = true;
    watching.stop();
    if (end.kind === 'detached') {
      for (const child of this.#children) child.release();
      this.#io.out(`the nodes run on; stop them with ${this.#stopCommand()}\n`);
      return;
    }
    this.#io.out(end.kind === 'signal' ? `\nstopping after ${end.signal}\n` : 'stopping\n');
    await this.#stopInOrder();
    if (end.kind === 'signal') return;
    this.#io.err(`${end.reason}\n`);
    throw new ExitWith(EXIT_FAILED);
  }

  /** Followers first: the leader goes last, so that there is one election at most. */
  async #stopInOrder(): Promise<void> {
    const leader = this.#watch.current?.nodeId;
    const followers = this.#children.filter((child) => child.node.nodeId !== leader);
    const leaders = this.#children.filter((child) => child.node.nodeId === leader);
    for (const child of [...followers, ...leaders]) {
      await child.stop();
      this.#io.out(`node ${child.node.nodeId} stopped\n`);
    }
  }

  #onGivenUp(child: NodeChild): void {
    const { nodeId } = child.node;
    const reason = existsSync(child.logPath) ? child.lastLogLine() : '';
    if (child.hasServed) {
      this.#say(`node ${nodeId} keeps ending and is left alone; see ${child.logPath}`);
      return;
    }
    this.#giveUp(`node ${nodeId} could not start; see ${child.logPath}\n${reason}`);
  }

  /** `allUp`: somebody leads and every node has answered; one that cannot start ends the run. */
  #watchLeadership(): { readonly allUp: Promise<void>; stop(): void } {
    let timer: NodeJS.Timeout | null = null;
    let onAllUp: () => void = () => {};
    const allUp = new Promise<void>((resolve) => {
      onAllUp = resolve;
    });
    const look = async (): Promise<void> => {
      await this.#observe();
      const isUp = this.#children.every(({ hasServed }) => hasServed);
      if (isUp && this.#watch.current !== null) onAllUp();
      if (!this.#isOver) timer = setTimeout(() => void look(), WATCH_INTERVAL_MS);
    };
    void look();
    return { allUp, stop: () => timer !== null && clearTimeout(timer) };
  }

  async #observe(): Promise<void> {
    const answers = await Promise.all(
      this.#children.map(async (child) => {
        const view = await fetchHealth(child.node.publicAddress, HEALTH_TIMEOUT_MS);
        // A stranger on the port says another name.
        return view?.nodeId === child.node.nodeId ? { child, view } : { child, view: null };
      }),
    );
    if (this.#isOver) return;
    const views: HealthView[] = [];
    for (const { child, view } of answers) {
      const known = view ?? this.#lastViewOf(child);
      if (known === null) {
        this.#views.delete(child.node.nodeId);
        continue;
      }
      if (view !== null) {
        child.hasServed = true;
        this.#missedCounts.delete(child.node.nodeId);
      }
      this.#views.set(child.node.nodeId, known);
      views.push(known);
    }
    const change = this.#watch.observe(views);
    if (change === 'lost') this.#say('leader none');
    else if (change !== null) this.#say(`leader ${change.nodeId} term ${change.term}`);
    else if (this.#io.isInteractive) this.#draw();
  }

  /** A busy machine may miss a look or two: a living process keeps what it said last. */
  #lastViewOf(child: NodeChild): HealthView | null {
    const { nodeId } = child.node;
    const missedCount = (this.#missedCounts.get(nodeId) ?? 0) + 1;
    this.#missedCounts.set(nodeId, missedCount);
    if (child.pid === null || missedCount > MISSED_LOOK_COUNT_MAX) return null;
    return this.#views.get(nodeId) ?? null;
  }

  #showNodes(): void {
    if (this.#io.isInteractive) {
      this.#draw();
      return;
    }
    for (const { node, pid, logPath } of this.#children) {
      this.#io.out(
        `node ${node.nodeId} clients ${node.publicAddress} peers ${node.peerAddress} ` +
          `pid ${pid} log ${logPath}\n`,
      );
    }
  }

  /** One line of news; on a terminal above the table, which moves down. */
  #say(line: string): void {
    if (this.#isOver) return;
    if (!this.#io.isInteractive) {
      this.#io.out(`${line}\n`);
      return;
    }
    this.#erase();
    this.#io.out(`${line}\n`);
    this.#draw();
  }

  #draw(): void {
    const lines = ['', ...this.#table(), '', this.#hint()];
    const text = `${lines.join('\n')}\n`;
    if (this.#drawnLineCount > 0 && text === this.#drawnText) return;
    this.#erase();
    this.#io.out(text);
    this.#drawnText = text;
    this.#drawnLineCount = lines.length;
  }

  #erase(): void {
    if (this.#drawnLineCount > 0) this.#io.out(`\u001b[${this.#drawnLineCount}A\u001b[J`);
    this.#drawnLineCount = 0;
  }

  #table(): readonly string[] {
    const columns = [
      { title: 'NODE' },
      { title: 'CLIENTS' },
      { title: 'PEERS' },
      { title: 'PID', align: 'right' },
      { title: 'TERM', align: 'right' },
      { title: 'ROLE' },
    ] as const;
    const rows = this.#children.map(({ node, pid }) => {
      const view = this.#views.get(node.nodeId);
      const role = view?.role ?? (pid === null ? 'down' : 'starting');
      const term = view === undefined ? '' : String(view.term);
      return [node.nodeId, node.publicAddress, node.peerAddress, String(pid ?? ''), term, role];
    });
    return renderTable(columns, rows);
  }

  #hint(): string {
    return `data in ${this.#options.directory}; Ctrl-C stops the cluster and keeps the data`;
  }

  #stopCommand(): string {
    return `holdfast cluster stop --directory ${this.#options.directory}`;
  }
}

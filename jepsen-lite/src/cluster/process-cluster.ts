/**
 * A cluster of real server processes on loopback: what the demo, the benchmarks and the fault tests
 * run against. Data lives on a real disk in a directory of its own, output in one log per node.
 *
 * Invariant: a data directory has at most one process at a time; `start` refuses otherwise.
 *
 * Over 400 lines because it is the one place that knows which process, directory and line is whose.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { assert, must } from '@holdfast/base';
import { WaitExpired, waitFor } from '../wait.ts';
import type {
  Cluster,
  ClusterNetwork,
  KillSignal,
  LeaderView,
  NodeDigest,
  NodeHealth,
  NodeName,
  NodeRows,
  NodeStatus,
} from './cluster.ts';
import { findFreePorts } from './free-ports.ts';
import type { Interposer } from './interposer.ts';
import {
  type HttpAnswer,
  metricIn,
  readJson,
  readText,
  toDigest,
  toHealth,
  toRows,
  toStatus,
} from './node-http.ts';
import { NodeProcess } from './node-process.ts';
import { makeScratchDirectory, removeScratchDirectory } from './scratch-directory.ts';
import {
  formCluster,
  type MemberPlan,
  planMember,
  type ServerSettings,
  serveArguments,
  writeSettings,
} from './server-command.ts';
import {
  closeSurroundings,
  planCluster,
  type Surroundings,
  type SurroundingsOptions,
} from './surroundings.ts';
import { cutPower, type Volume } from './volume.ts';

export interface ProcessClusterOptions extends SurroundingsOptions {
  /** Default 3. */
  readonly nodeCount?: number;
  /** Part of the directory name and of nothing else. */
  readonly name?: string;
  /** An existing directory to use and keep; default a new scratch directory, removed by `stop`. */
  readonly directory?: string;
  /** Keeps the scratch directory for a look afterwards. Default false. */
  readonly isKept?: boolean;
  /** A folder, which is there, for backups and the archive of the log. Default: none. */
  readonly storeDirectory?: string;
  /** Server configuration, the same on every node. */
  readonly settings?: ServerSettings;
  /** Flags of the Node.js runtime itself, for example `--cpu-prof` to profile the servers. */
  readonly runtimeFlags?: readonly string[];
  /** Program of the servers; default the `holdfast` command. */
  readonly serverEntry?: string;
  /** Nodes note which failpoints they get to, for `failpointsSeen`. Default false. */
  readonly isNotingFailpoints?: boolean;
}

const SEEN_VARIABLE = 'HOLDFAST_TEST_FAILPOINTS_SEEN';
/** SIGTERM is graceful; a node that takes longer than this is ended hard and reported. */
const STOP_TIMEOUT_MS = 15_000;
/** Start-up includes recovery of whatever the test left on disk, also on a machine under load. */
const READY_TIMEOUT_MS = 180_000;

export class ProcessCluster implements Cluster {
  readonly directory: string;
  readonly storeDirectory: string | null;
  #members: readonly MemberPlan[];
  /** Nodes whose directory may be empty: they start with the address of a running member. */
  readonly #joining = new Set<NodeName>();
  readonly #processes = new Map<NodeName, NodeProcess>();
  readonly #isRemovedAtStop: boolean;
  readonly #settings: ServerSettings;
  readonly #runtimeFlags: readonly string[];
  readonly #serverEntry: string | undefined;
  readonly #isNotingFailpoints: boolean;
  #nodeCountMax = 0;
  readonly #surroundings: Surroundings;

  private constructor(
    directory: string,
    members: readonly MemberPlan[],
    options: ProcessClusterOptions,
    surroundings: Surroundings,
  ) {
    this.#surroundings = surroundings;
    this.directory = directory;
    this.#members = members;
    this.storeDirectory = options.storeDirectory ?? null;
    this.#settings = { ...storeSetting(this.storeDirectory), ...options.settings };
    this.#runtimeFlags = options.runtimeFlags ?? [];
    this.#serverEntry = options.serverEntry;
    this.#isNotingFailpoints = options.isNotingFailpoints === true;
    this.#isRemovedAtStop = options.directory === undefined && options.isKept !== true;
  }

  /** Forms a new cluster, starts every node and waits until all know one leader. */
  static async launch(options: ProcessClusterOptions = {}): Promise<ProcessCluster> {
    const cluster = await ProcessCluster.form(options);
    try {
      await cluster.startAll();
      await cluster.waitUntilReady();
      return cluster;
    } catch (thrown) {
      const logs = cluster.describeLogs();
      await cluster.stop();
      throw new Error(`the cluster did not come up\n${logs}`, { cause: thrown });
    }
  }

  /** Formats the data directories and starts nothing. */
  static async form(options: ProcessClusterOptions = {}): Promise<ProcessCluster> {
    const nodeCount = options.nodeCount ?? 3;
    assert(nodeCount >= 1, 'a cluster has at least one node', { nodeCount });
    const directory = options.directory ?? makeScratchDirectory(options.name ?? 'cluster');
    const { members, surroundings } = await planCluster(directory, nodeCount, options);
    const cluster = new ProcessCluster(directory, members, options, surroundings);
    for (const { nodeName } of members) cluster.configure(nodeName, {});
    try {
      await formCluster(members);
    } catch (thrown) {
      await cluster.stop();
      throw thrown;
    }
    return cluster;
  }

  get nodeNames(): readonly NodeName[] {
    return this.#members.map((member) => member.nodeName);
  }

  /** Behind the client proxies where there are any. */
  get addresses(): readonly string[] {
    const { proxies } = this.#surroundings;
    return this.#members.map(
      ({ address, nodeName }) => proxies?.clientAddressOf(nodeName) ?? address,
    );
  }

  get network(): ClusterNetwork | null {
    return this.#surroundings.proxies ?? this.#surroundings.namespaces;
  }

  interposerOf(nodeName: NodeName): Interposer | null {
    return this.#surroundings.interposers.get(nodeName) ?? null;
  }

  volumeOf(nodeName: NodeName): Volume | null {
    return this.#surroundings.volumes.get(nodeName) ?? null;
  }

  /**
   * The power of these nodes goes at one moment: their file systems end without a flush, then their
   * processes. Afterwards the file systems are back, and the nodes are down.
   */
  async cutPower(nodeNames: readonly NodeName[]): Promise<void> {
    const { powerCutPath, volumes } = this.#surroundings;
    const cut = nodeNames.map((nodeName) => must(volumes.get(nodeName), 'it has no volume'));
    await cutPower(must(powerCutPath, 'the volumes cannot lose power'), cut);
    await this.killAll(nodeNames);
    for (const volume of cut) {
      await volume.unmount();
      await volume.mount();
    }
  }

  addressOf(nodeName: NodeName): string {
    return this.#memberOf(nodeName).address;
  }

  peerAddressOf(nodeName: NodeName): string {
    return this.#memberOf(nodeName).peerAddress;
  }

  /** Plans one more node, with an empty data directory that joins when it is started. */
  async addNode(): Promise<NodeName> {
    const numbers = this.#members.map(({ nodeName }) => Number(nodeName.slice(1)));
    this.#nodeCountMax = Math.max(this.#nodeCountMax, ...numbers) + 1;
    const [port, peerPort] = await findFreePorts(2);
    const ports = [must(port), must(peerPort)] as const;
    const member = planMember(this.directory, `n${this.#nodeCountMax}`, { ports });
    writeSettings(member, this.#settings);
    this.#members = [...this.#members, member];
    this.#joining.add(member.nodeName);
    return member.nodeName;
  }

  /** Removes the data directory of a node that does not run: its next start joins anew. */
  wipe(nodeName: NodeName): void {
    assert(!this.isRunning(nodeName), 'a running node cannot be wiped', { nodeName });
    rmSync(this.dataDirectoryOf(nodeName), { recursive: true, force: true });
    this.#joining.add(nodeName);
  }

  /** The node left the cluster: from now on it is neither waited for nor started. */
  forget(nodeName: NodeName): void {
    assert(!this.isRunning(nodeName), 'a running node cannot be forgotten', { nodeName });
    this.#members = this.#members.filter((member) => member.nodeName !== nodeName);
    this.#processes.delete(nodeName);
  }

  /** What the node tells clients as its address from its next start on: a relay in front of it. */
  advertise(nodeName: NodeName, address: string): void {
    this.configure(nodeName, { advertiseAddress: address });
  }

  /** Settings of this node alone, from its next start on. */
  configure(nodeName: NodeName, settings: ServerSettings): void {
    const own = this.#surroundings.settings.get(nodeName) ?? {};
    writeSettings(this.#memberOf(nodeName), { ...this.#settings, ...own, ...settings });
  }

  dataDirectoryOf(nodeName: NodeName): string {
    return this.#memberOf(nodeName).dataDirectory;
  }

  logPathOf(nodeName: NodeName): string {
    return join(this.directory, nodeName, 'node.log');
  }

  /** Names of all places that any node has got to, in order; of all their lives. */
  failpointsSeen(): readonly string[] {
    const seen = this.nodeNames.flatMap((name) => readFailpointsSeen(this.#seenPathOf(name)));
    return [...new Set(seen)].sort();
  }

  #seenPathOf(nodeName: NodeName): string {
    return join(this.directory, nodeName, 'failpoints-seen.txt');
  }

  /** Undefined when the node does not run. */
  pidOf(nodeName: NodeName): number | undefined {
    const process = this.#processes.get(nodeName);
    return process?.isRunning === true ? process.pid : undefined;
  }

  isRunning(nodeName: NodeName): boolean {
    return this.#processes.get(nodeName)?.isRunning === true;
  }

  /** "exited with code 1", "was ended by SIGKILL"; null while it runs, or never ran. */
  exitTextOf(nodeName: NodeName): string | null {
    return this.#processes.get(nodeName)?.exitText ?? null;
  }

  async signal(nodeName: NodeName, signal: KillSignal): Promise<void> {
    await this.#processes.get(nodeName)?.signal(signal);
  }

  /** kill -9 of several nodes in one go. */
  async killAll(nodeNames: readonly NodeName[] = this.nodeNames): Promise<void> {
    await Promise.all(nodeNames.map((nodeName) => this.signal(nodeName, 'SIGKILL')));
  }

  /** Cuts the node off from the others without telling anyone; clients still reach it. */
  isolate(nodeName: NodeName): void {
    const { proxies } = this.#surroundings;
    must(proxies, 'the cluster was made without hasPeerProxies').cutOff(nodeName, {
      kind: 'silence',
    });
  }

  /** Mends every link between the nodes. */
  heal(): void {
    void this.#surroundings.proxies?.heal();
  }

  async start(
    nodeName: NodeName,
    environment: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    assert(!this.isRunning(nodeName), 'the node runs already', { nodeName });
    const member = this.#memberOf(nodeName);
    const { namespaces, proxies } = this.#surroundings;
    const seen = proxies?.asSeenBy(nodeName, this.#members) ?? this.#members;
    const prefix = namespaces?.commandPrefixOf(nodeName) ?? [];
    const [command = process.execPath, ...rest] = [...prefix, process.execPath];
    this.#processes.set(
      nodeName,
      new NodeProcess({
        nodeName,
        command,
        commandArguments: [
          ...rest,
          ...this.#runtimeFlags,
          ...serveArguments(member, seen, this.#serverEntry),
          ...(this.#joining.has(nodeName) ? this.#joinArguments(nodeName) : []),
        ],
        environment: {
          ...this.interposerOf(nodeName)?.environment,
          ...(this.#isNotingFailpoints ? noteFailpoints(this.#seenPathOf(nodeName)) : {}),
          ...environment,
        },
        logPath: this.logPathOf(nodeName),
      }),
    );
  }

  /** Every other node is asked, so that one that is down does not matter. */
  #joinArguments(nodeName: NodeName): readonly string[] {
    const others = this.#members.filter((member) => member.nodeName !== nodeName);
    const secret = others
      .map((member) => join(member.dataDirectory, 'cluster.secret'))
      .find((path) => existsSync(path));
    const addresses = others.map((member) => member.peerAddress).join(',');
    return ['--join', addresses, '--cluster-secret-file', must(secret, 'a node has the secret')];
  }

  async startAll(): Promise<void> {
    for (const nodeName of this.nodeNames)
      if (!this.isRunning(nodeName)) await this.start(nodeName);
  }

  async health(nodeName: NodeName): Promise<NodeHealth | null> {
    const answer = await readJson(this.addressOf(nodeName), '/health');
    return answer === null ? null : toHealth(nodeName, answer);
  }

  async digest(nodeName: NodeName): Promise<NodeDigest | null> {
    const answer = await this.#readStatus(nodeName);
    return answer === null ? null : toDigest(nodeName, answer);
  }

  async status(nodeName: NodeName): Promise<NodeStatus | null> {
    const answer = await this.#readStatus(nodeName);
    return answer === null ? null : toStatus(nodeName, answer);
  }

  async rows(nodeName: NodeName): Promise<NodeRows | null> {
    const answer = await this.#readStatus(nodeName);
    return answer === null ? null : toRows(answer);
  }

  async metric(nodeName: NodeName, name: string): Promise<number | null> {
    const answer = await readText(this.addressOf(nodeName), '/metrics');
    return answer?.status === 200 ? metricIn(answer.text, name) : null;
  }

  async leader(): Promise<LeaderView | null> {
    const running = this.nodeNames.filter((nodeName) => this.isRunning(nodeName));
    const healths = await Promise.all(running.map((nodeName) => this.health(nodeName)));
    let best: LeaderView | null = null;
    for (const health of healths) {
      if (health === null || health.role !== 'leader') continue;
      if (best === null || health.term > best.term) best = health;
    }
    return best === null ? null : { nodeName: best.nodeName, term: best.term };
  }

  /**
   * Waits until every running node is ready and all agree on the leader.
   * @throws WaitExpired naming the node that exited, with the end of its log
   */
  async waitUntilReady(timeoutMs = READY_TIMEOUT_MS): Promise<LeaderView> {
    let isDead: Error | null = null;
    const leader = await waitFor({ what: 'all nodes to be ready', timeoutMs }, async () => {
      isDead = this.#firstUnexpectedExit();
      if (isDead !== null) return 'dead' as const;
      const running = this.nodeNames.filter((nodeName) => this.isRunning(nodeName));
      const healths = await Promise.all(running.map((nodeName) => this.health(nodeName)));
      const leaders = new Set(healths.map((health) => health?.leader ?? null));
      if (healths.length === 0 || leaders.size !== 1 || leaders.has(null)) return null;
      return healths.every((health) => health?.isReady === true) ? this.leader() : null;
    });
    if (leader === 'dead') throw must<Error>(isDead);
    return leader;
  }

  /** SIGTERM to all, then the scratch directory is removed. */
  async stop(): Promise<void> {
    await this.stopNodes();
    await closeSurroundings(this.#surroundings);
    if (this.#isRemovedAtStop) removeScratchDirectory(this.directory);
  }

  /** Every process ends in order; directories and what is around the nodes stay until `stop`. */
  async stopNodes(): Promise<void> {
    await Promise.all(
      [...this.#processes.values()].map(async (process) => {
        if (!process.isRunning) return;
        // A stopped process sees SIGTERM only after SIGCONT.
        await process.signal('SIGCONT');
        void process.signal('SIGTERM');
        if (!(await process.goneWithin(STOP_TIMEOUT_MS))) await process.signal('SIGKILL');
      }),
    );
  }

  /** The end of every node's log, for a failure report. */
  describeLogs(): string {
    return [...this.#processes.values()]
      .map(
        (process) =>
          `--- ${process.nodeName} (${process.exitText ?? 'running'})\n${process.logTail()}`,
      )
      .join('\n');
  }

  async #readStatus(nodeName: NodeName): Promise<HttpAnswer | null> {
    const answer = await readJson(this.addressOf(nodeName), '/api/v1/cluster/status');
    return answer?.status === 200 ? answer : null;
  }

  #memberOf(nodeName: NodeName): MemberPlan {
    const member = this.#members.find((candidate) => candidate.nodeName === nodeName);
    return must(member, `the cluster has no node ${nodeName}`);
  }

  /** A process that ended by itself; one ended by a signal of ours is not news. */
  #firstUnexpectedExit(): Error | null {
    for (const process of this.#processes.values()) {
      if (process.exitText?.startsWith('exited') === true) {
        const text = `node ${process.nodeName} ${process.exitText}\n${process.logTail()}`;
        return new WaitExpired(text);
      }
    }
    return null;
  }
}

const storeSetting = (directory: string | null): ServerSettings =>
  directory === null ? {} : { backupSinks: pathToFileURL(directory).href };

/** For a process that is to note there which failpoints it gets to. */
export const noteFailpoints = (path: string): Readonly<Record<string, string>> => ({
  [SEEN_VARIABLE]: path,
});

/** Their names, some more than once. */
export const readFailpointsSeen = (path: string): readonly string[] =>
  existsSync(path)
    ? readFileSync(path, 'utf8')
        .split('\n')
        .filter((name) => name !== '')
    : [];

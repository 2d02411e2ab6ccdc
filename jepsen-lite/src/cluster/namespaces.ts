/**
 * A network namespace per node, all on one bridge: each node has an address of its own, and cuts
 * are made where hosts have them, below TCP. Needs root and iproute2, nothing else.
 *
 * A line is cut by a false neighbour: the sender's kernel puts a hardware address that nobody has
 * on every packet for the other node, so they leave and never arrive, without an error for anybody.
 * (Dropping them with iptables does the same; this needs no further package.)
 *
 * Names carry the process id of the harness, so that what a killed harness left behind is found.
 */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import { must } from '@holdfast/base';
import type { ProxyMode } from '../net/link-mode.ts';
import type { ClusterNetwork, NodeName } from './cluster.ts';

/** A locally administered address that no interface has. */
const NOBODY = '02:00:00:00:00:01';
const DEVICE = 'eth0';
const HARNESS_HOST_NUMBER = 254;
/** Long: a busy machine starts a command late. */
const COMMAND_TIMEOUT_MS = 60_000;
const NAMESPACE = /^hf(\d+)-/;
const BRIDGE = /^hfb(\d+)$/;

export class Namespaces implements ClusterNetwork {
  readonly hasClientLinks = false;
  /** The kernel changes nothing that it forwards. */
  readonly corruptionCount = 0;
  readonly #nodeNames: readonly NodeName[];
  readonly #isCut = new Set<string>();

  private constructor(nodeNames: readonly NodeName[]) {
    this.#nodeNames = nodeNames;
  }

  /** Why there can be none here; null when there can. */
  static whyNot(): string | null {
    if (process.getuid?.() !== 0) return 'network namespaces need root: run as root';
    try {
      ipNow(['netns', 'list']);
      return null;
    } catch {
      return 'network namespaces need iproute2: install it, so that `ip netns` works';
    }
  }

  /** @throws Error what cannot be had here, or what the failing command said */
  static async make(nodeNames: readonly NodeName[]): Promise<Namespaces> {
    const reason = Namespaces.whyNot();
    if (reason !== null) throw new Error(reason);
    removeStale();
    const namespaces = new Namespaces(nodeNames);
    removeAtExit(namespaces);
    try {
      await namespaces.#build();
      return namespaces;
    } catch (thrown) {
      await namespaces.remove();
      throw thrown;
    }
  }

  hostOf(nodeName: NodeName): string {
    const number = this.#nodeNames.indexOf(nodeName) + 1;
    return `${subnet()}.${number}`;
  }

  /** What runs a command as a process of this node's network, with the same process id. */
  commandPrefixOf(nodeName: NodeName): readonly string[] {
    // A node that joined later lives in the network of the harness.
    if (!this.#nodeNames.includes(nodeName)) return [];
    return ['ip', 'netns', 'exec', namespaceOf(nodeName)];
  }

  whyNot({ kind }: ProxyMode): string | null {
    if (kind === 'pass' || kind === 'silence') return null;
    return 'between namespaces lines can be cut and no more: use the cluster of processes';
  }

  async setLink(from: NodeName, to: NodeName, { kind }: ProxyMode): Promise<void> {
    const key = `${from} ${to}`;
    if ((kind === 'silence') === this.#isCut.has(key)) return;
    const where = ['-n', namespaceOf(from), 'neigh'];
    const which = [this.hostOf(to), 'dev', DEVICE];
    if (kind === 'silence') {
      await ip([...where, 'replace', ...which, 'lladdr', NOBODY, 'nud', 'permanent']);
      this.#isCut.add(key);
    } else {
      await ip([...where, 'del', ...which]);
      this.#isCut.delete(key);
    }
  }

  async setClients(): Promise<void> {
    throw new Error('clients cannot be cut off from namespaces');
  }

  async resetConnections(from: NodeName, to: NodeName): Promise<void> {
    const [command = '', ...rest] = this.commandPrefixOf(from);
    await run(command, [...rest, 'ss', '-K', 'dst', this.hostOf(to)]);
  }

  async heal(): Promise<void> {
    for (const key of this.#isCut) {
      const [from = '', to = ''] = key.split(' ');
      await this.setLink(from, to, { kind: 'pass' });
    }
  }

  describeCounts(): string {
    return '';
  }

  /** The nodes must be down. Safe to call twice. */
  async remove(): Promise<void> {
    removeOf(process.pid);
    removeAtExitOnce.delete(this);
  }

  async #build(): Promise<void> {
    const bridge = bridgeOf(process.pid);
    await ip(['link', 'add', bridge, 'type', 'bridge']);
    await ip(['addr', 'add', `${subnet()}.${HARNESS_HOST_NUMBER}/24`, 'dev', bridge]);
    await ip(['link', 'set', bridge, 'up']);
    for (const nodeName of this.#nodeNames) {
      const namespace = namespaceOf(nodeName);
      const outer = `hfv${process.pid}${nodeName}`;
      await ip(['netns', 'add', namespace]);
      await ip([
        ...['link', 'add', outer, 'type', 'veth'],
        ...['peer', 'name', DEVICE, 'netns', namespace],
      ]);
      await ip(['link', 'set', outer, 'master', bridge, 'up']);
      await ip(['-n', namespace, 'addr', 'add', `${this.hostOf(nodeName)}/24`, 'dev', DEVICE]);
      await ip(['-n', namespace, 'link', 'set', 'lo', 'up']);
      await ip(['-n', namespace, 'link', 'set', DEVICE, 'up']);
    }
  }
}

const namespaceOf = (nodeName: NodeName): string => `hf${process.pid}-${nodeName}`;
const bridgeOf = (pid: number): string => `hfb${pid}`;

/** The first three numbers of an address; two harnesses at one time get different ones. */
function subnet(): string {
  return `10.${64 + (process.pid % 128)}.${Math.floor(process.pid / 128) % 256}`;
}

const removeAtExitOnce = new Set<Namespaces>();
let isExitHookInstalled = false;

function removeAtExit(namespaces: Namespaces): void {
  removeAtExitOnce.add(namespaces);
  if (isExitHookInstalled) return;
  isExitHookInstalled = true;
  process.once('exit', () => {
    if (removeAtExitOnce.size > 0) removeOf(process.pid);
  });
}

/** What harnesses that are gone have left, processes in their namespaces too. */
function removeStale(): void {
  const pids = new Set([...pidsIn(namesOfNamespaces(), NAMESPACE), ...pidsIn(bridges(), BRIDGE)]);
  for (const pid of pids) {
    // Of another namespace of process ids, or long gone: either way nobody that we could ask.
    if (!existsSync(`/proc/${pid}`)) removeOf(pid);
  }
}

function removeOf(pid: number): void {
  for (const name of namesOfNamespaces()) {
    if (pidOf(name, NAMESPACE) !== pid) continue;
    for (const inside of ipNow(['netns', 'pids', name]).split('\n').filter(Boolean)) {
      kill(Number(inside));
    }
    ipNow(['netns', 'del', name]);
  }
  if (bridges().includes(bridgeOf(pid))) ipNow(['link', 'del', bridgeOf(pid)]);
}

/** Only servers that a harness put into a namespace of its own name. */
function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

const namesOfNamespaces = (): readonly string[] =>
  ipNow(['netns', 'list'])
    .split('\n')
    .flatMap((line) => line.split(' ')[0] || []);

const bridges = (): readonly string[] =>
  ipNow(['-o', 'link', 'show', 'type', 'bridge'])
    .split('\n')
    .flatMap((line) => line.split(': ')[1] ?? []);

const pidOf = (name: string, pattern: RegExp): number => Number(pattern.exec(name)?.[1]);

const pidsIn = (names: readonly string[], pattern: RegExp): readonly number[] =>
  names.filter((name) => pattern.test(name)).map((name) => must(pidOf(name, pattern)));

const ip = (commandArguments: readonly string[]): Promise<void> => run('ip', commandArguments);

async function run(command: string, commandArguments: readonly string[]): Promise<void> {
  await promisify(execFile)(command, [...commandArguments], { timeout: COMMAND_TIMEOUT_MS });
}

function ipNow(commandArguments: readonly string[]): string {
  return execFileSync('ip', [...commandArguments], {
    ...{ encoding: 'utf8', timeout: COMMAND_TIMEOUT_MS },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

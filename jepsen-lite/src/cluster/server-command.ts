/**
 * How a server process is called. The harness uses the same command line as an operator, so every
 * run of it is also a test of `cluster init` and `serve`.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { NodeName } from './cluster.ts';

/** Forming a cluster writes a few small files; much longer means that something hangs. */
const INIT_TIMEOUT_MS = 30_000;

/** Configuration keys of the server beyond addresses, as in its configuration file. */
export type ServerSettings = Readonly<Record<string, string | number | boolean>>;

export interface MemberPlan {
  readonly nodeName: NodeName;
  /** Public `host:port`. */
  readonly address: string;
  readonly peerAddress: string;
  readonly dataDirectory: string;
  readonly settingsPath: string;
}

export interface MemberPlace {
  /** Public port, and the port for the other nodes. */
  readonly ports: readonly [number, number];
  /** Default: loopback. */
  readonly host?: string;
  /** The data go to a file system of their own, which is mounted later. */
  readonly hasVolume?: boolean;
}

/** Makes the home of one member. */
export function planMember(
  directory: string,
  nodeName: NodeName,
  { host = '127.0.0.1', hasVolume = false, ports: [port, peerPort] }: MemberPlace,
): MemberPlan {
  const home = join(directory, nodeName);
  mkdirSync(home, { recursive: true });
  return {
    nodeName,
    address: `${host}:${port}`,
    peerAddress: `${host}:${peerPort}`,
    dataDirectory: hasVolume ? join(home, 'volume', 'data') : join(home, 'data'),
    settingsPath: join(home, 'settings.json'),
  };
}

/** The compiled entry of the `holdfast` command. */
export function serverEntryPath(): string {
  return entryPath('./main.js');
}

/** The same with lanes that fail when they are told to. */
export function faultyServerEntryPath(): string {
  return entryPath('./testing/faulty-main.js');
}

const entryPath = (path: string): string =>
  fileURLToPath(new URL(path, import.meta.resolve('@holdfast/node')));

export function writeSettings(member: MemberPlan, settings: ServerSettings): void {
  writeFileSync(member.settingsPath, `${JSON.stringify(settings, null, 2)}\n`);
}

/** Arguments of `node` that run one member in the foreground. */
export function serveArguments(
  member: MemberPlan,
  members: readonly MemberPlan[],
  entry = serverEntryPath(),
): readonly string[] {
  return [
    entry,
    'serve',
    ...['--data', member.dataDirectory],
    ...['--node-id', member.nodeName],
    ...['--listen', member.address],
    ...['--peer-listen', member.peerAddress],
    ...['--peers', members.map((one) => `${one.nodeName}=${one.peerAddress}`).join(',')],
    ...['--config', member.settingsPath],
  ];
}

/**
 * Formats every data directory as one new cluster; the secret between the nodes goes there too.
 * @throws Error with what the command printed
 */
export async function formCluster(members: readonly MemberPlan[]): Promise<void> {
  const nodeArguments = members.flatMap((member) => [
    '--node',
    `${member.nodeName}=${member.dataDirectory},${member.address},${member.peerAddress}`,
  ]);
  const commandArguments = [serverEntryPath(), 'cluster', 'init', ...nodeArguments];
  await promisify(execFile)(process.execPath, commandArguments, { timeout: INIT_TIMEOUT_MS });
}

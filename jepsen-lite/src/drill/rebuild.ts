/**
 * A cluster made out of a store, through the command line: `restore plan` once, `restore run` for
 * every node into an empty directory, start. The secret between the nodes is in no backup; it is
 * kept apart, as an operator keeps it.
 */
import { copyFileSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ProcessCluster } from '../cluster/process-cluster.ts';
import { holdfast } from './holdfast-command.ts';

const SECRET_FILE_NAME = 'cluster.secret';

export type RebuildPhase = 'planned' | 'laid' | 'started';

export interface RebuildOptions {
  /** Whose nodes, addresses and directories; none of them runs. */
  readonly cluster: ProcessCluster;
  readonly store: string;
  /** A file: see keepSecret. */
  readonly secretPath: string;
  /** Flags of `restore plan` that say which state; none: the newest of the only cluster. */
  readonly target?: readonly string[];
  /** Flags of every command that reads the store, such as the key of encrypted backups. */
  readonly storeFlags?: readonly string[];
  /** Told at the end of each. */
  readonly onPhase?: (phase: RebuildPhase) => void;
}

export interface Rebuilt {
  /** What `restore plan` printed. */
  readonly said: string;
  /** The restored state is the one after this index of the old log. */
  readonly index: number;
  /** Of the log, by node; equal when all nodes laid the same. */
  readonly logSums: readonly string[];
}

/** Puts the secret of the cluster beside the data directories; returns where. */
export function keepSecret(cluster: ProcessCluster): string {
  const path = join(cluster.directory, SECRET_FILE_NAME);
  copyFileSync(join(cluster.dataDirectoryOf('n1'), SECRET_FILE_NAME), path);
  return path;
}

/** kill -9 of every node, and every data directory is deleted. */
export async function loseEverything(cluster: ProcessCluster): Promise<void> {
  await cluster.killAll();
  removeDataDirectories(cluster);
}

export function removeDataDirectories(cluster: ProcessCluster): void {
  for (const nodeName of cluster.nodeNames) {
    rmSync(cluster.dataDirectoryOf(nodeName), { recursive: true, force: true });
  }
}

/**
 * All nodes run and know one leader when it resolves.
 * @throws Error when a command fails, the nodes lay different logs, or they do not come up
 */
export async function rebuild(options: RebuildOptions): Promise<Rebuilt> {
  const { cluster, onPhase = () => undefined, store, storeFlags = [], target = [] } = options;
  const planPath = join(cluster.directory, `plan-${Date.now()}.json`);
  const members = cluster.nodeNames.map((name) => `${name}=${cluster.peerAddressOf(name)}`);
  const said = await holdfast(
    ...['restore', 'plan', '--from', store, '--plan', planPath, ...storeFlags, ...target],
    ...['--member', ...members],
  );
  onPhase('planned');
  // Each on a machine of its own: side by side.
  const logSums = await Promise.all(
    cluster.nodeNames.map((nodeName) => lay(options, nodeName, planPath)),
  );
  if (new Set(logSums).size !== 1) throw new Error(`the nodes laid other logs: ${logSums}`);
  onPhase('laid');
  await cluster.startAll();
  await cluster.waitUntilReady();
  onPhase('started');
  return { said, index: indexIn(said), logSums };
}

async function lay(
  { cluster, secretPath, store, storeFlags = [] }: RebuildOptions,
  nodeName: string,
  planPath: string,
): Promise<string> {
  const directory = cluster.dataDirectoryOf(nodeName);
  mkdirSync(directory, { recursive: true });
  copyFileSync(secretPath, join(directory, SECRET_FILE_NAME));
  const said = await holdfast(
    ...['restore', 'run', '--from', store, '--plan', planPath],
    ...['--node-id', nodeName, '--data-dir', directory, ...storeFlags],
  );
  const sum = /log sum ([0-9a-f]{32})/.exec(said)?.[1];
  if (sum === undefined) throw new Error(`restore run printed no sum of the log: ${said}`);
  return sum;
}

function indexIn(said: string): number {
  const index = /after index (\d+)/.exec(said)?.[1];
  if (index === undefined) throw new Error(`restore plan printed no index: ${said}`);
  return Number(index);
}

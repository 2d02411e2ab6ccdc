/** How commands that work on a store for backups, without a cluster, are told which one. */
import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { SeededRandom } from '@holdfast/base';
import type { KeyRing } from '@holdfast/storage';
import {
  makeKeyRing,
  NodeFileSystem,
  readArchiveKeyFile,
  systemRandomBytes,
} from '@holdfast/storage';
import type { Command } from 'commander';
import type { ArchiveSealing } from '../backup/archive/archive-store.ts';
import { findClusters } from '../backup/find-clusters.ts';
import { openSink } from '../backup/sinks/open-sink.ts';
import type { BackupSink } from '../backup/sinks/sink.ts';
import { RETRY_POLICY_DEFAULT } from '../backup/sinks/sink-retry.ts';
import { SYSTEM_CLOCK, SYSTEM_TIMERS } from '../system-time.ts';
import { type CliIo, UsageError } from './io.ts';

export interface StoreFlags {
  readonly from?: string;
  readonly s3?: string;
  readonly keyFile?: readonly string[];
}

export interface OpenStore {
  readonly sink: BackupSink;
  readonly sealing: ArchiveSealing;
}

export function addStoreFlags(command: Command): Command {
  return command
    .option('--from <URL>', 'the store: a folder, file:///..., s3://..., gs://... or azure://...')
    .option('--s3 <URL>', 'the same, for s3://BUCKET/PREFIX')
    .option('--key-file <FILE...>', 'keys of encrypted backups, the newest first');
}

/** Opens the store, runs, and closes it whatever happens. */
export async function withStore<Result>(
  flags: StoreFlags,
  io: CliIo,
  run: (store: OpenStore) => Promise<Result>,
): Promise<Result> {
  const sink = await openSink(storeUrl(flags), io.environment, {
    ...{ clock: SYSTEM_CLOCK, timers: SYSTEM_TIMERS, retryPolicy: RETRY_POLICY_DEFAULT },
    random: new SeededRandom(randomBytes(4).readUInt32LE()),
  });
  try {
    const keys = readKeys(flags.keyFile ?? []);
    return await run({ sink, sealing: { keys, compression: 'zstd', random: systemRandomBytes } });
  } finally {
    await sink.close();
  }
}

/** Which one is meant: the one that was named, or the only one there is. @throws UsageError */
export async function onlyCluster(
  { sink }: OpenStore,
  wished: string | undefined,
): Promise<string> {
  if (wished !== undefined) return wished;
  const [only, ...others] = await findClusters(sink);
  if (only !== undefined && others.length === 0) return only;
  const what = only === undefined ? 'nothing of any cluster' : `the clusters ${[only, ...others]}`;
  throw new UsageError(`--cluster: name one; the store holds ${what}`);
}

/** A plain path is a folder. */
export const urlOfStore = (text: string): string =>
  /^[a-z0-9]+:\/\//.test(text) ? text : pathToFileURL(resolve(text)).href;

function storeUrl({ from, s3 }: StoreFlags): string {
  const url = from ?? s3;
  if (url === undefined) throw new UsageError('--from: name the store of the backups');
  if (from !== undefined && s3 !== undefined) throw new UsageError('give --from or --s3, not both');
  return urlOfStore(url);
}

function readKeys([newest, ...older]: readonly string[]): KeyRing {
  const fileSystem = new NodeFileSystem();
  const read = (path: string) => readArchiveKeyFile(fileSystem, path);
  return makeKeyRing({
    current: newest === undefined ? null : read(newest),
    older: older.map(read),
  });
}

/** Results of restore tests in a sink: put once each, listed newest first, the oldest removed. */
import { HoldfastError } from '@holdfast/base';
import type { RestoreTestResult } from '@holdfast/storage';
import {
  decodeRestoreTest,
  encodeRestoreTest,
  numberOfKey,
  openSealed,
  RESTORE_TEST_SIZE_BYTES_MAX,
  restoreTestKey,
  restoreTestPrefix,
  sealBytes,
  sealedSizeBytesMax,
} from '@holdfast/storage';
import type { ArchiveSealing } from '../archive/archive-store.ts';
import type { BackupSink, SinkReadOptions } from '../sinks/sink.ts';
import { bytesSource } from '../sinks/sink.ts';
import { isObjectDamage } from '../stored-object.ts';

/** A year of one a day. */
export const RESTORE_TEST_COUNT_MAX = 400;
/** Tests of several nodes that began in the same millisecond take the next free name. */
const NAME_ATTEMPT_COUNT_MAX = 16;

export interface RestoreTestPlace {
  readonly sink: BackupSink;
  readonly clusterId: string;
  readonly sealing: ArchiveSealing;
}

/** Durable when it resolves. @throws HoldfastError SINK_*, ABORTED */
export async function storeRestoreTest(
  { clusterId, sealing, sink }: RestoreTestPlace,
  result: RestoreTestResult,
  options: SinkReadOptions = {},
): Promise<void> {
  const { compression, keys, random } = sealing;
  for (let attempt = 0; attempt < NAME_ATTEMPT_COUNT_MAX; attempt++) {
    const context = restoreTestKey(clusterId, result.startedMs + attempt);
    const body = encodeRestoreTest(result);
    const seal = { kind: 'restore-test' as const, context, compression, key: keys.current, random };
    const sealed = await sealBytes(body, seal);
    const outcome = await sink.put(context, bytesSource(sealed), { ...options, ifAbsent: true });
    if (outcome === 'stored') {
      await removeOld(sink, clusterId, options);
      return;
    }
  }
  const message = `${sink.name} has results of restore tests under every name near this one`;
  throw new HoldfastError('SINK_REFUSED', message, { details: { sink: sink.name } });
}

/**
 * Newest first, at most `countMax`; one that cannot be read says so as its failure.
 * @throws HoldfastError SINK_*, ABORTED
 */
export async function listRestoreTests(
  { clusterId, sealing, sink }: RestoreTestPlace,
  countMax = RESTORE_TEST_COUNT_MAX,
  options: SinkReadOptions = {},
): Promise<readonly RestoreTestResult[]> {
  const keys = await keysOf(sink, clusterId, options);
  const results: RestoreTestResult[] = [];
  for (const context of keys.reverse()) {
    if (results.length >= countMax) break;
    const sizeBytesMax = RESTORE_TEST_SIZE_BYTES_MAX;
    const sealed = await sink.get(context, sealedSizeBytesMax(sizeBytesMax), options);
    if (sealed === null) continue;
    try {
      const opening = { kind: 'restore-test' as const, context, keys: sealing.keys, sizeBytesMax };
      results.push(decodeRestoreTest(await openSealed(sealed, opening), context));
    } catch (error) {
      if (!isObjectDamage(error)) throw error;
      const { code, message } = error;
      const startedMs = numberOfKey(context) ?? 0;
      results.push({ ...NOTHING_KNOWN, clusterId, startedMs, failure: { code, message } });
    }
  }
  return results;
}

/** Of a test that came to nothing. */
export const NOTHING_KNOWN = {
  ...{ backupId: null, timeline: null, backupIndex: null, lastIndex: null, entryCount: null },
  ...{ sizeBytes: null, collectionCount: null, vectorCount: null, digest: null },
  ...{ durationMs: 0, by: 'unknown' },
} as const satisfies Partial<RestoreTestResult>;

async function removeOld(
  sink: BackupSink,
  clusterId: string,
  options: SinkReadOptions,
): Promise<void> {
  const keys = await keysOf(sink, clusterId, options);
  const old = keys.slice(0, Math.max(0, keys.length - RESTORE_TEST_COUNT_MAX));
  if (old.length > 0) await sink.remove(old, options);
}

/** Oldest first. */
async function keysOf(
  sink: BackupSink,
  clusterId: string,
  options: SinkReadOptions,
): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of sink.list(restoreTestPrefix(clusterId), undefined, options)) {
    if (numberOfKey(key) !== null) keys.push(key);
  }
  return keys;
}

/** What the schedule calls verification: the newest backup of a store restored, or read back. */
import { HoldfastError, isErrorCode } from '@holdfast/base';
import type { RestoreTestResult } from '@holdfast/storage';
import type { BackupReader } from '../backup-reader.ts';
import type { RestoreTestPlace } from './restore-test-store.ts';
import { listRestoreTests, storeRestoreTest } from './restore-test-store.ts';
import type { RestoreTester } from './restore-tester.ts';

export interface VerifiedNewest {
  readonly backupId: string;
  readonly how: 'read' | 'restored';
  /** Null: it is good. */
  readonly error: HoldfastError | null;
}

export interface VerifyNewestOptions {
  readonly reader: BackupReader;
  /** Null: the backup is only read back. */
  readonly tester: RestoreTester | null;
  readonly place: RestoreTestPlace;
  readonly signal: AbortSignal;
  readonly onResult: (result: RestoreTestResult) => void;
}

/** Null: there is no backup. @throws HoldfastError SINK_*, ABORTED, of a bad manifest its damage */
export async function verifyNewest(options: VerifyNewestOptions): Promise<VerifiedNewest | null> {
  const { reader, tester } = options;
  const { backups, damaged } = await reader.list();
  const [bad] = damaged;
  if (bad !== undefined) throw bad.error;
  const [newest] = backups;
  if (newest === undefined) return null;
  const { backupId } = newest;
  if (tester !== null) return restoreNewest(options, tester, backupId);
  const report = await reader.verify(await reader.read(backupId));
  return { backupId, how: 'read', error: report.bad[0]?.error ?? null };
}

async function restoreNewest(
  { onResult, place, signal }: VerifyNewestOptions,
  tester: RestoreTester,
  backupId: string,
): Promise<VerifiedNewest> {
  const { clusterId, sink } = place;
  const result = await tester.test({ sink: sink.name, clusterId, signal });
  onResult(result);
  await storeRestoreTest(place, result, { signal });
  return { backupId: result.backupId ?? backupId, how: 'restored', error: errorOf(result) };
}

/** A code that this version does not know was of a newer one. */
export function errorOf({ failure }: RestoreTestResult): HoldfastError | null {
  if (failure === null) return null;
  const { code, message } = failure;
  return new HoldfastError(isErrorCode(code) ? code : 'INTERNAL', message);
}

/** Enough to find a good one, unless they have failed for a month. */
const LOOK_COUNT_MAX = 30;

/** Begin of the newest test that went well; null: none did, or none is kept. @throws SINK_* */
export async function lastGoodTestMs(
  place: RestoreTestPlace,
  signal: AbortSignal,
): Promise<{ readonly newest: RestoreTestResult | null; readonly goodMs: number | null }> {
  const results = await listRestoreTests(place, LOOK_COUNT_MAX, { signal });
  const good = results.find(({ failure }) => failure === null);
  return { newest: results[0] ?? null, goodMs: good?.startedMs ?? null };
}

export interface RestoreTestStatus extends RestoreTestResult {
  readonly sink: string;
}

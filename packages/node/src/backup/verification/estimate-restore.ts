/** How long a restore will take. Pure; a guess, and told as one. */
import type { RestoreTestResult } from '@holdfast/storage';

export interface RestoreSize {
  readonly sizeBytes: number;
  readonly entryCount: number;
}

/** What an entry costs, in bytes that could be fetched meanwhile. */
const ENTRY_COST_BYTES = 2_500;
/** 20,000 entries per second: what a small machine reaches, with a store behind 0.4 GBit. */
const ASSUMED_BYTES_PER_S = 50_000_000;
/** Starting a node. */
const BASE_MS = 1_000;

const costOf = ({ entryCount, sizeBytes }: RestoreSize): number =>
  sizeBytes + entryCount * ENTRY_COST_BYTES;

/** `test`: one that went well, of the same store; null: there is none. */
export function estimateRestoreMs(
  size: RestoreSize,
  test: Pick<RestoreTestResult, 'durationMs' | 'entryCount' | 'sizeBytes'> | null,
): number {
  const { durationMs = 0, entryCount = null, sizeBytes = null } = test ?? {};
  if (entryCount === null || sizeBytes === null) {
    return BASE_MS + (costOf(size) * 1_000) / ASSUMED_BYTES_PER_S;
  }
  const spentMs = Math.max(0, durationMs - BASE_MS);
  return BASE_MS + (spentMs * costOf(size)) / Math.max(1, costOf({ sizeBytes, entryCount }));
}

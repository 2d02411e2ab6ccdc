/** What the planner asks of an index over one key, whatever it is made of. */
import type { KeyCondition } from './filter.ts';
import type { RowBitmap } from './row-bitmap.ts';

export type Liveness = (row: number) => boolean;

/**
 * An index never changes an answer: it claims a condition only when it can give exactly the live
 * rows for which the condition holds. Rows are added in ascending order.
 */
export interface ValueIndex {
  /** Bytes of memory, estimated. */
  readonly sizeBytes: number;
  add(payload: Uint8Array, row: number): void;
  /** The row was added and is marked dead by now. */
  remove(payload: Uint8Array, row: number): void;
  /**
   * The rows have other numbers, in the same order; ROW_GONE for those that were let go. The
   * liveness that the index was made with speaks of the new numbers already.
   */
  renumber(newRowOf: Uint32Array): void;
  canAnswer(condition: KeyCondition): boolean;
  /** Rows that `collect` would find: never too few. */
  estimate(condition: KeyCondition): number;
  /** Adds every live row for which the condition holds. */
  collect(condition: KeyCondition, into: RowBitmap): void;
}

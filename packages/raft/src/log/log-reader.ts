/**
 * What the core reads of its durable log: synchronous, backed by memory or by the log store.
 * Everything handed out by `Ready.append` and reported by `appended(seq)` must be visible here;
 * what was handed out and not yet reported is kept by the core itself.
 */
import type { ConfState, Entry, HardState, LogIndex, SnapshotMeta, Term } from '@holdfast/base';

export interface InitialState {
  readonly hardState: HardState;
  /**
   * Where the search for configurations starts: no `conf` entry lies after `confIndex` and before
   * the first entry of the log. The configuration at the snapshot, or the group's first one where
   * there is none; the latter also on a node that joined later.
   */
  readonly conf: ConfState;
  /** Log index of the entry that made `conf`; 0 for the first configuration. */
  readonly confIndex: LogIndex;
  /** Index already applied by the state machine (its own atomic record). */
  readonly applied: LogIndex;
}

export interface LogReader {
  initialState(): InitialState;
  /** Index of the first entry still readable; last + 1 when the log is empty. */
  firstIndex(): LogIndex;
  lastIndex(): LogIndex;
  /** Term at `index`, for firstIndex - 1 <= index <= lastIndex. */
  term(index: LogIndex): Term | 'compacted' | 'unavailable';
  /** Chain sum at `index`, for the same range. */
  sum(index: LogIndex): Uint8Array | 'compacted' | 'unavailable';
  /**
   * Entries low..high-1, cut after `sizeBytesMax` of encoded size but never empty when low < high.
   * 'compacted' when low < firstIndex. Bytes were checksum-verified. 'unreadable' when the disk
   * gives something else for `low` just now and somebody makes it good: what needs it waits.
   */
  entries(
    low: LogIndex,
    high: LogIndex,
    sizeBytesMax: number,
  ): readonly Entry[] | 'compacted' | 'unreadable';
  /** The newest snapshot that can be sent to a peer, or null. */
  snapshotMeta(): SnapshotMeta | null;
}

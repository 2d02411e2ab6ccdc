/**
 * The configurations of one log, by the index that made them: the newest is in force (a
 * configuration counts from when it is appended, thesis section 4.1), the ones before are what it
 * goes back to when the tail is truncated, and what a snapshot of an earlier index must carry.
 *
 * Invariants: never empty; indexes ascend; the first one was committed when it was noted, so it is
 * never truncated. Entries that no truncation or snapshot can ask for any more are dropped.
 */
import type { ConfState, LogIndex } from '@holdfast/base';
import { assert, decodeConf } from '@holdfast/base';
import type { LogReader } from '../log/log-reader.ts';

/** A configuration and the log index that made it; 0 for a group's first one. */
export interface ConfAtIndex {
  readonly conf: ConfState;
  readonly confIndex: LogIndex;
}

/** At most this many are kept for indexes that were applied already. */
export const CONF_HISTORY_COUNT_MAX = 256;
/** Entries read at once while a log is searched for configurations. */
const SCAN_SIZE_BYTES_MAX = 1024 * 1024;

export class ConfHistory {
  /** Where the log's reader said it starts from. */
  readonly initial: ConfAtIndex;
  #confs: ConfAtIndex[];

  constructor(initial: ConfAtIndex) {
    this.initial = initial;
    this.#confs = [initial];
  }

  /** The one in force. */
  get current(): ConfAtIndex {
    return this.#confs[this.#confs.length - 1]!;
  }

  /** The one that comes back if the current one is truncated; null when it cannot be. */
  get previous(): ConfAtIndex | null {
    return this.#confs[this.#confs.length - 2] ?? null;
  }

  get count(): number {
    return this.#confs.length;
  }

  /** The one in force at `index`, which must not lie before what is kept. */
  at(index: LogIndex): ConfAtIndex {
    const found = this.#confs.findLast(({ confIndex }) => confIndex <= index);
    assert(found !== undefined, 'the configuration at an index is not known any more', {
      index,
      first: this.#confs[0]!.confIndex,
    });
    return found;
  }

  /** How many were made after `committed`. */
  countAfter(committed: LogIndex): number {
    return this.#confs.filter(({ confIndex }) => confIndex > committed).length;
  }

  push(next: ConfAtIndex): void {
    assert(next.confIndex > this.current.confIndex, 'configurations must come in log order', {
      from: this.current.confIndex,
      to: next.confIndex,
    });
    this.#confs.push(next);
  }

  /** The log entries from `from` on are gone. True when another one is in force now. */
  truncate(from: LogIndex): boolean {
    const count = this.#confs.length;
    while (this.current.confIndex >= from) {
      assert(this.#confs.length > 1, 'a committed configuration was truncated', { from });
      this.#confs.pop();
    }
    return this.#confs.length < count;
  }

  /**
   * A snapshot with `base` replaced the log, which was committed up to `committed`. What was in
   * force up to there stays known: the state machine is still there until the snapshot is applied.
   */
  restore(base: ConfAtIndex, committed: LogIndex): void {
    this.truncate((committed + 1) as LogIndex);
    assert(base.confIndex >= this.current.confIndex, 'a snapshot lacks a committed configuration', {
      confIndex: base.confIndex,
      committed: this.current.confIndex,
    });
    if (base.confIndex > this.current.confIndex) this.#confs.push(base);
  }

  /** Forgets what was in force only before `baseIndex`, and more when there are too many. */
  prune(baseIndex: LogIndex, applied: LogIndex): void {
    this.#dropBefore(Math.min(baseIndex, applied));
    if (this.#confs.length > CONF_HISTORY_COUNT_MAX) this.#dropBefore(applied);
  }

  #dropBefore(index: number): void {
    const keptFrom = this.#confs.findLastIndex(({ confIndex }) => confIndex <= index);
    if (keptFrom > 0) this.#confs = this.#confs.slice(keptFrom);
  }
}

/**
 * What a log holds at a restart: the configuration it starts from and every one in it, read piece
 * by piece so that a long log never has to fit into memory.
 * @throws HoldfastError ENTRY_MALFORMED when a configuration entry cannot be read
 */
export function loadConfHistory(reader: LogReader): ConfHistory {
  const { applied, conf, confIndex } = reader.initialState();
  const history = new ConfHistory({ conf, confIndex });
  const end = (reader.lastIndex() + 1) as LogIndex;
  let low = Math.max(confIndex + 1, reader.firstIndex()) as LogIndex;
  while (low < end) {
    const entries = reader.entries(low, end, SCAN_SIZE_BYTES_MAX);
    const isGiven = entries !== 'compacted' && entries !== 'unreadable' && entries.length > 0;
    assert(isGiven, 'the log cannot be read', { low, end });
    for (const entry of entries) {
      if (entry.type !== 'conf') continue;
      history.push({ conf: decodeConf(entry.data).conf, confIndex: entry.index });
      history.prune(applied, applied);
    }
    low = (low + entries.length) as LogIndex;
  }
  return history;
}

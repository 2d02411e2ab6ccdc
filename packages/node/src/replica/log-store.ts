/**
 * The raft core's view of the durable log: the WAL's group log, plus what only a node knows.
 *
 * Bytes that rotted since the log was opened are met here when a peer needs an old entry. Somebody
 * is told, who makes them good; until then nobody gets the entry, and the disk is not asked for it
 * again. Who listens stops the node where nothing helps: the next start repairs the log before it
 * takes part, or says what is lost. Before anybody listens, at the start, rot is an error.
 */
import type { ConfState, Entry, LogIndex, SnapshotMeta, Term } from '@holdfast/base';
import { HoldfastError, logIndex, term, toHoldfastError } from '@holdfast/base';
import type { InitialState, LogReader } from '@holdfast/raft';
import type { GroupLog } from '@holdfast/storage';

export interface LogStoreOptions {
  readonly log: GroupLog;
  /** Configuration in force at the snapshot, or the first one of identity.json. */
  readonly conf: ConfState;
  readonly confIndex: LogIndex;
  /** Applied index of the state machine when the node started. */
  readonly applied: LogIndex;
  /** Newest checkpoint that can be sent to a peer. */
  readonly snapshotMeta: () => SnapshotMeta | null;
}

/** Makes the entry readable: null; or tells why that is not possible. */
export type RotListener = (index: LogIndex, rot: HoldfastError) => Promise<HoldfastError | null>;

/** Entries waited for at a time; a log with more of them is repaired at the next start. */
const ROTTEN_COUNT_MAX = 256;

export class LogStore implements LogReader {
  readonly #options: LogStoreOptions;
  readonly #log: GroupLog;
  readonly #rotten = new Set<LogIndex>();
  #onRot: RotListener | null = null;

  constructor(options: LogStoreOptions) {
    this.#options = options;
    this.#log = options.log;
  }

  initialState(): InitialState {
    const hardState = this.#log.hardState() ?? { term: term(0), vote: null, commit: logIndex(0) };
    const { applied, conf, confIndex } = this.#options;
    return { hardState, conf, confIndex, applied };
  }

  firstIndex(): LogIndex {
    return this.#log.firstIndex();
  }

  lastIndex(): LogIndex {
    return this.#log.lastIndex();
  }

  term(index: LogIndex): Term | 'compacted' | 'unavailable' {
    return this.#log.term(index);
  }

  sum(index: LogIndex): Uint8Array | 'compacted' | 'unavailable' {
    return this.#log.sum(index);
  }

  /** From now on rot is handed to `listener`; once. */
  onRot(listener: RotListener): void {
    this.#onRot = listener;
  }

  entries(
    low: LogIndex,
    high: LogIndex,
    sizeBytesMax: number,
  ): readonly Entry[] | 'compacted' | 'unreadable' {
    if (this.#rotten.has(low)) return 'unreadable';
    try {
      return this.#log.entries(low, high, sizeBytesMax);
    } catch (thrown) {
      const index = this.#report(thrown);
      return index > low && index < high ? this.entries(low, index, sizeBytesMax) : 'unreadable';
    }
  }

  /** @throws what was thrown, when it is nothing that can be made good */
  #report(thrown: unknown): LogIndex {
    const index = rottenIndexOf(thrown);
    if (index === null || this.#onRot === null) throw thrown;
    if (this.#rotten.size >= ROTTEN_COUNT_MAX) throw thrown;
    if (!this.#rotten.has(index)) {
      this.#rotten.add(index);
      void this.#onRot(index, toHoldfastError(thrown)).then((left) => {
        if (left === null) this.#rotten.delete(index);
      });
    }
    return index;
  }

  snapshotMeta(): SnapshotMeta | null {
    return this.#options.snapshotMeta();
  }
}

/** The entry whose bytes are bad, when that is what the error says. */
export function rottenIndexOf(thrown: unknown): LogIndex | null {
  if (!(thrown instanceof HoldfastError) || thrown.code !== 'WAL_CORRUPT') return null;
  const { index } = thrown.details;
  return typeof index === 'number' ? logIndex(index) : null;
}

/** The raft core's view of the durable log: the WAL's group log, plus what only a node knows. */
import type { ConfState, Entry, LogIndex, SnapshotMeta, Term } from '@holdfast/base';
import { logIndex, term } from '@holdfast/base';
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

export class LogStore implements LogReader {
  readonly #options: LogStoreOptions;
  readonly #log: GroupLog;

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

  entries(low: LogIndex, high: LogIndex, sizeBytesMax: number): readonly Entry[] | 'compacted' {
    return this.#log.entries(low, high, sizeBytesMax);
  }

  snapshotMeta(): SnapshotMeta | null {
    return this.#options.snapshotMeta();
  }
}

/**
 * What the whole group has ever agreed on, index by index, seen from outside.
 *
 * - log matching: one (index, term) has one chain sum everywhere, hence one history before it;
 * - committed entries are on the disks of a quorum when they are first known to be committed, and
 *   never change afterwards.
 */
import type { ConfState, LogIndex, NodeId, Term } from '@holdfast/base';
import { assert, sumsEqual } from '@holdfast/base';
import type { GroupLog } from '@holdfast/storage';

interface CommittedEntry {
  readonly sum: Uint8Array;
  /** Term of the replica that first knew it committed. */
  readonly knownInTerm: Term;
}

/** A key of (index, term) that fits a safe integer: no simulation reaches this many terms. */
const TERM_COUNT_MAX = 2 ** 20;

export class CommittedLedger {
  /** By index; slot 0 is unused. */
  readonly #committed: CommittedEntry[] = [];
  readonly #sums = new Map<number, Uint8Array>();
  readonly #onEntry: (log: GroupLog, index: LogIndex) => void;

  /** `onEntry` is told of every entry that becomes durable anywhere, once per (index, term). */
  constructor(onEntry: (log: GroupLog, index: LogIndex) => void) {
    this.#onEntry = onEntry;
  }

  get committedIndex(): LogIndex {
    return Math.max(0, this.#committed.length - 1) as LogIndex;
  }

  /** A durable log has grown, or its end was replaced: every entry not seen before is compared. */
  logChanged(id: NodeId, log: GroupLog): void {
    const first = log.firstIndex();
    for (let index = log.lastIndex(); index >= first; index = (index - 1) as LogIndex) {
      const term = log.term(index);
      const sum = log.sum(index);
      // A damaged entry says nothing; what lies before it is compared all the same.
      if (typeof term === 'string' || typeof sum === 'string') continue;
      assert(term < TERM_COUNT_MAX, 'the simulation ran out of terms', { term });
      const key = index * TERM_COUNT_MAX + term;
      const known = this.#sums.get(key);
      if (known !== undefined) {
        assert(sumsEqual(known, sum), 'log matching: two entries with one index and term', {
          id,
          index,
          term,
        });
        // The chain vouches for everything before.
        return;
      }
      this.#sums.set(key, sum);
      this.#onEntry(log, index);
    }
  }

  /**
   * A replica of `knownInTerm` knows that everything up to `commit` is committed. Whoever knows it
   * first must find it on the disks of a quorum.
   */
  commitKnown(
    commit: LogIndex,
    knownInTerm: Term,
    conf: ConfState,
    logs: ReadonlyMap<NodeId, GroupLog>,
  ): void {
    assert(commit > this.committedIndex, 'it must be news');
    const holder = quorumHolder(commit, conf, logs);
    for (let index = this.committedIndex + 1; index <= commit; index++) {
      const sum = holder.sum(index as LogIndex);
      // Compacted already: the base vouches for it, and nobody can be asked for it any more.
      if (sum instanceof Uint8Array) this.#committed[index] = { sum, knownInTerm };
      else this.#committed.length = index + 1;
    }
  }

  /** Whatever `log` holds at `index` is what was committed there. */
  checkCommitted(id: NodeId, index: LogIndex, log: GroupLog, what: string): void {
    if (index === 0) return;
    assert(index <= this.committedIndex, `${what}: nobody has committed it`, {
      id,
      index,
      committedIndex: this.committedIndex,
    });
    this.checkSum(id, index, log.sum(index), what);
  }

  checkSum(
    id: NodeId,
    index: LogIndex,
    sum: Uint8Array | 'compacted' | 'unavailable',
    what: string,
  ): void {
    const known = this.#committed[index];
    if (known === undefined || typeof sum === 'string') return;
    assert(sumsEqual(known.sum, sum), `${what}: another entry was committed at this index`, {
      id,
      index,
    });
  }

  /** Newest index that was committed before `term`: a leader of this term must hold it. */
  committedBefore(term: Term): LogIndex {
    let index = this.committedIndex;
    while (index > 0 && (this.#committed[index]?.knownInTerm ?? 0) >= term)
      index = (index - 1) as LogIndex;
    return index;
  }
}

/** A log that agrees at `index` with those of a quorum of every half of the configuration. */
function quorumHolder(
  index: LogIndex,
  conf: ConfState,
  logs: ReadonlyMap<NodeId, GroupLog>,
): GroupLog {
  for (const candidate of [...conf.voters, ...conf.votersOutgoing]) {
    const log = logs.get(candidate);
    const sum = log?.sum(index);
    if (log === undefined || !(sum instanceof Uint8Array)) continue;
    const holds = (id: NodeId): boolean => {
      const own = logs.get(id);
      const found = own?.sum(index);
      if (own === undefined || found === undefined) return false;
      if (found instanceof Uint8Array) return sumsEqual(found, sum);
      // What rotted at rest was held, and comes back from the others.
      return found === 'compacted' || index <= own.lastIndex();
    };
    const hasQuorum = (voters: readonly NodeId[]): boolean =>
      voters.length === 0 || voters.filter(holds).length * 2 > voters.length;
    if (hasQuorum(conf.voters) && hasQuorum(conf.votersOutgoing)) return log;
  }
  assert(false, 'committed without a durable quorum', {
    index,
    voters: conf.voters,
    lastIndexes: [...logs].map(([id, log]) => `${id}: ${log.lastIndex()}`),
  });
}

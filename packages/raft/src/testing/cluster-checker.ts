/**
 * The global invariants of a group, checked as things happen (Figure 3 of the paper and ours):
 *
 * - election safety: a term is led by at most one life of one replica;
 * - log matching: an (index, term) has one chain sum everywhere, hence one history;
 * - committed entries never change, and are durable on a quorum when they are first committed;
 * - leader completeness: a leader of a later term holds everything committed before;
 * - state machine safety: every replica applies the same entry at an index;
 * - nothing is promised to a peer (vote, campaign, acknowledgement) that a crash could undo;
 * - a linearizable read sees everything committed anywhere before it was asked.
 */
import type { Entry, LogIndex, NodeId, SnapshotMeta, Term } from '@holdfast/base';
import { assert, sumsEqual } from '@holdfast/base';
import type { RaftMessage } from '../messages.ts';
import { majorityCount } from '../quorum/majority.ts';
import type { AppendRequest, ReadState } from '../ready.ts';
import type { ReplicaObserver, SimReplica } from './sim-replica.ts';

interface CommittedEntry {
  readonly sum: Uint8Array;
  readonly term: Term;
  /** Term of the replica that first knew it committed. */
  readonly knownInTerm: Term;
}

export class ClusterChecker implements ReplicaObserver {
  readonly #voters: readonly NodeId[];
  readonly #replicas: ReadonlyMap<NodeId, SimReplica>;
  readonly #leaders = new Map<Term, string>();
  readonly #sums = new Map<string, Uint8Array>();
  /** By index; slot 0 is unused. */
  readonly #committed: CommittedEntry[] = [];
  readonly #reads = new Map<string, LogIndex>();
  readonly #appliedThrough = new Map<string, LogIndex>();
  readsChecked = 0;

  constructor(voters: readonly NodeId[], replicas: ReadonlyMap<NodeId, SimReplica>) {
    this.#voters = voters;
    this.#replicas = replicas;
  }

  get committedIndex(): LogIndex {
    return Math.max(0, this.#committed.length - 1) as LogIndex;
  }

  get termsLed(): number {
    return this.#leaders.size;
  }

  /** To be called after every input to `replica`. */
  check(replica: SimReplica): void {
    replica.core.checkInvariants();
    const { role, term, commit } = replica.core.status();
    if (role === 'leader') this.#checkLeader(replica, term);
    this.#checkCommit(replica, commit, term);
  }

  readAsked(replica: SimReplica, requestId: number): void {
    this.#reads.set(`${replica.id}#${replica.boot}/${requestId}`, this.committedIndex);
  }

  readAnswered(replica: SimReplica, read: ReadState): void {
    const floor = this.#reads.get(`${replica.id}#${replica.boot}/${read.requestId}`);
    assert(floor !== undefined, 'a read was answered twice or never asked', { read });
    this.#reads.delete(`${replica.id}#${replica.boot}/${read.requestId}`);
    if (read.outcome.kind === 'aborted') return;
    this.readsChecked += 1;
    assert(read.outcome.index >= floor, 'stale read', { index: read.outcome.index, floor });
  }

  appendWritten(_replica: SimReplica, append: AppendRequest): void {
    for (const entry of append.entries) this.#checkSum(entry.index, entry.term, entry.sum);
  }

  entriesApplied(replica: SimReplica, entries: readonly Entry[]): void {
    for (const entry of entries) this.#checkApplied(replica, entry.index, entry.sum);
  }

  snapshotInstalled(replica: SimReplica, meta: SnapshotMeta): void {
    this.#checkApplied(replica, meta.index, meta.sum);
  }

  /** Whatever a peer may rely on must already survive a crash of the sender. */
  messageLeaving(replica: SimReplica, message: RaftMessage): void {
    const durable = replica.log.syncedHardState();
    if (message.kind === 'preVote') return;
    assert(durable.term >= message.term, 'a message overtook its own term', { message });
    const last = replica.log.syncedLastIndex();
    switch (message.kind) {
      case 'vote':
        assert(durable.term > message.term || durable.vote === replica.id, 'own vote not durable');
        // A log replaced since by one that wins the comparison promises more, not less.
        assert(
          replica.log.syncedLastTerm() > message.lastTerm || last >= message.lastIndex,
          'campaigned with a log that is not durable',
          { message },
        );
        break;
      case 'voteResponse':
        if (message.isGranted && durable.term === message.term)
          assert(durable.vote === message.to, 'granted a vote that is not durable', { message });
        break;
      case 'appendResponse':
        if (durable.term === message.term)
          assert(last >= message.matchIndex, 'acknowledged what is not durable', { message, last });
        break;
      default:
        break;
    }
  }

  #checkSum(index: LogIndex, term: Term, sum: Uint8Array): void {
    const key = `${index}:${term}`;
    const known = this.#sums.get(key);
    if (known === undefined) this.#sums.set(key, sum);
    else assert(sumsEqual(known, sum), 'two entries with one index and term', { index, term });
  }

  #checkLeader(replica: SimReplica, term: Term): void {
    const name = `${replica.id}#${replica.boot}`;
    const known = this.#leaders.get(term);
    if (known === name) return;
    assert(known === undefined, 'a term was led twice', { term, known, name });
    this.#leaders.set(term, name);
    let index = this.committedIndex;
    while (index > 0 && this.#committed[index]!.knownInTerm >= term)
      index = (index - 1) as LogIndex;
    if (index === 0) return;
    const { lastIndex } = replica.core.status();
    assert(lastIndex >= index, 'a leader lacks committed entries', { index, lastIndex, term });
    const sum = replica.log.sum(index);
    if (typeof sum === 'string') return;
    assert(sumsEqual(sum, this.#committed[index]!.sum), 'a leader has other committed entries', {
      index,
      term,
    });
  }

  #checkCommit(replica: SimReplica, commit: LogIndex, knownInTerm: Term): void {
    for (let at = this.#committed.length === 0 ? 1 : this.#committed.length; at <= commit; at++) {
      const index = at as LogIndex;
      const sum = replica.log.sum(index);
      const term = replica.log.term(index);
      assert(typeof sum !== 'string' && typeof term === 'number', 'committed but unreadable', {
        index,
        term,
      });
      this.#committed[index] = { sum, term, knownInTerm };
      this.#checkQuorum(index, sum);
    }
    const position = replica.log.sum(commit);
    const known = this.#committed[commit];
    if (known === undefined || typeof position === 'string') return;
    if (commit < replica.log.firstIndex() || commit > replica.log.lastIndex()) return;
    assert(sumsEqual(known.sum, position), 'a committed entry changed', { index: commit });
  }

  #checkQuorum(index: LogIndex, sum: Uint8Array): void {
    let holders = 0;
    for (const voter of this.#voters) {
      const log = this.#replicas.get(voter)!.log;
      const own = log.syncedSum(index);
      if (index < log.syncedFirstIndex() - 1 || (own !== null && sumsEqual(own, sum))) holders += 1;
    }
    assert(holders >= majorityCount(this.#voters.length), 'committed without a durable quorum', {
      index,
      holders,
    });
  }

  #checkApplied(replica: SimReplica, index: LogIndex, sum: Uint8Array): void {
    const committed = this.#committed[index];
    assert(committed !== undefined, 'applied before it was committed', { index });
    assert(sumsEqual(committed.sum, sum), 'replicas applied different entries', {
      id: replica.id,
      index,
    });
    const life = `${replica.id}#${replica.boot}`;
    assert(index > (this.#appliedThrough.get(life) ?? 0), 'applied twice in one life', { index });
    this.#appliedThrough.set(life, index);
    assert(replica.log.syncedLastIndex() >= index, 'applied what is not durable', { index });
  }
}

/**
 * The global invariants of a group, checked as things happen (Figure 3 of the paper and ours):
 *
 * - election safety: a term is led by at most one life of one replica;
 * - log matching: an (index, term) has one chain sum everywhere, hence one history;
 * - committed entries never change, and are durable on a quorum when they are first committed;
 * - leader completeness: a leader of a later term holds everything committed before;
 * - state machine safety: every replica applies the same entry at an index;
 * - nothing is promised to a peer (vote, campaign, acknowledgement) that a crash could undo;
 * - configurations committed one after the other have quorums that meet, at most one is
 *   uncommitted, and a snapshot carries the configuration of its index;
 * - a linearizable read sees everything committed anywhere before it was asked.
 */
import type {
  ConfState,
  Entry,
  Incarnation,
  LogIndex,
  NodeId,
  SnapshotMeta,
  Term,
} from '@holdfast/base';
import { assert, decodeConf, encodeConf, memberOf, must, sumsEqual } from '@holdfast/base';
import type { ConfAtIndex } from '../membership/conf-history.ts';
import type { RaftMessage } from '../messages.ts';
import { majorityCount } from '../quorum/majority.ts';
import type { AppendRequest, RaftEvent, ReadState } from '../ready.ts';
import type { InMemoryLog } from './memory-log.ts';
import { doQuorumsOverlap } from './quorum-overlap.ts';
import type { ReplicaObserver, SimReplica } from './sim-replica.ts';

interface CommittedEntry {
  readonly sum: Uint8Array;
  readonly term: Term;
  /** Term of the replica that first knew it committed. */
  readonly knownInTerm: Term;
}

export class ClusterChecker implements ReplicaObserver {
  readonly #replicas: ReadonlyMap<NodeId, SimReplica>;
  readonly #leaders = new Map<Term, string>();
  readonly #sums = new Map<string, Uint8Array>();
  /** By index; slot 0 is unused. */
  readonly #committed: CommittedEntry[] = [];
  readonly #reads = new Map<string, LogIndex>();
  /** Committed configurations in log order. */
  readonly #confs: ConfAtIndex[] = [];
  /** What incarnations that are gone held: losing a disk takes nothing back. */
  readonly #lostDisks = new Map<Incarnation, InMemoryLog>();
  readonly #appliedThrough = new Map<string, LogIndex>();
  readsChecked = 0;
  leaseReadsChecked = 0;
  transfersCompleted = 0;
  readonly #eventCounts = new Map<RaftEvent['kind'], number>();

  constructor(first: ConfState, replicas: ReadonlyMap<NodeId, SimReplica>) {
    this.#confs.push({ conf: first, confIndex: 0 as LogIndex });
    this.#replicas = replicas;
  }

  get committedIndex(): LogIndex {
    return Math.max(0, this.#committed.length - 1) as LogIndex;
  }

  /** What is known to be committed at `index`, and the term that knew it first; null: nothing. */
  committedAt(index: number): { readonly sum: Uint8Array; readonly knownInTerm: Term } | null {
    return this.#committed[index] ?? null;
  }

  get termsLed(): number {
    return this.#leaders.size;
  }

  /** The newest configuration known to be committed. */
  get conf(): ConfAtIndex {
    return must(this.#confs.at(-1));
  }

  get committedConfCount(): number {
    return this.#confs.length - 1;
  }

  /** To be called after every input to `replica`. */
  check(replica: SimReplica): void {
    replica.core.checkInvariants();
    const { role, term, commit, applied } = replica.core.status();
    const { conf, confIndex } = replica.core.status();
    assert(
      replica.conf.confIndex === confIndex && areSame(replica.conf.conf, conf),
      'the host was not told of a configuration',
      { told: replica.conf.confIndex, confIndex },
    );
    if (role === 'leader') this.#checkLeader(replica, term);
    this.#checkCommit(replica, commit, term);
    // Restarted between taking over a snapshot and applying it, a replica knows nothing older.
    if (applied < replica.firstConfIndex) return;
    const kept = replica.core.confAt(applied).confIndex;
    const committed = this.#confAt(applied).confIndex;
    assert(kept === committed, 'another configuration was committed at an index', {
      applied,
      kept,
      committed,
    });
  }

  /** `replica` is about to lose its disk for good. */
  diskLost(replica: SimReplica): void {
    this.#lostDisks.set(replica.incarnation, replica.log);
  }

  /** How often it was seen, on all replicas in all their lives. */
  eventCount(kind: RaftEvent['kind']): number {
    return this.#eventCounts.get(kind) ?? 0;
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

  /** Nothing may be committed anywhere that a read without a question to anyone does not see. */
  leaseReadServed(index: LogIndex): void {
    this.leaseReadsChecked += 1;
    const floor = this.committedIndex;
    assert(index >= floor, 'stale lease read', { index, floor });
  }

  appendWritten(replica: SimReplica, append: AppendRequest): void {
    for (const entry of append.entries) this.#checkSum(entry.index, entry.term, entry.sum);
    if (append.entries.some(({ type }) => type === 'conf')) {
      // One input may commit a configuration and propose the next.
      const { commit, term } = replica.core.status();
      this.#checkCommit(replica, commit, term);
      this.#checkPendingConfs(replica);
    }
  }

  entriesApplied(replica: SimReplica, entries: readonly Entry[]): void {
    for (const entry of entries) this.#checkApplied(replica, entry.index, entry.sum);
  }

  /** Nobody lies here and no disk forgets, so nobody may see a contradiction. */
  eventSeen(replica: SimReplica, event: RaftEvent): void {
    this.#eventCounts.set(event.kind, this.eventCount(event.kind) + 1);
    if (event.kind === 'transferEnded' && event.outcome === 'completed')
      this.transfersCompleted += 1;
    assert(event.kind !== 'contradictionSeen', 'a contradiction was seen', {
      id: replica.id,
      event,
    });
  }

  snapshotInstalled(replica: SimReplica, meta: SnapshotMeta): void {
    this.#checkApplied(replica, meta.index, meta.sum);
    const { conf, confIndex } = this.#confAt(meta.index);
    assert(
      meta.confIndex === confIndex && areSame(meta.conf, conf),
      'a snapshot carries another configuration than was committed at its index',
      { index: meta.index, confIndex: meta.confIndex, committed: confIndex },
    );
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
      this.#checkQuorum(replica, index, sum);
      this.#noteConf(replica, index);
    }
    const position = replica.log.sum(commit);
    const known = this.#committed[commit];
    if (known === undefined || typeof position === 'string') return;
    if (commit < replica.log.firstIndex() || commit > replica.log.lastIndex()) return;
    assert(sumsEqual(known.sum, position), 'a committed entry changed', { index: commit });
  }

  /** By the configuration in force on the leader that commits it. */
  #checkQuorum({ core }: SimReplica, index: LogIndex, sum: Uint8Array): void {
    const { conf } = core.status();
    for (const voters of [conf.voters, conf.votersOutgoing]) {
      if (voters.length === 0) continue;
      const holders = voters.filter((id) => {
        const log = this.#diskOf(id, conf);
        if (log === undefined) return false;
        const own = log.syncedSum(index);
        return index < log.syncedFirstIndex() - 1 || (own !== null && sumsEqual(own, sum));
      });
      assert(holders.length >= majorityCount(voters.length), 'committed without a durable quorum', {
        index,
        voters,
        holders,
      });
    }
  }

  /** The disk of the very life that `conf` names. */
  #diskOf(id: NodeId, conf: ConfState): InMemoryLog | undefined {
    const member = memberOf(conf, id);
    const replica = this.#replicas.get(id);
    if (member === null) return undefined;
    if (replica?.incarnation === member.incarnation) return replica.log;
    return this.#lostDisks.get(member.incarnation);
  }

  #confAt(index: LogIndex): ConfAtIndex {
    return must(this.#confs.findLast(({ confIndex }) => confIndex <= index));
  }

  #noteConf({ log }: SimReplica, index: LogIndex): void {
    const entry = entryAt(log, index);
    if (entry?.type !== 'conf') return;
    const { conf } = decodeConf(entry.data);
    const before = this.conf.conf;
    assert(doQuorumsOverlap(before, conf), 'two committed configurations can decide apart', {
      before,
      conf,
    });
    this.#confs.push({ conf, confIndex: index });
  }

  /** A leader proposes a configuration only once the one before is committed. */
  #checkPendingConfs({ log }: SimReplica): void {
    let count = 0;
    for (let index = this.committedIndex + 1; index <= log.lastIndex(); index++)
      if (entryAt(log, index as LogIndex)?.type === 'conf') count += 1;
    assert(count <= 1, 'a log holds two uncommitted configurations', { count });
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

/** Null when it is compacted or missing. */
function entryAt(log: InMemoryLog, index: LogIndex): Entry | null {
  if (index < log.firstIndex() || index > log.lastIndex()) return null;
  const entries = log.entries(index, (index + 1) as LogIndex, 1);
  return entries === 'compacted' ? null : (entries[0] ?? null);
}

/** By their bytes, which most of the time is needless: both are the same object. */
const areSame = (left: ConfState, right: ConfState): boolean =>
  left === right || sumsEqual(encodeConf(left), encodeConf(right));

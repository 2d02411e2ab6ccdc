/**
 * Decides how one damaged range of the own log is healed before the replica takes part again.
 * Pure: answers and ticks go in, requests and one verdict come out. The host asks it for the lowest
 * range first, carries the verdict out, and begins again with what is still damaged.
 *
 * What it may conclude, strongest first:
 * 1. proof: entries that hang on the intact entry before the range, and that the intact entry after
 *    it (or the known sum of the last one) hangs on, are the lost entries, whoever sent them;
 * 2. authority: the log of a leader of this or a later term, or the most up-to-date log among
 *    voters that block every quorum and have all left the terms of the lost entries behind. Every
 *    entry that was committed with the help of this replica is in that log (the argument of
 *    leader completeness, section 5.4.3, with those voters in the place of the voters). What it
 *    holds is taken, what it does not hold is given up;
 * 3. a snapshot past the range, when a leader has compacted the entries away: they were committed.
 *    Only a leader that goes on without this replica counts: the rest of the group then holds every
 *    acknowledged entry, and this replica may begin again as a new incarnation;
 * 4. lost: every member was heard and neither is possible, now or later.
 *
 * A voter says no to an entry only if its durable term is above the term of the entry. Otherwise
 * the leader of that term may still be on its way to it: it could acknowledge tomorrow what it
 * denies today. Above that term it refuses that leader for ever. A leader needs no later term: it
 * wrote every entry of its term itself, and its log only grows.
 *
 * Nothing at or below what this replica knows to be committed is ever given up.
 */
import type {
  ConfState,
  Entry,
  EntryHasher,
  GroupId,
  Incarnation,
  LogIndex,
  NodeId,
  Term,
} from '@holdfast/base';
import { assert, sumsEqual } from '@holdfast/base';
import { refusalOfMessage } from '../envelope.ts';
import type { RaftMessage } from '../messages.ts';
import type { CandidateEntry } from './candidate-entries.ts';
import { CandidateEntries, pathTo } from './candidate-entries.ts';
import type { LostRange, RepairLog } from './entry-answer.ts';
import { isNackQuorum } from './nack-quorum.ts';
import { PeerEvidence } from './peer-evidence.ts';

export interface RangeRepairOptions {
  readonly id: NodeId;
  readonly group: GroupId;
  readonly incarnation: Incarnation;
  readonly hash: EntryHasher;
  readonly log: RepairLog;
  readonly range: LostRange;
  /** Own durable term: no entry of the own log is of a later one. */
  readonly term: Term;
  /** Highest index this replica knows to be committed: commit hint, checkpoint. */
  readonly committed: LogIndex;
  /** The newest configuration known, and its index: whom to ask. */
  readonly conf: ConfState;
  readonly confIndex: LogIndex;
  /** Every configuration known to have been in force at the start of the range or after it. */
  readonly confs: readonly ConfState[];
  /** Ticks until an unanswered request is sent again; doubles up to `retryTicksMax`. */
  readonly retryTicks: number;
  readonly retryTicksMax: number;
  /** How long a verdict `lost` must stand: others still need this replica's answers. */
  readonly lostTicks: number;
  /** How long a leader must lead without this replica; over the time after which one steps down. */
  readonly reseedTicks: number;
}

export type RepairVerdict =
  /** Write these: they fill the range from its start; `isProven` by the chain on both sides. */
  | { readonly kind: 'repair'; readonly entries: readonly Entry[]; readonly isProven: boolean }
  /** Nothing from `from` on was committed with this replica's help. */
  | { readonly kind: 'discard'; readonly from: LogIndex; readonly witnesses: readonly NodeId[] }
  /** Only a snapshot of this leader heals the range; what this replica has may be given up. */
  | { readonly kind: 'reseed'; readonly leader: NodeId }
  | { readonly kind: 'lost'; readonly from: LogIndex; readonly holders: readonly NodeId[] };

/** For status pages: what the repair waits for. */
export interface RepairProgress {
  readonly low: LogIndex;
  readonly high: LogIndex;
  /** Entries through this index were supplied by some peer. */
  readonly fetchedThrough: number;
  readonly unheard: readonly NodeId[];
  /** Only a snapshot past `high` can heal the range: its entries were compacted away. */
  readonly needsSnapshot: boolean;
  readonly isLost: boolean;
}

interface Pending {
  readonly requestId: number;
  readonly dueTick: number;
}

export class RangeRepair {
  readonly #options: RangeRepairOptions;
  readonly #candidates: CandidateEntries;
  readonly #peers: readonly PeerEvidence[];
  readonly #termBound: Term;
  readonly #pending = new Map<NodeId, Pending>();
  readonly #attempts = new Map<NodeId, number>();
  #outbox: RaftMessage[] = [];
  #verdict: RepairVerdict | null = null;
  #lostSinceTick: number | null = null;
  #reseed: {
    readonly leader: PeerEvidence;
    readonly term: Term;
    readonly sinceTick: number;
  } | null = null;
  #tick = 0;
  #lastRequestId = 0;

  constructor(options: RangeRepairOptions) {
    this.#options = options;
    const { conf, hash, id, log, range } = options;
    const previousSum = log.sum((range.low - 1) as LogIndex);
    assert(typeof previousSum !== 'string', 'the entry before the range must be intact', { range });
    this.#candidates = new CandidateEntries(range.low, previousSum, hash);
    this.#peers = conf.members
      .filter((member) => member.nodeId !== id)
      .map((member) => new PeerEvidence(member, range.low, range.high));
    this.#termBound = termBoundOf(options);
    this.#judge();
  }

  /** Once it is there it stays: carry it out. */
  get verdict(): RepairVerdict | null {
    return this.#verdict;
  }

  progress(): RepairProgress {
    const { low, high } = this.#options.range;
    const unheard = this.#peers.filter((peer) => peer.state === 'unheard');
    return {
      low,
      high,
      fetchedThrough: Math.max(low - 1, this.#candidates.through),
      unheard: unheard.map((peer) => peer.member.nodeId),
      needsSnapshot: this.#needsSnapshot(),
      isLost: this.#lostSinceTick !== null,
    };
  }

  /** Requests to send, oldest first; each call empties the list. */
  takeMessages(): readonly RaftMessage[] {
    const messages = this.#outbox;
    this.#outbox = [];
    return messages;
  }

  tick(): void {
    if (this.#verdict !== null) return;
    this.#tick += 1;
    for (const peer of this.#peers) {
      const pending = this.#pending.get(peer.member.nodeId);
      if (pending === undefined || pending.dueTick <= this.#tick) this.#ask(peer);
    }
    this.#judgeReseed();
    this.#judgeLost();
  }

  /** Anything else than an answer to one of its requests is ignored. */
  receive(message: RaftMessage): void {
    if (this.#verdict !== null || message.kind !== 'entryResponse') return;
    const { conf, confIndex } = this.#options;
    if (refusalOfMessage(this.#options, { conf, confIndex }, message) !== null) return;
    const peer = this.#peers.find(({ member }) => member.nodeId === message.from);
    const pending = this.#pending.get(message.from);
    if (peer === undefined || pending?.requestId !== message.requestId) return;
    if (message.low !== peer.nextLow) return;
    peer.take(message, message.term, this.#candidates);
    this.#attempts.set(message.from, 0);
    if (peer.hasMore) this.#ask(peer);
    else this.#scheduleRefresh(peer);
    this.#judge();
  }

  #ask(peer: PeerEvidence): void {
    const { group, id, incarnation, range, retryTicks, retryTicksMax, term } = this.#options;
    const { nodeId, incarnation: toIncarnation } = peer.member;
    const attempt = this.#attempts.get(nodeId) ?? 0;
    this.#attempts.set(nodeId, attempt + 1);
    this.#lastRequestId += 1;
    const waitTicks = Math.min(retryTicksMax, retryTicks * 2 ** Math.min(attempt, 16));
    const requestId = this.#lastRequestId;
    this.#pending.set(nodeId, { requestId, dueTick: this.#tick + waitTicks });
    this.#outbox.push({
      kind: 'entryRequest',
      requestId,
      low: peer.nextLow,
      high: (range.high + 1) as LogIndex,
      group,
      from: id,
      to: nodeId,
      fromIncarnation: incarnation,
      toIncarnation,
      term,
      confIndex: this.#options.confIndex,
    });
  }

  /** Its term may rise, it may become leader, or its own repair may find what it lacks. */
  #scheduleRefresh(peer: PeerEvidence): void {
    const dueTick = this.#tick + this.#options.retryTicks;
    this.#pending.set(peer.member.nodeId, { requestId: 0, dueTick });
  }

  #judge(): void {
    this.#verdict = this.#judgeByProof() ?? this.#judgeByAuthority();
    if (this.#verdict === null) this.#judgeLost();
  }

  #judgeByProof(): RepairVerdict | null {
    for (const candidate of this.#candidates.at(this.#options.range.high)) {
      if (this.#endOf(candidate) !== 'proven') continue;
      return { kind: 'repair', entries: pathTo(candidate), isProven: true };
    }
    return null;
  }

  /** How the last entry of a complete path fits to what is known of the end of the range. */
  #endOf({ entry }: CandidateEntry): 'proven' | 'refuted' | 'open' {
    const { hash, log, range } = this.#options;
    if (range.lastTerm !== null && range.lastTerm !== entry.term) return 'refuted';
    if (range.lastSum !== null) return sumsEqual(range.lastSum, entry.sum) ? 'proven' : 'refuted';
    if (range.high >= log.lastIndex()) return 'open';
    const [next] = log.entries((range.high + 1) as LogIndex, (range.high + 2) as LogIndex, 1);
    assert(next !== undefined && typeof next !== 'string', 'a range ends at an intact entry');
    const sum = hash(entry.sum, next.term, next.index, next.type, next.data);
    return sumsEqual(sum, next.sum) ? 'proven' : 'refuted';
  }

  #judgeByAuthority(): RepairVerdict | null {
    const settled = this.#peers.filter((peer) => peer.state === 'complete');
    const leader = settled.find((peer) => peer.isLeader && peer.term >= this.#termBound);
    if (leader !== undefined) return this.#follow(leader, [leader]);
    const witnesses = settled.filter((peer) => peer.term > this.#termBound);
    const names = new Set(witnesses.map((peer) => peer.member.nodeId));
    if (!isNackQuorum(this.#options.confs, this.#options.id, names)) return null;
    return this.#follow(newestOf(witnesses), witnesses);
  }

  /**
   * Makes the own log agree with the log of `source` as far as the range goes. Entries of later
   * terms than any that was lost are not taken: they come in the ordinary way, after the term.
   */
  #follow(source: PeerEvidence, witnesses: readonly PeerEvidence[]): RepairVerdict | null {
    const { range } = this.#options;
    let { tip } = source;
    while (tip !== null && tip.entry.term > this.#termBound) tip = tip.previous;
    if (tip?.entry.index === range.high) {
      const end = this.#endOf(tip);
      if (end === 'open') return { kind: 'repair', entries: pathTo(tip), isProven: false };
      // It is not what was lost, so nothing from there on is in the log that is followed.
      return this.#discard(range.high, witnesses);
    }
    return this.#discard((tip?.entry.index ?? range.low - 1) + 1, witnesses);
  }

  #discard(from: number, witnesses: readonly PeerEvidence[]): RepairVerdict | null {
    if (from <= this.#options.committed) return null;
    const names = witnesses.map((peer) => peer.member.nodeId);
    return { kind: 'discard', from: from as LogIndex, witnesses: names };
  }

  /** Its answers come regularly, all of one term: it leads with a quorum of others. */
  #judgeReseed(): void {
    const leader = this.#peers.find((peer) => this.#isLeaderWithoutRange(peer));
    if (leader === undefined) {
      this.#reseed = null;
      return;
    }
    if (this.#reseed?.leader !== leader || this.#reseed.term !== leader.term)
      this.#reseed = { leader, term: leader.term, sinceTick: this.#tick };
    if (this.#tick - this.#reseed.sinceTick < this.#options.reseedTicks) return;
    this.#verdict = { kind: 'reseed', leader: leader.member.nodeId };
  }

  #isLeaderWithoutRange({ isLeader, member, state, term }: PeerEvidence): boolean {
    if (!isLeader || state !== 'compacted' || term < this.#termBound) return false;
    // More than one request without an answer: it may lead no more.
    return (this.#attempts.get(member.nodeId) ?? 0) <= 1;
  }

  /**
   * Lost: everyone was heard to the end, nobody has compacted the range, and even if all who do not
   * hold the entries came to say no it would not be enough.
   */
  #judgeLost(): void {
    if (this.#verdict !== null) return;
    const isHopeless = this.#isHopeless();
    if (!isHopeless) this.#lostSinceTick = null;
    else this.#lostSinceTick ??= this.#tick;
    if (this.#lostSinceTick === null) return;
    if (this.#tick - this.#lostSinceTick < this.#options.lostTicks) return;
    const from = (this.#candidates.through + 1) as LogIndex;
    const damaged = this.#peers.filter((peer) => peer.state === 'damaged');
    const holders = damaged.map((peer) => peer.member.nodeId);
    this.#verdict = { kind: 'lost', from, holders };
  }

  #isHopeless(): boolean {
    const isSettled = (peer: PeerEvidence): boolean =>
      peer.state === 'complete' || peer.state === 'damaged';
    if (!this.#peers.every(isSettled)) return false;
    const { confs, id } = this.#options;
    const refusers = this.#peers.filter((peer) => peer.state === 'complete');
    const names = new Set(refusers.map((peer) => peer.member.nodeId));
    if (!isNackQuorum(confs, id, names)) return true;
    // They need only pass into a later term; but what is committed is not given up for that.
    return this.#follow(newestOf(refusers), refusers) === null;
  }

  #needsSnapshot(): boolean {
    const compacted = this.#peers.some((peer) => peer.state === 'compacted');
    return compacted && this.#peers.every((peer) => !peer.hasMore || peer.state === 'unheard');
  }
}

const newestOf = (peers: readonly PeerEvidence[]): PeerEvidence =>
  peers.reduce((best, peer) => (isNewer(peer, best) ? peer : best));

/** The order of section 5.4.1, over what lies in the range. */
function isNewer(left: PeerEvidence, right: PeerEvidence): boolean {
  const leftTerm = left.tip?.entry.term ?? 0;
  const rightTerm = right.tip?.entry.term ?? 0;
  return leftTerm === rightTerm ? left.heldThrough > right.heldThrough : leftTerm > rightTerm;
}

/** No lost entry is of a later term: terms never fall along a log. */
function termBoundOf({ log, range, term }: RangeRepairOptions): Term {
  const last = log.term(log.lastIndex());
  if (typeof last === 'number') return last;
  const lastRange = log.damage().at(-1) ?? range;
  return lastRange.lastTerm ?? term;
}

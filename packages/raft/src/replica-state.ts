/**
 * Everything one replica knows, in one place, changed only by the role and rule modules beside it.
 * No decisions live here: only what every rule needs (sending, refusing, announcing a role).
 */
import type {
  ConfState,
  HardState,
  Incarnation,
  LogIndex,
  Member,
  NodeId,
  Term,
} from '@holdfast/base';
import { memberOf } from '@holdfast/base';
import { Deadline } from './deadline.ts';
import { DiskWatch } from './disk-watch.ts';
import { LeaderLease } from './leader-lease.ts';
import type { LogReader } from './log/log-reader.ts';
import { RaftLog } from './log/raft-log.ts';
import { type ConfAtIndex, type ConfHistory, loadConfHistory } from './membership/conf-history.ts';
import type { Farewell } from './membership/farewell.ts';
import type { Envelope, RaftMessage, RaftMessageBody } from './messages.ts';
import type { ResolvedOptions } from './options-resolved.ts';
import { Outbox } from './outbox.ts';
import { ForwardedReads, LeaderReads } from './read-queues.ts';
import type { Role } from './ready.ts';
import { Tracker } from './tracker/tracker.ts';
import type { Transfer } from './transfer.ts';
import { UncommittedBytes } from './uncommitted.ts';

/** One campaign. Its nonce is echoed by voters; a grant with another nonce is not for it. */
export interface Campaign {
  readonly isPreVote: boolean;
  readonly isTransfer: boolean;
  readonly nonce: number;
  readonly votes: Map<NodeId, boolean>;
  /** The own vote counts once this append is durable; 0 for a pre-vote, which promises nothing. */
  readonly ownVoteSeq: number;
}

export class ReplicaState {
  readonly options: ResolvedOptions;
  readonly log: RaftLog;
  readonly tracker: Tracker;
  /** The configurations of this log; the newest one is what the tracker goes by. */
  readonly confs: ConfHistory;
  readonly outbox = new Outbox();
  readonly leaderReads: LeaderReads;
  readonly forwardedReads: ForwardedReads;
  term: Term;
  vote: NodeId | null;
  role: Role = 'follower';
  leader: NodeId | null = null;
  campaign: Campaign | null = null;
  uncommitted = new UncommittedBytes();
  /** Leader only: index of the no-op that opened this leadership. */
  leadershipStartIndex: LogIndex = 0 as LogIndex;
  /** Leader only: removed members that are yet to be told. */
  farewells: Farewell[] = [];
  /**
   * A leader counts on entries up to here, which this replica may have acknowledged and lost. Until
   * it holds that many again it neither votes nor campaigns.
   */
  owedIndex: LogIndex = 0 as LogIndex;
  /** Ticks since the start of this process; only differences matter. */
  tick = 0;
  /** The host's monotonic time at the last tick. */
  nowMs = 0;
  electionElapsedTicks = 0;
  /** Drawn from [electionTimeoutTicks, 2 x electionTimeoutTicks). */
  electionDueTicks = 0;
  heartbeatElapsedTicks = 0;
  /** Runs for an election timeout after the last sign of life from the leader. */
  readonly contact = new Deadline();
  /** Runs while this replica is bound not to help to elect anyone (lease.ts). */
  readonly bond = new Deadline();
  /** Leader only: what its lease rests on. */
  lease: LeaderLease;
  /** Leader only: the transfer under way. */
  transfer: Transfer | null = null;
  /** This replica gave its leadership to that one and does not know yet who leads. */
  handedOverTo: NodeId | null = null;
  readonly disk = new DiskWatch();
  /** The stall was announced and not yet its end. */
  isDiskStallKnown = false;
  /** Leader only: peers may be owed appends, heartbeats or a read round; settled before a Ready. */
  isSettleDue = false;

  constructor(options: ResolvedOptions, reader: LogReader) {
    const { hardState } = reader.initialState();
    this.options = options;
    this.log = new RaftLog(reader, options.applyingSizeBytesMax);
    this.confs = loadConfHistory(reader);
    this.tracker = new Tracker(options, this.confs.current.conf, options);
    this.leaderReads = new LeaderReads(options.pendingReadCountMax);
    this.forwardedReads = new ForwardedReads(options.pendingReadCountMax, options.random);
    this.term = hardState.term;
    this.vote = hardState.vote;
    this.lease = new LeaderLease(options.electionTimeoutTicks);
    // A former life of this replica may have granted a lease.
    if (this.membership.conf.isLeaseEnabled) this.bond.start();
    this.drawElectionTimeout();
  }

  get id(): NodeId {
    return this.options.id;
  }

  /** The configuration in force and the log index that made it. */
  get membership(): ConfAtIndex {
    return this.confs.current;
  }

  get isOwing(): boolean {
    return this.log.durable < this.owedIndex;
  }

  get isLeader(): boolean {
    return this.role === 'leader';
  }

  /** The newest configuration is not known to be committed. */
  get isConfPending(): boolean {
    return this.membership.confIndex > this.log.committed;
  }

  /**
   * Only voters campaign; and who would be voter no more by a change that is not committed, as the
   * rest may need its log to go on (thesis section 4.2.2). It does not count itself then.
   */
  get isPromotable(): boolean {
    if (this.#isVoterIn(this.membership.conf)) return true;
    const { previous } = this.confs;
    return this.isConfPending && previous !== null && this.#isVoterIn(previous.conf);
  }

  #isVoterIn(conf: ConfState): boolean {
    const { id, incarnation } = this.options;
    if (!conf.voters.includes(id) && !conf.votersOutgoing.includes(id)) return false;
    return memberOf(conf, id)?.incarnation === incarnation;
  }

  get hardState(): HardState {
    return { term: this.term, vote: this.vote, commit: this.log.committed };
  }

  get electionTimeoutMs(): number {
    return this.options.electionTimeoutTicks * this.options.tickIntervalMs;
  }

  get diskWaitingTicks(): number {
    return this.disk.waitingTicks(this.tick);
  }

  get isDiskStalled(): boolean {
    return this.diskWaitingTicks >= this.options.diskStallTicks;
  }

  drawElectionTimeout(): void {
    const { electionTimeoutTicks, random } = this.options;
    this.electionDueTicks = electionTimeoutTicks + random.nextBelow(electionTimeoutTicks);
  }

  /**
   * Sends `body` under the gating rule (DESIGN.md): a leader's term and vote are durable, so its
   * messages may go at once; anyone else's wait until the present state is durable.
   */
  send(to: NodeId, body: RaftMessageBody): void {
    const message = this.#address(to, body, this.term);
    if (message !== null) this.#post(message);
  }

  /** Answers the very life of the sender that asked, member or not, under the gating rule. */
  reply(to: RaftMessage, body: RaftMessageBody): void {
    this.#post(this.#message(to.from, to.fromIncarnation, body, this.term));
  }

  /** Like `send`, to a member that the configuration in force no longer names. */
  sendToMember(to: Member, body: RaftMessageBody): void {
    this.#post(this.#message(to.nodeId, to.incarnation, body, this.term));
  }

  /** A pre-vote request promises nothing, so it waits for nothing. */
  sendPreVote(to: NodeId, body: RaftMessageBody & { readonly kind: 'preVote' }): void {
    const message = this.#address(to, body, (this.term + 1) as Term);
    if (message !== null) this.outbox.sendNow(message);
  }

  #post(message: RaftMessage): void {
    if (this.isLeader) this.outbox.sendNow(message);
    else this.outbox.sendGated(message);
  }

  refuse(message: RaftMessage, reason: string): void {
    this.outbox.event({ kind: 'messageRefused', from: message.from, reason });
  }

  announceRole(): void {
    const { role, term, leader } = this;
    this.outbox.event({ kind: 'roleChanged', role, term, leader });
  }

  /** `leader` leads: the end of a leadership that was given away. */
  announceHandOver(leader: NodeId): void {
    const to = this.handedOverTo;
    if (to === null) return;
    this.handedOverTo = null;
    const outcome = leader === to ? 'completed' : 'superseded';
    this.outbox.event({ kind: 'transferEnded', to, outcome });
  }

  #address(to: NodeId, body: RaftMessageBody, term: Term): RaftMessage | null {
    const member = memberOf(this.tracker.conf, to);
    if (member === null) {
      this.outbox.event({ kind: 'messageRefused', from: to, reason: 'incarnation-unknown' });
      return null;
    }
    return this.#message(to, member.incarnation, body, term);
  }

  /**
   * Completes the body in place: every caller hands over a literal of its own. Copying it into a
   * new object took 40 % of the time of an unbatched proposal.
   */
  #message(to: NodeId, toIncarnation: Incarnation, body: RaftMessageBody, term: Term): RaftMessage {
    const { options } = this;
    const message = body as { -readonly [Key in keyof Envelope]: Envelope[Key] } & RaftMessageBody;
    message.group = options.group;
    message.from = options.id;
    message.to = to;
    message.fromIncarnation = options.incarnation;
    message.toIncarnation = toIncarnation;
    message.term = term;
    message.confIndex = this.membership.confIndex;
    return message;
  }
}

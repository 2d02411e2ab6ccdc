/**
 * One replica of one Raft group as a pure, synchronous state machine: inputs go in by method, what
 * must be done comes out of `ready()`. It knows no disk, network, clock or chance of its own.
 *
 * Safety rests on one rule beyond the paper (DESIGN.md, gating): whoever is not leader lets no
 * message out before everything it knows is durable. So a vote, a request for votes and an
 * acknowledgement are all backed by disk when they are seen. A leader's term, vote and inherited
 * log are durable when it becomes one, so its messages may overtake its own disk; its own log
 * counts only as far as it is durable.
 *
 * After an InvariantViolation the replica must not be used any more.
 */
import type { LogIndex, NodeId } from '@holdfast/base';
import { assert } from '@holdfast/base';
import { noteDiskRecovery, watchDisk } from './disk-stall.ts';
import { campaign, ownVoteDurable } from './election.ts';
import { checkCheap, checkDeep, type HighWater, highWaterOf } from './invariants.ts';
import { leaseRead } from './lease.ts';
import type { LogReader } from './log/log-reader.ts';
import type { ConfChange } from './membership/change.ts';
import type { ConfAtIndex } from './membership/conf-history.ts';
import { proposeConf } from './membership/propose-conf.ts';
import { settleMembership, tickMembership } from './membership/upkeep.ts';
import type { RaftMessage } from './messages.ts';
import type { RaftOptions } from './options.ts';
import { resolveOptions } from './options-resolved.ts';
import {
  confirmReads,
  expireForwardedReads,
  settleForwardedReads,
  settleLeaderReads,
} from './read-index.ts';
import type {
  DropReason,
  GatedMessages,
  LeaseReadOutcome,
  ProposeConfOutcome,
  ProposeOutcome,
  ReadOutcome,
  Ready,
  SoftState,
  TransferOutcome,
} from './ready.ts';
import { receive } from './receive.ts';
import { ReplicaState } from './replica-state.ts';
import { settleReplication } from './replication.ts';
import { forgetLeader } from './roles/follower.ts';
import { ownEntriesDurable, propose, tickLeader } from './roles/leader.ts';
import { reportSnapshot } from './snapshot.ts';
import { type RaftStatus, statusOf } from './status.ts';
import { settleTransfer, startTransfer, tickTransfer, transferTargets } from './transfer.ts';

export class RaftCore {
  readonly #state: ReplicaState;
  readonly #highWater: HighWater;
  #soft: SoftState;
  /** The configuration the host was told last. */
  #toldConf: ConfAtIndex;
  #readCounter = 0;

  /**
   * Resumes from what `log` holds. `options.random` must be seeded differently at every start.
   * @throws HoldfastError LOG_COMPACTED when the state machine lies before the log and no snapshot
   * covers the gap; InvariantViolation when committed or applied entries are missing from the log
   */
  constructor(options: RaftOptions, log: LogReader) {
    this.#state = new ReplicaState(resolveOptions(options), log);
    this.#highWater = highWaterOf(this.#state);
    this.#soft = this.#currentSoft();
    this.#toldConf = this.#state.confs.initial;
    this.#check();
  }

  /**
   * One tick of the host's clock; `nowMs` is its monotonic time. Drain the inbox into `step` first,
   * and do not replay ticks that were missed: after a pause one tick with the time as it is now.
   */
  tick(nowMs: number): void {
    const state = this.#state;
    state.tick += 1;
    assert(nowMs >= state.nowMs, 'monotonic time went back', { from: state.nowMs, to: nowMs });
    state.nowMs = nowMs;
    state.contact.tick(nowMs, state.electionTimeoutMs);
    state.bond.tick(nowMs, state.electionTimeoutMs);
    watchDisk(state);
    state.log.tick();
    if (state.isLeader) {
      tickTransfer(state);
      tickLeader(state);
      tickMembership(state);
    } else {
      state.electionElapsedTicks += 1;
      if (state.isPromotable && state.electionElapsedTicks >= state.electionDueTicks)
        campaign(state);
      expireForwardedReads(state);
    }
    this.#check();
  }

  /**
   * Takes one message from a peer. What is not for this replica, or is malformed, is refused with a
   * `messageRefused` event, as is what contradicts this replica (`contradictionSeen`). Never throws
   * on what a peer can send.
   */
  step(message: RaftMessage): void {
    receive(this.#state, message);
    this.#check();
  }

  /**
   * Appends one normal entry per payload (at least one); the outcome names the first. The payloads
   * belong to the log from now on. Refused means: certainly nothing happened.
   */
  propose(payloads: readonly Uint8Array[]): ProposeOutcome {
    const outcome = propose(this.#state, payloads);
    this.#check();
    return outcome;
  }

  /**
   * Appends the configuration that `change` makes of the present one. It is in force at once, here
   * and wherever it is appended; a joint one that was not asked for is left by itself. Refused
   * means: certainly nothing happened.
   */
  proposeConf(change: ConfChange): ProposeConfOutcome {
    const outcome = proposeConf(this.#state, change);
    this.#check();
    return outcome;
  }

  /**
   * The configuration in force at `index`: what a snapshot of `index` must carry. For any index
   * from the applied one on, up to the commit index; a snapshot under way to the state machine
   * leaves a gap before its own index, in which nothing can be applied; after a restart in that
   * state only indexes from the snapshot's on may be asked for.
   */
  confAt(index: LogIndex): ConfAtIndex {
    return this.#state.confs.at(index);
  }

  /** Asks for an index from which a linearizable read may be served; the answer is in a Ready. */
  readIndex(): ReadOutcome {
    const { forwardedReads, isLeader, leader, leaderReads } = this.#state;
    const drop = (reason: DropReason): ReadOutcome => ({ ok: false, drop: reason, leader });
    if (leader === null) return drop('no-leader');
    if (isLeader ? leaderReads.isFull : forwardedReads.isFull) return drop('too-many-reads');
    this.#readCounter += 1;
    const requestId = this.#readCounter;
    if (isLeader) leaderReads.add({ from: null, requestId });
    else forwardedReads.add(requestId);
    this.#state.isSettleDue = true;
    return { ok: true, requestId };
  }

  /**
   * A linearizable read without asking anyone, while the lease holds at `nowMs`: the host's time
   * now, not that of the last tick. Refused means: ask with `readIndex`, which always works.
   */
  leaseRead(nowMs: number): LeaseReadOutcome {
    return leaseRead(this.#state, nowMs);
  }

  /**
   * Leader: gives the leadership to the voter `to`. Proposals are refused until that has happened
   * or failed, for one election timeout at most; another target replaces the first.
   */
  transfer(to: NodeId): TransferOutcome {
    const outcome = startTransfer(this.#state, to);
    this.#check();
    return outcome;
  }

  /** Leader: voters worth a transfer, best first. Empty on anyone else. */
  transferTargets(): readonly NodeId[] {
    return transferTargets(this.#state).map((peer) => peer.id);
  }

  /** Starts an election now. Does nothing on a leader, a non-voter, or while bound by a lease. */
  campaign(): void {
    campaign(this.#state);
    this.#check();
  }

  /**
   * Follower: forgets a leader known to be dead. Role, term and vote stay. False when there was
   * none, or when this replica is bound to it by a lease.
   */
  forgetLeader(): boolean {
    const isForgotten = forgetLeader(this.#state);
    this.#check();
    return isForgotten;
  }

  /** True when `ready()` would hand something out. */
  hasReady(): boolean {
    const state = this.#state;
    this.#settle();
    return (
      !state.outbox.isEmpty ||
      state.log.hasAppend(state.hardState) ||
      state.log.hasApply() ||
      state.confs.current !== this.#toldConf ||
      this.#isSoftNews()
    );
  }

  /** Hands out everything that is to be done; see ready.ts for the order the host must keep. */
  ready(): Ready {
    this.#settle();
    const { disk, log, outbox } = this.#state;
    const append = log.takeAppend(this.#state.hardState);
    if (append !== null) disk.handedOut(append.seq, this.#state.tick);
    const send = outbox.takeNow();
    const gated = outbox.takeGated();
    const sendAfter: GatedMessages[] = [];
    if (gated.length > 0) {
      // The newest append covers this Ready's and every earlier one.
      if (log.seq > log.durableSeq) sendAfter.push({ seq: log.seq, messages: gated });
      else for (const message of gated) send.push(message);
    }
    const soft = this.#isSoftNews() ? this.#currentSoft() : null;
    if (soft !== null) this.#soft = soft;
    const { current } = this.#state.confs;
    const conf = current === this.#toldConf ? null : current;
    this.#toldConf = current;
    const ready: Ready = {
      append,
      send,
      sendAfter,
      apply: log.takeApply(),
      reads: outbox.takeReads(),
      soft,
      conf,
      events: outbox.takeEvents(),
    };
    this.#check();
    return ready;
  }

  /** Every append up to `seq` is durable and visible to the LogReader. May be merged or late. */
  appended(seq: number): void {
    const state = this.#state;
    state.log.appended(seq);
    state.disk.durable(seq);
    noteDiskRecovery(state);
    ownVoteDurable(state);
    if (state.isLeader) ownEntriesDurable(state);
    this.#check();
  }

  /** The state machine has applied everything up to `index`. May be merged or late. */
  applied(index: LogIndex): void {
    this.#state.log.setApplied(index);
    this.#check();
  }

  /** Leader: messages to `peer` are being lost; stop pipelining to it until it answers. */
  reportUnreachable(peer: NodeId): void {
    const progress = this.#state.tracker.progress(peer);
    if (this.#state.isLeader && progress?.state === 'replicate') progress.becomeProbe();
    this.#check();
  }

  /** Leader: the transfer of the snapshot to `peer` ended. */
  reportSnapshot(peer: NodeId, snapshotId: string, isOk: boolean): void {
    reportSnapshot(this.#state, peer, snapshotId, isOk);
    this.#check();
  }

  status(): RaftStatus {
    return statusOf(this.#state);
  }

  /** @throws InvariantViolation naming what does not hold */
  checkInvariants(): void {
    this.#check();
    checkDeep(this.#state);
  }

  /** Does what was put off until all inputs of a host turn are in. */
  #settle(): void {
    const state = this.#state;
    while (state.isSettleDue) {
      state.isSettleDue = false;
      if (state.isLeader) {
        settleLeaderReads(state);
        settleReplication(state);
        settleTransfer(state);
        confirmReads(state);
        settleMembership(state);
      } else {
        settleForwardedReads(state);
      }
    }
  }

  #isSoftNews(): boolean {
    const { role, leader, term } = this.#state;
    return role !== this.#soft.role || leader !== this.#soft.leader || term !== this.#soft.term;
  }

  #currentSoft(): SoftState {
    const { role, leader, term } = this.#state;
    return { role, leader, term };
  }

  #check(): void {
    checkCheap(this.#state, this.#highWater);
  }
}

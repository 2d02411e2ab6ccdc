/**
 * Who belongs to the group, as this replica knows it, and how that is changed.
 *
 * The configuration in force comes from the core, which takes it from the log: it is told to the
 * transport at once, because a newcomer must be reached before its entry can be committed. This
 * replica counts as removed only when the configuration without it is applied here: before that the
 * change may still be taken back.
 */
import type { ClusterId, ConfState, Incarnation, LogIndex, Member, NodeId } from '@holdfast/base';
import { failpoint, HoldfastError, memberOf, nodeId } from '@holdfast/base';
import type {
  ChangeMembersResult,
  ListMembersResult,
  TransferLeadershipRequest,
  TransferLeadershipResult,
} from '@holdfast/protocol';
import type {
  ConfAtIndex,
  ConfChangeStep,
  ProposeConfOutcome,
  RaftCore,
  RaftEvent,
  SoftState,
} from '@holdfast/raft';
import { isJoint } from '@holdfast/raft';
import type { MembershipState, PeerTransport } from '../service-api.ts';
import { notLeader } from './answers.ts';
import { type CommittedChange, ConfChanges } from './conf-changes.ts';
import { LeadershipTransfers } from './leadership-transfers.ts';
import { memberList } from './member-list.ts';
import { type ChangeRequest, newcomerOf, planChange, unknownMember } from './member-plan.ts';
import { verifyNewcomer } from './newcomer.ts';

export interface MembershipParts {
  readonly clusterId: ClusterId;
  readonly epoch: number;
  readonly nodeId: NodeId;
  readonly incarnation: Incarnation;
  readonly core: RaftCore;
  readonly transport: PeerTransport;
  /** Runs a call into the core in a turn of the driver. */
  readonly withCore: (action: (core: RaftCore) => void) => void;
  /** Rejects NOT_LEADER, NO_LEADER. */
  readonly whenLeaderReady: (deadlineMs: number) => Promise<void>;
  readonly publicAddressOf: (id: NodeId) => string | null;
  /** Term of the log entry at `index`; 0 when the log does not go back so far. */
  readonly termAt: (index: LogIndex) => number;
}

type ConfListener = (conf: ConfAtIndex) => void;

interface SettledWaiter {
  readonly deadlineMs: number;
  readonly resolve: () => void;
  readonly reject: (error: HoldfastError) => void;
}

export class Membership {
  readonly #parts: MembershipParts;
  readonly #changes = new ConfChanges();
  readonly #transfers = new LeadershipTransfers();
  readonly #listeners: ConfListener[] = [];
  #current: ConfAtIndex;
  #appliedIndex: LogIndex;
  /** A configuration with this life of the node is committed, or was before this process began. */
  #isAdmitted: boolean;
  #settledWaiters: SettledWaiter[] = [];

  constructor(parts: MembershipParts) {
    this.#parts = parts;
    const { conf, confIndex, applied } = parts.core.status();
    this.#current = { conf, confIndex };
    this.#appliedIndex = applied;
    const isCommitted = this.#isIn(parts.core.confAt(applied).conf);
    // Who is in none was a member once: a node that joins begins without any configuration.
    this.#isAdmitted = conf.members.length > 0 && (isCommitted || !this.#isIn(conf));
    this.#tellTransport();
  }

  /**
   * Waits to become a member, and says so. Also while a change that brings this node in is not
   * committed: the next leader may not have it, and would not know that somebody waits.
   */
  get isJoining(): boolean {
    return !this.#isAdmitted;
  }

  /** In force here; not necessarily committed. */
  get conf(): ConfState {
    return this.#current.conf;
  }

  get confIndex(): LogIndex {
    return this.#current.confIndex;
  }

  /** How this replica itself stands. */
  get state(): MembershipState {
    const { conf, confIndex } = this.#current;
    if (conf.members.length === 0) return 'joining';
    const { nodeId: id } = this.#parts;
    if (!this.#isIn(conf)) {
      return confIndex <= this.#appliedIndex ? 'removed' : 'leaving';
    }
    if (conf.voters.includes(id)) return 'voter';
    return conf.votersOutgoing.includes(id) ? 'leaving' : 'learner';
  }

  onChange(listener: ConfListener): void {
    this.#listeners.push(listener);
  }

  onConf(conf: ConfAtIndex): void {
    this.#current = conf;
    failpoint('members.conf-adopted');
    this.#admit();
    this.#tellTransport();
    for (const listener of this.#listeners) listener(conf);
  }

  onApplied(entries: readonly CommittedChange[], appliedIndex: LogIndex): void {
    const before = this.state;
    this.#appliedIndex = appliedIndex;
    if (!this.#isAdmitted && this.#admit()) this.#tellTransport();
    this.#changes.settle(entries);
    this.#settleWaiters();
    if (this.state === before) return;
    for (const listener of this.#listeners) listener(this.#current);
  }

  /** True when this life of the node is a member for good from now on. */
  #admit(): boolean {
    const { conf, confIndex } = this.#current;
    if (confIndex > this.#appliedIndex || !this.#isIn(conf)) return false;
    this.#isAdmitted = true;
    return true;
  }

  #isIn(conf: ConfState): boolean {
    const { incarnation, nodeId: id } = this.#parts;
    return memberOf(conf, id)?.incarnation === incarnation;
  }

  #tellTransport(): void {
    const { conf, confIndex } = this.#current;
    this.#parts.transport.setMembers(conf.members, confIndex, this.isJoining);
  }

  onSoftState(state: SoftState): void {
    this.#transfers.onSoftState(state);
  }

  onEvent(event: RaftEvent): void {
    this.#transfers.onEvent(event);
  }

  expire(nowMs: number): void {
    this.#changes.expire(nowMs);
    this.#transfers.expire(nowMs);
    for (const waiter of this.#settledWaiters) {
      if (waiter.deadlineMs <= nowMs) waiter.reject(stillJoint());
    }
    this.#settledWaiters = this.#settledWaiters.filter((waiter) => waiter.deadlineMs > nowMs);
  }

  abandon(error: HoldfastError): void {
    this.#changes.abandon(error);
    this.#transfers.abandon(error);
    for (const { reject } of this.#settledWaiters) reject(error);
    this.#settledWaiters = [];
  }

  async list(deadlineMs: number): Promise<ListMembersResult> {
    await this.#parts.whenLeaderReady(deadlineMs);
    const { core, nodeId: ownId, publicAddressOf, transport } = this.#parts;
    return memberList({
      raft: core.status(),
      leader: { nodeId: ownId, address: publicAddressOf(ownId) ?? '' },
      guests: transport.guests(),
      publicAddressOf: (member) => publicAddressOf(member.nodeId),
    });
  }

  /** Resolves when the change is committed, and complete if it took two steps. */
  async change(request: ChangeRequest, deadlineMs: number): Promise<ChangeMembersResult> {
    await this.#parts.whenLeaderReady(deadlineMs);
    const newcomer = await this.#newcomer(request);
    const { peers, lastIndex } = this.#parts.core.status();
    const steps = planChange(request, { conf: this.conf, peers, lastIndex, newcomer });
    if (steps.length === 0) {
      await this.#whenSettled(deadlineMs);
      return { index: this.confIndex, term: this.#parts.termAt(this.confIndex), isChanged: false };
    }
    return this.#propose(steps, deadlineMs);
  }

  async #propose(
    steps: readonly ConfChangeStep[],
    deadlineMs: number,
  ): Promise<ChangeMembersResult> {
    failpoint('members.before-change');
    const outcome = this.#withCore((core) => core.proposeConf({ steps }));
    if (!outcome.ok) throw this.#refusal(outcome);
    const { index, term } = await this.#changes.whenCommitted(outcome, deadlineMs);
    await this.#whenSettled(deadlineMs);
    return { index, term, isChanged: true };
  }

  async transfer(
    request: TransferLeadershipRequest,
    deadlineMs: number,
  ): Promise<TransferLeadershipResult> {
    const { core, nodeId: ownId } = this.#parts;
    await this.#parts.whenLeaderReady(deadlineMs);
    const to = request.to === undefined ? core.transferTargets()[0] : nodeId(request.to);
    if (to === undefined) {
      throw new HoldfastError('TRANSFER_FAILED', 'no other voter is up to date and answers');
    }
    if (to === ownId) return { leader: ownId, term: core.status().term };
    const outcome = this.#withCore((c) => c.transfer(to));
    if (!outcome.ok) {
      switch (outcome.drop) {
        case 'no-leader':
        case 'not-leader':
        case 'already-leader':
          throw notLeader(null);
        case 'not-member':
          throw unknownMember(to);
        case 'not-voter':
          throw new HoldfastError('MEMBERSHIP_INVALID', `${to} is a learner and cannot lead`);
      }
    }
    return this.#transfers.whenEnded(to, deadlineMs);
  }

  /**
   * Hands the leadership to the best voter before this node stops. Resolves when another leads, and
   * also when there is nobody to take over: stopping goes on either way.
   */
  async handOver(deadlineMs: number): Promise<void> {
    const { core } = this.#parts;
    const [to] = core.transferTargets();
    if (core.status().role !== 'leader' || to === undefined) return;
    const outcome = this.#withCore((c) => c.transfer(to));
    if (!outcome.ok) return;
    // Nobody took over: the others will elect, as they do when a leader dies.
    await this.#transfers.whenEnded(to, deadlineMs).catch(() => undefined);
  }

  async #newcomer(request: ChangeRequest): Promise<Member | null> {
    const id = newcomerOf(request);
    if (id === null) return null;
    const { clusterId, epoch, transport } = this.#parts;
    const present = memberOf(this.conf, id);
    if (present !== null) {
      const guest = transport.guests().find((each) => each.nodeId === id && each.isJoining);
      if (guest === undefined || guest.incarnation === present.incarnation) return null;
    }
    const address = 'address' in request ? request.address : undefined;
    return verifyNewcomer(transport, { clusterId, epoch, nodeId: id, address });
  }

  /** Resolves when the group is in one configuration, and that is applied here. */
  #whenSettled(deadlineMs: number): Promise<void> {
    if (this.#isSettled()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#settledWaiters.push({ deadlineMs, resolve, reject });
    });
  }

  #isSettled(): boolean {
    return !isJoint(this.conf) && this.confIndex <= this.#appliedIndex;
  }

  #settleWaiters(): void {
    if (this.#settledWaiters.length === 0 || !this.#isSettled()) return;
    for (const { resolve } of this.#settledWaiters) resolve();
    this.#settledWaiters = [];
  }

  #withCore<Result>(action: (core: RaftCore) => Result): Result {
    let result: { readonly value: Result } | null = null;
    this.#parts.withCore((core) => {
      result = { value: action(core) };
    });
    // Null: the driver has stopped, or the call broke an invariant and stopped it.
    const done = result as { readonly value: Result } | null;
    if (done === null) throw new HoldfastError('SHUTTING_DOWN', 'this node is stopping');
    return done.value;
  }

  #refusal(outcome: Extract<ProposeConfOutcome, { ok: false }>): HoldfastError {
    const { drop, leader, reason } = outcome;
    switch (drop) {
      case 'not-leader':
      case 'no-leader': {
        const address = leader === null ? null : this.#parts.publicAddressOf(leader);
        return notLeader(leader === null ? null : { nodeId: leader, address: address ?? '' });
      }
      case 'conf-invalid':
      case 'not-member':
        return new HoldfastError('MEMBERSHIP_INVALID', reason);
      case 'would-lose-quorum':
        return new HoldfastError('QUORUM_AT_RISK', reason);
      case 'conf-pending':
      case 'transferring':
      case 'over-uncommitted':
      case 'disk-stalled':
      case 'too-large':
      case 'too-many-reads':
        return new HoldfastError('MEMBERSHIP_PENDING', `${reason}; retry when it is done`);
    }
  }
}

const stillJoint = (): HoldfastError =>
  new HoldfastError(
    'REQUEST_TIMEOUT',
    'the change is committed and not complete yet: the group is between two configurations',
  );

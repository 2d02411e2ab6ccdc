/**
 * The algebra of membership changes (thesis sections 4.1, 4.3): from the configuration in force and
 * a list of steps to the next configuration, or to the reason why there is none. Pure: who may
 * propose what and when is decided in propose-conf.ts.
 *
 * Safety rests on one thing: any quorum of a configuration meets any quorum of the next. A change
 * of at most one voter has it by itself (simple). Any other change goes through a joint
 * configuration, where every decision needs a majority of the old and of the new voters.
 *
 * A node id never stands for two incarnations at once, so a joint configuration that would need
 * both is refused. A wiped node comes back by one simple change that drops the old incarnation from
 * the voters and adds the new one as a learner.
 */
import type { ConfState, Member, NodeId, Promotion } from '@holdfast/base';
import {
  encodeConf,
  flawOfConf,
  isNodeId,
  MEMBER_ADDRESS_LENGTH_MAX,
  MEMBER_COUNT_MAX,
  unreachable,
} from '@holdfast/base';

export type ConfChangeStep =
  /** A newcomer without a vote; with a promotion it becomes a voter once it has caught up. */
  | {
      readonly kind: 'addLearner';
      readonly member: Member;
      readonly promotion: { readonly replaces: NodeId | null } | null;
    }
  /** A newcomer that votes at once. Until it has caught up it can only hold the group up. */
  | { readonly kind: 'addVoter'; readonly member: Member }
  | { readonly kind: 'promote'; readonly nodeId: NodeId }
  | { readonly kind: 'demote'; readonly nodeId: NodeId }
  | { readonly kind: 'remove'; readonly nodeId: NodeId }
  /** New addresses for the same incarnation. */
  | { readonly kind: 'updateMember'; readonly member: Member }
  | { readonly kind: 'setLeases'; readonly isEnabled: boolean };

/**
 * Steps that take effect together. No steps: leave the joint configuration.
 *
 * `auto` (default): simple where one voter at most differs, else joint and left by itself.
 * `joint`: joint in any case, and left only by a change without steps.
 */
export interface ConfChange {
  readonly steps: readonly ConfChangeStep[];
  readonly transition?: 'auto' | 'joint';
}

export type NextConf =
  | { readonly ok: true; readonly conf: ConfState }
  | { readonly ok: false; readonly reason: string };

/** Every member may be removed and added again as a new incarnation. */
const STEP_COUNT_MAX = 2 * MEMBER_COUNT_MAX;
/** Host names and numbers with a port; nothing that needs escaping in a log line. */
const ADDRESS = /^[\x21-\x7e]+$/;

export const isJoint = (conf: ConfState): boolean => conf.votersOutgoing.length > 0;

/** The configuration that `change` makes of `conf`, or why it makes none. */
export function nextConf(conf: ConfState, change: ConfChange): NextConf {
  const { steps } = change;
  if (isJoint(conf)) {
    if (steps.length > 0)
      return refuse('the group is between two configurations: leave that first');
    return { ok: true, conf: leaveJoint(conf) };
  }
  if (steps.length === 0) return refuse('the change has no steps, and there is nothing to leave');
  if (steps.length > STEP_COUNT_MAX) return refuse(`more than ${STEP_COUNT_MAX} steps`);
  const draft = new Draft(conf);
  for (const step of steps) {
    const reason = draft.apply(step);
    if (reason !== null) return refuse(reason);
  }
  const reason = draft.settlePromotions();
  if (reason !== null) return refuse(reason);
  const target = draft.toConf();
  const flaw = flawOfTarget(conf, target);
  if (flaw !== null) return refuse(flaw);
  const isSimple = change.transition !== 'joint' && changedVoters(conf, target) <= 1;
  if (isSimple) return { ok: true, conf: target };
  return enterJoint(conf, target, change.transition !== 'joint');
}

const refuse = (reason: string): NextConf => ({ ok: false, reason });

/** The incoming half alone; outgoing voters that were to stay become learners. */
export function leaveJoint(conf: ConfState): ConfState {
  const learners = [...conf.learners, ...conf.learnersNext].sort();
  const named = new Set([...conf.voters, ...learners]);
  return {
    ...conf,
    votersOutgoing: [],
    learners,
    learnersNext: [],
    autoLeave: false,
    members: conf.members.filter(({ nodeId }) => named.has(nodeId)),
    promotions: conf.promotions.map((promotion) => withVoters(promotion, new Set(conf.voters))),
  };
}

function enterJoint(conf: ConfState, target: ConfState, autoLeave: boolean): NextConf {
  const outgoing = new Set(conf.voters);
  const members = new Map(target.members.map((member) => [member.nodeId, member]));
  for (const member of conf.members) {
    if (!outgoing.has(member.nodeId)) continue;
    const incoming = members.get(member.nodeId);
    if (incoming === undefined) members.set(member.nodeId, member);
    else if (incoming.incarnation !== member.incarnation)
      return refuse(`${member.nodeId} cannot be replaced by a new life of itself in this change`);
  }
  const joint: ConfState = {
    ...target,
    votersOutgoing: conf.voters,
    learners: target.learners.filter((id) => !outgoing.has(id)),
    learnersNext: target.learners.filter((id) => outgoing.has(id)),
    autoLeave,
    members: [...members.values()].sort(byNodeId),
  };
  const flaw = flawOfConf(joint);
  return flaw === null ? { ok: true, conf: joint } : refuse(flaw);
}

function flawOfTarget(conf: ConfState, target: ConfState): string | null {
  if (target.voters.length === 0) return 'no voter would be left';
  const incarnations = new Set(target.members.map(({ incarnation }) => incarnation));
  if (incarnations.size < target.members.length) return 'two members have one incarnation';
  const flaw = flawOfConf(target);
  if (flaw !== null) return flaw;
  return areEqual(conf, target) ? 'the change changes nothing' : null;
}

/** Voters that only one of the two has. */
function changedVoters(conf: ConfState, target: ConfState): number {
  const isNew = (id: NodeId): boolean => !conf.voters.includes(id);
  const isGone = (id: NodeId): boolean => !target.voters.includes(id);
  return target.voters.filter(isNew).length + conf.voters.filter(isGone).length;
}

function areEqual(left: ConfState, right: ConfState): boolean {
  const leftBytes = encodeConf(left);
  const rightBytes = encodeConf(right);
  return (
    leftBytes.byteLength === rightBytes.byteLength &&
    leftBytes.every((byte, i) => byte === rightBytes[i])
  );
}

/** A promotion goes on when the voter it was to replace is gone already. */
function withVoters(promotion: Promotion, voters: ReadonlySet<NodeId>): Promotion {
  const { nodeId, replaces } = promotion;
  return replaces !== null && voters.has(replaces) ? promotion : { nodeId, replaces: null };
}

const byNodeId = (left: { nodeId: NodeId }, right: { nodeId: NodeId }): number =>
  left.nodeId < right.nodeId ? -1 : 1;

/** A configuration under change: the steps so far, applied one after the other. */
class Draft {
  readonly #voters: Set<NodeId>;
  readonly #learners: Set<NodeId>;
  readonly #members: Map<NodeId, Member>;
  readonly #promotions: Map<NodeId, NodeId | null>;
  readonly #newPromotions = new Set<NodeId>();
  /** Members named by a step so far; the old incarnation where the step removed it. */
  readonly #touched = new Map<NodeId, Member | null>();
  #isLeaseEnabled: boolean;

  constructor(conf: ConfState) {
    this.#voters = new Set(conf.voters);
    this.#learners = new Set(conf.learners);
    this.#members = new Map(conf.members.map((member) => [member.nodeId, member]));
    this.#promotions = new Map(conf.promotions.map(({ nodeId, replaces }) => [nodeId, replaces]));
    this.#isLeaseEnabled = conf.isLeaseEnabled;
  }

  /** Why the step cannot be taken, or null. */
  apply(step: ConfChangeStep): string | null {
    switch (step.kind) {
      case 'addLearner':
        return this.#addLearner(step.member, step.promotion);
      case 'addVoter':
        return this.#addVoter(step.member);
      case 'promote':
        return this.#promote(step.nodeId);
      case 'demote':
        return this.#demote(step.nodeId);
      case 'remove':
        return this.#remove(step.nodeId);
      case 'updateMember':
        return this.#update(step.member);
      case 'setLeases':
        this.#isLeaseEnabled = step.isEnabled;
        return null;
      default:
        return unreachable(step);
    }
  }

  /** Every promotion is of a learner, and what it replaces is a voter that nobody else replaces. */
  settlePromotions(): string | null {
    const replacedBy = new Map<NodeId, NodeId>();
    for (const [nodeId, replaces] of this.#promotions) {
      if (replaces === null) continue;
      if (!this.#voters.has(replaces)) {
        if (this.#newPromotions.has(nodeId)) return `${replaces} cannot be replaced: not a voter`;
        this.#promotions.set(nodeId, null);
        continue;
      }
      const other = replacedBy.get(replaces);
      if (other !== undefined) return `${replaces} is already being replaced by ${other}`;
      replacedBy.set(replaces, nodeId);
    }
    return null;
  }

  toConf(): ConfState {
    return {
      voters: [...this.#voters].sort(),
      votersOutgoing: [],
      learners: [...this.#learners].sort(),
      learnersNext: [],
      autoLeave: false,
      members: [...this.#members.values()].sort(byNodeId),
      promotions: [...this.#promotions]
        .map(([nodeId, replaces]) => ({ nodeId, replaces }))
        .sort(byNodeId),
      isLeaseEnabled: this.#isLeaseEnabled,
    };
  }

  #addLearner(
    member: Member,
    promotion: { readonly replaces: NodeId | null } | null,
  ): string | null {
    const { nodeId } = member;
    const removed = this.#touched.get(nodeId);
    const reason = removed ? this.#admitAgain(member, removed) : this.#admit(member);
    if (reason !== null) return reason;
    this.#learners.add(nodeId);
    if (promotion === null) return null;
    this.#promotions.set(nodeId, promotion.replaces);
    this.#newPromotions.add(nodeId);
    return null;
  }

  #addVoter(member: Member): string | null {
    if (this.#touched.get(member.nodeId))
      return `${member.nodeId} lost its disk: its new life must join as a learner`;
    const reason = this.#admit(member);
    if (reason === null) this.#voters.add(member.nodeId);
    return reason;
  }

  #promote(nodeId: NodeId): string | null {
    const reason = this.#touch(nodeId);
    if (reason !== null) return reason;
    if (!this.#learners.delete(nodeId)) return `${nodeId} is not a learner`;
    this.#promotions.delete(nodeId);
    this.#voters.add(nodeId);
    return null;
  }

  #demote(nodeId: NodeId): string | null {
    const reason = this.#touch(nodeId);
    if (reason !== null) return reason;
    if (!this.#voters.delete(nodeId)) return `${nodeId} is not a voter`;
    this.#learners.add(nodeId);
    return null;
  }

  #remove(nodeId: NodeId): string | null {
    const removed = this.#members.get(nodeId);
    const reason = this.#touch(nodeId);
    if (reason !== null || removed === undefined) return reason;
    this.#touched.set(nodeId, removed);
    this.#members.delete(nodeId);
    this.#voters.delete(nodeId);
    this.#learners.delete(nodeId);
    this.#promotions.delete(nodeId);
    return null;
  }

  #update(member: Member): string | null {
    const known = this.#members.get(member.nodeId);
    const reason = this.#touch(member.nodeId) ?? flawOfMember(member);
    if (reason !== null) return reason;
    if (known?.incarnation !== member.incarnation)
      return `${member.nodeId} is a member in another incarnation: replace it instead`;
    this.#members.set(member.nodeId, member);
    return null;
  }

  /** A member may be named by one step only. */
  #touch(nodeId: NodeId): string | null {
    if (this.#touched.has(nodeId)) return `${nodeId} is named twice`;
    if (!this.#members.has(nodeId)) return `${nodeId} is not a member`;
    this.#touched.set(nodeId, null);
    return null;
  }

  #admit(member: Member): string | null {
    const { nodeId } = member;
    if (this.#touched.has(nodeId)) return `${nodeId} is named twice`;
    const known = this.#members.get(nodeId);
    if (known?.incarnation === member.incarnation) return `${nodeId} is already a member`;
    if (known !== undefined)
      return `${nodeId} is a member in another incarnation: remove that one in the same change`;
    const flaw = flawOfMember(member);
    if (flaw !== null) return flaw;
    this.#touched.set(nodeId, null);
    this.#members.set(nodeId, member);
    return null;
  }

  /** The one exception to being named once: out with the old incarnation, in with the new one. */
  #admitAgain(member: Member, removed: Member): string | null {
    if (member.incarnation === removed.incarnation)
      return `${member.nodeId} is removed and added in one change: demote it instead`;
    this.#touched.delete(member.nodeId);
    return this.#admit(member);
  }
}

function flawOfMember(member: Member): string | null {
  const { nodeId, address, clientAddress } = member;
  if (!isNodeId(nodeId)) return 'a node id is malformed';
  for (const text of clientAddress === null ? [address] : [address, clientAddress])
    if (!ADDRESS.test(text) || text.length > MEMBER_ADDRESS_LENGTH_MAX)
      return `${nodeId} has a malformed address`;
  return null;
}

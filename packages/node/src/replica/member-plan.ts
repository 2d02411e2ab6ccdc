/**
 * From a request of an operator to the steps of one configuration change, or to the news that all
 * is so already, or to a refusal with its reason. Pure: it sees the configuration in force and what
 * the leader knows of its members; the core has the last word on what is safe.
 */
import type { ConfState, Member, NodeId } from '@holdfast/base';
import { HoldfastError, memberOf, nodeId, unreachable } from '@holdfast/base';
import type {
  AddMemberRequest,
  DemoteMemberRequest,
  PromoteMemberRequest,
  RemoveMemberRequest,
  ReplaceMemberRequest,
  SetLeasesRequest,
  UpdateMemberRequest,
} from '@holdfast/protocol';
import type { ConfChangeStep, PeerStatus } from '@holdfast/raft';

export type ChangeRequest =
  | AddMemberRequest
  | RemoveMemberRequest
  | ReplaceMemberRequest
  | PromoteMemberRequest
  | DemoteMemberRequest
  | UpdateMemberRequest
  | SetLeasesRequest;

export interface PlanContext {
  readonly conf: ConfState;
  /** Progress of the other members, as the leader sees it. */
  readonly peers: readonly PeerStatus[];
  /** Of the leader's log. */
  readonly lastIndex: number;
  /**
   * The node a change brings in, verified; null when there is none. It may be a new life of a
   * member that lost its disk.
   */
  readonly newcomer: Member | null;
}

/** No steps: the configuration is as it was asked for. */
export type ChangePlan = readonly ConfChangeStep[];

/**
 * A learner this far behind catches up in a few milliseconds: its vote cannot hold the group up for
 * an election timeout.
 */
export const PROMOTABLE_LAG_ENTRIES_MAX = 1_000;

/** The node that `request` brings in unless it is a member already. */
export function newcomerOf(request: ChangeRequest): NodeId | null {
  switch (request.kind) {
    case 'addMember':
      return nodeId(request.nodeId);
    case 'replaceMember':
      return nodeId(request.by);
    default:
      return null;
  }
}

/** @throws HoldfastError MEMBER_*, MEMBERSHIP_INVALID */
export function planChange(request: ChangeRequest, context: PlanContext): ChangePlan {
  switch (request.kind) {
    case 'addMember':
      return planAdd(request, context);
    case 'removeMember':
      return planRemove(request, context.conf);
    case 'replaceMember':
      return planReplace(request, context);
    case 'promoteMember':
      return planPromote(nodeId(request.nodeId), context);
    case 'demoteMember':
      return planDemote(nodeId(request.nodeId), context.conf);
    case 'updateMember':
      return planUpdate(request, context.conf);
    case 'setLeases':
      return context.conf.isLeaseEnabled === request.isEnabled
        ? []
        : [{ kind: 'setLeases', isEnabled: request.isEnabled }];
    default:
      return unreachable(request);
  }
}

function planAdd(request: AddMemberRequest, context: PlanContext): ChangePlan {
  const { conf, newcomer } = context;
  const id = nodeId(request.nodeId);
  const present = memberOf(conf, id);
  const promotion = request.isLearner === true ? null : { replaces: null };
  if (present !== null) {
    if (newcomer !== null && newcomer.incarnation !== present.incarnation)
      return planReadmission(newcomer, promotion, context);
    const isVoter = conf.voters.includes(id);
    const isOnItsWay = conf.promotions.some((each) => each.nodeId === id);
    if (promotion === null ? !isVoter && !isOnItsWay : isVoter || isOnItsWay) return [];
    throw new HoldfastError(
      'MEMBER_EXISTS',
      `${id} is a ${isVoter ? 'voter' : 'learner'} already; use member promote or member demote`,
      { details: { nodeId: id } },
    );
  }
  return [{ kind: 'addLearner', member: mustBeHere(newcomer, id), promotion }];
}

/**
 * A member came back without its disk: its old life leaves and the new one joins in one step, as a
 * learner. Never while the old life answers: then one of the two is an impostor or a copy.
 */
function planReadmission(
  newcomer: Member,
  promotion: { readonly replaces: NodeId | null } | null,
  { peers }: PlanContext,
): ChangePlan {
  const { nodeId: id } = newcomer;
  const old = peers.find((each) => each.id === id);
  if (old === undefined || old.isRecentlyActive) {
    throw new HoldfastError(
      'MEMBER_EXISTS',
      `${id} is a member and answers; the node that joins under its name must have another`,
      { details: { nodeId: id } },
    );
  }
  return [
    { kind: 'remove', nodeId: id },
    { kind: 'addLearner', member: newcomer, promotion },
  ];
}

function planRemove(request: RemoveMemberRequest, conf: ConfState): ChangePlan {
  const id = nodeId(request.nodeId);
  const present = memberOf(conf, id);
  const isGone = present === null || present.incarnation !== request.incarnation;
  if (request.incarnation !== undefined && isGone) return [];
  if (present === null) throw unknownMember(id);
  return [{ kind: 'remove', nodeId: id }];
}

function planReplace(request: ReplaceMemberRequest, context: PlanContext): ChangePlan {
  const { conf, newcomer } = context;
  const [replaces, by] = [nodeId(request.nodeId), nodeId(request.by)];
  if (replaces === by) throw invalid(`${by} cannot replace itself`);
  const isUnderWay = conf.promotions.some((each) => each.nodeId === by);
  const isVoter = conf.voters.includes(replaces);
  if (conf.promotions.some((each) => each.nodeId === by && each.replaces === replaces)) return [];
  if (conf.voters.includes(by) && memberOf(conf, replaces) === null) return [];
  if (memberOf(conf, replaces) === null) throw unknownMember(replaces);
  if (!isVoter) throw invalid(`${replaces} is not a voter; remove it and add ${by}`);
  if (conf.voters.includes(by)) throw invalid(`${by} is a voter already; remove ${replaces}`);
  if (isUnderWay) throw invalid(`${by} is on its way to a vote already; remove ${replaces} then`);
  if (!conf.learners.includes(by)) {
    return [{ kind: 'addLearner', member: mustBeHere(newcomer, by), promotion: { replaces } }];
  }
  checkCaughtUp(by, context);
  return [
    { kind: 'promote', nodeId: by },
    { kind: 'remove', nodeId: replaces },
  ];
}

function planPromote(id: NodeId, context: PlanContext): ChangePlan {
  const { conf } = context;
  if (memberOf(conf, id) === null) throw unknownMember(id);
  if (conf.voters.includes(id)) return [];
  checkCaughtUp(id, context);
  return [{ kind: 'promote', nodeId: id }];
}

function planDemote(id: NodeId, conf: ConfState): ChangePlan {
  if (memberOf(conf, id) === null) throw unknownMember(id);
  return conf.voters.includes(id) ? [{ kind: 'demote', nodeId: id }] : [];
}

function planUpdate(request: UpdateMemberRequest, conf: ConfState): ChangePlan {
  const id = nodeId(request.nodeId);
  const present = memberOf(conf, id);
  if (present === null) throw unknownMember(id);
  if (request.address === undefined && request.clientAddress === undefined)
    throw invalid('name the new address, the new client address, or both');
  const member: Member = {
    ...present,
    address: request.address ?? present.address,
    clientAddress: request.clientAddress ?? present.clientAddress,
  };
  const isSame =
    member.address === present.address && member.clientAddress === present.clientAddress;
  return isSame ? [] : [{ kind: 'updateMember', member }];
}

function checkCaughtUp(id: NodeId, { peers, lastIndex }: PlanContext): void {
  const peer = peers.find((each) => each.id === id);
  const lagEntries = lastIndex - (peer?.matchIndex ?? 0);
  if (peer?.isRecentlyActive === true && lagEntries <= PROMOTABLE_LAG_ENTRIES_MAX) return;
  const why = peer?.isRecentlyActive === true ? `is ${lagEntries} entries behind` : 'is silent';
  throw new HoldfastError('MEMBER_BEHIND', `${id} ${why}; wait until it has caught up`, {
    details: { nodeId: id, lagEntries },
  });
}

function mustBeHere(newcomer: Member | null, id: NodeId): Member {
  if (newcomer === null) throw unknownMember(id);
  return newcomer;
}

export function unknownMember(id: NodeId): HoldfastError {
  return new HoldfastError(
    'MEMBER_UNKNOWN',
    `no member, and no node that waits to join, is named ${id}; see holdfast member list`,
    { details: { nodeId: id } },
  );
}

const invalid = (message: string): HoldfastError =>
  new HoldfastError('MEMBERSHIP_INVALID', message);

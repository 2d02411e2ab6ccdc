/** The members as the leader sees them: configuration, progress, and who waits to be added. */
import type { LogIndex, Member } from '@holdfast/base';
import type { LeaderHint, ListMembersResult, MemberInfo, MemberRole } from '@holdfast/protocol';
import type { PeerStatus, RaftStatus } from '@holdfast/raft';
import { isJoint } from '@holdfast/raft';
import type { Guest } from '../service-api.ts';

export interface MemberListParts {
  readonly raft: RaftStatus;
  readonly leader: LeaderHint;
  readonly guests: readonly Guest[];
  /** As the member said itself, when it is known. */
  readonly publicAddressOf: (member: Member) => string | null;
}

export function memberList(parts: MemberListParts): ListMembersResult {
  const { raft, leader, guests } = parts;
  const { conf, confIndex, isConfPending, lastIndex, term } = raft;
  return {
    leader,
    term,
    confIndex,
    isPending: isConfPending,
    isJoint: isJoint(conf),
    isLeaseEnabled: conf.isLeaseEnabled,
    lastIndex,
    members: conf.members.map((member) => describeMember(member, parts)),
    joining: guests
      .filter((guest) => guest.isJoining)
      .map(({ nodeId, incarnation, address, clientAddress }) => ({
        ...{ nodeId, incarnation, address, clientAddress },
      })),
  };
}

function describeMember(member: Member, { raft, publicAddressOf }: MemberListParts): MemberInfo {
  const { nodeId, incarnation, address } = member;
  const promotion = raft.conf.promotions.find((each) => each.nodeId === nodeId);
  const peer = raft.peers.find((each) => each.id === nodeId);
  return {
    nodeId,
    incarnation,
    role: roleOf(raft.conf, member),
    isLeader: raft.leader === nodeId,
    address,
    clientAddress: publicAddressOf(member),
    isToBePromoted: promotion !== undefined,
    replaces: promotion?.replaces ?? null,
    progress: peer === undefined ? null : describeProgress(peer, raft.lastIndex),
  };
}

export function roleOf(conf: RaftStatus['conf'], { nodeId }: Member): MemberRole {
  if (conf.voters.includes(nodeId)) return 'voter';
  return conf.votersOutgoing.includes(nodeId) ? 'leaving' : 'learner';
}

function describeProgress(
  { matchIndex, isRecentlyActive, catchUp }: PeerStatus,
  lastIndex: LogIndex,
): MemberInfo['progress'] {
  return {
    matchIndex,
    lagEntries: lastIndex - matchIndex,
    isRecentlyActive,
    round: catchUp?.round ?? null,
    isCaughtUp: catchUp?.isCaughtUp ?? false,
    blockedBy: catchUp?.blockedBy ?? null,
  };
}

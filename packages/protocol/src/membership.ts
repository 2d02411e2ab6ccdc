/**
 * Who belongs to the cluster, and changes of it. Asked of the leader; any other node redirects.
 * Every change is one log entry: the answer comes when it is committed, and names it. A change that
 * is there already is answered with `isChanged: false`, so a repeated request does no harm.
 */
import { HEX_ID_PATTERN, MEMBER_ADDRESS_LENGTH_MAX, NODE_ID_PATTERN } from '@holdfast/base';
import { z } from 'zod';
import {
  leaderSchema,
  requestBaseShape,
  safePositiveSchema,
  safeUnsignedSchema,
} from './common.ts';

const nodeIdSchema = z.string().regex(NODE_ID_PATTERN);
const addressSchema = z.string().min(1).max(MEMBER_ADDRESS_LENGTH_MAX).describe('host:port');
const incarnationSchema = z.string().regex(HEX_ID_PATTERN);

export const listMembersSchema = z
  .strictObject({ ...requestBaseShape, kind: z.literal('listMembers') })
  .describe('The members as the leader sees them, and the nodes that wait to be added.');
export type ListMembersRequest = Readonly<z.infer<typeof listMembersSchema>>;

export const addMemberSchema = z
  .strictObject({
    ...requestBaseShape,
    kind: z.literal('addMember'),
    nodeId: nodeIdSchema,
    address: addressSchema
      .exactOptional()
      .describe('Where the other nodes reach it; without it where it says itself.'),
    isLearner: z
      .boolean()
      .exactOptional()
      .describe('True: it stays without a vote. Else it becomes a voter once it has caught up.'),
  })
  .describe('Adds a node that was started to join. The leader makes sure that it is there.');
export type AddMemberRequest = Readonly<z.infer<typeof addMemberSchema>>;

export const removeMemberSchema = z
  .strictObject({
    ...requestBaseShape,
    kind: z.literal('removeMember'),
    nodeId: nodeIdSchema,
    incarnation: incarnationSchema
      .exactOptional()
      .describe('Only this life of the node; makes the request safe to repeat.'),
  })
  .describe('Takes a member out of the cluster. The leader may be removed; it then steps down.');
export type RemoveMemberRequest = Readonly<z.infer<typeof removeMemberSchema>>;

export const replaceMemberSchema = z
  .strictObject({
    ...requestBaseShape,
    kind: z.literal('replaceMember'),
    nodeId: nodeIdSchema.describe('The voter that leaves.'),
    by: nodeIdSchema.describe('The node that takes its place: one that joins, or a learner.'),
    address: addressSchema.exactOptional().describe('Of the node that takes its place.'),
  })
  .describe(
    'The new node catches up first; then it becomes a voter and the old one leaves at once.',
  );
export type ReplaceMemberRequest = Readonly<z.infer<typeof replaceMemberSchema>>;

export const promoteMemberSchema = z
  .strictObject({ ...requestBaseShape, kind: z.literal('promoteMember'), nodeId: nodeIdSchema })
  .describe('Gives a learner that has caught up its vote now.');
export type PromoteMemberRequest = Readonly<z.infer<typeof promoteMemberSchema>>;

export const demoteMemberSchema = z
  .strictObject({ ...requestBaseShape, kind: z.literal('demoteMember'), nodeId: nodeIdSchema })
  .describe('Makes a voter a learner: it keeps its copy and no longer counts.');
export type DemoteMemberRequest = Readonly<z.infer<typeof demoteMemberSchema>>;

export const updateMemberSchema = z
  .strictObject({
    ...requestBaseShape,
    kind: z.literal('updateMember'),
    nodeId: nodeIdSchema,
    address: addressSchema.exactOptional().describe('New address for the other nodes.'),
    clientAddress: addressSchema.exactOptional().describe('New address for clients.'),
  })
  .describe('Tells the cluster that a member has moved.');
export type UpdateMemberRequest = Readonly<z.infer<typeof updateMemberSchema>>;

export const setLeasesSchema = z
  .strictObject({ ...requestBaseShape, kind: z.literal('setLeases'), isEnabled: z.boolean() })
  .describe('Switches lease reads on or off for the whole cluster.');
export type SetLeasesRequest = Readonly<z.infer<typeof setLeasesSchema>>;

export const changeMembersResultSchema = z.strictObject({
  index: safeUnsignedSchema.describe('Log index of the configuration; 0 for the first one.'),
  term: safeUnsignedSchema.describe('Term of that entry; 0 when it is not known any more.'),
  isChanged: z.boolean().describe('False: it was so already.'),
});
export type ChangeMembersResult = Readonly<z.infer<typeof changeMembersResultSchema>>;

export const transferLeadershipSchema = z
  .strictObject({
    ...requestBaseShape,
    kind: z.literal('transferLeadership'),
    to: nodeIdSchema
      .exactOptional()
      .describe('A voter; without it the one that is the most up to date.'),
  })
  .describe('Hands the leadership over. Writes wait for a moment; nothing is lost if it fails.');
export type TransferLeadershipRequest = Readonly<z.infer<typeof transferLeadershipSchema>>;

export const transferLeadershipResultSchema = z.strictObject({
  leader: nodeIdSchema,
  term: safePositiveSchema,
});
export type TransferLeadershipResult = Readonly<z.infer<typeof transferLeadershipResultSchema>>;

const progressSchema = z.strictObject({
  matchIndex: safeUnsignedSchema,
  lagEntries: safeUnsignedSchema,
  isRecentlyActive: z.boolean(),
  round: safeUnsignedSchema
    .nullable()
    .describe('Catch-up round of a learner on its way to a vote.'),
  isCaughtUp: z.boolean(),
  blockedBy: z.string().nullable().describe('What its promotion waits for.'),
});

export const memberRoleSchema = z
  .enum(['voter', 'learner', 'leaving'])
  .describe('leaving: a voter until the change under way is complete.');
export type MemberRole = z.infer<typeof memberRoleSchema>;

export const memberInfoSchema = z.strictObject({
  nodeId: nodeIdSchema,
  incarnation: incarnationSchema,
  role: memberRoleSchema,
  isLeader: z.boolean(),
  address: z.string(),
  clientAddress: z.string().nullable(),
  isToBePromoted: z.boolean(),
  replaces: nodeIdSchema.nullable().describe('The voter that leaves when this one is promoted.'),
  progress: progressSchema
    .nullable()
    .describe('As the leader sees it; null for the leader itself.'),
});
export type MemberInfo = Readonly<z.infer<typeof memberInfoSchema>>;

const joiningSchema = z.strictObject({
  nodeId: nodeIdSchema,
  incarnation: incarnationSchema,
  address: z.string(),
  clientAddress: z.string().nullable(),
});
export type JoiningNode = Readonly<z.infer<typeof joiningSchema>>;

export const listMembersResultSchema = z.strictObject({
  leader: leaderSchema,
  term: safePositiveSchema,
  confIndex: safeUnsignedSchema,
  isPending: z.boolean().describe('The newest configuration is not committed yet.'),
  isJoint: z.boolean().describe('The cluster is between two configurations.'),
  isLeaseEnabled: z.boolean(),
  lastIndex: safeUnsignedSchema,
  members: z.array(memberInfoSchema),
  joining: z.array(joiningSchema),
});
export type ListMembersResult = Readonly<z.infer<typeof listMembersResultSchema>>;

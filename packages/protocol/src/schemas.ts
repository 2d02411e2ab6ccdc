/** Every public message by name, for the generated protocol page and the schema hash. */
import { z } from 'zod';
import { statusResultSchema, statusSchema } from './admin.ts';
import {
  digestCollectionResultSchema,
  digestCollectionSchema,
  finishCollectionResultSchema,
  finishCollectionSchema,
  publishCollectionsResultSchema,
  publishCollectionsSchema,
  purgeCollectionResultSchema,
  purgeCollectionSchema,
  renameCollectionResultSchema,
  renameCollectionSchema,
  undeleteCollectionResultSchema,
  undeleteCollectionSchema,
} from './collection-lifecycle.ts';
import {
  createCollectionResultSchema,
  createCollectionSchema,
  dropCollectionResultSchema,
  dropCollectionSchema,
  listCollectionsResultSchema,
  listCollectionsSchema,
  updateCollectionResultSchema,
  updateCollectionSchema,
} from './collections.ts';
import { deleteResultSchema, deleteSchema } from './delete.ts';
import { deleteByFilterResultSchema, deleteByFilterSchema } from './delete-by-filter.ts';
import { errorResponseSchema, okResponseSchema } from './down.ts';
import { countResultSchema, countSchema, getResultSchema, getSchema } from './get.ts';
import {
  goodbyeSchema,
  helloSchema,
  leaderChangedSchema,
  membersChangedSchema,
  refusedSchema,
  welcomeSchema,
} from './hello.ts';
import {
  addMemberSchema,
  changeMembersResultSchema,
  demoteMemberSchema,
  listMembersResultSchema,
  listMembersSchema,
  promoteMemberSchema,
  removeMemberSchema,
  replaceMemberSchema,
  setLeasesSchema,
  transferLeadershipResultSchema,
  transferLeadershipSchema,
  updateMemberSchema,
} from './membership.ts';
import {
  createPayloadIndexResultSchema,
  createPayloadIndexSchema,
  dropPayloadIndexResultSchema,
  dropPayloadIndexSchema,
} from './payload-index.ts';
import { scrollResultSchema, scrollSchema } from './scroll.ts';
import { searchResultSchema, searchSchema } from './search.ts';
import {
  closeSessionResultSchema,
  closeSessionSchema,
  openSessionResultSchema,
  openSessionSchema,
} from './session.ts';
import { upsertResultSchema, upsertSchema } from './upsert.ts';

export interface PublicSchema {
  readonly direction: 'up' | 'down' | 'result';
  readonly description: string;
  readonly schema: z.ZodType;
}

const up = (schema: z.ZodType): PublicSchema => entry('up', schema, '');
const down = (schema: z.ZodType): PublicSchema => entry('down', schema, '');
const result = (schema: z.ZodType, request: string): PublicSchema =>
  entry('result', schema, `Result of ${request}.`);

function entry(
  direction: PublicSchema['direction'],
  schema: z.ZodType,
  description: string,
): PublicSchema {
  return { direction, schema, description: schema.description ?? description };
}

/** In the order of a conversation. */
export const publicSchemas: Readonly<Record<string, PublicSchema>> = {
  hello: up(helloSchema),
  welcome: down(welcomeSchema),
  refused: down(refusedSchema),
  leaderChanged: down(leaderChangedSchema),
  membersChanged: down(membersChangedSchema),
  goodbye: down(goodbyeSchema),
  okResponse: down(okResponseSchema),
  errorResponse: down(errorResponseSchema),
  openSession: up(openSessionSchema),
  openSessionResult: result(openSessionResultSchema, 'openSession'),
  closeSession: up(closeSessionSchema),
  closeSessionResult: result(closeSessionResultSchema, 'closeSession'),
  createCollection: up(createCollectionSchema),
  createCollectionResult: result(createCollectionResultSchema, 'createCollection'),
  dropCollection: up(dropCollectionSchema),
  dropCollectionResult: result(dropCollectionResultSchema, 'dropCollection'),
  updateCollection: up(updateCollectionSchema),
  updateCollectionResult: result(updateCollectionResultSchema, 'updateCollection'),
  listCollections: up(listCollectionsSchema),
  listCollectionsResult: result(listCollectionsResultSchema, 'listCollections'),
  undeleteCollection: up(undeleteCollectionSchema),
  undeleteCollectionResult: result(undeleteCollectionResultSchema, 'undeleteCollection'),
  renameCollection: up(renameCollectionSchema),
  renameCollectionResult: result(renameCollectionResultSchema, 'renameCollection'),
  purgeCollection: up(purgeCollectionSchema),
  purgeCollectionResult: result(purgeCollectionResultSchema, 'purgeCollection'),
  digestCollection: up(digestCollectionSchema),
  digestCollectionResult: result(digestCollectionResultSchema, 'digestCollection'),
  finishCollection: up(finishCollectionSchema),
  finishCollectionResult: result(finishCollectionResultSchema, 'finishCollection'),
  publishCollections: up(publishCollectionsSchema),
  publishCollectionsResult: result(publishCollectionsResultSchema, 'publishCollections'),
  createPayloadIndex: up(createPayloadIndexSchema),
  createPayloadIndexResult: result(createPayloadIndexResultSchema, 'createPayloadIndex'),
  dropPayloadIndex: up(dropPayloadIndexSchema),
  dropPayloadIndexResult: result(dropPayloadIndexResultSchema, 'dropPayloadIndex'),
  upsert: up(upsertSchema),
  upsertResult: result(upsertResultSchema, 'upsert'),
  delete: up(deleteSchema),
  deleteResult: result(deleteResultSchema, 'delete'),
  deleteByFilter: up(deleteByFilterSchema),
  deleteByFilterResult: result(deleteByFilterResultSchema, 'deleteByFilter'),
  get: up(getSchema),
  getResult: result(getResultSchema, 'get'),
  search: up(searchSchema),
  searchResult: result(searchResultSchema, 'search'),
  count: up(countSchema),
  countResult: result(countResultSchema, 'count'),
  scroll: up(scrollSchema),
  scrollResult: result(scrollResultSchema, 'scroll'),
  status: up(statusSchema),
  statusResult: result(statusResultSchema, 'status'),
  listMembers: up(listMembersSchema),
  listMembersResult: result(listMembersResultSchema, 'listMembers'),
  addMember: up(addMemberSchema),
  addMemberResult: result(changeMembersResultSchema, 'addMember'),
  removeMember: up(removeMemberSchema),
  removeMemberResult: result(changeMembersResultSchema, 'removeMember'),
  replaceMember: up(replaceMemberSchema),
  replaceMemberResult: result(changeMembersResultSchema, 'replaceMember'),
  promoteMember: up(promoteMemberSchema),
  promoteMemberResult: result(changeMembersResultSchema, 'promoteMember'),
  demoteMember: up(demoteMemberSchema),
  demoteMemberResult: result(changeMembersResultSchema, 'demoteMember'),
  updateMember: up(updateMemberSchema),
  updateMemberResult: result(changeMembersResultSchema, 'updateMember'),
  setLeases: up(setLeasesSchema),
  setLeasesResult: result(changeMembersResultSchema, 'setLeases'),
  transferLeadership: up(transferLeadershipSchema),
  transferLeadershipResult: result(transferLeadershipResultSchema, 'transferLeadership'),
};

/** JSON Schema of one public message; vectors appear as their description. */
export function toPublicJsonSchema(schema: z.ZodType): Readonly<Record<string, unknown>> {
  return z.toJSONSchema(schema, { unrepresentable: 'any', io: 'input' });
}

/** Everything a client may send, and the one place that dispatches it to its validator. */
import { HoldfastError } from '@holdfast/base';
import type { StatusRequest } from './admin.ts';
import { statusSchema } from './admin.ts';
import type { Fields } from './check.ts';
import { invalid } from './check.ts';
import type {
  DigestCollectionRequest,
  FinishCollectionRequest,
  PublishCollectionsRequest,
  PurgeCollectionRequest,
  RenameCollectionRequest,
  UndeleteCollectionRequest,
} from './collection-lifecycle.ts';
import {
  digestCollectionSchema,
  finishCollectionSchema,
  publishCollectionsSchema,
  purgeCollectionSchema,
  renameCollectionSchema,
  undeleteCollectionSchema,
} from './collection-lifecycle.ts';
import type {
  CreateCollectionRequest,
  DropCollectionRequest,
  ListCollectionsRequest,
  UpdateCollectionRequest,
} from './collections.ts';
import {
  createCollectionSchema,
  dropCollectionSchema,
  listCollectionsSchema,
  updateCollectionSchema,
} from './collections.ts';
import type { DeleteRequest } from './delete.ts';
import { checkDelete } from './delete.ts';
import type { DeleteByFilterRequest } from './delete-by-filter.ts';
import { checkDeleteByFilter } from './delete-by-filter.ts';
import type { CountRequest, GetRequest } from './get.ts';
import { checkCount, checkGet } from './get.ts';
import type { Hello } from './hello.ts';
import { helloSchema } from './hello.ts';
import type {
  AddMemberRequest,
  DemoteMemberRequest,
  ListMembersRequest,
  PromoteMemberRequest,
  RemoveMemberRequest,
  ReplaceMemberRequest,
  SetLeasesRequest,
  TransferLeadershipRequest,
  UpdateMemberRequest,
} from './membership.ts';
import {
  addMemberSchema,
  demoteMemberSchema,
  listMembersSchema,
  promoteMemberSchema,
  removeMemberSchema,
  replaceMemberSchema,
  setLeasesSchema,
  transferLeadershipSchema,
  updateMemberSchema,
} from './membership.ts';
import { parse } from './parse.ts';
import type { CreatePayloadIndexRequest, DropPayloadIndexRequest } from './payload-index.ts';
import { createPayloadIndexSchema, dropPayloadIndexSchema } from './payload-index.ts';
import type { ScrollRequest } from './scroll.ts';
import { checkScroll } from './scroll.ts';
import type { SearchRequest } from './search.ts';
import { checkSearch } from './search.ts';
import type { CloseSessionRequest, OpenSessionRequest } from './session.ts';
import { closeSessionSchema, openSessionSchema } from './session.ts';
import type { OutgoingUpsertRequest, UpsertRequest } from './upsert.ts';
import { checkUpsert } from './upsert.ts';

type SameBothWays =
  | OpenSessionRequest
  | CloseSessionRequest
  | CreateCollectionRequest
  | DropCollectionRequest
  | UpdateCollectionRequest
  | ListCollectionsRequest
  | UndeleteCollectionRequest
  | RenameCollectionRequest
  | PurgeCollectionRequest
  | DigestCollectionRequest
  | FinishCollectionRequest
  | PublishCollectionsRequest
  | CreatePayloadIndexRequest
  | DropPayloadIndexRequest
  | DeleteRequest
  | DeleteByFilterRequest
  | GetRequest
  | SearchRequest
  | CountRequest
  | ScrollRequest
  | StatusRequest
  | ListMembersRequest
  | AddMemberRequest
  | RemoveMemberRequest
  | ReplaceMemberRequest
  | PromoteMemberRequest
  | DemoteMemberRequest
  | UpdateMemberRequest
  | SetLeasesRequest
  | TransferLeadershipRequest;

/** A validated request, as the server handles it. */
export type Request = SameBothWays | UpsertRequest;
/** A request as the client writes it: payloads are still objects. */
export type OutgoingRequest = SameBothWays | OutgoingUpsertRequest;
export type RequestKind = Request['kind'];
export type RequestOf<Kind extends RequestKind> = Extract<Request, { kind: Kind }>;
export type OutgoingRequestOf<Kind extends RequestKind> = Extract<OutgoingRequest, { kind: Kind }>;
export type Up = Hello | Request;
export type OutgoingUp = Hello | OutgoingRequest;

const CHECKS: { readonly [Kind in RequestKind]: (fields: Fields) => RequestOf<Kind> } = {
  openSession: (fields) => parse(openSessionSchema, fields),
  closeSession: (fields) => parse(closeSessionSchema, fields),
  createCollection: (fields) => parse(createCollectionSchema, fields),
  dropCollection: (fields) => parse(dropCollectionSchema, fields),
  updateCollection: (fields) => parse(updateCollectionSchema, fields),
  listCollections: (fields) => parse(listCollectionsSchema, fields),
  undeleteCollection: (fields) => parse(undeleteCollectionSchema, fields),
  renameCollection: (fields) => parse(renameCollectionSchema, fields),
  purgeCollection: (fields) => parse(purgeCollectionSchema, fields),
  digestCollection: (fields) => parse(digestCollectionSchema, fields),
  finishCollection: (fields) => parse(finishCollectionSchema, fields),
  publishCollections: (fields) => parse(publishCollectionsSchema, fields),
  createPayloadIndex: (fields) => parse(createPayloadIndexSchema, fields),
  dropPayloadIndex: (fields) => parse(dropPayloadIndexSchema, fields),
  upsert: checkUpsert,
  delete: checkDelete,
  deleteByFilter: checkDeleteByFilter,
  get: checkGet,
  search: checkSearch,
  count: checkCount,
  scroll: checkScroll,
  status: (fields) => parse(statusSchema, fields),
  listMembers: (fields) => parse(listMembersSchema, fields),
  addMember: (fields) => parse(addMemberSchema, fields),
  removeMember: (fields) => parse(removeMemberSchema, fields),
  replaceMember: (fields) => parse(replaceMemberSchema, fields),
  promoteMember: (fields) => parse(promoteMemberSchema, fields),
  demoteMember: (fields) => parse(demoteMemberSchema, fields),
  updateMember: (fields) => parse(updateMemberSchema, fields),
  setLeases: (fields) => parse(setLeasesSchema, fields),
  transferLeadership: (fields) => parse(transferLeadershipSchema, fields),
};

export const REQUEST_KINDS = Object.keys(CHECKS) as readonly RequestKind[];

/** The requests that change state and may carry a session stamp. */
export const WRITE_KINDS = [
  'createCollection',
  'dropCollection',
  'updateCollection',
  'undeleteCollection',
  'renameCollection',
  'purgeCollection',
  'finishCollection',
  'publishCollections',
  'createPayloadIndex',
  'dropPayloadIndex',
  'upsert',
  'delete',
  'deleteByFilter',
] as const;
export type WriteKind = (typeof WRITE_KINDS)[number];

/**
 * Validates one decoded map.
 * @throws HoldfastError; `details.requestId` is set when the id of the request could be read
 */
export function checkUp(fields: Fields): Up {
  const { kind, id } = fields;
  if (kind === 'hello') return parse(helloSchema, fields);
  try {
    if (typeof kind !== 'string' || !Object.hasOwn(CHECKS, kind)) {
      throw invalid('kind', `one of hello, ${REQUEST_KINDS.join(', ')}`);
    }
    return CHECKS[kind as RequestKind](fields);
  } catch (error) {
    const isIdReadable =
      typeof id === 'number' && Number.isInteger(id) && id >= 0 && id <= 0xffff_ffff;
    if (!(error instanceof HoldfastError) || !isIdReadable) throw error;
    const details = { ...error.details, requestId: id };
    throw new HoldfastError(error.code, error.message, { details, cause: error });
  }
}

export type { Role, StatusRequest, StatusResult } from './admin.ts';
export { roleSchema } from './admin.ts';
export { decodeDown, decodeResult, decodeUp, encodeDown, encodeUp } from './codec.ts';
export type {
  DigestCollectionRequest,
  DigestCollectionResult,
  FinishCollectionRequest,
  FinishCollectionResult,
  PublishCollectionsRequest,
  PublishCollectionsResult,
  PurgeCollectionRequest,
  PurgeCollectionResult,
  RenameCollectionRequest,
  RenameCollectionResult,
  UndeleteCollectionRequest,
  UndeleteCollectionResult,
} from './collection-lifecycle.ts';
export type {
  ChecksumAlgorithmName,
  CollectionDescription,
  CreateCollectionRequest,
  CreateCollectionResult,
  DropCollectionRequest,
  DropCollectionResult,
  GraphParameters,
  HiddenCollectionDescription,
  HnswParameters,
  ListCollectionsRequest,
  ListCollectionsResult,
  Metric,
  UpdateCollectionRequest,
  UpdateCollectionResult,
} from './collections.ts';
export {
  CHECKSUM_ALGORITHM_DEFAULT,
  collectionDescriptionSchema,
  createCollectionSchema,
  GRAPH_DEFAULTS,
  HNSW_DEFAULTS,
  metricSchema,
  SHARD_COUNT_DEFAULT,
} from './collections.ts';
export type { Consistency, LeaderHint, ReadOptions, RequestBase, SessionStamp } from './common.ts';
export { leaderSchema } from './common.ts';
export { crc32c } from './crc32c.ts';
export type { DeletePoint, DeleteRequest, DeleteResult } from './delete.ts';
export { checkDelete } from './delete.ts';
export type { DeleteByFilterRequest, DeleteByFilterResult } from './delete-by-filter.ts';
export type {
  Down,
  ErrorResponse,
  OkResponse,
  ReceivedDown,
  ReceivedOkResponse,
  ReceivedResponse,
  Response,
  ServerNotice,
} from './down.ts';
export { isNotice } from './down.ts';
export type {
  Filter,
  FilterCondition,
  FilterMatch,
  FilterRange,
  FilterValue,
} from './filter.ts';
export { checkFilter } from './filter.ts';
export type {
  CountRequest,
  CountResult,
  GetRequest,
  GetResult,
  StoredPoint,
  WithOptions,
} from './get.ts';
export type {
  Goodbye,
  Hello,
  KnownNode,
  LeaderChanged,
  MembersChanged,
  Refused,
  Welcome,
} from './hello.ts';
export {
  ADDRESS_LENGTH_MAX,
  API_KEY_LENGTH_MAX,
  BATCH_POINT_COUNT_MAX,
  BATCH_SIZE_BYTES_MAX,
  CLIENT_NAME_LENGTH_MAX,
  COLLECTION_NAME_PATTERN,
  DELETE_BY_FILTER_LIMIT_MAX,
  DIMENSION_MAX,
  DROP_RETENTION_MS_MAX,
  EF_MAX,
  FILTER_CLAUSE_COUNT_MAX,
  FILTER_DEPTH_MAX,
  FILTER_KEY_LENGTH_MAX,
  FILTER_LIST_LENGTH_MAX,
  FILTER_TEXT_LENGTH_MAX,
  FRAME_SIZE_BYTES_MAX,
  GET_ID_COUNT_MAX,
  HELLO_FRAME_SIZE_BYTES_MAX,
  HNSW_M_MAX,
  INFLIGHT_REQUEST_COUNT_DEFAULT,
  PAYLOAD_DEPTH_MAX,
  PAYLOAD_INDEX_COUNT_MAX,
  PAYLOAD_SIZE_BYTES_MAX,
  PROTOCOL_VERSION_COUNT_MAX,
  PUBLISH_COUNT_MAX,
  REQUEST_TIMEOUT_MS_DEFAULT,
  REQUEST_TIMEOUT_MS_MAX,
  SCROLL_LIMIT_DEFAULT,
  SCROLL_LIMIT_MAX,
  SEARCH_K_MAX,
  SESSION_WINDOW_MAX,
  SHARD_COUNT_MAX,
  STALENESS_MS_DEFAULT,
  STALENESS_MS_MAX,
} from './limits.ts';
export type {
  AddMemberRequest,
  ChangeMembersResult,
  DemoteMemberRequest,
  JoiningNode,
  ListMembersRequest,
  ListMembersResult,
  MemberInfo,
  MemberRole,
  PromoteMemberRequest,
  RemoveMemberRequest,
  ReplaceMemberRequest,
  SetLeasesRequest,
  TransferLeadershipRequest,
  TransferLeadershipResult,
  UpdateMemberRequest,
} from './membership.ts';
export { readMsgpack } from './msgpack-reader.ts';
export { writeMsgpack } from './msgpack-writer.ts';
export type { CanonicalPayload, JsonObject, JsonValue } from './payload.ts';
export { canonicalPayload, parsePayload } from './payload.ts';
export type {
  CreatePayloadIndexRequest,
  CreatePayloadIndexResult,
  DropPayloadIndexRequest,
  DropPayloadIndexResult,
  PayloadIndex,
  PayloadIndexType,
} from './payload-index.ts';
export type {
  PeerAccepted,
  PeerChallenge,
  PeerChannel,
  PeerHandshake,
  PeerHello,
  PeerHmac,
  PeerIdentity,
  PeerProofInput,
  PeerProofRole,
  PeerRefused,
  PeerResponse,
} from './peer.ts';
export {
  decodePeerHandshake,
  encodePeerHandshake,
  PEER_ACCEPTED_FRAME_SIZE_BYTES_MAX,
  PEER_HANDSHAKE_FRAME_SIZE_BYTES_MAX,
  PEER_NONCE_SIZE_BYTES,
  PEER_PROOF_SIZE_BYTES,
  PEER_PROTOCOL_VERSION,
  peerProof,
  peerProofTranscript,
} from './peer.ts';
export type {
  BlockRequest,
  BlockResponse,
  CareBlock,
  CareFile,
  CareFrame,
  CareMessage,
  CareShardDigest,
  DigestReport,
} from './peer-care.ts';
export {
  CARE_BLOCK_COUNT_MAX,
  CARE_DIGEST_COUNT_MAX,
  CARE_FILE_HEADER_SIZE_BYTES,
} from './peer-care.ts';
export type {
  PeerFrame,
  RaftEnvelope,
  RaftFrame,
  SnapshotAbort,
  SnapshotBegin,
  SnapshotChunk,
  SnapshotEnd,
  SnapshotFileInfo,
  SnapshotReply,
} from './peer-frame.ts';
export {
  decodePeerFrame,
  encodePeerFrame,
  makeSnapshotChunk,
  PEER_FRAME_SIZE_BYTES_MAX,
  PEER_MESSAGE_COUNT_MAX,
  SNAPSHOT_CHUNK_SIZE_BYTES_MAX,
  SNAPSHOT_FILE_COUNT_MAX,
  SNAPSHOT_META_SIZE_BYTES_MAX,
} from './peer-frame.ts';
export type { PointId } from './point-id.ts';
export { pointIdAt } from './point-id.ts';
export type { ResultBody, ResultByKind, ResultOf } from './results.ts';
export type { PublicSchema } from './schemas.ts';
export { publicSchemas, toPublicJsonSchema } from './schemas.ts';
export type { ScrollRequest, ScrollResult } from './scroll.ts';
export type {
  DegradedLayer,
  FilterPlan,
  SearchHit,
  SearchPlan,
  SearchRequest,
  SearchResult,
} from './search.ts';
export { checkSearch } from './search.ts';
export type {
  CloseSessionRequest,
  CloseSessionResult,
  OpenSessionRequest,
  OpenSessionResult,
} from './session.ts';
export type {
  OutgoingRequest,
  OutgoingRequestOf,
  OutgoingUp,
  Request,
  RequestKind,
  RequestOf,
  Up,
  WriteKind,
} from './up.ts';
export { checkUp, REQUEST_KINDS, WRITE_KINDS } from './up.ts';
export type {
  OutgoingUpsertPoint,
  OutgoingUpsertRequest,
  UpsertPoint,
  UpsertRequest,
  UpsertResult,
} from './upsert.ts';
export { checkUpsert } from './upsert.ts';
export { vectorAt } from './vector.ts';
export { negotiateVersion, PROTOCOL_VERSION, SUPPORTED_PROTOCOL_VERSIONS } from './version.ts';

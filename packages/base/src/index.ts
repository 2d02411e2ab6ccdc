export { assert, InvariantViolation, must, unreachable } from './assert.ts';
export { BoundedQueue } from './bounded-queue.ts';
export type { Brand } from './brand.ts';
export { copyBytes } from './bytes.ts';
export type { CircuitBreakerOptions, CircuitState } from './circuit-breaker.ts';
export { CircuitBreaker } from './circuit-breaker.ts';
export type { Clock, TimerHandle, Timers } from './clock.ts';
export type { ConfState, Member, Promotion } from './conf.ts';
export {
  decodeConf,
  encodeConf,
  flawOfConf,
  MEMBER_ADDRESS_LENGTH_MAX,
  MEMBER_COUNT_MAX,
  makeConf,
  memberOf,
} from './conf.ts';
export type { Entry, EntryHasher, EntryType, HardState, SnapshotMeta } from './entry.ts';
export {
  decodeEntry,
  EMPTY_LOG_SUM,
  ENTRY_HEADER_SIZE_BYTES,
  ENTRY_SUM_SIZE_BYTES,
  encodeEntry,
  entrySizeBytes,
  entryTypeCode,
  readU64,
  sumsEqual,
  writeU64,
} from './entry.ts';
export type {
  ErrorBody,
  ErrorCode,
  ErrorCodeFacts,
  ErrorSurface,
  HoldfastErrorOptions,
  RetryAdvice,
} from './errors.ts';
export { ERROR_CODES, HoldfastError, isErrorCode, toHoldfastError } from './errors.ts';
export type { Failpoint, FailpointHandler } from './failpoints.ts';
export { armFailpoints, FAILPOINTS, failpoint } from './failpoints.ts';
export type { ClusterId, GroupId, Incarnation, LogIndex, NodeId, SessionId, Term } from './ids.ts';
export {
  clusterId,
  DEFAULT_GROUP_ID,
  groupId,
  HEX_ID_PATTERN,
  incarnation,
  isHexId,
  isNodeId,
  logIndex,
  NODE_ID_PATTERN,
  nodeId,
  sessionId,
  term,
} from './ids.ts';
export { INSTANT_LENGTH_MAX, INSTANT_LENGTH_MIN, parseInstant } from './instant.ts';
export { KEY_PATH_SEGMENT_COUNT_MAX, keyPath, parseKeyPath } from './key-path.ts';
export type { LogFields, Logger } from './logger.ts';
export { SILENT_LOGGER } from './logger.ts';
export type { Random } from './random.ts';
export { deriveSeed, SeededRandom } from './random.ts';
export type { RestartPolicyOptions } from './restart-policy.ts';
export { RESTART_POLICY_DEFAULT, RestartPolicy } from './restart-policy.ts';
export type { Result } from './result.ts';
export { err, ok } from './result.ts';

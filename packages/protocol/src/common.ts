/** Parts that several messages share: names, consistency, the session stamp, the error body. */
import type { ErrorBody, ErrorCode } from '@holdfast/base';
import { ERROR_CODES } from '@holdfast/base';
import { z } from 'zod';
import type { Draft, Fields } from './check.ts';
import {
  fieldsAt,
  integerAt,
  invalid,
  refuseUnknown,
  SAFE_POSITIVE,
  SAFE_UNSIGNED,
  U32,
} from './check.ts';
import {
  ADDRESS_LENGTH_MAX,
  COLLECTION_NAME_PATTERN,
  REQUEST_TIMEOUT_MS_MAX,
  STALENESS_MS_MAX,
} from './limits.ts';

export const requestIdSchema = z
  .int()
  .min(0)
  .max(0xffff_ffff)
  .describe('u32 chosen by the client, unique among its open requests on this connection.');
export const timeoutMsSchema = z.int().min(1).max(REQUEST_TIMEOUT_MS_MAX);
export const collectionNameSchema = z.string().regex(COLLECTION_NAME_PATTERN);
export const safePositiveSchema = z.int().min(1).max(Number.MAX_SAFE_INTEGER);
export const safeUnsignedSchema = z.int().min(0).max(Number.MAX_SAFE_INTEGER);

/** Every request has these. */
export const requestBaseShape = { id: requestIdSchema, timeoutMs: timeoutMsSchema.exactOptional() };

export interface RequestBase {
  readonly id: number;
  /** The server gives up after this long; without it after its own default. */
  readonly timeoutMs?: number;
}

export const consistencySchema = z.enum(['linearizable', 'lease', 'stale']);
export type Consistency = z.infer<typeof consistencySchema>;
const CONSISTENCIES: ReadonlySet<unknown> = new Set(consistencySchema.options);

/** `maxStalenessMs` belongs to `stale` reads only. */
export const readOptionsShape = {
  consistency: consistencySchema.exactOptional(),
  maxStalenessMs: z.int().min(0).max(STALENESS_MS_MAX).exactOptional(),
};

export interface ReadOptions {
  /** Absent: linearizable. */
  readonly consistency?: Consistency;
  readonly maxStalenessMs?: number;
}

/** Makes a write happen at most once. Without it a repeated write is a second write. */
export const sessionStampSchema = z
  .strictObject({
    id: safePositiveSchema,
    sequence: safePositiveSchema,
    ackedThrough: safeUnsignedSchema.describe(
      'Every result up to this sequence was received: the server may forget them. Below sequence.',
    ),
  })
  .refine((stamp) => stamp.ackedThrough < stamp.sequence);

export interface SessionStamp {
  readonly id: number;
  readonly sequence: number;
  readonly ackedThrough: number;
}

export const leaderSchema = z.strictObject({
  nodeId: z.string().min(1).max(64),
  address: z.string().max(ADDRESS_LENGTH_MAX).describe('Public host:port; empty when unknown.'),
});
export type LeaderHint = Readonly<z.infer<typeof leaderSchema>>;

const errorCodes = Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]];
export const errorBodySchema = z.strictObject({
  code: z.enum(errorCodes),
  message: z.string(),
  definite: z.boolean().describe('True: this attempt had no effect and never will.'),
  retry: z.enum(['never', 'redirect', 'backoff', 'otherNode', 'sameRequestId']),
  details: z.record(z.string(), z.unknown()),
}) satisfies z.ZodType<ErrorBody>;

const SESSION_FIELDS: ReadonlySet<string> = new Set(['id', 'sequence', 'ackedThrough']);

const TIMEOUT_RANGE = { min: 1, max: REQUEST_TIMEOUT_MS_MAX };
const STALENESS_RANGE = { min: 0, max: STALENESS_MS_MAX };

/** What the requests of the hot path share; each adds its own fields. */
export interface RequestDraft<Kind extends string> extends Draft<RequestBase>, Draft<ReadOptions> {
  readonly kind: Kind;
  session?: SessionStamp;
  withVector?: boolean;
  withPayload?: boolean;
}

/** Id and timeout: where every request starts. */
export function draftRequest<Kind extends string>(fields: Fields, kind: Kind): RequestDraft<Kind> {
  const draft: RequestDraft<Kind> = { id: integerAt(fields.id, U32, 'id'), kind };
  const { timeoutMs } = fields;
  if (timeoutMs !== undefined) draft.timeoutMs = integerAt(timeoutMs, TIMEOUT_RANGE, 'timeoutMs');
  return draft;
}

export function collectionNameAt(value: unknown, path: string): string {
  if (typeof value === 'string' && COLLECTION_NAME_PATTERN.test(value)) return value;
  throw invalid(path, '1 to 128 characters of a-z A-Z 0-9 . _ -, first a letter or digit');
}

export function readOptionsInto(draft: Draft<ReadOptions>, fields: Fields): void {
  const { consistency, maxStalenessMs } = fields;
  if (consistency !== undefined) {
    if (!CONSISTENCIES.has(consistency)) {
      throw invalid('consistency', 'linearizable, lease or stale');
    }
    draft.consistency = consistency as Consistency;
  }
  if (maxStalenessMs === undefined) return;
  if (consistency !== 'stale') {
    throw invalid('maxStalenessMs', 'left out unless consistency is stale');
  }
  draft.maxStalenessMs = integerAt(maxStalenessMs, STALENESS_RANGE, 'maxStalenessMs');
}

export function sessionInto(draft: { session?: SessionStamp }, fields: Fields): void {
  if (fields.session === undefined) return;
  const stamp = fieldsAt(fields.session, 'session');
  refuseUnknown(stamp, SESSION_FIELDS, 'session');
  const id = integerAt(stamp.id, SAFE_POSITIVE, 'session.id');
  const sequence = integerAt(stamp.sequence, SAFE_POSITIVE, 'session.sequence');
  const ackedThrough = integerAt(stamp.ackedThrough, SAFE_UNSIGNED, 'session.ackedThrough');
  if (ackedThrough >= sequence) throw invalid('session.ackedThrough', 'below session.sequence');
  draft.session = { id, sequence, ackedThrough };
}

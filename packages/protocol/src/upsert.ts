/**
 * Upsert: insert or replace points; one batch is one log entry, all of it or none. With a duplicate
 * id in one batch the last wins, and conditions look at the row before the batch.
 *
 * The client sends payloads as objects; `decode` hands on canonical bytes (see payload.ts), so that
 * nobody behind the codec has to think about JSON again.
 */
import { HoldfastError } from '@holdfast/base';
import { z } from 'zod';
import type { Draft, Fields } from './check.ts';
import {
  booleanAt,
  checkItem,
  fieldsAt,
  integerAt,
  invalid,
  listAt,
  refuseUnknown,
  SAFE_POSITIVE,
} from './check.ts';
import type { RequestBase, SessionStamp } from './common.ts';
import {
  collectionNameAt,
  collectionNameSchema,
  draftRequest,
  requestBaseShape,
  safePositiveSchema,
  sessionInto,
  sessionStampSchema,
} from './common.ts';
import { BATCH_POINT_COUNT_MAX, BATCH_SIZE_BYTES_MAX } from './limits.ts';
import type { CanonicalPayload, JsonObject } from './payload.ts';
import { canonicalPayload, payloadSchema } from './payload.ts';
import type { PointId } from './point-id.ts';
import { pointIdAt, pointIdSchema } from './point-id.ts';
import { vectorAt, vectorSchema } from './vector.ts';

export const upsertPointSchema = z
  .strictObject({
    id: pointIdSchema,
    vector: vectorSchema,
    payload: payloadSchema.exactOptional(),
    ifVersion: safePositiveSchema
      .exactOptional()
      .describe('Write only if the point exists with this version. Not together with ifAbsent.'),
    ifAbsent: z.boolean().exactOptional().describe('True: write only if the point does not exist.'),
  })
  .refine((point) => point.ifVersion === undefined || point.ifAbsent !== true);

export const upsertSchema = z
  .strictObject({
    ...requestBaseShape,
    kind: z.literal('upsert'),
    session: sessionStampSchema.exactOptional(),
    collection: collectionNameSchema,
    uid: safePositiveSchema
      .exactOptional()
      .describe('The collection must have this uid. Only so a hidden one can be written.'),
    points: z.array(upsertPointSchema).min(1).max(BATCH_POINT_COUNT_MAX),
  })
  .describe('Inserts or replaces points, atomically; the version of each becomes `index`.');

interface UpsertPointBase {
  readonly id: PointId;
  readonly vector: Float32Array;
  readonly ifVersion?: number;
  readonly ifAbsent?: boolean;
}

/** What a client sends. */
export interface OutgoingUpsertPoint extends UpsertPointBase {
  readonly payload?: JsonObject;
}

/** What a server works with. */
export interface UpsertPoint extends UpsertPointBase {
  readonly payload?: CanonicalPayload;
}

interface UpsertBase extends RequestBase {
  readonly kind: 'upsert';
  readonly session?: SessionStamp;
  readonly collection: string;
  /** The collection must have it; so hidden ones are written. */
  readonly uid?: number;
}

export interface OutgoingUpsertRequest extends UpsertBase {
  readonly points: readonly OutgoingUpsertPoint[];
}

export interface UpsertRequest extends UpsertBase {
  readonly points: readonly UpsertPoint[];
}

export const writeResultSchema = z.strictObject({
  index: safePositiveSchema.describe('Log index of the write: the new version of its points.'),
  term: safePositiveSchema,
});
export const upsertResultSchema = writeResultSchema;

export interface UpsertResult {
  readonly index: number;
  readonly term: number;
}

const FIELDS: ReadonlySet<string> = new Set([
  'id',
  'kind',
  'timeoutMs',
  'session',
  'collection',
  'uid',
  'points',
]);
const POINT_FIELDS: ReadonlySet<string> = new Set([
  'id',
  'vector',
  'payload',
  'ifVersion',
  'ifAbsent',
]);

/**
 * @throws HoldfastError REQUEST_INVALID, POINT_ID_INVALID, VECTOR_INVALID, PAYLOAD_INVALID,
 * BATCH_TOO_LARGE
 */
export function checkUpsert(fields: Fields): UpsertRequest {
  refuseUnknown(fields, FIELDS, '');
  const draft = draftRequest(fields, 'upsert');
  sessionInto(draft, fields);
  const request: Draft<UpsertRequest> = Object.assign(draft, {
    collection: collectionNameAt(fields.collection, 'collection'),
    points: checkPoints(fields.points),
  });
  if (fields.uid !== undefined) request.uid = integerAt(fields.uid, SAFE_POSITIVE, 'uid');
  return request;
}

/** The points of one batch, judged against the limits of a batch. */
export function checkPoints(value: unknown): UpsertPoint[] {
  const list = listAt(value, 'points');
  refuseBatchCount(list.length, 'points');
  const points: UpsertPoint[] = [];
  let sizeBytes = 0;
  for (let i = 0; i < list.length; i++) {
    const point = checkItem(list, i, 'points', checkPoint);
    points.push(point);
    sizeBytes += point.vector.byteLength + (point.payload?.byteLength ?? 0);
    if (sizeBytes > BATCH_SIZE_BYTES_MAX) {
      throw new HoldfastError(
        'BATCH_TOO_LARGE',
        `points: vectors and payloads exceed ${BATCH_SIZE_BYTES_MAX} bytes; split the batch`,
        { details: { path: 'points', sizeBytesMax: BATCH_SIZE_BYTES_MAX } },
      );
    }
  }
  return points;
}

export function refuseBatchCount(count: number, path: string): void {
  if (count === 0) throw invalid(path, 'a list of at least one');
  if (count > BATCH_POINT_COUNT_MAX) {
    throw new HoldfastError(
      'BATCH_TOO_LARGE',
      `${path}: has ${count}, at most ${BATCH_POINT_COUNT_MAX} are allowed; split the batch`,
      { details: { path, count, countMax: BATCH_POINT_COUNT_MAX } },
    );
  }
}

function checkPoint(value: unknown): UpsertPoint {
  const fields = fieldsAt(value, '');
  refuseUnknown(fields, POINT_FIELDS, '');
  const id = pointIdAt(fields.id, 'id');
  const vector = vectorAt(fields.vector, 'vector');
  const { payload, ifVersion, ifAbsent } = fields;
  const point: Draft<UpsertPoint> = { id, vector };
  if (payload !== undefined) point.payload = canonicalPayload(payload);
  if (ifVersion !== undefined) {
    if (ifAbsent === true) throw invalid('ifVersion', 'left out when ifAbsent is true');
    point.ifVersion = integerAt(ifVersion, SAFE_POSITIVE, 'ifVersion');
  }
  if (ifAbsent !== undefined) point.ifAbsent = booleanAt(ifAbsent, 'ifAbsent');
  return point;
}

/** Delete points by id, atomically per batch. */
import { z } from 'zod';
import type { Fields } from './check.ts';
import { checkItem, fieldsAt, integerAt, listAt, refuseUnknown, SAFE_POSITIVE } from './check.ts';
import type { RequestBase, SessionStamp } from './common.ts';
import {
  collectionNameAt,
  collectionNameSchema,
  draftRequest,
  requestBaseShape,
  safePositiveSchema,
  safeUnsignedSchema,
  sessionInto,
  sessionStampSchema,
} from './common.ts';
import { BATCH_POINT_COUNT_MAX } from './limits.ts';
import type { PointId } from './point-id.ts';
import { pointIdAt, pointIdSchema } from './point-id.ts';
import { refuseBatchCount } from './upsert.ts';

export const deletePointSchema = z.strictObject({
  id: pointIdSchema,
  ifVersion: safePositiveSchema
    .exactOptional()
    .describe('Delete only if the point has this version.'),
});

export const deleteSchema = z
  .strictObject({
    ...requestBaseShape,
    kind: z.literal('delete'),
    session: sessionStampSchema.exactOptional(),
    collection: collectionNameSchema,
    points: z.array(deletePointSchema).min(1).max(BATCH_POINT_COUNT_MAX),
  })
  .describe('Deletes points, atomically; a point that does not exist is not an error.');

export interface DeletePoint {
  readonly id: PointId;
  readonly ifVersion?: number;
}

export interface DeleteRequest extends RequestBase {
  readonly kind: 'delete';
  readonly session?: SessionStamp;
  readonly collection: string;
  readonly points: readonly DeletePoint[];
}

export const deleteResultSchema = z.strictObject({
  index: safePositiveSchema,
  term: safePositiveSchema,
  deletedCount: safeUnsignedSchema.describe('Points that existed.'),
});

export interface DeleteResult {
  readonly index: number;
  readonly term: number;
  readonly deletedCount: number;
}

const FIELDS: ReadonlySet<string> = new Set([
  'id',
  'kind',
  'timeoutMs',
  'session',
  'collection',
  'points',
]);
const POINT_FIELDS: ReadonlySet<string> = new Set(['id', 'ifVersion']);

/** @throws HoldfastError REQUEST_INVALID, POINT_ID_INVALID, BATCH_TOO_LARGE */
export function checkDelete(fields: Fields): DeleteRequest {
  refuseUnknown(fields, FIELDS, '');
  const draft = draftRequest(fields, 'delete');
  sessionInto(draft, fields);
  return Object.assign(draft, {
    collection: collectionNameAt(fields.collection, 'collection'),
    points: checkDeletePoints(fields.points),
  });
}

export function checkDeletePoints(value: unknown): DeletePoint[] {
  const list = listAt(value, 'points');
  refuseBatchCount(list.length, 'points');
  return list.map((_, i) => checkItem(list, i, 'points', checkPoint));
}

function checkPoint(value: unknown): DeletePoint {
  const fields = fieldsAt(value, '');
  refuseUnknown(fields, POINT_FIELDS, '');
  const id = pointIdAt(fields.id, 'id');
  if (fields.ifVersion === undefined) return { id };
  return { id, ifVersion: integerAt(fields.ifVersion, SAFE_POSITIVE, 'ifVersion') };
}

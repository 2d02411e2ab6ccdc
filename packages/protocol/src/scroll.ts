/** Reading all points, or those that match a filter, page by page in the order of their ids. */
import { z } from 'zod';
import type { Draft, Fields } from './check.ts';
import { integerAt, refuseUnknown } from './check.ts';
import type { ReadOptions, RequestBase } from './common.ts';
import {
  collectionNameAt,
  collectionNameSchema,
  draftRequest,
  readOptionsInto,
  readOptionsShape,
  requestBaseShape,
  safeUnsignedSchema,
} from './common.ts';
import type { Filter } from './filter.ts';
import { filterInto, filterSchema } from './filter.ts';
import type { StoredPoint, WithOptions } from './get.ts';
import { isStalenessPlaced, storedPointSchema, withOptionsInto, withShape } from './get.ts';
import { SCROLL_LIMIT_DEFAULT, SCROLL_LIMIT_MAX } from './limits.ts';
import type { PointId } from './point-id.ts';
import { pointIdAt, pointIdSchema } from './point-id.ts';

export const scrollSchema = z
  .strictObject({
    ...requestBaseShape,
    ...readOptionsShape,
    ...withShape,
    kind: z.literal('scroll'),
    collection: collectionNameSchema,
    filter: filterSchema.exactOptional().describe('Only points that match it.'),
    after: pointIdSchema.exactOptional().describe('Only points behind this id: `next` of a page.'),
    limit: z
      .int()
      .min(1)
      .max(SCROLL_LIMIT_MAX)
      .exactOptional()
      .describe(`Points of the page; default ${SCROLL_LIMIT_DEFAULT}. A page may have fewer.`),
  })
  .refine(isStalenessPlaced)
  .describe(
    'One page of points, ordered by id: numbers, then UUIDs. Each page is a read of its own: what ' +
      'is written between two pages is seen behind the cursor and not before it.',
  );

export interface ScrollRequest extends RequestBase, ReadOptions, WithOptions {
  readonly kind: 'scroll';
  readonly collection: string;
  readonly filter?: Filter;
  /** Only points behind this id, which need not exist. */
  readonly after?: PointId;
  readonly limit?: number;
}

export const scrollResultSchema = z.strictObject({
  points: z.array(storedPointSchema),
  next: pointIdSchema
    .nullable()
    .describe('`after` of the next page; null when this page was the last.'),
  appliedIndex: safeUnsignedSchema,
});

export interface ScrollResult {
  readonly points: readonly StoredPoint[];
  /** `after` of the next page; null when this page was the last. */
  readonly next: PointId | null;
  readonly appliedIndex: number;
}

const FIELDS: ReadonlySet<string> = new Set([
  'id',
  'kind',
  'timeoutMs',
  'consistency',
  'maxStalenessMs',
  'collection',
  'filter',
  'after',
  'limit',
  'withVector',
  'withPayload',
]);
const LIMIT_RANGE = { min: 1, max: SCROLL_LIMIT_MAX };

/** @throws HoldfastError REQUEST_INVALID, POINT_ID_INVALID, FILTER_INVALID */
export function checkScroll(fields: Fields): ScrollRequest {
  refuseUnknown(fields, FIELDS, '');
  const draft = draftRequest(fields, 'scroll');
  readOptionsInto(draft, fields);
  withOptionsInto(draft, fields);
  const request: Draft<ScrollRequest> = Object.assign(draft, {
    collection: collectionNameAt(fields.collection, 'collection'),
  });
  filterInto(request, fields);
  if (fields.after !== undefined) request.after = pointIdAt(fields.after, 'after');
  if (fields.limit !== undefined) request.limit = integerAt(fields.limit, LIMIT_RANGE, 'limit');
  return request;
}

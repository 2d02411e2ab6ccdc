/** Deleting the points that match a filter. */
import { z } from 'zod';
import type { Fields } from './check.ts';
import {
  collectionNameSchema,
  requestBaseShape,
  safePositiveSchema,
  safeUnsignedSchema,
  sessionStampSchema,
} from './common.ts';
import type { Filter } from './filter.ts';
import { checkFilter, filterSchema } from './filter.ts';
import { DELETE_BY_FILTER_LIMIT_MAX } from './limits.ts';
import { parse } from './parse.ts';

export const deleteByFilterSchema = z
  .strictObject({
    ...requestBaseShape,
    kind: z.literal('deleteByFilter'),
    session: sessionStampSchema.exactOptional(),
    collection: collectionNameSchema,
    filter: filterSchema,
    limit: z
      .int()
      .min(1)
      .max(DELETE_BY_FILTER_LIMIT_MAX)
      .exactOptional()
      .describe(`At most so many points, lowest ids first; default ${DELETE_BY_FILTER_LIMIT_MAX}.`),
  })
  .describe(
    'Deletes points that match a filter, atomically. The leader finds them and their versions; a ' +
      'point that was written again before its turn in the log is skipped, not deleted.',
  );
export type DeleteByFilterRequest = Readonly<
  Omit<z.infer<typeof deleteByFilterSchema>, 'filter'> & { readonly filter: Filter }
>;

export const deleteByFilterResultSchema = z.strictObject({
  index: safePositiveSchema,
  term: safePositiveSchema,
  deletedCount: safeUnsignedSchema,
  skippedCount: safeUnsignedSchema.describe(
    'Matching points that were changed or deleted by another write in the meantime.',
  ),
});

export interface DeleteByFilterResult {
  readonly index: number;
  readonly term: number;
  readonly deletedCount: number;
  /** Matching points that were changed or deleted by another write in the meantime. */
  readonly skippedCount: number;
}

/** @throws HoldfastError REQUEST_INVALID, FILTER_INVALID */
export function checkDeleteByFilter(fields: Fields): DeleteByFilterRequest {
  // Before the schema, which would only say that the filter is bad, not which clause.
  const filter = checkFilter(fields.filter);
  return { ...parse(deleteByFilterSchema, { ...fields, filter }), filter };
}

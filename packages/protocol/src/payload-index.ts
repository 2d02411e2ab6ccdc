/** Indexes over payload keys: declared per collection, kept by every node for itself. */
import { parseKeyPath } from '@holdfast/base';
import { z } from 'zod';
import {
  collectionNameSchema,
  requestBaseShape,
  safePositiveSchema,
  sessionStampSchema,
} from './common.ts';
import { FILTER_KEY_LENGTH_MAX, PAYLOAD_INDEX_COUNT_MAX } from './limits.ts';

export const payloadIndexTypeSchema = z.enum(['keyword', 'integer', 'float', 'bool', 'datetime']);
export type PayloadIndexType = z.infer<typeof payloadIndexTypeSchema>;

const keySchema = z
  .string()
  .max(FILTER_KEY_LENGTH_MAX)
  .refine((key) => parseKeyPath(key) !== null, {
    error: 'must be keys joined by dots',
  })
  .describe('Key path as in filters.');

export const payloadIndexSchema = z.strictObject({
  key: keySchema,
  type: payloadIndexTypeSchema,
});
export type PayloadIndex = Readonly<z.infer<typeof payloadIndexSchema>>;

/** A key has one index at most. */
export const payloadIndexesSchema = z
  .array(payloadIndexSchema)
  .max(PAYLOAD_INDEX_COUNT_MAX)
  .refine((list) => new Set(list.map(({ key }) => key)).size === list.length, {
    error: 'must have one index per key',
  });

export const createPayloadIndexSchema = z
  .strictObject({
    ...requestBaseShape,
    kind: z.literal('createPayloadIndex'),
    session: sessionStampSchema.exactOptional(),
    collection: collectionNameSchema,
    key: keySchema,
    type: payloadIndexTypeSchema,
  })
  .describe(
    'Declares a payload index. Filters give the same answers with and without it; nodes build it ' +
      'in the background. An equal index that exists is no error.',
  );
export type CreatePayloadIndexRequest = Readonly<z.infer<typeof createPayloadIndexSchema>>;

export const createPayloadIndexResultSchema = z.strictObject({
  index: safePositiveSchema,
  term: safePositiveSchema,
  isCreated: z.boolean().describe('False: it was there.'),
});
export type CreatePayloadIndexResult = Readonly<z.infer<typeof createPayloadIndexResultSchema>>;

export const dropPayloadIndexSchema = z
  .strictObject({
    ...requestBaseShape,
    kind: z.literal('dropPayloadIndex'),
    session: sessionStampSchema.exactOptional(),
    collection: collectionNameSchema,
    key: keySchema,
  })
  .describe('Drops a payload index.');
export type DropPayloadIndexRequest = Readonly<z.infer<typeof dropPayloadIndexSchema>>;

export const dropPayloadIndexResultSchema = z.strictObject({
  index: safePositiveSchema,
  term: safePositiveSchema,
  isDropped: z.boolean().describe('False: the key had no index.'),
});
export type DropPayloadIndexResult = Readonly<z.infer<typeof dropPayloadIndexResultSchema>>;

/**
 * What becomes of collections: other names, coming back after a drop, and rows restored beside live
 * data into collections that nobody sees until they are published. Hidden collections have no claim
 * to a name, so all of this goes by uid: the log index of the entry that created the collection.
 */
import { z } from 'zod';
import { collectionDescriptionSchema, createCollectionResultSchema } from './collections.ts';
import {
  collectionNameSchema,
  requestBaseShape,
  safePositiveSchema,
  safeUnsignedSchema,
  sessionStampSchema,
} from './common.ts';
import { PUBLISH_COUNT_MAX } from './limits.ts';

const uidSchema = safePositiveSchema.describe('`createdIndex` of the collection.');
const contentDigestSchema = z
  .string()
  .regex(/^[0-9a-f]{32}$/)
  .describe('Of ids, vectors and payloads; equal wherever and whenever they were written.');

const writeShape = { ...requestBaseShape, session: sessionStampSchema.exactOptional() };
const changedShape = { index: safePositiveSchema, term: safePositiveSchema };

export const undeleteCollectionSchema = z
  .strictObject({
    ...writeShape,
    kind: z.literal('undeleteCollection'),
    uid: uidSchema,
    name: collectionNameSchema.exactOptional().describe('Default: the name it had.'),
  })
  .describe('Brings a dropped collection back with all its points. The name must be free.');
export type UndeleteCollectionRequest = Readonly<z.infer<typeof undeleteCollectionSchema>>;
export const undeleteCollectionResultSchema = createCollectionResultSchema;
export type UndeleteCollectionResult = Readonly<z.infer<typeof undeleteCollectionResultSchema>>;

export const renameCollectionSchema = z
  .strictObject({
    ...writeShape,
    kind: z.literal('renameCollection'),
    name: collectionNameSchema,
    newName: collectionNameSchema,
  })
  .describe('Gives a collection another name, which must be free. Points and uid stay.');
export type RenameCollectionRequest = Readonly<z.infer<typeof renameCollectionSchema>>;
export const renameCollectionResultSchema = createCollectionResultSchema;
export type RenameCollectionResult = Readonly<z.infer<typeof renameCollectionResultSchema>>;

export const purgeCollectionSchema = z
  .strictObject({ ...writeShape, kind: z.literal('purgeCollection'), uid: uidSchema })
  .describe('Lets go of a hidden collection for good, before its time is over.');
export type PurgeCollectionRequest = Readonly<z.infer<typeof purgeCollectionSchema>>;
export const purgeCollectionResultSchema = z.strictObject({
  ...changedShape,
  isPurged: z.boolean().describe('False: no hidden collection has this uid.'),
});
export type PurgeCollectionResult = Readonly<z.infer<typeof purgeCollectionResultSchema>>;

export const digestCollectionSchema = z
  .strictObject({
    ...requestBaseShape,
    kind: z.literal('digestCollection'),
    collection: collectionNameSchema,
    uid: uidSchema.exactOptional().describe('Of a hidden collection.'),
  })
  .describe(
    'Count and digest of the points of a collection that nobody writes meanwhile; every point is ' +
      'read. Refused OVERLOADED while it is written.',
  );
export type DigestCollectionRequest = Readonly<z.infer<typeof digestCollectionSchema>>;
export const digestCollectionResultSchema = z.strictObject({
  pointCount: safeUnsignedSchema,
  digest: contentDigestSchema,
  appliedIndex: safeUnsignedSchema,
});
export type DigestCollectionResult = Readonly<z.infer<typeof digestCollectionResultSchema>>;

export const finishCollectionSchema = z
  .strictObject({
    ...writeShape,
    kind: z.literal('finishCollection'),
    uid: uidSchema,
    pointCount: safeUnsignedSchema,
    digest: contentDigestSchema,
  })
  .describe(
    'Ends writing to a hidden collection, once it was found to have these points and no others; ' +
      'otherwise refused COLLECTION_NOT_READY.',
  );
export type FinishCollectionRequest = Readonly<z.infer<typeof finishCollectionSchema>>;
export const finishCollectionResultSchema = createCollectionResultSchema;
export type FinishCollectionResult = Readonly<z.infer<typeof finishCollectionResultSchema>>;

export const publishCollectionsSchema = z
  .strictObject({
    ...writeShape,
    kind: z.literal('publishCollections'),
    uids: z
      .array(uidSchema)
      .min(1)
      .max(PUBLISH_COUNT_MAX)
      .refine((list) => new Set(list).size === list.length, { error: 'must be different' }),
  })
  .describe(
    'Makes finished hidden collections visible under their names, all at one moment or none.',
  );
export type PublishCollectionsRequest = Readonly<z.infer<typeof publishCollectionsSchema>>;
export const publishCollectionsResultSchema = z.strictObject({
  ...changedShape,
  collections: z.array(collectionDescriptionSchema),
});
export type PublishCollectionsResult = Readonly<z.infer<typeof publishCollectionsResultSchema>>;

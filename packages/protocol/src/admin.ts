/** What one node says about itself. */
import { z } from 'zod';
import { leaderSchema, requestBaseShape, safeUnsignedSchema } from './common.ts';

export const statusSchema = z
  .strictObject({ ...requestBaseShape, kind: z.literal('status') })
  .describe('Status of the node that is asked; never redirected.');
export type StatusRequest = Readonly<z.infer<typeof statusSchema>>;

export const roleSchema = z.enum([
  'follower',
  'preCandidate',
  'candidate',
  'leader',
  'learner',
  'repairing',
]);
export type Role = z.infer<typeof roleSchema>;

export const statusResultSchema = z.strictObject({
  nodeId: z.string(),
  role: roleSchema,
  term: safeUnsignedSchema,
  leader: leaderSchema.nullable(),
  commitIndex: safeUnsignedSchema,
  appliedIndex: safeUnsignedSchema,
});
export type StatusResult = Readonly<z.infer<typeof statusResultSchema>>;

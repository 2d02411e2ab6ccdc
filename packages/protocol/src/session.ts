/** Sessions make a retried write take effect once. Opening one twice wastes one: it expires. */
import { z } from 'zod';
import { requestBaseShape, safePositiveSchema } from './common.ts';

export const openSessionSchema = z
  .strictObject({ ...requestBaseShape, kind: z.literal('openSession') })
  .describe('Opens a session for exactly-once writes.');
export type OpenSessionRequest = Readonly<z.infer<typeof openSessionSchema>>;

export const openSessionResultSchema = z.strictObject({ sessionId: safePositiveSchema });
export type OpenSessionResult = Readonly<z.infer<typeof openSessionResultSchema>>;

export const closeSessionSchema = z
  .strictObject({
    ...requestBaseShape,
    kind: z.literal('closeSession'),
    sessionId: safePositiveSchema,
  })
  .describe('Forgets a session; closing one that is gone succeeds.');
export type CloseSessionRequest = Readonly<z.infer<typeof closeSessionSchema>>;

export const closeSessionResultSchema = z.strictObject({});
export type CloseSessionResult = Readonly<z.infer<typeof closeSessionResultSchema>>;

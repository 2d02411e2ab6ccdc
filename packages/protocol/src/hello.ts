/** The handshake: the client speaks first; who does not like what it hears says so and closes. */
import { MEMBER_COUNT_MAX } from '@holdfast/base';
import { z } from 'zod';
import { errorBodySchema, leaderSchema, safeUnsignedSchema } from './common.ts';
import {
  ADDRESS_LENGTH_MAX,
  API_KEY_LENGTH_MAX,
  CLIENT_NAME_LENGTH_MAX,
  PROTOCOL_VERSION_COUNT_MAX,
} from './limits.ts';

export const helloSchema = z
  .strictObject({
    kind: z.literal('hello'),
    protocolVersions: z.array(z.int().min(1).max(65_535)).min(1).max(PROTOCOL_VERSION_COUNT_MAX),
    apiKey: z.string().min(1).max(API_KEY_LENGTH_MAX).exactOptional(),
    client: z.string().max(CLIENT_NAME_LENGTH_MAX),
  })
  .describe('First frame of a connection.');
export type Hello = Readonly<z.infer<typeof helloSchema>>;

const knownNodeSchema = z.strictObject({
  nodeId: z.string().min(1).max(64),
  address: z.string().max(ADDRESS_LENGTH_MAX).describe('Public host:port; empty when unknown.'),
});
/** The members of the cluster and where clients reach them. */
const knownNodesShape = {
  nodes: z.array(knownNodeSchema).max(MEMBER_COUNT_MAX),
  confIndex: safeUnsignedSchema.describe('Of the configuration that says so; it never goes back.'),
};
export type KnownNode = Readonly<z.infer<typeof knownNodeSchema>>;

const limitSchema = z.int().min(1).max(0xffff_ffff);

export const welcomeSchema = z
  .strictObject({
    kind: z.literal('welcome'),
    protocolVersion: z.int().min(1).max(65_535),
    clusterId: z.string(),
    nodeId: z.string(),
    epoch: z
      .int()
      .min(1)
      .max(Number.MAX_SAFE_INTEGER)
      .describe(
        'Raised when a cluster that lost its quorum was recovered. It holds for every answer of ' +
          'this connection; who has seen a higher one must not believe this node.',
      ),
    leader: leaderSchema.nullable(),
    term: safeUnsignedSchema,
    ...knownNodesShape,
    limits: z.strictObject({
      frameSizeBytesMax: limitSchema,
      batchPointCountMax: limitSchema,
      inflightRequestCountMax: limitSchema,
    }),
  })
  .describe('Answer to a hello that the server accepts; requests may follow.');
export type Welcome = Readonly<z.infer<typeof welcomeSchema>>;

export const refusedSchema = z
  .strictObject({ kind: z.literal('refused'), error: errorBodySchema })
  .describe('Answer to a hello that the server does not accept; it closes the connection.');
export type Refused = Readonly<z.infer<typeof refusedSchema>>;

export const leaderChangedSchema = z
  .strictObject({
    kind: z.literal('leaderChanged'),
    leader: leaderSchema.nullable(),
    term: safeUnsignedSchema,
  })
  .describe('Pushed to every connection when this node learns of another leader, or of none.');
export type LeaderChanged = Readonly<z.infer<typeof leaderChangedSchema>>;

export const membersChangedSchema = z
  .strictObject({ kind: z.literal('membersChanged'), ...knownNodesShape })
  .describe('Pushed to every connection when this node learns of other members or addresses.');
export type MembersChanged = Readonly<z.infer<typeof membersChangedSchema>>;

export const goodbyeSchema = z
  .strictObject({ kind: z.literal('goodbye'), error: errorBodySchema })
  .describe('Last frame of a connection that the server closes, with the reason.');
export type Goodbye = Readonly<z.infer<typeof goodbyeSchema>>;

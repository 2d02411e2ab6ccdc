/**
 * What a snapshot transfer says beside its files: the parts of the CHECKPOINT root that name them,
 * and the raft message that is stepped once they are durable. Sent by a peer, so every field is
 * checked before anything is done.
 */
import type { NodeId } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import type { RaftMessage } from '@holdfast/raft';
import { decodeRaftMessage, encodeRaftMessage } from '@holdfast/raft';
import type { CheckpointRoot } from '@holdfast/storage';
import { z } from 'zod';

export type SnapshotMessage = Extract<RaftMessage, { kind: 'snapshot' }>;

export interface SnapshotHeader {
  readonly metaFile: CheckpointRoot['metaFile'];
  readonly shards: CheckpointRoot['shards'];
  readonly message: SnapshotMessage;
}

/** One per shard of the cluster: 1,000 collections of 64. */
const SHARD_COUNT_MAX = 65_536;
const path = z.string().min(1).max(512);
const checksum = z.string().regex(/^[0-9a-f]{64}$/);
const schema = z.strictObject({
  metaFile: z.strictObject({ path, checksum, sizeBytes: z.int().min(0) }),
  shards: z
    .array(
      z.strictObject({
        collectionUid: z.string().regex(/^\d{1,16}$/),
        shard: z.int().min(0),
        manifestPath: path,
        checksum,
      }),
    )
    .max(SHARD_COUNT_MAX),
  message: z.base64().min(1),
});

export function encodeSnapshotHeader({ metaFile, shards, message }: SnapshotHeader): Uint8Array {
  const encoded = Buffer.from(encodeRaftMessage(message)).toString('base64');
  return new TextEncoder().encode(JSON.stringify({ metaFile, shards, message: encoded }));
}

/** @throws HoldfastError PEER_PROTOCOL, MESSAGE_MALFORMED */
export function decodeSnapshotHeader(bytes: Uint8Array, from: NodeId): SnapshotHeader {
  const parsed = schema.safeParse(jsonOrNull(bytes));
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw protocolError(`has a bad header at '${issue?.path.join('.') ?? ''}'`);
  }
  const { metaFile, shards } = parsed.data;
  const encoded = new Uint8Array(Buffer.from(parsed.data.message, 'base64'));
  const message = decodeRaftMessage(encoded, from);
  if (message.kind !== 'snapshot') throw protocolError(`carries a ${message.kind} message`);
  return { metaFile, shards, message };
}

function jsonOrNull(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    // Both throw one of these for bytes that are no JSON text; anything else is a bug.
    if (error instanceof SyntaxError || error instanceof TypeError) return null;
    throw error;
  }
}

export const protocolError = (what: string): HoldfastError =>
  new HoldfastError('PEER_PROTOCOL', `the snapshot ${what}; run the same version on every node`);

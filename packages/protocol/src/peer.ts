/**
 * The handshake between two nodes. The dialling side speaks first:
 *
 *     dialler                                  acceptor
 *     hello {identity, channel, nonce}   ->
 *                                        <-    challenge {identity, nonce, proof 'accept'}
 *     response {proof 'connect'}         ->
 *                                        <-    accepted {} | refused {error}
 *
 * Both proofs are HMAC-SHA256 under the cluster secret over the same transcript (role, channel,
 * both nonces, both identities, each with its length), so neither can be replayed, reflected or
 * moved to another channel or pair. Until `accepted` only these messages decode, in small frames.
 *
 * An `inquiry` is a handshake and nothing more: each side learns who the other is, the dialler also
 * the members; then the connection is closed. It is how a new node finds its cluster (it does not
 * know the cluster id yet, so the one in its hello is not looked at) and how a leader makes sure of
 * a node before it adds it.
 * The HMAC is injected: this package knows no node:crypto. Compare proofs in constant time.
 */
import type { ErrorBody, Member } from '@holdfast/base';
import {
  HEX_ID_PATTERN,
  incarnation,
  MEMBER_ADDRESS_LENGTH_MAX,
  MEMBER_COUNT_MAX,
  NODE_ID_PATTERN,
  nodeId,
} from '@holdfast/base';
import { z } from 'zod';
import { errorBodySchema, safeUnsignedSchema } from './common.ts';
import { ADDRESS_LENGTH_MAX } from './limits.ts';
import { parse } from './parse.ts';
import { openPeerFrame, sealPeerFrame } from './peer-frame.ts';

/**
 * The version of handshake and frames between nodes; a node talks only to its own version.
 *
 * 1  raft messages, snapshots
 * 2  the handshake tells peer address, epoch, newest configuration and wall clock; inquiries
 * 3  blocks of damaged files and digests (peer-care.ts)
 * 4  the handshake tells the digest of the plan that a restored node was made by
 */
export const PEER_PROTOCOL_VERSION = 4;
/** Unauthenticated bytes: nothing that is allowed needs a tenth of this. */
export const PEER_HANDSHAKE_FRAME_SIZE_BYTES_MAX = 4 * 1024;
/** From an acceptor that has proved itself: a full list of members fits. */
export const PEER_ACCEPTED_FRAME_SIZE_BYTES_MAX = 64 * 1024;
export const PEER_NONCE_SIZE_BYTES = 32;
export const PEER_PROOF_SIZE_BYTES = 32;
const TRANSCRIPT_LABEL = 'holdfast-peer-3';

/** The last moment that a Date can name. */
const WALL_MS_MAX = 8.64e15;

/** 64 hex digits, or nothing. */
const PLAN_DIGEST_PATTERN = /^(?:[0-9a-f]{64})?$/;

const bytesSchema = (sizeBytes: number) =>
  z.custom<Uint8Array>((value) => value instanceof Uint8Array && value.byteLength === sizeBytes, {
    error: `must be ${sizeBytes} bytes`,
  });

const identityShape = {
  clusterId: z.string().regex(HEX_ID_PATTERN),
  nodeId: z.string().regex(NODE_ID_PATTERN),
  incarnation: z.string().regex(HEX_ID_PATTERN),
  epoch: safeUnsignedSchema,
  publicAddress: z.string().max(ADDRESS_LENGTH_MAX),
  peerAddress: z.string().max(MEMBER_ADDRESS_LENGTH_MAX),
  isJoining: z.boolean(),
  confIndex: safeUnsignedSchema,
  wallMs: z.number().min(0).max(WALL_MS_MAX),
  planDigest: z.string().regex(PLAN_DIGEST_PATTERN),
};

const helloSchema = z.strictObject({
  kind: z.literal('hello'),
  version: z.int().min(1).max(65_535),
  ...identityShape,
  channel: z.enum(['control', 'answers', 'bulk', 'inquiry']),
  nonce: bytesSchema(PEER_NONCE_SIZE_BYTES),
});
const challengeSchema = z.strictObject({
  kind: z.literal('challenge'),
  version: z.int().min(1).max(65_535),
  ...identityShape,
  nonce: bytesSchema(PEER_NONCE_SIZE_BYTES),
  proof: bytesSchema(PEER_PROOF_SIZE_BYTES),
});
const responseSchema = z.strictObject({
  kind: z.literal('response'),
  proof: bytesSchema(PEER_PROOF_SIZE_BYTES),
});
const memberSchema = z.strictObject({
  nodeId: z.string().regex(NODE_ID_PATTERN).transform(nodeId),
  incarnation: z.string().regex(HEX_ID_PATTERN).transform(incarnation),
  address: z.string().max(MEMBER_ADDRESS_LENGTH_MAX),
  clientAddress: z.string().max(MEMBER_ADDRESS_LENGTH_MAX).nullable(),
});
const acceptedSchema = z.strictObject({
  kind: z.literal('accepted'),
  members: z.array(memberSchema).max(MEMBER_COUNT_MAX),
});
const refusedSchema = z.strictObject({ kind: z.literal('refused'), error: errorBodySchema });
const handshakeSchema = z.discriminatedUnion('kind', [
  helloSchema,
  challengeSchema,
  responseSchema,
  acceptedSchema,
  refusedSchema,
]);

/**
 * `control` carries messages and asks for a connection back; `answers` is that connection back to a
 * node that is no member, and asks for nothing; `bulk` carries a snapshot.
 */
export type PeerChannel = 'control' | 'answers' | 'bulk' | 'inquiry';

export interface PeerIdentity {
  readonly clusterId: string;
  readonly nodeId: string;
  readonly incarnation: string;
  /** Of its cluster; 0 while it does not know one. Nodes of two epochs do not talk. */
  readonly epoch: number;
  /** Where clients reach this node, `host:port`; the leader names it in redirects. */
  readonly publicAddress: string;
  /** Where other nodes reach this node, `host:port`. */
  readonly peerAddress: string;
  /** It has never been a member and waits to be added: it votes for nobody and holds nothing. */
  readonly isJoining: boolean;
  /** Log index of the newest configuration it holds. */
  readonly confIndex: number;
  /** Its wall clock as it sends this. */
  readonly wallMs: number;
  /** Of the restore that made its data directory; empty when none did. */
  readonly planDigest: string;
}

export interface PeerHello extends PeerIdentity {
  readonly kind: 'hello';
  readonly version: number;
  readonly channel: PeerChannel;
  /** 32 fresh random bytes. */
  readonly nonce: Uint8Array;
}

export interface PeerChallenge extends PeerIdentity {
  readonly kind: 'challenge';
  readonly version: number;
  readonly nonce: Uint8Array;
  readonly proof: Uint8Array;
}

export interface PeerResponse {
  readonly kind: 'response';
  readonly proof: Uint8Array;
}

export interface PeerAccepted {
  readonly kind: 'accepted';
  /** Of the acceptor's configuration; empty unless the channel is `inquiry`. */
  readonly members: readonly Member[];
}

export interface PeerRefused {
  readonly kind: 'refused';
  readonly error: ErrorBody;
}

export type PeerHandshake = PeerHello | PeerChallenge | PeerResponse | PeerAccepted | PeerRefused;

export function encodePeerHandshake(message: PeerHandshake): Uint8Array {
  return sealPeerFrame(message);
}

/**
 * `sizeBytesMax` may be raised once the other side has proved itself.
 * @throws HoldfastError PEER_FRAME_CORRUPT (checksum), PEER_PROTOCOL (anything else)
 */
export function decodePeerHandshake(
  bytes: Uint8Array,
  sizeBytesMax = PEER_HANDSHAKE_FRAME_SIZE_BYTES_MAX,
): PeerHandshake {
  const fields = openPeerFrame(bytes, sizeBytesMax);
  return parse(handshakeSchema, fields, 'PEER_PROTOCOL');
}

/** HMAC-SHA256 under the cluster secret; 32 bytes. */
export type PeerHmac = (message: Uint8Array) => Uint8Array;
/** Who proves: the acceptor in its challenge, the dialler in its response. */
export type PeerProofRole = 'accept' | 'connect';

/** What a proof is computed over: the hello, and the challenge without its proof. */
export interface PeerProofInput {
  readonly role: PeerProofRole;
  readonly hello: PeerHello;
  readonly challenge: Omit<PeerChallenge, 'proof'>;
}

export function peerProof(hmac: PeerHmac, input: PeerProofInput): Uint8Array {
  return hmac(peerProofTranscript(input));
}

/** Every part carries its length, so no two different handshakes have equal bytes. */
export function peerProofTranscript(input: PeerProofInput): Uint8Array {
  const { role, hello, challenge } = input;
  const text = new TextEncoder();
  const parts: Uint8Array[] = [
    text.encode(TRANSCRIPT_LABEL),
    text.encode(role),
    text.encode(hello.channel),
    text.encode(`${hello.version}/${challenge.version}`),
    hello.nonce,
    challenge.nonce,
    ...identityParts(hello).map((part) => text.encode(part)),
    ...identityParts(challenge).map((part) => text.encode(part)),
  ];
  const sizeBytes = parts.reduce((sum, part) => sum + 4 + part.byteLength, 0);
  const transcript = new Uint8Array(sizeBytes);
  const view = new DataView(transcript.buffer);
  let offset = 0;
  for (const part of parts) {
    view.setUint32(offset, part.byteLength, true);
    transcript.set(part, offset + 4);
    offset += 4 + part.byteLength;
  }
  return transcript;
}

const identityParts = (identity: PeerIdentity): readonly string[] => [
  identity.clusterId,
  identity.nodeId,
  identity.incarnation,
  identity.publicAddress,
  identity.peerAddress,
  String(identity.epoch),
  String(identity.isJoining),
  String(identity.confIndex),
  String(identity.wallMs),
  identity.planDigest,
];

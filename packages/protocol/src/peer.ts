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
 * The HMAC is injected: this package knows no node:crypto. Compare proofs in constant time.
 */
import type { ErrorBody } from '@holdfast/base';
import { HEX_ID_PATTERN, NODE_ID_PATTERN } from '@holdfast/base';
import { z } from 'zod';
import { errorBodySchema } from './common.ts';
import { ADDRESS_LENGTH_MAX } from './limits.ts';
import { parse } from './parse.ts';
import { openPeerFrame, sealPeerFrame } from './peer-frame.ts';

/** The version of handshake and frames between nodes; a node talks only to its own version. */
export const PEER_PROTOCOL_VERSION = 1;
/** Unauthenticated bytes: nothing that is allowed needs a tenth of this. */
export const PEER_HANDSHAKE_FRAME_SIZE_BYTES_MAX = 4 * 1024;
export const PEER_NONCE_SIZE_BYTES = 32;
export const PEER_PROOF_SIZE_BYTES = 32;
const TRANSCRIPT_LABEL = 'holdfast-peer-1';

const bytesSchema = (sizeBytes: number) =>
  z.custom<Uint8Array>((value) => value instanceof Uint8Array && value.byteLength === sizeBytes, {
    error: `must be ${sizeBytes} bytes`,
  });

const identityShape = {
  clusterId: z.string().regex(HEX_ID_PATTERN),
  nodeId: z.string().regex(NODE_ID_PATTERN),
  incarnation: z.string().regex(HEX_ID_PATTERN),
  publicAddress: z.string().max(ADDRESS_LENGTH_MAX),
};

const helloSchema = z.strictObject({
  kind: z.literal('hello'),
  version: z.int().min(1).max(65_535),
  ...identityShape,
  channel: z.enum(['control', 'bulk']),
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
const acceptedSchema = z.strictObject({ kind: z.literal('accepted') });
const refusedSchema = z.strictObject({ kind: z.literal('refused'), error: errorBodySchema });
const handshakeSchema = z.discriminatedUnion('kind', [
  helloSchema,
  challengeSchema,
  responseSchema,
  acceptedSchema,
  refusedSchema,
]);

export type PeerChannel = 'control' | 'bulk';

export interface PeerIdentity {
  readonly clusterId: string;
  readonly nodeId: string;
  readonly incarnation: string;
  /** Where clients reach this node, `host:port`; the leader names it in redirects. */
  readonly publicAddress: string;
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
}

export interface PeerRefused {
  readonly kind: 'refused';
  readonly error: ErrorBody;
}

export type PeerHandshake = PeerHello | PeerChallenge | PeerResponse | PeerAccepted | PeerRefused;

export function encodePeerHandshake(message: PeerHandshake): Uint8Array {
  return sealPeerFrame(message);
}

/** @throws HoldfastError PEER_FRAME_CORRUPT (checksum), PEER_PROTOCOL (anything else) */
export function decodePeerHandshake(bytes: Uint8Array): PeerHandshake {
  const fields = openPeerFrame(bytes, PEER_HANDSHAKE_FRAME_SIZE_BYTES_MAX);
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
];

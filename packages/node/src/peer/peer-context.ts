/** What every part of the peer transport shares: identity, roster, secret, seams, counters. */
import { createHmac, randomBytes } from 'node:crypto';
import type { Clock, ClusterId, Incarnation, Logger, NodeId, Random, Timers } from '@holdfast/base';
import { nodeId } from '@holdfast/base';
import { PEER_FRAME_SIZE_BYTES_MAX, type PeerHmac, type PeerIdentity } from '@holdfast/protocol';
import type { RaftMessage } from '@holdfast/raft';
import type { ClientOptions } from 'ws';
import type { Endpoint } from '../config/endpoint.ts';
import { PeerClocks } from './peer-clocks.ts';
import { Roster } from './roster.ts';

/** A node to dial. */
export interface PeerMember {
  readonly nodeId: NodeId;
  readonly incarnation: Incarnation;
  readonly address: Endpoint;
}

/** The raft package's codec; `from` is given, never read from the bytes. */
export interface RaftCodec {
  encode(message: RaftMessage): Uint8Array;
  /** @throws HoldfastError MESSAGE_MALFORMED */
  decode(bytes: Uint8Array, from: NodeId): RaftMessage;
}

export interface PeerTransportOptions {
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  readonly incarnation: Incarnation;
  readonly epoch: number;
  /** Of the restore that made the data directory; left out when none did. */
  readonly planDigest?: string;
  /**
   * Where clients reach this node; asked at each handshake, because the port may be chosen late.
   */
  readonly publicAddress: () => string;
  /** Where other nodes reach this node; asked late for the same reason. */
  readonly peerAddress: () => string;
  readonly listen: Endpoint;
  /** Addresses given by the operator: they win over those of the configuration. */
  readonly addresses?: ReadonlyMap<NodeId, Endpoint>;
  readonly secret: string;
  readonly codec: RaftCodec;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly logger: Logger;
  /** For tests; the defaults are in DEFAULT_PEER_TIMING. */
  readonly timing?: Partial<PeerTiming>;
}

export interface PeerTiming {
  /** From the first byte to `accepted`. */
  readonly handshakeTimeoutMs: number;
  readonly reconnectDelayMsMin: number;
  readonly reconnectDelayMsMax: number;
  /** A lost connection is reported only if it is not back within this (fast failover). */
  readonly disconnectGraceMs: number;
  readonly pingIntervalMs: number;
  /** Pings without an answer, or intervals without a byte, until a connection counts as dead. */
  readonly missedPingCountMax: number;
  /** Waiting for the other side of a snapshot: it may be fsyncing gigabytes. */
  readonly snapshotReplyTimeoutMs: number;
  /** How long a link outlives its reason: news of a removal must still reach the removed node. */
  readonly lingerMs: number;
}

export const DEFAULT_PEER_TIMING: PeerTiming = {
  handshakeTimeoutMs: 2_000,
  reconnectDelayMsMin: 20,
  reconnectDelayMsMax: 500,
  disconnectGraceMs: 50,
  pingIntervalMs: 500,
  missedPingCountMax: 4,
  snapshotReplyTimeoutMs: 120_000,
  lingerMs: 5_000,
};

export interface PeerCounters {
  messagesSent: number;
  framesSent: number;
  messagesReceived: number;
  messagesDropped: number;
  bytesSent: number;
  bytesReceived: number;
  framesCorrupt: number;
  messagesMalformed: number;
  handshakesRefused: number;
  snapshotsSent: number;
  snapshotsReceived: number;
  snapshotsFailed: number;
}

export interface PeerContext {
  readonly options: PeerTransportOptions;
  readonly timing: PeerTiming;
  readonly counters: PeerCounters;
  readonly hmac: PeerHmac;
  /** Who the configuration names; replaced when it changes. */
  readonly roster: Roster;
  readonly clocks: PeerClocks;
  identity(): PeerIdentity;
  nonce(): Uint8Array;
  /** The other side proved itself and told about itself. */
  learn(identity: PeerIdentity): void;
  publicAddressOf(peer: NodeId): string | null;
  /** Logs a refusal when it differs from the last one of this peer, and counts it. */
  reportRefusal(peer: string, code: string, message: string): void;
}

export const PEER_WEBSOCKET_PATH = '/v1/peer';

/** Frames are binary, never compressed and, between our own nodes, not masked. */
export const PEER_SOCKET_OPTIONS: ClientOptions = {
  perMessageDeflate: false,
  maxPayload: PEER_FRAME_SIZE_BYTES_MAX,
  skipUTF8Validation: true,
  generateMask: (mask) => {
    mask.fill(0);
  },
};

export function createPeerContext(options: PeerTransportOptions): PeerContext {
  const lastRefusals = new Map<string, string>();
  const publicAddresses = new Map<NodeId, string>();
  const counters = zeroCounters();
  const roster = new Roster(options.addresses ?? new Map(), options.logger);
  const clocks = new PeerClocks(options.clock);
  return {
    options,
    timing: { ...DEFAULT_PEER_TIMING, ...options.timing },
    counters,
    hmac: (message) => createHmac('sha256', options.secret).update(message).digest(),
    roster,
    clocks,
    identity: () => ({
      clusterId: options.clusterId,
      nodeId: options.nodeId,
      incarnation: options.incarnation,
      epoch: options.epoch,
      publicAddress: options.publicAddress(),
      peerAddress: options.peerAddress(),
      isJoining: roster.isJoining,
      confIndex: roster.confIndex,
      wallMs: options.clock.wallMs(),
      planDigest: options.planDigest ?? '',
    }),
    nonce: () => randomBytes(32),
    learn(identity) {
      const peer = nodeId(identity.nodeId);
      if (publicAddresses.size >= REMEMBERED_ADDRESS_COUNT_MAX) publicAddresses.clear();
      publicAddresses.set(peer, identity.publicAddress);
      lastRefusals.delete(peer);
      clocks.observe(peer, identity.wallMs);
    },
    publicAddressOf: (peer) => publicAddresses.get(peer) ?? null,
    reportRefusal(peer, code, message) {
      counters.handshakesRefused += 1;
      if (lastRefusals.get(peer) === code) return;
      if (lastRefusals.size >= REMEMBERED_REFUSAL_COUNT_MAX) lastRefusals.clear();
      lastRefusals.set(peer, code);
      options.logger.warn({ peer, code }, message);
    },
  };
}

/** Names of refused peers come from outside, so what is remembered of them is bounded. */
const REMEMBERED_REFUSAL_COUNT_MAX = 64;
/** Every member and a few guests; a forgotten one is learnt again at the next handshake. */
const REMEMBERED_ADDRESS_COUNT_MAX = 128;

function zeroCounters(): PeerCounters {
  return {
    messagesSent: 0,
    framesSent: 0,
    messagesReceived: 0,
    messagesDropped: 0,
    bytesSent: 0,
    bytesReceived: 0,
    framesCorrupt: 0,
    messagesMalformed: 0,
    handshakesRefused: 0,
    snapshotsSent: 0,
    snapshotsReceived: 0,
    snapshotsFailed: 0,
  };
}

/**
 * Frames between authenticated nodes: [u32 little-endian CRC-32C of the rest][one msgpack map].
 * The body of a Raft message is opaque here. A frame that fails its checksum is PEER_FRAME_CORRUPT:
 * drop it and count it. A frame with a good checksum and a bad shape is PEER_PROTOCOL: a bug or
 * another version on the other side, so close the connection.
 */
import { assert, HoldfastError, toHoldfastError } from '@holdfast/base';
import type { Fields } from './check.ts';
import {
  fieldsAt,
  integerAt,
  invalid,
  isFields,
  listAt,
  refuseUnknown,
  SAFE_UNSIGNED,
  U32,
} from './check.ts';
import { crc32c } from './crc32c.ts';
import { readMsgpack } from './msgpack-reader.ts';
import { writeMsgpack } from './msgpack-writer.ts';
import type { CareFrame } from './peer-care.ts';
import { checkCare } from './peer-care.ts';

/** The largest append (one full batch) with its envelope, twice over. */
export const PEER_FRAME_SIZE_BYTES_MAX = 32 * 1024 * 1024;
/** Messages of one turn; the rest goes into the next frame. */
export const PEER_MESSAGE_COUNT_MAX = 4_096;
/** Small enough that a chunk never holds up the connection, large enough to fill it. */
export const SNAPSHOT_CHUNK_SIZE_BYTES_MAX = 1024 * 1024;
/** 64 collections of 64 shards with 16 segments each. */
export const SNAPSHOT_FILE_COUNT_MAX = 65_536;
export const SNAPSHOT_META_SIZE_BYTES_MAX = 4 * 1024 * 1024;
const CHECKSUM_SIZE_BYTES = 4;
const FILE_CHECKSUM_SIZE_BYTES_MAX = 64;
const PATH_LENGTH_MAX = 512;
const PATH_PATTERN = /^[a-zA-Z0-9_-][a-zA-Z0-9._-]*(\/[a-zA-Z0-9_-][a-zA-Z0-9._-]*)*$/;
const REASON_LENGTH_MAX = 1_024;

export interface RaftEnvelope {
  readonly group: number;
  /** One encoded Raft message. */
  readonly body: Uint8Array;
}

export interface RaftFrame {
  readonly kind: 'raft';
  readonly messages: readonly RaftEnvelope[];
}

export interface SnapshotFileInfo {
  /** Relative, `/` between parts, no part starts with a dot: safe to join to a directory. */
  readonly path: string;
  readonly sizeBytes: number;
  /** 1 to 64 bytes; which algorithm is between sender and receiver. */
  readonly checksum: Uint8Array;
}

/** Starts a transfer. `transferId` is chosen by the sender, unique on the connection. */
export interface SnapshotBegin {
  readonly kind: 'snapshotBegin';
  readonly transferId: number;
  readonly group: number;
  /** Opaque: the snapshot's meta, encoded by its owner. */
  readonly meta: Uint8Array;
  readonly files: readonly SnapshotFileInfo[];
}

/** Bytes of one file, in order of file and offset. `crc` is the CRC-32C of `bytes`. */
export interface SnapshotChunk {
  readonly kind: 'snapshotChunk';
  readonly transferId: number;
  readonly fileIndex: number;
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly crc: number;
}

/** All chunks were sent; the receiver verifies, syncs and answers `installed`. */
export interface SnapshotEnd {
  readonly kind: 'snapshotEnd';
  readonly transferId: number;
}

/** The sender gives up this attempt; the receiver keeps what it has for the next one. */
export interface SnapshotAbort {
  readonly kind: 'snapshotAbort';
  readonly transferId: number;
  readonly reason: string;
}

/** From the receiver. `receivedSizeBytes` counts over all files and drives flow control. */
export interface SnapshotReply {
  readonly kind: 'snapshotReply';
  readonly transferId: number;
  readonly status: 'accepted' | 'progress' | 'installed' | 'failed';
  readonly receivedSizeBytes: number;
  /**
   * With `accepted`: bytes of each listed file, from its start, that the receiver already has and
   * verified; the sender goes on behind them. Absent: none of any file.
   */
  readonly heldSizesBytes?: readonly number[];
  /** Present when `failed`. */
  readonly reason?: string;
}

export type PeerFrame =
  | RaftFrame
  | CareFrame
  | SnapshotBegin
  | SnapshotChunk
  | SnapshotEnd
  | SnapshotAbort
  | SnapshotReply;

/** Asserts the limits of a frame: they are the sender's to keep. */
export function encodePeerFrame(frame: PeerFrame): Uint8Array {
  const bytes = sealPeerFrame(frame);
  assert(bytes.byteLength <= PEER_FRAME_SIZE_BYTES_MAX, 'peer frame is over the limit', {
    kind: frame.kind,
    sizeBytes: bytes.byteLength,
  });
  return bytes;
}

/** A chunk with its checksum. */
export function makeSnapshotChunk(chunk: Omit<SnapshotChunk, 'kind' | 'crc'>): SnapshotChunk {
  return { kind: 'snapshotChunk', ...chunk, crc: crc32c(chunk.bytes) };
}

/**
 * Bodies and chunk bytes are views of `bytes`. A chunk's own checksum is verified here as well.
 * @throws HoldfastError PEER_FRAME_CORRUPT (checksum), PEER_PROTOCOL (anything else)
 */
export function decodePeerFrame(bytes: Uint8Array): PeerFrame {
  const fields = openPeerFrame(bytes, PEER_FRAME_SIZE_BYTES_MAX);
  return asPeerProtocol(() => checkFrame(fields));
}

/** Encodes and prefixes the checksum. */
export function sealPeerFrame(message: object): Uint8Array {
  const body = writeMsgpack(message);
  const frame = new Uint8Array(CHECKSUM_SIZE_BYTES + body.byteLength);
  frame.set(body, CHECKSUM_SIZE_BYTES);
  new DataView(frame.buffer).setUint32(0, crc32c(body), true);
  return frame;
}

/** Verifies the checksum before a byte is interpreted, then decodes one map. */
export function openPeerFrame(bytes: Uint8Array, sizeBytesMax: number): Fields {
  if (bytes.byteLength > sizeBytesMax) {
    throw protocolError(`frame has ${bytes.byteLength} bytes, at most ${sizeBytesMax} are allowed`);
  }
  if (bytes.byteLength <= CHECKSUM_SIZE_BYTES)
    throw protocolError('frame is shorter than its head');
  const stored = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const body = bytes.subarray(CHECKSUM_SIZE_BYTES);
  if (crc32c(body) !== stored) {
    throw new HoldfastError('PEER_FRAME_CORRUPT', 'peer frame fails its checksum; dropped', {
      details: { sizeBytes: bytes.byteLength },
    });
  }
  return asPeerProtocol(() => {
    const value = readMsgpack(body);
    if (!isFields(value)) throw protocolError('frame is not a map');
    return value;
  });
}

function checkFrame(fields: Fields): PeerFrame {
  switch (fields.kind) {
    case 'raft':
      return checkRaft(fields);
    case 'care':
      return checkCare(fields);
    case 'snapshotBegin':
      return checkBegin(fields);
    case 'snapshotChunk':
      return checkChunk(fields);
    case 'snapshotEnd':
      refuseUnknown(fields, new Set(['kind', 'transferId']), '');
      return { kind: 'snapshotEnd', transferId: u32At(fields.transferId, 'transferId') };
    case 'snapshotAbort':
      refuseUnknown(fields, new Set(['kind', 'transferId', 'reason']), '');
      return {
        kind: 'snapshotAbort',
        transferId: u32At(fields.transferId, 'transferId'),
        reason: textAt(fields.reason, 'reason'),
      };
    case 'snapshotReply':
      return checkReply(fields);
    default:
      throw invalid('kind', 'a peer frame kind');
  }
}

function checkRaft(fields: Fields): RaftFrame {
  refuseUnknown(fields, new Set(['kind', 'messages']), '');
  const list = listAt(fields.messages, 'messages');
  if (list.length > PEER_MESSAGE_COUNT_MAX) throw invalid('messages', 'a shorter list');
  const messages = list.map((item, i) => {
    const path = `messages[${i}]`;
    const envelope = fieldsAt(item, path);
    return {
      group: u32At(envelope.group, `${path}.group`),
      body: bytesAt(envelope.body, PEER_FRAME_SIZE_BYTES_MAX, `${path}.body`),
    };
  });
  return { kind: 'raft', messages };
}

function checkBegin(fields: Fields): SnapshotBegin {
  refuseUnknown(fields, new Set(['kind', 'transferId', 'group', 'meta', 'files']), '');
  const list = listAt(fields.files, 'files');
  if (list.length > SNAPSHOT_FILE_COUNT_MAX) throw invalid('files', 'a shorter list');
  return {
    kind: 'snapshotBegin',
    transferId: u32At(fields.transferId, 'transferId'),
    group: u32At(fields.group, 'group'),
    meta: bytesAt(fields.meta, SNAPSHOT_META_SIZE_BYTES_MAX, 'meta'),
    files: list.map((item, i) => fileInfoAt(item, `files[${i}]`)),
  };
}

function fileInfoAt(value: unknown, path: string): SnapshotFileInfo {
  const info = fieldsAt(value, path);
  if (typeof info.path !== 'string') throw invalid(`${path}.path`, 'a string');
  const isSafe = info.path.length <= PATH_LENGTH_MAX && PATH_PATTERN.test(info.path);
  if (!isSafe) throw invalid(`${path}.path`, 'a relative path without dot parts');
  const checksum = bytesAt(info.checksum, FILE_CHECKSUM_SIZE_BYTES_MAX, `${path}.checksum`);
  if (checksum.byteLength === 0) throw invalid(`${path}.checksum`, 'at least one byte');
  const sizeBytes = integerAt(info.sizeBytes, SAFE_UNSIGNED, `${path}.sizeBytes`);
  return { path: info.path, sizeBytes, checksum };
}

function checkChunk(fields: Fields): SnapshotChunk {
  const known = new Set(['kind', 'transferId', 'fileIndex', 'offset', 'bytes', 'crc']);
  refuseUnknown(fields, known, '');
  const bytes = bytesAt(fields.bytes, SNAPSHOT_CHUNK_SIZE_BYTES_MAX, 'bytes');
  const crc = u32At(fields.crc, 'crc');
  if (crc32c(bytes) !== crc) {
    throw new HoldfastError('PEER_FRAME_CORRUPT', 'snapshot chunk fails its checksum; dropped');
  }
  return {
    kind: 'snapshotChunk',
    transferId: u32At(fields.transferId, 'transferId'),
    fileIndex: u32At(fields.fileIndex, 'fileIndex'),
    offset: integerAt(fields.offset, SAFE_UNSIGNED, 'offset'),
    bytes,
    crc,
  };
}

function checkReply(fields: Fields): SnapshotReply {
  const known = ['kind', 'transferId', 'status', 'receivedSizeBytes', 'heldSizesBytes', 'reason'];
  refuseUnknown(fields, new Set(known), '');
  const { status, heldSizesBytes } = fields;
  const isKnown =
    status === 'accepted' || status === 'progress' || status === 'installed' || status === 'failed';
  if (!isKnown) throw invalid('status', 'accepted, progress, installed or failed');
  return {
    kind: 'snapshotReply',
    transferId: u32At(fields.transferId, 'transferId'),
    status,
    receivedSizeBytes: integerAt(fields.receivedSizeBytes, SAFE_UNSIGNED, 'receivedSizeBytes'),
    ...(heldSizesBytes === undefined ? {} : { heldSizesBytes: heldSizesAt(heldSizesBytes) }),
    ...(fields.reason === undefined ? {} : { reason: textAt(fields.reason, 'reason') }),
  };
}

function heldSizesAt(value: unknown): readonly number[] {
  const list = listAt(value, 'heldSizesBytes');
  if (list.length > SNAPSHOT_FILE_COUNT_MAX) throw invalid('heldSizesBytes', 'a shorter list');
  return list.map((item, i) => integerAt(item, SAFE_UNSIGNED, `heldSizesBytes[${i}]`));
}

const u32At = (value: unknown, path: string): number => integerAt(value, U32, path);

function bytesAt(value: unknown, sizeBytesMax: number, path: string): Uint8Array {
  const isBytes = value instanceof Uint8Array && value.byteLength <= sizeBytesMax;
  if (!isBytes) throw invalid(path, `a bin of at most ${sizeBytesMax} bytes`);
  return value;
}

function textAt(value: unknown, path: string): string {
  if (typeof value !== 'string' || value.length > REASON_LENGTH_MAX) {
    throw invalid(path, `a text of at most ${REASON_LENGTH_MAX} characters`);
  }
  return value;
}

const protocolError = (what: string): HoldfastError =>
  new HoldfastError('PEER_PROTOCOL', `peer ${what}; run the same version on every node`);

function asPeerProtocol<Value>(decode: () => Value): Value {
  try {
    return decode();
  } catch (thrown) {
    const cause = toHoldfastError(thrown);
    if (cause.code === 'PEER_PROTOCOL' || cause.code === 'PEER_FRAME_CORRUPT') throw cause;
    throw new HoldfastError('PEER_PROTOCOL', `peer frame: ${cause.message}`, { cause });
  }
}

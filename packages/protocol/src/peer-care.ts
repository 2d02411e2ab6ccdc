/**
 * What nodes say to each other about the state of their disks: blocks of damaged files are asked
 * for and given, digests are compared. Not part of Raft: it is spoken in every state of a node,
 * also before it has a replica, and any of it may get lost (whoever asked asks again).
 *
 * Each message is a frame of its own and names group and life of the receiver; the sender is the
 * node that proved itself on the connection. Everything is bounded before it is believed.
 */
import { HEX_ID_PATTERN } from '@holdfast/base';
import type { Fields } from './check.ts';
import {
  booleanAt,
  fieldsAt,
  integerAt,
  invalid,
  listAt,
  refuseUnknown,
  SAFE_UNSIGNED,
  U32,
} from './check.ts';

/** A payload block of a file with the largest checksum behind it. */
export const CARE_BLOCK_SIZE_BYTES_MAX = 65_536 + 32;
/** 256 KiB in one frame: less than one append, so that it holds up nothing on the connection. */
export const CARE_BLOCK_COUNT_MAX = 4;
export const CARE_FILE_HEADER_SIZE_BYTES = 64;
/** 64 collections of 64 shards. */
export const CARE_DIGEST_COUNT_MAX = 4_096;
const FILE_CHECKSUM = /^[0-9a-f]{64}$/;
const DIGEST = /^[0-9a-f]{32}$/;

/** A sealed segment: equal on every replica, so its checksum says which file is meant. */
export interface CareFile {
  readonly uid: number;
  readonly shard: number;
  readonly ordinal: number;
  /** Of the whole file, as the manifest of whoever asks names it; lower-case hex. */
  readonly checksum: string;
}

export interface BlockRequest {
  readonly kind: 'blockRequest';
  readonly requestId: number;
  readonly file: CareFile;
  /** Numbers of blocks, ascending; none: only the facts of the file are asked for. */
  readonly blocks: readonly number[];
}

/** A block as it stands in the file, its checksum behind it. */
export interface CareBlock {
  readonly number: number;
  readonly bytes: Uint8Array;
}

export interface BlockResponse {
  readonly kind: 'blockResponse';
  readonly requestId: number;
  /**
   * `blocks`: those that passed their checksum here. `unknown`: no such file here, now. `busy`: ask
   * again later.
   */
  readonly outcome: 'blocks' | 'unknown' | 'busy';
  /** The whole file was read here and gave the checksum that was asked for. */
  readonly isWhole: boolean;
  /** Of the whole file; 0 unless `outcome` is `blocks`. */
  readonly sizeBytes: number;
  /** Log index up to which the answering node has applied; 0 when it has no replica yet. */
  readonly appliedIndex: number;
  /** The first 64 bytes of the file when they passed their checksum, otherwise none. */
  readonly header: Uint8Array;
  readonly blocks: readonly CareBlock[];
}

export interface CareShardDigest {
  readonly uid: number;
  readonly shard: number;
  readonly digest: string;
}

/** What the live rows of each shard came to after the entry `index`. */
export interface DigestReport {
  readonly kind: 'digestReport';
  readonly index: number;
  readonly shards: readonly CareShardDigest[];
}

export type CareMessage = BlockRequest | BlockResponse | DigestReport;

export interface CareFrame {
  readonly kind: 'care';
  readonly group: number;
  /** The life that is meant: what was for an earlier one is dropped. */
  readonly toIncarnation: string;
  readonly message: CareMessage;
}

/** @throws HoldfastError with the code of the caller's choice (see check.ts) */
export function checkCare(fields: Fields): CareFrame {
  refuseUnknown(fields, new Set(['kind', 'group', 'toIncarnation', 'message']), '');
  const { toIncarnation } = fields;
  if (typeof toIncarnation !== 'string' || !HEX_ID_PATTERN.test(toIncarnation)) {
    throw invalid('toIncarnation', '32 hex digits');
  }
  return {
    kind: 'care',
    group: integerAt(fields.group, U32, 'group'),
    toIncarnation,
    message: checkMessage(fieldsAt(fields.message, 'message')),
  };
}

function checkMessage(fields: Fields): CareMessage {
  switch (fields.kind) {
    case 'blockRequest':
      return checkRequest(fields);
    case 'blockResponse':
      return checkResponse(fields);
    case 'digestReport':
      return checkReport(fields);
    default:
      throw invalid('message.kind', 'blockRequest, blockResponse or digestReport');
  }
}

function checkRequest(fields: Fields): BlockRequest {
  refuseUnknown(fields, new Set(['kind', 'requestId', 'file', 'blocks']), 'message');
  const list = listAt(fields.blocks, 'blocks');
  if (list.length > CARE_BLOCK_COUNT_MAX) throw invalid('blocks', 'a shorter list');
  return {
    kind: 'blockRequest',
    requestId: integerAt(fields.requestId, U32, 'requestId'),
    file: checkFile(fieldsAt(fields.file, 'file')),
    blocks: ascending(list.map((item, i) => integerAt(item, U32, `blocks[${i}]`))),
  };
}

function checkFile(fields: Fields): CareFile {
  refuseUnknown(fields, new Set(['uid', 'shard', 'ordinal', 'checksum']), 'file');
  const { checksum } = fields;
  if (typeof checksum !== 'string' || !FILE_CHECKSUM.test(checksum)) {
    throw invalid('file.checksum', '64 hex digits');
  }
  return {
    uid: integerAt(fields.uid, SAFE_UNSIGNED, 'file.uid'),
    shard: integerAt(fields.shard, U32, 'file.shard'),
    ordinal: integerAt(fields.ordinal, U32, 'file.ordinal'),
    checksum,
  };
}

function checkResponse(fields: Fields): BlockResponse {
  const known = ['kind', 'requestId', 'outcome', 'isWhole', 'sizeBytes', 'appliedIndex'];
  refuseUnknown(fields, new Set([...known, 'header', 'blocks']), 'message');
  const { outcome } = fields;
  if (outcome !== 'blocks' && outcome !== 'unknown' && outcome !== 'busy') {
    throw invalid('outcome', 'blocks, unknown or busy');
  }
  const list = listAt(fields.blocks, 'blocks');
  if (list.length > CARE_BLOCK_COUNT_MAX) throw invalid('blocks', 'a shorter list');
  const blocks = list.map((item, i) => checkBlock(fieldsAt(item, `blocks[${i}]`)));
  ascending(blocks.map(({ number }) => number));
  const header = bytesAt(fields.header, CARE_FILE_HEADER_SIZE_BYTES, 'header');
  if (header.byteLength !== 0 && header.byteLength !== CARE_FILE_HEADER_SIZE_BYTES) {
    throw invalid('header', `${CARE_FILE_HEADER_SIZE_BYTES} bytes or none`);
  }
  return {
    kind: 'blockResponse',
    requestId: integerAt(fields.requestId, U32, 'requestId'),
    outcome,
    isWhole: booleanAt(fields.isWhole, 'isWhole'),
    sizeBytes: integerAt(fields.sizeBytes, SAFE_UNSIGNED, 'sizeBytes'),
    appliedIndex: integerAt(fields.appliedIndex, SAFE_UNSIGNED, 'appliedIndex'),
    header,
    blocks,
  };
}

function checkBlock(fields: Fields): CareBlock {
  refuseUnknown(fields, new Set(['number', 'bytes']), 'blocks');
  const bytes = bytesAt(fields.bytes, CARE_BLOCK_SIZE_BYTES_MAX, 'blocks.bytes');
  return { number: integerAt(fields.number, U32, 'blocks.number'), bytes };
}

function checkReport(fields: Fields): DigestReport {
  refuseUnknown(fields, new Set(['kind', 'index', 'shards']), 'message');
  const list = listAt(fields.shards, 'shards');
  if (list.length > CARE_DIGEST_COUNT_MAX) throw invalid('shards', 'a shorter list');
  return {
    kind: 'digestReport',
    index: integerAt(fields.index, SAFE_UNSIGNED, 'index'),
    shards: list.map((item, i) => checkDigest(fieldsAt(item, `shards[${i}]`), `shards[${i}]`)),
  };
}

function checkDigest(fields: Fields, path: string): CareShardDigest {
  refuseUnknown(fields, new Set(['uid', 'shard', 'digest']), path);
  const { digest } = fields;
  if (typeof digest !== 'string' || !DIGEST.test(digest)) {
    throw invalid(`${path}.digest`, '32 hex digits');
  }
  const uid = integerAt(fields.uid, SAFE_UNSIGNED, `${path}.uid`);
  return { uid, shard: integerAt(fields.shard, U32, `${path}.shard`), digest };
}

function ascending(numbers: readonly number[]): readonly number[] {
  const isAscending = numbers.every((number, i) => i === 0 || number > (numbers[i - 1] ?? 0));
  if (!isAscending) throw invalid('blocks', 'in ascending order');
  return numbers;
}

function bytesAt(value: unknown, sizeBytesMax: number, path: string): Uint8Array {
  const isBytes = value instanceof Uint8Array && value.byteLength <= sizeBytesMax;
  if (!isBytes) throw invalid(path, `a bin of at most ${sizeBytesMax} bytes`);
  return value;
}

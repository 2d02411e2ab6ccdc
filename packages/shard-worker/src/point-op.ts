/**
 * The byte form of one point operation inside a log entry. The leader encodes it once; every
 * replica splits a batch over its lanes by copying slices, without decoding them on the main
 * thread. Little-endian:
 *
 *   u32 size of the whole op   u8 type   u8 id kind   u8 condition   u8 reserved (0)
 *   u32 id hash   u32 vector component count   u32 payload size (all ones: no payload)
 *   u32 reserved (0)   f64 if-version   16 bytes id (point-id.ts)   vector f32s   payload bytes
 *
 * The header is 48 bytes, so vectors start 4-byte aligned when the op does; ops are padded to 8.
 * These bytes come from our own log, which checks its sums: malformed ones are a bug and assert.
 */
import { assert, copyBytes, unreachable } from '@holdfast/base';
import type { PointId } from './model.ts';
import { hashPointId, pointIdKind, readPointId, shardOfIdHash, writePointId } from './point-id.ts';

export type PointOpType = 'upsert' | 'delete';

/** What must hold for the row before the batch; duplicates in a batch look before the batch too. */
export type PointCondition =
  | { readonly kind: 'none' }
  | { readonly kind: 'ifAbsent' }
  | { readonly kind: 'ifVersion'; readonly version: number }
  /** As `ifVersion`, but where it does not hold only this op is skipped, not the batch refused. */
  | { readonly kind: 'ifUnchanged'; readonly version: number };

export type PointOp =
  | {
      readonly type: 'upsert';
      readonly id: PointId;
      readonly vector: Float32Array;
      readonly payload: Uint8Array | null;
      readonly condition: PointCondition;
    }
  | { readonly type: 'delete'; readonly id: PointId; readonly condition: PointCondition };

export const POINT_OP_HEADER_SIZE_BYTES = 48;
const NO_PAYLOAD = 0xffff_ffff;
const TYPE_UPSERT = 1;
const TYPE_DELETE = 2;
const CONDITION_NONE = 0;
const CONDITION_IF_ABSENT = 1;
const CONDITION_IF_VERSION = 2;
const CONDITION_IF_UNCHANGED = 3;
const ID_OFFSET = 32;

const padTo8 = (sizeBytes: number): number => (sizeBytes + 7) & ~7;

/** The bytes of a batch, in order. Ids must be valid and vectors finite: the caller checked. */
export function encodePointOps(ops: readonly PointOp[]): Uint8Array {
  let sizeBytes = 0;
  for (const op of ops) sizeBytes += encodedSizeBytes(op);
  const bytes = new Uint8Array(sizeBytes);
  const view = new DataView(bytes.buffer);
  let offset = 0;
  for (const op of ops) offset = encodeOne(op, bytes, view, offset);
  assert(offset === sizeBytes, 'encoded ops must fill their buffer', { offset, sizeBytes });
  return bytes;
}

function encodedSizeBytes(op: PointOp): number {
  if (op.type === 'delete') return POINT_OP_HEADER_SIZE_BYTES;
  const payloadSizeBytes = op.payload?.byteLength ?? 0;
  return padTo8(POINT_OP_HEADER_SIZE_BYTES + op.vector.length * 4 + payloadSizeBytes);
}

function encodeOne(op: PointOp, bytes: Uint8Array, view: DataView, offset: number): number {
  const sizeBytes = encodedSizeBytes(op);
  view.setUint32(offset, sizeBytes, true);
  view.setUint8(offset + 4, op.type === 'upsert' ? TYPE_UPSERT : TYPE_DELETE);
  view.setUint8(offset + 5, pointIdKind(op.id));
  view.setUint8(offset + 6, conditionCode(op.condition));
  view.setUint32(offset + 8, hashPointId(op.id), true);
  view.setUint32(offset + 16, NO_PAYLOAD, true);
  if ('version' in op.condition) view.setFloat64(offset + 24, op.condition.version, true);
  writePointId(view, offset + ID_OFFSET, op.id);
  if (op.type === 'upsert') {
    const vectorAt = offset + POINT_OP_HEADER_SIZE_BYTES;
    view.setUint32(offset + 12, op.vector.length, true);
    const { buffer, byteOffset, byteLength } = op.vector;
    bytes.set(new Uint8Array(buffer, byteOffset, byteLength), vectorAt);
    if (op.payload !== null) {
      view.setUint32(offset + 16, op.payload.byteLength, true);
      bytes.set(op.payload, vectorAt + byteLength);
    }
  }
  return offset + sizeBytes;
}

function conditionCode(condition: PointCondition): number {
  switch (condition.kind) {
    case 'none':
      return CONDITION_NONE;
    case 'ifAbsent':
      return CONDITION_IF_ABSENT;
    case 'ifVersion':
      return CONDITION_IF_VERSION;
    case 'ifUnchanged':
      return CONDITION_IF_UNCHANGED;
    default:
      return unreachable(condition);
  }
}

/**
 * A cursor over encoded ops that allocates nothing per op: the form apply reads. Fields describe
 * the op that the last `next()` moved to.
 */
export class PointOpReader {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  offset = 0;
  sizeBytes = 0;
  isUpsert = false;
  idKind = 0;
  conditionCode = 0;
  idHash = 0;
  dimension = 0;
  /** 0 when there is none, too. */
  payloadSizeBytes = 0;
  hasPayload = false;
  #nextOffset = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get idOffset(): number {
    return this.offset + ID_OFFSET;
  }

  get vectorOffset(): number {
    return this.offset + POINT_OP_HEADER_SIZE_BYTES;
  }

  get payloadOffset(): number {
    return this.vectorOffset + this.dimension * 4;
  }

  /** A condition that refuses the batch where it does not hold. */
  get hasCondition(): boolean {
    return this.conditionCode !== CONDITION_NONE && !this.isSkippable;
  }

  /** A condition that skips the op where it does not hold. */
  get isSkippable(): boolean {
    return this.conditionCode === CONDITION_IF_UNCHANGED;
  }

  /** True when the op's condition holds for a row whose version is `version`, 0 when absent. */
  conditionHolds(version: number): boolean {
    if (this.conditionCode === CONDITION_NONE) return true;
    if (this.conditionCode === CONDITION_IF_ABSENT) return version === 0;
    return version === this.view.getFloat64(this.offset + 24, true);
  }

  id(): PointId {
    return readPointId(this.view, this.idOffset, this.idKind);
  }

  next(): boolean {
    const offset = this.#nextOffset;
    const { view, bytes } = this;
    if (offset === bytes.byteLength) return false;
    assert(offset + POINT_OP_HEADER_SIZE_BYTES <= bytes.byteLength, 'point op: header is cut', {
      offset,
    });
    const sizeBytes = view.getUint32(offset, true);
    const type = view.getUint8(offset + 4);
    assert(type === TYPE_UPSERT || type === TYPE_DELETE, 'point op: unknown type', { type });
    this.offset = offset;
    this.sizeBytes = sizeBytes;
    this.isUpsert = type === TYPE_UPSERT;
    this.idKind = view.getUint8(offset + 5);
    this.conditionCode = view.getUint8(offset + 6);
    this.idHash = view.getUint32(offset + 8, true);
    this.dimension = view.getUint32(offset + 12, true);
    const payloadSizeBytes = view.getUint32(offset + 16, true);
    this.hasPayload = payloadSizeBytes !== NO_PAYLOAD;
    this.payloadSizeBytes = this.hasPayload ? payloadSizeBytes : 0;
    const expectedSizeBytes = padTo8(
      POINT_OP_HEADER_SIZE_BYTES + this.dimension * 4 + this.payloadSizeBytes,
    );
    assert(sizeBytes === expectedSizeBytes, 'point op: sizes disagree', { offset, sizeBytes });
    assert(offset + sizeBytes <= bytes.byteLength, 'point op: body is cut', { offset, sizeBytes });
    assert(this.idKind <= 1 && this.conditionCode <= CONDITION_IF_UNCHANGED, 'point op: bad kinds');
    this.#nextOffset = offset + sizeBytes;
    return true;
  }
}

/**
 * Cuts a batch into one buffer per lane, keeping the order; null where a lane has no op. Every
 * result owns its whole buffer, so it can be transferred to a thread.
 */
export function splitPointOps(
  bytes: Uint8Array,
  shardCount: number,
  laneOfShard: (shard: number) => number,
  laneCount: number,
): (Uint8Array | null)[] {
  const reader = new PointOpReader(bytes);
  const laneSizesBytes = new Array<number>(laneCount).fill(0);
  const laneOfOp: number[] = [];
  while (reader.next()) {
    const lane = laneOfShard(shardOfIdHash(reader.idHash, shardCount));
    assert(lane >= 0 && lane < laneCount, 'lane out of range', { lane, laneCount });
    laneOfOp.push(lane);
    laneSizesBytes[lane]! += reader.sizeBytes;
  }
  const slices = laneSizesBytes.map((size) => (size === 0 ? null : new Uint8Array(size)));
  const filledBytes = new Array<number>(laneCount).fill(0);
  let start = 0;
  for (const lane of laneOfOp) {
    const end = start + reader.view.getUint32(start, true);
    slices[lane]!.set(bytes.subarray(start, end), filledBytes[lane]!);
    filledBytes[lane]! += end - start;
    start = end;
  }
  return slices;
}

/** The ops again, with their own copies of vectors and payloads. */
export function* decodePointOps(bytes: Uint8Array): Generator<PointOp, void, undefined> {
  const reader = new PointOpReader(bytes);
  while (reader.next()) yield decodeCurrent(reader);
}

function decodeCurrent(reader: PointOpReader): PointOp {
  const id = reader.id();
  const condition = decodeCondition(reader);
  if (!reader.isUpsert) return { type: 'delete', id, condition };
  const { bytes, vectorOffset, payloadOffset } = reader;
  const vector = new Float32Array(copyBytes(bytes, vectorOffset, payloadOffset).buffer);
  const payload = reader.hasPayload
    ? copyBytes(bytes, payloadOffset, payloadOffset + reader.payloadSizeBytes)
    : null;
  return { type: 'upsert', id, vector, payload, condition };
}

function decodeCondition(reader: PointOpReader): PointCondition {
  if (reader.conditionCode === CONDITION_NONE) return { kind: 'none' };
  if (reader.conditionCode === CONDITION_IF_ABSENT) return { kind: 'ifAbsent' };
  const version = reader.view.getFloat64(reader.offset + 24, true);
  return { kind: reader.isSkippable ? 'ifUnchanged' : 'ifVersion', version };
}

/** True when any op of the batch carries a condition that may refuse the batch. */
export function hasConditions(bytes: Uint8Array): boolean {
  const reader = new PointOpReader(bytes);
  while (reader.next()) if (reader.hasCondition) return true;
  return false;
}

export function countPointOps(bytes: Uint8Array): number {
  const reader = new PointOpReader(bytes);
  let count = 0;
  while (reader.next()) count += 1;
  return count;
}

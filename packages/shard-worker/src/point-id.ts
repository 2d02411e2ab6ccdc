/**
 * Point ids as 16 bytes and a kind: the form in which ops, rows and segments hold them. A number is
 * its f64 bits followed by zeros; a UUID is its bytes in text order. Equal ids have equal bytes.
 */
import { assert } from '@holdfast/base';
import type { PointId } from './model.ts';

export const ID_SIZE_BYTES = 16;
export const ID_KIND_NUMBER = 0;
export const ID_KIND_UUID = 1;

const UUID_PATTERN = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
/** Where each byte's two hex digits stand in the text. */
const UUID_DIGIT_OFFSETS = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
const HEX_OF_BYTE = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

const scratch = new DataView(new ArrayBuffer(ID_SIZE_BYTES));

export const isPointId = (value: unknown): value is PointId =>
  typeof value === 'number'
    ? Number.isSafeInteger(value) && value >= 0
    : typeof value === 'string' && UUID_PATTERN.test(value);

export const pointIdKind = (id: PointId): number =>
  typeof id === 'number' ? ID_KIND_NUMBER : ID_KIND_UUID;

/** Writes the 16 bytes of `id` at `offset`. The id must be valid: numbers or lower-case UUIDs. */
export function writePointId(view: DataView, offset: number, id: PointId): void {
  assert(isPointId(id), 'point id is neither a safe unsigned integer nor a lower-case UUID', {
    id,
  });
  if (typeof id === 'number') {
    // -0 and 0 are one id.
    view.setFloat64(offset, id === 0 ? 0 : id, true);
    view.setFloat64(offset + 8, 0, true);
    return;
  }
  for (let i = 0; i < ID_SIZE_BYTES; i++) {
    const at = UUID_DIGIT_OFFSETS[i]!;
    view.setUint8(offset + i, (hexDigit(id, at) << 4) | hexDigit(id, at + 1));
  }
}

export function readPointId(view: DataView, offset: number, kind: number): PointId {
  if (kind === ID_KIND_NUMBER) return view.getFloat64(offset, true);
  let text = '';
  for (let i = 0; i < ID_SIZE_BYTES; i++) {
    if (i === 4 || i === 6 || i === 8 || i === 10) text += '-';
    text += HEX_OF_BYTE[view.getUint8(offset + i)]!;
  }
  return text;
}

/** Numbers before UUIDs, each ascending: the order of equal scores everywhere. */
export function comparePointIds(left: PointId, right: PointId): number {
  if (typeof left !== typeof right) return typeof left === 'number' ? -1 : 1;
  if (left === right) return 0;
  return left < right ? -1 : 1;
}

/** u32, equal on every node for ever: shards are chosen by it. Every bit depends on every byte. */
export function hashPointId(id: PointId): number {
  writePointId(scratch, 0, id);
  return hashIdWords(
    pointIdKind(id),
    scratch.getUint32(0, true),
    scratch.getUint32(4, true),
    scratch.getUint32(8, true),
    scratch.getUint32(12, true),
  );
}

/** The same hash from the 16 bytes at `offset` of `bytes`. */
export function hashIdBytes(bytes: Uint8Array, kind: number, offset: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, ID_SIZE_BYTES);
  return hashIdWords(
    kind,
    view.getUint32(0, true),
    view.getUint32(4, true),
    view.getUint32(8, true),
    view.getUint32(12, true),
  );
}

function hashIdWords(kind: number, w0: number, w1: number, w2: number, w3: number): number {
  let hash = Math.imul(kind + 1, 0x9e3779b1);
  hash = mixWord(hash, w0);
  hash = mixWord(hash, w1);
  hash = mixWord(hash, w2);
  hash = mixWord(hash, w3);
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** One round of the murmur3 family: rotate, multiply, add. */
function mixWord(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51);
  k = (k << 15) | (k >>> 17);
  const mixed = hash ^ Math.imul(k, 0x1b873593);
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0;
}

/**
 * Shard of an id: the high bits of the hash scaled to the count, so that the low bits stay
 * independent for the hash table inside the shard.
 */
export function shardOfIdHash(hash: number, shardCount: number): number {
  return Math.floor((hash * shardCount) / 0x1_0000_0000);
}

function hexDigit(text: string, at: number): number {
  const code = text.charCodeAt(at);
  return code <= 57 ? code - 48 : code - 87;
}

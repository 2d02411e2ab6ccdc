/**
 * The running digest of a shard's live rows: the sum mod 2^128 of their hashes. Addition commutes,
 * so the digest depends on which rows are live and never on the order they came in. A row's hash is
 * recomputed when it dies rather than kept: 16 bytes a row saved for 0.4 us a replacement.
 */
import { assert } from '@holdfast/base';
import { createXXHash128 } from 'hash-wasm';

export const ROW_HASH_SIZE_BYTES = 16;
const WORD_COUNT = 4;
const WORD_RANGE = 0x1_0000_0000;

const hasher = await createXXHash128();

/** xxh128 of a row's canonical bytes (segment/format.ts): checksum on disk and digest term. */
export function hashRowBytes(canonicalRow: Uint8Array): Uint8Array {
  hasher.init();
  hasher.update(canonicalRow);
  // The library may hand out a view of its own memory: take the bytes now.
  return hasher.digest('binary').slice(0, ROW_HASH_SIZE_BYTES);
}

export class ShardDigestSum {
  /** Little-endian: word 0 is the least significant. */
  readonly #words = new Uint32Array(WORD_COUNT);

  add(rowHash: Uint8Array): void {
    let carry = 0;
    for (let i = 0; i < WORD_COUNT; i++) {
      const sum = this.#words[i]! + wordOf(rowHash, i) + carry;
      this.#words[i] = sum;
      carry = sum >= WORD_RANGE ? 1 : 0;
    }
  }

  subtract(rowHash: Uint8Array): void {
    let borrow = 0;
    for (let i = 0; i < WORD_COUNT; i++) {
      const difference = this.#words[i]! - wordOf(rowHash, i) - borrow;
      this.#words[i] = difference;
      borrow = difference < 0 ? 1 : 0;
    }
  }

  /** 32 hex digits, most significant first. */
  toHex(): string {
    let text = '';
    for (let i = WORD_COUNT - 1; i >= 0; i--) text += this.#words[i]!.toString(16).padStart(8, '0');
    return text;
  }
}

function wordOf(rowHash: Uint8Array, i: number): number {
  assert(rowHash.byteLength === ROW_HASH_SIZE_BYTES, 'row hash must be 16 bytes');
  const at = i * 4;
  return (
    (rowHash[at]! |
      (rowHash[at + 1]! << 8) |
      (rowHash[at + 2]! << 16) |
      (rowHash[at + 3]! << 24)) >>>
    0
  );
}

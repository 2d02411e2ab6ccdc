/**
 * An entry of a primary, as it travels in the log of a standby. Little-endian, 56 bytes before the
 * data, so that point ops stay 8-aligned:
 *   f64 index  f64 term  16 chain sum before it  16 chain sum  u32 type  u32 reserved
 */
import type { Entry, EntryType } from '@holdfast/base';
import { assert, entryTypeCode, HoldfastError, logIndex, term } from '@holdfast/base';

export interface FollowedEntry extends Entry {
  /** Chain sum of the entry before it. */
  readonly sumBefore: Uint8Array;
}

const HEADER_SIZE_BYTES = 56;
const SUM_SIZE_BYTES = 16;
const TYPES: readonly EntryType[] = ['normal', 'noop', 'conf'];

/** A configuration of another cluster means nothing here: its bytes stay away. */
export function encodeFollowed(entry: FollowedEntry): Uint8Array {
  const { data, sum, sumBefore, type } = entry;
  assert(sum.byteLength === SUM_SIZE_BYTES, 'a sum has 16 bytes');
  assert(sumBefore.byteLength === SUM_SIZE_BYTES, 'the sum before has 16 bytes');
  const kept = type === 'normal' ? data : new Uint8Array(0);
  const bytes = new Uint8Array(HEADER_SIZE_BYTES + kept.byteLength);
  const view = new DataView(bytes.buffer);
  view.setFloat64(0, entry.index, true);
  view.setFloat64(8, entry.term, true);
  bytes.set(sumBefore, 16);
  bytes.set(sum, 32);
  view.setUint32(48, entryTypeCode(type), true);
  bytes.set(kept, HEADER_SIZE_BYTES);
  return bytes;
}

/** The data is a view of `bytes`. @throws HoldfastError FORMAT_UNKNOWN */
export function decodeFollowed(bytes: Uint8Array): FollowedEntry {
  assert(bytes.byteLength >= HEADER_SIZE_BYTES, 'a followed entry is shorter than its header');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const code = view.getUint32(48, true);
  const type = TYPES.find((one) => entryTypeCode(one) === code);
  if (type === undefined) {
    throw new HoldfastError('FORMAT_UNKNOWN', `followed entry of type ${code}; upgrade this node`);
  }
  return {
    index: logIndex(view.getFloat64(0, true)),
    term: term(view.getFloat64(8, true)),
    sumBefore: bytes.slice(16, 32),
    sum: bytes.slice(32, 48),
    type,
    data: bytes.subarray(HEADER_SIZE_BYTES),
  };
}

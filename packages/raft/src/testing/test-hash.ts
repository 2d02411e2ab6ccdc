/** A small, fast, non-cryptographic entry hasher for tests: four mixed 32-bit lanes. */
import type { EntryHasher } from '@holdfast/base';
import { ENTRY_SUM_SIZE_BYTES, entryTypeCode } from '@holdfast/base';

const mix = (hash: number, value: number): number => {
  let mixed = Math.imul(hash ^ value, 0x9e3779b1);
  mixed ^= mixed >>> 15;
  return mixed;
};

export const testHash: EntryHasher = (previousSum, term, index, type, data) => {
  const previous = new DataView(previousSum.buffer, previousSum.byteOffset, ENTRY_SUM_SIZE_BYTES);
  let hash = mix(mix(mix(0x1234567, term), index), entryTypeCode(type));
  for (let i = 0; i < data.byteLength; i++) hash = mix(hash, data[i]!);
  const sum = new Uint8Array(ENTRY_SUM_SIZE_BYTES);
  const view = new DataView(sum.buffer);
  for (let lane = 0; lane < ENTRY_SUM_SIZE_BYTES; lane += 4) {
    hash = mix(hash, previous.getUint32(lane, true) + lane);
    view.setUint32(lane, hash >>> 0, true);
  }
  return sum;
};

/**
 * Content of a graph file, inside the checksummed blocks. Little-endian:
 *
 *   u32 label count   u32 zero   32 bytes per label   native bytes to the end
 *   label:  u8 state (0 dead, 1 number, 2 UUID)   7 bytes of the row's hash   16 bytes id
 *           f64 version
 *
 * A label names its row by what the row is, not by a number: row numbers are local to a process,
 * and a graph stays of use when rows were merged, moved or loaded from another checkpoint. Id and
 * version find the row, the hash proves it is the same one.
 */
import type { RowStore } from '../engine/row-store.ts';
import { NO_ROW } from '../engine/row-store.ts';
import type { Shard } from '../engine/shard.ts';
import type { SavedLabels } from '../graph/graph.ts';
import { hashIdBytes } from '../point-id.ts';
import { RowEncoder } from '../segment/format.ts';

export const CONTENTS_HEADER_SIZE_BYTES = 8;
export const LABEL_SIZE_BYTES = 32;
const HASH_OFFSET = 1;
const HASH_SIZE_BYTES = 7;
const ID_OFFSET = 8;

const VERSION_OFFSET = 24;

export function encodeContentsHeader(labelCount: number): Uint8Array {
  const bytes = new Uint8Array(CONTENTS_HEADER_SIZE_BYTES);
  new DataView(bytes.buffer).setUint32(0, labelCount, true);
  return bytes;
}

/** Labels `start..end` of a graph whose labels stand for `labelRows` of `rows`. */
export function encodeLabels(
  rows: RowStore,
  labelRows: Uint32Array,
  start: number,
  end: number,
): Uint8Array {
  const bytes = new Uint8Array((end - start) * LABEL_SIZE_BYTES);
  const view = new DataView(bytes.buffer);
  const encoder = new RowEncoder();
  for (let label = start; label < end; label++) {
    const row = labelRows[label]!;
    if (row === NO_ROW) continue;
    const at = (label - start) * LABEL_SIZE_BYTES;
    bytes[at] = 1 + rows.idKind(row);
    bytes.set(encoder.hash(rows, row).subarray(0, HASH_SIZE_BYTES), at + HASH_OFFSET);
    bytes.set(rows.idBytes(row), at + ID_OFFSET);
    view.setFloat64(at + VERSION_OFFSET, rows.version(row), true);
  }
  return bytes;
}

/** The rows of now that saved labels stand for; a label whose row is not there any more is gone. */
export function resolveLabels(shard: Shard, labels: Uint8Array): SavedLabels {
  const { rows } = shard;
  const view = new DataView(labels.buffer, labels.byteOffset, labels.byteLength);
  const count = labels.byteLength / LABEL_SIZE_BYTES;
  const found = new Uint32Array(count).fill(NO_ROW);
  const goneLabels: number[] = [];
  const encoder = new RowEncoder();
  for (let label = 0; label < count; label++) {
    const at = label * LABEL_SIZE_BYTES;
    const state = labels[at]!;
    if (state === 0) continue;
    const kind = state - 1;
    const hash = hashIdBytes(labels, kind, at + ID_OFFSET);
    const row = shard.findRowByIdBytes(hash, kind, view, at + ID_OFFSET);
    const isSame =
      row !== NO_ROW &&
      rows.version(row) === view.getFloat64(at + VERSION_OFFSET, true) &&
      hasHash(labels, at + HASH_OFFSET, encoder.hash(rows, row));
    if (isSame) found[label] = row;
    else goneLabels.push(label);
  }
  return { rows: found, goneLabels };
}

function hasHash(labels: Uint8Array, offset: number, hash: Uint8Array): boolean {
  for (let i = 0; i < HASH_SIZE_BYTES; i++) if (labels[offset + i] !== hash[i]) return false;
  return true;
}

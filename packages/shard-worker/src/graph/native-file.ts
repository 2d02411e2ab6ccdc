/**
 * Is a file that native code just wrote complete? hnswlib ignores every error of its stream, so on
 * a full disk it leaves a cut file and says nothing. Both formats state their sizes in front, and
 * walking them costs one read of the part behind the vectors.
 *
 * Not a verification of content: that is what checksums are for. Little-endian, as written.
 */
import type { NativeGraphFile } from './graph.ts';

/** hnswlib: six u64, an i32, a u32, three u64, a double and a u64, as saveIndex writes them. */
const HNSWLIB_HEADER_SIZE_BYTES = 96;
/** usearch: u32 rows, u32 bytes per row, the vectors, a head of 64 bytes, then the graph. */
const USEARCH_MATRIX_HEADER_SIZE_BYTES = 8;
const USEARCH_HEAD_SIZE_BYTES = 64;
/** Its graph: u64 size, connectivity, connectivity of the base, max level, entry slot. */
const USEARCH_GRAPH_HEADER_SIZE_BYTES = 40;
const LEVEL_SIZE_BYTES = 2;
/** Of a node: u64 key, i16 level; then per level a u32 count and u32 neighbours. */
const USEARCH_NODE_HEAD_SIZE_BYTES = 10;

export function isHnswlibFileComplete(file: NativeGraphFile): boolean {
  if (file.sizeBytes < HNSWLIB_HEADER_SIZE_BYTES) return false;
  const header = viewOf(file.read(0, HNSWLIB_HEADER_SIZE_BYTES));
  const elementCount = Number(header.getBigUint64(16, true));
  const elementSizeBytes = Number(header.getBigUint64(24, true));
  const listsAt = HNSWLIB_HEADER_SIZE_BYTES + elementCount * elementSizeBytes;
  if (!Number.isSafeInteger(listsAt) || listsAt > file.sizeBytes) return false;
  const lists = viewOf(file.read(listsAt, file.sizeBytes - listsAt));
  let at = 0;
  for (let i = 0; i < elementCount; i++) {
    if (at + 4 > lists.byteLength) return false;
    at += 4 + lists.getUint32(at, true);
  }
  return at === lists.byteLength;
}

export function isUsearchFileComplete(file: NativeGraphFile): boolean {
  if (file.sizeBytes < USEARCH_MATRIX_HEADER_SIZE_BYTES) return false;
  const matrix = viewOf(file.read(0, USEARCH_MATRIX_HEADER_SIZE_BYTES));
  const vectorsSizeBytes = matrix.getUint32(0, true) * matrix.getUint32(4, true);
  const graphAt = USEARCH_MATRIX_HEADER_SIZE_BYTES + vectorsSizeBytes + USEARCH_HEAD_SIZE_BYTES;
  if (graphAt + USEARCH_GRAPH_HEADER_SIZE_BYTES > file.sizeBytes) return false;
  const header = viewOf(file.read(graphAt, USEARCH_GRAPH_HEADER_SIZE_BYTES));
  const nodeCount = Number(header.getBigUint64(0, true));
  const connectivity = Number(header.getBigUint64(8, true));
  const connectivityBase = Number(header.getBigUint64(16, true));
  const levelsAt = graphAt + USEARCH_GRAPH_HEADER_SIZE_BYTES;
  let endAt = levelsAt + nodeCount * LEVEL_SIZE_BYTES;
  if (!(endAt <= file.sizeBytes)) return false;
  const levels = viewOf(file.read(levelsAt, nodeCount * LEVEL_SIZE_BYTES));
  for (let i = 0; i < nodeCount; i++) {
    const level = levels.getInt16(i * LEVEL_SIZE_BYTES, true);
    endAt += USEARCH_NODE_HEAD_SIZE_BYTES + 4 + connectivityBase * 4;
    endAt += level * (4 + connectivity * 4);
  }
  return endAt === file.sizeBytes;
}

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

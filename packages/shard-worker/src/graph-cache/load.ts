/**
 * A saved graph back into memory. Native loaders corrupt the heap on damaged files, so nothing
 * reaches them that was not verified in this order: the sidecar against its own sum; engine,
 * version and parameters; the whole graph file against the sidecar's sha256, and each block again
 * as it is read; the label section against the order digest; the scratch file read back from disk.
 * Around the native call stands a marker file: a start that finds one knows who crashed the last.
 * At the end the graph has to find some of its own rows.
 */
import { HoldfastError, InvariantViolation } from '@holdfast/base';
import {
  ChecksummedFileReader,
  digestChecksummedFile,
  replaceFile,
  toHex,
  writeAtomicFile,
  xxh3_64,
} from '@holdfast/storage';
import type { Shard } from '../engine/shard.ts';
import type { Graph, GraphFactory, SavedLabels } from '../graph/graph.ts';
import { CONTENTS_HEADER_SIZE_BYTES, LABEL_SIZE_BYTES, resolveLabels } from './contents.ts';
import type { GraphCachePlace } from './files.ts';
import { directoryOf, graphFilePath, scratchPath } from './files.ts';
import type { GraphSidecar } from './sidecar.ts';
import { fitOf, misfitOf, readSidecar } from './sidecar.ts';

export type LoadOutcome =
  | { readonly kind: 'loaded'; readonly graph: Graph; readonly sidecar: GraphSidecar }
  /** Sound, but of no use here. */
  | { readonly kind: 'outdated'; readonly reason: string }
  | { readonly kind: 'damaged'; readonly reason: string };

const CHUNK_SIZE_BYTES = 1 << 20;
/** As save.ts digests them. */
const LABELS_PER_DIGEST = 2048;
const SELF_TEST_QUERY_COUNT = 16;
const SELF_TEST_EF = 64;
/** How well it finds is for the recall probe; here it only must not crash, and answer at all. */
const SELF_TEST_FOUND_MIN = 8;

/** A disk that cannot be read is damage like any other: the graph is only a cache. */
export function loadGraph(
  place: GraphCachePlace,
  generation: number,
  shard: Shard,
  factory: GraphFactory,
): LoadOutcome {
  const { fs } = place;
  const { options } = shard.queue;
  try {
    const sidecar = readSidecar(fs, graphFilePath(place, generation, 'json'));
    const misfit = misfitOf(sidecar, fitOf(place, options, factory.buildFor(options)));
    if (misfit !== null) return { kind: 'outdated', reason: `of another ${misfit}` };
    const path = graphFilePath(place, generation, 'graph');
    if (!fs.exists(path)) return { kind: 'damaged', reason: 'the graph file is missing' };
    if (fs.sizeBytes(path) !== sidecar.sizeBytes)
      return { kind: 'damaged', reason: 'the graph file has another size' };
    if (digestChecksummedFile(fs, path) !== sidecar.checksum)
      return { kind: 'damaged', reason: 'the graph file fails its checksum' };
    const labels = extract(place, path, sidecar, shard);
    if (labels.rows.length === labels.goneLabels.length)
      return { kind: 'outdated', reason: 'none of its rows is there any more' };
    const scratch = scratchPath(place);
    const graph = loadMarked(place, generation, () =>
      guarded(
        shard,
        loadNative(() => factory.load(options, scratch, labels), path),
      ),
    );
    if (graph === null) return { kind: 'damaged', reason: 'it answers nothing to its own rows' };
    return { kind: 'loaded', graph, sidecar };
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    if (error.code === 'FORMAT_UNKNOWN') return { kind: 'outdated', reason: error.message };
    return { kind: 'damaged', reason: error.message };
  } finally {
    if (fs.exists(scratchPath(place))) fs.remove(scratchPath(place));
  }
}

/** Writes the native bytes to the scratch file and answers with the labels. */
function extract(
  place: GraphCachePlace,
  path: string,
  sidecar: GraphSidecar,
  shard: Shard,
): SavedLabels {
  const { fs } = place;
  const reader = ChecksummedFileReader.open(fs, path, 'graph');
  try {
    const header = reader.read(0, CONTENTS_HEADER_SIZE_BYTES);
    const labelCount = new DataView(header.buffer).getUint32(0, true);
    const nativeAt = CONTENTS_HEADER_SIZE_BYTES + labelCount * LABEL_SIZE_BYTES;
    if (labelCount !== sidecar.labelCount || nativeAt > reader.payloadSizeBytes)
      throw corrupt(path, 'has another number of labels than its sidecar says');
    const labels = reader.read(CONTENTS_HEADER_SIZE_BYTES, labelCount * LABEL_SIZE_BYTES);
    if (digestLabels(labels) !== sidecar.rowOrderDigest)
      throw corrupt(path, 'is of rows in another order than its sidecar says');
    const sums: Uint8Array[] = [];
    replaceFile(fs, scratchPath(place), (handle) => {
      for (let at = nativeAt; at < reader.payloadSizeBytes; at += CHUNK_SIZE_BYTES) {
        const length = Math.min(CHUNK_SIZE_BYTES, reader.payloadSizeBytes - at);
        const chunk = reader.read(at, length);
        sums.push(xxh3_64([chunk]));
        handle.write([chunk], at - nativeAt);
      }
    });
    assertSame(place, sums);
    return resolveLabels(shard, labels);
  } finally {
    reader.close();
  }
}

/** What native code will read is what was verified. */
function assertSame(place: GraphCachePlace, sums: readonly Uint8Array[]): void {
  const path = scratchPath(place);
  const handle = place.fs.open(path, 'read');
  try {
    const chunk = new Uint8Array(CHUNK_SIZE_BYTES);
    sums.forEach((sum, i) => {
      const count = handle.read(chunk, i * CHUNK_SIZE_BYTES);
      if (Buffer.compare(xxh3_64([chunk.subarray(0, count)]), sum) !== 0)
        throw corrupt(path, 'reads back other bytes than were written');
    });
  } finally {
    handle.close();
  }
}

function digestLabels(labels: Uint8Array): string {
  const step = LABELS_PER_DIGEST * LABEL_SIZE_BYTES;
  const digests: Uint8Array[] = [];
  for (let at = 0; at < labels.byteLength; at += step)
    digests.push(xxh3_64([labels.subarray(at, Math.min(labels.byteLength, at + step))]));
  return toHex(xxh3_64(digests));
}

/** The marker is durable before the call and gone after it, whatever the call threw. */
function loadMarked<Value>(place: GraphCachePlace, generation: number, load: () => Value): Value {
  const { fs } = place;
  const marker = graphFilePath(place, generation, 'loading');
  writeAtomicFile(fs, marker, [new TextEncoder().encode('native code reads this graph\n')]);
  try {
    return load();
  } finally {
    fs.remove(marker);
    fs.syncDirectory(directoryOf(place));
  }
}

/** Native errors are about the file; a broken assertion of ours is not. */
function loadNative(load: () => Graph, path: string): Graph {
  try {
    return load();
  } catch (cause) {
    if (cause instanceof HoldfastError || cause instanceof InvariantViolation) throw cause;
    throw corrupt(path, `was refused by the graph library (${String(cause)})`);
  }
}

/** The graph, or null when it answers nothing to the rows it holds. */
function guarded(shard: Shard, graph: Graph): Graph | null {
  const { rows } = shard;
  const target = new Uint32Array(1);
  const stride = Math.max(1, Math.floor(rows.rowCount / (SELF_TEST_QUERY_COUNT * 4)));
  let askedCount = 0;
  let foundCount = 0;
  for (let row = 0; row < rows.rowCount && askedCount < SELF_TEST_QUERY_COUNT; row += stride) {
    if (!graph.hasRow(row)) continue;
    askedCount += 1;
    const found = graph.search(rows.vectors.vector(row), 1, SELF_TEST_EF, target);
    if (found === 1 && graph.hasRow(target[0]!)) foundCount += 1;
  }
  return foundCount * SELF_TEST_QUERY_COUNT >= askedCount * SELF_TEST_FOUND_MIN ? graph : null;
}

const corrupt = (file: string, what: string): HoldfastError =>
  new HoldfastError('FILE_CORRUPT', `${file} ${what}: the graph is built again`, {
    details: { file, offset: 0 },
  });

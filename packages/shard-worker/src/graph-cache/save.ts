/**
 * Writes the graph of a shard to disk in steps short enough to run between the tasks of a lane. The
 * native save is the one step that cannot be divided (about 50 ms for 100,000 x 128).
 *
 * Order: native code writes a scratch file; it is checked to be whole, because hnswlib says nothing
 * on a full disk; labels and bytes go into a block file, durable and renamed; then the sidecar.
 * A crash anywhere leaves the generations before it, and files that no start looks at.
 */
import { assert, failpoint, HoldfastError, must } from '@holdfast/base';
import type { ChecksummedFileFacts, FileHandle, Steps } from '@holdfast/storage';
import { ChecksummedFileWriter, toHex, xxh3_64 } from '@holdfast/storage';
import type { RowStore } from '../engine/row-store.ts';
import type { Shard } from '../engine/shard.ts';
import type { Graph, GraphFactory, NativeGraphFile } from '../graph/graph.ts';
import { encodeContentsHeader, encodeLabels } from './contents.ts';
import type { GraphCachePlace } from './files.ts';
import { directoryOf, graphFilePath, listGenerations, scratchPath } from './files.ts';
import { fitOf, writeSidecar } from './sidecar.ts';

/** A millisecond of work each. */
const LABELS_PER_STEP = 2048;
const BYTES_PER_STEP = 1 << 20;
/** The scratch file and the graph file stand beside each other for a moment. */
const COPY_COUNT = 2;
/** Left for the log and for checkpoints, which must not fail because of a cache. */
const FREE_BYTES_MIN = 256 << 20;

export interface GraphSaveFacts {
  readonly generation: number;
  readonly path: string;
}

/**
 * @throws HoldfastError FILE_IO, and GRAPH_CACHE_SKIPPED where there is no room; then nothing is
 *   left of the attempt, once the iterator was closed
 */
export function* saveGraph(
  place: GraphCachePlace,
  shard: Shard,
  factory: GraphFactory,
  facts: { readonly logIndex: number; readonly timestampMs: number },
): Steps<GraphSaveFacts> {
  const graph = must(shard.queue.graph, 'only a graph that exists is saved');
  const { fs } = place;
  const scratch = scratchPath(place);
  assertRoom(place, shard, graph);
  const build = must(shard.queue.build, 'a graph has a build');
  assert(build.precision === graph.precision, 'a graph is what its queue builds');
  const vectorCount = graph.rowCount - graph.deletedCount;
  const labelRows = graph.labelRows();
  if (fs.exists(scratch)) fs.remove(scratch);
  try {
    failpoint('lane.before-graph-save');
    saveNative(place, graph, scratch);
    yield;
    const generation = Math.max(0, ...listGenerations(place).keys()) + 1;
    const path = graphFilePath(place, generation, 'graph');
    const { rows } = shard;
    const written = yield* copyIntoBlockFile(place, path, rows, labelRows, (file) =>
      factory.isFileComplete(shard.queue.options, file),
    );
    const { uid, shard: number } = place;
    failpoint('lane.before-graph-sidecar');
    writeSidecar(fs, graphFilePath(place, generation, 'json'), {
      ...fitOf({ uid, shard: number }, shard.queue.options, build),
      ...facts,
      checksum: written.checksum,
      sizeBytes: written.sizeBytes,
      vectorCount,
      labelCount: labelRows.length,
      rowOrderDigest: written.rowOrderDigest,
    });
    failpoint('lane.after-graph-sidecar');
    return { generation, path };
  } finally {
    if (fs.exists(scratch)) fs.remove(scratch);
  }
}

function* copyIntoBlockFile(
  place: GraphCachePlace,
  path: string,
  rows: RowStore,
  labelRows: Uint32Array,
  isComplete: (file: NativeGraphFile) => boolean,
): Steps<ChecksummedFileFacts & { readonly rowOrderDigest: string }> {
  const { fs } = place;
  const handle = fs.open(scratchPath(place), 'read');
  try {
    if (!isComplete(nativeFile(handle))) throw skipped(place, 'the library wrote a cut file');
    const writer = new ChecksummedFileWriter(fs, path, { kind: 'graph', algorithm: 'xxhash3' });
    try {
      writer.append(encodeContentsHeader(labelRows.length));
      const digests: Uint8Array[] = [];
      for (let start = 0; start < labelRows.length; start += LABELS_PER_STEP) {
        const end = Math.min(labelRows.length, start + LABELS_PER_STEP);
        const labels = encodeLabels(rows, labelRows, start, end);
        digests.push(xxh3_64([labels]));
        writer.append(labels);
        yield;
      }
      const sizeBytes = handle.sizeBytes();
      for (let at = 0; at < sizeBytes; at += BYTES_PER_STEP) {
        const chunk = new Uint8Array(Math.min(BYTES_PER_STEP, sizeBytes - at));
        if (handle.read(chunk, at) !== chunk.byteLength)
          throw skipped(place, 'the scratch file shrank');
        writer.append(chunk);
        yield;
      }
      return { ...writer.finish(), rowOrderDigest: toHex(xxh3_64(digests)) };
    } catch (error) {
      writer.abandon();
      throw error;
    }
  } finally {
    handle.close();
  }
}

/** Native errors are the disk's; they have no code to tell them apart by. */
function saveNative(place: GraphCachePlace, graph: Graph, path: string): void {
  try {
    graph.save(path);
  } catch (cause) {
    throw skipped(place, String(cause));
  }
}

const nativeFile = (handle: FileHandle): NativeGraphFile => ({
  sizeBytes: handle.sizeBytes(),
  read: (position, length) => {
    const bytes = new Uint8Array(length);
    return bytes.subarray(0, handle.read(bytes, position));
  },
});

/** An estimate from above: vectors, links of the lowest layer twice, and the labels. */
function assertRoom(place: GraphCachePlace, shard: Shard, graph: Graph): void {
  const { dimension, hnsw } = shard.definition;
  const rowSizeBytes = dimension * 4 + hnsw.m * 16 + 64;
  const neededBytes = graph.rowCount * rowSizeBytes * COPY_COUNT + FREE_BYTES_MIN;
  if (place.fs.freeBytes(directoryOf(place)) < neededBytes)
    throw skipped(place, `the disk has less than ${neededBytes} bytes free`);
}

const skipped = (place: GraphCachePlace, why: string): HoldfastError =>
  new HoldfastError(
    'GRAPH_CACHE_SKIPPED',
    `The graph of shard ${place.shard} of collection ${place.uid} was not saved: ${why}. ` +
      'It is built again from the rows at the next start.',
    { details: { uid: place.uid, shard: place.shard } },
  );

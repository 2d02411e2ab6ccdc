/**
 * Writes rows of a shard as one checksummed file, in steps. The content depends on the rows alone,
 * so a sealed segment is byte-identical on every replica, whenever and however slowly each writes
 * it.
 */
import type { ChecksumAlgorithm, ChecksummedFileFacts, FileSystem, Steps } from '@holdfast/storage';
import { ChecksummedFileWriter, joinPath } from '@holdfast/storage';
import type { RowStore } from '../engine/row-store.ts';
import { encodeRowsHeader, RowEncoder } from './format.ts';

/** Encoding and hashing this much takes about half a millisecond. */
const STEP_SIZE_BYTES = 256 * 1024;

export interface RowsFileTarget {
  readonly kind: 'segment' | 'growing';
  /** Relative to the data directory. */
  readonly path: string;
  readonly algorithm: ChecksumAlgorithm;
  readonly uid: number;
  readonly shard: number;
}

/**
 * The bytes of `rowNumbers` must not change until the end. What was begun is dropped when a step
 * throws or the steps are ended early.
 * @throws HoldfastError FILE_IO
 */
export function* writeRowsFile(
  fs: FileSystem,
  dataDirectory: string,
  target: RowsFileTarget,
  rows: RowStore,
  rowNumbers: Uint32Array,
): Steps<ChecksummedFileFacts> {
  const { kind, algorithm, uid, shard } = target;
  const writer = new ChecksummedFileWriter(fs, joinPath(dataDirectory, target.path), {
    kind,
    algorithm,
  });
  let isFinished = false;
  try {
    const { dimension } = rows.vectors;
    writer.append(encodeRowsHeader({ uid, shard, dimension, rowCount: rowNumbers.length }));
    const encoder = new RowEncoder();
    let stepSizeBytes = 0;
    for (const row of rowNumbers) {
      const record = encoder.record(rows, row);
      writer.append(record);
      stepSizeBytes += record.byteLength;
      if (stepSizeBytes < STEP_SIZE_BYTES) continue;
      stepSizeBytes = 0;
      yield;
    }
    const facts = writer.finish();
    isFinished = true;
    return facts;
  } finally {
    if (!isFinished) writer.abandon();
  }
}

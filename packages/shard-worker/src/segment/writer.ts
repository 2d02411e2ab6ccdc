/**
 * Writes rows of a shard as one checksummed file. The content depends on the rows alone, so a
 * sealed segment is byte-identical on every replica, whenever each writes it.
 */
import type { ChecksummedFileFacts, FileSystem } from '@holdfast/storage';
import { joinPath, writeChecksummedFile } from '@holdfast/storage';
import type { Shard } from '../engine/shard.ts';
import { encodeRowsHeader, RowEncoder } from './format.ts';

/** Part of the format, not a setting: replicas must agree on every byte. */
export const ROWS_CHECKSUM_ALGORITHM = 'xxhash3';

export function writeRowsFile(
  fs: FileSystem,
  dataDirectory: string,
  file: { readonly kind: 'segment' | 'growing'; readonly path: string },
  shard: Shard,
  rowNumbers: Uint32Array,
): ChecksummedFileFacts {
  return writeChecksummedFile(
    fs,
    joinPath(dataDirectory, file.path),
    { kind: file.kind, algorithm: ROWS_CHECKSUM_ALGORITHM },
    encodeRows(shard, rowNumbers),
  );
}

function* encodeRows(shard: Shard, rowNumbers: Uint32Array): Generator<Uint8Array> {
  const { definition } = shard;
  yield encodeRowsHeader({
    uid: definition.uid,
    shard: shard.shard,
    dimension: definition.dimension,
    rowCount: rowNumbers.length,
  });
  const encoder = new RowEncoder();
  for (const row of rowNumbers) yield encoder.record(shard.rows, row);
}

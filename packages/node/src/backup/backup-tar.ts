/**
 * One backup as a tar file: its objects as they stand in a store, under the names that a store in
 * a folder has for them. Unpacked anywhere it is such a store, with one backup in it, and the
 * commands that verify and restore read it from there. What is encrypted stays so.
 */
import { createHash } from 'node:crypto';
import { assert, HoldfastError } from '@holdfast/base';
import type { BackupManifest } from '@holdfast/storage';
import { backupManifestKey, fileKey } from '@holdfast/storage';
import { encodeTrailer, TRAILER_SIZE_BYTES } from './sinks/local-trailer.ts';
import type { BackupSink } from './sinks/sink.ts';
import { OBJECT_FILE_SUFFIX } from './sinks/sink-keys.ts';

const BLOCK_SIZE_BYTES = 512;
const NAME_LENGTH_MAX = 100;
const PREFIX_LENGTH_MAX = 155;
/** Eleven octal digits; larger sizes are in base 256. */
const OCTAL_SIZE_MAX = 8 ** 11 - 1;

/**
 * Pieces of the tar, in order. The manifest comes last: what was cut off is no backup.
 * @throws HoldfastError BACKUP_NOT_FOUND, BACKUP_CORRUPT (an object changed meanwhile), SINK_*
 */
export async function* tarOfBackup(
  sink: BackupSink,
  manifest: BackupManifest,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { backupId, clusterId, createdMs, files } = manifest;
  const sums = [...new Set(files.map(({ sha256 }) => sha256))].sort();
  const keys = sums.map((sha256) => fileKey(clusterId, sha256));
  for (const key of [...keys, backupManifestKey(clusterId, backupId)]) {
    yield* tarOfObject(sink, key, createdMs);
  }
  yield new Uint8Array(2 * BLOCK_SIZE_BYTES);
}

async function* tarOfObject(
  sink: BackupSink,
  key: string,
  modifiedMs: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  const found = await sink.head(key);
  if (found === null) {
    throw new HoldfastError('BACKUP_NOT_FOUND', `${sink.name} has no object ${key}: verify it`, {
      details: { object: key },
    });
  }
  const sizeBytes = found.sizeBytes + TRAILER_SIZE_BYTES;
  yield tarHeader(`${key}${OBJECT_FILE_SUFFIX}`, sizeBytes, modifiedMs);
  const digest = createHash('sha256');
  let readBytes = 0;
  for await (const piece of sink.read(key)) {
    digest.update(piece);
    readBytes += piece.byteLength;
    yield piece;
  }
  if (readBytes !== found.sizeBytes) {
    const message = `object ${key} of ${sink.name} changed while it was read: begin again`;
    throw new HoldfastError('BACKUP_CORRUPT', message, { details: { object: key } });
  }
  yield encodeTrailer({ sizeBytes: readBytes, sha256: digest.digest('hex') });
  const rest = sizeBytes % BLOCK_SIZE_BYTES;
  if (rest > 0) yield new Uint8Array(BLOCK_SIZE_BYTES - rest);
}

/** POSIX ustar. */
export function tarHeader(path: string, sizeBytes: number, modifiedMs: number): Uint8Array {
  const slash = path.lastIndexOf('/');
  const [prefix, name] = [path.slice(0, Math.max(0, slash)), path.slice(slash + 1)];
  assert(name.length <= NAME_LENGTH_MAX && prefix.length <= PREFIX_LENGTH_MAX, 'a tar name fits', {
    path,
  });
  const header = Buffer.alloc(BLOCK_SIZE_BYTES);
  const octal = (value: number, at: number, length: number): void => {
    header.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
  };
  header.write(name, 0, 'latin1');
  octal(0o640, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  if (sizeBytes <= OCTAL_SIZE_MAX) octal(sizeBytes, 124, 12);
  else {
    header[124] = 0x80;
    header.writeBigUInt64BE(BigInt(sizeBytes), 128);
  }
  octal(Math.floor(modifiedMs / 1_000), 136, 12);
  header.write('        ', 148, 'latin1');
  header.write('0', 156, 'latin1');
  header.write('ustar\u000000', 257, 'latin1');
  header.write(prefix, 345, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}

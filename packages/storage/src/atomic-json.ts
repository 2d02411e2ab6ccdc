/**
 * Small facts a person should be able to read: JSON with a format name, a version and a checksum
 * over the body, replaced atomically. Invariant: what reads back without an error is byte for byte
 * what was written, so a flipped bit anywhere in the file is found.
 */
import { HoldfastError } from '@holdfast/base';
import { writeAtomicFile } from './atomic-file.ts';
import { toHex, xxh3_64 } from './checksum.ts';
import type { FileSystem } from './fs.ts';
import { readWholeFile } from './fs.ts';

export interface JsonFormat {
  readonly format: string;
  readonly version: number;
}

/** @throws HoldfastError FILE_IO */
export function writeAtomicJson(
  fileSystem: FileSystem,
  path: string,
  format: JsonFormat,
  body: unknown,
): void {
  writeAtomicFile(fileSystem, path, [renderJson(format, body)]);
}

/**
 * The body as parsed JSON; its shape is the caller's to check.
 * @throws HoldfastError FILE_CORRUPT, FORMAT_UNKNOWN (another version), FILE_IO
 */
export function readAtomicJson(fileSystem: FileSystem, path: string, format: JsonFormat): unknown {
  const bytes = readWholeFile(fileSystem, path);
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
  let envelope: unknown;
  try {
    envelope = JSON.parse(text);
  } catch (cause) {
    throw jsonCorrupt(path, 'is not JSON', cause);
  }
  if (typeof envelope !== 'object' || envelope === null) throw jsonCorrupt(path, 'is no object');
  const { format: name, version, body } = envelope as Record<string, unknown>;
  if (typeof version !== 'number' || typeof name !== 'string') {
    throw jsonCorrupt(path, 'has no format and version');
  }
  const expected = renderJson({ format: name, version }, body);
  if (Buffer.compare(expected, bytes) !== 0) throw jsonCorrupt(path, 'fails its checksum');
  if (name !== format.format) {
    throw jsonCorrupt(path, `is of format ${name}, not ${format.format}`);
  }
  if (version !== format.version) {
    const message = `${path} has the unknown version ${version}: upgrade this node`;
    throw new HoldfastError('FORMAT_UNKNOWN', message, { details: { file: path, version } });
  }
  return body;
}

export function jsonCorrupt(file: string, what: string, cause?: unknown): HoldfastError {
  const message = `${file} ${what}: restore it from a backup or replace the node`;
  return new HoldfastError('FILE_CORRUPT', message, {
    details: { file, offset: 0 },
    ...(cause === undefined ? {} : { cause }),
  });
}

function renderJson(format: JsonFormat, body: unknown): Uint8Array {
  const checksum = bodyChecksum(format, body);
  const text = JSON.stringify({ ...format, checksum, body }, null, 2);
  return Buffer.from(`${text}\n`, 'utf8');
}

function bodyChecksum(format: JsonFormat, body: unknown): string {
  const text = JSON.stringify([format.format, format.version, body]);
  return toHex(xxh3_64([Buffer.from(text, 'utf8')]));
}

/**
 * Looks at the bytes of one file as they are on disk, in steps of at most a quarter of a megabyte,
 * and says what is wrong and where. Each step yields the bytes it has read, so that the caller
 * sets the pace. Nothing is changed, and damage is never thrown: only a disk that refuses is.
 *
 * A reading of a file that is written to at the same time may show a half-written state: the
 * caller looks twice before it believes a finding in such a file.
 */
import { HoldfastError } from '@holdfast/base';
import { createStreamDigest } from './checksum.ts';
import { CHECKSUMMED_FILE_HEADER_SIZE_BYTES } from './checksummed-layout.ts';
import { BlockFileShape, readHeaderBytes } from './checksummed-repair.ts';
import type { FileHandle, FileSystem } from './fs.ts';
import { isFileIoError, openOrNull } from './fs.ts';

/** One place where a file is not what it must be. */
export interface FileFlaw {
  /** Of the first byte of what is damaged (a block, a record); null: the whole file. */
  readonly offset: number | null;
  readonly what: string;
  /** What the checksum or content must be and what was found, where that can be said. */
  readonly expected: string | null;
  readonly actual: string | null;
}

/** Yields bytes read since the last step; returns what was found. */
export type ScrubSteps = Generator<number, readonly FileFlaw[], undefined>;

const BLOCKS_PER_STEP = 4;

/**
 * A block file against the checksum that a manifest or root names, block by block, so that damage
 * has a place; a file that is gone, cut, or another one is one flaw of the whole file.
 * @throws HoldfastError FILE_IO
 */
export function* scrubBlockFile(
  fileSystem: FileSystem,
  path: string,
  checksum: string,
): ScrubSteps {
  const handle = openOrNull(fileSystem, path);
  if (handle === null) return [flaw(null, 'the file is missing', checksum)];
  try {
    const header = readHeaderBytes(handle);
    const shape = shapeOrNull(header, path);
    if (shape === null) return [flaw(0, 'the header fails its checksum', checksum)];
    const actual = handle.sizeBytes();
    if (actual !== shape.sizeBytes) {
      const what = `it is ${actual} bytes long`;
      const at = Math.min(actual, shape.sizeBytes);
      return [flaw(at, what, `${shape.sizeBytes} bytes`, `${actual} bytes`)];
    }
    return yield* scrubBlocks(handle, shape, checksum);
  } finally {
    handle.close();
  }
}

function* scrubBlocks(handle: FileHandle, shape: BlockFileShape, checksum: string): ScrubSteps {
  const flaws: FileFlaw[] = [];
  const digest = createStreamDigest();
  // One for all steps: a fresh quarter of a megabyte each time costs as much as reading it.
  const buffer = new Uint8Array(BLOCKS_PER_STEP * shape.sizeOf(0));
  for (let first = 0; first < shape.blockCount; first += BLOCKS_PER_STEP) {
    const end = Math.min(first + BLOCKS_PER_STEP, shape.blockCount);
    let sizeBytes = 0;
    for (let block = first; block < end; block++) sizeBytes += shape.sizeOf(block);
    const bytes = buffer.subarray(0, sizeBytes);
    const count = handle.read(bytes, shape.positionOf(first));
    digest.update(bytes.subarray(0, count));
    for (let block = first; block < end; block++) {
      const start = shape.positionOf(block) - shape.positionOf(first);
      const one = bytes.subarray(start, Math.min(count, start + shape.sizeOf(block)));
      if (shape.isSound(block, one)) continue;
      flaws.push(flaw(shape.positionOf(block), `block ${block} fails its checksum`, null));
    }
    yield sizeBytes;
  }
  digest.update(shape.header);
  const found = digest.finishHex();
  if (found === checksum) return flaws;
  if (flaws.length > 0) return flaws.map((one) => ({ ...one, expected: checksum, actual: found }));
  return [flaw(null, 'it is another file than the one that is named', checksum, found)];
}

/**
 * A small file that `verify` reads whole and throws for when it is damaged.
 * @throws HoldfastError FILE_IO
 */
export function* scrubSmallFile(
  fileSystem: FileSystem,
  path: string,
  verify: () => void,
): ScrubSteps {
  let sizeBytes = CHECKSUMMED_FILE_HEADER_SIZE_BYTES;
  try {
    sizeBytes = fileSystem.sizeBytes(path);
    verify();
  } catch (error) {
    if (isFileIoError(error, 'ENOENT')) return [flaw(null, 'the file is missing', null)];
    if (!(error instanceof HoldfastError) || error.code === 'FILE_IO') throw error;
    const { offset } = error.details;
    return [flaw(typeof offset === 'number' ? offset : null, error.message, null)];
  }
  yield sizeBytes;
  return [];
}

export function flaw(
  offset: number | null,
  what: string,
  expected: string | null,
  actual: string | null = null,
): FileFlaw {
  return { offset, what, expected, actual };
}

/** Null when the header is damaged. */
function shapeOrNull(header: Uint8Array, path: string): BlockFileShape | null {
  try {
    return new BlockFileShape(header, path);
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    return null;
  }
}

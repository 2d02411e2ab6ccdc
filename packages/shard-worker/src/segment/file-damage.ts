/**
 * One file of a checkpoint that is not what the checkpoint names, as whoever repairs it needs to
 * know it: which file it must be, and where it is wrong.
 */
import { HoldfastError } from '@holdfast/base';
import { isFileIoError } from '@holdfast/storage';

/** A file with the checksum that the checkpoint names it by (ChecksummedFileFacts.checksum). */
export interface CheckpointFile {
  readonly kind: 'meta' | 'manifest' | 'segment' | 'growing';
  /** Of the collection; 0, as the shard, for the meta file. */
  readonly uid: number;
  readonly shard: number;
  /** Of a segment: with uid and shard it names the same file on every replica. */
  readonly ordinal: number | null;
  /** Relative to the data directory. */
  readonly path: string;
  readonly checksum: string;
  /** As it must be; null for a manifest, whose checksum alone is known. */
  readonly sizeBytes: number | null;
}

export interface FileDamage extends CheckpointFile {
  /** Byte offset in the file; null when it is the whole file. */
  readonly offset: number | null;
  readonly what: string;
}

const CORRUPT_CODES: readonly string[] = ['FILE_CORRUPT', 'SEGMENT_CORRUPT', 'CHECKPOINT_CORRUPT'];

/** True for what says that bytes are wrong, missing or cannot be read; not for newer formats. */
export const isDamage = (error: unknown): error is HoldfastError =>
  error instanceof HoldfastError &&
  (CORRUPT_CODES.includes(error.code) ||
    isFileIoError(error, 'ENOENT') ||
    (error.code === 'FILE_IO' && error.details.operation === 'read'));

/** `error` must be about `file`. */
export function asDamage(file: CheckpointFile, error: HoldfastError): FileDamage {
  const { offset, what } = error.details;
  return {
    ...file,
    offset: typeof offset === 'number' ? offset : null,
    what: typeof what === 'string' ? what : error.message,
  };
}

/** The error that a checkpoint cannot be opened with; lists every damage found. */
export function damagedCheckpoint(damages: readonly FileDamage[]): HoldfastError {
  const first = damages[0]!;
  const isRowsOnly = damages.every(({ kind }) => kind === 'segment' || kind === 'growing');
  const place = first.offset === null ? first.path : `${first.path} at byte ${first.offset}`;
  const others = damages.length === 1 ? '' : ` and ${damages.length - 1} more`;
  return new HoldfastError(
    isRowsOnly ? 'SEGMENT_CORRUPT' : 'CHECKPOINT_CORRUPT',
    `${place} is damaged: ${first.what}${others}. Nothing of it is served; restore it from a ` +
      'healthy replica.',
    { details: { path: first.path, damages } },
  );
}

/** What `damagedCheckpoint` listed, also after the error crossed a thread; empty for others. */
export function damagesOf(error: unknown): readonly FileDamage[] {
  if (!(error instanceof HoldfastError)) return [];
  const { damages } = error.details;
  return Array.isArray(damages) ? (damages as readonly FileDamage[]) : [];
}

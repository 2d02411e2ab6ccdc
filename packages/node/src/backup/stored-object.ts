/** Reading a stored file back, to use it or only to know that it is whole. */
import { HoldfastError } from '@holdfast/base';
import type { KeyRing } from '@holdfast/storage';
import { createStreamDigest, fileKey, openSealedStream } from '@holdfast/storage';
import type { BackupSink } from './sinks/sink.ts';

export interface StoredFile {
  readonly clusterId: string;
  /** Of the content. */
  readonly sha256: string;
  readonly sizeBytes: number;
}

/**
 * The content in pieces of at most 1 MiB, in order. The whole is good only when this has ended.
 * @throws HoldfastError BACKUP_NOT_FOUND, BACKUP_CORRUPT, BACKUP_KEY_WRONG, FORMAT_UNKNOWN, SINK_*
 */
export async function* readStoredFile(
  sink: BackupSink,
  file: StoredFile,
  keys: KeyRing,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  const context = fileKey(file.clusterId, file.sha256);
  const digest = createStreamDigest();
  let sizeBytes = 0;
  const chunks = sink.read(context, signal === undefined ? {} : { signal });
  const open = { kind: 'file', context, keys, sizeBytesMax: file.sizeBytes } as const;
  for await (const piece of openSealedStream(chunks, open)) {
    digest.update(piece);
    sizeBytes += piece.byteLength;
    yield piece;
  }
  if (sizeBytes === file.sizeBytes && digest.finishHex() === file.sha256) return;
  const message = `object ${context} holds other bytes than its name says: use another copy`;
  throw new HoldfastError('BACKUP_CORRUPT', message, { details: { object: context, offset: 0 } });
}

/** Reads all of it and keeps nothing. @throws as readStoredFile */
export async function checkStoredFile(
  sink: BackupSink,
  file: StoredFile,
  keys: KeyRing,
  signal?: AbortSignal,
): Promise<void> {
  for await (const piece of readStoredFile(sink, file, keys, signal)) void piece;
}

const DAMAGE_CODES: readonly string[] = [
  'BACKUP_CORRUPT',
  'BACKUP_NOT_FOUND',
  'BACKUP_KEY_WRONG',
  'FORMAT_UNKNOWN',
];

/** True for what says that the object is no good; not for a store that does not answer. */
export const isObjectDamage = (error: unknown): error is HoldfastError =>
  error instanceof HoldfastError && DAMAGE_CODES.includes(error.code);

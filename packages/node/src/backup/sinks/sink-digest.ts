/**
 * The digest that is stored with every object, and the checks against it: of what is read back, and
 * of a source that is read twice (first for the digest, then for the bytes).
 *
 * Work on bytes goes in pieces of 1 MiB with a turn of the event loop between them, because sinks
 * run beside the replica on the main thread.
 */
import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { HoldfastError, type Random } from '@holdfast/base';
import { createStreamDigest, type StreamDigest } from '@holdfast/storage';
import type { SinkSource } from './sink.ts';
import { aborted, refusal } from './sink-failure.ts';

export const PIECE_SIZE_BYTES = 1024 * 1024;

/** Stored beside the content. */
export interface SinkDigest {
  /** Lower-case hex. */
  readonly sha256: string;
  readonly sizeBytes: number;
}

/** Metadata of an object, as S3 and Azure keep it: names are lower case in both. */
export interface SinkMetadata {
  readonly sha256: string;
  readonly size: string;
  /** Who stored it: one mark per call of `put`. */
  readonly writer: string;
}

const MARK_WORD_COUNT = 4;
const SHA256_PATTERN = /^[0-9a-f]{64}$/;
const SIZE_PATTERN = /^\d{1,15}$/;

/** 128 bits by chance, as hex. */
export function randomMark(random: Random): string {
  let mark = '';
  for (let i = 0; i < MARK_WORD_COUNT; i++) mark += random.nextU32().toString(16).padStart(8, '0');
  return mark;
}

export const metadataOf = (digest: SinkDigest, writer: string): SinkMetadata => ({
  sha256: digest.sha256,
  size: String(digest.sizeBytes),
  writer,
});

/**
 * The digest stored with an object that a store says has so many bytes. `close` lets its content go
 * when they do not fit.
 * @throws HoldfastError BACKUP_CORRUPT
 */
export function sizedDigest(
  metadata: Readonly<Record<string, string | undefined>> | undefined,
  sizeBytes: number,
  object: string,
  close: () => void,
): SinkDigest {
  const { sha256, size } = metadata ?? {};
  const isThere = SHA256_PATTERN.test(sha256 ?? '') && SIZE_PATTERN.test(size ?? '');
  if (isThere && Number(size) === sizeBytes) return { sha256: sha256 ?? '', sizeBytes };
  close();
  const flaw = isThere ? `it has ${sizeBytes} bytes instead of ${size}` : 'it has no digest';
  throw corrupt(object, flaw);
}

/** Reads the source once. `what` is for messages. @throws HoldfastError ABORTED, of the source */
export async function digestSource(
  source: SinkSource,
  what: string,
  signal?: AbortSignal,
): Promise<SinkDigest> {
  const { sizeBytes } = source;
  if (signal?.aborted) throw aborted(what);
  if (source.digest !== undefined) return { sha256: await source.digest(signal), sizeBytes };
  const sha256 = createStreamDigest();
  for await (const piece of sourcePieces(source, what, signal)) {
    sha256.update(piece);
    await nextTurn();
  }
  return { sha256: sha256.finishHex(), sizeBytes };
}

/** All of a source, in order, 1 MiB at a time. @throws HoldfastError ABORTED, of the source */
export async function* sourcePieces(
  source: SinkSource,
  what: string,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for (let offset = 0; offset < source.sizeBytes; offset += PIECE_SIZE_BYTES)
    yield await readPiece(source, offset, what, signal);
}

/** At most 1 MiB from `offset`. */
async function readPiece(
  source: SinkSource,
  offset: number,
  what: string,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  if (signal?.aborted) throw aborted(what);
  const length = Math.min(PIECE_SIZE_BYTES, source.sizeBytes - offset);
  const piece = await source.read(offset, length);
  if (piece.byteLength !== length)
    throw new HoldfastError(
      'FILE_CORRUPT',
      `${what}: the source has ${piece.byteLength} bytes at ${offset} instead of ${length}`,
    );
  return piece;
}

/**
 * What guards bytes on their way to a store: the store takes it of what has come. MD5 costs twice
 * what SHA-256 does, which processors help with.
 */
export type WayHash = 'md5' | 'sha256';

/** Bytes of a source and what guards them on their way. */
export interface HashedBytes {
  readonly bytes: Uint8Array;
  readonly hash: Uint8Array;
}

/** The second reading of a source, in order. The last piece is handed out only if all are equal. */
export class SourceReader {
  readonly #source: SinkSource;
  readonly #expected: SinkDigest;
  readonly #what: string;
  readonly #signal: AbortSignal | undefined;
  readonly #digest: StreamDigest = createStreamDigest();
  #offset = 0;

  constructor(source: SinkSource, expected: SinkDigest, what: string, signal?: AbortSignal) {
    this.#source = source;
    this.#expected = expected;
    this.#what = what;
    this.#signal = signal;
  }

  get isAtEnd(): boolean {
    return this.#offset === this.#source.sizeBytes;
  }

  /** The next `length` bytes, or less at the end; into the begin of `room`, when it is given. */
  async take(length: number, wayHash: WayHash, room?: Uint8Array): Promise<HashedBytes> {
    const sizeBytes = Math.min(length, this.#source.sizeBytes - this.#offset);
    const bytes = room?.subarray(0, sizeBytes) ?? new Uint8Array(sizeBytes);
    const hash = createHash(wayHash);
    for (let at = 0; at < sizeBytes; ) {
      const piece = await readPiece(this.#source, this.#offset, this.#what, this.#signal);
      const taken = piece.subarray(0, sizeBytes - at);
      bytes.set(taken, at);
      at += taken.byteLength;
      this.#account(taken);
      await nextTurn();
      hash.update(taken);
      await nextTurn();
    }
    return { bytes, hash: hash.digest() };
  }

  async *pieces(): AsyncGenerator<Uint8Array> {
    while (!this.isAtEnd) {
      const piece = await readPiece(this.#source, this.#offset, this.#what, this.#signal);
      this.#account(piece);
      yield piece;
    }
  }

  #account(bytes: Uint8Array): void {
    this.#digest.update(bytes);
    this.#offset += bytes.byteLength;
    if (!this.isAtEnd || this.#digest.finishHex() === this.#expected.sha256) return;
    throw new HoldfastError(
      'FILE_CORRUPT',
      `${this.#what}: the source has other bytes than when its digest was taken`,
    );
  }
}

/**
 * What a store gave, in pieces of at most 1 MiB, and checked. The last piece is handed out only
 * after the digest of the whole was right: nobody ever holds a whole object that is not.
 * @throws HoldfastError BACKUP_CORRUPT
 */
export async function* verifiedPieces(
  chunks: AsyncIterable<Uint8Array>,
  expected: SinkDigest,
  object: string,
): AsyncGenerator<Uint8Array> {
  const digest = createStreamDigest();
  let sizeBytes = 0;
  let held: Uint8Array | null = null;
  for await (const chunk of chunks)
    for (let at = 0; at < chunk.byteLength; at += PIECE_SIZE_BYTES) {
      const piece = chunk.subarray(at, at + PIECE_SIZE_BYTES);
      sizeBytes += piece.byteLength;
      if (sizeBytes > expected.sizeBytes)
        throw corrupt(object, `it has more than the ${expected.sizeBytes} bytes that were stored`);
      digest.update(piece);
      if (held !== null) yield held;
      held = piece;
    }
  if (sizeBytes !== expected.sizeBytes)
    throw corrupt(object, `it has ${sizeBytes} bytes instead of ${expected.sizeBytes}`);
  if (digest.finishHex() !== expected.sha256) throw corrupt(object, 'its bytes fail their digest');
  if (held !== null) yield held;
}

/**
 * All of what a store gave, checked. `what` is for messages.
 * @throws HoldfastError SINK_REFUSED before it is read when it is larger; BACKUP_CORRUPT
 */
export async function collectVerified(
  chunks: AsyncIterable<Uint8Array>,
  expected: SinkDigest,
  sizeBytesMax: number,
  { object, what }: { readonly what: string; readonly object: string },
): Promise<Uint8Array> {
  const { sizeBytes } = expected;
  if (sizeBytes > sizeBytesMax)
    throw refusal(what, `it has ${sizeBytes} bytes and at most ${sizeBytesMax} are asked for`);
  const bytes = new Uint8Array(sizeBytes);
  let offset = 0;
  for await (const piece of verifiedPieces(chunks, expected, object)) {
    bytes.set(piece, offset);
    offset += piece.byteLength;
  }
  return bytes;
}

export const corrupt = (object: string, flaw: string): HoldfastError =>
  new HoldfastError(
    'BACKUP_CORRUPT',
    `${object} is damaged: ${flaw}; restore it from a copy, or use another backup`,
  );

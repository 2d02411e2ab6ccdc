/**
 * Whole sealed objects: small ones as bytes, files as streams of bounded memory. Everything that
 * goes into a sink is sealed here, and nothing that comes out of one is used before it was opened
 * here. Byte layout and what is promised by it: sealed-layout.ts.
 */
import { randomFillSync } from 'node:crypto';
import { assert } from '@holdfast/base';
import type { OpenOptions, RandomBytes, SealOptions } from './sealed-frames.ts';
import { FrameOpener, FrameSealer } from './sealed-frames.ts';
import type { SealedHeader } from './sealed-layout.ts';
import {
  corruptObject,
  FRAME_HEADER_SIZE_BYTES,
  FRAME_TAG_SIZE_BYTES,
  parseSealedHeader,
  SEALED_HEADER_SIZE_BYTES,
} from './sealed-layout.ts';

/** Any source of bytes in order; empty pieces are allowed. */
export type ByteChunks = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** Bytes of the operating system, fit for salts of encrypted objects. */
export const systemRandomBytes: RandomBytes = (sizeBytes) =>
  randomFillSync(new Uint8Array(sizeBytes));

/** The object that holds `body`. The body is not copied and must not change meanwhile. */
export async function sealBytes(body: Uint8Array, options: SealOptions): Promise<Uint8Array> {
  return collect(sealStream([body], { ...options, sizeBytes: body.byteLength }));
}

/**
 * The content of an object, all of it verified. `sizeBytesMax` bounds what is allocated.
 * @throws HoldfastError BACKUP_CORRUPT naming the context (other bytes, another object, another
 *   name, too large), BACKUP_KEY_WRONG naming the id of the key, FORMAT_UNKNOWN
 */
export async function openSealed(bytes: Uint8Array, options: OpenOptions): Promise<Uint8Array> {
  return collect(openSealedStream([bytes], options));
}

export interface SealStreamOptions extends SealOptions {
  /** Of the content; `source` must give exactly as many. */
  readonly sizeBytes: number;
}

/**
 * The object in pieces of at most a frame (1 MiB and 32 bytes), with one frame of memory. A source
 * that gives fewer or more bytes than it said is a bug of the caller.
 */
export async function* sealStream(
  source: ByteChunks,
  options: SealStreamOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const sealer = await FrameSealer.create(options, options.sizeBytes);
  const reader = new PieceReader(source);
  try {
    yield sealer.header;
    for (let number = 0; number < sealer.frameCount; number++) {
      const sizeBytes = sealer.plainSizeBytesOf(number);
      const plain = await reader.take(sizeBytes);
      assert(plain.byteLength === sizeBytes, 'a source gives as many bytes as it said', { number });
      yield await sealer.seal(number, plain);
    }
    assert(await reader.isAtEnd(), 'a source gives no more bytes than it said');
  } finally {
    await reader.close();
  }
}

/**
 * The content in pieces of at most 1 MiB, each verified before it is handed out, with two frames
 * of memory. The whole is good only when the stream has ended: an object that was cut, or goes on
 * after its end, fails with its last piece.
 * @throws HoldfastError as openSealed, and whatever `chunks` throws
 */
export async function* openSealedStream(
  chunks: ByteChunks,
  options: OpenOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = new PieceReader(chunks);
  try {
    const header = await reader.take(SEALED_HEADER_SIZE_BYTES);
    const opener = await FrameOpener.create(header, options);
    let offset = SEALED_HEADER_SIZE_BYTES;
    for (let number = 0; number < opener.frameCount; number++) {
      const frameHeader = await reader.take(FRAME_HEADER_SIZE_BYTES);
      if (frameHeader.byteLength < FRAME_HEADER_SIZE_BYTES) throw cut(options.context, offset);
      const parsed = opener.parse(number, frameHeader, offset);
      const rest = await reader.take(parsed.storedSizeBytes + FRAME_TAG_SIZE_BYTES);
      if (rest.byteLength < parsed.storedSizeBytes + FRAME_TAG_SIZE_BYTES) {
        throw cut(options.context, offset);
      }
      const frame = new Uint8Array(frameHeader.byteLength + rest.byteLength);
      frame.set(frameHeader, 0);
      frame.set(rest, frameHeader.byteLength);
      const plain = await opener.open(parsed, frame, offset);
      offset += frame.byteLength;
      if (parsed.isLast && !(await reader.isAtEnd())) {
        throw corruptObject(options.context, offset, 'goes on after its end');
      }
      yield plain;
    }
  } finally {
    await reader.close();
  }
}

/**
 * What the first 64 bytes say, unverified but for their checksum: for listings and messages.
 * @throws HoldfastError BACKUP_CORRUPT naming `context`, FORMAT_UNKNOWN
 */
export function peekSealedHeader(bytes: Uint8Array, context: string): SealedHeader {
  return parseSealedHeader(bytes, context);
}

const cut = (context: string, offset: number) => corruptObject(context, offset, 'is cut');

async function collect(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const list: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const piece of pieces) {
    list.push(piece);
    sizeBytes += piece.byteLength;
  }
  const bytes = new Uint8Array(sizeBytes);
  let offset = 0;
  for (const piece of list) {
    bytes.set(piece, offset);
    offset += piece.byteLength;
  }
  return bytes;
}

/** Bytes from pieces of any size. Holds at most one piece beyond what is asked for. */
class PieceReader {
  readonly #iterator: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  #piece: Uint8Array = new Uint8Array(0);
  #isDone = false;

  constructor(source: ByteChunks) {
    this.#iterator =
      Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
  }

  /** Fewer bytes only at the end. May be a view of a piece. */
  async take(sizeBytes: number): Promise<Uint8Array> {
    if (sizeBytes === 0) return new Uint8Array(0);
    await this.#refill();
    if (this.#piece.byteLength >= sizeBytes) return this.#cut(sizeBytes);
    const bytes = new Uint8Array(sizeBytes);
    let filled = 0;
    while (filled < sizeBytes && !(await this.isAtEnd())) {
      const part = this.#cut(Math.min(sizeBytes - filled, this.#piece.byteLength));
      bytes.set(part, filled);
      filled += part.byteLength;
    }
    return bytes.subarray(0, filled);
  }

  async isAtEnd(): Promise<boolean> {
    await this.#refill();
    return this.#piece.byteLength === 0;
  }

  /** Lets the source go, also when it was not read to its end. */
  async close(): Promise<void> {
    if (this.#isDone) return;
    this.#isDone = true;
    await this.#iterator.return?.();
  }

  async #refill(): Promise<void> {
    while (this.#piece.byteLength === 0 && !this.#isDone) {
      const next = await this.#iterator.next();
      if (next.done === true) this.#isDone = true;
      else this.#piece = next.value;
    }
  }

  #cut(sizeBytes: number): Uint8Array {
    const part = this.#piece.subarray(0, sizeBytes);
    this.#piece = this.#piece.subarray(sizeBytes);
    return part;
  }
}

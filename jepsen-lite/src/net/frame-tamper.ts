/**
 * Changes the inside of WebSocket messages on their way: one bit flipped in a frame, or a whole
 * frame of before sent once more. The TCP checksum is right each time, so only the product itself
 * can notice.
 */
import type { Random } from '@holdfast/base';
import { type FrameSpan, FrameSpans } from './frame-spans.ts';
import type { LinkShape } from './link-mode.ts';

/** Of before: the next replayed frame is one of the last few, as a duplicate in a network is. */
const REMEMBERED_FRAME_COUNT_MAX = 16;
const REMEMBERED_FRAME_SIZE_BYTES_MAX = 64 * 1024;

export interface Tampered {
  readonly bytes: Buffer;
  readonly corruptions: number;
  readonly replays: number;
}

export class FrameTamper {
  readonly #random: Random;
  readonly #frames = new FrameSpans();
  readonly #remembered: Buffer[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  /** To be called with every chunk of the connection from its first byte on. */
  follow(chunk: Buffer): readonly FrameSpan[] {
    const spans = this.#frames.advance(chunk);
    for (const span of spans) this.#remember(chunk, span);
    return spans;
  }

  /** The chunk as it goes on; another buffer when it was changed. */
  tamper(
    chunk: Buffer,
    spans: readonly FrameSpan[],
    shape: Pick<LinkShape, 'corruptChance' | 'replayChance'>,
  ): Tampered {
    const bytes = Buffer.from(chunk);
    const parts: Buffer[] = [];
    let begin = 0;
    let corruptions = 0;
    let replays = 0;
    for (const { from, to, headerAt, isData, isWhole } of spans) {
      const isCorrupt = this.#random.nextFloat() < shape.corruptChance;
      if (isCorrupt && isData && headerAt !== null && to > from) {
        corruptions += 1;
        const at = from + this.#random.nextBelow(to - from);
        bytes[at] = (bytes[at] ?? 0) ^ (1 << this.#random.nextBelow(8));
      }
      if (!isWhole || this.#random.nextFloat() >= shape.replayChance) continue;
      const old = this.#remembered[this.#random.nextBelow(Math.max(1, this.#remembered.length))];
      if (old === undefined) continue;
      replays += 1;
      parts.push(bytes.subarray(begin, to), old);
      begin = to;
    }
    parts.push(bytes.subarray(begin));
    return { bytes: parts.length === 1 ? bytes : Buffer.concat(parts), corruptions, replays };
  }

  #remember(chunk: Buffer, { headerAt, isData, isWhole, to }: FrameSpan): void {
    if (!isWhole || !isData || headerAt === null) return;
    if (to - headerAt > REMEMBERED_FRAME_SIZE_BYTES_MAX) return;
    this.#remembered.push(Buffer.from(chunk.subarray(headerAt, to)));
    if (this.#remembered.length > REMEMBERED_FRAME_COUNT_MAX) this.#remembered.shift();
  }
}

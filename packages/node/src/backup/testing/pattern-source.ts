/** Content of any size that takes no memory: one block of bytes by chance, over and over. */
import { SeededRandom } from '@holdfast/base';
import type { SinkSource } from '../sinks/sink.ts';

/** No power of two: the pieces that sinks read differ from each other. */
const BLOCK_SIZE_BYTES = 65_521;

export class PatternSource implements SinkSource {
  readonly sizeBytes: number;
  readonly #block: Uint8Array;
  /** Called before every read. */
  onRead: (offset: number, length: number) => void = () => {};

  constructor(seed: number, sizeBytes: number) {
    const random = new SeededRandom(seed);
    this.sizeBytes = sizeBytes;
    this.#block = Uint8Array.from({ length: BLOCK_SIZE_BYTES }, () => random.nextU32() & 0xff);
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    this.onRead(offset, length);
    return this.at(offset, length);
  }

  at(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const start = (offset + done) % BLOCK_SIZE_BYTES;
      const part = this.#block.subarray(start, Math.min(BLOCK_SIZE_BYTES, start + length - done));
      bytes.set(part, done);
      done += part.byteLength;
    }
    return bytes;
  }

  all(): Uint8Array {
    return this.at(0, this.sizeBytes);
  }
}

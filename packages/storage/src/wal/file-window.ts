/**
 * A stretch of a file in memory that moves forward with its reader: a log file can be looked at
 * from end to end without being held as a whole. Every byte is read once.
 */
import { assert } from '@holdfast/base';
import type { FileHandle } from '../fs.ts';

/** One read of the disk; whoever paces the reading is asked after each. */
const STEP_SIZE_BYTES = 256 * 1024;
/** Several batches as they are written under load; it grows for a single one that is longer. */
const WINDOW_SIZE_BYTES = 512 * 1024;

export class FileWindow {
  readonly #handle: Pick<FileHandle, 'read'>;
  /** No Buffer: what is cut out of that with `slice` would change under its holder. */
  #buffer: Uint8Array = new Uint8Array(0);
  /** Of the file, what the front of the buffer holds. */
  #start = 0;
  #end = 0;
  #sizeBytes: number;

  constructor(handle: Pick<FileHandle, 'read' | 'sizeBytes'>) {
    this.#handle = handle;
    this.#sizeBytes = handle.sizeBytes();
  }

  /** When it was opened, or less when it has turned out to be shorter. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Where in the file `bytes` begins. */
  get start(): number {
    return this.#start;
  }

  /** What is held; valid until the next `hold`. */
  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#end - this.#start);
  }

  /**
   * Afterwards `bytes` holds [from, to) as far as the file goes, and begins at `from` or before it.
   * `from` never goes back. Yields bytes read. @throws HoldfastError FILE_IO
   */
  *hold(from: number, to: number): Generator<number, undefined, undefined> {
    assert(from >= this.#start && from <= to, 'a window moves forward', { from, to });
    if (Math.min(to, this.#sizeBytes) <= this.#end) return;
    this.#moveTo(from, to - from);
    const target = Math.min(from + this.#buffer.byteLength, this.#sizeBytes);
    while (this.#end < target) {
      const at = this.#end - this.#start;
      const piece = this.#buffer.subarray(at, at + Math.min(STEP_SIZE_BYTES, target - this.#end));
      const count = this.#handle.read(piece, this.#end);
      this.#end += count;
      if (count < piece.byteLength) {
        this.#sizeBytes = this.#end;
        return;
      }
      yield count;
    }
  }

  /** Keeps what is held from `from` on, with room for `neededBytes`. */
  #moveTo(from: number, neededBytes: number): void {
    const kept = this.#buffer.subarray(
      Math.min(from, this.#end) - this.#start,
      this.#end - this.#start,
    );
    if (neededBytes > this.#buffer.byteLength) {
      const capacity = Math.max(neededBytes, 2 * this.#buffer.byteLength, WINDOW_SIZE_BYTES);
      const sizeBytes = Math.min(capacity, Math.max(1, this.#sizeBytes - from));
      this.#buffer = new Uint8Array(Buffer.allocUnsafeSlow(sizeBytes).buffer);
    }
    this.#buffer.set(kept, 0);
    this.#start = from;
    this.#end = from + kept.byteLength;
  }
}

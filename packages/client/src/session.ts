/**
 * Sequences of one session. Pure bookkeeping, no I/O.
 *
 * Invariants: S1 a sequence is given out once. S2 every sequence up to `ackedThrough` was finished:
 * its result was handed to the caller, or the caller was told that it is unknown and it is never
 * sent again; so the server may forget it. S3 at most `SESSION_WINDOW_MAX` sequences lie above
 * `ackedThrough`, so the server never has to refuse for a full window.
 */
import { assert } from '@holdfast/base';
import type { SessionStamp } from '@holdfast/protocol';
import { SESSION_WINDOW_MAX } from '@holdfast/protocol';

export class ClientSession {
  readonly id: number;
  #nextSequence = 1;
  #ackedThrough = 0;
  readonly #open = new Set<number>();

  constructor(id: number) {
    this.id = id;
  }

  get ackedThrough(): number {
    return this.#ackedThrough;
  }

  get isWindowFull(): boolean {
    return this.#nextSequence - this.#ackedThrough > SESSION_WINDOW_MAX;
  }

  /** The stamp of one request, the same for all its attempts. The window must not be full. */
  begin(): SessionStamp {
    assert(!this.isWindowFull, 'session window is full', { ackedThrough: this.#ackedThrough });
    const sequence = this.#nextSequence;
    this.#nextSequence += 1;
    this.#open.add(sequence);
    return { id: this.id, sequence, ackedThrough: this.#ackedThrough };
  }

  /** The request of `sequence` was answered to the caller and will never be sent again. */
  finish(sequence: number): void {
    assert(this.#open.delete(sequence), 'sequence was not open', { sequence });
    while (this.#ackedThrough + 1 < this.#nextSequence && !this.#open.has(this.#ackedThrough + 1)) {
      this.#ackedThrough += 1;
    }
  }
}

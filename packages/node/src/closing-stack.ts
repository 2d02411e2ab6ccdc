/**
 * What was opened, closed in the opposite order: a start that fails leaves no port, thread or lock
 * behind, and a stop is the mirror of the start. A close that fails does not stop the others.
 */
import { assert } from '@holdfast/base';

interface Closer {
  readonly name: string;
  readonly close: () => Promise<void>;
}

export class ClosingStack {
  readonly #closers: Closer[] = [];
  #closing: Promise<void> | null = null;

  /** Closed before everything pushed so far. */
  push(name: string, close: () => Promise<void>): void {
    this.#closers.push({ name, close });
  }

  /** Closed right after `other`. */
  pushBelow(other: string, name: string, close: () => Promise<void>): void {
    const position = this.#closers.findIndex((closer) => closer.name === other);
    assert(position >= 0, 'the other closer is known', { other });
    this.#closers.splice(position, 0, { name, close });
  }

  /** Closes everything once; rejects with the first failure after all were tried. */
  close(): Promise<void> {
    this.#closing ??= this.#closeAll();
    return this.#closing;
  }

  async #closeAll(): Promise<void> {
    const failures: unknown[] = [];
    for (const { close } of this.#closers.reverse()) {
      await close().catch((error: unknown) => failures.push(error));
    }
    if (failures.length > 0) throw failures[0];
  }
}

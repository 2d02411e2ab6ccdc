/** Compares keys in constant time, whatever their lengths. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { HoldfastError } from '@holdfast/base';

export class ApiKeyGuard {
  readonly #digest: Buffer | null;

  /** Null: every caller is welcome. */
  constructor(apiKey: string | null) {
    this.#digest = apiKey === null ? null : digestOf(apiKey);
  }

  get isRequired(): boolean {
    return this.#digest !== null;
  }

  accepts(presented: string | undefined): boolean {
    if (this.#digest === null) return true;
    return timingSafeEqual(digestOf(presented ?? ''), this.#digest);
  }

  /** @throws HoldfastError UNAUTHENTICATED */
  check(presented: string | undefined): void {
    if (this.accepts(presented)) return;
    const message =
      presented === undefined
        ? 'an API key is required: pass the key that the server was started with'
        : 'the API key is wrong: pass the key that the server was started with';
    throw new HoldfastError('UNAUTHENTICATED', message);
  }
}

const digestOf = (text: string): Buffer => createHash('sha256').update(text).digest();

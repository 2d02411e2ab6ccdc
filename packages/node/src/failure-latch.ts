/** Why a node stopped by itself: whoever asks hears it, sooner or later. */
import type { ErrorBody, HoldfastError } from '@holdfast/base';

/** The first failure of a node; told to listeners once, also to those that come later. */
export class FailureLatch {
  #error: ErrorBody | null = null;
  readonly #listeners: ((error: ErrorBody) => void)[] = [];

  readonly set = (error: HoldfastError): void => {
    if (this.#error !== null) return;
    this.#error = error.toBody();
    for (const listener of this.#listeners) listener(this.#error);
  };

  listen(listener: (error: ErrorBody) => void): void {
    if (this.#error === null) this.#listeners.push(listener);
    else listener(this.#error);
  }
}

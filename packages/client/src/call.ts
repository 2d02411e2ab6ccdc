/**
 * One logical request while it runs: a chain of waits that a deadline, an abort signal or the close
 * of the client can interrupt at any point. After an interruption nothing more is sent.
 */
import type { Clock, TimerHandle, Timers } from '@holdfast/base';
import { HoldfastError, toHoldfastError } from '@holdfast/base';

export interface Settle<Value> {
  resolve(value: Value): void;
  reject(error: HoldfastError): void;
}

export interface CallOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

export class Call {
  readonly deadlineMs: number;
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => this.#interruptByAbort();
  #timer: TimerHandle | null;
  #interruption: HoldfastError | null = null;
  #rejectCurrent: ((error: HoldfastError) => void) | null = null;

  constructor(clock: Clock, timers: Timers, options: CallOptions) {
    this.#clock = clock;
    this.#timers = timers;
    this.deadlineMs = clock.monotonicMs() + options.timeoutMs;
    this.#timer = timers.after(options.timeoutMs, () => {
      const message = `the request did not finish within ${options.timeoutMs} ms; retry it`;
      this.interrupt(new HoldfastError('REQUEST_TIMEOUT', message));
    });
    this.#signal = options.signal;
    if (this.#signal?.aborted === true) this.#interruptByAbort();
    else this.#signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  get isInterrupted(): boolean {
    return this.#interruption !== null;
  }

  get remainingMs(): number {
    return Math.max(0, this.deadlineMs - this.#clock.monotonicMs());
  }

  /** The first interruption wins. */
  interrupt(error: HoldfastError): void {
    if (this.#interruption !== null) return;
    this.#interruption = error;
    const reject = this.#rejectCurrent;
    this.#rejectCurrent = null;
    reject?.(error);
  }

  /**
   * Runs one wait. `start` returns how to undo it, which is called on interruption only.
   * One wait at a time.
   */
  wait<Value>(start: (settle: Settle<Value>) => () => void): Promise<Value> {
    return new Promise<Value>((resolve, reject) => {
      if (this.#interruption !== null) {
        reject(this.#interruption);
        return;
      }
      let isSettled = false;
      const done = (): boolean => {
        if (isSettled) return false;
        isSettled = true;
        this.#rejectCurrent = null;
        return true;
      };
      let cancel: (() => void) | null = null;
      this.#rejectCurrent = (error) => {
        isSettled = true;
        cancel?.();
        reject(error);
      };
      try {
        cancel = start({
          resolve: (value) => {
            if (done()) resolve(value);
          },
          reject: (error) => {
            if (done()) reject(error);
          },
        });
      } catch (thrown) {
        if (done()) reject(toHoldfastError(thrown));
      }
    });
  }

  /** Resolves after `delayMs`, or earlier when `subscribe` says so. */
  pause(delayMs: number, subscribe?: (wake: () => void) => () => void): Promise<void> {
    return this.wait<void>(({ resolve }) => {
      let unsubscribe: (() => void) | null = null;
      const timer = this.#timers.after(delayMs, () => {
        unsubscribe?.();
        resolve();
      });
      unsubscribe =
        subscribe?.(() => {
          timer.cancel();
          unsubscribe?.();
          resolve();
        }) ?? null;
      return () => {
        timer.cancel();
        unsubscribe?.();
      };
    });
  }

  /** Must be called when the request is over. */
  end(): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#signal?.removeEventListener('abort', this.#onAbort);
  }

  #interruptByAbort(): void {
    this.interrupt(
      new HoldfastError('ABORTED', 'the request was aborted by its signal', {
        cause: this.#signal?.reason,
      }),
    );
  }
}

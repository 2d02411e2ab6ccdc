/**
 * When a log that a disk refuses tries again. While the breaker is closed, a few times with growing
 * delays; when it is open, one probe per opening time, sooner when a full disk has room again.
 * Nothing is lost meanwhile and nothing acknowledged. Pure: the caller waits and tells the time.
 */
import type { CircuitState } from '@holdfast/base';
import { assert, CircuitBreaker } from '@holdfast/base';
import type { WriteErrorFacts, WriteErrorType } from '../write-errors.ts';

export interface WriteRetryOptions {
  /** Attempts of one write after the first, before the breaker opens whatever it counts. */
  readonly retryAttempts: number;
  /** Failures in a row that open the breaker; a full disk opens it at once. */
  readonly circuitBreakerThreshold: number;
  readonly circuitBreakerTimeoutMs: number;
}

export const WRITE_RETRY_DEFAULT: WriteRetryOptions = {
  retryAttempts: 5,
  circuitBreakerThreshold: 3,
  circuitBreakerTimeoutMs: 60_000,
};

const DELAY_MS_MIN = 10;
const DELAY_MS_MAX = 1_000;
/** An open breaker looks this often whether the disk has room again. */
const LOOK_INTERVAL_MS = 250;

/** How writing goes, for people and for who decides whether to lead. */
export interface WalWrites {
  readonly state: CircuitState;
  /** Of the failure that it is about; null while closed. */
  readonly type: WriteErrorType | null;
  /** Since the start. */
  readonly errors: { readonly [Type in WriteErrorType]: number };
  readonly retries: number;
  readonly opened: number;
}

export const WAL_WRITES_FINE: WalWrites = {
  state: 'closed',
  type: null,
  errors: { disk_full: 0, io_error: 0, permission: 0 },
  retries: 0,
  opened: 0,
};

export class WriteRetry {
  readonly #breaker: CircuitBreaker;
  readonly #errors: { [Type in WriteErrorType]: number } = { ...WAL_WRITES_FINE.errors };
  #type: WriteErrorType | null = null;
  #retries = 0;

  constructor(options: WriteRetryOptions) {
    const { retryAttempts, circuitBreakerThreshold, circuitBreakerTimeoutMs } = options;
    this.#breaker = new CircuitBreaker({
      failureCountMax: Math.min(circuitBreakerThreshold, retryAttempts + 1),
      openMs: circuitBreakerTimeoutMs,
    });
  }

  get writes(): WalWrites {
    return {
      ...{ state: this.#breaker.state, type: this.#type, errors: { ...this.#errors } },
      ...{ retries: this.#retries, opened: this.#breaker.openedCount },
    };
  }

  /** A write was refused and nothing of it synced; how long to wait before `mayTry` is asked. */
  refused({ type, isDecisive }: WriteErrorFacts, nowMs: number): number {
    this.#errors[type] += 1;
    this.#type = type;
    this.#breaker.failed(nowMs, isDecisive);
    return this.waitMs(nowMs);
  }

  /** Until the next look. */
  waitMs(nowMs: number): number {
    const { probeAtMs, failureCount } = this.#breaker;
    if (probeAtMs !== null) return Math.min(LOOK_INTERVAL_MS, Math.max(0, probeAtMs - nowMs));
    return Math.min(DELAY_MS_MAX, DELAY_MS_MIN * 2 ** Math.max(0, failureCount - 1));
  }

  /**
   * True: try the write again now. `hasRoom`: what a full disk lacked is there now.
   */
  mayTry(nowMs: number, hasRoom: boolean): boolean {
    assert(this.#type !== null, 'only a refused write is tried again');
    if (hasRoom && this.#type === 'disk_full') this.#breaker.allowProbe(nowMs);
    if (!this.#breaker.tryPass(nowMs)) return false;
    this.#retries += 1;
    return true;
  }

  /** Somebody says that the disk is well: an open breaker lets its probe through now. */
  allowProbe(nowMs: number): void {
    this.#breaker.allowProbe(nowMs);
  }

  succeeded(): void {
    this.#breaker.succeeded();
    this.#type = null;
  }
}

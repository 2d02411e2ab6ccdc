/**
 * How much may be under way on this node: counters with limits, and a typed refusal at each.
 * Every `admit` that answered null is paired with exactly one `release`.
 */
import { assert, HoldfastError } from '@holdfast/base';

export interface AdmissionLimits {
  readonly maxConnections: number;
  readonly inflightRequestCountMax: number;
  readonly inflightRequestCountMaxPerConnection: number;
}

/** Also what the sockets of the listener are bounded by. */
export const CONNECTION_GROWTH_MAX = 2;
const CONNECTION_GROWTH_STEP = 0.25;
/** Share of the configured connections at which a limit that has grown goes back. */
const CALM_SHARE = 0.75;
/** A request at the limit is worth repeating after about one commit under load. */
const RETRY_AFTER_MS = 50;

export class Admission {
  readonly #limits: AdmissionLimits;
  readonly #onExhausted: () => void;
  #connectionCountMax: number;
  #connectionCount = 0;
  #inflightCount = 0;
  #isDraining = false;

  /** `onExhausted`: a connection was refused because all are taken. */
  constructor(limits: AdmissionLimits, onExhausted: () => void = () => {}) {
    this.#limits = limits;
    this.#onExhausted = onExhausted;
    this.#connectionCountMax = limits.maxConnections;
  }

  /** As configured, or more while that was not enough. */
  get connectionCountMax(): number {
    return this.#connectionCountMax;
  }

  get hasRoom(): boolean {
    return this.#connectionCount < this.#connectionCountMax;
  }

  /** Grants a quarter more connections, up to twice as many as configured; the new limit. */
  grow(): number {
    const { maxConnections } = this.#limits;
    const more = Math.ceil(maxConnections * CONNECTION_GROWTH_STEP);
    const limit = Math.min(maxConnections * CONNECTION_GROWTH_MAX, this.#connectionCountMax + more);
    this.#connectionCountMax = limit;
    return limit;
  }

  get connectionCount(): number {
    return this.#connectionCount;
  }

  get inflightCount(): number {
    return this.#inflightCount;
  }

  /** From now on every new connection and request is refused SHUTTING_DOWN. */
  drain(): void {
    this.#isDraining = true;
  }

  /** Null: counted in. */
  admitConnection(): HoldfastError | null {
    if (this.#isDraining) return shuttingDown();
    if (!this.hasRoom) {
      const maxConnections = this.#connectionCountMax;
      const message = `all ${maxConnections} connections are taken; raise maxConnections`;
      this.#onExhausted();
      return new HoldfastError('TOO_MANY_CONNECTIONS', message, {
        details: { maxConnections, retryAfterMs: 1_000 },
      });
    }
    this.#connectionCount += 1;
    return null;
  }

  releaseConnection(): void {
    assert(this.#connectionCount > 0, 'more connections released than admitted');
    this.#connectionCount -= 1;
    const { maxConnections } = this.#limits;
    const isCalm = this.#connectionCount <= maxConnections * CALM_SHARE;
    if (isCalm) this.#connectionCountMax = maxConnections;
  }

  /** Null: counted in. `inflightOnConnection` is the count before this request. */
  admitRequest(inflightOnConnection: number): HoldfastError | null {
    if (this.#isDraining) return shuttingDown();
    if (inflightOnConnection >= this.#limits.inflightRequestCountMaxPerConnection)
      return overloaded(
        'inflightRequestCountMaxPerConnection',
        this.#limits.inflightRequestCountMaxPerConnection,
      );
    if (this.#inflightCount >= this.#limits.inflightRequestCountMax)
      return overloaded('inflightRequestCountMax', this.#limits.inflightRequestCountMax);
    this.#inflightCount += 1;
    return null;
  }

  releaseRequest(): void {
    assert(this.#inflightCount > 0, 'more requests released than admitted');
    this.#inflightCount -= 1;
  }
}

function shuttingDown(): HoldfastError {
  return new HoldfastError('SHUTTING_DOWN', 'this node is shutting down; use another node');
}

function overloaded(limit: string, value: number): HoldfastError {
  return new HoldfastError(
    'OVERLOADED',
    `${value} requests are under way (${limit}); retry in ${RETRY_AFTER_MS} ms`,
    { details: { limit, value, retryAfterMs: RETRY_AFTER_MS } },
  );
}

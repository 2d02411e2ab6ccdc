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

/** A request at the limit is worth repeating after about one commit under load. */
const RETRY_AFTER_MS = 50;

export class Admission {
  readonly #limits: AdmissionLimits;
  #connectionCount = 0;
  #inflightCount = 0;
  #isDraining = false;

  constructor(limits: AdmissionLimits) {
    this.#limits = limits;
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
    const { maxConnections } = this.#limits;
    if (this.#connectionCount >= maxConnections) {
      const message = `all ${maxConnections} connections are taken; raise maxConnections`;
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

/**
 * One request: deadline, execution, one answer, one count. An error that is not a HoldfastError is
 * a bug: it is answered INTERNAL, logged with its stack, and the process goes on, because a request
 * holds no state of the replica.
 */
import type { Clock, Logger } from '@holdfast/base';
import { HoldfastError, toHoldfastError } from '@holdfast/base';
import { REQUEST_TIMEOUT_MS_DEFAULT, type Request, type ResultBody } from '@holdfast/protocol';
import type { NodeService } from '../service-api.ts';
import type { Metrics } from './metrics.ts';

/**
 * The service watches deadlines itself. This is how much later the server answers in its place, so
 * that a stuck request cannot hold a client for ever.
 */
export const DEADLINE_GRACE_MS = 250;

export type Outcome =
  | { readonly ok: true; readonly result: ResultBody }
  | { readonly ok: false; readonly error: HoldfastError };

export interface RequestHandlerOptions {
  readonly service: NodeService;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export class RequestHandler {
  readonly #service: NodeService;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #metrics: Metrics;

  constructor({ service, clock, logger, metrics }: RequestHandlerOptions) {
    this.#service = service;
    this.#clock = clock;
    this.#logger = logger;
    this.#metrics = metrics;
  }

  deadlineMs(request: Request): number {
    return this.#clock.monotonicMs() + (request.timeoutMs ?? REQUEST_TIMEOUT_MS_DEFAULT);
  }

  /** Calls `done` exactly once, never throws. */
  execute(request: Request, deadlineMs: number, done: (outcome: Outcome) => void): void {
    const startMs = this.#clock.monotonicMs();
    const finish = (outcome: Outcome): void => {
      const code = outcome.ok ? 'OK' : outcome.error.code;
      this.#metrics.requestDone(request.kind, code, this.#clock.monotonicMs() - startMs);
      done(outcome);
    };
    this.#service.execute(request, { deadlineMs }).then(
      (result) => finish({ ok: true, result }),
      (thrown: unknown) => finish({ ok: false, error: this.#typed(thrown, request.kind) }),
    );
  }

  refused(kind: string, error: HoldfastError): void {
    this.#metrics.requestDone(kind, error.code, 0);
  }

  #typed(thrown: unknown, kind: string): HoldfastError {
    if (thrown instanceof HoldfastError) return thrown;
    this.#logger.error({ err: thrown, kind }, 'a request failed with an unexpected error');
    const { message } = toHoldfastError(thrown);
    return new HoldfastError('INTERNAL', `internal error: ${message}`, { cause: thrown });
  }
}

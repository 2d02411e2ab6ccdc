/**
 * One call of a store, tried again within bounds: exponential backoff with jitter, a limit for each
 * attempt, for their number and for all of them together. Time and chance come from outside.
 *
 * Invariant: once an attempt may have had an effect, every later one is told so. A conditional put
 * that then finds an object under its key must find out whose it is (`putOnce`).
 */
import type { Clock, Random, Timers } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import { waitUnless } from '../../wait-unless.ts';
import type { SinkPutOutcome } from './sink.ts';
import type { SinkFailure } from './sink-failure.ts';
import { aborted, sinkError } from './sink-failure.ts';

export interface RetryPolicy {
  readonly attemptCountMax: number;
  readonly delayMsMin: number;
  readonly delayMsMax: number;
  /** Of one attempt without content; content adds to it at the lowest rate below. */
  readonly attemptMsMax: number;
  /** No attempt begins later than this; content adds to it too. */
  readonly totalMsMax: number;
}

/** A store that is started again answers within seconds; a longer pause is the caller's affair. */
export const RETRY_POLICY_DEFAULT: RetryPolicy = {
  attemptCountMax: 8,
  delayMsMin: 100,
  delayMsMax: 10_000,
  attemptMsMax: 30_000,
  totalMsMax: 120_000,
};

/** A link slower than this (64 KiB/s) counts as broken. */
const TRANSFER_BYTES_PER_MS_MIN = 64;

/** What every sink gets from its host. */
export interface SinkEnvironment {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly retryPolicy: RetryPolicy;
}

export interface SinkAttempt {
  /** Aborted by the caller, or because the attempt took too long: the attempt must end then. */
  readonly signal: AbortSignal;
  /** An attempt before this one may have had its effect. */
  readonly mayHaveHappened: boolean;
}

export interface RetriedCall<T> {
  /** For messages, such as `put of a/b to s3://bucket`. */
  readonly what: string;
  /** Bytes that one attempt carries. */
  readonly sizeBytes?: number;
  readonly signal?: AbortSignal | undefined;
  /** Null for what is no failure of the store: it is thrown on. */
  readonly classify: (error: unknown) => SinkFailure | null;
  readonly run: (attempt: SinkAttempt) => Promise<T>;
}

/**
 * @throws HoldfastError SINK_UNAVAILABLE, SINK_REFUSED, SINK_FULL, ABORTED, and whatever `run`
 *   throws that is a HoldfastError already
 */
export async function withRetry<T>(environment: SinkEnvironment, call: RetriedCall<T>): Promise<T> {
  const { clock, retryPolicy } = environment;
  const transferMs = (call.sizeBytes ?? 0) / TRANSFER_BYTES_PER_MS_MIN;
  const deadlineMs = clock.monotonicMs() + retryPolicy.totalMsMax + transferMs;
  let mayHaveHappened = false;
  for (let number = 1; ; number++) {
    if (call.signal?.aborted) throw aborted(call.what);
    const leftMs = deadlineMs - clock.monotonicMs();
    const limit = startLimit(
      environment,
      call,
      Math.min(retryPolicy.attemptMsMax + transferMs, leftMs),
    );
    let thrown: unknown;
    try {
      return await call.run({ signal: limit.signal, mayHaveHappened });
    } catch (error) {
      thrown = error;
    } finally {
      limit.end();
    }
    const failure = failureOf(call, thrown, limit.isOver());
    mayHaveHappened ||= !failure.isDefinite;
    const delayMs = retryDelayMs(environment, number);
    const isLast =
      !failure.isTransient ||
      number >= retryPolicy.attemptCountMax ||
      clock.monotonicMs() + delayMs >= deadlineMs;
    if (isLast) throw sinkError(attempted(call.what, number), failure, thrown);
    await waitFor(environment.timers, delayMs, call);
  }
}

const attempted = (what: string, count: number): string =>
  count === 1 ? what : `${what} (${count} attempts)`;

function failureOf<T>(call: RetriedCall<T>, thrown: unknown, isTimeOver: boolean): SinkFailure {
  // what happened to the request is unknown in both cases; the caller's wish counts first
  if (call.signal?.aborted) throw aborted(call.what);
  if (thrown instanceof HoldfastError && thrown.code !== 'ABORTED') throw thrown;
  if (isTimeOver)
    return {
      ...{ code: 'SINK_UNAVAILABLE', isTransient: true, isDefinite: false },
      reason: 'no answer in time; check the network and the load of the store',
    };
  const failure = call.classify(thrown);
  if (failure === null) throw thrown;
  return failure;
}

/** Before the attempt after attempt `number`: half of it fixed, half of it by chance. */
export function retryDelayMs(environment: SinkEnvironment, number: number): number {
  const { delayMsMin, delayMsMax } = environment.retryPolicy;
  const fullMs = Math.min(delayMsMax, delayMsMin * 2 ** Math.min(number - 1, 30));
  return fullMs / 2 + (fullMs / 2) * environment.random.nextFloat();
}

interface AttemptLimit {
  readonly signal: AbortSignal;
  readonly isOver: () => boolean;
  readonly end: () => void;
}

function startLimit<T>(
  environment: SinkEnvironment,
  call: RetriedCall<T>,
  limitMs: number,
): AttemptLimit {
  const controller = new AbortController();
  let isOver = false;
  const timer = environment.timers.after(Math.max(0, limitMs), () => {
    isOver = true;
    controller.abort();
  });
  const onAbort = (): void => controller.abort();
  call.signal?.addEventListener('abort', onAbort, { once: true });
  return {
    signal: controller.signal,
    isOver: () => isOver,
    end: () => {
      timer.cancel();
      call.signal?.removeEventListener('abort', onAbort);
    },
  };
}

/** @throws HoldfastError ABORTED as soon as the signal says so */
export function waitFor(
  timers: Timers,
  delayMs: number,
  call: { readonly what: string; readonly signal?: AbortSignal | undefined },
): Promise<void> {
  return waitUnless(call.signal, delayMs, timers, () => aborted(call.what));
}

export interface ConditionalPut extends RetriedCall<SinkPutOutcome> {
  /** Whether the object under the key now was stored by this very call. */
  readonly isOurs: (signal: AbortSignal) => Promise<boolean>;
}

/**
 * A put that must not replace anything. An answer that was lost leaves our own object in the store,
 * and the next attempt then hears `exists`: the mark of the writer beside the digest tells. Equal
 * bytes alone would not do, because two writers of the same bytes would both win.
 */
export function putOnce(
  environment: SinkEnvironment,
  put: ConditionalPut,
): Promise<SinkPutOutcome> {
  return withRetry(environment, {
    ...put,
    run: async (attempt) => {
      const outcome = await put.run(attempt);
      if (outcome === 'stored' || !attempt.mayHaveHappened) return outcome;
      return (await put.isOurs(attempt.signal)) ? 'stored' : 'exists';
    },
  });
}

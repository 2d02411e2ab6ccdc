/**
 * A closed loop: `inFlight` workers, each of which waits for its answer before it asks again. Only
 * answered calls are counted, so a system that falls behind shows a lower rate, never a better one.
 */

export interface ClosedLoopOptions {
  readonly inFlight: number;
  readonly durationMs: number;
  /** Answers of this first stretch are not counted. */
  readonly warmUpMs?: number;
  /** For tests; default: the monotonic clock of the process. */
  readonly nowMs?: () => number;
}

export interface ClosedLoopResult {
  /** Answers per second over the counted stretch. */
  readonly rate: number;
  readonly answeredCount: number;
  readonly latenciesMs: readonly number[];
}

/** @throws whatever `call` throws first; the other workers then stop after their present call */
export async function runClosedLoop(
  options: ClosedLoopOptions,
  call: (callIndex: number, workerIndex: number) => Promise<void>,
): Promise<ClosedLoopResult> {
  const nowMs = options.nowMs ?? (() => performance.now());
  const startMs = nowMs();
  const countFromMs = startMs + (options.warmUpMs ?? 0);
  const endMs = countFromMs + options.durationMs;
  const latenciesMs: number[] = [];
  let nextCall = 0;
  let hasFailed = false;
  const work = async (workerIndex: number): Promise<void> => {
    while (!hasFailed && nowMs() < endMs) {
      const askedMs = nowMs();
      try {
        await call(nextCall++, workerIndex);
      } catch (thrown) {
        hasFailed = true;
        throw thrown;
      }
      const answeredMs = nowMs();
      // An answer after the end belongs to no stretch: it is left out like the warm-up.
      if (answeredMs >= countFromMs && answeredMs <= endMs) latenciesMs.push(answeredMs - askedMs);
    }
  };
  await Promise.all(Array.from({ length: options.inFlight }, (_unused, i) => work(i)));
  return {
    rate: latenciesMs.length / (options.durationMs / 1_000),
    answeredCount: latenciesMs.length,
    latenciesMs,
  };
}

/** As runClosedLoop, for a number of calls. @throws whatever `call` throws first */
export async function runClosedLoopCount(
  options: { readonly inFlight: number; readonly count: number },
  call: (callIndex: number) => Promise<void>,
): Promise<void> {
  let nextCall = 0;
  let hasFailed = false;
  const work = async (): Promise<void> => {
    while (!hasFailed && nextCall < options.count) {
      const callIndex = nextCall;
      nextCall += 1;
      try {
        await call(callIndex);
      } catch (thrown) {
        hasFailed = true;
        throw thrown;
      }
    }
  };
  await Promise.all(Array.from({ length: options.inFlight }, work));
}

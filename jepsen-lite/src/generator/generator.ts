/**
 * Generators are values: `next` gives an operation, the moment at which it is to begin, and the
 * generator of the rest, and changes nothing. The same generator gives the same operations at the
 * same moments, so a seed repeats the load that is offered (not how the cluster takes it).
 *
 * The load is open: the moments do not depend on how fast the cluster answers. Who runs them late,
 * because all workers wait, runs them at once and counts latency from the moment intended.
 */
import { deriveSeed, type Random, SeededRandom } from '@holdfast/base';
import type { Operation } from '../history.ts';

export interface GeneratorStep {
  readonly operation: Operation;
  /** Since the start of the run. Never earlier than the step before. */
  readonly atMs: number;
  readonly rest: Generator;
}

export interface Generator {
  /** Null when there is nothing more to do. */
  next(): GeneratorStep | null;
}

export interface LoadOptions {
  readonly seed: number;
  /** Offered, over all workers. */
  readonly ratePerSecond: number;
  /** So many operations begin at one moment, then the same number later; default 1. */
  readonly burstCount?: number;
}

/**
 * For ever: the operation at each position, from 0, drawn by randomness of that position alone, so
 * that it does not matter who asks when.
 */
export function steadyLoad(
  options: LoadOptions,
  operationAt: (position: number, random: Random) => Operation,
  position = 0,
): Generator {
  const { seed, ratePerSecond, burstCount = 1 } = options;
  return {
    next: () => ({
      operation: operationAt(position, new SeededRandom(deriveSeed(seed, `at-${position}`))),
      atMs: (Math.floor(position / burstCount) * burstCount * 1_000) / ratePerSecond,
      rest: steadyLoad(options, operationAt, position + 1),
    }),
  };
}

/** The first `count` operations of `generator`. */
export function limited(count: number, generator: Generator): Generator {
  return {
    next: () => {
      if (count <= 0) return null;
      const step = generator.next();
      return step === null ? null : { ...step, rest: limited(count - 1, step.rest) };
    },
  };
}

/** The next operations, as they would begin; for tests and plans. */
export function take(generator: Generator, count: number): readonly GeneratorStep[] {
  const steps: GeneratorStep[] = [];
  for (let step = generator.next(); step !== null && steps.length < count; step = step.rest.next())
    steps.push(step);
  return steps;
}

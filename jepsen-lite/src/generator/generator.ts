/**
 * Generators are values: `next` gives an operation and the generator of the rest, and changes
 * nothing. The same generator gives the same operations, so a seed is enough to repeat a workload
 * (not its timing, which is the machine's).
 */
import { deriveSeed, SeededRandom } from '@holdfast/base';
import type { Operation } from '../history.ts';

export interface Generator {
  /** Null when there is nothing more to do. */
  next(): { readonly operation: Operation; readonly rest: Generator } | null;
}

/** Adds `first`, `first + 1`, ... for ever. */
export function uniqueAdds(first = 1): Generator {
  return {
    next: () => ({ operation: { kind: 'add', element: first }, rest: uniqueAdds(first + 1) }),
  };
}

export interface RegisterMixOptions {
  readonly seed: number;
  /** After so many operations the next key begins: the checker's work grows steeply per key. */
  readonly operationsPerKey: number;
}

/** Few values, so that compare-and-set often succeeds. */
const REGISTER_VALUE_COUNT = 5;
/** Divisible by every likely number of nodes. */
const NODE_PICK_MAX = 60;
const READ_SHARE = 0.5;
const WRITE_SHARE = 0.3;

/** Reads, writes and compare-and-sets; all workers meet on one key at a time. */
export function registerMix(options: RegisterMixOptions, position = 0): Generator {
  return {
    next: () => ({
      operation: registerOperationAt(options, position),
      rest: registerMix(options, position + 1),
    }),
  };
}

/** The first `count` operations of `generator`. */
export function limited(count: number, generator: Generator): Generator {
  return {
    next: () => {
      if (count <= 0) return null;
      const step = generator.next();
      return step === null
        ? null
        : { operation: step.operation, rest: limited(count - 1, step.rest) };
    },
  };
}

/** Each position has randomness of its own, so that it does not matter who asks when. */
function registerOperationAt(options: RegisterMixOptions, position: number): Operation {
  const random = new SeededRandom(deriveSeed(options.seed, `register-${position}`));
  const key = `register-${Math.floor(position / options.operationsPerKey) + 1}`;
  const dice = random.nextFloat();
  const value = random.nextBelow(REGISTER_VALUE_COUNT);
  if (dice < READ_SHARE) {
    // Half of the reads go to a node of their own, which may be a follower.
    const nodePick = random.nextFloat() < 0.5 ? random.nextBelow(NODE_PICK_MAX) : null;
    return { kind: 'read', key, value: undefined, nodePick };
  }
  if (dice < READ_SHARE + WRITE_SHARE) return { kind: 'write', key, value };
  return {
    kind: 'compareAndSet',
    key,
    expected: random.nextBelow(REGISTER_VALUE_COUNT),
    value,
  };
}

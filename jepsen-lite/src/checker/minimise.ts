/**
 * The smallest part of a register's history that no order explains either, for a person to read.
 *
 * A part must be wrong for the same reason, not because something it needs was cut away. Kept is:
 * - a history that is cut off at a moment: what was under way then is unfinished;
 * - a history without some reads; or without a write whose value nobody left in it saw;
 * - a compare-and-set weakened to a write: it then says less about what was there before.
 * Whenever the whole has an order, so has each of these; so a part without one condemns the whole.
 *
 * First the moment is found (by halving), then operations are taken out in ever smaller chunks
 * (delta debugging: Zeller & Hildebrandt 2002). Bounded: what is left at the limit is still wrong.
 */
import {
  observedValueOf,
  type RegisterOperation,
  type RegisterValue,
  writtenValueOf,
} from './register-model.ts';
import { searchOrder } from './register-search.ts';

/** Searches of one minimisation; each is as long as the part that is left. */
const TEST_COUNT_MAX = 2_000;
/** A part that needs longer is taken for explainable, so it is not chosen. */
const STEP_COUNT_MAX = 20_000;

/** `operations` must have no order. The answer has none either, and loses it with any operation. */
export function minimised(operations: readonly RegisterOperation[]): readonly RegisterOperation[] {
  const cut = cutOff(operations);
  const writers = writersOf(cut);
  const budget = { testsLeft: TEST_COUNT_MAX };
  let chosen = cut;
  for (let chunkCount = 2; chosen.length > 1 && budget.testsLeft > 0; ) {
    const chunkSize = Math.ceil(chosen.length / chunkCount);
    const smaller = withoutOneChunk(chosen, chunkSize, writers, budget);
    if (smaller !== null) {
      chosen = smaller;
      chunkCount = Math.max(2, chunkCount - 1);
    } else if (chunkSize === 1) break;
    else chunkCount = Math.min(chosen.length, chunkCount * 2);
  }
  return weakened(withoutSingles(completed(chosen, writers), writers, budget), writers);
}

/** Takes out one by one what is still there, causes included: of two reasons the shorter stays. */
function withoutSingles(
  complete: readonly RegisterOperation[],
  writers: Writers,
  budget: { testsLeft: number },
): readonly RegisterOperation[] {
  let result = complete;
  for (let position = 0; position < result.length && budget.testsLeft > 0; position++) {
    const rest = completed(result.toSpliced(position, 1), writers);
    if (rest.length >= result.length) continue;
    budget.testsLeft -= 1;
    if (!isUnexplained(rest)) continue;
    result = rest;
    position = -1;
  }
  return result;
}

/** The shortest beginning of the history without an order: more of it never gains one. */
function cutOff(operations: readonly RegisterOperation[]): readonly RegisterOperation[] {
  const moments = operations
    .map((one) => one.finishedAt)
    .filter((at) => at !== Infinity)
    .sort((left, right) => left - right);
  let first = 0;
  let last = moments.length - 1;
  while (first < last) {
    const middle = (first + last) >>> 1;
    if (isUnexplained(beginningOf(operations, moments[middle]!))) last = middle;
    else first = middle + 1;
  }
  const beginning = beginningOf(operations, moments[first] ?? Infinity);
  // A search that gave up on the way may have led astray.
  return isUnexplained(beginning) ? beginning : operations;
}

function beginningOf(
  operations: readonly RegisterOperation[],
  untilAt: number,
): readonly RegisterOperation[] {
  return operations
    .filter(({ invokedAt }) => invokedAt <= untilAt)
    .map((one) => (one.finishedAt <= untilAt ? one : { ...one, finishedAt: Infinity }))
    .filter(({ call, finishedAt }) => call.kind !== 'read' || finishedAt !== Infinity);
}

function withoutOneChunk(
  chosen: readonly RegisterOperation[],
  chunkSize: number,
  writers: Writers,
  budget: { testsLeft: number },
): readonly RegisterOperation[] | null {
  for (let start = 0; start < chosen.length && budget.testsLeft > 0; start += chunkSize) {
    const rest = [...chosen.slice(0, start), ...chosen.slice(start + chunkSize)];
    budget.testsLeft -= 1;
    if (isUnexplained(completed(rest, writers))) return rest;
  }
  return null;
}

type Writers = ReadonlyMap<RegisterValue, readonly RegisterOperation[]>;

function writersOf(operations: readonly RegisterOperation[]): Writers {
  const writers = new Map<RegisterValue, RegisterOperation[]>();
  for (const operation of operations) {
    const value = writtenValueOf(operation.call);
    if (value === undefined) continue;
    const group = writers.get(value) ?? [];
    group.push(operation);
    writers.set(value, group);
  }
  return writers;
}

/** With every write of a value that a chosen operation saw: an answer must have a cause. */
function completed(
  chosen: readonly RegisterOperation[],
  writers: Writers,
): readonly RegisterOperation[] {
  const present = new Set(chosen.map(placeOf));
  const added: RegisterOperation[] = [];
  for (const { call } of chosen) {
    const observed = observedValueOf(call);
    if (observed === undefined) continue;
    for (const writer of writers.get(observed) ?? []) {
      if (present.has(placeOf(writer))) continue;
      present.add(placeOf(writer));
      added.push(asWrite(writer));
    }
  }
  return [...chosen, ...added].sort((left, right) => left.invokedAt - right.invokedAt);
}

/** Turns what need not be a compare-and-set into a write. */
function weakened(
  chosen: readonly RegisterOperation[],
  writers: Writers,
): readonly RegisterOperation[] {
  let result = chosen;
  for (const [position, operation] of chosen.entries()) {
    if (operation.call.kind !== 'compareAndSet') continue;
    const weaker = result.with(position, asWrite(operation));
    if (isUnexplained(completed(weaker, writers))) result = weaker;
  }
  return completed(result, writers);
}

function asWrite(operation: RegisterOperation): RegisterOperation {
  const { call } = operation;
  if (call.kind !== 'compareAndSet') return operation;
  return { ...operation, call: { kind: 'write', value: call.value } };
}

/** Cutting off makes copies; the position of its begin names an operation whatever its copy. */
const placeOf = ({ invokedAt }: RegisterOperation): number => invokedAt;

const isUnexplained = (operations: readonly RegisterOperation[]): boolean =>
  searchOrder(operations, STEP_COUNT_MAX) === 'not linearizable';

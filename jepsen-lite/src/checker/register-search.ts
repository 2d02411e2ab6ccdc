/**
 * Looks for one order of the operations of a register that explains every answer: Wing & Gong's
 * search with Lowe's memory of visited configurations ("Testing for linearizability", 2017). Walk
 * the events in time order; a call may be put next if the model accepts its answer; a return whose
 * call was not put yet means backing up. A configuration is never entered twice.
 *
 * What keeps it fast, each without loss:
 * - a read that fits is put at once and never taken back: it changes nothing, so whatever order
 *   explains the rest explains it with the read first;
 * - a value that only one operation writes is not left while someone has still to see it;
 * - a write whose value nobody saw is put together with the next write, right before it: there it
 *   changes nothing;
 * - values that nobody will see any more are one value for the memory;
 * - an unfinished write whose value nobody saw is left out: nobody can tell that it happened;
 * - an unfinished write of a value that only it writes begins no earlier than the first operation
 *   that saw the value: between the two only such operations can come.
 */
import { ConfigurationSet } from './configuration-set.ts';
import {
  observedValueOf,
  type RegisterOperation,
  type RegisterValue,
  writtenValueOf,
} from './register-model.ts';

export type SearchOutcome = 'linearizable' | 'not linearizable' | 'gave up';

/** Steps before the search gives up: some seconds of one core. */
export const STEP_COUNT_MAX = 5_000_000;

/** Judges one register that starts as null. Reads whose answer is not known must be left out. */
export function searchOrder(
  operations: readonly RegisterOperation[],
  stepCountMax: number,
): SearchOutcome {
  return new Search(narrowed(operations)).run(stepCountMax);
}

/** What nobody could notice is gone, and what is left begins as late as it can. */
function narrowed(operations: readonly RegisterOperation[]): readonly RegisterOperation[] {
  const observers = observersOf(operations);
  const kept = new Set(operations);
  // Leaving out a compare-and-set takes an observer away: at most one round per operation.
  for (let isShrinking = true; isShrinking; ) {
    isShrinking = false;
    for (const operation of kept) {
      if (operation.finishedAt !== Infinity) continue;
      const value = writtenValueOf(operation.call);
      if (value === undefined || (observers.get(value)?.size ?? 0) > 0) continue;
      kept.delete(operation);
      const observed = observedValueOf(operation.call);
      if (observed !== undefined) observers.get(observed)?.delete(operation);
      isShrinking = true;
    }
  }
  const writerCounts = new Map<RegisterValue, number>();
  for (const { call } of operations) {
    const value = writtenValueOf(call);
    if (value !== undefined) writerCounts.set(value, (writerCounts.get(value) ?? 0) + 1);
  }
  return [...kept].map((operation) => {
    const value = writtenValueOf(operation.call);
    const isLate = operation.finishedAt === Infinity && typeof value === 'number';
    if (!isLate || writerCounts.get(value) !== 1) return operation;
    let firstAt = Infinity;
    for (const { invokedAt } of observers.get(value) ?? []) firstAt = Math.min(firstAt, invokedAt);
    return { ...operation, invokedAt: Math.max(operation.invokedAt, firstAt) };
  });
}

function observersOf(
  operations: readonly RegisterOperation[],
): Map<RegisterValue, Set<RegisterOperation>> {
  const observers = new Map<RegisterValue, Set<RegisterOperation>>();
  for (const operation of operations) {
    const value = observedValueOf(operation.call);
    if (value === undefined) continue;
    const group = observers.get(value) ?? new Set();
    group.add(operation);
    observers.set(value, group);
  }
  return observers;
}

const HEAD = 0;
const READ = 0;
const WRITE = 1;
const COMPARE_AND_SET = 2;
const KIND_NUMBERS = { read: READ, write: WRITE, compareAndSet: COMPARE_AND_SET } as const;
/** Numbers of values. `UNSEEN` stands for every value that nobody has still to see. */
const NULL_VALUE = 0;
const UNSEEN = 1;

/** Flat arrays: the search of a good history is a few steps per operation. */
class Search {
  readonly #configurations: ConfigurationSet;
  /** By operation; values as numbers. */
  readonly #kinds: Uint8Array;
  /** -1: it sees nothing. */
  readonly #observed: Int32Array;
  readonly #written: Int32Array;
  readonly #calls: Int32Array;
  /** 0: it has none. */
  readonly #returns: Int32Array;
  /** By value: 1 when one operation writes it, so that it never comes back. */
  readonly #isSole: Uint8Array;
  /** By value: finished operations, and all, that see it and are not put yet. */
  readonly #needed: Int32Array;
  readonly #wanted: Int32Array;
  /** By mark (a call or a return, from 1 in time order): a doubly linked list behind `HEAD`. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  /** Operation of a call; -1 - operation of a return. */
  readonly #marks: Int32Array;
  /** Operations put, the value before each, and how many were put along with it, before it. */
  readonly #stack: Int32Array;
  readonly #stackValues: Int32Array;
  readonly #stackGroups: Int32Array;
  #depth = 0;
  #value = NULL_VALUE;
  #remainingCount = 0;

  constructor(operations: readonly RegisterOperation[]) {
    const count = operations.length;
    this.#configurations = new ConfigurationSet(count);
    this.#kinds = Uint8Array.from(operations, ({ call }) => KIND_NUMBERS[call.kind]);
    this.#observed = new Int32Array(count).fill(-1);
    this.#written = new Int32Array(count).fill(-1);
    this.#stack = new Int32Array(count);
    this.#stackValues = new Int32Array(count);
    this.#stackGroups = new Int32Array(count);
    const numbers = numberValues(operations);
    this.#isSole = new Uint8Array(numbers.size + 2);
    this.#needed = new Int32Array(numbers.size + 2);
    this.#wanted = new Int32Array(numbers.size + 2);
    const writerCounts = new Int32Array(numbers.size + 2);
    operations.forEach(({ call, finishedAt }, id) => {
      const [observed, written] = [observedValueOf(call), writtenValueOf(call)];
      if (observed !== undefined) {
        const number = numbers.get(observed)!;
        this.#observed[id] = number;
        this.#wanted[number]! += 1;
        if (finishedAt !== Infinity) this.#needed[number]! += 1;
      }
      if (written !== undefined) {
        const number = numbers.get(written) ?? UNSEEN;
        this.#written[id] = number;
        writerCounts[number]! += 1;
      }
      if (finishedAt !== Infinity) this.#remainingCount += 1;
    });
    writerCounts.forEach((writerCount, number) => {
      this.#isSole[number] = number > UNSEEN && writerCount === 1 ? 1 : 0;
    });
    const marks = sortedMarks(operations);
    this.#calls = new Int32Array(count);
    this.#returns = new Int32Array(count);
    this.#marks = new Int32Array(marks.length + 1);
    this.#next = new Int32Array(marks.length + 1);
    this.#previous = new Int32Array(marks.length + 1);
    this.#link(marks);
  }

  #link(marks: readonly Mark[]): void {
    marks.forEach(({ id, isCall }, position) => {
      const mark = position + 1;
      this.#marks[mark] = isCall ? id : -1 - id;
      if (isCall) this.#calls[id] = mark;
      else this.#returns[id] = mark;
      this.#next[mark - 1] = mark;
      this.#previous[mark] = mark - 1;
    });
    this.#next[marks.length] = HEAD;
    this.#previous[HEAD] = marks.length;
  }

  run(stepCountMax: number): SearchOutcome {
    let mark = this.#next[HEAD]!;
    for (let step = 0; this.#remainingCount > 0; step++) {
      if (step >= stepCountMax || this.#configurations.isFull) return 'gave up';
      const id = mark === HEAD ? -1 : this.#marks[mark]!;
      if (id >= 0) {
        const isPut = this.#fits(id) && this.#put(id);
        if (isPut) {
          mark = this.#next[HEAD]!;
          continue;
        }
        const isHopeless = this.#kinds[id] === READ && this.#observed[id] === this.#value;
        if (!isHopeless) {
          mark = this.#next[mark]!;
          continue;
        }
      }
      // A return, or a read that fits and led nowhere before: back to the last choice.
      const last = this.#backUp();
      if (last === -1) return 'not linearizable';
      mark = this.#next[this.#calls[last]!]!;
    }
    return 'linearizable';
  }

  #fits(id: number): boolean {
    const [kind, value] = [this.#kinds[id], this.#value];
    if (kind === READ) return this.#observed[id] === value;
    if (kind === COMPARE_AND_SET && this.#observed[id] !== value) return false;
    if (this.#isSole[value] === 0) return true;
    const isLastToSee = kind === COMPARE_AND_SET && this.#returns[id] !== 0;
    return this.#needed[value]! <= (isLastToSee ? 1 : 0);
  }

  /** Puts the operation next; false, and nothing is changed, when that was tried before. */
  #put(id: number): boolean {
    const groupCount = this.#kinds[id] === WRITE ? this.#putUnseen(id) : 0;
    this.#push(id, groupCount);
    if (this.#kinds[id] !== READ) this.#value = this.#written[id]!;
    if (this.#isSole[this.#value] === 1 && this.#wanted[this.#value] === 0) this.#value = UNSEEN;
    if (this.#configurations.addIfNew(this.#value)) return true;
    this.#pop();
    return false;
  }

  /** Puts every possible write that nobody saw, except `id`; how many these were. */
  #putUnseen(id: number): number {
    let count = 0;
    let mark = this.#next[HEAD]!;
    while (mark !== HEAD && this.#marks[mark]! >= 0) {
      const other = this.#marks[mark]!;
      if (other === id || this.#kinds[other] !== WRITE || this.#written[other] !== UNSEEN) {
        mark = this.#next[mark]!;
        continue;
      }
      this.#push(other, 0);
      count += 1;
      mark = this.#next[this.#previous[mark]!]!;
    }
    return count;
  }

  #push(id: number, groupCount: number): void {
    this.#stack[this.#depth] = id;
    this.#stackValues[this.#depth] = this.#value;
    this.#stackGroups[this.#depth] = groupCount;
    this.#depth += 1;
    this.#lift(id);
  }

  /** Takes the last operation back, and what was put along with it. */
  #pop(): number {
    const last = this.#stack[this.#depth - 1]!;
    const count = 1 + this.#stackGroups[this.#depth - 1]!;
    for (let i = 0; i < count; i++) {
      this.#depth -= 1;
      this.#unlift(this.#stack[this.#depth]!);
    }
    this.#value = this.#stackValues[this.#depth]!;
    return last;
  }

  /** Takes everything back up to the last choice, and that; -1: there is none. */
  #backUp(): number {
    for (;;) {
      if (this.#depth === 0) return -1;
      const last = this.#pop();
      if (this.#kinds[last] !== READ) return last;
    }
  }

  /** Takes a call and its return out of the list; their own links stay for `#unlift`. */
  #lift(id: number): void {
    this.#configurations.toggle(id);
    this.#unlink(this.#calls[id]!);
    const isFinished = this.#returns[id] !== 0;
    if (isFinished) {
      this.#unlink(this.#returns[id]!);
      this.#remainingCount -= 1;
    }
    const observed = this.#observed[id]!;
    if (observed === -1) return;
    this.#wanted[observed]! -= 1;
    if (isFinished) this.#needed[observed]! -= 1;
  }

  /** Undoes `#lift`; valid only in reverse order of lifting. */
  #unlift(id: number): void {
    this.#configurations.toggle(id);
    const isFinished = this.#returns[id] !== 0;
    if (isFinished) {
      this.#relink(this.#returns[id]!);
      this.#remainingCount += 1;
    }
    this.#relink(this.#calls[id]!);
    const observed = this.#observed[id]!;
    if (observed === -1) return;
    this.#wanted[observed]! += 1;
    if (isFinished) this.#needed[observed]! += 1;
  }

  #unlink(mark: number): void {
    this.#next[this.#previous[mark]!] = this.#next[mark]!;
    this.#previous[this.#next[mark]!] = this.#previous[mark]!;
  }

  #relink(mark: number): void {
    this.#next[this.#previous[mark]!] = mark;
    this.#previous[this.#next[mark]!] = mark;
  }
}

/** Numbers of the values that somebody saw; null has its own whether seen or not. */
function numberValues(
  operations: readonly RegisterOperation[],
): ReadonlyMap<RegisterValue, number> {
  const numbers = new Map<RegisterValue, number>([[null, NULL_VALUE]]);
  for (const { call } of operations) {
    const observed = observedValueOf(call);
    if (observed === undefined || numbers.has(observed)) continue;
    numbers.set(observed, UNSEEN + numbers.size);
  }
  return numbers;
}

interface Mark {
  readonly id: number;
  readonly isCall: boolean;
  readonly at: number;
  /** Of marks at one position: unfinished calls first, returns last. */
  readonly rank: number;
}

function sortedMarks(operations: readonly RegisterOperation[]): readonly Mark[] {
  const marks: Mark[] = [];
  operations.forEach(({ invokedAt, finishedAt }, id) => {
    const isUnfinished = finishedAt === Infinity;
    marks.push({ id, isCall: true, at: invokedAt, rank: isUnfinished ? 0 : 1 });
    if (!isUnfinished) marks.push({ id, isCall: false, at: finishedAt, rank: 2 });
  });
  return marks.sort((left, right) => left.at - right.at || left.rank - right.rank);
}

/**
 * Linearizability of registers, one key at a time (linearizability is local: a history is
 * linearizable when each key's part is; Herlihy & Wing 1990, theorem 1).
 *
 * The search is Wing & Gong's with Lowe's memory of visited configurations ("Testing for
 * linearizability", 2017): walk the events in time order; a call may be put next if the model
 * accepts its answer; a return whose call was not put yet means backing up. A configuration is the
 * set of operations put so far plus the register's value, and is never entered twice.
 *
 * - `fail` operations had no effect and are left out; `info` reads say nothing and are left out;
 * - `info` writes may take effect at any time after their call, or never: they have no return.
 * A register that was never written reads null, and so does one after a write of null.
 */
import { type FinishedOperation, finishedOperations, type HistoryEvent } from '../history.ts';
import { invalid, unknown, type Verdict, valid, worstOf } from './verdict.ts';

export type RegisterValue = number | null;

export type RegisterCall =
  | { readonly kind: 'read'; readonly value: RegisterValue }
  | { readonly kind: 'write'; readonly value: RegisterValue }
  | { readonly kind: 'compareAndSet'; readonly expected: number; readonly value: number };

export interface RegisterOperation {
  readonly call: RegisterCall;
  readonly invokedAt: number;
  /** Infinity when nobody knows whether it happened. */
  readonly finishedAt: number;
}

/** Steps per key before the search gives up with `unknown`: some seconds of one core. */
const STEP_COUNT_MAX = 5_000_000;

/** Judges every key of the history by itself; the worst verdict counts. */
export function judgeLinearizable(
  events: readonly HistoryEvent[],
  stepCountMax = STEP_COUNT_MAX,
): Verdict {
  const byKey = new Map<string, RegisterOperation[]>();
  let operationCount = 0;
  for (const finished of finishedOperations(events)) {
    const keyed = toRegisterOperation(finished);
    if (keyed === null) continue;
    operationCount += 1;
    const group = byKey.get(keyed.key) ?? [];
    group.push(keyed.operation);
    byKey.set(keyed.key, group);
  }
  const verdicts: Verdict[] = [];
  for (const [key, operations] of byKey) {
    const verdict = judgeRegister(operations, stepCountMax);
    if (verdict.kind === 'unknown') verdicts.push(unknown(`key ${key}: ${verdict.reason}`));
    else if (verdict.kind === 'invalid') {
      verdicts.push(invalid(`key ${key}: ${verdict.reason}`, verdict.examples));
    }
  }
  if (verdicts.length > 0) return worstOf(verdicts);
  if (operationCount === 0) return unknown('the history has no register operation');
  return valid({ keyCount: byKey.size, operationCount });
}

/** Null for operations that constrain nothing. */
function toRegisterOperation(
  finished: FinishedOperation,
): { readonly key: string; readonly operation: RegisterOperation } | null {
  const { operation, outcome, invokedAt, finishedAt } = finished;
  if (operation.kind === 'add' || operation.kind === 'readAll') return null;
  if (outcome === 'fail') return null;
  if (operation.kind === 'read') {
    if (outcome === 'info' || operation.value === undefined) return null;
    const call: RegisterCall = { kind: 'read', value: operation.value };
    return { key: operation.key, operation: { call, invokedAt, finishedAt } };
  }
  const { key, ...call } = operation;
  return { key, operation: { call, invokedAt, finishedAt } };
}

/** A call or a return in a doubly linked list in time order; a call knows its return. */
interface Mark {
  readonly id: number;
  readonly call: RegisterCall;
  readonly isCall: boolean;
  readonly at: number;
  partner: Mark | null;
  previous: Mark | null;
  next: Mark | null;
}

/** Judges one register that starts as null. */
export function judgeRegister(
  operations: readonly RegisterOperation[],
  stepCountMax = STEP_COUNT_MAX,
): Verdict {
  const head = linkMarks(operations);
  const linearized = new Uint32Array(Math.ceil(operations.length / 32) || 1);
  const visited = new Set<string>();
  const stack: { readonly mark: Mark; readonly value: RegisterValue }[] = [];
  let remainingCount = operations.filter((one) => one.finishedAt !== Infinity).length;
  let value: RegisterValue = null;
  let mark = head.next;
  let deepest: { depth: number; value: RegisterValue; stuckAt: Mark | null } = {
    depth: -1,
    value: null,
    stuckAt: null,
  };
  for (let step = 0; remainingCount > 0; step++) {
    if (step >= stepCountMax) return unknown(`gave up after ${stepCountMax} steps`);
    if (mark?.isCall) {
      const outcome = stepRegister(value, mark.call);
      if (outcome.isAccepted && rememberNew(visited, linearized, mark.id, outcome.value)) {
        stack.push({ mark, value });
        value = outcome.value;
        setBit(linearized, mark.id, true);
        if (mark.partner !== null) remainingCount -= 1;
        lift(mark);
        mark = head.next;
      } else {
        mark = mark.next;
      }
      continue;
    }
    if (stack.length > deepest.depth) deepest = { depth: stack.length, value, stuckAt: mark };
    const last = stack.pop();
    if (last === undefined) return invalid('no order explains the answers', [explain(deepest)]);
    unlift(last.mark);
    setBit(linearized, last.mark.id, false);
    if (last.mark.partner !== null) remainingCount += 1;
    value = last.value;
    mark = last.mark.next;
  }
  return valid({ operationCount: operations.length });
}

function explain(deepest: { depth: number; value: RegisterValue; stuckAt: Mark | null }): unknown {
  return {
    operationsExplained: deepest.depth,
    registerValue: deepest.value,
    unexplained: deepest.stuckAt?.call ?? null,
  };
}

/** The register model: does `call` with its answer fit a register that holds `value`? */
export function stepRegister(
  value: RegisterValue,
  call: RegisterCall,
): { readonly isAccepted: boolean; readonly value: RegisterValue } {
  switch (call.kind) {
    case 'read':
      return { isAccepted: call.value === value, value };
    case 'write':
      return { isAccepted: true, value: call.value };
    case 'compareAndSet':
      return { isAccepted: call.expected === value, value: call.value };
  }
}

/** Marks in time order behind a sentinel; a call at the same position as a return comes first. */
function linkMarks(operations: readonly RegisterOperation[]): Mark {
  const marks: Mark[] = [];
  operations.forEach(({ call, invokedAt, finishedAt }, id) => {
    const links = { previous: null, next: null };
    const begin: Mark = { id, call, isCall: true, at: invokedAt, partner: null, ...links };
    marks.push(begin);
    if (finishedAt === Infinity) return;
    begin.partner = { id, call, isCall: false, at: finishedAt, partner: null, ...links };
    marks.push(begin.partner);
  });
  marks.sort((left, right) => left.at - right.at || Number(right.isCall) - Number(left.isCall));
  const head: Mark = {
    id: -1,
    call: { kind: 'read', value: null },
    isCall: true,
    at: -1,
    partner: null,
    previous: null,
    next: null,
  };
  let previous = head;
  for (const mark of marks) {
    previous.next = mark;
    mark.previous = previous;
    previous = mark;
  }
  return head;
}

/** Takes a call and its return out of the list; their own links stay for `unlift`. */
function lift(mark: Mark): void {
  unlink(mark);
  if (mark.partner !== null) unlink(mark.partner);
}

/** Undoes `lift`; valid only in reverse order of lifting. */
function unlift(mark: Mark): void {
  if (mark.partner !== null) relink(mark.partner);
  relink(mark);
}

function unlink(mark: Mark): void {
  if (mark.previous !== null) mark.previous.next = mark.next;
  if (mark.next !== null) mark.next.previous = mark.previous;
}

function relink(mark: Mark): void {
  if (mark.previous !== null) mark.previous.next = mark;
  if (mark.next !== null) mark.next.previous = mark;
}

function setBit(bits: Uint32Array, id: number, isSet: boolean): void {
  const word = id >>> 5;
  const flag = 1 << (id & 31);
  bits[word] = isSet ? (bits[word] ?? 0) | flag : (bits[word] ?? 0) & ~flag;
}

/** True when the configuration after putting `id` was not visited before. */
function rememberNew(
  visited: Set<string>,
  linearized: Uint32Array,
  id: number,
  value: RegisterValue,
): boolean {
  setBit(linearized, id, true);
  const key = `${value}|${linearized.join(',')}`;
  setBit(linearized, id, false);
  if (visited.has(key)) return false;
  visited.add(key);
  return true;
}

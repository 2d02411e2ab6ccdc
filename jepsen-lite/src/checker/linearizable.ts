/**
 * Linearizability of registers, one key at a time (linearizability is local: a history is
 * linearizable when each key's part is; Herlihy & Wing 1990, theorem 1). The search itself is in
 * `register-search.ts`.
 *
 * - `fail` operations had no effect and are left out; `info` reads say nothing and are left out;
 * - `info` writes may take effect at any time after their call, or never: they have no return;
 * - an `info` compare-and-set that does not say what it expected is such a write.
 */
import { unreachable } from '@holdfast/base';
import { type FinishedOperation, finishedOperations, type HistoryEvent } from '../history.ts';
import { minimised } from './minimise.ts';
import type { RegisterCall, RegisterOperation } from './register-model.ts';
import { STEP_COUNT_MAX, searchOrder } from './register-search.ts';
import {
  EXAMPLE_COUNT_MAX,
  type InvalidExample,
  invalid,
  unknown,
  type Verdict,
  valid,
  worstOf,
} from './verdict.ts';

/** An operation of a register with its key; null for operations that constrain nothing. */
export type KeyedOperation = { readonly key: string; readonly operation: RegisterOperation };

/** Judges every key of the history by itself; the worst verdict counts. */
export function judgeLinearizable(
  events: readonly HistoryEvent[],
  stepCountMax = STEP_COUNT_MAX,
): Verdict {
  return judgeKeyed(finishedOperations(events).map(toRegisterOperation), stepCountMax);
}

/** The same for anything that can be seen as registers; null constrains nothing. */
export function judgeKeyed(
  keyed: readonly (KeyedOperation | null)[],
  stepCountMax = STEP_COUNT_MAX,
): Verdict {
  const byKey = new Map<string, RegisterOperation[]>();
  let operationCount = 0;
  for (const one of keyed) {
    if (one === null) continue;
    operationCount += 1;
    const group = byKey.get(one.key) ?? [];
    group.push(one.operation);
    byKey.set(one.key, group);
  }
  const verdicts: Verdict[] = [];
  const examples: InvalidExample[] = [];
  const badKeys: string[] = [];
  for (const [key, operations] of byKey) {
    const outcome = searchOrder(operations, stepCountMax);
    if (outcome === 'gave up') verdicts.push(unknown(`key ${key}: ${gaveUp(stepCountMax)}`));
    if (outcome !== 'not linearizable') continue;
    badKeys.push(key);
    // One small example is worth more than many: of further keys only the names are told.
    if (examples.length < EXAMPLE_COUNT_MAX) examples.push(exampleOf(operations, key));
  }
  if (badKeys.length > 0) {
    const names = badKeys.slice(0, EXAMPLE_COUNT_MAX).join(', ');
    return invalid(`no order explains the answers of key ${names}`, examples);
  }
  if (verdicts.length > 0) return worstOf(verdicts);
  if (operationCount === 0) return unknown('the history has no register operation');
  return valid({ keyCount: byKey.size, operationCount });
}

/** Judges one register that starts as null. */
export function judgeRegister(
  operations: readonly RegisterOperation[],
  stepCountMax = STEP_COUNT_MAX,
): Verdict {
  const outcome = searchOrder(operations, stepCountMax);
  switch (outcome) {
    case 'linearizable':
      return valid({ operationCount: operations.length });
    case 'gave up':
      return unknown(gaveUp(stepCountMax));
    case 'not linearizable':
      return invalid('no order explains the answers', [exampleOf(operations, null)]);
    default:
      return unreachable(outcome);
  }
}

const gaveUp = (stepCountMax: number): string => `the search gave up after ${stepCountMax} steps`;

/** What a counterexample shows of one operation. */
interface ShownOperation {
  readonly processId: number | null;
  readonly call: RegisterCall;
  readonly invokedMs: number | null;
  /** Null: it was never answered, or not before the moment of the example. */
  readonly finishedMs: number | null;
}

function exampleOf(operations: readonly RegisterOperation[], key: string | null): InvalidExample {
  const smallest = minimised(operations);
  const shown = smallest.map(({ call, finishedAt, source }): ShownOperation => {
    const finishedMs = finishedAt === Infinity ? null : (source?.finishedMs ?? null);
    const { processId = null, invokedMs = null } = source ?? {};
    return { processId, call, invokedMs, finishedMs };
  });
  const fromMs = shown.flatMap(({ invokedMs }) => (invokedMs === null ? [] : [invokedMs]));
  const toMs = shown.flatMap(({ finishedMs }) => (finishedMs === null ? [] : [finishedMs]));
  const processIds = shown.flatMap(({ processId }) => (processId === null ? [] : [processId]));
  return {
    ...(key === null ? {} : { key }),
    operations: shown,
    operationCount: operations.length,
    processIds: [...new Set(processIds)],
    ...(fromMs.length === 0 ? {} : { fromMs: Math.min(...fromMs) }),
    // The example ends with the answer that nothing explains.
    ...(toMs.length === 0 ? {} : { toMs: Math.max(...toMs), timeMs: Math.max(...toMs) }),
  };
}

function toRegisterOperation(finished: FinishedOperation): KeyedOperation | null {
  const { operation, outcome } = finished;
  if (outcome === 'fail') return null;
  switch (operation.kind) {
    case 'read': {
      if (outcome === 'info' || operation.value === undefined) return null;
      return keyed(finished, operation.key, { kind: 'read', value: operation.value });
    }
    case 'write':
      return keyed(finished, operation.key, { kind: 'write', value: operation.value });
    case 'compareAndSet': {
      const { key, expected, value } = operation;
      if (expected === undefined) return keyed(finished, key, { kind: 'write', value });
      return keyed(finished, key, { kind: 'compareAndSet', expected, value });
    }
    default:
      return null;
  }
}

/** `finished` seen as `call` on the register `key`. */
export function keyed(
  finished: FinishedOperation,
  key: string,
  call: RegisterCall,
): KeyedOperation {
  const { invokedAt, finishedAt } = finished;
  return { key, operation: { call, invokedAt, finishedAt, source: finished } };
}

/**
 * One register: what was asked of it, what it answered, and which answers fit which value.
 *
 * A register that was never written reads null, and so does one after a write of null (a delete).
 */
import { unreachable } from '@holdfast/base';
import type { FinishedOperation } from '../history.ts';

export type RegisterValue = number | null;

export type RegisterCall =
  | { readonly kind: 'read'; readonly value: RegisterValue }
  | { readonly kind: 'write'; readonly value: RegisterValue }
  | {
      readonly kind: 'compareAndSet';
      readonly expected: RegisterValue;
      readonly value: RegisterValue;
    };

export interface RegisterOperation {
  readonly call: RegisterCall;
  /** Position in the history; only the order matters. */
  readonly invokedAt: number;
  /** Infinity when nobody knows whether it happened. */
  readonly finishedAt: number;
  /** Where it comes from, for counterexamples. */
  readonly source?: FinishedOperation;
}

/** Does `call` with its answer fit a register that holds `value`? */
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
    default:
      return unreachable(call);
  }
}

/** The value that the answer proves the register to have held; undefined: it proves nothing. */
export function observedValueOf(call: RegisterCall): RegisterValue | undefined {
  if (call.kind === 'read') return call.value;
  return call.kind === 'compareAndSet' ? call.expected : undefined;
}

/** The value that the call leaves; undefined: it leaves what was there. */
export function writtenValueOf(call: RegisterCall): RegisterValue | undefined {
  return call.kind === 'read' ? undefined : call.value;
}

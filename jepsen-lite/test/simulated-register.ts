/** Histories of real registers, for the tests of the linearizability search. */
import { SeededRandom } from '@holdfast/base';
import type { HistoryEvent } from '../src/history.ts';
import type { Operation } from '../src/operation.ts';
import { type Effect, simulate } from './simulated-history.ts';

export interface RegisterOptions {
  readonly seed: number;
  readonly operationCount: number;
  readonly workerCount: number;
  readonly keyCount: number;
  /** Share of operations whose answer is lost. */
  readonly lossShare: number;
}

export function simulateRegisters(options: RegisterOptions): readonly HistoryEvent[] {
  const { seed, operationCount, workerCount, keyCount, lossShare } = options;
  const random = new SeededRandom(seed + 1);
  const operations = Array.from({ length: operationCount }, (_unused, position) => {
    // Keys are used in turn, each by all workers at a time.
    const key = `r${Math.floor((position * keyCount) / operationCount)}`;
    return drawOperation(random, key, position);
  });
  const registers = new Map<string, number | null>();
  const apply = (operation: Operation): Effect => applyToRegister(registers, operation);
  return simulate({ seed, workerCount, operations, lossShare, apply });
}

function drawOperation(random: SeededRandom, key: string, position: number): Operation {
  const dice = random.nextFloat();
  if (dice < 0.5) return { kind: 'read', key, value: undefined, nodePick: null };
  if (dice < 0.53) return { kind: 'write', key, value: null };
  if (dice < 0.8) return { kind: 'write', key, value: position };
  return { kind: 'compareAndSet', key, expected: undefined, value: position };
}

function applyToRegister(registers: Map<string, number | null>, operation: Operation): Effect {
  if (!('key' in operation)) throw new Error(`registers have no operation ${operation.kind}`);
  const value = registers.get(operation.key) ?? null;
  if (operation.kind === 'read') return { outcome: 'ok', operation: { ...operation, value } };
  if (operation.kind === 'write') {
    registers.set(operation.key, operation.value);
    return { outcome: 'ok', operation };
  }
  if (operation.kind !== 'compareAndSet') throw new Error(`no operation ${operation.kind}`);
  registers.set(operation.key, operation.value);
  return { outcome: 'ok', operation: { ...operation, expected: value } };
}

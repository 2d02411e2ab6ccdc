/** Adds up the results of many seeds: what they reached, in tables, and what they did not. */
import { FAULT_KINDS } from './draw-plan.ts';
import type { FaultKind } from './plan.ts';
import type { RareState } from './rare-state-table.ts';
import {
  RARE_STATE_NAMES,
  RARE_STATES,
  SUITE_SEED_COUNT,
  seedCountFor,
} from './rare-state-table.ts';
import type { RunCounts, RunResult } from './run-plan.ts';

export class Totals {
  readonly failures: RunResult[] = [];
  readonly #faults = new Map<FaultKind, number>();
  readonly #rareStates = new Map<RareState, { times: number; seeds: number }>();
  readonly #counts = new Map<keyof RunCounts, number>();
  seedCount = 0;
  simulatedMs = 0;

  add(result: RunResult): void {
    this.seedCount += 1;
    this.simulatedMs += result.simulatedMs;
    if (result.problems.length > 0) this.failures.push(result);
    for (const [kind, times] of Object.entries(result.faults) as [FaultKind, number][])
      this.#faults.set(kind, (this.#faults.get(kind) ?? 0) + times);
    for (const [name, value] of Object.entries(result.counts) as [keyof RunCounts, number][])
      this.#counts.set(name, (this.#counts.get(name) ?? 0) + value);
    for (const [state, times] of Object.entries(result.rareStates) as [RareState, number][]) {
      const known = this.#rareStates.get(state) ?? { times: 0, seeds: 0 };
      this.#rareStates.set(state, { times: known.times + times, seeds: known.seeds + 1 });
    }
  }

  count(name: keyof RunCounts): number {
    return this.#counts.get(name) ?? 0;
  }

  faultCount(kind: FaultKind): number {
    return this.#faults.get(kind) ?? 0;
  }

  rareStateCount(state: RareState): number {
    return this.#rareStates.get(state)?.times ?? 0;
  }

  /** Expected states and fault kinds that no seed reached; meaningful for a whole suite only. */
  unreached(): readonly string[] {
    if (this.seedCount < SUITE_SEED_COUNT) return [];
    const states = RARE_STATE_NAMES.filter(
      (state) => this.seedCount >= seedCountFor(state) && this.rareStateCount(state) === 0,
    );
    return [...FAULT_KINDS.filter((kind) => this.faultCount(kind) === 0), ...states];
  }

  tables(): readonly string[] {
    const number = (value: number): string => value.toLocaleString('en-US').padStart(10);
    const lines = [
      '',
      'faults',
      ...FAULT_KINDS.map((kind) => `${number(this.faultCount(kind))}  ${kind}`),
    ];
    lines.push('', 'rare states: times, seeds');
    for (const state of RARE_STATE_NAMES) {
      const { times, seeds } = this.#rareStates.get(state) ?? { times: 0, seeds: 0 };
      const countMin = seedCountFor(state);
      const note = countMin > SUITE_SEED_COUNT ? ` (expected of ${countMin} seeds)` : '';
      lines.push(`${number(times)} ${number(seeds)}  ${state}: ${RARE_STATES[state]}${note}`);
    }
    lines.push('', 'in all');
    for (const [name, value] of this.#counts) lines.push(`${number(value)}  ${name}`);
    return lines;
  }
}

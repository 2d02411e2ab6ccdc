/** What the simulator prints. Every failure names what replays it. */

import type { SimPlan } from './plan.ts';
import { describeFault } from './plan.ts';
import type { RunResult } from './run-plan.ts';
import type { Progress } from './run-seeds.ts';

const BAR_WIDTH = 24;

export function describeFailure(result: RunResult, commit: string): readonly string[] {
  return [
    `seed ${result.seed} FAILED at commit ${commit}`,
    ...result.problems.map((problem) => `  ${problem}`),
    '  last events:',
    ...result.lastEvents.map((line) => `    ${line.slice(0, 200)}`),
    `  replay: npm run sim -- --seed ${result.seed}`,
  ];
}

export function describeRun(result: RunResult): readonly string[] {
  const { counts, seed, simulatedMs, traceHash } = result;
  const parts = Object.entries(counts).map(([name, value]) => `${name} ${value}`);
  return [
    `seed ${seed}: ${(simulatedMs / 1_000).toFixed(1)} simulated seconds, trace ${traceHash}`,
    `  ${parts.join(', ')}`,
  ];
}

export function describePlan(plan: SimPlan): readonly string[] {
  const { faults, ...rest } = plan;
  return [
    `  plan: ${JSON.stringify(rest)}`,
    ...faults.map((timed) => `    ${describeFault(timed)}`),
  ];
}

/** One line that stays in place on a terminal. */
export class ProgressLine {
  readonly #startMs: number;
  readonly #nowMs: () => number;
  readonly #isTerminal: boolean;
  readonly #write: (text: string) => void;
  #simulatedMs = 0;
  #tenths = 0;

  constructor(parts: {
    readonly nowMs: () => number;
    readonly isTerminal: boolean;
    readonly write: (text: string) => void;
  }) {
    this.#nowMs = parts.nowMs;
    this.#startMs = parts.nowMs();
    this.#isTerminal = parts.isTerminal;
    this.#write = parts.write;
  }

  show({ doneCount, seedCount, failureCount, result }: Progress): void {
    this.#simulatedMs += result.simulatedMs;
    const tenths = Math.floor((10 * doneCount) / seedCount);
    const isDue = this.#isTerminal || tenths > this.#tenths;
    this.#tenths = tenths;
    if (!isDue) return;
    const elapsedMs = Math.max(1, this.#nowMs() - this.#startMs);
    const filled = Math.round((BAR_WIDTH * doneCount) / seedCount);
    const bar = '#'.repeat(filled).padEnd(BAR_WIDTH, '.');
    const speed = (this.#simulatedMs / elapsedMs).toFixed(0);
    const leftSeconds = Math.round(((elapsedMs / doneCount) * (seedCount - doneCount)) / 1_000);
    const text =
      `[${bar}] ${doneCount}/${seedCount} seeds, ${failureCount} failed, ` +
      `${speed} simulated s per s, ${leftSeconds} s left`;
    this.#write(this.#isTerminal ? `\r\u001b[2K${text}` : `${text}\n`);
  }

  end(): void {
    if (this.#isTerminal) this.#write('\n');
  }
}

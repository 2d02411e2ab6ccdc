/**
 * Makes a failing plan small: takes out kinds of fault, then single faults, clients, time and
 * whatever makes the world less than perfect, as long as the run still fails in the same way.
 * Delta debugging (Zeller & Hildebrandt 2002) over the list of faults.
 */

import type { FaultKind, SimPlan } from './plan.ts';
import type { RunResult } from './run-plan.ts';

export interface ShrinkOptions {
  readonly run: (plan: SimPlan) => Promise<RunResult>;
  /** Runs at most. */
  readonly runCountMax: number;
  readonly onStep: (step: { readonly runCount: number; readonly plan: SimPlan }) => void;
}

export interface Shrunk {
  readonly plan: SimPlan;
  readonly result: RunResult;
  readonly runCount: number;
}

/** The shortest load that is worth trying. */
const DURATION_MS_MIN = 200;
const SHORTER_SHARES = [0.5, 0.75, 0.9] as const;

/** `failed` is the result of `plan`. */
export async function shrink(
  plan: SimPlan,
  failed: RunResult,
  options: ShrinkOptions,
): Promise<Shrunk> {
  const shrinker = new Shrinker(plan, failed, options);
  await shrinker.shrink();
  return shrinker.smallest;
}

/** Two failures are the same when they read the same but for numbers and names. */
export function signatureOf(result: RunResult): string {
  const [problem = ''] = result.problems;
  return (problem.split(/[{\n]/)[0] ?? '').replace(/\bn?\d+\b/g, '#').trim();
}

class Shrinker {
  readonly #options: ShrinkOptions;
  readonly #signature: string;
  #plan: SimPlan;
  #result: RunResult;
  #runCount = 0;

  constructor(plan: SimPlan, failed: RunResult, options: ShrinkOptions) {
    this.#options = options;
    this.#plan = plan;
    this.#result = failed;
    this.#signature = signatureOf(failed);
  }

  get smallest(): Shrunk {
    return { plan: this.#plan, result: this.#result, runCount: this.#runCount };
  }

  async shrink(): Promise<void> {
    for (let before = ''; before !== JSON.stringify(this.#plan); ) {
      before = JSON.stringify(this.#plan);
      await this.#dropKinds();
      await this.#dropFaults();
      await this.#shorten();
      await this.#simplify();
    }
  }

  async #dropKinds(): Promise<void> {
    const kinds = new Set<FaultKind>(this.#plan.faults.map(({ fault }) => fault.kind));
    for (const kind of kinds) {
      const faults = this.#plan.faults.filter(({ fault }) => fault.kind !== kind);
      await this.#try({ ...this.#plan, faults });
    }
  }

  async #dropFaults(): Promise<void> {
    let size = Math.ceil(this.#plan.faults.length / 2);
    while (size >= 1) {
      let isAnyDropped = false;
      for (let start = 0; start < this.#plan.faults.length; ) {
        const { faults } = this.#plan;
        const rest = [...faults.slice(0, start), ...faults.slice(start + size)];
        if (await this.#try({ ...this.#plan, faults: rest })) isAnyDropped = true;
        else start += size;
      }
      if (!isAnyDropped || size > this.#plan.faults.length) size = Math.floor(size / 2);
      if (this.#isSpent) return;
    }
  }

  /** Less time before the first fault, and less after the last. */
  async #shorten(): Promise<void> {
    const firstMs = this.#plan.faults[0]?.atMs ?? 0;
    const moved = this.#plan.faults.map((timed) => ({ ...timed, atMs: timed.atMs - firstMs }));
    await this.#try({ ...this.#plan, faults: moved });
    for (const share of SHORTER_SHARES) {
      for (;;) {
        const durationMs = Math.floor(this.#plan.durationMs * share);
        if (durationMs < DURATION_MS_MIN) break;
        const faults = this.#plan.faults.filter(({ atMs }) => atMs < durationMs);
        if (!(await this.#try({ ...this.#plan, durationMs, faults }))) break;
      }
    }
  }

  async #simplify(): Promise<void> {
    const { nodeCount } = this.#plan;
    const changes: readonly Partial<SimPlan>[] = [
      { backup: null },
      { clientCount: 1 },
      { clientCount: Math.max(1, this.#plan.clientCount - 1) },
      { driftPpm: Array.from({ length: nodeCount }, () => 0) },
      { laneCounts: Array.from({ length: nodeCount }, () => 1), laneMsMax: 0 },
      { weather: { ...this.#plan.weather, lossRate: 0, duplicateRate: 0, reorderRate: 0 } },
      { diskMsMax: 1, clientMsMax: 1 },
      { checkpointIntervalMs: 1_000_000 },
      { sessionIdleTimeoutMs: 3_600_000 },
      { dropRetentionMs: 0 },
      { keyCount: 1 },
    ];
    for (const change of changes) await this.#try({ ...this.#plan, ...change });
  }

  get #isSpent(): boolean {
    return this.#runCount >= this.#options.runCountMax;
  }

  /** True when `plan` differs, still fails, and so takes the place of the smallest. */
  async #try(plan: SimPlan): Promise<boolean> {
    if (this.#isSpent || JSON.stringify(plan) === JSON.stringify(this.#plan)) return false;
    this.#runCount += 1;
    const result = await this.#options.run(plan);
    if (signatureOf(result) !== this.#signature) return false;
    this.#plan = plan;
    this.#result = result;
    this.#options.onStep({ runCount: this.#runCount, plan });
    return true;
  }
}

/** Runs a range of seeds on several processes, with progress, and adds them up. */
import { drawPlan } from './draw-plan.ts';
import type { RunResult } from './run-plan.ts';
import { Totals } from './totals.ts';
import { WorkerPool } from './worker-pool.ts';

export interface SeedRange {
  readonly seeds: readonly number[];
  readonly jobCount: number;
  readonly durationMs: number;
  readonly environment?: NodeJS.ProcessEnv;
}

export interface Progress {
  readonly doneCount: number;
  readonly seedCount: number;
  readonly failureCount: number;
  readonly result: RunResult;
}

export async function runSeeds(
  range: SeedRange,
  onProgress: (progress: Progress) => void,
): Promise<Totals> {
  const { seeds, jobCount, durationMs, environment } = range;
  const totals = new Totals();
  const pool = new WorkerPool(jobCount, environment);
  const next = seeds[Symbol.iterator]();
  const work = async (): Promise<void> => {
    for (const seed of next) {
      const result = await pool.run(drawPlan(seed, durationMs));
      totals.add(result);
      onProgress({
        doneCount: totals.seedCount,
        seedCount: seeds.length,
        failureCount: totals.failures.length,
        result,
      });
    }
  };
  await Promise.all(Array.from({ length: jobCount }, work));
  await pool.close();
  return totals;
}

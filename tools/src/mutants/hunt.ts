/**
 * Looks for what kills each mutant: the tests that may, in order, until the first one fails. A test
 * counts only when it passes on unchanged output, in the same place and by the same command.
 */
import { commandOf, type Killer, killersOf } from './killers.ts';
import type { Mutant } from './mutant.ts';
import type { Finding, Progress } from './progress.ts';
import { type KillerRun, runKiller } from './run-killer.ts';
import type { Scratch } from './scratch.ts';

/** A mutant may make a test slower; beyond this it does not come to an end. */
const SECONDS_MIN = 60;
const SLOWDOWN_MAX = 8;
const BASELINE_SECONDS_MAX = 600;

export class BaselineFailure extends Error {
  override readonly name = 'BaselineFailure';
}

/** Measures `killer` without a mutant. */
async function baselineOf(killer: Killer, scratch: Scratch, progress: Progress): Promise<number> {
  const known = progress.baselineSeconds(commandOf(killer));
  if (known !== undefined) return known;
  scratch.restore();
  const run = await runKiller(killer, scratch.root, BASELINE_SECONDS_MAX);
  if (run.outcome !== 'passed')
    throw new BaselineFailure(`${commandOf(killer)} fails without any mutant: ${run.detail}`);
  progress.noteBaseline(commandOf(killer), run.seconds);
  return run.seconds;
}

export async function hunt(
  mutant: Mutant,
  scratch: Scratch,
  progress: Progress,
  killers: readonly Killer[] = killersOf(mutant.file),
): Promise<Finding> {
  const startedAt = performance.now();
  let triedCount = 0;
  const found = (killer: Killer | null, run: KillerRun | null): Finding => ({
    id: mutant.id,
    killer: killer?.file ?? null,
    detail: run === null ? 'nothing noticed it' : run.outcome === 'hung' ? 'hangs' : run.detail,
    seed: run?.seed ?? null,
    seconds: (performance.now() - startedAt) / 1_000,
    triedCount,
  });
  for (const killer of killers) {
    const normal = await baselineOf(killer, scratch, progress);
    scratch.patch(mutant);
    const run = await runKiller(killer, scratch.root, Math.max(SECONDS_MIN, normal * SLOWDOWN_MAX));
    if (run.outcome !== 'passed') return found(killer, run);
    triedCount += 1;
  }
  return found(null, null);
}

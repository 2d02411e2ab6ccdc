/** Runs one compiled test in a scratch copy as a process of its own, and reads how it ended. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Killer } from './killers.ts';

export interface KillerRun {
  /** `hung`: it was stopped because it took far longer than without the mutant. */
  readonly outcome: 'passed' | 'failed' | 'hung';
  readonly seconds: number;
  /** First failing test, or what the process said last. */
  readonly detail: string;
  /** First seed that failed; null when no seed is named. */
  readonly seed: number | null;
}

const OUTPUT_SIZE_MAX = 1_000_000;
const DETAIL_LENGTH_MAX = 120;

export async function runKiller(
  killer: Killer,
  scratchRoot: string,
  secondsMax: number,
): Promise<KillerRun> {
  const startedAt = performance.now();
  // --bail: the first failing test is enough. No limit of its own, the caller has one.
  const child = spawn(
    process.execPath,
    [join(scratchRoot, killer.file), ...(killer.arguments ?? [])],
    {
      cwd: scratchRoot,
      env: { ...process.env, TAP_BAIL: '1', TAP_TIMEOUT: '0' },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let output = '';
  const keep = (chunk: Buffer): void => {
    if (output.length < OUTPUT_SIZE_MAX) output += chunk.toString();
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    child.kill('SIGKILL');
  }, secondsMax * 1_000);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  clearTimeout(timer);
  const seconds = (performance.now() - startedAt) / 1_000;
  if (isLate)
    return { outcome: 'hung', seconds, detail: `longer than ${secondsMax} s`, seed: null };
  if (code === 0) return { outcome: 'passed', seconds, detail: '', seed: null };
  return { outcome: 'failed', seconds, detail: detailOf(output), seed: seedOf(output) };
}

/** The test that failed first, as TAP names it, else what the process said last. */
function detailOf(output: string): string {
  const failedAt = output.search(/^\s*not ok /m);
  const before = failedAt === -1 ? '' : output.slice(0, failedAt);
  const problem = /^seed \d+ FAILED .*\n {2}(.*)$/m.exec(output)?.[1];
  const title = [...before.matchAll(/^# Subtest: (.*)$/gm)].at(-1)?.[1];
  const text = title ?? problem ?? output.trim().split('\n').at(-1) ?? 'the process ended';
  return text.slice(0, DETAIL_LENGTH_MAX);
}

function seedOf(output: string): number | null {
  const found = /seed (\d+) (?:broke|FAILED)/.exec(output);
  return found === null ? null : Number(found[1]);
}

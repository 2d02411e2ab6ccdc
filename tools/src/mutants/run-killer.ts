/** Runs one compiled test in a scratch copy as a process of its own, and reads how it ended. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Killer } from './killers.ts';

export interface KillerRun {
  /** `hung`: it was stopped because it took far longer than without the mutant. */
  readonly outcome: 'passed' | 'failed' | 'hung';
  /** Null when a signal ended it. */
  readonly exitCode: number | null;
  /** What it printed, cut off at a million characters. */
  readonly output: string;
  readonly seconds: number;
  /** First failing test, or what the process said last. */
  readonly detail: string;
  /** First seed that failed; null when no seed is named. */
  readonly seed: number | null;
}

const OUTPUT_SIZE_MAX = 1_000_000;
const DETAIL_LENGTH_MAX = 120;
/** Programs that have started servers end them when they are asked to end. */
const GRACE_MS = 10_000;

const running = new Set<ChildProcess>();

/** For the end of this process: nothing that it started stays behind. */
export function endRunningKillers(): void {
  for (const child of running) child.kill('SIGTERM');
}

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
  running.add(child);
  let isLate = false;
  let lastTimer: NodeJS.Timeout | undefined;
  const timer = setTimeout(() => {
    isLate = true;
    child.kill('SIGTERM');
    lastTimer = setTimeout(() => child.kill('SIGKILL'), GRACE_MS);
  }, secondsMax * 1_000);
  const exitCode = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  running.delete(child);
  clearTimeout(timer);
  clearTimeout(lastTimer);
  const seconds = (performance.now() - startedAt) / 1_000;
  const facts = { exitCode, output, seconds };
  if (isLate)
    return { outcome: 'hung', ...facts, detail: `longer than ${secondsMax} s`, seed: null };
  if (exitCode === 0) return { outcome: 'passed', ...facts, detail: '', seed: null };
  return { outcome: 'failed', ...facts, detail: detailOf(output), seed: seedOf(output) };
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

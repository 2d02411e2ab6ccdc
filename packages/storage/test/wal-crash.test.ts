/**
 * Power cuts at every operation. Method: run the same seeded workload again and again, stop it
 * before operation 1, 2, 3, ..., lose what was not synced, recover, compare with the model, go on,
 * and cut the power again (also in the middle of recovery).
 */
import t from 'tap';
import { CrashSignal } from '../src/testing/fault-plan.ts';
import type { CrashOptions } from '../src/testing/memory-fs.ts';
import { MemoryFileSystem } from '../src/testing/memory-fs.ts';
import { WalWorkload } from './wal-model.ts';

const STEPS = 50;

/** Runs until the planned crash. True when it came. */
function runUntilCrash(workload: WalWorkload, steps: number): boolean {
  try {
    workload.open();
    for (let i = 0; i < steps; i++) workload.step();
    workload.finish();
    return false;
  } catch (error) {
    if (error instanceof CrashSignal) return true;
    throw error;
  }
}

/** Crashes before operation `first`, then before operation `second` of the next life, and so on. */
function crashRepeatedly(
  seed: number,
  crashPoints: readonly number[],
  cut: (fileSystem: MemoryFileSystem, round: number) => void,
): number {
  const fileSystem = new MemoryFileSystem();
  const workload = new WalWorkload(fileSystem, seed);
  for (const [round, point] of crashPoints.entries()) {
    fileSystem.crashAtOperation(point);
    runUntilCrash(workload, STEPS);
    cut(fileSystem, round);
  }
  workload.open();
  return fileSystem.operationCount;
}

function operationsOf(seed: number): number {
  const fileSystem = new MemoryFileSystem();
  const workload = new WalWorkload(fileSystem, seed);
  runUntilCrash(workload, STEPS);
  return fileSystem.operationCount;
}

function attempt(test: Pick<typeof t, 'fail'>, label: string, body: () => void): boolean {
  try {
    body();
    return true;
  } catch (error) {
    test.fail(`${label}: ${String(error)}`, { found: error });
    return false;
  }
}

t.test('the workload is a real one', async (t) => {
  t.ok(operationsOf(1) >= 200, `${operationsOf(1)} operations`);
});

const policies: readonly Omit<CrashOptions, 'seed'>[] = [
  { keepUnsynced: 'none' },
  { keepUnsynced: 'random' },
  { keepUnsynced: 'random', tearsSectors: true },
  { keepUnsynced: 'all' },
];
for (const policy of policies) {
  const label = `${policy.keepUnsynced}${policy.tearsSectors ? ' and torn' : ''}`;
  t.test(`nothing durable is lost by a crash at any operation, un-synced: ${label}`, async (t) => {
    const total = operationsOf(1);
    for (let point = 1; point <= total; point++) {
      const isSafe = attempt(t, `seed 1, crash before operation ${point}`, () => {
        crashRepeatedly(1, [point], (fileSystem) => fileSystem.crash({ ...policy, seed: point }));
      });
      if (!isSafe) return;
    }
    t.pass(`${total} crash points`);
  });
}

t.test('nothing is lost by two crashes in a row, the second also inside recovery', async (t) => {
  const total = operationsOf(2);
  for (let point = 1; point <= total; point++) {
    const second = 1 + ((point * 7) % 60);
    const isSafe = attempt(t, `seed 2, crashes at ${point} and ${second}`, () => {
      crashRepeatedly(2, [point, second, second + 3], (fileSystem, round) =>
        fileSystem.crash({ keepUnsynced: round === 0 ? 'random' : 'none', seed: point + round }),
      );
    });
    if (!isSafe) return;
  }
  t.pass(`${total} crash points`);
});

t.test(
  'what recovery read from the page cache of a killed process survives a power cut',
  async (t) => {
    const total = operationsOf(3);
    for (let point = 1; point <= total; point++) {
      const isSafe = attempt(t, `seed 3, kill at ${point}, then a power cut`, () => {
        const fileSystem = new MemoryFileSystem();
        const workload = new WalWorkload(fileSystem, 3);
        fileSystem.crashAtOperation(point);
        runUntilCrash(workload, STEPS);
        fileSystem.crashProcess();
        workload.open();
        fileSystem.crash({ keepUnsynced: 'none', seed: point });
        workload.open();
      });
      if (!isSafe) return;
    }
    t.pass(`${total} crash points`);
  },
);

t.test('what a failed sync dropped is not trusted after a restart', async (t) => {
  const total = operationsOf(4);
  for (let skip = 0; skip * 3 < total; skip++) {
    const isSafe = attempt(t, `seed 4, failed sync number ${skip}`, () => {
      const fileSystem = new MemoryFileSystem();
      const workload = new WalWorkload(fileSystem, 4);
      fileSystem.faults.add({ operation: 'sync', skip, fault: 'EIO' });
      try {
        workload.open();
        for (let i = 0; i < STEPS; i++) workload.step();
      } catch (error) {
        if (!isFailure(error)) throw error;
      }
      fileSystem.crashProcess();
      workload.open();
      fileSystem.crash({ keepUnsynced: 'none', seed: skip });
      workload.open();
    });
    if (!isSafe) return;
  }
  t.pass('all syncs failed once');
});

const isFailure = (error: unknown): boolean =>
  ['WAL_IO', 'FILE_IO'].includes((error as { code?: string }).code ?? '');

t.test('many lives: crash after crash with random survival, by seed', async (t) => {
  for (let seed = 100; seed < 140; seed++) {
    const points = Array.from({ length: 6 }, (_, i) => 5 + ((seed * 31 + i * 47) % 160));
    const isSafe = attempt(t, `seed ${seed}, crashes at ${points}`, () => {
      crashRepeatedly(seed, points, (fileSystem, round) => {
        if (round % 3 === 1) fileSystem.crashProcess();
        else fileSystem.crash({ keepUnsynced: 'random', tearsSectors: true, seed: seed + round });
      });
    });
    if (!isSafe) return;
  }
  t.pass('40 seeds');
});

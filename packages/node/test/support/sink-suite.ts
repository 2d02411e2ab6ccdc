/** Runs the conformance suite of sinks against one store. */
import { randomInt } from 'node:crypto';
import { SeededRandom } from '@holdfast/base';
import type { Test } from 'tap';
import type { BackupSink } from '../../src/backup/sinks/sink.ts';
import type { SinkEnvironment } from '../../src/backup/sinks/sink-retry.ts';
import { RETRY_POLICY_DEFAULT } from '../../src/backup/sinks/sink-retry.ts';
import type { SinkWorld } from '../../src/backup/testing/sink-conformance.ts';
import { sinkConformance } from '../../src/backup/testing/sink-conformance.ts';
import { SYSTEM_CLOCK, SYSTEM_TIMERS } from '../../src/system-time.ts';

export const SEED = Number(process.env.HOLDFAST_SEED ?? randomInt(2 ** 31));

/** Real time, short waits: a fault of a test passes at once. */
export const TEST_ENVIRONMENT: SinkEnvironment = {
  clock: SYSTEM_CLOCK,
  timers: SYSTEM_TIMERS,
  random: new SeededRandom(SEED),
  retryPolicy: { ...RETRY_POLICY_DEFAULT, delayMsMin: 20, delayMsMax: 500 },
};

export interface Store extends Omit<SinkWorld, 'folder' | 'seed'> {
  readonly sink: BackupSink;
}

/** `store` is asked for when the cases run, so that a server can be started first. */
export function runSinkSuite(t: Test, store: () => Store): void {
  t.comment(`HOLDFAST_SEED=${SEED}`);
  for (const [index, { title, run }] of sinkConformance.entries())
    t.test(title, async (t) => {
      const world: SinkWorld = { ...store(), seed: SEED, folder: `case-${index}/` };
      await run(world, (isTrue, what) => void t.ok(isTrue, what));
    });
}

/**
 * Goal: a scrub reads at the rate that is set, within a tenth, and stays away from a busy thread.
 * Method: virtual time; a pause that takes as long as the test says.
 */
import { VirtualClock } from '@holdfast/base/testing';
import t from 'tap';
import { ScrubPace } from '../src/heal/scrub-pace.ts';

const STEP_SIZE_BYTES = 262_144;

async function run(mbps: number, stepCount: number, pauseMs = 0) {
  const clock = new VirtualClock();
  const pause = async (): Promise<void> => {
    if (pauseMs > 0) clock.advance(pauseMs);
  };
  const timers = {
    after(delayMs: number, callback: () => void) {
      clock.advance(delayMs);
      queueMicrotask(callback);
      return { cancel: () => {} };
    },
  };
  const pace = new ScrubPace(mbps * 1_000_000, { clock, timers, pause });
  const startMs = clock.monotonicMs();
  for (let step = 0; step < stepCount; step++) await pace.after(STEP_SIZE_BYTES);
  return clock.monotonicMs() - startMs;
}

t.test('the rate is kept within a tenth', async (t) => {
  for (const mbps of [1, 25, 100]) {
    const stepCount = mbps * 40;
    const ms = await run(mbps, stepCount);
    const actual = (stepCount * STEP_SIZE_BYTES) / 1_000 / ms;
    t.ok(actual > mbps * 0.9 && actual < mbps * 1.1, `${mbps} MB/s: ${actual}`);
  }
});

t.test('without a limit it takes no time on an idle thread', async (t) => {
  t.equal(await run(0, 100), 0);
});

t.test('on a busy thread it leaves the others most of the time, and still goes on', async (t) => {
  const ms = await run(0, 100, 5);
  t.ok(ms >= 100 * 5 * 8, `${ms} ms for 100 steps`);
  t.ok(ms <= 100 * 60, 'a step waits 50 ms at most');
});

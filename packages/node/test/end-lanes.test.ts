// A node that failed ends the threads of its lanes between two calls of native code, and waits for
// none of them longer than a moment.
import { VirtualClock } from '@holdfast/base/testing';
import t from 'tap';
import { endLanes, LANES_END_MS_MAX } from '../src/end-lanes.ts';

const never = (): Promise<void> => new Promise(() => undefined);

t.test('lanes that end let the process go at once, and leave no timer', async (t) => {
  const clock = new VirtualClock();
  let closedCount = 0;
  const close = async (): Promise<void> => {
    closedCount += 1;
  };
  await endLanes({ close }, clock);
  t.equal(closedCount, 1);
  t.equal(clock.monotonicMs(), 0);
  t.notOk(clock.fireNext(Number.MAX_SAFE_INTEGER), 'nothing is armed');
});

t.test('a lane that fails to end is not asked about', async (t) => {
  await t.resolves(
    endLanes({ close: () => Promise.reject(new Error('gone')) }, new VirtualClock()),
  );
});

t.test('a lane that hangs keeps the process for a moment only', async (t) => {
  const clock = new VirtualClock();
  let isOver = false;
  const ending = endLanes({ close: never }, clock).then(() => {
    isOver = true;
  });
  clock.advance(LANES_END_MS_MAX - 1);
  await Promise.resolve();
  t.notOk(isOver);
  clock.advance(1);
  await ending;
  t.ok(isOver);
});

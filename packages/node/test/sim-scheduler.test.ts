// The turns of a simulated world, wherever the simulation is called from.
import t from 'tap';
import { SimScheduler } from '../src/testing/sim-scheduler.ts';

async function awaitOften(): Promise<string> {
  for (let i = 0; i < 100; i++) await null;
  return 'done';
}

t.test(
  'time stands still while promise jobs are ready, also when called from an event',
  async (t) => {
    const scheduler = new SimScheduler();
    const outcome = await new Promise((resolve) => {
      setImmediate(() => resolve(scheduler.resolve(awaitOften())));
    });
    t.equal(outcome, 'done');
    t.equal(scheduler.clock.monotonicMs(), 0);
  },
);

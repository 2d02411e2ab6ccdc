/**
 * Goal: one owner of all recoveries: bounded in number and in tries, the most urgent first, and
 * nothing counts as recovered that was not verified.
 * Method: actions whose outcome the test decides, on virtual time.
 */
import { HoldfastError, SILENT_LOGGER } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import t from 'tap';
import type {
  RecoveryAction,
  RecoveryCause,
  RecoveryOptions,
  RecoveryPriority,
} from '../src/heal/recovery-manager.ts';
import { RECOVERY_OPTIONS_DEFAULT, RecoveryManager } from '../src/heal/recovery-manager.ts';

interface Scripted extends RecoveryAction {
  runs: number;
  undos: number;
}

function action(name: string, helps: (run: number) => boolean): Scripted {
  const scripted: Scripted = {
    ...{ name, runs: 0, undos: 0 },
    run: async () => {
      scripted.runs += 1;
      return { run: scripted.runs };
    },
    verify: async () => helps(scripted.runs),
    undo: async () => {
      scripted.undos += 1;
    },
  };
  return scripted;
}

const causeOf = (
  key: string,
  ladder: readonly RecoveryAction[],
  priority: RecoveryPriority = 1,
): RecoveryCause => ({ key, type: 'test', what: `${key} is broken`, priority, ladder });

function world(options: Partial<RecoveryOptions> = {}) {
  const clock = new VirtualClock();
  const parts = { clock, timers: clock, logger: SILENT_LOGGER };
  const manager = new RecoveryManager({ ...RECOVERY_OPTIONS_DEFAULT, ...options }, parts);
  const kinds = (key: string) =>
    manager.events().flatMap((event) => (event.key === key ? [event.kind] : []));
  /** Lets promises run, and time pass where only time is waited for. */
  const settle = async (limitMs = 600_000): Promise<void> => {
    const endMs = clock.monotonicMs() + limitMs;
    for (let turn = 0; turn < 2_000; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
      if (manager.stats().running > 0 || manager.stats().waiting === 0) {
        if (manager.stats().waiting === 0 && manager.stats().running === 0) return;
        continue;
      }
      clock.fireNext(endMs);
    }
  };
  return { clock, manager, kinds, settle };
}

t.test('an action that helps ends the recovery, and the event says what it did', async (t) => {
  const { manager, kinds, settle } = world();
  const first = action('first', () => true);
  const second = action('second', () => true);
  manager.submit(causeOf('a', [first, second]));
  await settle();
  t.same(kinds('a'), ['found', 'started', 'recovered']);
  t.equal(second.runs, 0, 'a more drastic action was not needed');
  t.match(manager.events().at(-1)?.facts, { action: 'first', run: 1 });
  t.match(manager.stats(), { totalFailuresDetected: 1, successfulRecoveries: 1, successRate: 1 });
});

t.test(
  'what is not verified is undone, tried again, and then the next action has its turn',
  async (t) => {
    const { manager, kinds, settle } = world({ retryCountMax: 2 });
    const useless = action('useless', () => false);
    const useful = action('useful', (run) => run === 2);
    manager.submit(causeOf('a', [useless, useful]));
    await settle();
    t.equal(useless.runs, 3, 'once, and two tries more');
    t.equal(useless.undos, 3);
    t.equal(useful.runs, 2);
    t.equal(kinds('a').at(-1), 'recovered');
    const stats = manager.stats().actions;
    t.match(stats, [
      { name: 'useless', attempts: 3, successes: 0 },
      { name: 'useful', attempts: 2, successes: 1 },
    ]);
  },
);

t.test(
  'a cause that no action helps is given up with an alarm and not tried for ever',
  async (t) => {
    const { manager, kinds, settle } = world({ retryCountMax: 1 });
    const useless = action('useless', () => false);
    manager.submit(causeOf('a', [useless]));
    await settle();
    t.equal(kinds('a').at(-1), 'escalated');
    t.match(
      manager.events().at(-1)?.facts,
      { what: 'a is broken', lastAction: 'useless', reason: 'the cause is still there' },
      'with what was wrong, what was tried and why it did not help',
    );
    t.same(manager.parkedKeys, ['a']);
    manager.submit(causeOf('a', [useless]));
    await settle();
    t.equal(useless.runs, 2, 'a parked cause is not tried again');
    manager.retryParked();
    manager.submit(causeOf('a', [action('better', () => true)]));
    await settle();
    t.equal(kinds('a').at(-1), 'recovered', 'until somebody asks for it');
  },
);

t.test('of alternatives the one that has helped more often goes first', async (t) => {
  const { manager, settle } = world({ retryCountMax: 0 });
  const order: string[] = [];
  const ladderOf = (ranks: readonly [number, number]) =>
    (['weak', 'strong'] as const).map((name, i) => ({
      ...{ name, rank: ranks[i]! },
      run: async () => {
        order.push(name);
        return {};
      },
      verify: async () => name === 'strong',
    }));
  const recover = async (key: string, ranks: readonly [number, number]) => {
    order.length = 0;
    manager.submit(causeOf(key, ladderOf(ranks)));
    await settle();
    return [...order];
  };
  for (const key of ['a', 'b', 'c']) t.same(await recover(key, [0, 0]), ['weak', 'strong'], key);
  t.same(await recover('d', [0, 0]), ['strong'], 'three failures are enough to tell');
  t.same(await recover('e', [0, 1]), ['weak', 'strong'], 'what is more drastic never overtakes');
  const other = { ...causeOf('f', ladderOf([0, 0])), type: 'other' };
  order.length = 0;
  manager.submit(other);
  await settle();
  t.same(order, ['weak', 'strong'], 'of another cause nothing is known');
});

t.test('an action that rejects failed; its error is in the event', async (t) => {
  const { manager, settle } = world({ retryCountMax: 0 });
  const failing: RecoveryAction = {
    name: 'failing',
    run: () => Promise.reject(new HoldfastError('REPAIR_POSTPONED', 'nobody is there')),
    verify: async () => true,
  };
  manager.submit(causeOf('a', [failing]));
  await settle();
  t.match(manager.events().find(({ kind }) => kind === 'failed')?.facts, {
    code: 'REPAIR_POSTPONED',
    reason: 'nobody is there',
  });
});

/** Runs until the test lets it go. */
function held(name: string) {
  let release = (): void => {};
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  const one = action(name, () => true);
  const { run } = one;
  one.run = async () => {
    const facts = await run();
    await gate;
    return facts;
  };
  return { action: one, release: () => release() };
}

const turn = (): Promise<unknown> => new Promise((resolve) => setImmediate(resolve));

t.test('no more than so many run at one time, the most urgent first, one per thing', async (t) => {
  const { manager, settle } = world({ concurrencyMax: 2 });
  const holds = [1, 2, 3, 4].map((i) => held(`action ${i}`));
  manager.submit(causeOf('a', [holds[0]!.action], 3));
  manager.submit(causeOf('a', [holds[0]!.action], 3));
  manager.submit(causeOf('b', [holds[1]!.action], 3));
  manager.submit(causeOf('c', [holds[2]!.action], 2));
  manager.submit(causeOf('d', [holds[3]!.action], 1));
  await turn();
  t.same(
    holds.map(({ action }) => action.runs),
    [1, 1, 0, 0],
  );
  holds[0]!.release();
  await turn();
  await turn();
  t.same(
    holds.map(({ action }) => action.runs),
    [1, 1, 0, 1],
    'd is more urgent than c',
  );
  for (const { release } of holds) release();
  await settle();
  t.equal(manager.stats().successfulRecoveries, 4);
});

t.test('a P0 does not wait for less urgent ones that take every place', async (t) => {
  const { manager, settle } = world({ concurrencyMax: 1 });
  const slow = held('slow');
  const urgent = action('urgent', () => true);
  manager.submit(causeOf('slow', [slow.action], 3));
  manager.submit(causeOf('urgent', [urgent], 0));
  await turn();
  await turn();
  t.equal(urgent.runs, 1);
  slow.release();
  await settle();
});

t.test('what others wait for takes no place and waits for none', async (t) => {
  const { manager, settle } = world({ concurrencyMax: 1 });
  const repair = held('repair');
  const lane = action('lane', () => true);
  manager.submit(causeOf('repair', [repair.action], 0));
  manager.submit({ ...causeOf('lane', [lane], 1), isPrerequisite: true });
  await turn();
  await turn();
  t.equal(lane.runs, 1, 'the repair may be waiting for just this lane');
  repair.release();
  await settle();
});

t.test('a case that is open longer than its target is an alarm, once', async (t) => {
  const { clock, manager, kinds, settle } = world();
  const slow = held('slow');
  manager.submit(causeOf('slow', [slow.action], 0));
  manager.submit(causeOf('quick', [action('quick', () => true)], 0));
  await turn();
  clock.advance(29_999);
  t.notOk(kinds('slow').includes('overdue'));
  clock.advance(60_000);
  slow.release();
  await settle();
  t.same(kinds('slow'), ['found', 'started', 'overdue', 'recovered']);
  t.same(kinds('quick'), ['found', 'started', 'recovered']);
  t.match(manager.stats(), { overdue: 1, rtoComplianceRate: 0.5 });
});

t.test('an action that repeats itself is tried as often as it says', async (t) => {
  const { manager, kinds, settle } = world({ retryCountMax: 5 });
  const once = { ...action('once', () => false), attemptCountMax: 1 };
  manager.submit(causeOf('a', [once]));
  await settle();
  t.same(kinds('a'), ['found', 'started', 'undone', 'failed', 'escalated']);
});

t.test('repairs are switched off by themselves, and never what a start needs', async (t) => {
  const { manager, kinds, settle } = world({ isRepairEnabled: false });
  const cause = (key: string, type: string) => ({
    ...causeOf(key, [action(key, () => true)]),
    type,
  });
  manager.submit(cause('file', 'corruption'));
  manager.submit(cause('lane', 'laneDied'));
  manager.submit({ ...cause('start', 'corruption'), isUnconditional: true });
  await settle();
  t.same(kinds('file'), ['found', 'leftAlone']);
  t.equal(kinds('lane').at(-1), 'recovered');
  t.equal(kinds('start').at(-1), 'recovered');
});

t.test('switched off, it tells what is found and does nothing', async (t) => {
  const { manager, kinds, settle } = world({ isEnabled: false });
  const one = action('one', () => true);
  manager.submit(causeOf('a', [one]));
  await settle();
  t.same(kinds('a'), ['found', 'leftAlone']);
  t.equal(one.runs, 0);
});

t.test('a stop ends what waits and waits for what runs', async (t) => {
  const { manager } = world({ concurrencyMax: 1 });
  const slow = held('slow');
  const waiting = action('waiting', () => true);
  manager.submit(causeOf('slow', [slow.action]));
  manager.submit(causeOf('waiting', [waiting]));
  await turn();
  let isStopped = false;
  const stopped = manager.stop().then(() => {
    isStopped = true;
  });
  await turn();
  t.equal(isStopped, false);
  slow.release();
  await stopped;
  t.equal(waiting.runs, 0);
});

t.test('every place of a cause is told once while it lasts, also one found later', async (t) => {
  const { manager, settle } = world({ retryCountMax: 1 });
  const placed = (offsets: readonly number[]): RecoveryCause => ({
    ...causeOf('file', [action('mend', (run) => run > 1)]),
    places: offsets.map((offset) => ({ offset, what: `rot at ${offset}` })),
  });
  const told = () =>
    manager.events().flatMap(({ facts, kind }) => (kind === 'found' ? [facts.offset] : []));
  manager.submit(placed([10, 20]));
  manager.submit(placed([10, 20]));
  manager.submit(placed([20, 30]));
  t.same(told(), [10, 20, 30]);
  await settle();
  t.equal(manager.events().at(-1)?.kind, 'recovered');
  manager.submit(placed([20]));
  t.same(told(), [10, 20, 30, 20], 'what comes back after a repair is a new finding');
});

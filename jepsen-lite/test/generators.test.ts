// Generators and fault schedules are values: the same seed gives the same plan.
import t from 'tap';
import { limited, steadyLoad, take } from '../src/generator/generator.ts';
import type { HistoryEvent } from '../src/history.ts';
import { scheduleFaults } from '../src/nemesis/nemesis.ts';
import type { Operation } from '../src/operation.ts';
import { WORKLOAD_NAMES, WORKLOADS } from '../src/workload/catalogue.ts';

t.test('a generator is a value: asking it twice gives the same step', async (t) => {
  for (const name of WORKLOAD_NAMES) {
    const generatorOf = (seed: number) => WORKLOADS[name]({ seed, nodeCount: 5 }).generator;
    const plan = (seed: number) =>
      take(generatorOf(seed), 80).map(({ operation, atMs }) => ({ operation, atMs }));
    const generator = generatorOf(7);
    t.same(generator.next()?.operation, generator.next()?.operation, name);
    t.same(plan(7), plan(7), name);
    if (name !== 'set') t.notSame(plan(7), plan(8), name);
  }
});

t.test(
  'the load is offered at its rate, whatever becomes of it, in bursts if wanted',
  async (t) => {
    const write = (position: number): Operation => ({ kind: 'add', element: position });
    const load = steadyLoad({ seed: 1, ratePerSecond: 200, burstCount: 4 }, write);
    const moments = take(load, 9).map(({ atMs }) => atMs);
    t.same(moments, [0, 0, 0, 0, 20, 20, 20, 20, 40]);
    t.equal(take(limited(3, load), 10).length, 3);
  },
);

t.test('every value and element of a plan is unique, and every node is asked', async (t) => {
  for (const name of WORKLOAD_NAMES) {
    const { generator } = WORKLOADS[name]({ seed: 3, nodeCount: 5 });
    const values: number[] = [];
    const nodePicks = new Set<number>();
    for (const { operation } of take(generator, 2_000)) {
      if ('value' in operation && typeof operation.value === 'number') values.push(operation.value);
      if ('element' in operation) values.push(operation.element);
      if ('nodePick' in operation && operation.nodePick != null) nodePicks.add(operation.nodePick);
      if ('nodePicks' in operation) for (const pick of operation.nodePicks) nodePicks.add(pick);
    }
    t.equal(new Set(values).size, values.length, name);
    t.equal(nodePicks.size, 5, name);
  }
});

t.test('the register plan meets on keys, and leaves each after a while', async (t) => {
  const { generator } = WORKLOADS.register({ seed: 1, nodeCount: 5 });
  const steps = take(generator, 5_000);
  const kinds = new Set(steps.map(({ operation }) => operation.kind));
  t.same([...kinds].sort(), ['compareAndSet', 'read', 'write']);
  const counts = new Map<string, number>();
  const together = new Map<string, number>();
  for (const { operation, atMs } of steps) {
    if (!('key' in operation)) throw new Error('an operation without a key');
    counts.set(operation.key, (counts.get(operation.key) ?? 0) + 1);
    const moment = `${operation.key} at ${atMs}`;
    together.set(moment, (together.get(moment) ?? 0) + 1);
  }
  t.same([...new Set(together.values())], [8], 'begin together on one key');
  t.equal(Math.max(...counts.values()), 360, 'few enough for the checker');
});

t.test('the set plan adds every element from 1 once, and reads only what was added', async (t) => {
  const { generator } = WORKLOADS.set({ seed: 1, nodeCount: 3 });
  const steps = take(generator, 1_000).map(({ operation }) => operation);
  const adds = steps.flatMap((one) => (one.kind === 'add' ? [one.element] : []));
  t.same(
    adds,
    adds.map((_unused, i) => i + 1),
  );
  const isAhead = steps.some((one, position) => {
    const added = steps.slice(0, position).filter(({ kind }) => kind === 'add').length;
    return one.kind === 'readAll' && one.elementMax > added;
  });
  t.notOk(isAhead);
});

t.test('the final operations ask every node for everything that was tried', async (t) => {
  const event = (operation: Operation, processId: number): HistoryEvent => ({
    ...{ kind: 'operation', phase: 'invoke', processId, operation, timeMs: 0 },
  });
  for (const name of WORKLOAD_NAMES) {
    const { generator, finalOperations } = WORKLOADS[name]({ seed: 3, nodeCount: 5 });
    const events = take(generator, 700).map(({ operation }, i) => event(operation, i));
    const nodes = new Set(
      finalOperations(events, 5).map((one) => ('nodePick' in one ? one.nodePick : null)),
    );
    t.same([...nodes].sort(), [0, 1, 2, 3, 4], name);
  }
});

t.test('harm and healing alternate, and the last action heals', async (t) => {
  const nemesis = { harmfulActions: ['kill-leader', 'kill-all'], healingAction: 'heal' };
  for (const durationMs of [1_000, 1_500, 5_000, 9_500]) {
    const faults = scheduleFaults(nemesis, { seed: 3, durationMs, intervalMs: 700 });
    faults.forEach((fault, i) => {
      t.equal(fault.action === 'heal', i % 2 === 1, `${durationMs} ms, action ${i}`);
    });
    t.equal(faults.at(-1)?.action, 'heal');
    t.ok(faults.every((fault) => fault.atMs <= durationMs));
  }
  const options = { seed: 3, durationMs: 9_000, intervalMs: 500 };
  t.same(scheduleFaults(nemesis, options), scheduleFaults(nemesis, options));
  t.same(scheduleFaults({ ...nemesis, harmfulActions: [] }, options), []);
});

// Generators and fault schedules are values: the same seed gives the same plan.
import t from 'tap';
import { type Generator, limited, registerMix, uniqueAdds } from '../src/generator/generator.ts';
import type { Operation } from '../src/history.ts';
import { scheduleFaults } from '../src/nemesis/nemesis.ts';
import { setWorkload } from '../src/workload/set.ts';

function take(generator: Generator, count: number): Operation[] {
  const operations: Operation[] = [];
  let rest: Generator | null = generator;
  while (rest !== null && operations.length < count) {
    const step: ReturnType<Generator['next']> = rest.next();
    if (step === null) break;
    operations.push(step.operation);
    rest = step.rest;
  }
  return operations;
}

t.test('a generator is a value: asking it twice gives the same operation', async (t) => {
  const mix = registerMix({ seed: 7, operationsPerKey: 10 });
  t.same(mix.next()?.operation, mix.next()?.operation);
  t.same(take(mix, 200), take(registerMix({ seed: 7, operationsPerKey: 10 }), 200));
  t.notSame(take(mix, 200), take(registerMix({ seed: 8, operationsPerKey: 10 }), 200));
});

t.test('the register mix has every kind, and a new key after so many operations', async (t) => {
  const operations = take(registerMix({ seed: 1, operationsPerKey: 50 }), 200);
  const kinds = new Set(operations.map((operation) => operation.kind));
  t.same([...kinds].sort(), ['compareAndSet', 'read', 'write']);
  const keys = operations.map((operation) => ('key' in operation ? operation.key : ''));
  t.equal(new Set(keys).size, 4);
  t.equal(keys.filter((key) => key === 'register-1').length, 50);
});

t.test('adds are unique, and a limit ends them', async (t) => {
  t.same(take(limited(3, uniqueAdds(5)), 10), [
    { kind: 'add', element: 5 },
    { kind: 'add', element: 6 },
    { kind: 'add', element: 7 },
  ]);
});

t.test('the final read of the set asks for every element that was ever tried', async (t) => {
  const workload = setWorkload();
  const event = (element: number) =>
    ({
      kind: 'operation',
      phase: 'invoke',
      processId: element,
      operation: { kind: 'add', element },
      timeMs: 0,
    }) as const;
  t.match(workload.finalOperations([event(3), event(9), event(4)]), [
    { kind: 'readAll', elementMax: 9 },
  ]);
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

// Every workload against a simulated database: its plan, its final operations and its checker fit
// together, every right history is valid, and every kind of lie is found and named.
import { assert } from '@holdfast/base';
import t from 'tap';
import type { Verdict } from '../src/checker/verdict.ts';
import { take } from '../src/generator/generator.ts';
import type { HistoryEvent } from '../src/history.ts';
import type { Operation, OperationOf } from '../src/operation.ts';
import { BANK } from '../src/workload/bank.ts';
import { WORKLOAD_NAMES, WORKLOADS, type WorkloadName } from '../src/workload/catalogue.ts';
import { SimulatedDatabase } from './simulated-database.ts';
import { answersOf, simulate, withAnswer, withFinals } from './simulated-history.ts';

const NODE_COUNT = 5;

interface Played {
  readonly events: readonly HistoryEvent[];
  readonly judge: (events: readonly HistoryEvent[]) => Verdict;
}

function play(name: WorkloadName, seed: number, lossShare = 0.04): Played {
  const workload = WORKLOADS[name]({ seed, nodeCount: NODE_COUNT });
  const operations = take(workload.generator, 700).map(({ operation }) => operation);
  const database = new SimulatedDatabase(name === 'bank' ? accounts() : {});
  const { apply } = database;
  const run = simulate({ seed, workerCount: 10, operations, lossShare, apply });
  const finals = workload.finalOperations(run, NODE_COUNT);
  return { events: withFinals(run, finals, apply), judge: workload.judge };
}

function accounts(): Readonly<Record<string, number>> {
  const names = Array.from({ length: BANK.accountCount }, (_unused, i) => `accounts/${i + 1}`);
  return Object.fromEntries(names.map((name) => [name, BANK.total / BANK.accountCount]));
}

for (const name of WORKLOAD_NAMES) {
  t.test(`whatever a right database answers to the workload ${name} is valid`, async (t) => {
    for (let seed = 1; seed <= 12; seed++) {
      const { events, judge } = play(name, seed, seed % 2 === 0 ? 0.04 : 0);
      const verdict = judge(events);
      t.equal(verdict.kind, 'valid', `seed ${seed}: ${JSON.stringify(verdict)}`);
    }
  });
}

/** Replaces one answer of a kind, the last but `fromEnd` that `lie` has something to say about. */
function lied<Kind extends Operation['kind']>(
  events: readonly HistoryEvent[],
  kind: Kind,
  lie: (operation: OperationOf<Kind>, all: readonly OperationOf<Kind>[]) => Operation | null,
): readonly HistoryEvent[] {
  const answers = answersOf(events, kind).toReversed();
  const all = answers.map(({ operation }) => operation as OperationOf<Kind>);
  for (const { at, operation } of answers) {
    const answer = lie(operation as OperationOf<Kind>, all);
    if (answer !== null) return withAnswer(events, at, answer);
  }
  throw new Error(`nothing of kind ${kind} to lie about`);
}

type Lie = (events: readonly HistoryEvent[]) => readonly HistoryEvent[];

/** What is answered wrongly, and what the checker must call it. */
const LIES: readonly (readonly [WorkloadName, string, RegExp, Lie])[] = [
  [
    'register',
    'a read answers what was overwritten',
    /no order/,
    (events) =>
      lied(events, 'read', (read) => {
        const written = answersOf(events, 'write').filter(
          ({ operation }) => operation.key === read.key,
        );
        const old = written[0]?.operation.value ?? null;
        return old === null || old === read.value ? null : { ...read, value: old };
      }),
  ],
  [
    'search',
    'a search finds a point that was deleted or overwritten long ago',
    /no order/,
    (events) =>
      lied(events, 'findPoint', (find) => {
        const written = answersOf(events, 'putPoint').filter(
          ({ operation }) => operation.key === find.key,
        );
        const old = written[0]?.operation.value ?? null;
        return old === null || old === find.found ? null : { ...find, found: old };
      }),
  ],
  [
    'search',
    'an exact search does not find an acknowledged point',
    /no order/,
    (events) =>
      lied(events, 'findPoint', (find) =>
        typeof find.found !== 'number' ? null : { ...find, found: null },
      ),
  ],
  [
    'set',
    'one node lost one element',
    /1 x lost/,
    (events) => lied(events, 'readAll', (read) => ({ ...read, elements: read.elements!.slice(1) })),
  ],
  [
    'batch',
    'half of a batch is not there',
    /torn/,
    (events) =>
      lied(events, 'readTogether', (read) => {
        const seen = read.seen ?? [];
        const twice = seen.find(
          (one) => seen.filter(({ value }) => value === one.value).length > 1,
        );
        if (twice === undefined) return null;
        return { ...read, seen: seen.filter(({ point }) => point !== twice.point) };
      }),
  ],
  [
    'batch',
    'a node shows an older value than others did at that index',
    /too old/,
    (events) =>
      lied(events, 'readTogether', (read, all) => {
        const older = all.find(
          (other) => other.key === read.key && other.appliedIndex! < read.appliedIndex! - 40,
        );
        return older === undefined ? null : { ...read, seen: older.seen };
      }),
  ],
  [
    'batch',
    'a read goes back in time as a whole',
    /stale read/,
    (events) =>
      lied(events, 'readTogether', (read, all) => {
        const older = all.find(
          (other) => other.key === read.key && other.appliedIndex! < read.appliedIndex! - 40,
        );
        return older === undefined ? null : { ...older, nodePick: read.nodePick };
      }),
  ],
  [
    'batch',
    'a batch has two places in the log',
    /executed twice/,
    (events) =>
      lied(events, 'readTogether', (read) => {
        const [first, ...rest] = read.seen ?? [];
        if (first === undefined) return null;
        const appliedIndex = read.appliedIndex! + 1;
        return { ...read, seen: [{ ...first, version: appliedIndex }, ...rest], appliedIndex };
      }),
  ],
  [
    'bank',
    'money is made',
    /wrong total/,
    (events) =>
      lied(events, 'readTogether', (read) => {
        const [first, ...rest] = read.seen ?? [];
        return first === undefined
          ? null
          : { ...read, seen: [{ ...first, value: first.value + 1 }, ...rest] };
      }),
  ],
  [
    'bank',
    'one side of a transfer is seen',
    /wrong total|too old/,
    (events) =>
      lied(events, 'readTogether', (read, all) => {
        const changed = (other: typeof read) =>
          read.seen!.findIndex((one, i) => other.seen![i]!.version !== one.version);
        const older = all.find(
          (other) => other.appliedIndex! < read.appliedIndex! && changed(other) >= 0,
        );
        if (older === undefined) return null;
        const at = changed(older);
        return { ...read, seen: read.seen!.with(at, older.seen![at]!) };
      }),
  ],
  [
    'bank',
    'an account is missing',
    /missing/,
    (events) => lied(events, 'readTogether', (read) => ({ ...read, seen: read.seen!.slice(1) })),
  ],
  [
    'bank',
    'a transfer finds one account of two',
    /accounts missing/,
    (events) => lied(events, 'transfer', (transfer) => ({ ...transfer, foundCount: 1 })),
  ],
  [
    'bank',
    'an account is overdrawn',
    /overdrawn/,
    (events) =>
      lied(events, 'readTogether', (read) => {
        const seen = read.seen!.map((one, i) =>
          i > 1 ? one : { ...one, value: one.value + (i === 0 ? -500 : 500) },
        );
        return { ...read, seen };
      }),
  ],
  [
    'append',
    'an acknowledged element is gone',
    /two orders|lost/,
    (events) =>
      lied(events, 'readList', (read) =>
        read.list!.length < 3 ? null : { ...read, list: read.list!.toSpliced(1, 1) },
      ),
  ],
  [
    'append',
    'the end of a list is gone',
    /lost or stale/,
    (events) =>
      lied(events, 'readList', (read) =>
        read.list!.length < 3 ? null : { ...read, list: read.list!.slice(0, -2) },
      ),
  ],
  [
    'append',
    'an element stands twice',
    /duplicated/,
    (events) =>
      lied(events, 'readList', (read) => {
        const [first] = read.list!;
        return first === undefined ? null : { ...read, list: [...read.list!, first] };
      }),
  ],
  [
    'sessions',
    'an answer is not the state at its index',
    /too old/,
    (events) =>
      lied(events, 'readStale', (read) =>
        read.version === null ? null : { ...read, value: null, version: null },
      ),
  ],
  [
    'sessions',
    'a node goes back',
    /a node went back/,
    (events) =>
      lied(events, 'readStale', (read, all) => {
        const older = all.find(
          (other) => other.key === read.key && other.appliedIndex! < read.appliedIndex! - 40,
        );
        const { nodePick, stalenessMsMax } = read;
        return older === undefined ? null : { ...older, nodePick, stalenessMsMax };
      }),
  ],
  [
    'sessions',
    'an answer is staler than was allowed',
    /too stale/,
    (events) =>
      lied(events, 'readStale', (read, all) => {
        const older = all.find(
          (other) => other.key === read.key && other.appliedIndex! < read.appliedIndex! - 40,
        );
        return older === undefined ? null : { ...older, stalenessMsMax: 1 };
      }),
  ],
  [
    'schema',
    'data of a dropped collection comes back',
    /came back/,
    (events) =>
      lied(events, 'readCollection', (read) => {
        const dropped = answersOf(events, 'dropCollection').find(
          ({ operation }) =>
            operation.name === read.name &&
            operation.isDropped &&
            operation.index! < read.appliedIndex!,
        );
        const before = answersOf(events, 'insertInto').find(
          ({ operation }) =>
            operation.name === read.name && operation.index! < (dropped?.operation.index ?? 0),
        );
        if (before === undefined) return null;
        const { element, index } = before.operation;
        return {
          ...read,
          seen: [...read.seen!, { point: element, value: element, version: index! }],
        };
      }),
  ],
  [
    'schema',
    'an inserted element is not read',
    /lost/,
    (events) =>
      lied(events, 'readCollection', (read) =>
        read.seen!.length === 0 ? null : { ...read, seen: read.seen!.slice(1) },
      ),
  ],
  [
    'schema',
    'a drop is executed twice',
    /dropped twice/,
    (events) =>
      lied(events, 'dropCollection', (drop, all) => {
        const twin = all.find(
          (other) => other.name === drop.name && other !== drop && other.isDropped,
        );
        const created = answersOf(events, 'createCollection').some(
          ({ operation }) => operation.createdIndex === (twin?.index ?? 0) + 1,
        );
        return twin === undefined || created
          ? null
          : { ...drop, index: twin.index! + 1, isDropped: true };
      }),
  ],
  [
    'schema',
    'a creation is executed twice',
    /created twice/,
    (events) =>
      lied(events, 'createCollection', (create) =>
        create.createdIndex === create.index ? null : { ...create, createdIndex: create.index },
      ),
  ],
  [
    'retries',
    'a repetition has another place in the log',
    /executed twice/,
    (events) =>
      lied(events, 'insertRepeated', (insert) => ({
        ...{ ...insert, indexes: [insert.indexes![0]!, insert.indexes![0]! + 1] },
      })),
  ],
  [
    'retries',
    'a repetition meets its own first execution',
    /executed twice/,
    (events) =>
      lied(events, 'insertRepeated', (insert) => ({ ...insert, refusals: ['VERSION_CONFLICT'] })),
  ],
  [
    'retries',
    'a repetition is told something else than the first one',
    /refused without a reason/,
    (events) =>
      lied(events, 'insertRepeated', (insert) => ({
        ...{ ...insert, refusals: ['COLLECTION_NOT_FOUND'] },
      })),
  ],
  [
    'retries',
    'a node does not have an acknowledged element',
    /lost/,
    (events) => lied(events, 'readRepeated', (read) => ({ ...read, seen: read.seen!.slice(0, 3) })),
  ],
  [
    'retries',
    'the version moved after the answer',
    /executed twice/,
    (events) =>
      lied(events, 'readRepeated', (read) => ({
        ...read,
        seen: read.seen!.map((one) => ({ ...one, version: one.version + 10_000 })),
      })),
  ],
];

for (const [name, what, reason, lie] of LIES) {
  t.test(`the checker of ${name} finds that ${what}`, async (t) => {
    for (let seed = 21; seed <= 24; seed++) {
      // No answer is lost, so that nothing excuses the lie.
      const { events, judge } = play(name, seed, 0);
      const verdict = judge(lie(events));
      t.match(verdict, { kind: 'invalid', reason }, `seed ${seed}`);
      assert(verdict.kind === 'invalid', 'checked above');
      const [example] = verdict.examples;
      t.ok(example?.processIds?.length, 'with who it was');
      t.type(example?.timeMs, 'number', 'and when');
    }
  });
}

t.test('a run in which nothing was acknowledged or read is unknown', async (t) => {
  for (const name of WORKLOAD_NAMES) {
    const { judge } = WORKLOADS[name]({ seed: 1, nodeCount: NODE_COUNT });
    t.equal(judge([]).kind, 'unknown', name);
  }
});

t.test('an answer that was lost excuses what it may have done, and nothing else', async (t) => {
  for (const name of WORKLOAD_NAMES) {
    const { events, judge } = play(name, 31, 0.3);
    t.equal(judge(events).kind, 'valid', name);
  }
});

/**
 * Goal: a read is answered once, by its lanes or at its deadline, and leaves nothing behind.
 * Method: a reader over an applier whose lanes answer when the test says so.
 */
import { HoldfastError, logIndex } from '@holdfast/base';
import type { LaneRead, LaneReadResult, ShardHost } from '@holdfast/shard-worker';
import t from 'tap';
import type { Applier } from '../src/replica/applier.ts';
import { LaneReader } from '../src/routing/lane-reader.ts';

type PerLane = readonly (readonly LaneReadResult[])[];

interface Posted {
  readonly readsPerLane: readonly (readonly LaneRead[])[];
  readonly answer: (perLane: PerLane) => void;
  readonly refuse: (error: HoldfastError) => void;
}

const READ: LaneRead = { kind: 'count', uid: 1, budgetMs: 1 };
const countOf = (count: number): LaneReadResult => ({ kind: 'count', count });

function world() {
  const posted: Posted[] = [];
  const deferred: (() => void)[] = [];
  const read = (readsPerLane: Posted['readsPerLane']) => {
    const results = new Promise<PerLane>((answer, refuse) => {
      posted.push({ readsPerLane, answer, refuse });
    });
    return { index: logIndex(7), results };
  };
  const reader = new LaneReader(
    { laneCount: 2 } as ShardHost,
    { read } as unknown as Applier,
    (task) => deferred.push(task),
  );
  const turn = (): void => {
    for (const task of deferred.splice(0)) task();
  };
  const ask = (lanes: readonly number[], deadlineMs: number) =>
    reader
      .read(lanes, deadlineMs, () => READ)
      .then(
        ({ results }) => results.map((result) => (result as { count: number }).count),
        (error: HoldfastError) => ({ code: error.code, lanes: error.details.lanes }),
      );
  return { posted, reader, turn, ask };
}

t.test('reads of one task end each by its own deadline', async (t) => {
  const { ask, posted, reader, turn } = world();
  const short = ask([0, 1], 100);
  const long = ask([1], 200);
  turn();
  t.equal(posted.length, 1, 'one task');
  reader.expire(99);
  t.same(reader.counts, { reads: 2, tasks: 1 });
  reader.expire(100);
  t.same(await short, { code: 'REQUEST_TIMEOUT', lanes: [0, 1] });
  t.same(reader.counts, { reads: 1, tasks: 1 });
  posted[0]!.answer([[countOf(1)], [countOf(2), countOf(3)]]);
  t.same(await long, [3], 'the other one is answered, from its own place');
  t.same(reader.counts, { reads: 0, tasks: 0 });
});

t.test('what lanes say after the deadline is dropped, answer or refusal', async (t) => {
  const { ask, posted, reader, turn } = world();
  for (const say of ['answer', 'refusal'] as const) {
    const read = ask([0], 100);
    turn();
    reader.expire(150);
    t.match(await read, { code: 'REQUEST_TIMEOUT' });
    t.same(reader.counts, { reads: 0, tasks: 1 }, 'the task counts until the lane lets it go');
    const task = posted.at(-1)!;
    if (say === 'answer') task.answer([[countOf(1)], []]);
    else task.refuse(new HoldfastError('SHARD_UNAVAILABLE', 'lane 0 hangs; ask another node'));
    await Promise.resolve();
    await new Promise(setImmediate);
    t.same(reader.counts, { reads: 0, tasks: 0 }, say);
  }
});

t.test('a replica that stops answers what waits for its lanes', async (t) => {
  const { ask, posted, reader, turn } = world();
  const read = ask([0], 100);
  turn();
  reader.abandon(new HoldfastError('SHUTTING_DOWN', 'this node stops; use another'));
  t.match(await read, { code: 'SHUTTING_DOWN' });
  reader.expire(1_000);
  posted[0]!.answer([[countOf(1)], []]);
  t.equal(reader.counts.reads, 0);
});

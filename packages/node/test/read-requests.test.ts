/**
 * Goal: what a read answers is the state of one index, names included: rows of a collection that
 * was dropped, renamed or replaced between the look at its name and the look at its rows are
 * nobody's answer. Method: a replica whose lanes answer when the test says so.
 */
import { HoldfastError, type LogIndex, logIndex } from '@holdfast/base';
import type { ResultBody, ScrollRequest } from '@holdfast/protocol';
import type { LaneRead, LaneReadResult } from '@holdfast/shard-worker';
import t from 'tap';
import type { ExecutorReplica } from '../src/replica/executor-replica.ts';
import { ReadRequests } from '../src/replica/read-requests.ts';
import { Catalogue } from '../src/state/catalogue.ts';
import type { CollectionSpec } from '../src/state/command.ts';

const SPEC = { name: 'docs', dimension: 2, metric: 'l2', shardCount: 1 } as CollectionSpec;
const HIDING = { state: 'dropped', sinceMs: 0, purgeAtMs: 1 } as const;
const DEADLINE_MS = 1_000;

/** Rows of a collection are one point whose id is the uid. */
class World {
  readonly catalogue = new Catalogue();
  readonly askedUids: number[] = [];
  index = 10;
  nowMs = 0;
  /** In turn, before the answers of the lanes. */
  readonly changes: (() => void)[] = [];

  constructor() {
    this.catalogue.create(logIndex(1), SPEC, false);
  }

  dropAndCreateAnew(): void {
    this.catalogue.hide('docs', HIDING);
    this.index += 2;
    this.catalogue.create(logIndex(this.index), SPEC, false);
  }

  scroll(consistency: ScrollRequest['consistency']): Promise<ResultBody> {
    const requests = new ReadRequests(this.#replica());
    return requests.scroll({ collection: 'docs', consistency } as ScrollRequest, DEADLINE_MS);
  }

  #replica(): ExecutorReplica {
    const read = async (
      _lanes: unknown,
      _deadlineMs: number,
      readOf: (lane: number) => LaneRead,
    ) => {
      const { uid } = readOf(0) as Extract<LaneRead, { kind: 'scroll' }>;
      this.askedUids.push(uid);
      this.changes.shift()?.();
      const isGone = this.catalogue.byUid(uid) === undefined;
      if (isGone) throw new HoldfastError('COLLECTION_NOT_FOUND', 'no such uid here');
      const point = { id: uid, version: uid, vector: null, payload: null };
      const result = { kind: 'scroll', points: [point], hasMore: false };
      return { index: logIndex(this.index), results: [result as unknown as LaneReadResult] };
    };
    return {
      meta: { catalogue: this.catalogue, appliedIndex: logIndex(this.index) },
      host: { laneCount: 1, laneOf: () => 0 },
      lanes: { read, index: logIndex(this.index) },
      linearizable: async (): Promise<LogIndex> => logIndex(this.index),
      stalenessMs: () => 0,
      nowMs: () => this.nowMs,
    } as unknown as ExecutorReplica;
  }
}

const idsOf = (body: ResultBody): readonly unknown[] =>
  'points' in body ? body.points.map((point) => point?.id) : [];

for (const consistency of ['linearizable', 'stale'] as const) {
  t.test(`a ${consistency} read of a name that moves on reads who has it then`, async (t) => {
    const world = new World();
    world.changes.push(() => world.dropAndCreateAnew());
    const body = await world.scroll(consistency);
    t.same(idsOf(body), [12], 'rows of the new collection, not of the dropped one');
    t.match(body, { appliedIndex: 12 });
    t.same(world.askedUids, [1, 12]);
  });

  t.test(`a ${consistency} read of what is dropped meanwhile finds nothing`, async (t) => {
    const world = new World();
    world.changes.push(() => void world.catalogue.hide('docs', HIDING));
    await t.rejects(world.scroll(consistency), { code: 'COLLECTION_NOT_FOUND' });
  });

  t.test(`a ${consistency} read over a drop that is taken back reads again`, async (t) => {
    const world = new World();
    world.changes.push(() => {
      world.catalogue.hide('docs', HIDING);
      world.catalogue.undelete(1, null);
    });
    t.same(idsOf(await world.scroll(consistency)), [1]);
    t.same(world.askedUids, [1, 1], 'what it saw first is of no one index');
  });

  t.test(`a ${consistency} read whose lanes have let a name's rows go looks again`, async (t) => {
    const world = new World();
    world.changes.push(() => {
      world.catalogue.drop('docs');
      world.catalogue.create(logIndex(12), SPEC, false);
    });
    t.same(idsOf(await world.scroll(consistency)), [12]);
  });
}

t.test('a read of a name that never stands still ends at its deadline', async (t) => {
  const world = new World();
  const change = (): void => {
    world.nowMs += 100;
    world.dropAndCreateAnew();
    world.changes.push(change);
  };
  world.changes.push(change);
  await t.rejects(world.scroll('stale'), { code: 'REQUEST_TIMEOUT', message: /was changed/ });
  t.equal(world.askedUids.length, 10);
});

t.test('a read of a name that stands still is made once', async (t) => {
  const world = new World();
  t.same(idsOf(await world.scroll('linearizable')), [1]);
  t.same(world.askedUids, [1]);
});

/**
 * Goal: a walk over a shard meets each live row once, in bounded stretches that tell when they do
 * not fit together any more. Method: one lane on a disk in memory.
 */
import { must } from '@holdfast/base';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import t from 'tap';
import { LaneEngine } from '../src/engine/lane-engine.ts';
import type { PointOp } from '../src/point-op.ts';
import { encodePointOps } from '../src/point-op.ts';
import type { LaneCommand, ShardReply, ShardTask, WalkedRows } from '../src/tasks.ts';
import { at, definitionOf, UID } from './harness.ts';

const ROW_COUNT = 5_000;
const DATA = 'data';

class Lane {
  readonly engine = new LaneEngine({
    ...{ fs: new MemoryFileSystem(), graphFactory: null, compactionDeadRowCountMin: 5 },
  });

  constructor(dimension: number) {
    this.run({
      ...{ kind: 'open', epoch: 1, dataDirectory: DATA, laneIndex: 0, laneCount: 1 },
      ...{ appliedIndex: at(0), definitions: [], manifests: [] },
    });
    const definition = definitionOf({ dimension, shardCount: 1, sealRowCount: 1_000_000 });
    this.apply((index) => ({ kind: 'createCollection', index, definition }));
  }

  run(task: ShardTask): ShardReply {
    const reply = this.engine.run(task);
    if (reply.kind === 'failed') throw new Error(reply.error.message);
    return reply;
  }

  apply(commandAt: (index: ReturnType<typeof at>) => LaneCommand): void {
    const index = at(this.engine.appliedIndex + 1);
    const commands = [commandAt(index)];
    this.run({ kind: 'apply', epoch: 1, fromIndex: index, toIndex: index, commands });
  }

  write(points: readonly PointOp[]): void {
    const ops = encodePointOps(points);
    this.apply((index) => ({
      ...{ kind: 'write', index, timestampMs: index, uid: UID, mode: 'always', ops },
    }));
  }

  /** Lets dead rows go, as a node does after a checkpoint. */
  compact(): void {
    const { appliedIndex: expectedIndex } = this.engine;
    this.run({ kind: 'checkpoint', epoch: 1, expectedIndex, checkpointId: 'c1' });
    this.run({ kind: 'checkpointDurable', epoch: 1, checkpointId: 'c1' });
    while (this.engine.buildSlice(1_000));
  }

  walk(fromRow: number): WalkedRows {
    const walk = { kind: 'walk', uid: UID, shard: 0, fromRow, withPoints: true } as const;
    const { appliedIndex: expectedIndex } = this.engine;
    const reply = this.run({ kind: 'read', epoch: 1, expectedIndex, reads: [walk] });
    const result = reply.kind === 'read' ? must(reply.results[0]) : null;
    if (result?.kind !== 'walk') throw new Error('a walk is answered by rows');
    return result;
  }

  stretches(): readonly WalkedRows[] {
    const all: WalkedRows[] = [];
    for (let row: number | null = 0; row !== null; row = must(all.at(-1)).nextRow)
      all.push(this.walk(row));
    return all;
  }
}

const upsert = (id: number, dimension: number): PointOp => ({
  ...{ type: 'upsert', id, payload: null, condition: { kind: 'none' } },
  vector: new Float32Array(dimension).fill(id),
});
const remove = (id: number): PointOp => ({
  ...{ type: 'delete', id, condition: { kind: 'none' } },
});
const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
const sumOf = (stretches: readonly WalkedRows[]): bigint =>
  stretches.reduce((sum, { contentSum }) => sum + BigInt(`0x${contentSum}`), 0n) % (1n << 128n);
const idsOf = (stretches: readonly WalkedRows[]) =>
  stretches.flatMap(({ points }) => points.map(({ id }) => id));

t.test('a walk meets each live row once, however many stretches it takes', async (t) => {
  const lane = new Lane(2);
  for (const from of numbers(0, 5).map((part) => part * 1_000))
    lane.write(numbers(from, from + 1_000).map((id) => upsert(id, 2)));
  lane.write(
    numbers(0, ROW_COUNT)
      .filter((id) => id % 5 === 0)
      .map(remove),
  );
  const before = lane.stretches();
  t.equal(before.length, 2);
  t.same(
    idsOf(before),
    numbers(0, ROW_COUNT).filter((id) => id % 5 !== 0),
  );
  t.equal(new Set(before.map(({ stamp }) => stamp)).size, 1, 'they fit together');
  lane.write(
    numbers(1, ROW_COUNT)
      .filter((id) => id % 5 === 1)
      .map(remove),
  );
  const stretch = lane.walk(0);
  t.not(stretch.stamp, before[0]?.stamp, 'a write is told');
  const live = lane.stretches();
  lane.compact();
  t.not(lane.walk(0).stamp, stretch.stamp, 'other numbers of rows are told');
  const after = lane.stretches();
  t.equal(after.length, 1, 'dead rows are gone');
  t.same(idsOf(after), idsOf(live));
  t.equal(sumOf(after), sumOf(live), 'the same content');
  t.not(sumOf(after), sumOf(before));
});

t.test('a stretch of wide rows is bounded in bytes', async (t) => {
  const dimension = 16_384;
  const lane = new Lane(dimension);
  for (const from of [0, 30, 60])
    lane.write(numbers(from, from + 30).map((id) => upsert(id, dimension)));
  const stretches = lane.stretches();
  for (const { points } of stretches) t.ok(points.length <= 33, `${points.length} rows of 64 KiB`);
  t.same(idsOf(stretches), numbers(0, 90));
});

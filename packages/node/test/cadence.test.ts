/**
 * Goal: what a node does by itself again and again it does as often as it is set: scrubs of every
 * collection, checkpoints by time and by bytes of log.
 * Method: one whole node on virtual time, with short intervals.
 */
import type { Request } from '@holdfast/protocol';
import t from 'tap';
import { SimCluster } from '../src/testing/sim-cluster.ts';

type Settings = NonNullable<SimCluster['options']['settings']>;

const create = (name: string): Request => ({
  ...{ id: 1, kind: 'createCollection', name, dimension: 64, metric: 'l2', shardCount: 2 },
});

function upsert(collection: string, id: number): Request {
  const vector = new Float32Array(64).fill(id);
  return { id: 1, kind: 'upsert', collection, points: [{ id, vector }] };
}

async function oneNode(settings: Settings) {
  const cluster = new SimCluster({ nodeCount: 1, seed: 31, settings });
  await cluster.start();
  const node = await cluster.leader();
  for (const name of ['one', 'two']) {
    await cluster.execute(node, create(name));
    for (let id = 1; id <= 20; id++) await cluster.execute(node, upsert(name, id));
  }
  await cluster.scheduler.resolve(node.node.replica.checkpoint());
  return { cluster, node };
}

t.test(
  'every collection is scrubbed again before its interval is over, restarts or not',
  async (t) => {
    const scrubIntervalMs = 10_000;
    const { cluster, node } = await oneNode({ heal: { scrubIntervalMs } });
    const collections = new Set<string>();
    let [endedAtMs, gapMsMax, passCount] = [0, 0, 0];
    for (let step = 0; step < 120; step++) {
      await cluster.scheduler.advance(500);
      // A restart does not begin to count from zero.
      if (step === 55 || step === 70) {
        node.kill();
        await node.start();
      }
      const newest = node.node.care.scrubber?.newest ?? null;
      if (newest === null || newest.endedAtMs === endedAtMs) continue;
      if (passCount > 0) gapMsMax = Math.max(gapMsMax, newest.endedAtMs - endedAtMs);
      endedAtMs = newest.endedAtMs;
      passCount += 1;
      t.match(newest, { isComplete: true, totals: { flaws: 0 } });
      for (const { collection } of newest.groups)
        if (collection !== '') collections.add(collection);
      t.equal(
        newest.groups.filter(({ collection }) => collection !== '').length,
        2,
        'both of them',
      );
    }
    t.equal(collections.size, 2);
    t.ok(passCount >= 4, `${passCount} passes in a minute`);
    t.ok(gapMsMax <= scrubIntervalMs + 1_500, `at most ${gapMsMax} ms apart`);
  },
);

t.test(
  'a checkpoint is made when its interval is over, and when the log has grown enough',
  async (t) => {
    const generationsIn = async (settings: Settings, ms: number) => {
      const { cluster, node } = await oneNode(settings);
      const before = node.node.replica.checkpointer.root?.generation ?? 0;
      for (let passedMs = 0; passedMs < ms; passedMs += 100) {
        await cluster.execute(node, upsert('one', 1 + (passedMs % 20)));
        await cluster.scheduler.advance(100);
      }
      return (node.node.replica.checkpointer.root?.generation ?? 0) - before;
    };
    const never = { checkpointIntervalMs: 1e9, checkpointLogSizeBytes: 1e9 };
    t.equal(await generationsIn(never, 10_000), 0);
    const byTime = await generationsIn({ ...never, checkpointIntervalMs: 2_000 }, 20_000);
    t.ok(byTime >= 8 && byTime <= 10, `${byTime} in 20 s, one every 2 s`);
    const bySize = await generationsIn({ ...never, checkpointLogSizeBytes: 8_192 }, 10_000);
    t.ok(bySize >= 3, `${bySize} while some 40 KB were written, one every 8 KB`);
  },
);

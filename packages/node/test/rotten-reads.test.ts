/**
 * Goal: a running node that meets rot of its log while it reads it for somebody has the entry
 * repaired and goes on; one that cannot have it repaired stops, and says which entry.
 * Method: whole nodes on memory disks that keep no old entries in memory; a peer is away while
 * entries are written, and bits of these flip before it comes back.
 */
import { logIndex } from '@holdfast/base';
import type { Request } from '@holdfast/protocol';
import t from 'tap';
import { rottenIndexOf } from '../src/replica/log-store.ts';
import type { SimNode } from '../src/testing/sim-cluster.ts';
import { SimCluster } from '../src/testing/sim-cluster.ts';
import { rotLog } from './support/rot.ts';

const POINT_COUNT = 40;
const ROTTEN_IDS = [12, 13, 30];
const createDocs: Request = {
  ...{ id: 1, kind: 'createCollection', name: 'docs', dimension: 2, metric: 'l2', shardCount: 2 },
};

/** A vector that names its point in the bytes of the log. */
const vectorOf = (id: number): Float32Array => new Float32Array([id + 0.625, 12_345.5]);
const upsert = (id: number): Request => ({
  ...{ id: 1, kind: 'upsert', collection: 'docs' },
  points: [{ id, vector: vectorOf(id) }],
});

/** The third node is down and lacks what was written since. */
async function clusterWithLaggard(seed: number, recoveries = true) {
  const cluster = new SimCluster({
    ...{ nodeCount: 3, seed, wal: { cacheSizeBytesMax: 0, fileSizeBytes: 1 << 20 } },
    settings: { heal: { isAutoRepairEnabled: recoveries } },
  });
  await cluster.start();
  const leader = await cluster.leader();
  await cluster.execute(leader, createDocs);
  const [other, laggard] = cluster.nodes.filter((node) => node !== leader) as [SimNode, SimNode];
  laggard.kill();
  for (let id = 1; id <= POINT_COUNT; id++) await cluster.execute(leader, upsert(id));
  return { cluster, leader, other, laggard };
}

const rot = (node: SimNode, id: number): void => rotLog(node, new Uint8Array(vectorOf(id).buffer));

function unreadable({ node, log }: SimNode): readonly number[] {
  const found: number[] = [];
  for (let index: number = log!.firstIndex(); index <= node.replica.raftStatus().commit; index++) {
    try {
      log!.entries(logIndex(index), logIndex(index + 1), 1);
    } catch (thrown) {
      if (rottenIndexOf(thrown) === null) throw thrown;
      found.push(index);
    }
  }
  return found;
}

t.test(
  'rot that a leader meets while it feeds a peer is repaired, and the leader leads on',
  async (t) => {
    const { cluster, laggard, leader } = await clusterWithLaggard(21);
    const term = leader.node.replica.raftStatus().term;
    for (const id of ROTTEN_IDS) rot(leader, id);
    t.equal(unreadable(leader).length, ROTTEN_IDS.length, 'the log has rot');
    await laggard.start();
    const digests = await cluster.digests();
    t.equal(new Set(digests.map(({ digest }) => digest)).size, 1, 'the peer has caught up');
    t.equal(digests.length, 3);
    t.match(leader.node.replica.raftStatus(), { role: 'leader', term }, 'it has led throughout');
    t.same(unreadable(leader), [], 'every entry can be read again');
    const events = leader.node.care.recoveries.events();
    t.same(
      events.filter(({ kind }) => kind !== 'found').map(({ kind }) => kind),
      ['started', 'recovered'],
    );
    t.match(events.at(-1), { type: 'corruption', facts: { action: 'rewriteEntries' } });
  },
);

t.test('rot that is met while a peer mends its own log is repaired on both', async (t) => {
  const { cluster, laggard, leader, other } = await clusterWithLaggard(22);
  await laggard.start();
  await cluster.digests();
  other.kill();
  rot(other, 12);
  rot(leader, 12);
  await other.start();
  const digests = await cluster.digests();
  t.equal(new Set(digests.map(({ digest }) => digest)).size, 1);
  await cluster.scheduler.until(() => unreadable(leader).length === 0, 20_000);
  t.same([unreadable(leader), unreadable(other)], [[], []]);
  t.ok(leader.isRunning);
});

t.test('a node that stops while it has an entry repaired stops as ever', async (t) => {
  const { cluster, laggard, leader } = await clusterWithLaggard(24);
  rot(leader, 12);
  await laggard.start();
  const { care, replica } = leader.node;
  const isBusy = () => care.recoveries.events().length > 0;
  await cluster.scheduler.until(isBusy, 20_000);
  const stopped = replica.stop().then(() => care.stop());
  await cluster.scheduler.resolve(stopped);
  t.equal(leader.failure, null);
});

t.test('a node whose recoveries are off stops at rot that a peer needs, as ever', async (t) => {
  const { cluster, laggard, leader } = await clusterWithLaggard(23, false);
  rot(leader, 12);
  await laggard.start();
  await cluster.scheduler.until(() => leader.failure !== null, 20_000);
  t.match(leader.failure, { code: 'WAL_CORRUPT', details: { index: Number } });
  leader.kill();
  await leader.start();
  const digests = await cluster.digests();
  t.equal(new Set(digests.map(({ digest }) => digest)).size, 1, 'its start repairs the log');
});

/**
 * Goal: every sync mode of the log keeps what it promises when all nodes lose their power at one
 * moment: group and every_write lose nothing acknowledged, batch at most its interval, none
 * whatever was not synced; and a process that dies loses nothing in any of them.
 * Method: whole nodes on memory disks that drop every un-synced byte.
 * Replay: HOLDFAST_SEED=7 HOLDFAST_SEEDS=1 node packages/node/dist/test/sync-modes.test.js
 */
import { SeededRandom } from '@holdfast/base';
import type { GetResult } from '@holdfast/protocol';
import type { WalSyncMode } from '@holdfast/storage';
import t from 'tap';
import { SimCluster } from '../src/testing/sim-cluster.ts';

const FIRST_SEED = Number(process.env.HOLDFAST_SEED ?? 1);
const SEEDS = Array.from(
  { length: Number(process.env.HOLDFAST_SEEDS ?? 6) },
  (_, i) => FIRST_SEED + i,
);
const INTERVAL_MS = 100;
const RUN_MS = 3_000;
/** Between the sync of a batch and its acknowledgement lie a round trip and a turn. */
const SLACK_MS = 20;

interface Acknowledged {
  readonly id: number;
  readonly atMs: number;
}

async function start(mode: WalSyncMode, seed: number): Promise<SimCluster> {
  const wal = { syncMode: mode, syncIntervalMs: INTERVAL_MS, fileSizeBytes: 64 * 1024 };
  const cluster = new SimCluster({ nodeCount: 3, seed, wal });
  await cluster.start();
  const docs = { name: 'docs', dimension: 2, metric: 'l2', shardCount: 3 } as const;
  await cluster.execute(await cluster.leader(), { id: 1, kind: 'createCollection', ...docs });
  return cluster;
}

/** Writes one point after the other, with pauses, until the time is over. */
async function write(cluster: SimCluster, seed: number): Promise<Acknowledged[]> {
  const random = new SeededRandom(seed);
  const leader = await cluster.leader();
  const endMs = leader.nowMs + RUN_MS + random.nextBelow(2 * INTERVAL_MS);
  const acknowledged: Acknowledged[] = [];
  for (let id = 1; leader.nowMs < endMs; id++) {
    const vector = new Float32Array([id, 1]);
    const points = [{ id, vector }];
    await cluster.execute(leader, { id: 1, kind: 'upsert', collection: 'docs', points });
    acknowledged.push({ id, atMs: leader.nowMs });
    await cluster.scheduler.advance(random.nextBelow(20));
  }
  return acknowledged;
}

/** How long before the cut what is missing now was acknowledged, longest first. */
async function agesOfLost(
  cluster: SimCluster,
  acknowledged: readonly Acknowledged[],
  stop: (node: SimCluster['nodes'][number]) => void,
): Promise<readonly number[]> {
  const cutMs = cluster.node(0).nowMs;
  for (const node of cluster.nodes) stop(node);
  await Promise.all(cluster.nodes.map((node) => node.start()));
  const ids = acknowledged.map(({ id }) => id);
  const found = new Set<unknown>();
  const leader = await cluster.leader();
  for (let at = 0; at < ids.length; at += 500) {
    const batch = { collection: 'docs', ids: ids.slice(at, at + 500) };
    const result = await cluster.execute(leader, { id: 1, kind: 'get', ...batch }, 10_000);
    for (const point of (result as GetResult).points) found.add(point.id);
  }
  const lost = acknowledged.filter(({ id }) => !found.has(id));
  return lost.map(({ atMs }) => cutMs - atMs).toSorted((left, right) => right - left);
}

async function oldestLostMs(mode: WalSyncMode, seed: number, isPowerCut: boolean): Promise<number> {
  const cluster = await start(mode, seed);
  const acknowledged = await write(cluster, seed);
  const ages = await agesOfLost(cluster, acknowledged, (node) =>
    isPowerCut ? node.cutPower({ seed, keepUnsynced: 'none' }) : node.kill(),
  );
  return ages[0] ?? Number.NEGATIVE_INFINITY;
}

const NOTHING = Number.NEGATIVE_INFINITY;

for (const mode of ['group', 'every_write'] as const) {
  t.test(`${mode}: a power cut of all nodes loses nothing acknowledged`, async (t) => {
    for (const seed of SEEDS)
      t.equal(await oldestLostMs(mode, seed, true), NOTHING, `seed ${seed}`);
  });
}

t.test('batch: a power cut of all nodes takes at most the interval', async (t) => {
  const ages: number[] = [];
  for (const seed of SEEDS) {
    const ageMs = await oldestLostMs('batch', seed, true);
    t.ok(ageMs <= INTERVAL_MS + SLACK_MS, `seed ${seed}: lost up to ${ageMs} ms`);
    ages.push(ageMs);
  }
  t.ok(Math.max(...ages) > 0, 'it is an unsafe mode: something was lost');
});

t.test('none: a power cut of all nodes takes what was not synced yet', async (t) => {
  const ages: number[] = [];
  for (const seed of SEEDS) ages.push(await oldestLostMs('none', seed, true));
  t.ok(Math.max(...ages) > 10 * INTERVAL_MS, `lost up to ${Math.max(...ages)} ms`);
});

for (const mode of ['batch', 'none'] as const) {
  t.test(`${mode}: processes that are killed lose nothing`, async (t) => {
    for (const seed of SEEDS)
      t.equal(await oldestLostMs(mode, seed, false), NOTHING, `seed ${seed}`);
  });
}

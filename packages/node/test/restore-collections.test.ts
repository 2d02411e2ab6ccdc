/**
 * Goal: collections of a past state come back beside live data exactly, once, and all or not at
 * all; what is live is never touched. Method: a simulated cluster with a history in a sink; another
 * one that lives, loses its leader and hears requests twice; between them the code that the command
 * line uses.
 */
import { DEFAULT_GROUP_ID, logIndex, must, SeededRandom } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import { createEntryHasher, NO_KEYS } from '@holdfast/storage';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import t, { type Test } from 'tap';
import type { BesideStep, LiveCluster } from '../src/backup/restore/beside-live.ts';
import type {
  CollectionsRestore,
  CollectionsTarget,
} from '../src/backup/restore/collections-from-store.ts';
import {
  planCollections,
  restoreCollections,
} from '../src/backup/restore/collections-from-store.ts';
import type { RestoreStep } from '../src/backup/restore/lay-directory.ts';
import { withThrowawayState } from '../src/backup/restore/throwaway-state.ts';
import { sumDigests } from '../src/state/collection-state.ts';
import { COLLECTION, Live } from './support/live-cluster.ts';
import type { History } from './support/restored.ts';
import { makeHistory } from './support/restored.ts';

const SEED = Number(process.env.HOLDFAST_TEST_SEED ?? 61);
const SMALL_WAL = { fileSizeBytes: 64 * 1024 };
const DIRECTORY = 'throwaway';

async function prepare(history: History, target: CollectionsTarget, cluster: LiveCluster) {
  const random = new SeededRandom(SEED);
  const { manifest, sink } = history;
  const sealing = {
    ...({ compression: 'gzip', keys: NO_KEYS } as const),
    random: (sizeBytes: number) => new Uint8Array(sizeBytes),
  };
  const store = { sink, sealing, hasher: createEntryHasher() };
  const found = await planCollections(store, {
    ...{ target, clusterId: manifest.clusterId, timeline: null, group: DEFAULT_GROUP_ID },
    createdMs: 1,
    mintHexId: () =>
      Array.from({ length: 4 }, () => random.nextU32().toString(16).padStart(8, '0')).join(''),
  });
  const steps: (RestoreStep | BesideStep)[] = [];
  const restore: CollectionsRestore = {
    ...{ store, found, cluster, names: [COLLECTION], prefix: 'old_', isPublished: true },
    ...{ fileSystem: new MemoryFileSystem(), directory: DIRECTORY, wal: SMALL_WAL },
    clock: new VirtualClock(),
    pause: async () => undefined,
    onStep: (step) => void steps.push(step),
  };
  return { restore, steps };
}

async function checkUntouched(t: Test, live: Live, names: readonly string[]): Promise<void> {
  t.same([...(await live.names())], names);
  t.match(await live.ask({ kind: 'count', collection: COLLECTION }), { count: 1 });
}

t.test('a past state comes back beside live data, under another leader too', async (t) => {
  const history = await makeHistory(SEED);
  const live = await Live.start(SEED + 1);
  const backupIndex = history.manifest.root.meta.index;
  const indexes = [...history.rowsAt.keys()].filter((index) => index > backupIndex);
  const index = must(indexes[Math.floor(indexes.length / 2)]);
  const target = { kind: 'index', index } as const;
  const { restore, steps } = await prepare(history, target, live);
  live.onWrite = async () => {
    await live.inTurn(async () => {
      const leader = await live.cluster.leader();
      leader.kill();
      await live.cluster.leader();
      await leader.start();
    });
    await checkUntouched(t, live, [COLLECTION]);
  };
  const [made] = await restoreCollections(restore);
  t.equal(made?.name, 'old_docs');
  await checkUntouched(t, live, [COLLECTION, 'old_docs']);
  const wanted = must(history.rowsAt.get(index));
  t.ok(wanted.size > 3, `${wanted.size} rows`);
  t.same(sorted(await live.rows('old_docs')), sorted(wanted));
  t.match(await live.ask({ kind: 'count', collection: 'old_docs' }), { count: wanted.size });
  const kinds = new Set(steps.map(({ kind }) => kind));
  for (const kind of ['files', 'created', 'rows', 'compared', 'published'] as const)
    t.ok(kinds.has(kind), kind);
  t.notOk(restore.fileSystem.exists(DIRECTORY), 'the throwaway is gone');
  t.same(await live.hidden(), []);
  const digests = await live.cluster.digests();
  t.equal(new Set(digests.map(({ digest }) => digest)).size, 1);
});

const unasked = async (): Promise<never> => {
  throw new Error('no cluster is asked');
};
const NOBODY: LiveCluster = {
  ...{ names: unasked, createHidden: unasked, write: unasked },
  ...{ finish: unasked, publish: unasked, purge: unasked },
};

t.test(
  'counts and digests of a state are told without a node, as the nodes had them',
  async (t) => {
    const history = await makeHistory(SEED);
    const backupIndex = history.manifest.root.meta.index;
    const indexes = [...history.digestAt.keys()].filter((index) => index >= backupIndex);
    for (const index of indexes.filter((_, i) => i % 4 === 0)) {
      const target = { kind: 'index', index: logIndex(index) } as const;
      const { restore } = await prepare(history, target, NOBODY);
      const { directory, fileSystem, found } = restore;
      const { nodeId } = must(found.plan.members[0]);
      const throwaway = { ...restore, plan: found.plan, nodeId, names: null };
      const states = await withThrowawayState(throwaway, (state) => state.states());
      const shards = must(history.digestAt.get(index)).split(' ');
      const digest = sumDigests(shards.map((shard) => must(shard.split('/')[2])));
      const vectorCount = must(history.rowsAt.get(index)).size;
      t.match(states, [{ name: COLLECTION, digest, vectorCount }], `after index ${index}`);
      t.notOk(fileSystem.exists(directory), 'the throwaway is gone');
    }
  },
);

const sorted = (rows: ReadonlyMap<number, number>) => [...rows].sort((a, b) => a[0] - b[0]);

t.test(
  'the state of a backup itself, and the latest one, stay hidden until published',
  async (t) => {
    const history = await makeHistory(SEED);
    const live = await Live.start(SEED + 2);
    const { backupId, root } = history.manifest;
    const targets = [
      { target: { kind: 'backup', backupId }, index: root.meta.index },
      { target: { kind: 'latest' }, index: history.lastIndex },
    ] as const;
    for (const [i, { index, target }] of targets.entries()) {
      const { restore } = await prepare(history, target, live);
      const prefix = `state${i}_`;
      const [made] = await restoreCollections({ ...restore, prefix, isPublished: false });
      const { name, uid } = must(made);
      await t.rejects(live.rows(name), { code: 'COLLECTION_NOT_FOUND' });
      t.match(await live.hidden(), [{ state: 'ready', collection: { name } }]);
      const late = { kind: 'upsert', collection: name, uid, points: [] } as const;
      const point = { id: 1, vector: new Float32Array(8) };
      await t.rejects(live.change({ ...late, points: [point] }), { code: 'COLLECTION_NOT_FOUND' });
      await live.publish([uid]);
      const last = must([...history.rowsAt].findLast(([at]) => at <= index));
      t.same(sorted(await live.rows(name)), sorted(last[1]));
    }
  },
);

t.test('rows that did not arrive are found out, and nothing of it is left', async (t) => {
  const history = await makeHistory(SEED);
  const live = await Live.start(SEED + 3);
  live.lostWrite = 1;
  const { restore, steps } = await prepare(history, { kind: 'latest' }, live);
  await t.rejects(restoreCollections(restore), { code: 'COLLECTION_NOT_READY' });
  t.equal(steps.at(-1)?.kind, 'purged');
  t.same(await live.hidden(), []);
  t.notOk(restore.fileSystem.exists(DIRECTORY), 'the throwaway is gone');
  await checkUntouched(t, live, [COLLECTION]);
});

t.test(
  'a restore that is stopped, or whose name was taken meanwhile, leaves nothing',
  async (t) => {
    const history = await makeHistory(SEED);
    const live = await Live.start(SEED + 4);
    const controller = new AbortController();
    live.onWrite = async () => controller.abort();
    const { restore } = await prepare(history, { kind: 'latest' }, live);
    const stopped = restoreCollections({ ...restore, signal: controller.signal });
    await t.rejects(stopped, { code: 'ABORTED' });
    t.same(await live.hidden(), []);
    live.onWrite = async () => {
      const shape = { dimension: 2, metric: 'l2', shardCount: 1 } as const;
      await live.change({
        kind: 'createCollection',
        name: 'old_docs',
        ...shape,
        ifNotExists: true,
      });
    };
    await t.rejects(restoreCollections(restore), { code: 'COLLECTION_EXISTS' });
    t.same(await live.hidden(), []);
    t.match(await live.ask({ kind: 'count', collection: 'old_docs' }), { count: 0 });
    await checkUntouched(t, live, [COLLECTION, 'old_docs']);
  },
);

t.test('what cannot be is refused before anything is fetched or made', async (t) => {
  const history = await makeHistory(SEED);
  const live = await Live.start(SEED + 5);
  const { restore, steps } = await prepare(history, { kind: 'latest' }, live);
  const attempt = (more: Partial<CollectionsRestore>) =>
    restoreCollections({ ...restore, ...more });
  await t.rejects(attempt({ prefix: '' }), { code: 'COLLECTION_EXISTS' });
  await t.rejects(attempt({ prefix: 'a b' }), { code: 'ARGUMENT_INVALID' });
  const twice = { names: [COLLECTION, COLLECTION] };
  await t.rejects(attempt(twice), { code: 'ARGUMENT_INVALID' });
  t.same(steps, []);
  restore.fileSystem.makeDirectory(DIRECTORY);
  await t.rejects(attempt({}), { code: 'DATA_DIR_FOREIGN' });
  t.ok(restore.fileSystem.exists(DIRECTORY), 'what was there before stays');
  const elsewhere = { directory: 'other', names: ['nobody'] };
  await t.rejects(attempt(elsewhere), { code: 'COLLECTION_NOT_FOUND', message: /there were docs/ });
  t.notOk(steps.some(({ kind }) => kind === 'created'));
  t.same(await live.hidden(), []);
  await checkUntouched(t, live, [COLLECTION]);
});

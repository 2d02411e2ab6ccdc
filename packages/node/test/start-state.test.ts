/**
 * Goal: damage in the files of a checkpoint never keeps a node from starting while something whole
 * is left, and is told by file and offset. Method: whole nodes on memory disks with several
 * generations; files of the newest ones are damaged while the node is down; afterwards every
 * acknowledged point must be there, and nothing else.
 */
import type { LogFields, Logger } from '@holdfast/base';
import { logIndex, must, SeededRandom } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import type { GetResult, Request } from '@holdfast/protocol';
import { checkpointFiles, damagesOf } from '@holdfast/shard-worker';
import type { CheckpointRoot } from '@holdfast/storage';
import { checkpointRootNames, readCheckpointRoots, readIdentity } from '@holdfast/storage';
import t from 'tap';
import type { Recovery } from '../src/recovery/heal-log.ts';
import { LoadWatch } from '../src/recovery/load-watch.ts';
import { manifestReferences } from '../src/replica/checkpointer.ts';
import { ReplayWatch } from '../src/replica/replay-watch.ts';
import { SimCluster, type SimNode } from '../src/testing/sim-cluster.ts';

const DATA = '/data';
const COLLECTION = 'docs';
const ID_COUNT = 40;
const GENERATION_COUNT = 4;
const create: Request = {
  ...{ id: 1, kind: 'createCollection', name: COLLECTION, dimension: 2, metric: 'l2' },
  shardCount: 2,
};
const upsert = (id: number, value: number): Request => ({
  ...{ id: 1, kind: 'upsert', collection: COLLECTION },
  points: [{ id, vector: new Float32Array([value, id]) }],
});

interface Scene {
  readonly cluster: SimCluster;
  readonly node: SimNode;
  readonly values: Map<number, number>;
  readonly logged: { readonly fields: LogFields; readonly message: string }[];
}

/** One node with as many checkpoints as it keeps, sealed segments, and a log after the newest. */
async function scene(seed: number): Promise<Scene> {
  const cluster = new SimCluster({
    ...{ nodeCount: 1, seed },
    settings: {
      ...{ retainedEntryCount: 0, checkpointGenerationCount: GENERATION_COUNT },
      limits: { sealRowCount: 10 },
    },
  });
  const logged: Scene['logged'] = [];
  cluster.observer = { onLog: (_node, fields, message) => void logged.push({ fields, message }) };
  await cluster.start();
  const node = await cluster.leader();
  await cluster.execute(node, create);
  const random = new SeededRandom(seed);
  const values = new Map<number, number>();
  for (let round = 0; round < GENERATION_COUNT + 2; round++) {
    for (let i = 0; i < 15; i++) {
      const id = random.nextBelow(ID_COUNT);
      await cluster.execute(node, upsert(id, round * 100 + i));
      values.set(id, round * 100 + i);
    }
    if (round > GENERATION_COUNT) break;
    await cluster.scheduler.resolve(node.node.replica.checkpoint());
  }
  node.kill();
  return { cluster, node, values, logged };
}

async function readAll({ cluster, node }: Scene): Promise<Map<number, number>> {
  await cluster.leader();
  const ids = Array.from({ length: ID_COUNT }, (_, id) => id);
  const request: Request = {
    ...{ id: 1, kind: 'get', collection: COLLECTION, ids, withVector: true },
  };
  const { points } = (await cluster.execute(node, request)) as GetResult;
  return new Map(points.map(({ id, vector }) => [Number(id), must(vector)[0]!]));
}

const rootsOf = (node: SimNode): readonly CheckpointRoot[] =>
  readCheckpointRoots(node.fileSystem, DATA).roots;

/** Files that `root` names and no older generation does. */
function ownFiles(node: SimNode, root: CheckpointRoot): readonly string[] {
  const filesOf = (each: CheckpointRoot): string[] => [
    each.metaFile.path,
    ...checkpointFiles(node.fileSystem, DATA, manifestReferences(each)).map(({ path }) => path),
  ];
  const older = rootsOf(node).filter(({ generation }) => generation < root.generation);
  const others = new Set(older.flatMap(filesOf));
  return filesOf(root).filter((path) => !others.has(path));
}

type DamageKind = (node: SimNode, path: string) => void;
const DAMAGE: Readonly<Record<string, DamageKind>> = {
  flip: ({ fileSystem }, path) => fileSystem.flipBit(path, 70, 3),
  delete: ({ fileSystem }, path) => fileSystem.remove(path),
  truncate: ({ fileSystem }, path) => {
    const handle = fileSystem.open(path, 'readWrite');
    handle.truncate(handle.sizeBytes() - 9);
    handle.close();
  },
};

for (const [kind, damage] of Object.entries(DAMAGE)) {
  t.test(`a file of the newest generations gone bad (${kind}): an older one serves`, async (t) => {
    for (let bad = 1; bad < GENERATION_COUNT; bad++) {
      const world = await scene(bad);
      const { cluster, node, logged, values } = world;
      const roots = rootsOf(node);
      t.equal(roots.length, GENERATION_COUNT);
      const pick = new SeededRandom(bad * 7);
      for (const root of roots.slice(0, bad)) {
        const files = ownFiles(node, root).filter((path) => !path.endsWith('.seg'));
        damage(node, `${DATA}/${must(files[pick.nextBelow(files.length)])}`);
      }
      await node.start();
      t.same(await readAll(world), values, `${bad} of ${GENERATION_COUNT}: every point is there`);
      const inUse = node.node.replica.checkpointer.root;
      t.equal(inUse?.generation, roots[bad]?.generation, 'a damaged one is not offered to peers');
      const told = logged.filter(({ message }) => message.startsWith('this checkpoint cannot'));
      t.equal(told.length, bad, 'and the damage was told, once');
      await cluster.scheduler.resolve(node.node.replica.checkpoint());
      const newest = must(node.node.replica.checkpointer.root);
      t.ok(newest.generation > must(roots[0]).generation, 'the next generation has a new number');
      node.kill();
      await node.start();
      t.same(await readAll(world), values, 'and is what the next start takes');
      node.kill();
    }
  });
}

t.test('damaged root files are left for the newest that can be read', async (t) => {
  for (let bad = 1; bad < GENERATION_COUNT; bad++) {
    const world = await scene(10 + bad);
    const names = checkpointRootNames(world.node.fileSystem, DATA);
    t.equal(names.length, GENERATION_COUNT);
    for (const name of names.slice(0, bad)) world.node.fileSystem.flipBit(`${DATA}/${name}`, 100);
    await world.node.start();
    t.same(await readAll(world), world.values, `${bad} of ${GENERATION_COUNT} roots`);
    await world.cluster.scheduler.resolve(world.node.node.replica.checkpoint());
    world.node.kill();
    await world.node.start();
    t.same(await readAll(world), world.values, 'after the next checkpoint');
    world.node.kill();
  }
});

t.test('when no generation is whole the start fails and names every damaged place', async (t) => {
  const { node } = await scene(31);
  const [newest, ...older] = rootsOf(node);
  const files = checkpointFiles(node.fileSystem, DATA, manifestReferences(must(newest)));
  const segments = files.filter(({ kind }) => kind === 'segment');
  const growing = files.filter(({ kind }) => kind === 'growing');
  const damaged = [must(segments[0]), must(segments.at(-1)), must(growing[0])];
  for (const { path } of damaged) node.fileSystem.flipBit(`${DATA}/${path}`, 64 + 50);
  for (const root of older) node.fileSystem.flipBit(`${DATA}/${root.metaFile.path}`, 80);
  const meta = must(newest).metaFile.path;
  node.fileSystem.flipBit(`${DATA}/${meta}`, 80);
  const fileCount = (): number =>
    node.fileSystem.files(`${DATA}/collections`).length +
    node.fileSystem.files(`${DATA}/meta`).length;
  const before = fileCount();
  const error = await node.start().then(
    () => null,
    (thrown: unknown) => thrown,
  );
  t.same(
    damagesOf(error)
      .map(({ offset, path }) => `${path} at ${offset}`)
      .sort(),
    [meta, ...damaged.map(({ path }) => path)].map((path) => `${path} at 64`).sort(),
    'all of them, with the offset of the block',
  );
  t.equal(fileCount(), before, 'nothing was removed');
});

t.test('a start that takes long shows itself with the rows it has loaded', async (t) => {
  const clock = new VirtualClock();
  const logged: LogFields[] = [];
  const tell = (fields: LogFields): void => void logged.push(fields);
  const logger: Logger = {
    ...{ debug: tell, info: tell, warn: tell, error: tell },
    child: () => logger,
  };
  const { node } = await scene(51);
  const [root] = rootsOf(node);
  const progress = { loadedRowCount: 0, rowCount: 100 };
  const shown: Recovery[] = [];
  const watch = new LoadWatch({
    ...{ clock, timers: clock, logger, host: { loadProgress: () => progress } },
    identity: readIdentity(node.fileSystem, DATA),
    log: { hardState: () => null, lastIndex: () => logIndex(7) },
    onRecovery: (recovery) => void shown.push(recovery),
  });
  let finish = (): void => undefined;
  const loading = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const done = watch.during(must(root), loading);
  clock.advance(900);
  t.equal(shown.length, 0, 'not yet');
  clock.advance(200);
  progress.loadedRowCount = 42;
  t.match(shown[0]?.view(), { recovery: /loading the checkpoint at index \d+: 42 of 100 rows/ });
  clock.advance(1_000);
  t.match(logged, [{ loadedRowCount: 42, rowCount: 100 }]);
  finish();
  await done;
  t.match(logged.at(-1), { rowCount: 100, elapsedMs: 2_100 });
  clock.advance(10_000);
  t.equal(logged.length, 2, 'nothing is told after the end');
});

t.test('the replay of the log is told while it lasts, and once at its end', (t) => {
  const clock = new VirtualClock();
  const logged: LogFields[] = [];
  const tell = (fields: LogFields): void => void logged.push(fields);
  const logger: Logger = {
    ...{ debug: tell, info: tell, warn: tell, error: tell },
    child: () => logger,
  };
  const watch = new ReplayWatch({ clock, logger, fromIndex: logIndex(10), toIndex: logIndex(50) });
  watch.onApplied(logIndex(20));
  clock.advance(2_500);
  watch.onApplied(logIndex(30));
  watch.onApplied(logIndex(60));
  watch.onApplied(logIndex(70));
  t.match(logged, [
    { replayedCount: 20, entryCount: 40 },
    { entryCount: 40, elapsedMs: 2_500 },
  ]);
  t.equal(logged.length, 2);
  t.end();
});

t.test('a checkpoint that failed leaves no segment marked as written', async (t) => {
  const world = await scene(41);
  const { cluster, node, values } = world;
  await node.start();
  await cluster.leader();
  for (let i = 0; i < 60; i++) {
    await cluster.execute(node, upsert(i % ID_COUNT, 5000 + i));
    values.set(i % ID_COUNT, 5000 + i);
  }
  // The lanes write their files; then the root does not come to be, and the files are removed.
  node.fileSystem.faults.add({
    ...{ operation: 'write', pathContains: 'CHECKPOINT', fault: 'EIO', times: 1 },
  });
  await t.rejects(cluster.scheduler.resolve(node.node.replica.checkpoint()));
  await cluster.scheduler.resolve(node.node.replica.checkpoint());
  const { generation } = must(node.node.replica.checkpointer.root);
  node.kill();
  await node.start();
  t.equal(node.node.replica.checkpointer.root?.generation, generation, 'it is whole');
  t.same(await readAll(world), values);
});

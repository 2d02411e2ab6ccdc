/**
 * Goal: what was acknowledged is there after any crash, also of all nodes at once, also twice in a
 * row. kill -9 leaves the page cache, so power cuts are simulated: un-synced bytes are dropped or
 * torn at every file operation of a run.
 * Method: whole nodes on memory disks and virtual time (SimCluster). A model remembers what was
 * acknowledged; afterwards every acknowledged point must be readable through a linearizable read.
 */
import { SeededRandom } from '@holdfast/base';
import type { GetResult, Request, UpsertPoint } from '@holdfast/protocol';
import type { CrashOptions } from '@holdfast/storage/testing';
import t from 'tap';
import type { SimNode } from '../src/testing/sim-cluster.ts';
import { SimCluster } from '../src/testing/sim-cluster.ts';

const COLLECTION = 'docs';
const createDocs: Request = {
  id: 1,
  kind: 'createCollection',
  name: COLLECTION,
  dimension: 2,
  metric: 'l2',
  shardCount: 3,
};
const point = (id: number, value: number): UpsertPoint => ({
  id,
  vector: new Float32Array([value, id]),
});
const upsert = (points: readonly UpsertPoint[]): Request => ({
  id: 1,
  kind: 'upsert',
  collection: COLLECTION,
  points,
});

/** Values by id: acknowledged ones, and those whose outcome is unknown. */
class Model {
  readonly acknowledged = new Map<number, number>();
  readonly unknown = new Map<number, Set<number>>();

  acknowledge(id: number, value: number): void {
    this.acknowledged.set(id, value);
    this.unknown.delete(id);
  }

  attempt(id: number, value: number): void {
    const values = this.unknown.get(id) ?? new Set();
    values.add(value);
    this.unknown.set(id, values);
  }

  /** Empty when `found` is a state that the acknowledgements allow. */
  violations(found: ReadonlyMap<number, number>): readonly string[] {
    const problems: string[] = [];
    for (const [id, value] of this.acknowledged) {
      const actual = found.get(id);
      const isAllowed =
        actual === value || (actual !== undefined && this.unknown.get(id)?.has(actual) === true);
      if (!isAllowed) problems.push(`${id}: acknowledged ${value}, found ${actual}`);
    }
    for (const [id, actual] of found) {
      if (!this.acknowledged.has(id) && this.unknown.get(id)?.has(actual) !== true) {
        problems.push(`${id}: found ${actual}, never written`);
      }
    }
    return problems;
  }
}

async function write(
  cluster: SimCluster,
  node: SimNode,
  model: Model,
  id: number,
  value: number,
): Promise<boolean> {
  model.attempt(id, value);
  try {
    await cluster.execute(node, upsert([point(id, value)]), 1_000);
  } catch {
    return false;
  }
  model.acknowledge(id, value);
  return true;
}

async function readAll(cluster: SimCluster, ids: readonly number[]): Promise<Map<number, number>> {
  const leader = await cluster.leader();
  const result = (await cluster.execute(leader, {
    id: 1,
    kind: 'get',
    collection: COLLECTION,
    ids,
    withVector: true,
  })) as GetResult;
  return new Map(
    result.points.map((found) => [found.id as number, found.vector?.[0] ?? Number.NaN]),
  );
}

/** Writes between two checkpoints of a run: several roots, compactions and removed files. */
const CHECKPOINT_EVERY = 13;
const IDS = Array.from({ length: 12 }, (_, i) => i);

/** Small logs and frequent checkpoints, so that a short run rolls files and compacts. */
const SETTINGS = {
  checkpointIntervalMs: 150,
  checkpointLogSizeBytes: 1 << 30,
  retainedEntryCount: 4,
  sessionIdleTimeoutMs: 3_600_000,
};

async function singleNode(seed: number): Promise<SimCluster> {
  const cluster = new SimCluster({
    nodeCount: 1,
    seed,
    laneCount: 1,
    wal: { fileSizeBytes: 16 * 1024 },
    settings: SETTINGS,
  });
  await cluster.start();
  await cluster.execute(await cluster.leader(), createDocs);
  return cluster;
}

/** Writes until the disk stops the node or `count` writes were tried. */
async function writeMany(
  cluster: SimCluster,
  model: Model,
  random: SeededRandom,
  count: number,
  firstValue: number,
): Promise<void> {
  const node = cluster.node(0);
  for (let i = 0; i < count && node.isRunning; i++) {
    const id = IDS[random.nextBelow(IDS.length)] ?? 0;
    if (!(await write(cluster, node, model, id, firstValue + i))) return;
    if (i % CHECKPOINT_EVERY !== CHECKPOINT_EVERY - 1) continue;
    const checkpoint = node.node.replica.checkpoint().catch((error: unknown) => error);
    await cluster.scheduler.resolve(checkpoint);
  }
}

t.test('a power cut at every file operation of a run loses nothing acknowledged', async (t) => {
  const dry = await singleNode(1);
  const startedAt = dry.node(0).fileSystem.operationCount;
  await writeMany(dry, new Model(), new SeededRandom(1), 60, 1_000);
  const operationCount = dry.node(0).fileSystem.operationCount - startedAt;
  t.ok(operationCount >= 200, `the run has ${operationCount} file operations`);
  const policies: readonly CrashOptions['keepUnsynced'][] = ['none', 'random', 'all'];
  let crashCount = 0;
  for (let operation = 1; operation <= operationCount; operation++) {
    const cluster = await singleNode(1);
    const node = cluster.node(0);
    const model = new Model();
    node.fileSystem.crashAtOperation(node.fileSystem.operationCount + operation);
    await writeMany(cluster, model, new SeededRandom(1), 60, 1_000);
    if (!node.isRunning) crashCount += 1;
    const keepUnsynced = policies[operation % policies.length] ?? 'none';
    node.cutPower({ seed: operation, keepUnsynced, tearsSectors: true });
    await node.start();
    const found = await readAll(cluster, IDS);
    const problems = model.violations(found);
    if (problems.length > 0) t.fail(`operation ${operation}, ${keepUnsynced}`, { problems });
  }
  t.ok(crashCount > operationCount / 2, `${crashCount} of ${operationCount} runs were cut short`);
});

t.test('crash, restart, acknowledge, power cut: what recovery read was made durable', async (t) => {
  // The second boot reads what the page cache still shows of the first. Were it trusted without
  // being synced again, the power cut would take acknowledged writes with it.
  for (let operation = 1; operation <= 90; operation++) {
    const cluster = await singleNode(2);
    const node = cluster.node(0);
    const model = new Model();
    const random = new SeededRandom(operation);
    node.fileSystem.crashAtOperation(node.fileSystem.operationCount + operation);
    await writeMany(cluster, model, random, 40, 1_000);
    node.kill();
    await node.start();
    const seen = await readAll(cluster, IDS);
    const problems = [...model.violations(seen)];
    // What a linearizable read returned is as good as acknowledged.
    for (const [id, value] of seen) model.acknowledge(id, value);
    await writeMany(cluster, model, random, 3, 2_000);
    node.cutPower({ seed: operation, keepUnsynced: operation % 2 === 0 ? 'none' : 'random' });
    await node.start();
    problems.push(...model.violations(await readAll(cluster, IDS)));
    if (problems.length > 0) t.fail(`operation ${operation}`, { problems });
  }
  t.pass('90 runs');
});

t.test('three nodes: a power cut of all at once, again and again', async (t) => {
  for (const seed of [11, 12, 13, 14]) {
    const cluster = new SimCluster({ nodeCount: 3, seed, settings: SETTINGS });
    await cluster.start();
    await cluster.execute(await cluster.leader(), createDocs);
    const random = new SeededRandom(seed);
    const model = new Model();
    for (let round = 0; round < 6; round++) {
      const leader = await cluster.leader();
      for (let i = 0; i < 10; i++) {
        const id = IDS[random.nextBelow(IDS.length)] ?? 0;
        await write(cluster, leader, model, id, 1_000 * (round + 1) + i);
      }
      for (const node of cluster.nodes) {
        node.cutPower({ seed: random.nextU32(), keepUnsynced: 'random', tearsSectors: true });
      }
      for (const node of cluster.nodes) await node.start();
      const problems = model.violations(await readAll(cluster, IDS));
      t.strictSame(problems, [], `seed ${seed}, round ${round}`);
    }
    const digests = await cluster.digests();
    t.equal(new Set(digests.map(({ digest }) => digest)).size, 1, `seed ${seed}: equal digests`);
  }
});

t.test('three nodes: losing the leader loses nothing, and the old leader catches up', async (t) => {
  for (const seed of [21, 22, 23]) {
    const cluster = new SimCluster({ nodeCount: 3, seed, settings: SETTINGS });
    await cluster.start();
    await cluster.execute(await cluster.leader(), createDocs);
    const model = new Model();
    for (let round = 0; round < 4; round++) {
      const leader = await cluster.leader();
      for (let i = 0; i < 8; i++) {
        await write(cluster, leader, model, i, 100 * (round + 1) + i);
      }
      if (round % 2 === 0) leader.kill();
      else leader.cutPower({ seed: round, keepUnsynced: 'none' });
      const problems = model.violations(await readAll(cluster, IDS));
      t.strictSame(problems, [], `seed ${seed}, round ${round}`);
      await leader.start();
    }
    const digests = await cluster.digests();
    t.equal(digests.length, 3);
    t.equal(new Set(digests.map(({ digest }) => digest)).size, 1, `seed ${seed}: equal digests`);
  }
});

t.test('a follower behind the compacted log catches up by a snapshot', async (t) => {
  const cluster = new SimCluster({ nodeCount: 3, seed: 31, settings: SETTINGS });
  await cluster.start();
  const leader = await cluster.leader();
  await cluster.execute(leader, createDocs);
  const model = new Model();
  const follower = cluster.nodes.find((node) => node !== leader);
  if (follower === undefined) throw new Error('three nodes have a follower');
  follower.kill();
  // A follower that was heard a moment ago holds the log.
  await cluster.scheduler.advance(2_000);
  for (let i = 0; i < 80; i++) {
    await write(cluster, leader, model, i % IDS.length, i);
    if (i % 10 === 9) await cluster.scheduler.resolve(leader.node.replica.checkpoint());
  }
  const { lastIndex } = leader.node.replica.raftStatus();
  await follower.start();
  const digests = await cluster.digests();
  t.equal(digests.length, 3);
  t.equal(new Set(digests.map(({ digest }) => digest)).size, 1);
  const root = follower.node.replica.checkpointer.root;
  t.ok(root !== null && root.meta.index > lastIndex - 30, 'it came by snapshot, not by log');
  follower.cutPower({ seed: 1, keepUnsynced: 'none' });
  await follower.start();
  const after = await cluster.digests();
  t.equal(new Set(after.map(({ digest }) => digest)).size, 1, 'and it survives a power cut');
});

t.test('an isolated leader acknowledges nothing, and its tail is replaced', async (t) => {
  const cluster = new SimCluster({ nodeCount: 3, seed: 41, settings: SETTINGS });
  await cluster.start();
  const old = await cluster.leader();
  await cluster.execute(old, createDocs);
  const others = cluster.nodes.filter((node) => node !== old);
  cluster.network.isolate(
    old.id,
    others.map((node) => node.id),
  );
  const lost = cluster.execute(old, upsert([point(1, 666)]), 3_000);
  await t.rejects(lost, { code: /LEADERSHIP_LOST|REQUEST_TIMEOUT/ }, 'the outcome is unknown');
  await t.rejects(
    cluster.execute(old, { id: 1, kind: 'count', collection: COLLECTION }, 2_000),
    'a deposed leader answers no linearizable read',
  );
  const fresh = await cluster.leader();
  t.not(fresh, old);
  await cluster.execute(fresh, upsert([point(1, 7)]));
  cluster.network.heal();
  await cluster.digests();
  t.equal((await readAll(cluster, [1])).get(1), 7);
});

/** Every point of the batch has the same value; null when there is none of them yet. */
function valueOfBatch(found: ReadonlyMap<number, number>): number | null | 'torn' {
  const values = new Set(IDS.map((id) => found.get(id) ?? null));
  const [value = null] = values;
  return values.size === 1 ? value : 'torn';
}

const batchOf = (value: number): Request => upsert(IDS.map((id) => point(id, value)));

t.test('a crash at any file operation leaves all of a batch or nothing', async (t) => {
  let tornCount = 0;
  const seen = new Set<number | null>();
  for (let operation = 1; operation <= 120; operation++) {
    const cluster = await singleNode(3);
    const node = cluster.node(0);
    node.fileSystem.crashAtOperation(node.fileSystem.operationCount + operation);
    let acknowledged = 0;
    for (let value = 1; value <= 60 && node.isRunning; value++) {
      const done = await cluster.execute(node, batchOf(value), 1_000).catch(() => null);
      if (done === null) break;
      acknowledged = value;
      if (value % 7 !== 0) continue;
      const checkpoint = node.node.replica.checkpoint().catch((error: unknown) => error);
      await cluster.scheduler.resolve(checkpoint);
    }
    node.cutPower({ seed: operation, keepUnsynced: 'random' });
    await node.start();
    const value = valueOfBatch(await readAll(cluster, IDS));
    if (value === 'torn' || (value ?? 0) < acknowledged) tornCount += 1;
    else seen.add(value);
  }
  t.equal(tornCount, 0);
  t.ok(seen.size > 10, `${seen.size} different ends`);
});

t.test('readers see all of a batch or nothing while lanes die in the middle of it', async (t) => {
  const cluster = new SimCluster({ nodeCount: 3, seed: 31, laneCount: 3, settings: SETTINGS });
  await cluster.start();
  await cluster.execute(await cluster.leader(), createDocs);
  const random = new SeededRandom(31);
  const states = new Set<number | null | 'torn'>();
  let lostCount = 0;
  for (let value = 1; value <= 60; value++) {
    // A leader without a lane hands over: then this one batch may fail, or not.
    const leader = await cluster.leader();
    const written = cluster.execute(leader, batchOf(value), 20_000).catch(() => null);
    await cluster.scheduler.advance(random.nextBelow(8));
    if (value % 6 === 0) {
      leader.host.loseLane(random.nextBelow(3), 'dies');
      lostCount += 1;
    }
    // A lane that is away refuses the read as a whole.
    const found = await readAll(cluster, IDS).catch(() => null);
    if (found !== null) states.add(valueOfBatch(found));
    await written;
  }
  t.notOk(states.has('torn'));
  t.ok(states.size > 20, `${states.size} states were read`);
  t.equal(lostCount, 10);
});

t.test(
  'a rollback of 1,000 entries takes less than a second and leaves what was committed',
  async (t) => {
    const cluster = new SimCluster({ nodeCount: 3, seed: 41, settings: SETTINGS });
    await cluster.start();
    const old = await cluster.leader();
    await cluster.execute(old, createDocs);
    await cluster.execute(old, batchOf(1));
    const others = cluster.nodes.filter((node) => node !== old);
    cluster.network.isolate(
      old.id,
      others.map(({ id }) => id),
    );
    const before = old.node.replica.raftStatus().lastIndex;
    const stranded = Array.from({ length: 1_000 }, (_, i) =>
      cluster.execute(old, upsert([point(100 + i, 7)]), 300).catch((error: unknown) => error),
    );
    await cluster.scheduler.until(
      () => old.node.replica.raftStatus().lastIndex >= before + 1_000,
      1_000,
    );
    await cluster.scheduler.until(
      () => others.some((node) => node.node.replica.soft.role === 'leader'),
      20_000,
    );
    await Promise.all(stranded.map((one) => cluster.scheduler.resolve(one)));
    const leader = others.find((node) => node.node.replica.soft.role === 'leader')!;
    await cluster.execute(leader, batchOf(2), 10_000);
    cluster.network.heal();
    const startMs = leader.nowMs;
    const lastIndex = (node: SimNode) => node.node.replica.raftStatus().lastIndex;
    await cluster.scheduler.until(() => lastIndex(old) === lastIndex(leader), 20_000);
    t.ok(leader.nowMs - startMs < 1_000, `${leader.nowMs - startMs} ms`);
    const digests = await cluster.digests();
    t.equal(digests.length, 3);
    t.equal(new Set(digests.map(({ digest }) => digest)).size, 1, 'the state is the committed one');
    const sums = cluster.nodes.map(({ wal }) => {
      const log = wal.groupLog(wal.groups()[0]!);
      return Buffer.from(log.sum(log.lastIndex()) as Uint8Array).toString('hex');
    });
    t.equal(new Set(sums).size, 1, 'the logs are the same');
    const found = await readAll(cluster, [100, 500, 1_099]);
    t.equal(found.size, 0, 'nothing of it is read');
  },
);

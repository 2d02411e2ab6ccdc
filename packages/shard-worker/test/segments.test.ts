/**
 * Segments as logical state: the merge policy, byte identity of files on replicas with different
 * histories, and the letting go of dead rows, which must change nothing that anyone can see.
 */
import { must, SeededRandom } from '@holdfast/base';
import { readWholeFile, sha256, toHex } from '@holdfast/storage';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import tap from 'tap';
import { InlineHost } from '../src/host/inline-host.ts';
import type { CollectionDefinition, PointId } from '../src/model.ts';
import type { PointOp } from '../src/point-op.ts';
import { readManifest } from '../src/segment/manifest.ts';
import type { MergeCandidate } from '../src/segment/merge-policy.ts';
import { decideMerge } from '../src/segment/merge-policy.ts';
import { checkpointFiles, verifyCheckpoint } from '../src/segment/references.ts';
import type { ShardManifestReference } from '../src/tasks.ts';
import { BruteForceOracle } from '../src/testing/brute-force-oracle.ts';
import { at, definitionOf, HostDriver, randomOps } from './harness.ts';

const DATA = '/data';
const SEED = Number(process.env.HOLDFAST_TEST_SEED ?? 4711);

const LIMITS = { sealRowCount: 1000, sealSizeBytes: 100_000 };
const candidate = (rowCount: number, deadRowCount = 0, rowSizeBytes = 50): MergeCandidate => ({
  ...{ rowCount, deadRowCount, contentSizeBytes: rowCount * rowSizeBytes },
});

tap.test('a third of dead rows or eight small neighbours are merged, nothing else', async (t) => {
  const full = candidate(1000);
  t.equal(decideMerge([full, full, full], LIMITS), null, 'full segments stay');
  t.same(decideMerge([full, candidate(999, 333), full], LIMITS), { first: 1, count: 1 });
  t.equal(decideMerge([full, candidate(1000, 333), full], LIMITS), null, 'one less stays');
  const small = candidate(100);
  const seven = Array.from({ length: 7 }, () => small);
  t.equal(decideMerge(seven, LIMITS), null, 'seven small ones stay');
  t.same(decideMerge([full, ...seven, small, full], LIMITS), { first: 1, count: 8 });
  t.equal(decideMerge([...seven, full, small], LIMITS), null, 'neighbours only');
  const byBytes = candidate(100, 0, 300);
  t.equal(decideMerge([...seven, byBytes], LIMITS), null, 'small in rows, not in bytes');
  t.same(
    decideMerge([small, small, candidate(900, 600), small, full], LIMITS),
    { first: 0, count: 4 },
    'small neighbours go along',
  );
  const large = Array.from({ length: 9 }, () => candidate(249));
  t.same(decideMerge(large, LIMITS), { first: 0, count: 4 }, 'no more than one segment holds');
});

tap.test('merging comes to an end, and no output is larger than a segment may be', async (t) => {
  const random = new SeededRandom(SEED);
  for (let round = 0; round < 200; round++) {
    let list = Array.from({ length: random.nextBelow(30) }, () => {
      const rowCount = 1 + random.nextBelow(1000);
      return candidate(rowCount, random.nextBelow(rowCount), 10 + random.nextBelow(100));
    });
    let stepCount = 0;
    for (; ; stepCount++) {
      const run = decideMerge(list, LIMITS);
      if (run === null) break;
      const inputs = list.slice(run.first, run.first + run.count);
      const rowCount = inputs.reduce((sum, input) => sum + input.rowCount - input.deadRowCount, 0);
      const contentSizeBytes = inputs.reduce((sum, input) => {
        const share = 1 - input.deadRowCount / input.rowCount;
        return sum + Math.round(input.contentSizeBytes * share);
      }, 0);
      if (run.count > 1 && rowCount > LIMITS.sealRowCount) t.fail(`seed ${SEED} round ${round}`);
      list = list.toSpliced(run.first, run.count, { rowCount, deadRowCount: 0, contentSizeBytes });
    }
    if (stepCount > 60) t.fail(`seed ${SEED} round ${round}: ${stepCount} merges`);
  }
  t.pass('200 lists');
});

/** Waits for its turn: the tasks and checkpoint steps of a replica, in order. */
class Turns {
  readonly #queue: (() => void)[] = [];
  readonly schedule = (deliver: () => void): void => void this.#queue.push(deliver);

  take(count: number): void {
    for (let i = 0; i < count; i++) this.#queue.shift()?.();
  }

  get isEmpty(): boolean {
    return this.#queue.length === 0;
  }
}

interface Checkpoint {
  readonly index: number;
  readonly manifests: readonly ShardManifestReference[];
}

const ENTRY_COUNT = 1000;
const OPS_PER_ENTRY = 200;
const ID_COUNT = 12_000;
const docs = definitionOf({
  ...{ dimension: 4, shardCount: 2, sealRowCount: 4_000, sealSizeBytes: 1 << 20 },
});

/**
 * Mixed operations: most upserts go to few ids, so that segments lose rows at different rates. An
 * entry without any asks for a sealing.
 */
function mixedLog(seed: number): readonly (readonly PointOp[])[] {
  const random = new SeededRandom(seed);
  const none = { kind: 'none' } as const;
  return Array.from({ length: ENTRY_COUNT }, (_unused, i) =>
    Array.from({ length: i % 23 === 22 ? 0 : OPS_PER_ENTRY }, (): PointOp => {
      const range = random.nextBelow(3) === 0 ? ID_COUNT : ID_COUNT / 10;
      const id = random.nextBelow(range);
      if (random.nextBelow(8) === 0) return { type: 'delete', id, condition: none };
      const vector = Float32Array.from({ length: 4 }, () => random.nextBelow(1000) / 8);
      const payload = id % 3 === 0 ? new Uint8Array(random.nextBelow(60)).fill(32) : null;
      return { type: 'upsert', id, vector, payload, condition: none };
    }),
  );
}

class Replica {
  readonly log: readonly (readonly PointOp[])[];
  readonly definition: CollectionDefinition;
  fs = new MemoryFileSystem();
  driver!: HostDriver;
  newest: Checkpoint | null = null;
  readonly sums = new Map<string, string>();

  constructor(log: readonly (readonly PointOp[])[], definition: CollectionDefinition = docs) {
    this.log = log;
    this.definition = definition;
    this.fs.makeDirectory(DATA);
  }

  host(laneCount: number, schedule?: (deliver: () => void) => void): InlineHost {
    return new InlineHost({
      ...{ fs: this.fs, dataDirectory: DATA, laneCount, graphFactory: null },
      ...{ buildRowCountPerTask: 8, compactionDeadRowCountMin: 64 },
      ...(schedule === undefined ? {} : { schedule, isCheckpointSliced: true }),
    });
  }

  async start(laneCount: number, schedule?: (deliver: () => void) => void): Promise<void> {
    const host = this.host(laneCount, schedule);
    this.driver = new HostDriver(host, this.definition, this.newest?.index ?? 0);
    if (this.newest === null) {
      await this.driver.openEmpty();
      await this.driver.create();
      return;
    }
    const { index, manifests } = this.newest;
    await host.open({ appliedIndex: at(index), definitions: [this.definition], manifests });
  }

  async replay(toIndex: number): Promise<void> {
    while (this.driver.appliedIndex < toIndex) {
      const ops = this.log[this.driver.appliedIndex - 1] ?? [];
      if (ops.length === 0) await this.driver.seal();
      else await this.driver.write(ops);
    }
  }

  async checkpoint(): Promise<void> {
    const index = this.driver.appliedIndex;
    const manifests = await this.driver.checkpoint(`c${index}`);
    await this.becameDurable(index, manifests);
  }

  async becameDurable(index: number, manifests: readonly ShardManifestReference[]): Promise<void> {
    this.newest = { index, manifests };
    for (const { kind, path } of checkpointFiles(this.fs, DATA, manifests)) {
      if (kind !== 'segment' || this.sums.has(path)) continue;
      this.sums.set(path, toHex(sha256([readWholeFile(this.fs, `${DATA}/${path}`)])));
    }
    await this.driver.host.checkpointDurable(`c${index}`);
  }

  segments(): readonly string[] {
    const { manifests } = must(this.newest, 'a checkpoint was made');
    return checkpointFiles(this.fs, DATA, manifests)
      .filter(({ kind }) => kind === 'segment')
      .map(({ path }) => `${path} ${toHex(sha256([readWholeFile(this.fs, `${DATA}/${path}`)]))}`);
  }
}

tap.test('200,000 mixed operations give the same segment files on every replica', async (t) => {
  const log = mixedLog(SEED);
  const last = ENTRY_COUNT + 1;
  const calm = new Replica(log);
  await calm.start(2);
  for (let index = 250; index <= last; index += 250) {
    await calm.replay(index);
    await calm.checkpoint();
  }
  await calm.replay(last);
  await calm.checkpoint();

  const others = {
    crashing: await crashingReplica(log, last),
    rebuilt: await rebuiltReplica(log, last),
    slow: await slowReplica(log, last),
  };
  const expected = calm.segments();
  const manifest = readManifest(calm.fs, DATA, must(calm.newest?.manifests[0])).manifest;
  t.ok(manifest.ordinalCount > manifest.segments.length + 5, 'segments were merged');
  for (const [name, replica] of Object.entries(others)) {
    t.same(replica.segments(), expected, `${name}: the same list, the same bytes`);
    t.same(await replica.driver.digests(), await calm.driver.digests(), `${name}: digests`);
    // Also those that were merged away since, where both had a checkpoint with them.
    for (const [path, sum] of replica.sums) {
      const other = calm.sums.get(path);
      if (other !== undefined && other !== sum) t.fail(`${name}: ${path} differs`);
    }
  }
});

/** Power cuts and restarts with other lane counts, checkpoints at odd moments. */
async function crashingReplica(log: readonly (readonly PointOp[])[], last: number) {
  const replica = new Replica(log);
  const random = new SeededRandom(SEED + 1);
  await replica.start(1);
  while (replica.driver.appliedIndex < last) {
    const index = Math.min(last, replica.driver.appliedIndex + 40 + random.nextBelow(160));
    await replica.replay(index);
    await replica.checkpoint();
    await replica.replay(Math.min(last, index + random.nextBelow(60)));
    if (random.nextBelow(2) === 0) continue;
    replica.fs.crash({ seed: index, keepUnsynced: 'random', tearsSectors: true });
    await replica.start(1 + random.nextBelow(3));
  }
  await replica.checkpoint();
  return replica;
}

/** Wiped in the middle, filled by another replica's checkpoint, a block of it repaired. */
async function rebuiltReplica(log: readonly (readonly PointOp[])[], last: number) {
  const source = new Replica(log);
  await source.start(3);
  await source.replay(517);
  await source.checkpoint();
  const replica = new Replica(log);
  const { manifests } = must(source.newest);
  for (const { path } of checkpointFiles(source.fs, DATA, manifests))
    copyFile(source, replica, path);
  replica.newest = source.newest;
  damageAndRepair(source, replica);
  await replica.start(2);
  await replica.replay(last);
  await replica.checkpoint();
  return replica;
}

function copyFile(from: Replica, to: Replica, path: string): void {
  to.fs.makeDirectory(`${DATA}/${path.slice(0, path.lastIndexOf('/'))}`);
  const handle = to.fs.open(`${DATA}/${path}`, 'createNew');
  handle.write([readWholeFile(from.fs, `${DATA}/${path}`)], 0);
  handle.sync();
  handle.close();
}

const BLOCK_RECORD_SIZE_BYTES = 65_536 + 8;

/** Flips bits in the second block of a segment and copies that block from the healthy replica. */
function damageAndRepair(healthy: Replica, damaged: Replica): void {
  const { manifests } = must(damaged.newest);
  const file = must(
    checkpointFiles(damaged.fs, DATA, manifests).find(
      ({ kind, sizeBytes }) => kind === 'segment' && must(sizeBytes) > 2 * BLOCK_RECORD_SIZE_BYTES,
    ),
  );
  const path = `${DATA}/${file.path}`;
  for (let i = 0; i < 5; i++) damaged.fs.flipBit(path, 64 + BLOCK_RECORD_SIZE_BYTES + i * 1000);
  const [damage] = runSteps(verifyCheckpoint(damaged.fs, DATA, manifests));
  const offset = must(damage?.offset);
  const block = readWholeFile(healthy.fs, path).subarray(offset, offset + BLOCK_RECORD_SIZE_BYTES);
  const handle = damaged.fs.open(path, 'readWrite');
  handle.write([block], offset);
  handle.sync();
  handle.close();
}

function runSteps<Value>(steps: Generator<undefined, Value>): Value {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** Writes its checkpoints a hundred times slower than it applies: dozens of entries per step. */
async function slowReplica(log: readonly (readonly PointOp[])[], last: number) {
  const replica = new Replica(log);
  const turns = new Turns();
  let isSlow = false;
  let stepCount = 0;
  const schedule = (deliver: () => void): void => {
    if (isSlow) turns.schedule(deliver);
    else deliver();
  };
  await replica.start(2, schedule);
  while (replica.driver.appliedIndex < last) {
    await replica.replay(Math.min(last, replica.driver.appliedIndex + 20));
    const index = replica.driver.appliedIndex;
    isSlow = true;
    const written = replica.driver.checkpoint(`c${index}`);
    isSlow = false;
    let manifests: readonly ShardManifestReference[] | null = null;
    written.then((value) => {
      manifests = value;
    });
    while (manifests === null) {
      await replica.replay(Math.min(last, replica.driver.appliedIndex + 10));
      isSlow = true;
      turns.take(1);
      isSlow = false;
      stepCount += 1;
      await new Promise(setImmediate);
    }
    await replica.becameDurable(index, manifests);
  }
  if (stepCount < 50) throw new Error(`only ${stepCount} steps`);
  await replica.checkpoint();
  return replica;
}

tap.test('an entry seals what has grown to a sixteenth of a limit, and leaves less', async (t) => {
  const definition = definitionOf({ shardCount: 1, sealRowCount: 160 });
  const replica = new Replica([], definition);
  await replica.start(1);
  const { driver } = replica;
  const upsert = (id: number): Promise<unknown> =>
    driver.write([
      {
        ...{ type: 'upsert', id, vector: new Float32Array(4).fill(id), payload: null },
        condition: { kind: 'none' },
      },
    ]);
  /** Segments, and live rows beside them. */
  const shape = async (): Promise<readonly [segments: readonly number[], growing: number]> => {
    await replica.checkpoint();
    const { manifest } = readManifest(replica.fs, DATA, must(replica.newest?.manifests[0]));
    return [manifest.segments.map(({ rowCount }) => rowCount), manifest.growing.liveRowCount];
  };
  for (let id = 1; id <= 9; id++) await upsert(id);
  await driver.seal();
  t.same(await shape(), [[], 9], 'too few');
  await upsert(9);
  await driver.seal();
  t.same(await shape(), [[9], 0], 'ten were written, of which one is dead');
  await driver.seal();
  t.same(await shape(), [[9], 0], 'nothing grows');
  await upsert(10);
  const digests = await driver.digests();
  t.same(await shape(), [[9], 1]);
  await replica.start(1);
  t.same(await replica.driver.digests(), digests, 'and is read back');
  t.equal(await replica.driver.count(), 10);
});

tap.test('dead rows leave memory, and nobody can tell', async (t) => {
  const definition = definitionOf({ sealRowCount: 30 });
  const random = new SeededRandom(SEED);
  const oracle = new BruteForceOracle(definition);
  const replica = new Replica([], definition);
  await replica.start(2);
  const { driver } = replica;
  const versions = (id: PointId) => oracle.points.get(id)?.version ?? 0;
  let deadMax = 0;
  for (let round = 0; round < 3000; round++) {
    const ops = randomOps(random, definition.dimension, versions);
    oracle.apply(ops, driver.appliedIndex + 1);
    await driver.write(ops);
    if (round % 97 === 0) {
      await replica.checkpoint();
      const again = new Replica([], definition);
      again.fs = replica.fs.clone();
      again.newest = replica.newest;
      await again.start(1 + (round % 3));
      t.same(await again.driver.digests(), await driver.digests(), `reopened at ${round}`);
    }
    if (round % 50 !== 0) continue;
    const digests = await driver.digests();
    t.same(
      digests.map(({ digest }) => digest),
      digests.map(({ shard }) => oracle.digestOfShard(shard)),
      `seed ${SEED} round ${round}`,
    );
    const got = await driver.get([...oracle.points.keys()]);
    t.same(new Map(got.map((point) => [point.id, point])), oracle.points, `round ${round}`);
    const vector = Float32Array.from([1, -1, 2, 0]);
    const { hits } = await driver.search({ vector, k: 20 });
    t.same(
      hits.map(({ id }) => id),
      oracle.search(vector, 20).map(({ id }) => id),
      `round ${round}`,
    );
    const stats = await driver.host.stats();
    deadMax = Math.max(deadMax, ...stats.map(({ deletedRowCount }) => deletedRowCount));
  }
  t.ok(deadMax < 600, `at most ${deadMax} of some 7,000 dead rows were in memory at once`);
});

tap.test('tombstones name positions in the file, however often rows got new numbers', async (t) => {
  const definition = definitionOf({ shardCount: 1, sealRowCount: 300 });
  const replica = new Replica([], definition);
  await replica.start(1);
  const { driver } = replica;
  const condition = { kind: 'none' } as const;
  const upsert = (id: number): PointOp => ({
    ...{ type: 'upsert', id, vector: new Float32Array(4).fill(id), payload: null, condition },
  });
  await driver.write(Array.from({ length: 300 }, (_, id) => upsert(id)));
  for (let round = 0; round < 4; round++) {
    // Dead rows of the sealed segment, and many more of the growing part.
    const deleted = [3, 50, 110].map(
      (id) => ({ type: 'delete', id: id + round, condition }) as const,
    );
    await driver.write(deleted);
    for (let i = 0; i < 4; i++)
      await driver.write([...Array(60).keys()].map((n) => upsert(900 + n)));
    await replica.checkpoint();
    while ((driver.host as InlineHost).buildSlice(8));
    const { deletedRowCount } = must((await driver.host.stats())[0]);
    t.ok(deletedRowCount < 100, `round ${round}: ${deletedRowCount} dead rows are left`);
    const again = new Replica([], definition);
    again.fs = replica.fs.clone();
    again.newest = replica.newest;
    await again.start(1);
    t.same(await again.driver.digests(), await driver.digests(), `round ${round}`);
  }
});

tap.test('a graph goes on after its rows got other numbers', async (t) => {
  const definition = definitionOf({ shardCount: 1, dimension: 8, sealRowCount: 1 << 20 });
  const fs = new MemoryFileSystem();
  fs.makeDirectory(DATA);
  const host = new InlineHost({
    ...{ fs, dataDirectory: DATA, laneCount: 1 },
    compactionDeadRowCountMin: 100,
  });
  const driver = new HostDriver(host, definition);
  await driver.openEmpty();
  await driver.create();
  const random = new SeededRandom(SEED);
  const vectorOf = () => Float32Array.from({ length: 8 }, () => random.nextBelow(2000) / 1000);
  const condition = { kind: 'none' } as const;
  const upsert = (id: number): PointOp => ({
    ...{ type: 'upsert', id, vector: vectorOf(), payload: null, condition },
  });
  await driver.write(Array.from({ length: 3000 }, (_, id) => upsert(id)));
  await host.settle();
  for (let round = 0; round < 3; round++) {
    await driver.write(Array.from({ length: 1500 }, (_, i) => upsert((i * 2 + round) % 3000)));
    if (round === 1) host.buildSlice(700);
    await driver.checkpoint(`c${round}`);
    await host.checkpointDurable(`c${round}`);
    await driver.write([upsert(5000 + round), { type: 'delete', id: 7 * round, condition }]);
    // Slices of the letting go, with writes that kill rows on both sides of the cursor.
    host.buildSlice(20);
    await driver.write([upsert(1), upsert(2999), upsert(6000 + round)]);
    const before = (await host.stats())[0]?.deletedRowCount ?? 0;
    await host.settle();
    const after = (await host.stats())[0]?.deletedRowCount ?? 0;
    t.ok(before > 1000 && after < 10, `round ${round}: ${before} dead rows, then ${after}`);
    let shared = 0;
    for (let query = 0; query < 40; query++) {
      const vector = vectorOf();
      const found = await driver.search({ vector, k: 10, ef: 200 });
      const exact = await driver.search({ vector, k: 10, isExact: true });
      t.ok(must(found.plans[0]).graphRowCount > 2500, 'the graph was searched');
      const ids = new Set(exact.hits.map(({ id }) => id));
      shared += found.hits.filter(({ id }) => ids.has(id)).length;
    }
    t.ok(shared >= 0.97 * 400, `round ${round}: recall ${shared / 400}`);
  }
});

tap.test('the checksum algorithm is the log’s to say, and mixed files verify', async (t) => {
  const definition = definitionOf({ shardCount: 1, sealRowCount: 10, checksumAlgorithm: 'crc32c' });
  const replica = new Replica([], definition);
  await replica.start(1);
  const { driver } = replica;
  const condition = { kind: 'none' } as const;
  let id = 0;
  for (const algorithm of ['xxhash3', 'sha256'] as const) {
    const ops = Array.from({ length: 10 }, (): PointOp => {
      id += 1;
      return { type: 'upsert', id, vector: new Float32Array(4).fill(id), payload: null, condition };
    });
    await driver.write(ops);
    const index = at(driver.appliedIndex + 1);
    driver.appliedIndex += 1;
    const uid = definition.uid;
    const command = { kind: 'changeChecksum', index, uid, algorithm } as const;
    await driver.host.apply({ fromIndex: index, toIndex: index, perLane: [[command]] });
  }
  await driver.write([
    { type: 'upsert', id: 99, vector: new Float32Array(4), payload: null, condition },
  ]);
  await replica.checkpoint();
  const { manifests, index } = must(replica.newest);
  const { manifest } = readManifest(replica.fs, DATA, must(manifests[0]));
  t.same(
    manifest.segments.map(({ checksumAlgorithm }) => checksumAlgorithm),
    ['crc32c', 'xxhash3'],
  );
  const algorithmIds = checkpointFiles(replica.fs, DATA, manifests).map(({ kind, path }) => {
    const bytes = readWholeFile(replica.fs, `${DATA}/${path}`);
    return [kind, new DataView(bytes.buffer).getUint16(8, true)];
  });
  t.same(algorithmIds, [
    ['growing', 3],
    ['manifest', 3],
    ['segment', 1],
    ['segment', 2],
  ]);
  t.same(runSteps(verifyCheckpoint(replica.fs, DATA, manifests)), []);
  const expected = await driver.digests();
  await driver.host.open({ appliedIndex: at(index), definitions: [definition], manifests });
  t.same(await driver.digests(), expected);
});

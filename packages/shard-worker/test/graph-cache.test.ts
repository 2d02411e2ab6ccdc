/**
 * Saved graphs: taken back after a start, verified before native code sees them, given up without
 * a trace in the answers. In memory with a fake engine, and on a real disk with the real ones.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { must, SeededRandom } from '@holdfast/base';
import type { FileSystem } from '@holdfast/storage';
import {
  ChecksummedFileReader,
  NodeFileSystem,
  readAtomicJson,
  readWholeFile,
  scrubLook,
  writeAtomicFile,
  writeChecksummedFile,
} from '@holdfast/storage';
import { CrashSignal, MemoryFileSystem } from '@holdfast/storage/testing';
import type { Test } from 'tap';
import tap from 'tap';
import { Shard } from '../src/engine/shard.ts';
import type { GraphFactory } from '../src/graph/graph.ts';
import { loadGraphFactory } from '../src/graph/graph-engines.ts';
import type { GraphCachePlace } from '../src/graph-cache/files.ts';
import { graphFilePath, isGraphFileName, listGenerations } from '../src/graph-cache/files.ts';
import type { GraphCacheOptions } from '../src/graph-cache/graph-cache.ts';
import { loadGraph } from '../src/graph-cache/load.ts';
import { quarantineGeneration } from '../src/graph-cache/quarantine.ts';
import { saveGraph } from '../src/graph-cache/save.ts';
import type { SavedGraphFile } from '../src/graph-cache/saved-graphs.ts';
import { listSavedGraphFiles, lookAtSavedGraph } from '../src/graph-cache/saved-graphs.ts';
import { InlineHost } from '../src/host/inline-host.ts';
import type { CollectionDefinition, GraphChoice } from '../src/model.ts';
import type { PointOp } from '../src/point-op.ts';
import { encodePointOps, PointOpReader } from '../src/point-op.ts';
import { checkpointFiles, removeUnreferenced } from '../src/segment/references.ts';
import type { ShardManifestReference } from '../src/tasks.ts';
import { clusteredVectors } from '../src/testing/seeded-dataset.ts';
import { FakeGraphs } from './fake-graph.ts';
import { at, definitionOf, HostDriver, UID } from './harness.ts';

const none = { kind: 'none' } as const;
const DIMENSION = 8;
const SHARD_DIRECTORY = `collections/${UID}/0`;
const vectors = clusteredVectors({ seed: 12, dimension: DIMENSION, count: 2400 });
const upsertOf = (id: number, vector = must(vectors[id])): PointOp => ({
  type: 'upsert',
  id,
  vector,
  payload: null,
  condition: none,
});
const deleteOf = (id: number): PointOp => ({ type: 'delete', id, condition: none });

/** One node's lane over a disk: written, checkpointed, started again. */
class Node {
  readonly fs: FileSystem;
  readonly directory: string;
  readonly definition: CollectionDefinition;
  readonly #factory: GraphFactory;
  readonly #cache: GraphCacheOptions;
  host: InlineHost;
  driver: HostDriver;
  manifests: readonly ShardManifestReference[] = [];
  checkpointIndex = 0;

  constructor(
    place: { readonly fs: FileSystem; readonly directory: string; readonly factory: GraphFactory },
    cache: Partial<GraphCacheOptions> = {},
    changes: Partial<CollectionDefinition> = {},
  ) {
    this.fs = place.fs;
    this.directory = place.directory;
    this.#factory = place.factory;
    this.#cache = { generationCountMax: 10, sizeBudgetBytes: 1e9, wallMs: () => 5000, ...cache };
    this.definition = definitionOf({ dimension: DIMENSION, shardCount: 1, ...changes });
    this.host = this.#newHost();
    this.driver = new HostDriver(this.host, this.definition);
  }

  async create(): Promise<this> {
    await this.driver.openEmpty();
    await this.driver.create();
    return this;
  }

  async write(ops: readonly PointOp[]): Promise<void> {
    for (let start = 0; start < ops.length; start += 200)
      await this.driver.write(ops.slice(start, start + 200));
  }

  /** Fills the graph, checkpoints, and saves the graph. */
  async checkpoint(): Promise<void> {
    await this.host.settle();
    this.manifests = await this.driver.checkpoint();
    this.checkpointIndex = this.driver.appliedIndex;
    await this.host.settle();
  }

  /** As after kill -9: a new engine from the last checkpoint. */
  async restart(): Promise<void> {
    this.host = this.#newHost();
    await this.host.open({
      appliedIndex: at(this.checkpointIndex),
      definitions: [this.definition],
      manifests: this.manifests,
    });
    this.driver = new HostDriver(this.host, this.definition, this.checkpointIndex);
  }

  async stats() {
    return must((await this.host.stats())[0]);
  }

  async planOf(id: number) {
    const { hits, plans } = await this.driver.search({ vector: must(vectors[id]), k: 1 });
    return { ...must(plans[0]), id: hits[0]?.id };
  }

  place(): GraphCachePlace {
    return { fs: this.fs, dataDirectory: this.directory, uid: UID, shard: 0 };
  }

  #newHost(): InlineHost {
    return new InlineHost({
      fs: this.fs,
      dataDirectory: this.directory,
      laneCount: 1,
      graphFactory: this.#factory,
      graphCache: this.#cache,
    });
  }
}

function memoryNode(cache?: Partial<GraphCacheOptions>) {
  const fs = new MemoryFileSystem();
  const factory = new FakeGraphs(fs);
  return { fs, factory, node: new Node({ fs, directory: '/data', factory }, cache) };
}

const factory = must(loadGraphFactory(), 'no graph engine');

function diskNode(t: Test, graph: GraphChoice): Node {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-graph-cache-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const place = { fs: new NodeFileSystem(), directory, factory };
  return new Node(place, {}, { graph });
}

const reasonsOf = (stats: Awaited<ReturnType<Node['stats']>>) =>
  stats.graphs.events.map(({ kind, generation }) => `${kind} ${generation}`);

for (const [engine, precision] of [
  ['hnswlib', 'f32'],
  ['usearch', 'bf16'],
] as const)
  tap.test(`a start takes the saved graph back and adds what came after (${engine})`, async (t) => {
    const node = await diskNode(t, { engine, precision }).create();
    await node.write(vectors.slice(0, 2000).map((_, id) => upsertOf(id)));
    await node.write([deleteOf(3), deleteOf(4), upsertOf(5, must(vectors[2100]))]);
    await node.checkpoint();
    t.match((await node.stats()).graphs, { savedCount: 1, builds: [`${engine} ${precision}`] });
    await node.restart();
    const stats = await node.stats();
    t.same(reasonsOf(stats), ['loaded 1']);
    t.match(stats, { graphRowCount: 1998, tailRowCount: 0 }, 'all of it, before anything is built');
    t.match(await node.planOf(1000), { graphRowCount: 1998, exactRowCount: 0, id: 1000 });
    // Rows come and go, as in the log behind the checkpoint.
    await node.write([upsertOf(2200), deleteOf(1000), upsertOf(1001, must(vectors[2201]))]);
    await node.host.settle();
    t.match(await node.planOf(2200), { graphRowCount: 1998, exactRowCount: 0, id: 2200 });
    t.not((await node.planOf(1000)).id, 1000);
    // The second start is from the first checkpoint's rows and the second's graph, or the reverse.
    const { manifests, checkpointIndex } = node;
    await node.checkpoint();
    node.manifests = manifests;
    node.checkpointIndex = checkpointIndex;
    await node.restart();
    t.same(reasonsOf(await node.stats()), ['loaded 2'], 'a graph newer than the rows');
    t.match(await node.planOf(1000), { id: 1000 }, 'rows it lacks are the tail');
    t.equal((await node.planOf(1000)).exactRowCount > 0, true);
    // Rows behind 1000 are in that graph and in the tail: every search must find each once.
    const filter = { must_not: [{ has_id: [7] }] };
    const vector = must(vectors[1500]);
    const filtered = await node.driver.search({ vector, k: 5, ef: 16, filter });
    t.equal(filtered.plans[0]?.filter?.way, 'graph');
    const exact = await node.driver.search({ vector, k: 5, isExact: true });
    t.same(filtered.hits, exact.hits, 'found once, by the scan of the tail');
    t.same((await node.driver.search({ vector, k: 5 })).hits, exact.hits, 'without a filter too');
  });

tap.test('every flipped byte is noticed before the loader is called', async (t) => {
  const fs = new MemoryFileSystem();
  const fakes = new FakeGraphs(fs);
  const { shard, place } = savedShard(fs, fakes);
  t.equal(loadGraph(place, 1, shard, fakes).kind, 'loaded', 'untouched');
  fakes.loadCount = 0;
  let flipCount = 0;
  for (const kind of ['json', 'graph'] as const) {
    const path = graphFilePath(place, 1, kind);
    for (let position = 0; position < fs.sizeBytes(path); position++) {
      fs.flipBit(path, position, position % 8);
      const { kind: outcome } = loadGraph(place, 1, shard, fakes);
      if (outcome === 'loaded') t.fail(`${kind}: byte ${position} was not noticed`);
      fs.flipBit(path, position, position % 8);
      flipCount += 1;
    }
  }
  t.ok(flipCount > 3000, `${flipCount} flips`);
  t.equal(fakes.loadCount, 0, 'the loader saw none of them');
  t.equal(loadGraph(place, 1, shard, fakes).kind, 'loaded', 'whole again');
});

tap.test('a sound graph file that is not the one its sidecar names is not loaded', async (t) => {
  const fs = new MemoryFileSystem();
  const fakes = new FakeGraphs(fs);
  const { shard, place } = savedShard(fs, fakes);
  fakes.loadCount = 0;
  const path = graphFilePath(place, 1, 'graph');
  const reader = ChecksummedFileReader.open(fs, path, 'graph');
  const { algorithm, kind } = reader;
  const payload = reader.readAll();
  reader.close();
  payload[payload.byteLength - 1]! ^= 1;
  writeChecksummedFile(fs, path, { kind, algorithm }, [payload]);
  t.match(loadGraph(place, 1, shard, fakes), { kind: 'damaged', reason: /fails its checksum/ });
  t.equal(fakes.loadCount, 0, 'the loader did not see it');
});

/** A shard of forty rows whose graph is generation 1 on disk. */
function savedShard(fs: FileSystem, fakes: FakeGraphs) {
  const definition = definitionOf({ dimension: DIMENSION, shardCount: 1 });
  const shard = new Shard(definition, 0, fakes);
  const graph = fakes.create(definition);
  const op = new PointOpReader(encodePointOps(vectors.slice(0, 40).map((_, id) => upsertOf(id))));
  while (op.next()) shard.upsert(op, 7, 1);
  for (let row = 0; row < 40; row++) graph.addRow(row, must(vectors[row]));
  shard.queue.adopt(graph);
  const place = { fs, dataDirectory: '/data', uid: UID, shard: 0 };
  fs.makeDirectory(`/data/${SHARD_DIRECTORY}`);
  const steps = saveGraph(place, shard, fakes, { logIndex: 7, timestampMs: 1 });
  while (steps.next().done !== true);
  return { shard, place };
}

for (const engine of ['hnswlib', 'usearch'] as const)
  tap.test(`damage on a real disk never reaches native code (${engine})`, async (t) => {
    const node = await diskNode(t, { engine, precision: 'f32' }).create();
    await node.write(vectors.slice(0, 1200).map((_, id) => upsertOf(id)));
    await node.checkpoint();
    const random = new SeededRandom(5);
    for (let round = 0; round < 12; round++) {
      const kind = round % 3 === 0 ? 'json' : 'graph';
      const { graphs } = await node.stats();
      const generation = must([...listGenerations(node.place()).keys()].at(-1));
      const path = graphFilePath(node.place(), generation, kind);
      const bytes = readFileSync(path);
      const position = random.nextBelow(bytes.length);
      if (round % 4 === 3) writeFileSync(path, bytes.subarray(0, position));
      else {
        bytes[position]! ^= 1 << random.nextBelow(8);
        writeFileSync(path, bytes);
      }
      await node.restart();
      const stats = await node.stats();
      t.same(
        reasonsOf(stats),
        [`quarantined ${generation}`, 'rebuilding null'],
        `round ${round}: ${kind} at ${position} (${graphs.savedCount})`,
      );
      t.match(await node.planOf(7), { graphRowCount: 0, exactRowCount: 1200, id: 7 }, 'exact');
      await node.checkpoint();
      t.match(await node.planOf(7), { graphRowCount: 1200, exactRowCount: 0, id: 7 }, 'again');
    }
    const quarantined = readdirSync(join(node.directory, 'quarantine'));
    t.equal(quarantined.length, 12, 'every one is kept');
    const folder = join(node.directory, 'quarantine', must(quarantined[0]));
    const format = { format: 'holdfast-quarantine', version: 1 };
    t.match(readAtomicJson(node.fs, join(folder, 'reason.json'), format), { reason: String });
  });

tap.test('a scrubber finds damage in saved graphs by file and offset', async (t) => {
  const { fs, node } = memoryNode();
  await node.create();
  await node.write(vectors.slice(0, 1000).map((_, id) => upsertOf(id)));
  await node.checkpoint();
  const [graph, sidecar, ...others] = listSavedGraphFiles(fs, '/data');
  t.match(graph, { uid: UID, shard: 0, generation: 1, kind: 'graph' });
  t.match(sidecar, { uid: UID, shard: 0, generation: 1, kind: 'json' });
  t.same(others, []);
  const flawsOf = (file: SavedGraphFile | undefined) => {
    const steps = scrubLook(fs, lookAtSavedGraph(fs, '/data', must(file)));
    for (;;) {
      const step = steps.next();
      if (step.done === true) return step.value;
    }
  };
  const damage = () =>
    [graph, sidecar].flatMap((file) => flawsOf(file).map((one) => ({ ...one, path: file?.path })));
  t.same(damage(), [], 'whole');
  for (const kind of ['graph', 'json'] as const) {
    const path = graphFilePath(node.place(), 1, kind);
    const positions = kind === 'json' ? [0, 50, 200] : [0, 63, 64, 40_000, fs.sizeBytes(path) - 1];
    for (const position of positions) {
      fs.flipBit(path, position);
      const [found, ...more] = damage();
      t.equal(`/data/${found?.path}`, path, `${kind} at ${position}`);
      t.same(more, [], 'and nothing else');
      if (kind === 'graph')
        t.ok(position - Number(found?.offset) < 65_552, `offset ${found?.offset} of ${position}`);
      fs.flipBit(path, position);
    }
  }
  for (const kind of ['graph', 'json'] as const) {
    const path = graphFilePath(node.place(), 1, kind);
    const bytes = readWholeFile(fs, path);
    fs.remove(path);
    t.match(damage(), [{ path: path.slice('/data/'.length), what: /missing/ }], `${kind} is gone`);
    t.equal(listSavedGraphFiles(fs, '/data').length, 2, 'what is left tells of it');
    writeAtomicFile(fs, path, [bytes]);
    t.same(damage(), []);
  }
  // What the healer does: out of use, and saved anew by the next checkpoint.
  quarantineGeneration(node.place(), 1, 'found by the scrubber');
  t.same(listSavedGraphFiles(fs, '/data'), [], 'what is out of use is not looked at');
  await node.checkpoint();
  t.equal(listSavedGraphFiles(fs, '/data').length, 2);
});

tap.test('a start falls back through the generations to the newest that is whole', async (t) => {
  const { fs, node } = memoryNode();
  await node.create();
  await node.write(vectors.slice(0, 1000).map((_, id) => upsertOf(id)));
  for (let generation = 1; generation <= 12; generation++) {
    await node.write([upsertOf(1000 + generation)]);
    await node.checkpoint();
  }
  t.same([...listGenerations(node.place()).keys()], [3, 4, 5, 6, 7, 8, 9, 10, 11, 12], 'ten');
  const damage = (generation: number) =>
    fs.flipBit(graphFilePath(node.place(), generation, 'graph'), 100 + generation);
  for (const generation of [12, 11, 10]) damage(generation);
  await node.restart();
  let stats = await node.stats();
  t.same(reasonsOf(stats), ['quarantined 12', 'quarantined 11', 'quarantined 10', 'loaded 9']);
  t.match(stats, { liveRowCount: 1012, tailRowCount: 3 }, 'three rows came after it');
  t.match(stats.graphs.events[0], { path: `${SHARD_DIRECTORY}/graph-00000012.graph` });
  t.match(await node.planOf(1012), { id: 1012 });
  for (const generation of [3, 4, 5, 6, 7, 8, 9]) damage(generation);
  await node.restart();
  stats = await node.stats();
  t.match(stats.graphs, { quarantinedCount: 7, rebuildingAfterLoadCount: 1, loadedCount: 0 });
  t.match(await node.planOf(500), { graphRowCount: 0, exactRowCount: 1012, id: 500 }, 'exact');
  await node.checkpoint();
  await node.restart();
  t.same(reasonsOf(await node.stats()), ['loaded 1']);
});

tap.test('a graph that crashed its loader is not tried again', async (t) => {
  const { fs, factory: fakes, node } = memoryNode();
  await node.create();
  await node.write(vectors.slice(0, 1000).map((_, id) => upsertOf(id)));
  await node.checkpoint();
  await node.write([upsertOf(1001)]);
  await node.checkpoint();
  // The machine stops inside native code: nothing after the marker happens.
  fakes.loadError = new CrashSignal('in native code');
  fs.faults.add({ operation: 'remove', pathContains: '.loading', fault: 'crash' });
  await t.rejects(node.restart());
  fs.crash({ seed: 1, keepUnsynced: 'none' });
  fakes.loadError = null;
  await node.restart();
  const stats = await node.stats();
  t.same(reasonsOf(stats), ['quarantined 2', 'loaded 1']);
  t.match(stats.graphs.events[0]?.reason, 'native code');
  t.match(await node.planOf(1001), { id: 1001 });
});

tap.test('a crash anywhere while a graph is saved leaves the one before', async (t) => {
  const { fs, factory: fakes, node } = memoryNode();
  await node.create();
  await node.write(vectors.slice(0, 1000).map((_, id) => upsertOf(id)));
  await node.checkpoint();
  await node.write([upsertOf(1001)]);
  await node.host.settle();
  node.manifests = await node.driver.checkpoint();
  node.checkpointIndex = node.driver.appliedIndex;
  const before = fs.clone();
  const operationsBefore = fs.operationCount;
  await node.host.settle();
  const operationCount = fs.operationCount - operationsBefore;
  t.ok(operationCount > 8, `${operationCount} operations to crash at`);
  for (let operation = 1; operation <= operationCount; operation++)
    for (const keepUnsynced of ['none', 'random', 'all'] as const) {
      const disk = before.clone();
      const place = { fs: disk, directory: '/data', factory: new FakeGraphs(disk) };
      const victim = new Node(place);
      victim.manifests = node.manifests;
      victim.checkpointIndex = node.checkpointIndex;
      await victim.restart();
      await victim.write([upsertOf(1002)]);
      await victim.host.settle();
      await victim.driver.checkpoint('next');
      disk.crashAtOperation(disk.operationCount + operation);
      await victim.host.settle().catch(() => {});
      disk.crash({ seed: operation, keepUnsynced });
      await victim.restart();
      const { graphs, graphRowCount } = await victim.stats();
      const label = `operation ${operation}, ${keepUnsynced}`;
      if (graphs.loadedCount !== 1 || graphs.quarantinedCount !== 0)
        t.fail(`${label}: ${JSON.stringify(graphs.events)}`);
      if (graphRowCount < 1000) t.fail(`${label}: ${graphRowCount} rows`);
    }
  t.equal(fakes.loadCount, 0);
});

tap.test('a full disk costs the cache and nothing else', async (t) => {
  const { fs, node } = memoryNode();
  await node.create();
  await node.write(vectors.slice(0, 1000).map((_, id) => upsertOf(id)));
  await node.host.settle();
  for (const pathContains of ['graph-native', '.graph', '.json']) {
    await node.write([upsertOf(1100)]);
    await node.host.settle();
    node.manifests = await node.driver.checkpoint();
    node.checkpointIndex = node.driver.appliedIndex;
    fs.faults.add({ operation: 'write', pathContains, fault: 'ENOSPC' });
    await node.host.settle();
    const stats = await node.stats();
    t.equal(stats.graphs.events.at(-1)?.kind, 'saveFailed', pathContains);
    t.match(await node.planOf(8), { id: 8 });
  }
  fs.capacityBytes = fs.usedBytes() + 1e6;
  await node.checkpoint();
  t.match((await node.stats()).graphs.events.at(-1), { reason: /bytes free/ });
  const names = fs.list(`/data/${SHARD_DIRECTORY}`).filter(isGraphFileName);
  t.ok(names.filter((name) => name.endsWith('.json')).length === 0, String(names));
  fs.capacityBytes = Number.POSITIVE_INFINITY;
  await node.restart();
  await node.checkpoint();
  t.equal((await node.stats()).graphs.savedCount, 1, 'room again, saved again');
});

tap.test('saves that fail again and again are left out for a while', async (t) => {
  let nowMs = 0;
  const saves = { breaker: { failureCountMax: 3, openMs: 60_000 }, monotonicMs: () => nowMs };
  const { fs, node } = memoryNode({ saves });
  await node.create();
  await node.write(vectors.slice(0, 1000).map((_, id) => upsertOf(id)));
  fs.faults.add({ operation: 'write', pathContains: '.graph', fault: 'EIO', times: 4 });
  const counts = async () => {
    await node.write([upsertOf(1_100 + (nowMs % 7))]);
    await node.checkpoint();
    const { savedCount, saveFailedCount } = (await node.stats()).graphs;
    return [savedCount, saveFailedCount];
  };
  t.same(await counts(), [0, 1]);
  await counts();
  t.same(await counts(), [0, 3], 'three in a row open the breaker');
  nowMs = 59_999;
  t.same(await counts(), [0, 3], 'nothing is written in vain');
  nowMs = 60_000;
  t.same(await counts(), [0, 4], 'one probe');
  nowMs = 119_999;
  t.same(await counts(), [0, 4]);
  nowMs = 120_000;
  t.same(await counts(), [1, 4]);
  t.same(await counts(), [2, 4], 'closed again');
});

tap.test('a graph that had to be built again says when it is there', async (t) => {
  const { factory: fakes, node } = memoryNode();
  await node.create();
  await node.write(vectors.slice(0, 1500).map((_, id) => upsertOf(id)));
  await node.checkpoint();
  fakes.engineVersion = '2';
  await node.restart();
  t.same(reasonsOf(await node.stats()), ['outdated 1', 'rebuilding null'], 'not there yet');
  await node.host.settle();
  t.match((await node.stats()).graphs.events.at(-1), { kind: 'rebuilt', reason: /^1500 rows/ });
  t.equal((await node.stats()).graphs.events.length, 3, 'told once');
});

tap.test('graphs of another engine, version or shard are not loaded', async (t) => {
  const { fs, factory: fakes, node } = memoryNode();
  await node.create();
  await node.write(vectors.slice(0, 1000).map((_, id) => upsertOf(id)));
  await node.checkpoint();
  const copy = fs.clone();
  fakes.engineVersion = '2';
  await node.restart();
  t.same(reasonsOf(await node.stats()), ['outdated 1', 'rebuilding null']);
  t.equal(fakes.loadCount, 0);
  t.same([...listGenerations(node.place()).keys()], [], 'it is gone');
  // The same rows under other versions are other rows.
  const other = new Node({ fs: copy, directory: '/data', factory: new FakeGraphs(copy) });
  await other.create();
  await other.write([deleteOf(9_999)]);
  await other.write(vectors.slice(0, 1000).map((_, id) => upsertOf(id)));
  await other.checkpoint();
  copy.remove(graphFilePath(other.place(), 2, 'json'));
  await other.restart();
  t.same(reasonsOf(await other.stats()), ['outdated 1', 'rebuilding null']);
});

tap.test('generations are kept within their budget, and an unchanged graph is kept', async (t) => {
  const { node } = memoryNode({ sizeBudgetBytes: 150_000 });
  await node.create();
  await node.write(vectors.slice(0, 1000).map((_, id) => upsertOf(id)));
  for (let i = 0; i < 4; i++) {
    await node.write([upsertOf(1000 + i)]);
    await node.checkpoint();
    await node.checkpoint();
  }
  t.equal((await node.stats()).graphs.savedCount, 4, 'once per change');
  t.same([...listGenerations(node.place()).keys()], [3, 4], 'two fit');
  const tiny = memoryNode({ sizeBudgetBytes: 10 }).node;
  await tiny.create();
  await tiny.write(vectors.slice(0, 1000).map((_, id) => upsertOf(id)));
  await tiny.checkpoint();
  t.same([...listGenerations(tiny.place()).keys()], [1], 'the newest always');
});

tap.test('saved graphs are no part of a checkpoint, and go with their shard', async (t) => {
  const { fs, node } = memoryNode();
  await node.create();
  await node.write(vectors.slice(0, 1000).map((_, id) => upsertOf(id)));
  await node.checkpoint();
  const graphs = () => fs.files('/data/collections').filter(({ path }) => path.includes('/graph-'));
  t.equal(graphs().length, 2);
  t.notOk(checkpointFiles(fs, '/data', node.manifests).some(({ path }) => path.includes('graph')));
  t.same(removeUnreferenced(fs, '/data', node.manifests), []);
  t.equal(graphs().length, 2, 'kept while their shard is');
  removeUnreferenced(fs, '/data', []);
  t.same(graphs(), []);
  t.notOk(fs.exists(`/data/${SHARD_DIRECTORY}`));
});

tap.test('closing in the middle of a save leaves nothing of it', async (t) => {
  const { fs, node } = memoryNode();
  await node.create();
  await node.write(vectors.map((_, id) => upsertOf(id)));
  await node.host.settle();
  await node.driver.checkpoint();
  t.ok(node.host.buildSlice(1), 'begun');
  t.ok(fs.files('/data').some(({ path }) => path.includes('graph-native')));
  await node.host.close();
  t.same(
    fs.files('/data').filter(({ path }) => path.includes('graph-')),
    [],
  );
});

/** What both graph libraries do behind the seam: files, renumbering, filters, guards, choice. */
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { InvariantViolation, must } from '@holdfast/base';
import type { Test } from 'tap';
import tap from 'tap';
import { NO_ROW } from '../src/engine/row-store.ts';
import type { Graph, GraphOptions, NativeGraphFile } from '../src/graph/graph.ts';
import {
  chooseEngine,
  createGraphFactory,
  loadEngines,
  loadGraphFactory,
  USEARCH_DIMENSION_MIN,
  USEARCH_VERSION,
} from '../src/graph/graph-engines.ts';
import type { UsearchIndex } from '../src/graph/usearch-graph.ts';
import { UsearchGraph } from '../src/graph/usearch-graph.ts';
import type { GraphChoice } from '../src/model.ts';
import { clusteredVectors } from '../src/testing/seeded-dataset.ts';

const DIMENSION = 24;
const COUNT = 1500;
const vectors = clusteredVectors({ seed: 31, dimension: DIMENSION, count: COUNT });
const factory = must(loadGraphFactory(), 'no graph engine');
const CHOICES: readonly GraphChoice[] = [
  { engine: 'hnswlib', precision: 'f32' },
  { engine: 'usearch', precision: 'f32' },
  { engine: 'usearch', precision: 'bf16' },
];
const optionsOf = (graph: GraphChoice, dimension = DIMENSION): GraphOptions => ({
  dimension,
  metric: 'l2',
  hnsw: { m: 16, efConstruction: 128, efSearch: 64 },
  graph,
});

function directoryOf(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-graph-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  return directory;
}

/** Rows 1000.. of the data set, the even ones of the first hundred dead. */
function churned(options: GraphOptions): Graph {
  const graph = factory.create(options);
  vectors.forEach((vector, i) => {
    graph.addRow(1000 + i, vector);
  });
  for (let i = 0; i < 100; i += 2) graph.markDeleted(1000 + i);
  return graph;
}

function nearest(graph: Graph, query: Float32Array, count = 5): readonly number[] {
  const target = new Uint32Array(count);
  return [...target.subarray(0, graph.search(query, count, 128, target))];
}

const fileOf = (bytes: Uint8Array): NativeGraphFile => ({
  sizeBytes: bytes.byteLength,
  read: (position, length) => bytes.subarray(position, position + length),
});

for (const choice of CHOICES) {
  const name = `${choice.engine} ${choice.precision}`;
  const options = optionsOf(choice);

  tap.test(`a saved graph comes back under new row numbers (${name})`, async (t) => {
    const path = join(directoryOf(t), 'graph');
    const before = churned(options);
    t.match(before, { rowCount: COUNT, deletedCount: 50, ...choice });
    before.save(path);
    const rows = before.labelRows();
    t.equal(rows.length, COUNT);
    t.equal(rows.filter((row) => row === NO_ROW).length, 50);
    // Row 1201 died after the graph was saved; the others are numbered from the end now.
    const goneLabels = [rows.indexOf(1201)];
    const renumbered = rows.map((row) => (row === NO_ROW || row === 1201 ? NO_ROW : 9000 - row));
    const after = factory.load(options, path, { rows: renumbered, goneLabels });
    t.match(after, { rowCount: COUNT, deletedCount: 51, ...choice });
    for (const i of [1, 201, 300, 999]) {
      const query = must(vectors[i]);
      const expected = nearest(before, query, 8).filter((row) => row !== 1201);
      const found = nearest(after, query, 8).map((row) => 9000 - row);
      t.same(found.slice(0, 7), expected.slice(0, 7), `row ${1000 + i}`);
    }
    t.notOk(after.hasRow(9000 - 1201));
    // It goes on like any other: rows come and go.
    after.addRow(20_000, must(vectors[201]));
    t.ok(nearest(after, must(vectors[201])).includes(20_000));
    after.markDeleted(9000 - 1300);
    t.notOk(nearest(after, must(vectors[300])).includes(9000 - 1300));
  });

  tap.test(`rows get other numbers while the graph stays (${name})`, async (t) => {
    const graph = churned(options);
    const query = must(vectors[500]);
    const expected = nearest(graph, query).map((row) => row - 1000);
    graph.renumber(Uint32Array.from({ length: 1000 + COUNT }, (_, row) => Math.max(row - 1000, 0)));
    t.same(nearest(graph, query), expected);
    t.ok(graph.hasRow(1) && !graph.hasRow(0) && !graph.hasRow(1001 + 499));
    graph.markDeleted(must(expected[0]));
    t.notOk(nearest(graph, query).includes(must(expected[0])));
  });

  tap.test(`a file that the library could not finish is noticed (${name})`, async (t) => {
    const path = join(directoryOf(t), 'graph');
    churned(options).save(path);
    const whole = new Uint8Array(readFileSync(path));
    t.ok(factory.isFileComplete(options, fileOf(whole)));
    for (const size of [0, 7, 95, 4096, 65_536, whole.length - 4096, whole.length - 1]) {
      truncateSync(path, size);
      t.notOk(factory.isFileComplete(options, fileOf(whole.subarray(0, size))), `${size} bytes`);
      writeFileSync(path, whole);
    }
    const longer = new Uint8Array(whole.length + 1);
    longer.set(whole);
    t.notOk(factory.isFileComplete(options, fileOf(longer)), 'one byte more');
  });

  tap.test(`a filter sees row numbers, or there is none (${name})`, async (t) => {
    const graph = churned(options);
    if (choice.engine === 'usearch') {
      t.equal(graph.searchFiltered, undefined);
      return;
    }
    const allowed = new Uint32Array(Math.ceil((1000 + COUNT) / 32));
    for (let row = 1000; row < 1000 + COUNT; row += 7) allowed[row >>> 5]! |= 1 << (row & 31);
    const target = new Uint32Array(10);
    const found = graph.searchFiltered?.(must(vectors[3]), 10, 200, allowed, target) ?? 0;
    t.equal(found, 10);
    t.ok([...target].every((row) => (row - 1000) % 7 === 0 && graph.hasRow(row)));
    const none = new Uint32Array(1);
    t.equal(graph.searchFiltered?.(must(vectors[3]), 10, 200, none, target), 0);
  });
}

tap.test('churn does not make a usearch graph grow', async (t) => {
  const graph = churned(optionsOf({ engine: 'usearch', precision: 'f32' }));
  for (let round = 0; round < 3; round++)
    for (let i = 0; i < 100; i += 2) {
      graph.addRow(1000 + i, must(vectors[i]));
      t.equal(graph.rowCount, COUNT);
      graph.markDeleted(1000 + i);
    }
  t.equal(graph.deletedCount, 50);
});

tap.test('a collection gets the engine it asks for, or what the machine has', async (t) => {
  const { hnswlib, usearch } = loadEngines();
  const both = { hnswlib: must(hnswlib), usearch: must(usearch) };
  const chosen = (loaded: Parameters<typeof chooseEngine>[0], choice: GraphChoice, d = 64) => {
    const build = chooseEngine(loaded, optionsOf(choice, d));
    return build === null ? null : `${build.engine} ${build.precision}`;
  };
  const auto = { engine: 'auto', precision: 'f32' } as const;
  const hnswlibWanted = { engine: 'hnswlib', precision: 'f32' } as const;
  const bf16 = { engine: 'auto', precision: 'bf16' } as const;
  t.equal(chosen(both, auto), 'hnswlib f32');
  t.equal(chosen(both, auto, USEARCH_DIMENSION_MIN), 'usearch f32');
  t.equal(chosen(both, bf16), 'usearch bf16');
  t.equal(chosen(both, hnswlibWanted, 1024), 'hnswlib f32');
  t.equal(chosen({ usearch: both.usearch }, hnswlibWanted), 'usearch f32', 'no compiler here');
  t.equal(chosen({ hnswlib: both.hnswlib }, bf16), 'hnswlib f32', 'no binary for this machine');
  t.equal(chosen({}, auto), null);
  t.equal(createGraphFactory({}), null);
  t.match(chooseEngine(both, optionsOf(bf16)), { engineVersion: `${USEARCH_VERSION} abi ` });
});

tap.test('the version of usearch in saved graphs is the one that is installed', async (t) => {
  const main = createRequire(import.meta.url).resolve('usearch');
  let directory = dirname(main);
  while (!directory.endsWith('usearch')) directory = dirname(directory);
  const { version } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
  t.equal(version, USEARCH_VERSION);
});

/** Counts what would reach usearch. */
class CountingIndex implements UsearchIndex {
  static calls = 0;
  add() {
    CountingIndex.calls += 1;
  }
  remove = () => [1];
  size = () => 0;
  save() {}
  load() {}
  search = () => {
    CountingIndex.calls += 1;
    return { keys: new BigUint64Array(0) };
  };
}

tap.test('no input that usearch does not check itself reaches it', async (t) => {
  const graph = UsearchGraph.create(CountingIndex, optionsOf(must(CHOICES[1]), 3));
  const good = Float32Array.from([1, 2, 3]);
  const target = new Uint32Array(8);
  t.equal(graph.search(good, 5, 10, target), 0, 'an empty index is not searched');
  t.equal(CountingIndex.calls, 0);
  graph.addRow(4, good);
  const bad: readonly Float32Array[] = [
    Float32Array.from([1, Number.NaN, 3]),
    Float32Array.from([1, Number.POSITIVE_INFINITY, 3]),
    new Float32Array(2),
    new Float32Array(6),
    [1, 2, 3] as unknown as Float32Array,
    undefined as unknown as Float32Array,
  ];
  for (const vector of bad) {
    t.throws(() => graph.addRow(5, vector), InvariantViolation);
    t.throws(() => graph.search(vector, 1, 10, target), InvariantViolation);
  }
  t.throws(() => graph.addRow(4, good), InvariantViolation, 'twice');
  t.throws(() => graph.addRow(NO_ROW, good), InvariantViolation);
  t.throws(() => graph.markDeleted(5), InvariantViolation);
  t.throws(() => graph.search(good, 1, Number.NaN, target), InvariantViolation);
  t.throws(() => graph.search(good, 1, 10, new Uint32Array(0)), InvariantViolation);
  t.equal(CountingIndex.calls, 1, 'only the good row');
});

/**
 * What happens to graphs when a node stops and starts: one lane in its thread on a real disk, the
 * way the node drives it. With the saved graph, and with it gone: then it serves exactly at once
 * and the graph comes back in the background.
 */
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type LogIndex, must } from '@holdfast/base';
import { fileSystemTypeOf, isMemoryFileSystem, makeScratchDirectory } from '@holdfast/jepsen-lite';
import type {
  CollectionDefinition,
  LaneStats,
  ShardManifestReference,
} from '@holdfast/shard-worker';
import { encodePointOps, isGraphFileName, PiscinaHost } from '@holdfast/shard-worker';
import { clusteredDataset, type Dataset } from '../dataset.ts';
import { type Bench, type BenchContext, below, figure } from '../result.ts';

const DIMENSION = 128;
const BATCH_ROW_COUNT = 500;
const REBUILD_S_MAX = 300;
const SERVING_S_MAX = 5;

export const graphsBench: Bench = {
  name: 'graphs',
  description: 'graph of 100,000 x 128-d: built, saved, loaded, and discarded before a start',
  run: async (context) => {
    const directory = makeScratchDirectory('bench-graphs');
    try {
      if (isMemoryFileSystem(fileSystemTypeOf(directory))) {
        throw new Error(`${directory} is in memory; a benchmark needs a disk`);
      }
      return await measure(directory, context);
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
};

async function measure(directory: string, context: BenchContext) {
  const rowCount = context.isQuick ? 4_000 : 100_000;
  const dataset = clusteredDataset({
    seed: 4711,
    dimension: DIMENSION,
    vectorCount: rowCount,
    queryCount: 1,
    clusterCount: 20,
  });
  const first = new LaneUnderTest(directory);
  await first.openEmpty();
  const applyS = await seconds(() => first.write(dataset));
  const buildS = await seconds(() => first.settle());
  context.log(`graphs: applied in ${applyS.toFixed(1)} s, built in ${buildS.toFixed(1)} s`);
  const manifests = await first.checkpoint();
  const saveS = await seconds(() => first.settle());
  const savedBytes = (await first.stats()).graphs.events.at(-1)?.kind === 'saved' ? 1 : 0;
  const index = first.appliedIndex;
  await first.close();

  const withGraph = new LaneUnderTest(directory, index);
  const openWithGraphS = await seconds(() => withGraph.open(manifests));
  const loadedGraph = await withGraph.searchPlan(dataset);
  await withGraph.close();

  const shardDirectory = join(directory, 'collections', '1', '0');
  for (const name of readdirSync(shardDirectory)) {
    if (isGraphFileName(name)) rmSync(join(shardDirectory, name));
  }
  const withoutGraph = new LaneUnderTest(directory, index);
  const openWithoutGraphS = await seconds(async () => {
    await withoutGraph.open(manifests);
    await withoutGraph.searchPlan(dataset);
  });
  const exactPlan = await withoutGraph.searchPlan(dataset);
  const rebuildS = await seconds(() => withoutGraph.settle());
  await withoutGraph.close();
  return {
    figures: [
      figure('rows applied, graph deferred', rowCount / applyS, '/s'),
      figure('graph built while rows came and after', rowCount / buildS, 'rows/s'),
      figure('graph saved', saveS, 's'),
      below('opened with the saved graph', openWithGraphS, 's', SERVING_S_MAX),
      figure('rows by graph then', loadedGraph.graphRowCount, ''),
      below('opened and answering, graph discarded', openWithoutGraphS, 's', SERVING_S_MAX),
      figure('rows scanned exactly then', exactPlan.exactRowCount, ''),
      below('graph back after', rebuildS, 's', REBUILD_S_MAX),
    ],
    notes: savedBytes === 0 ? ['the graph was not saved: see the events in the raw data'] : [],
    raw: { rowCount, applyS, buildS, saveS, openWithGraphS, openWithoutGraphS, rebuildS },
  };
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work();
  return (performance.now() - startMs) / 1_000;
}

const DEFINITION: CollectionDefinition = {
  uid: 1,
  name: 'graphs',
  dimension: DIMENSION,
  metric: 'l2',
  shardCount: 1,
  hnsw: { m: 16, efConstruction: 128, efSearch: 64 },
  graph: { engine: 'auto', precision: 'f32' },
  sealRowCount: 50_000,
  sealSizeBytes: 64 << 20,
  checksumAlgorithm: 'xxhash3',
};

class LaneUnderTest {
  readonly #host: PiscinaHost;
  appliedIndex: number;

  constructor(dataDirectory: string, appliedIndex = 0) {
    this.#host = new PiscinaHost({ dataDirectory, laneCount: 1 });
    this.appliedIndex = appliedIndex;
  }

  async openEmpty(): Promise<void> {
    await this.#host.open({ appliedIndex: 0 as LogIndex, definitions: [], manifests: [] });
    const index = this.#next();
    const create = { kind: 'createCollection', index, definition: DEFINITION } as const;
    await this.#host.apply({ fromIndex: index, toIndex: index, perLane: [[create]] });
  }

  open(manifests: readonly ShardManifestReference[]): Promise<void> {
    const appliedIndex = this.appliedIndex as LogIndex;
    return this.#host.open({ appliedIndex, definitions: [DEFINITION], manifests });
  }

  async write({ vectors }: Dataset): Promise<void> {
    for (let start = 0; start < vectors.length; start += BATCH_ROW_COUNT) {
      const ops = encodePointOps(
        vectors.slice(start, start + BATCH_ROW_COUNT).map((vector, i) => ({
          type: 'upsert',
          id: start + i,
          vector,
          payload: null,
          condition: { kind: 'none' },
        })),
      );
      const index = this.#next();
      const { uid } = DEFINITION;
      const write = { kind: 'write', index, timestampMs: 1, uid, mode: 'always', ops } as const;
      await this.#host.apply({ fromIndex: index, toIndex: index, perLane: [[write]] });
    }
  }

  async searchPlan({ queries }: Dataset) {
    const vector = must(queries[0]);
    const flags = { ef: null, isExact: false, withPayload: false, withVector: false };
    const query = { uid: DEFINITION.uid, vector, k: 10, ...flags };
    const read = { kind: 'search', query } as const;
    const [results] = await this.#host.read(this.appliedIndex as LogIndex, [[read]]);
    const result = must(must(results)[0]);
    if (result.kind !== 'search') throw new Error('the search failed');
    return must(result.plans[0]);
  }

  checkpoint(): Promise<readonly ShardManifestReference[]> {
    return this.#host.checkpoint(this.appliedIndex as LogIndex, `c${this.appliedIndex}`);
  }

  settle = () => this.#host.settle();
  close = () => this.#host.close();

  async stats(): Promise<LaneStats> {
    return must((await this.#host.stats())[0]);
  }

  #next(): LogIndex {
    this.appliedIndex += 1;
    return this.appliedIndex as LogIndex;
  }
}

/**
 * Full backups of three nodes to a folder and to S3, alone and under writes; a second one after one
 * row in a hundred has changed; and the cluster rebuilt from what is in the store. The backup is
 * the leader's, who has everything else to do as well.
 */
import { must } from '@holdfast/base';
import type { Collection } from '@holdfast/client';
import type { ProcessCluster } from '@holdfast/jepsen-lite';
import { backUpNow, type MadeBackup } from '../backup/backup-call.ts';
import {
  loseAndRebuild,
  type MadeAnew,
  measureEachStore,
  SCHEDULES_OFF,
} from '../backup/each-store.ts';
import { emptyStore, type StoreKind } from '../backup/store-place.ts';
import { runClosedLoop } from '../closed-loop.ts';
import { clusteredDataset, type Dataset } from '../dataset.ts';
import { atLeast, atMost, type Bench, type BenchContext, type Figure, figure } from '../result.ts';
import { percentile } from '../statistics.ts';
import {
  LOAD_BATCH_POINT_COUNT,
  loadVectors,
  QUICK_VECTOR_COUNT,
  waitUntilIndexed,
  withCluster,
} from './with-cluster.ts';

const DIMENSION = 128;
const VECTOR_COUNT = 200_000;
const RATE_MIN: Readonly<Record<StoreKind, number>> = { folder: 33_000, S3: 20_000 };
const RESTORE_RATE_MIN = 22_000;
const P99_GROWTH_MAX_PERCENT = 20;
const SECOND_SHARE_MAX_PERCENT = 3;
const CHANGED_SHARE = 0.01;
/** Enough that writes wait for each other's syncs, and not for processors. */
const WRITES_IN_FLIGHT = 8;
const QUIET_MS = 10_000;
const QUICK_QUIET_MS = 1_000;
const INDEX_TIMEOUT_MS = 1_800_000;
const COLLECTION = 'backup';
/** The archive has a suite of its own. */
const SETTINGS = { ...SCHEDULES_OFF, archiveEnabled: false };

interface Taken extends Pick<MadeAnew, 'phasesMs'> {
  /** Nothing else to do; the store is empty. */
  readonly first: MadeBackup;
  readonly second: MadeBackup;
  /** Under writes; the store is empty again. */
  readonly loaded: MadeBackup;
  readonly quietP99Ms: number;
  readonly loadedP99Ms: number;
  readonly rowCount: number;
}

export const backupBench: Bench = {
  name: 'backup',
  description: 'backups of 200,000 x 128-d to a folder and to S3, under writes, and the way back',
  run: async (context) => {
    const vectorCount = context.sizes.rows ?? (context.isQuick ? QUICK_VECTOR_COUNT : VECTOR_COUNT);
    const dataset = clusteredDataset({
      ...{ seed: 4711, dimension: DIMENSION, vectorCount, queryCount: 1, clusterCount: 20 },
    });
    const { figures, notes, raw } = await measureEachStore(
      (kind, url) => measure(kind, url, dataset, context),
      figuresOf,
    );
    return { figures, notes, raw: { vectorCount, stores: raw } };
  },
};

function measure(
  kind: StoreKind,
  url: string,
  dataset: Dataset,
  context: BenchContext,
): Promise<Taken> {
  return withCluster('backup', { ...SETTINGS, backupSinks: url }, async ({ cluster, client }) => {
    await client.createCollection({ name: COLLECTION, dimension: DIMENSION, metric: 'l2' });
    const collection = client.collection(COLLECTION);
    const backUp = async (what: string): Promise<MadeBackup> => {
      const { nodeName } = await cluster.waitUntilReady();
      const made = await backUpNow(cluster, nodeName);
      const { durationMs, sentSizeBytes } = made;
      context.log(`backup ${kind}: ${what} ${durationMs} ms, ${sentSizeBytes} bytes sent`);
      return made;
    };
    await loadVectors(collection, dataset.vectors);
    await settled(cluster, dataset);
    const first = await backUp('first');
    await changeSome(collection, dataset);
    const second = await backUp('second');
    // So that the next one has to send everything.
    await emptyStore(url);
    const underWrites = await p99UnderWrites(collection, dataset, context, () =>
      backUp('under writes'),
    );
    const restored = await restore(cluster, url, context);
    return { first, second, ...underWrites, ...restored };
  });
}

/** Rows that are written again may be in the graph twice for a while. */
async function settled(cluster: ProcessCluster, { vectors }: Dataset): Promise<void> {
  // Few rows have no graph.
  if (vectors.length < QUICK_VECTOR_COUNT) return;
  await waitUntilIndexed(cluster, vectors.length, INDEX_TIMEOUT_MS);
}

/** Every hundredth row: in all segments, and among those that grow. */
async function changeSome(collection: Collection, { vectors }: Dataset): Promise<void> {
  const stride = Math.round(1 / CHANGED_SHARE);
  const points = vectors.flatMap((vector, id) =>
    id % stride === 0 ? [{ id, vector: negated(vector) }] : [],
  );
  await collection.upsertMany(points, { batchSize: LOAD_BATCH_POINT_COUNT });
}

const negated = (vector: Float32Array): Float32Array => vector.map((value) => -value);

async function p99UnderWrites(
  collection: Collection,
  { vectors }: Dataset,
  { isQuick }: BenchContext,
  backUp: () => Promise<MadeBackup>,
): Promise<Pick<Taken, 'loaded' | 'quietP99Ms' | 'loadedP99Ms'>> {
  const write = async (call: number): Promise<void> => {
    const id = call % vectors.length;
    await collection.upsert([{ id, vector: must(vectors[id]) }]);
  };
  const quietMs = isQuick ? QUICK_QUIET_MS : QUIET_MS;
  const quiet = () => runClosedLoop({ inFlight: WRITES_IN_FLIGHT, durationMs: quietMs }, write);
  const before = await quiet();
  const latenciesMs: number[] = [];
  let isUnderWay = true;
  const making = backUp().finally(() => {
    isUnderWay = false;
  });
  let calls = 0;
  const work = async (): Promise<void> => {
    while (isUnderWay) {
      const askedMs = performance.now();
      await write(calls++);
      latenciesMs.push(performance.now() - askedMs);
    }
  };
  const [loaded] = await Promise.all([making, ...Array.from({ length: WRITES_IN_FLIGHT }, work)]);
  const after = await quiet();
  return {
    loaded,
    quietP99Ms: percentile([...before.latenciesMs, ...after.latenciesMs], 0.99),
    loadedP99Ms: percentile(latenciesMs, 0.99),
  };
}

async function restore(
  cluster: ProcessCluster,
  store: string,
  { log }: BenchContext,
): Promise<Pick<Taken, 'phasesMs' | 'rowCount'>> {
  const { phasesMs } = await loseAndRebuild(cluster, store, (phase, afterMs) =>
    log(`backup restore: ${phase} after ${Math.round(afterMs)} ms`),
  );
  const rows = must(await cluster.rows(must(cluster.nodeNames[0])), 'a node has rows');
  return { phasesMs, rowCount: rows.liveCount };
}

function figuresOf(kind: StoreKind, taken: Taken): readonly Figure[] {
  const { first, loaded, loadedP99Ms, phasesMs, quietP99Ms, rowCount, second } = taken;
  const rateOf = (made: MadeBackup): number => made.vectorCount / (made.durationMs / 1_000);
  return [
    atLeast(`${kind}: full backup`, rateOf(first), 'vectors/s', RATE_MIN[kind]),
    figure(`${kind}: full backup under writes`, rateOf(loaded), 'vectors/s'),
    figure(`${kind}: stored of the files`, (100 * first.storedSizeBytes) / first.sizeBytes, '%'),
    figure(`${kind}: p99 of writes without a backup`, quietP99Ms, 'ms'),
    atMost(
      `${kind}: p99 of writes, growth by a backup`,
      100 * (loadedP99Ms / quietP99Ms - 1),
      '%',
      P99_GROWTH_MAX_PERCENT,
    ),
    atMost(
      `${kind}: second backup after 1 % change, of the first`,
      (100 * second.sentSizeBytes) / first.sentSizeBytes,
      '%',
      SECOND_SHARE_MAX_PERCENT,
    ),
    atLeast(
      `${kind}: restored, three nodes agree and serve`,
      rowCount / (phasesMs.digests / 1_000),
      'vectors/s',
      RESTORE_RATE_MIN,
    ),
    figure(`${kind}: of it laid by commands`, phasesMs.laid, 'ms'),
  ];
}

/** What every suite does with a cluster: start it on a real disk, load it, wait for its graphs. */
import { type Collection, HoldfastClient, type JsonObject } from '@holdfast/client';
import {
  fileSystemTypeOf,
  isMemoryFileSystem,
  ProcessCluster,
  type ProcessClusterOptions,
  type ServerSettings,
  waitFor,
} from '@holdfast/jepsen-lite';

export interface ClusterUnderTest {
  readonly cluster: ProcessCluster;
  readonly client: HoldfastClient;
  readonly fileSystemType: string;
}

/** As the issue of the benchmark says: batches of 256. */
export const LOAD_BATCH_POINT_COUNT = 256;
/** Enough to keep the log busy while the lanes apply; more only queues. */
const LOAD_IN_FLIGHT = 8;
const CALL_TIMEOUT_MS = 60_000;
/** Of a quick run. A small shard has no graph at all, and then nothing would wait for its end. */
export const QUICK_VECTOR_COUNT = 4_000;
/** Share of rows that the graph must hold before a collection counts as indexed. */
export const INDEXED_SHARE_MIN = 0.95;

/**
 * Starts three nodes, runs `body`, and stops them whatever happens.
 * @throws Error when the scratch directory is in memory: durability would cost nothing there
 */
export async function withCluster<Answer>(
  name: string,
  settings: ServerSettings,
  body: (underTest: ClusterUnderTest) => Promise<Answer>,
  options: Pick<ProcessClusterOptions, 'hasPeerProxies'> = {},
): Promise<Answer> {
  const cluster = await ProcessCluster.launch({ name: `bench-${name}`, settings, ...options });
  let client: HoldfastClient | null = null;
  try {
    const fileSystemType = fileSystemTypeOf(cluster.directory);
    if (isMemoryFileSystem(fileSystemType)) {
      throw new Error(`${cluster.directory} is on ${fileSystemType}; a benchmark needs a disk`);
    }
    client = await HoldfastClient.connect({
      nodes: [...cluster.addresses],
      timeoutMs: CALL_TIMEOUT_MS,
    });
    return await body({ cluster, client, fileSystemType });
  } catch (thrown) {
    throw new Error(`benchmark ${name} failed\n${cluster.describeLogs()}`, { cause: thrown });
  } finally {
    await client?.close();
    await cluster.stop();
  }
}

export interface LoadResult {
  /** First request to last acknowledgement. */
  readonly durationMs: number;
  /** When the last acknowledgement came, on the clock of `performance.now`. */
  readonly lastAcknowledgedMs: number;
}

/**
 * Upserts vector `i` as point `i`, with the payload of `i` if there are any, in batches, several
 * in flight. Resolves after the last answer.
 */
export async function loadVectors(
  collection: Collection,
  vectors: readonly Float32Array[],
  payloadOf: ((i: number) => JsonObject) | null = null,
): Promise<LoadResult> {
  const startMs = performance.now();
  let lastAcknowledgedMs = startMs;
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < vectors.length) {
      const first = next;
      const batch = vectors.slice(first, first + LOAD_BATCH_POINT_COUNT);
      next += batch.length;
      await collection.upsert(
        batch.map((vector, i) => {
          const id = first + i;
          return payloadOf === null ? { id, vector } : { id, vector, payload: payloadOf(id) };
        }),
      );
      lastAcknowledgedMs = performance.now();
    }
  };
  await Promise.all(Array.from({ length: LOAD_IN_FLIGHT }, work));
  return { durationMs: lastAcknowledgedMs - startMs, lastAcknowledgedMs };
}

/** What share of the rows a search would answer from the graph. */
export async function graphShareOf(collection: Collection, query: Float32Array): Promise<number> {
  const { plan } = await collection.search(query, { k: 1 });
  const rowCount = plan.graphRowCount + plan.exactRowCount;
  return rowCount === 0 ? 0 : plan.graphRowCount / rowCount;
}

/** Waits until every row of every node is in its graph; resolves with the time it took. */
export async function waitUntilIndexed(
  cluster: ProcessCluster,
  rowCount: number,
  timeoutMs: number,
): Promise<number> {
  const startMs = performance.now();
  const what = 'all rows of all nodes to be in the graph';
  await waitFor({ what, timeoutMs, pollIntervalMs: 100 }, async () => {
    for (const nodeName of cluster.nodeNames) {
      const rows = await cluster.rows(nodeName);
      if (rows === null || rows.tailCount > 0 || rows.graphCount < rowCount) return null;
    }
    return true;
  });
  return performance.now() - startMs;
}

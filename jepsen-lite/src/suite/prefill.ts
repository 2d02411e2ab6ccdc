/**
 * Rows beside those of the workload, so that there are sealed segments and saved graphs to be
 * damaged, sent and repaired; small workloads have neither. Nobody writes them during the run.
 */
import { HoldfastClient, type PointInput } from '@holdfast/client';
import type { Cluster } from '../cluster/cluster.ts';

const COLLECTION = 'jepsen-ballast';
const DIMENSION = 2;
const BATCH_POINT_COUNT = 1_000;
/** On a machine that starts nodes beside it. */
const TIMEOUT_MS = 60_000;

/** One shard: over 65,536 rows it has a sealed segment. */
export async function prefill(cluster: Cluster, rowCount: number): Promise<void> {
  if (rowCount === 0) return;
  const nodes = [...cluster.addresses];
  const client = await HoldfastClient.connect({ nodes, timeoutMs: TIMEOUT_MS });
  try {
    const shape = { dimension: DIMENSION, metric: 'l2', shardCount: 1 } as const;
    await client.createCollection({ name: COLLECTION, ...shape });
    await client
      .collection(COLLECTION)
      .upsertMany(rowsOf(rowCount), { batchSize: BATCH_POINT_COUNT });
  } finally {
    await client.close();
  }
}

function* rowsOf(rowCount: number): Generator<PointInput> {
  for (let id = 0; id < rowCount; id++) yield { id, vector: [id % 256, id >>> 8] };
}

/**
 * A node with 200,000 vectors is stopped in order and started again: how long until it is a ready
 * member of its cluster that answers searches, exactly until its graph is back.
 */
import { must } from '@holdfast/base';
import { waitFor } from '@holdfast/jepsen-lite';
import { clusteredDataset } from '../dataset.ts';
import { atMost, type Bench, below, figure } from '../result.ts';
import { median } from '../statistics.ts';
import { checksumMicrosecondsPerRow, loadChecksumMs } from './storage.ts';
import { loadVectors, QUICK_VECTOR_COUNT, waitUntilIndexed, withCluster } from './with-cluster.ts';

const DIMENSION = 128;
const VECTOR_COUNT = 200_000;
const ROUND_COUNT = 3;
const READY_MS_MAX = 5_000;
const CHECKSUM_SHARE_MAX_PERCENT = 10;
const READY_TIMEOUT_MS = 120_000;
const CHECKPOINT_TIMEOUT_MS = 300_000;
const INDEX_TIMEOUT_MS = 1_800_000;

export const restartBench: Bench = {
  name: 'restart',
  description: 'clean restart of a node with 200,000 x 128-d until it is ready',
  run: async (context) => {
    const vectorCount = context.isQuick ? QUICK_VECTOR_COUNT : VECTOR_COUNT;
    const dataset = clusteredDataset({
      ...{ seed: 4711, dimension: DIMENSION, vectorCount, queryCount: 1, clusterCount: 20 },
    });
    // Often, so that there is a checkpoint with nearly everything before the first restart.
    const settings = { checkpointIntervalMs: 5_000 };
    return withCluster('restart', settings, async ({ cluster, client }) => {
      await client.createCollection({ name: 'restart', dimension: DIMENSION, metric: 'l2' });
      const load = await loadVectors(client.collection('restart'), dataset.vectors);
      const checksumMs = (checksumMicrosecondsPerRow() * vectorCount) / 1000;
      const { nodeName: leader } = await cluster.waitUntilReady();
      const follower = must(cluster.nodeNames.find((name) => name !== leader));
      const target = must(await cluster.health(follower), 'the follower answers').appliedIndex;
      await waitFor(
        {
          ...{ what: 'a checkpoint of everything', timeoutMs: CHECKPOINT_TIMEOUT_MS },
          pollIntervalMs: 200,
        },
        async () => {
          const index = await cluster.metric(follower, 'holdfast_checkpoint_index');
          return index !== null && index >= target ? true : null;
        },
      );
      context.log('restart: loaded; waiting for the graphs, so that the other nodes are at rest');
      await waitUntilIndexed(cluster, dataset.vectors.length, INDEX_TIMEOUT_MS);
      const readyMs: number[] = [];
      for (let round = 0; round < (context.isQuick ? 1 : ROUND_COUNT); round++) {
        await cluster.signal(follower, 'SIGTERM');
        const startMs = performance.now();
        await cluster.start(follower);
        await waitFor(
          {
            ...{ what: `${follower} to be ready`, timeoutMs: READY_TIMEOUT_MS },
            pollIntervalMs: 20,
          },
          async () => {
            const health = await cluster.health(follower);
            return health?.isReady === true && health.appliedIndex >= target ? true : null;
          },
        );
        readyMs.push(performance.now() - startMs);
        context.log(`restart: ready after ${readyMs.at(-1)!.toFixed(0)} ms`);
      }
      const startChecksumMs = loadChecksumMs(vectorCount);
      return {
        figures: [
          below('start of the process to ready', median(readyMs), 'ms', READY_MS_MAX),
          figure('rows written', vectorCount / (load.durationMs / 1000), '/s'),
          atMost(
            'checksums of one node, of the time to write all rows',
            (100 * checksumMs) / (load.durationMs - checksumMs),
            '%',
            CHECKSUM_SHARE_MAX_PERCENT,
          ),
          atMost(
            'checksums of rows and blocks, of the time to start',
            (100 * startChecksumMs) / (median(readyMs) - startChecksumMs),
            '%',
            CHECKSUM_SHARE_MAX_PERCENT,
          ),
        ],
        notes: [
          'ready: /health answers ok, and everything known before is applied',
          'checksums (log, rows when applied and when written, blocks) measured alone in this run',
        ],
        raw: { readyMs },
      };
    });
  },
};

/**
 * The scrubber of a running cluster: how fast it reads when nothing holds it back, what the
 * throttled one costs the searches beside it, and how long one damaged block stays damaged.
 */
import { closeSync, openSync, readdirSync, readSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { must } from '@holdfast/base';
import { type ProcessCluster, waitFor } from '@holdfast/jepsen-lite';
import { runClosedLoop } from '../closed-loop.ts';
import { clusteredDataset } from '../dataset.ts';
import { atLeast, atMost, type Bench, type BenchContext, below, figure } from '../result.ts';
import { median, percentile } from '../statistics.ts';
import { loadVectors, QUICK_VECTOR_COUNT, waitUntilIndexed, withCluster } from './with-cluster.ts';

const DIMENSION = 128;
/** Two sealed segments, and some rows that are not sealed. */
const VECTOR_COUNT = 150_000;
const K = 10;
const IN_FLIGHT = 4;
const THROTTLE_MBPS = 100;
const RATE_MBPS_MIN = 500;
const P99_GROWTH_MAX_PERCENT = 10;
const REPAIR_MS_MAX = 1_000;
const PASS_COUNT = 5;
const ROUND_COUNT = 6;
const FLIP_COUNT = 10;
const BLOCK_SIZE_BYTES = 65_536;
const INDEX_TIMEOUT_MS = 1_800_000;
const WAIT_TIMEOUT_MS = 120_000;

/** What this suite reads of GET /api/v1/admin/scrub and /admin/recovery. */
interface ScrubStatus {
  readonly isScrubbing: boolean;
  readonly newest: { readonly durationMs: number } | null;
  readonly totals: { readonly passes: number; readonly bytesRead: number };
}

interface RecoveryEvent {
  readonly number: number;
  readonly kind: string;
  readonly key: string;
  readonly facts: { readonly durationMs?: number; readonly bytesMoved?: number };
}

export const scrubBench: Bench = {
  name: 'scrub',
  description: 'rate of the scrubber, its cost beside searches, repair of one block',
  run: async (context) => {
    const vectorCount = context.isQuick ? QUICK_VECTOR_COUNT : VECTOR_COUNT;
    const dataset = clusteredDataset({
      ...{ seed: 4711, dimension: DIMENSION, vectorCount, queryCount: 200, clusterCount: 20 },
    });
    // Off until it is asked for; checkpoints often, so that segments are written.
    const settings = { scrubIntervalMs: 0, checkpointIntervalMs: 5_000 };
    return withCluster('scrub', settings, async ({ cluster, client }) => {
      await client.createCollection({
        ...{ name: 'scrub', dimension: DIMENSION, metric: 'l2', shardCount: 1 },
        // Graphs are not what is measured: small ones are built soon.
        hnsw: { m: 8, efConstruction: 32 },
      });
      const collection = client.collection('scrub');
      await loadVectors(collection, dataset.vectors);
      await waitUntilIndexed(cluster, vectorCount, INDEX_TIMEOUT_MS);
      const rates = await measureRate(cluster, context);
      const search = async (i: number): Promise<void> => {
        await collection.search(must(dataset.queries[i % dataset.queries.length]), { k: K });
      };
      const cost = await measureCost(cluster, search, context);
      const repairs = context.isQuick ? [] : await measureRepairs(cluster, context);
      const repairMs = repairs.length === 0 ? null : median(repairs.map((one) => one.durationMs));
      const moved = repairs.map(({ bytesMoved }) => bytesMoved / BLOCK_SIZE_BYTES);
      return {
        figures: [
          atLeast('unthrottled, one node at a time', median(rates), 'MB/s', RATE_MBPS_MIN),
          figure('p99 of searches, scrubber off', median(cost.map(({ off }) => off)), 'ms'),
          figure(
            `p99 of searches, every node scrubbing at ${THROTTLE_MBPS} MB/s`,
            median(cost.map(({ on }) => on)),
            'ms',
          ),
          atMost(
            'growth of p99 (median of rounds)',
            100 * (median(cost.map(({ on, off }) => on / off)) - 1),
            '%',
            P99_GROWTH_MAX_PERCENT,
          ),
          below('repair of one block, median', repairMs, 'ms', REPAIR_MS_MAX),
          figure(
            'blocks moved for one, at most',
            moved.length === 0 ? null : Math.max(...moved),
            '',
          ),
        ],
        notes: ['bytes read of files that the system may hold in memory, as a restart reads them'],
        raw: { rates, cost, repairs },
      };
    });
  },
};

async function measureRate(cluster: ProcessCluster, { isQuick, log }: BenchContext) {
  const nodeName = must(cluster.nodeNames[0]);
  await configure(cluster, [nodeName], { scrubThrottleMbps: 0 });
  const rates: number[] = [];
  for (let pass = 0; pass < (isQuick ? 1 : PASS_COUNT); pass++) {
    const before = await statusOf(cluster, nodeName);
    const after = await scrubOnce(cluster, nodeName);
    const sizeBytes = after.totals.bytesRead - before.totals.bytesRead;
    const durationMs = must(after.newest, 'a pass that ended has a report').durationMs;
    rates.push(sizeBytes / 1_000 / durationMs);
    log(`scrub: ${(sizeBytes / 1e6).toFixed(0)} MB in ${durationMs.toFixed(0)} ms`);
  }
  return rates;
}

/** Alternating, so that a machine that changes its mind changes both sides. */
async function measureCost(
  cluster: ProcessCluster,
  search: (i: number) => Promise<void>,
  { isQuick, log }: BenchContext,
) {
  const loop = { inFlight: IN_FLIGHT, durationMs: isQuick ? 300 : 4_000, warmUpMs: 500 };
  const p99 = async (): Promise<number> => {
    const { latenciesMs } = await runClosedLoop(loop, search);
    return percentile(latenciesMs, 0.99);
  };
  const rounds: { readonly off: number; readonly on: number }[] = [];
  for (let round = 0; round < (isQuick ? 1 : ROUND_COUNT); round++) {
    const off = await p99();
    await configure(cluster, cluster.nodeNames, {
      ...{ scrubThrottleMbps: THROTTLE_MBPS, scrubIntervalMs: 1 },
    });
    const on = await p99();
    await configure(cluster, cluster.nodeNames, { scrubThrottleMbps: 0, scrubIntervalMs: 0 });
    for (const nodeName of cluster.nodeNames) await untilIdle(cluster, nodeName);
    rounds.push({ off, on });
    log(`scrub: p99 of searches ${off.toFixed(2)} ms without, ${on.toFixed(2)} ms with it`);
  }
  return rounds;
}

/** Flips one byte of a sealed segment of a follower, again and again in other blocks. */
async function measureRepairs(cluster: ProcessCluster, { log }: BenchContext) {
  const { nodeName: leader } = await cluster.waitUntilReady();
  const nodeName = must(cluster.nodeNames.find((name) => name !== leader));
  const directory = cluster.dataDirectoryOf(nodeName);
  const name = must(
    readdirSync(join(directory, 'collections'), { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.seg'))
      .toSorted()[0],
    'a sealed segment was written',
  );
  const key = join('collections', name);
  const blockCount = Math.floor(statSync(join(directory, key)).size / BLOCK_SIZE_BYTES);
  const repairs: { readonly durationMs: number; readonly bytesMoved: number }[] = [];
  for (let i = 0; i < FLIP_COUNT; i++) {
    const block = 1 + Math.floor(((blockCount - 2) * i) / FLIP_COUNT);
    const since = (await eventsOf(cluster, nodeName)).at(-1)?.number ?? 0;
    flipByte(join(directory, key), block * BLOCK_SIZE_BYTES + 1_000);
    await scrubOnce(cluster, nodeName);
    const repaired = await waitFor(
      { what: `the repair of ${key}`, timeoutMs: WAIT_TIMEOUT_MS, pollIntervalMs: 20 },
      async () =>
        (await eventsOf(cluster, nodeName)).find(
          (event) => event.number > since && event.kind === 'recovered' && event.key === key,
        ) ?? null,
    );
    const { bytesMoved = 0, durationMs = 0 } = repaired.facts;
    repairs.push({ durationMs, bytesMoved });
    log(`scrub: a block was repaired in ${durationMs.toFixed(0)} ms, ${bytesMoved} bytes moved`);
  }
  return repairs;
}

function flipByte(path: string, offset: number): void {
  const handle = openSync(path, 'r+');
  try {
    const byte = new Uint8Array(1);
    readSync(handle, byte, 0, 1, offset);
    byte[0] = byte[0]! ^ 1;
    writeSync(handle, byte, 0, 1, offset);
  } finally {
    closeSync(handle);
  }
}

async function scrubOnce(cluster: ProcessCluster, nodeName: string): Promise<ScrubStatus> {
  const { passes } = (await statusOf(cluster, nodeName)).totals;
  await askJson(cluster, nodeName, '/api/v1/admin/scrub', { method: 'POST' });
  return waitFor(
    { what: `a scrub of ${nodeName}`, timeoutMs: WAIT_TIMEOUT_MS, pollIntervalMs: 10 },
    async () => {
      const status = await statusOf(cluster, nodeName);
      return status.totals.passes > passes ? status : null;
    },
  );
}

const untilIdle = (cluster: ProcessCluster, nodeName: string): Promise<true> =>
  waitFor(
    { what: `${nodeName} to end its scrub`, timeoutMs: WAIT_TIMEOUT_MS, pollIntervalMs: 10 },
    async () => ((await statusOf(cluster, nodeName)).isScrubbing ? null : true),
  );

async function configure(
  cluster: ProcessCluster,
  nodeNames: readonly string[],
  settings: Readonly<Record<string, number>>,
): Promise<void> {
  for (const nodeName of nodeNames) {
    await askJson(cluster, nodeName, '/api/v1/admin/scrub', {
      ...{ method: 'PUT', body: JSON.stringify(settings) },
      headers: { 'content-type': 'application/json' },
    });
  }
}

const statusOf = async (cluster: ProcessCluster, nodeName: string): Promise<ScrubStatus> =>
  (await askJson(cluster, nodeName, '/api/v1/admin/scrub', {})) as ScrubStatus;

async function eventsOf(cluster: ProcessCluster, nodeName: string) {
  const answer = await askJson(cluster, nodeName, '/api/v1/admin/recovery', {});
  return (answer as { readonly events: readonly RecoveryEvent[] }).events;
}

async function askJson(
  cluster: ProcessCluster,
  nodeName: string,
  path: string,
  options: RequestInit,
): Promise<unknown> {
  const answer = await fetch(`http://${cluster.addressOf(nodeName)}${path}`, options);
  if (!answer.ok) throw new Error(`${path} of ${nodeName} answered ${answer.status}`);
  return answer.json();
}

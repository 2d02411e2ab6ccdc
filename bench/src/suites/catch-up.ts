/**
 * A follower that was down while a million small entries were written comes back: how long until it
 * has applied them, and what that costs leader and follower in memory. Once by the log (nothing was
 * cut meanwhile) and once by a snapshot (everything was). All writes go to a thousand ids, so that
 * the state itself stays small and the memory seen is that of catching up.
 */
import { must } from '@holdfast/base';
import { type ProcessCluster, pause, waitFor } from '@holdfast/jepsen-lite';
import { runClosedLoopCount } from '../closed-loop.ts';
import { readMemory } from '../process-facts.ts';
import { type Bench, type BenchContext, below, type Figure, figure } from '../result.ts';
import { type ClusterUnderTest, withCluster } from './with-cluster.ts';

const COLLECTION = 'catchup';
const DIMENSION = 8;
const ID_COUNT = 1_000;
const ENTRY_COUNT_DEFAULT = 1_000_000;
const QUICK_ENTRY_COUNT = 3_000;
const IN_FLIGHT = 256;
const SAMPLE_INTERVAL_MS = 100;
const CATCH_UP_TIMEOUT_MS = 1_800_000;
const GROWTH_MB_MAX = 256;
const MEGABYTE = 1_000_000;
const DAY_MS = 24 * 3_600_000;
const GIB = 1024 ** 3;

type Way = 'log' | 'snapshot';

const SETTINGS: Readonly<Record<Way, Readonly<Record<string, number>>>> = {
  log: { checkpointIntervalMs: DAY_MS, checkpointLogSizeBytes: 64 * GIB },
  snapshot: {
    ...{ checkpointLogSizeBytes: 8 * 1024 ** 2, walFileSizeBytes: 4 * 1024 ** 2 },
    logRetentionEntryCount: 0,
  },
};

interface CatchUp {
  readonly way: Way;
  readonly durationMs: number;
  readonly entryCount: number;
  readonly leaderGrowthMb: number;
  readonly followerGrowthMb: number;
  readonly snapshotCount: number;
}

export const catchUpBench: Bench = {
  name: 'catch-up',
  description: 'a follower 1,000,000 small entries (--entries N) behind, by log and by snapshot',
  isOnRequest: true,
  run: async (context) => {
    const results: CatchUp[] = [];
    for (const way of ['log', 'snapshot'] as const) {
      const settings = context.isQuick && way === 'snapshot' ? quickSnapshot() : SETTINGS[way];
      results.push(
        await withCluster(`catch-up-${way}`, settings, (underTest) =>
          catchUp(underTest, context, way),
        ),
      );
    }
    return { figures: results.flatMap(figuresOf), notes: [], raw: { results } };
  },
};

/** A checkpoint every second, so that even a short run cuts the log. */
const quickSnapshot = () => ({ ...SETTINGS.snapshot, checkpointIntervalMs: 1_000 });

async function catchUp(
  { cluster, client }: ClusterUnderTest,
  { isQuick, sizes, log }: BenchContext,
  way: Way,
): Promise<CatchUp> {
  const entryCount = sizes.entries ?? (isQuick ? QUICK_ENTRY_COUNT : ENTRY_COUNT_DEFAULT);
  await client.createCollection({ name: COLLECTION, dimension: DIMENSION, metric: 'l2' });
  const { nodeName: leader } = await cluster.waitUntilReady();
  const [behind, other] = cluster.nodeNames.filter((name) => name !== leader);
  const follower = must(behind);
  await cluster.signal(follower, 'SIGTERM');
  const collection = client.collection(COLLECTION);
  const vector = new Float32Array(DIMENSION);
  await runClosedLoopCount({ inFlight: IN_FLIGHT, count: entryCount }, async (i) => {
    vector[0] = i;
    await collection.upsert([{ id: i % ID_COUNT, vector: vector.slice() }]);
    if (i > 0 && i % 100_000 === 0) log(`catch-up by ${way}: ${i} entries written`);
  });
  // What the load left behind in memory must not count as growth.
  await pause(isQuick ? 1_500 : 10_000);
  const target = must(await cluster.health(leader), 'the leader answers').commitIndex;
  const memory = new Map([leader, must(other)].map((name) => [name, memoryMb(cluster, name)]));
  let leaderPeakMb = 0;
  let followerPeakMb = 0;
  const startMs = performance.now();
  await cluster.start(follower);
  await waitFor(
    {
      what: `${follower} to be at ${target}`,
      timeoutMs: CATCH_UP_TIMEOUT_MS,
      pollIntervalMs: SAMPLE_INTERVAL_MS,
    },
    async () => {
      leaderPeakMb = Math.max(leaderPeakMb, memoryMb(cluster, leader));
      followerPeakMb = Math.max(followerPeakMb, memoryMb(cluster, follower));
      const health = await cluster.health(follower);
      return health !== null && health.appliedIndex >= target ? true : null;
    },
  );
  return {
    ...{ way, durationMs: performance.now() - startMs, entryCount },
    leaderGrowthMb: leaderPeakMb - must(memory.get(leader)),
    // It holds what the other follower holds; what is more is catching up.
    followerGrowthMb: followerPeakMb - must(memory.get(must(other))),
    snapshotCount: (await cluster.metric(follower, 'holdfast_peer_snapshots_received_total')) ?? 0,
  };
}

const memoryMb = (cluster: ProcessCluster, nodeName: string): number =>
  readMemory(must(cluster.pidOf(nodeName))).residentBytes / MEGABYTE;

function figuresOf(result: CatchUp): readonly Figure[] {
  const { way, durationMs, entryCount } = result;
  return [
    figure(`by ${way}: until applied`, durationMs / 1_000, 's'),
    figure(`by ${way}: entries`, (1_000 * entryCount) / durationMs, '/s'),
    below(`by ${way}: resident growth, leader`, result.leaderGrowthMb, 'MB', GROWTH_MB_MAX),
    below(`by ${way}: resident growth, follower`, result.followerGrowthMb, 'MB', GROWTH_MB_MAX),
    figure(`by ${way}: snapshots received`, result.snapshotCount, ''),
  ];
}

/**
 * The archive of the log: what it costs the writes (two clusters of the same kind, one with an
 * archive and one without, in turns), how far behind it is under a steady load, and how fast the
 * archived log is laid again after all disks are lost.
 */
import { must } from '@holdfast/base';
import type { Collection, HoldfastClient } from '@holdfast/client';
import type { ProcessCluster } from '@holdfast/jepsen-lite';
import { pause, untilArchived } from '@holdfast/jepsen-lite';
import { backUpNow, backupView } from '../backup/backup-call.ts';
import { loseAndRebuild, measureEachStore, SCHEDULES_OFF } from '../backup/each-store.ts';
import type { StoreKind } from '../backup/store-place.ts';
import { runClosedLoop, runClosedLoopCount } from '../closed-loop.ts';
import {
  atLeast,
  atMost,
  type Bench,
  type BenchContext,
  below,
  type Figure,
  figure,
} from '../result.ts';
import { median, percentile } from '../statistics.ts';
import { withCluster } from './with-cluster.ts';

const DIMENSION = 128;
const ENTRY_COUNT = 200_000;
const QUICK_ENTRY_COUNT = 500;
const ROUND_COUNT = 6;
const ROUND_MS = 10_000;
const QUICK_ROUND_MS = 2_000;
const WRITES_IN_FLIGHT = 64;
const OVERWRITTEN_ROW_COUNT = 500;
/** Half of what it can do at most: steady, not full. */
const LAG_IN_FLIGHT = 8;
const LAG_POLL_MS = 50;
const LAG_MS_MAX = 1_000;
const COST_MAX_PERCENT = 10;
const REPLAY_RATE_MIN = 20_000;
const COLLECTION = 'archive';

interface Taken {
  readonly withRates: readonly number[];
  readonly withoutRates: readonly number[];
  readonly lagsMs: readonly number[];
  readonly entryCount: number;
  readonly planMs: number;
  readonly layMs: number;
  readonly serveMs: number;
}

export const archiveBench: Bench = {
  name: 'archive',
  description: 'the archive of the log: its cost for writes, its lag, and replaying it',
  run: (context) => measureEachStore((_kind, url) => measure(url, context), figuresOf),
};

function measure(url: string, context: BenchContext): Promise<Taken> {
  return withCluster('archive-off', SCHEDULES_OFF, ({ client: plainClient }) =>
    withCluster(
      'archive-on',
      { ...SCHEDULES_OFF, backupSinks: url },
      async ({ client, cluster }) => {
        const plain = await collectionOf(plainClient);
        const archived = await collectionOf(client);
        const rates = await inTurns(archived, plain, context);
        const lagsMs = await lagsUnder(cluster, archived, context);
        return { ...rates, lagsMs, ...(await replay(cluster, archived, url, context)) };
      },
    ),
  );
}

async function collectionOf(client: HoldfastClient): Promise<Collection> {
  await client.createCollection({ name: COLLECTION, dimension: DIMENSION, metric: 'l2' });
  return client.collection(COLLECTION);
}

const write = async (collection: Collection, call: number, id = call): Promise<number> => {
  const vector = new Float32Array(DIMENSION).map((_, i) => Math.fround(Math.sin(call + i)));
  return (await collection.upsert([{ id, vector }])).index;
};

/** Few rows have no graph, whose building would go on through the turn of the other cluster. */
const overwrite = async (collection: Collection, call: number): Promise<void> => {
  await write(collection, call, call % OVERWRITTEN_ROW_COUNT);
};

async function inTurns(
  archived: Collection,
  plain: Collection,
  { isQuick, log }: BenchContext,
): Promise<Pick<Taken, 'withRates' | 'withoutRates'>> {
  const durationMs = isQuick ? QUICK_ROUND_MS : ROUND_MS;
  const options = { inFlight: WRITES_IN_FLIGHT, durationMs, warmUpMs: durationMs / 10 };
  const withRates: number[] = [];
  const withoutRates: number[] = [];
  for (let round = 0; round < (isQuick ? 1 : ROUND_COUNT); round++) {
    for (const [collection, rates] of [
      [plain, withoutRates],
      [archived, withRates],
    ] as const) {
      const { rate } = await runClosedLoop(options, (call) => overwrite(collection, call));
      rates.push(rate);
    }
    const [on, off] = [withRates, withoutRates].map((rates) => Math.round(must(rates.at(-1))));
    log(`archive round ${round + 1}: ${on} writes/s with, ${off} without`);
  }
  return { withRates, withoutRates };
}

/** What the leader says of the age of what waits, at any moment. */
async function lagsUnder(
  cluster: ProcessCluster,
  collection: Collection,
  { isQuick }: BenchContext,
): Promise<readonly number[]> {
  const { nodeName } = await cluster.waitUntilReady();
  const address = cluster.addressOf(nodeName);
  const lagsMs: number[] = [];
  let isRunning = true;
  const watching = (async () => {
    while (isRunning) {
      const [archive] = (await backupView(address)).archive;
      lagsMs.push(must(archive, 'the leader archives').lagMs);
      await pause(LAG_POLL_MS);
    }
  })();
  const durationMs = (isQuick ? QUICK_ROUND_MS : ROUND_MS) * 2;
  await runClosedLoop({ inFlight: LAG_IN_FLIGHT, durationMs }, (call) =>
    overwrite(collection, call),
  );
  isRunning = false;
  await watching;
  return lagsMs;
}

/** A backup, so many entries after it, the loss of all disks, and a cluster made of both. */
async function replay(
  cluster: ProcessCluster,
  collection: Collection,
  store: string,
  { isQuick, log, sizes }: BenchContext,
): Promise<Omit<Taken, 'lagsMs' | 'withRates' | 'withoutRates'>> {
  const count = sizes.entries ?? (isQuick ? QUICK_ENTRY_COUNT : ENTRY_COUNT);
  const { nodeName } = await cluster.waitUntilReady();
  const backup = await backUpNow(cluster, nodeName);
  let lastIndex = 0;
  await runClosedLoopCount({ inFlight: WRITES_IN_FLIGHT, count }, async (call) => {
    lastIndex = Math.max(lastIndex, await write(collection, call));
  });
  await untilArchived(cluster, lastIndex);
  const { index, phasesMs } = await loseAndRebuild(cluster, store);
  const { digests: serveMs, laid, planned: planMs } = phasesMs;
  const entryCount = index - backup.index;
  log(`archive: ${entryCount} entries replayed, serving after ${Math.round(serveMs)} ms`);
  return { entryCount, planMs, layMs: laid - planMs, serveMs };
}

const costOf = (kind: StoreKind, ratios: readonly number[]): Figure =>
  atMost(
    `${kind}: cost of the archive for writes (median of turns)`,
    100 * (1 - median(ratios)),
    '%',
    COST_MAX_PERCENT,
  );

function figuresOf(kind: StoreKind, taken: Taken): readonly Figure[] {
  const { entryCount, lagsMs, layMs, planMs, serveMs, withRates, withoutRates } = taken;
  // A turn in which nothing was answered compares with nothing.
  const ratios = withRates.flatMap((rate, i) => {
    const without = must(withoutRates[i]);
    return without === 0 ? [] : [rate / without];
  });
  const perSecond = (durationMs: number): number => entryCount / (durationMs / 1_000);
  return [
    figure(`${kind}: writes without archive (median)`, median(withoutRates), '/s'),
    ...(ratios.length === 0 ? [] : [costOf(kind, ratios)]),
    below(`${kind}: lag under steady load, p99`, percentile(lagsMs, 0.99), 'ms', LAG_MS_MAX),
    figure(`${kind}: lag under steady load, most`, Math.max(...lagsMs), 'ms'),
    atLeast(
      `${kind}: archived entries verified and laid, by three commands at once`,
      perSecond(layMs),
      '/s',
      REPLAY_RATE_MIN,
    ),
    figure(`${kind}: the same until three nodes agree and serve`, perSecond(serveMs), '/s'),
    figure(`${kind}: of it finding the way (restore plan)`, planMs, 'ms'),
  ];
}

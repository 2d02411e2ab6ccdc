/**
 * Takes the leader away again and again under load and measures the write gap: from the last
 * acknowledgement before the strike to the first acknowledgement of a later term. (The first answer
 * that arrives after the strike may still come from the old leader's socket; it is not counted.)
 * Three ways: SIGKILL, whose sockets close at once; SIGSTOP, which tells nobody; and a cut of its
 * links to the other nodes, which tells nobody either and leaves it reachable for clients. At the
 * end of each cluster's strikes every acknowledged point is read back.
 */
import { must } from '@holdfast/base';
import { type ProcessCluster, pause, waitFor } from '@holdfast/jepsen-lite';
import { atMost, type Bench, type BenchContext, type Figure, figure } from '../result.ts';
import { median, percentile } from '../statistics.ts';
import { type ClusterUnderTest, withCluster } from './with-cluster.ts';
import { findLost, WriteLoad } from './write-load.ts';

const COLLECTION = 'failover';
const CLIENT_COUNT = 16;
const DIMENSION = 16;
const KILL_COUNT_DEFAULT = 20;
/** Of each silent way; they take a timeout each. */
const SILENT_SHARE = 0.2;
/** Load before each strike and after each recovery, so that no round inherits the one before. */
const STEADY_MS = 1_000;
const GAP_TIMEOUT_MS = 30_000;
/** Then a fresh cluster: all points are kept to be read back, and every start would load more. */
const STRIKES_PER_CLUSTER = 10;

type Strike = 'SIGKILL' | 'SIGSTOP' | 'isolation';

const TARGETS: Readonly<
  Record<Strike, { readonly medianMs: number; readonly maxMs: number | null }>
> = {
  SIGKILL: { medianMs: 400, maxMs: 1_500 },
  SIGSTOP: { medianMs: 1_200, maxMs: null },
  isolation: { medianMs: 1_200, maxMs: null },
};

interface GapSample {
  readonly strike: Strike;
  readonly leader: string;
  readonly term: number;
  readonly struckAtMs: number;
  readonly lastAcknowledgedMs: number;
  readonly firstAcknowledgedMs: number;
  readonly newTerm: number;
  readonly gapMs: number;
}

export const failoverBench: Bench = {
  name: 'failover',
  description: 'the leader killed (--kills N, 20), stopped and isolated, under 16 clients',
  run: async (context) => {
    const killCount = context.sizes.kills ?? (context.isQuick ? 1 : KILL_COUNT_DEFAULT);
    const silentCount = Math.max(1, Math.round(killCount * SILENT_SHARE));
    const times = (count: number, strike: Strike) => Array.from({ length: count }, () => strike);
    const open = [...times(killCount, 'SIGKILL'), ...times(silentCount, 'SIGSTOP')];
    // Only the cut of links needs proxies between the nodes; they would slow the others down.
    const rounds: Round[] = [];
    for (const strikes of chunksOf(open)) rounds.push(await runStrikes(context, strikes, false));
    for (const strikes of chunksOf(times(silentCount, 'isolation')))
      rounds.push(await runStrikes(context, strikes, true));
    const samples = rounds.flatMap((round) => round.samples);
    const sum = (count: (round: Round) => number) =>
      rounds.reduce((total, round) => total + count(round), 0);
    return {
      figures: [
        ...(['SIGKILL', 'SIGSTOP', 'isolation'] as const).flatMap((one) => figuresOf(one, samples)),
        figure(
          'acknowledged writes',
          sum(({ acknowledgedCount }) => acknowledgedCount),
          '',
        ),
        atMost(
          'acknowledged writes lost',
          sum(({ lost }) => lost.length),
          '',
          0,
        ),
        figure(
          'writes not acknowledged',
          sum(({ failureCount }) => failureCount),
          '',
        ),
      ],
      notes: ['etcd measured on such a machine: 1.1-2.3 s after SIGKILL'],
      raw: { samples, lost: rounds.flatMap(({ lost }) => lost.slice(0, 100)) },
    };
  },
};

function chunksOf(strikes: readonly Strike[]): readonly (readonly Strike[])[] {
  const count = Math.ceil(strikes.length / STRIKES_PER_CLUSTER);
  return Array.from({ length: count }, (_, i) =>
    strikes.slice(i * STRIKES_PER_CLUSTER, (i + 1) * STRIKES_PER_CLUSTER),
  );
}

interface Round {
  readonly samples: readonly GapSample[];
  readonly acknowledgedCount: number;
  readonly failureCount: number;
  readonly lost: readonly number[];
}

function runStrikes(
  context: BenchContext,
  strikes: readonly Strike[],
  hasPeerProxies: boolean,
): Promise<Round> {
  const body = async ({ cluster, client }: ClusterUnderTest): Promise<Round> => {
    await client.createCollection({ name: COLLECTION, dimension: DIMENSION, metric: 'l2' });
    const { addresses } = cluster;
    const load = await WriteLoad.start({
      ...{ addresses, collection: COLLECTION, dimension: DIMENSION, clientCount: CLIENT_COUNT },
    });
    const samples: GapSample[] = [];
    try {
      for (const strike of strikes) {
        const sample = await strikeOnce(cluster, load, strike);
        samples.push(sample);
        context.log(
          `failover ${samples.length}: ${strike} of ${sample.leader}, term ${sample.term}, ` +
            `gap ${Math.round(sample.gapMs)} ms`,
        );
      }
    } finally {
      await load.stop();
    }
    const { acknowledgements, failureCount } = load;
    const lost = await findLost(client.collection(COLLECTION), acknowledgements);
    return { samples, acknowledgedCount: acknowledgements.length, failureCount, lost };
  };
  return withCluster('failover', {}, body, { hasPeerProxies });
}

function figuresOf(strike: Strike, samples: readonly GapSample[]): readonly Figure[] {
  const gaps = samples.filter((one) => one.strike === strike).map(({ gapMs }) => gapMs);
  const { medianMs, maxMs } = TARGETS[strike];
  const max = percentile(gaps, 1);
  return [
    atMost(`write gap after ${strike}, median of ${gaps.length}`, median(gaps), 'ms', medianMs),
    maxMs === null
      ? figure(`write gap after ${strike}, max`, max, 'ms')
      : atMost(`write gap after ${strike}, max`, max, 'ms', maxMs),
  ];
}

async function strikeOnce(
  cluster: ProcessCluster,
  load: WriteLoad,
  strike: Strike,
): Promise<GapSample> {
  await cluster.waitUntilReady();
  await pause(STEADY_MS);
  const { nodeName, term } = await cluster.waitUntilReady();
  const struckAtMs = performance.now();
  const last = must(load.acknowledgements.at(-1), 'load must have been acknowledged before');
  if (strike === 'isolation') cluster.isolate(nodeName);
  else await cluster.signal(nodeName, strike);
  const first = await waitFor(
    { what: 'an acknowledgement of a later term', timeoutMs: GAP_TIMEOUT_MS, pollIntervalMs: 5 },
    () => load.firstOfLaterTerm(term),
  );
  await pause(STEADY_MS);
  if (strike === 'SIGKILL') await cluster.start(nodeName);
  else if (strike === 'SIGSTOP') await cluster.signal(nodeName, 'SIGCONT');
  else cluster.heal();
  return {
    strike,
    leader: nodeName,
    term,
    struckAtMs,
    lastAcknowledgedMs: last.timeMs,
    firstAcknowledgedMs: first.timeMs,
    newTerm: first.term,
    gapMs: first.timeMs - last.timeMs,
  };
}

/**
 * A node loses its whole disk and starts with an empty one, under load; every second time the
 * leader is killed while it is on its way back, so that votes are asked for. It has to come back as
 * a voter by itself, and to give no vote before it holds what was committed when it lost its disk.
 */
import { deriveSeed, must, SeededRandom } from '@holdfast/base';
import { HoldfastClient } from '@holdfast/client';
import type { NodeName } from '../cluster/cluster.ts';
import { readJson } from '../cluster/node-http.ts';
import type { ProcessCluster } from '../cluster/process-cluster.ts';
import { waitFor } from '../wait.ts';
import { atLeast, atMost, figure } from './figure.ts';
import { everywherePossible, type NumberRow, type RowContext } from './row.ts';
import { SET_LOAD, Stage } from './stage.ts';
import { maxOf, medianOf, promiseFigures, worstByName } from './summary.ts';

const ROW = 'wiped-disk';
const COLLECTION = 'ballast';
const DIMENSION = 4;
/** Payload makes the data large without graphs that take the processors. */
const TEXT_SIZE_BYTES = 8_000;
const POINT_COUNT = 25_000;
const QUICK_POINT_COUNT = 1_000;
const BATCH_SIZE = 100;
const BALLAST_TIMEOUT_MS = 120_000;
const BACK_TIMEOUT_MS = 600_000;
const LOOK_INTERVAL_MS = 100;
/** The killed leader stays away for so long: the others have another one by then. */
const LEADER_AWAY_MS = 2_000;
const GIGABYTE = 1_000_000_000;

interface Back {
  readonly nodeName: NodeName;
  readonly isLeaderKilled: boolean;
  readonly seconds: number;
  readonly receivedBytes: number;
  /** Votes that it gave while it had none of its own. */
  readonly earlyVotes: number;
  /** It held what was committed when it lost its disk, as soon as it was a voter. */
  readonly isComplete: boolean;
}

async function writeBallast(cluster: ProcessCluster, count: number): Promise<void> {
  const client = await HoldfastClient.connect({ nodes: [...cluster.addresses] });
  try {
    await client.createCollection({ name: COLLECTION, dimension: DIMENSION, metric: 'l2' });
    const points = Array.from({ length: count }, (_unused, id) => ({
      id,
      vector: new Float32Array(DIMENSION).fill(id),
      payload: { text: `${id} `.repeat(TEXT_SIZE_BYTES).slice(0, TEXT_SIZE_BYTES) },
    }));
    const options = { batchSize: BATCH_SIZE, concurrency: 2, timeoutMs: BALLAST_TIMEOUT_MS };
    await client.collection(COLLECTION).upsertMany(points, options);
  } finally {
    await client.close();
  }
}

async function wipeOnce(stage: Stage, wiped: NodeName, isLeaderKilled: boolean): Promise<Back> {
  const { cluster, load } = stage;
  const { nodeName: leader } = await stage.steady();
  const committed = must(await cluster.health(leader), 'the leader answers').commitIndex;
  await stage.strike({ action: 'wipe', isHealing: false, targets: [wiped] }, async () => {
    await cluster.signal(wiped, 'SIGKILL');
    cluster.wipe(wiped);
    await cluster.start(wiped);
  });
  const beginMs = performance.now();
  const watching = watchReturn(cluster, wiped, committed);
  // Whoever waits for it sees the rejection.
  watching.catch(() => undefined);
  if (isLeaderKilled) {
    const targets = [leader];
    await stage.strike({ action: 'kill the leader', isHealing: false, targets }, () =>
      cluster.signal(leader, 'SIGKILL'),
    );
    await load.untilFlowing(LEADER_AWAY_MS);
    await stage.strike({ action: 'start it', isHealing: true, targets }, () =>
      cluster.start(leader),
    );
  }
  const seen = await watching;
  const seconds = (performance.now() - beginMs) / 1_000;
  const received = await cluster.metric(wiped, 'holdfast_peer_bytes_received_total');
  return { nodeName: wiped, isLeaderKilled, seconds, receivedBytes: received ?? 0, ...seen };
}

/** Looks at the node until it serves as a voter. */
async function watchReturn(
  cluster: ProcessCluster,
  wiped: NodeName,
  committed: number,
): Promise<Pick<Back, 'earlyVotes' | 'isComplete'>> {
  let earlyVotes = 0;
  let isComplete: boolean | null = null;
  const what = `${wiped} to serve as a voter again`;
  const wait = { what, timeoutMs: BACK_TIMEOUT_MS, pollIntervalMs: LOOK_INTERVAL_MS };
  await waitFor(wait, async () => {
    // In this order: votes that are counted while it is still no voter afterwards were early.
    const votes = await cluster.metric(wiped, 'holdfast_raft_votes_granted_total');
    const answer = await readJson(cluster.addressOf(wiped), '/api/v1/cluster/status');
    if (answer?.status !== 200) return null;
    const { isReady, lastIndex, membership } = answer.body;
    if (membership !== 'voter') {
      earlyVotes = Math.max(earlyVotes, votes ?? 0);
      return null;
    }
    isComplete ??= Number(lastIndex) >= committed;
    return isReady === true ? true : null;
  });
  return { earlyVotes, isComplete: isComplete === true };
}

export const wipedDiskRow: NumberRow = {
  ...{ name: ROW, timesDefault: 6, timesQuick: 2, load: SET_LOAD },
  what: 'a wiped node comes back by itself, votes when it is safe, is equal; seconds per GB',
  whyNot: everywherePossible,
  run: async (context: RowContext) => {
    const random = new SeededRandom(deriveSeed(context.seed, ROW));
    const backs: Back[] = [];
    const report = await Stage.play(context, { row: ROW }, async (stage) => {
      const { cluster } = stage;
      await writeBallast(cluster, context.isQuick ? QUICK_POINT_COUNT : POINT_COUNT);
      context.log('ballast written');
      for (let round = 0; round < context.times; round++) {
        const { nodeName: leader } = await stage.steady();
        const followers = cluster.nodeNames.filter((name) => name !== leader);
        const wiped = must(followers[random.nextBelow(followers.length)]);
        const back = await wipeOnce(stage, wiped, round % 2 === 1);
        backs.push(back);
        const megabytes = Math.round(back.receivedBytes / 1_000_000);
        context.log(`${round + 1}/${context.times} back in ${back.seconds} s, ${megabytes} MB`);
      }
    });
    const perGigabyte = backs.map((one) => (one.seconds * GIGABYTE) / one.receivedBytes);
    return {
      figures: [
        atLeast('wiped nodes that came back as voters', backs.length, '', context.times),
        figure('start to voter, median', medianOf(backs.map((one) => one.seconds)), 's'),
        figure('start to voter, max', maxOf(backs.map((one) => one.seconds)), 's'),
        figure('per GB received, median', medianOf(perGigabyte), 's/GB'),
        figure('received, median', medianOf(backs.map((one) => one.receivedBytes / 1e6)), 'MB'),
        atMost(
          'votes given before it was a voter',
          backs.reduce((sum, { earlyVotes }) => sum + earlyVotes, 0),
          '',
          0,
        ),
        atMost(
          'voters without all that was committed at the loss',
          backs.filter(({ isComplete }) => !isComplete).length,
          '',
          0,
        ),
        ...promiseFigures([report]),
      ],
      verdicts: worstByName([report]),
      notes: ['every second time the leader was killed meanwhile'],
      samples: backs.map((one) => ({ ...one })),
    };
  },
};

/**
 * A follower goes and comes back under load: neither may hold writes up, and who comes back may not
 * depose the leader: term and leader are the same before and after.
 */
import { deriveSeed, must, SeededRandom } from '@holdfast/base';
import { atMost } from './figure.ts';
import { everywherePossible, type NumberRow, type RowContext } from './row.ts';
import { SET_LOAD, Stage, type StageReport } from './stage.ts';
import {
  latenessNotes,
  maxOf,
  medianOf,
  partsOf,
  promiseFigures,
  samplesOf,
  worstByName,
} from './summary.ts';

const ROW = 'follower';
const WAYS = ['SIGKILL', 'SIGSTOP', 'isolation'] as const;
type Way = (typeof WAYS)[number];

const ROUNDS_PER_CLUSTER = 15;
/** Several election timeouts, so that whoever is away believes that there is no leader. */
const AWAY_MS = 3_000;
/** After its return: it asks for votes, catches up, and applies what it missed. */
const BACK_MS = 3_000;
const GAP_MS_MAX = 100;

interface Deposed {
  readonly way: Way;
  readonly before: string;
  readonly after: string;
}

async function play(
  context: RowContext,
  ways: readonly Way[],
  stageNumber: number,
  deposed: Deposed[],
): Promise<StageReport> {
  const random = new SeededRandom(deriveSeed(context.seed, `${ROW} ${stageNumber}`));
  const launch = { hasPeerProxies: ways.includes('isolation') };
  return Stage.play(context, { row: ROW, stageNumber, launch }, async (stage) => {
    for (const way of ways) {
      const before = await stage.steady();
      const followers = stage.cluster.nodeNames.filter((name) => name !== before.nodeName);
      await awayAndBack(stage, way, must(followers[random.nextBelow(followers.length)]));
      const after = await stage.steady();
      const [was, is] = [before, after].map(({ nodeName, term }) => `${nodeName} in term ${term}`);
      if (was !== is) deposed.push({ way, before: must(was), after: must(is) });
      context.log(`${way} of a follower and its return; ${is} leads`);
    }
  });
}

async function awayAndBack(stage: Stage, way: Way, follower: string): Promise<void> {
  const { cluster, load } = stage;
  const targets = [follower];
  await stage.strike({ action: way, isHealing: false, targets }, async () => {
    if (way === 'isolation') cluster.isolate(follower);
    else await cluster.signal(follower, way);
  });
  await load.untilFlowing(AWAY_MS);
  await stage.strike({ action: `return after ${way}`, isHealing: true, targets }, async () => {
    if (way === 'isolation') cluster.heal();
    else if (way === 'SIGSTOP') await cluster.signal(follower, 'SIGCONT');
    else await cluster.start(follower);
  });
  await load.untilFlowing(BACK_MS);
}

export const followerRow: NumberRow = {
  ...{ name: ROW, timesDefault: 30, timesQuick: 3, load: SET_LOAD },
  what: 'write gaps when a follower goes (kill -9, SIGSTOP, isolation) and comes back',
  whyNot: everywherePossible,
  run: async (context) => {
    const ways = Array.from({ length: context.times }, (_unused, i) => must(WAYS[i % WAYS.length]));
    const deposed: Deposed[] = [];
    const reports: StageReport[] = [];
    const open = partsOf(
      ways.filter((way) => way !== 'isolation'),
      ROUNDS_PER_CLUSTER,
    );
    const cuts = partsOf(
      ways.filter((way) => way === 'isolation'),
      ROUNDS_PER_CLUSTER,
    );
    for (const part of [...open, ...cuts]) {
      reports.push(await play(context, part, reports.length, deposed));
    }
    const gaps = reports.flatMap((report) => report.gaps);
    const away = gaps.filter(({ isHealing }) => !isHealing).map(({ gapMs }) => gapMs);
    const back = gaps.filter(({ isHealing }) => isHealing).map(({ gapMs }) => gapMs);
    return {
      figures: [
        atMost(`gap at the loss, median of ${away.length}`, medianOf(away), 'ms', GAP_MS_MAX),
        atMost('gap at the loss, max', maxOf(away), 'ms', GAP_MS_MAX),
        atMost('gap at the return, median', medianOf(back), 'ms', GAP_MS_MAX),
        atMost('gap at the return, max', maxOf(back), 'ms', GAP_MS_MAX),
        atMost('leaders deposed', deposed.length, '', 0),
        ...promiseFigures(reports),
      ],
      verdicts: worstByName(reports),
      notes: [
        ...latenessNotes(gaps),
        ...deposed.map(({ after, before, way }) => `after ${way}: ${before}, then ${after}`),
      ],
      samples: samplesOf(gaps),
    };
  },
};

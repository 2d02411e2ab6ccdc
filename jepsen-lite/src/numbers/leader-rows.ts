/**
 * The leader is taken away under load: killed, which closes its sockets, or silenced, which tells
 * nobody (stopped, or cut off from the others and still in reach of clients). The gap is the
 * longest silence between two acknowledged writes until the node is brought back.
 */
import type { NodeName } from '../cluster/cluster.ts';
import { everywherePossible, type NumberRow, type RowContext, type RowOutcome } from './row.ts';
import { SET_LOAD, Stage, type StageReport } from './stage.ts';
import {
  type GapLimits,
  gapFigures,
  harmsOf,
  latenessNotes,
  partsOf,
  promiseFigures,
  samplesOf,
  worstByName,
} from './summary.ts';

type Way = 'SIGKILL' | 'SIGSTOP' | 'isolation';

/** All that is written is read from every node in the end: more would make that long. */
const STRIKES_PER_CLUSTER = 20;
/** Longer than any gap should be; a longer one is waited for. */
const HOLD_MS = 2_000;

async function strikeLeaders(
  context: RowContext,
  row: string,
  ways: readonly Way[],
): Promise<readonly StageReport[]> {
  const reports: StageReport[] = [];
  let count = 0;
  // Only a cut needs proxies between the nodes; the others go without their delay.
  const open: readonly Way[] = ways.filter((way) => way !== 'isolation');
  const cuts: readonly Way[] = ways.filter((way) => way === 'isolation');
  for (const part of [
    ...partsOf(open, STRIKES_PER_CLUSTER),
    ...partsOf(cuts, STRIKES_PER_CLUSTER),
  ]) {
    const hasPeerProxies = part[0] === 'isolation';
    const stageNumber = reports.length;
    const report = await Stage.play(
      context,
      { row, stageNumber, launch: { hasPeerProxies } },
      async (stage) => {
        for (const way of part) {
          const leader = await strikeOnce(stage, way);
          count += 1;
          context.log(`${count}/${ways.length} ${way} of ${leader}`);
        }
      },
    );
    const gaps = report.gaps.filter(({ isHealing }) => !isHealing);
    context.log(`gaps ${gaps.map(({ gapMs }) => Math.round(gapMs)).join(' ')} ms`);
    reports.push(report);
  }
  return reports;
}

async function strikeOnce(stage: Stage, way: Way): Promise<NodeName> {
  const { cluster, load } = stage;
  const { nodeName } = await stage.steady();
  const targets = [nodeName];
  await stage.strike({ action: way, isHealing: false, targets }, async () => {
    if (way === 'isolation') cluster.isolate(nodeName);
    else await cluster.signal(nodeName, way);
  });
  await load.untilFlowing(HOLD_MS);
  await stage.strike({ action: `end of ${way}`, isHealing: true, targets }, async () => {
    if (way === 'isolation') cluster.heal();
    else if (way === 'SIGSTOP') await cluster.signal(nodeName, 'SIGCONT');
    else await cluster.start(nodeName);
  });
  return nodeName;
}

function outcomeOf(
  reports: readonly StageReport[],
  waysOfFigures: readonly (readonly [string, (action: string) => boolean])[],
  limits: GapLimits,
): RowOutcome {
  const harms = harmsOf(reports);
  return {
    figures: [
      ...waysOfFigures.flatMap(([what, isMeant]) =>
        gapFigures(
          what,
          harms.filter(({ action }) => isMeant(action)),
          limits,
        ),
      ),
      ...promiseFigures(reports),
    ],
    verdicts: worstByName(reports),
    notes: latenessNotes(harms),
    samples: samplesOf(harms),
  };
}

export const leaderKilledRow: NumberRow = {
  ...{ name: 'leader-killed', timesDefault: 100, timesQuick: 2, load: SET_LOAD },
  what: 'the longest write gap when the leader of 5 nodes is killed with kill -9',
  whyNot: everywherePossible,
  run: async (context) => {
    const ways = Array.from({ length: context.times }, (): Way => 'SIGKILL');
    const reports = await strikeLeaders(context, 'leader-killed', ways);
    const limits = { medianMs: 400, maxMs: 1_500 };
    return outcomeOf(reports, [['write gap after kill -9 of the leader', () => true]], limits);
  },
};

export const leaderSilentRow: NumberRow = {
  ...{ name: 'leader-silent', timesDefault: 30, timesQuick: 2, load: SET_LOAD },
  what: 'the same when it is stopped (SIGSTOP) or cut off from the others, in turn',
  whyNot: everywherePossible,
  run: async (context) => {
    const ways = Array.from(
      { length: context.times },
      (_unused, i): Way => (i % 2 === 0 ? 'SIGSTOP' : 'isolation'),
    );
    const reports = await strikeLeaders(context, 'leader-silent', ways);
    const limits = { medianMs: 1_500, maxMs: 2_500 };
    return outcomeOf(
      reports,
      [
        ['write gap after SIGSTOP of the leader', (action) => action === 'SIGSTOP'],
        ['write gap after isolation of the leader', (action) => action === 'isolation'],
      ],
      limits,
    );
  },
};

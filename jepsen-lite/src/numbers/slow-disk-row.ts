/** The disk of the leader becomes slow: every sync takes 300 to 800 ms more, until it has left. */
import { deriveSeed, SeededRandom } from '@holdfast/base';
import { SOUND_DISK } from '../cluster/interposer.ts';
import { type Machine, planLaunch } from '../nemesis/needs.ts';
import { waitFor } from '../wait.ts';
import { atMost, figure } from './figure.ts';
import type { NumberRow } from './row.ts';
import { SET_LOAD, Stage, type StageReport } from './stage.ts';
import {
  harmsOf,
  latenessNotes,
  maxOf,
  medianOf,
  partsOf,
  promiseFigures,
  worstByName,
} from './summary.ts';

const ROW = 'slow-disk';
const ROUNDS_PER_CLUSTER = 10;
const SYNC_DELAY_MS_MIN = 300;
const SYNC_DELAY_MS_RANGE = 501;
const LEFT_MS_MAX = 3_000;
const LEFT_TIMEOUT_MS = 60_000;
/** Load while the slow node follows. */
const HOLD_MS = 2_000;

interface Left {
  readonly syncDelayMs: number;
  readonly leftMs: number;
}

async function strikeOnce(stage: Stage, syncDelayMs: number): Promise<Left> {
  const { cluster, load } = stage;
  const { nodeName, term } = await stage.steady();
  const targets = [nodeName];
  const slowDown = (delayMs: number): void =>
    cluster.interposerOf(nodeName)?.setDisk({ ...SOUND_DISK, syncDelayMs: delayMs });
  const action = `${syncDelayMs} ms per sync`;
  const beginMs = performance.now();
  await stage.strike({ action, isHealing: false, targets }, async () => slowDown(syncDelayMs));
  const what = `the leadership to leave ${nodeName}`;
  await waitFor({ what, timeoutMs: LEFT_TIMEOUT_MS }, async () => {
    const leader = await cluster.leader();
    return leader !== null && leader.nodeName !== nodeName && leader.term > term ? true : null;
  });
  const leftMs = performance.now() - beginMs;
  await load.untilFlowing(HOLD_MS);
  await stage.strike({ action: 'sound disk', isHealing: true, targets }, async () => slowDown(0));
  return { syncDelayMs, leftMs };
}

export const slowDiskRow: NumberRow = {
  ...{ name: ROW, timesDefault: 20, timesQuick: 2, load: SET_LOAD },
  what: 'every sync of the leader takes 300 to 800 ms more: how soon another node leads',
  whyNot: (machine: Machine) => planLaunch([{ hasInterposer: true }], machine).missing[0] ?? null,
  run: async (context) => {
    const random = new SeededRandom(deriveSeed(context.seed, ROW));
    const rounds = Array.from(
      { length: context.times },
      () => SYNC_DELAY_MS_MIN + random.nextBelow(SYNC_DELAY_MS_RANGE),
    );
    const lefts: Left[] = [];
    const reports: StageReport[] = [];
    for (const part of partsOf(rounds, ROUNDS_PER_CLUSTER)) {
      const options = { row: ROW, stageNumber: reports.length, launch: { hasInterposer: true } };
      const report = await Stage.play(context, options, async (stage) => {
        for (const syncDelayMs of part) {
          const left = await strikeOnce(stage, syncDelayMs);
          lefts.push(left);
          const ms = Math.round(left.leftMs);
          context.log(
            `${lefts.length}/${rounds.length} ${syncDelayMs} ms per sync: left in ${ms} ms`,
          );
        }
      });
      reports.push(report);
    }
    const leftMs = lefts.map((one) => one.leftMs);
    const harms = harmsOf(reports);
    const gapsMs = harms.map(({ gapMs }) => gapMs);
    return {
      figures: [
        figure(`until another node leads, median of ${lefts.length}`, medianOf(leftMs), 'ms'),
        atMost('until another node leads, max', maxOf(leftMs), 'ms', LEFT_MS_MAX),
        figure('write gap, median', medianOf(gapsMs), 'ms'),
        figure('write gap, max', maxOf(gapsMs), 'ms'),
        ...promiseFigures(reports),
      ],
      verdicts: worstByName(reports),
      notes: latenessNotes(harms),
      samples: lefts.map((one) => ({ ...one, leftMs: Math.round(one.leftMs) })),
    };
  },
};

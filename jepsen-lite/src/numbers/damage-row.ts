/**
 * Files of a minority of nodes are damaged, while they run and while they are down: a flipped bit,
 * a zeroed page, a cut end; and bits on every node at once, each in another kind of file. Every
 * node has to be sound again without a person: two passes over all of its files find nothing. What
 * clients read meanwhile is judged with its values.
 */
import { deriveSeed, must, SeededRandom } from '@holdfast/base';
import { EVERYWHERE, type FileFault, filesNemesis } from '../nemesis/files.ts';
import { lookAtMachine, planLaunch } from '../nemesis/needs.ts';
import type { FaultOutcome } from '../nemesis/nemesis.ts';
import { atLeast, atMost, figure } from './figure.ts';
import { everywherePossible, type NumberRow } from './row.ts';
import { BATCH_LOAD, Stage, type StageReport } from './stage.ts';
import { maxOf, medianOf, partsOf, promiseFigures, worstByName } from './summary.ts';

const ROW = 'damage';
const KINDS: readonly FileFault[] = [
  ...(['flip-while-running', 'zeroPage-while-running', 'truncate-while-running'] as const),
  ...(['flip-while-down', 'zeroPage-while-down', 'truncate-while-down'] as const),
  EVERYWHERE,
];
const ROUNDS_PER_CLUSTER = 14;
/** Load with the damage in place, before anybody waits for soundness. */
const HOLD_MS = 1_000;
/** Checkpoints, segments and closed log files to be damaged. */
const BEGIN_MS = 8_000;

interface Damaged {
  readonly kind: FileFault;
  readonly detail: string;
  readonly isInstalled: boolean;
  readonly isSound: boolean;
  readonly soundMs: number;
}

async function damageOnce(
  stage: Stage,
  nemesis: ReturnType<typeof filesNemesis>,
  kind: FileFault,
  pick: number,
): Promise<Damaged> {
  const { cluster, load } = stage;
  let damaged: FaultOutcome | null = null;
  let healed: FaultOutcome | null = null;
  const detail = (): string => damaged?.detail ?? '';
  await stage.strike({ action: kind, isHealing: false, targets: [], detail }, async () => {
    damaged = await nemesis.perform(kind, pick, cluster);
  });
  const beginMs = performance.now();
  await load.untilFlowing(HOLD_MS);
  const how = (): string => healed?.detail ?? '';
  await stage.strike({ action: 'sound', isHealing: true, targets: [], detail: how }, async () => {
    healed = await nemesis.perform(nemesis.healingAction, pick, cluster);
  });
  const soundMs = performance.now() - beginMs;
  return {
    ...{ kind, detail: `${detail()}; ${how()}`, soundMs },
    isInstalled: isInstalled(damaged),
    isSound: isInstalled(healed),
  };
}

const isInstalled = (outcome: FaultOutcome | null): boolean => outcome?.kind === 'installed';

export const damageRow: NumberRow = {
  ...{ name: ROW, timesDefault: 28, timesQuick: 2, load: BATCH_LOAD },
  what: 'a flipped bit, zeroed page or cut end in files of a minority, and bits on every node',
  whyNot: everywherePossible,
  run: async (context) => {
    const random = new SeededRandom(deriveSeed(context.seed, ROW));
    const kinds = context.isQuick
      ? (['flip-while-running', EVERYWHERE] as const)
      : Array.from({ length: context.times }, (_unused, i) => must(KINDS[i % KINDS.length]));
    const all: Damaged[] = [];
    const reports: StageReport[] = [];
    for (const part of partsOf<FileFault>(kinds, ROUNDS_PER_CLUSTER)) {
      const nemesis = filesNemesis(KINDS);
      const launch = planLaunch([nemesis.needs], lookAtMachine()).options;
      const options = { row: ROW, stageNumber: reports.length, launch, hasBatches: true };
      const report = await Stage.play(context, options, async (stage) => {
        await stage.load.untilFlowing(BEGIN_MS);
        for (const kind of part) {
          const damaged = await damageOnce(stage, nemesis, kind, random.nextU32());
          all.push(damaged);
          const words = damaged.isSound ? 'sound again' : 'NOT sound again';
          const seconds = (damaged.soundMs / 1_000).toFixed(1);
          context.log(`${all.length}/${kinds.length} ${kind}: ${words} after ${seconds} s`);
        }
      });
      reports.push(report);
    }
    const done = all.filter(({ isInstalled }) => isInstalled);
    const soundMs = done.map((one) => one.soundMs);
    return {
      figures: [
        atLeast('times that files were damaged', done.length, '', Math.ceil(kinds.length * 0.8)),
        figure('of these on every node', done.filter(({ kind }) => kind === EVERYWHERE).length, ''),
        atMost('nodes not sound again by themselves', notSound(all), '', 0),
        figure('until all files were found sound, median', medianOf(soundMs), 'ms'),
        figure('until all files were found sound, max', maxOf(soundMs), 'ms'),
        ...promiseFigures(reports),
      ],
      verdicts: worstByName(reports),
      notes: [],
      samples: all.map((one) => ({ ...one, soundMs: Math.round(one.soundMs) })),
    };
  },
};

const notSound = (all: readonly Damaged[]): number => all.filter(({ isSound }) => !isSound).length;

/**
 * Good clients work while hostile ones do their worst: their latency may not become three times
 * that of the quiet time before, in the same run; the event loop of a node may not stand still for
 * long, and its memory has to come back.
 */
import { fork } from 'node:child_process';
import { finishedOperations, type HistoryEvent } from '../history.ts';
import { pause } from '../wait.ts';
import { atMost, below, type Figure, figure } from './figure.ts';
import type { HostilePhase, HostilePlan } from './hostile-process.ts';
import { NodeSampler, type Sample } from './node-sampler.ts';
import { everywherePossible, type NumberRow, type RowContext } from './row.ts';
import { SET_LOAD, Stage, type StageReport } from './stage.ts';
import { maxOf, promiseFigures, shareOf, worstByName } from './summary.ts';

const ROW = 'hostile';
const QUIET_MS = 20_000;
const QUICK_QUIET_MS = 5_000;
/** How long memory may take to come back. */
const AFTERWARDS_MS = 30_000;
const STALL_MS_MAX = 50;
const GROWTH_MB_MAX = 300;
const LATENCY_RATIO_MAX = 3;
const MEGABYTE = 1_000_000;

interface Window {
  readonly name: string;
  readonly fromMs: number;
  readonly toMs: number;
}

/** Runs the hostile process to its end. @throws Error when it broke */
function runHostiles(plan: HostilePlan, onPhase: (phase: HostilePhase) => void): Promise<void> {
  const program = new URL('./hostile-process.js', import.meta.url);
  return new Promise((resolve, reject) => {
    const child = fork(program, [JSON.stringify(plan)]);
    child.on('message', (phase) => onPhase(phase as HostilePhase));
    child.once('error', reject);
    child.once('exit', (code) =>
      code === 0 ? resolve() : reject(new Error(`the hostile process ended with code ${code}`)),
    );
  });
}

/** Pure: latencies of what was answered, and how much was not, of what began in the window. */
export function goodClientsIn(
  events: readonly HistoryEvent[],
  { fromMs, toMs }: Pick<Window, 'fromMs' | 'toMs'>,
): { readonly latenciesMs: readonly number[]; readonly failureCount: number } {
  const within = finishedOperations(events).filter(
    ({ invokedMs, processId }) => processId >= 0 && invokedMs >= fromMs && invokedMs < toMs,
  );
  const answered = within.filter(({ outcome }) => outcome === 'ok');
  return {
    latenciesMs: answered.map(({ finishedMs, invokedMs }) => finishedMs - invokedMs),
    failureCount: within.length - answered.length,
  };
}

interface Played {
  readonly report: StageReport;
  readonly quiet: Window;
  readonly hostile: Window;
  readonly phases: readonly Window[];
  readonly samples: readonly Sample[];
  readonly said: readonly string[];
}

async function play(context: RowContext): Promise<Played> {
  const phases: Window[] = [];
  const begun = new Map<string, number>();
  const said: string[] = [];
  let quiet: Window = { name: 'quiet', fromMs: 0, toMs: 0 };
  let hostile: Window = { name: 'hostile', fromMs: 0, toMs: 0 };
  let samples: readonly Sample[] = [];
  const report = await Stage.play(context, { row: ROW }, async ({ cluster, load }) => {
    const sampler = new NodeSampler(cluster, () => load.nowMs);
    sampler.start();
    const fromMs = load.nowMs;
    await load.untilFlowing(context.isQuick ? QUICK_QUIET_MS : QUIET_MS);
    quiet = { name: 'quiet', fromMs, toMs: load.nowMs };
    const nodes = cluster.nodeNames.map((nodeName) => ({
      ...{ nodeName, address: cluster.addressOf(nodeName) },
      peerAddress: cluster.peerAddressOf(nodeName),
    }));
    const plan = { seed: context.seed, phaseMs: context.times * 1_000, nodes };
    await runHostiles(plan, ({ detail, hostility, isOver }) => {
      if (!isOver) begun.set(hostility, load.nowMs);
      else {
        phases.push({ name: hostility, fromMs: begun.get(hostility) ?? 0, toMs: load.nowMs });
        said.push(`${hostility}: ${detail}`);
        context.log(`${hostility}: ${detail}`);
      }
    });
    hostile = { name: 'hostile', fromMs: quiet.toMs, toMs: load.nowMs };
    await pause(AFTERWARDS_MS);
    samples = await sampler.stop();
  });
  return { report, quiet, hostile, phases, samples, said };
}

/** The worst of a kind over all nodes and samples in the window. */
function worstIn(
  samples: readonly Sample[],
  { fromMs, toMs }: Window,
  of: (one: Sample) => number,
): number | null {
  return maxOf(samples.filter(({ timeMs }) => timeMs >= fromMs && timeMs < toMs).map(of));
}

/** Of each node by itself: how far its memory rose above what it had at the end of the quiet. */
function growthMb(samples: readonly Sample[], quiet: Window, from: (own: Sample[]) => number) {
  const names = new Set(samples.map(({ nodeName }) => nodeName));
  const growths = [...names].flatMap((name) => {
    const own = samples.filter(({ nodeName }) => nodeName === name);
    const before = own.findLast(({ timeMs }) => timeMs < quiet.toMs);
    return before === undefined ? [] : [(from(own) - before.residentSizeBytes) / MEGABYTE];
  });
  return maxOf(growths);
}

const rssOf = ({ residentSizeBytes }: Sample): number => residentSizeBytes;

function figuresOf({ hostile, phases, quiet, report, samples }: Played): readonly Figure[] {
  const { events } = report;
  const calm = goodClientsIn(events, quiet);
  const pressed = goodClientsIn(events, hostile);
  const [quietP99, hostileP99] = [calm, pressed].map((one) => shareOf(one.latenciesMs, 0.99));
  const hasBoth = quietP99 !== null && quietP99 !== undefined && typeof hostileP99 === 'number';
  const stall = (one: Sample): number => one.eventLoopDelayMs;
  return [
    figure('p99 of good clients, quiet', quietP99 ?? null, 'ms'),
    figure('p99 of good clients, hostile clients present', hostileP99 ?? null, 'ms'),
    below('the one over the other', hasBoth ? hostileP99 / quietP99 : null, 'x', LATENCY_RATIO_MAX),
    atMost('operations of good clients that failed', pressed.failureCount, '', 0),
    figure('event loop stall of a node, quiet', worstIn(samples, quiet, stall), 'ms'),
    below(
      'event loop stall of a node, hostile',
      worstIn(samples, hostile, stall),
      'ms',
      STALL_MS_MAX,
    ),
    below(
      'resident memory of a node, growth',
      growthMb(samples, quiet, (own) => Math.max(...own.map(rssOf))),
      'MB',
      GROWTH_MB_MAX,
    ),
    below(
      `the same ${AFTERWARDS_MS / 1_000} s after they left`,
      growthMb(samples, quiet, (own) => own.at(-1)?.residentSizeBytes ?? 0),
      'MB',
      GROWTH_MB_MAX / 2,
    ),
    ...phases.map((phase) =>
      figure(
        `p99 during ${phase.name}`,
        shareOf(goodClientsIn(events, phase).latenciesMs, 0.99),
        'ms',
      ),
    ),
    ...phases.map((phase) =>
      figure(`event loop stall during ${phase.name}`, worstIn(samples, phase, stall), 'ms'),
    ),
  ];
}

export const hostileRow: NumberRow = {
  ...{ name: ROW, timesDefault: 10, timesQuick: 3, load: SET_LOAD },
  what: 'hostile clients of every kind, each for so many seconds, while good ones work',
  whyNot: everywherePossible,
  run: async (context) => {
    const played = await play(context);
    return {
      figures: [...figuresOf(played), ...promiseFigures([played.report])],
      verdicts: worstByName([played.report]),
      notes: played.said,
      samples: played.phases.map((phase) => ({ ...phase })),
    };
  },
};

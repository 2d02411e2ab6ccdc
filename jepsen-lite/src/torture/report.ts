/** A torture in figures: one row per kind of damage and one per kind of file. Pure. */
import type { NodeName } from '../cluster/cluster.ts';
import type { ClientReport } from './clients.ts';
import type { Injury } from './injuries.ts';
import type { DamageCounts, PlannedDamage } from './plan.ts';

export interface TortureReport {
  readonly seed: number;
  readonly nodeNames: readonly NodeName[];
  readonly planned: DamageCounts;
  readonly durationMs: number;
  readonly rowCount: number;
  readonly segmentCount: number;
  readonly clients: ClientReport;
  readonly injuries: readonly Injury[];
  /** Planned damages that found no file to be done to. */
  readonly notInjected: readonly PlannedDamage[];
  /** Findings of the product that belong to no damage: for the reader. */
  readonly notes: readonly string[];
  /** What the last checks found: files or digests that differ, nodes that ended. */
  readonly finalFailures: readonly string[];
}

export interface Tally {
  readonly name: string;
  readonly injected: number;
  readonly detected: number;
  readonly repaired: number;
  readonly deletedFirst: number;
  readonly detectionMs: { readonly median: number; readonly max: number };
  readonly repairMs: { readonly median: number; readonly max: number };
}

const DELETED_FIRST_SHARE_MAX = 0.05;
/** A handful may be unlucky. */
const DELETED_FIRST_COUNT_FREE = 3;
const LISTED_COUNT_MAX = 40;

/** Every reason why the run has failed; none: everything was found and made good. */
export function failuresOf(report: TortureReport): readonly string[] {
  const { clients, finalFailures, injuries, notInjected } = report;
  const bad = injuries.filter(({ state }) => state !== 'repaired' && state !== 'deletedFirst');
  const deleted = injuries.filter(({ state }) => state === 'deletedFirst').length;
  const deletedMax = Math.max(DELETED_FIRST_COUNT_FREE, injuries.length * DELETED_FIRST_SHARE_MAX);
  return [
    ...clients.wrong.map((text) => `wrong answer: ${text}`),
    ...clients.errors.map((text) => `client error: ${text}`),
    ...bad.map((injury) => `${injury.state}: ${describe(injury)}`),
    ...finalFailures,
    ...notInjected.map((one) => `not done: #${one.number} ${one.damage} of ${one.fileKind}`),
    ...(deleted > deletedMax ? [`${deleted} damaged files were deleted before a look`] : []),
    ...(clients.writes * clients.reads * clients.searches > 0 ? [] : ['a client did nothing']),
  ];
}

export function describe(injury: Injury): string {
  const { damage, nodeName, number, path, said, spans } = injury;
  const places = spans.map(({ from, to }) => `${from}..${to}`).join(' and ');
  const last = said.length > 0 ? `; ${said.join('; ')}` : '';
  return `#${number} ${damage} of ${nodeName} ${path} at ${places}${last}`;
}

export function tallyBy(
  injuries: readonly Injury[],
  nameOf: (injury: Injury) => string,
): readonly Tally[] {
  const names = [...new Set(injuries.map(nameOf))].sort();
  return names.map((name) =>
    tally(
      name,
      injuries.filter((injury) => nameOf(injury) === name),
    ),
  );
}

export function tally(name: string, injuries: readonly Injury[]): Tally {
  const times = (until: (injury: Injury) => number | null): readonly number[] =>
    injuries.flatMap((injury) => {
      const untilMs = until(injury);
      return untilMs === null ? [] : [Math.max(0, untilMs - injury.injectedAtMs)];
    });
  return {
    name,
    injected: injuries.length,
    detected: injuries.filter(({ detectedAtMs }) => detectedAtMs !== null).length,
    repaired: injuries.filter(({ state }) => state === 'repaired').length,
    deletedFirst: injuries.filter(({ state }) => state === 'deletedFirst').length,
    detectionMs: middleAndMax(times(({ detectedAtMs }) => detectedAtMs)),
    repairMs: middleAndMax(times(({ repairedAtMs }) => repairedAtMs)),
  };
}

function middleAndMax(values: readonly number[]): { median: number; max: number } {
  const sorted = [...values].sort((left, right) => left - right);
  return { median: sorted[Math.floor(sorted.length / 2)] ?? 0, max: sorted.at(-1) ?? 0 };
}

const HEAD = [
  '| what | injected | detected | repaired | deleted first | to detection, median / max ms | ' +
    'to repair, median / max ms |',
  '|---|---|---|---|---|---|---|',
];

function row(one: Tally): string {
  const { deletedFirst, detected, detectionMs, injected, name, repairMs, repaired } = one;
  const cells = [name, injected, detected, repaired, deletedFirst];
  const times = [detectionMs, repairMs].map(({ max, median }) => `${median} / ${max}`);
  return `| ${[...cells, ...times].join(' | ')} |`;
}

/** For people: markdown. */
export function renderReport(report: TortureReport): string {
  const { clients, injuries } = report;
  const failures = failuresOf(report);
  const seconds = (report.durationMs / 1_000).toFixed(0);
  return [
    `Torture of ${report.nodeNames.join(' and ')}, seed ${report.seed}: ${seconds} s, ` +
      `${report.rowCount} rows, ${report.segmentCount} sealed segments`,
    '',
    ...HEAD,
    ...tallyBy(injuries, ({ damage }) => damage).map(row),
    ...tallyBy(injuries, ({ fileKind }) => `in ${fileKind}`).map(row),
    row(tally('all', injuries)),
    '',
    `${clients.writes} writes, ${clients.reads} reads, ${clients.searches} searches, ` +
      `${clients.counts} counts; ${clients.degraded} said that a shard was missing`,
    `wrong answers = ${clients.wrong.length}, client errors = ${clients.errors.length}`,
    ...report.notes.slice(0, LISTED_COUNT_MAX).map((note) => `found beside: ${note}`),
    ...failures.slice(0, LISTED_COUNT_MAX).map((failure) => `FAILED ${failure}`),
    ...(failures.length > LISTED_COUNT_MAX ? [`and ${failures.length} failures in all`] : []),
    failures.length === 0 ? 'all damage was found and made good' : 'the torture FAILED',
  ].join('\n');
}

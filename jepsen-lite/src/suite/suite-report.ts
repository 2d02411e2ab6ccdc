/** A suite in words and tables, for people and for docs/evidence. Pure. */
import { FAILPOINTS } from '@holdfast/base';
import type { Experiment } from './experiment.ts';
import { keyOf, type Suite } from './suite.ts';
import { newestByKey, type SuiteLine } from './suite-log.ts';

export interface SuiteCounts {
  readonly total: number;
  readonly valid: number;
  readonly invalid: number;
  readonly unknown: number;
  readonly failed: number;
  readonly missing: number;
}

export function countSuite(
  experiments: readonly Experiment[],
  lines: readonly SuiteLine[],
): SuiteCounts {
  const newest = newestByKey(lines);
  const counts = { total: experiments.length, valid: 0, invalid: 0, unknown: 0, failed: 0 };
  let missing = 0;
  for (const experiment of experiments) {
    const line = newest.get(keyOf(experiment));
    if (line === undefined) missing += 1;
    else counts[line.verdict] += 1;
  }
  return { ...counts, missing };
}

export function reportSuite(
  suite: Suite,
  experiments: readonly Experiment[],
  lines: readonly SuiteLine[],
): string {
  const newest = newestByKey(lines);
  const own = new Set(experiments.map(keyOf));
  const { failed, invalid, missing, total, unknown, valid } = countSuite(experiments, lines);
  const commits = [...new Set([...newest.values()].map(({ commit }) => commit))];
  const workloads = new Set(experiments.map(({ workload }) => workload));
  const nemeses = new Set(experiments.flatMap(({ nemeses: names }) => names));
  const rows = experiments.map((experiment) => {
    const line = newest.get(keyOf(experiment));
    const { nemeses: names, seed, workload } = experiment;
    const cells = [workload, names.join(' + ') || 'none', String(seed)];
    if (line === undefined) return [...cells, 'not run', '', '', '', ''];
    const { summary } = line;
    const gapMs = summary?.longestWriteGapMs ?? null;
    return [
      ...cells,
      line.verdict,
      summary === null ? '' : String(summary.okCount),
      summary === null ? '' : `${summary.failCount} / ${summary.infoCount}`,
      summary === null ? '' : String(summary.installedFaultCount),
      gapMs === null ? '' : `${Math.round(gapMs)}`,
    ];
  });
  const reached = new Set([...newest.values()].flatMap((line) => line.failpoints ?? []));
  const missed = FAILPOINTS.filter((name) => !reached.has(name));
  // Also of runs that the suite had once, with other times.
  const repeated = lines.filter((line) => !own.has(line.key) || newest.get(line.key) !== line);
  return [
    `# Suite ${suite.name}`,
    '',
    `${total} runs on ${suite.nodeCount} nodes, ${workloads.size} workloads, ` +
      `${nemeses.size} kinds of faults:`,
    `${valid} valid, ${invalid} invalid, ${unknown} unknown, ${failed} broken, ${missing} not run.`,
    `Commits: ${commits.join(', ') || 'none'}.`,
    '',
    table(
      ['workload', 'faults', 'seed', 'verdict', 'ok', 'fail / info', 'faults', 'longest gap ms'],
      rows,
    ),
    '',
    `Failpoints that nodes got to: ${FAILPOINTS.length - missed.length} of ${FAILPOINTS.length}` +
      `${missed.length === 0 ? '' : `; not: ${missed.join(', ')}`}.`,
    ...(repeated.length === 0 ? [] : ['', 'Verdicts before a repetition:', '']),
    ...repeated.map(
      ({ commit, key, reasons, verdict }) =>
        `- ${key} at ${commit}: ${verdict} ${reasons.join('; ')}`,
    ),
    '',
  ].join('\n');
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

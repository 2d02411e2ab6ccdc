/** What the hunt of the harness found, as a page to read. */
import { describeKiller, type HarnessMutant } from './harness-killers.ts';
import type { Finding } from './progress.ts';

export interface HuntFacts {
  readonly commit: string;
  /** `2026-11-22`. */
  readonly date: string;
  readonly processorCount: number;
}

export function harnessReport(
  mutants: readonly HarnessMutant[],
  findings: readonly Finding[],
  { commit, date, processorCount }: HuntFacts,
): string {
  const byId = new Map(findings.map((one) => [one.id, one]));
  return [
    '# Planted bugs',
    '',
    `Commit ${commit}, ${date}, ${processorCount} processors: \`npm run jepsen:mutants\` plants`,
    'one bug at a time into a copy of the compiled product and runs one experiment of jepsen-lite',
    'against it. Caught means that a checker said invalid, or that an invariant of the simulator',
    'was broken: a node that stops, or a cluster that does not come back, is no catch. The same',
    'experiment was valid without the bug. The timing of real processes does not repeat, so they',
    'have up to three tries; the seconds are of all tries together, with starting and stopping',
    'the cluster.',
    '',
    '| mutant | what it breaks | in | workload x nemesis | caught by | try | seconds |',
    '|---|---|---|---|---|---|---|',
    ...mutants.map((mutant) => rowOf(mutant, byId.get(mutant.id))),
    '',
    harnessClosingLine(mutants, findings),
  ].join('\n');
}

function rowOf(mutant: HarnessMutant, finding: Finding | undefined): string {
  const { breaks, bug, file, id, killer } = mutant;
  const length =
    killer.kind === 'cluster'
      ? `${killer.nodeCount} nodes, ${killer.seconds} s`
      : `${killer.seedCount} seeds`;
  const cells = [
    id,
    `${bug}: ${breaks}`,
    file.replace('/dist/src/', '/').replace('packages/', ''),
    `${describeKiller(killer)}, ${length}`,
    caughtText(finding),
    finding === undefined ? '' : `${finding.triedCount + (finding.killer === null ? 0 : 1)}`,
    finding === undefined ? '' : finding.seconds.toFixed(0),
  ];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

function caughtText(finding: Finding | undefined): string {
  if (finding === undefined) return 'not tried';
  if (finding.killer === null) return `**survives**: ${finding.detail}`;
  return `${finding.detail}${finding.seed === null ? '' : ` (seed ${finding.seed})`}`;
}

/** Also the last line of the page. */
export function harnessClosingLine(
  mutants: readonly HarnessMutant[],
  findings: readonly Finding[],
): string {
  const kindOf = new Map(mutants.map(({ id, killer }) => [id, killer.kind]));
  const caught = findings.filter(({ killer }) => killer !== null);
  const onProcesses = caught.filter(({ id }) => kindOf.get(id) === 'cluster').length;
  const minutes = findings.reduce((sum, one) => sum + one.seconds, 0) / 60;
  const survivors = findings.filter(({ killer }) => killer === null).map(({ id }) => id);
  const tail = survivors.length === 0 ? '' : `; alive: ${survivors.join(', ')}`;
  return (
    `${caught.length} of ${mutants.length} mutants caught, ${onProcesses} on real processes and ` +
    `${caught.length - onProcesses} in simulation, in ${minutes.toFixed(1)} minutes ` +
    `without baselines${tail}`
  );
}

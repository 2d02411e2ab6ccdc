/** The findings as a table to read: bug, where it comes from, what killed it. */
import type { Mutant } from './mutant.ts';
import type { Finding } from './progress.ts';

export function reportOf(mutants: readonly Mutant[], findings: readonly Finding[]): string {
  const byId = new Map(findings.map((one) => [one.id, one]));
  const rows = mutants.map((mutant) => {
    const finding = byId.get(mutant.id);
    const late = mutant.isAddedAfterFreeze === true ? ' (added after the freeze)' : '';
    const cells = [
      `${mutant.id}${late}`,
      `${mutant.bug} (${mutant.source})`,
      mutant.file.replace('/dist/src/', '/').replace('packages/', ''),
      killerText(finding),
      finding === undefined ? '' : finding.seconds.toFixed(1),
    ];
    return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  });
  return [
    '| mutant | bug and where it happened | file | killed by | seconds |',
    '|---|---|---|---|---|',
    ...rows,
    '',
    closingLine(mutants, findings),
  ].join('\n');
}

function killerText(finding: Finding | undefined): string {
  if (finding === undefined) return 'not tried';
  if (finding.killer === null) return '**survives**';
  const seeds = finding.seed === null ? '' : `, ${finding.seed} seeds`;
  return `${finding.killer.split('/').at(-1)?.replace('.js', '')}: ${finding.detail}${seeds}`;
}

export function closingLine(mutants: readonly Mutant[], findings: readonly Finding[]): string {
  const killed = findings.filter((one) => one.killer !== null).length;
  const seconds = findings.reduce((sum, one) => sum + one.seconds, 0);
  const survivors = findings.filter((one) => one.killer === null).map((one) => one.id);
  const tail = survivors.length === 0 ? '' : `; alive: ${survivors.join(', ')}`;
  return `${killed} of ${mutants.length} mutants killed in ${seconds.toFixed(0)} s of work${tail}`;
}

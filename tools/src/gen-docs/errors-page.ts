/** The error table: one row per code, grouped by where the code can be seen. */
import type { ErrorCodeFacts, ErrorSurface } from '@holdfast/base';
import { table } from './sections.ts';

const SURFACES: Readonly<Record<ErrorSurface, string>> = {
  wire: 'Sent by a server to its clients',
  client: 'Made by the client library',
  peer: 'Between nodes, in logs and metrics',
  startup: 'At start, as the last line of the process',
  storage: 'Data at rest, in logs and from `holdfast fsck`',
};

export function errorsSection(codes: Readonly<Record<string, ErrorCodeFacts>>): string {
  const parts: string[] = [];
  for (const [surface, title] of Object.entries(SURFACES)) {
    const rows = Object.entries(codes)
      .filter(([, facts]) => facts.surface === surface)
      .map(([code, facts]) => [
        `\`${code}\``,
        facts.definite ? 'yes' : 'no',
        `\`${facts.retry}\``,
        facts.help,
      ]);
    if (rows.length === 0) continue;
    parts.push(`### ${title}\n\n${table(['code', 'definite', 'retry', 'what it says'], rows)}`);
  }
  return parts.join('\n\n');
}

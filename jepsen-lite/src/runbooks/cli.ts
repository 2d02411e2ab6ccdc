/**
 * `npm run runbooks [-- PAGE... --keep]`: follows docs/OPERATING.md and the runbooks as they are
 * written, on real nodes: every block is run, exit codes and printed lines are compared with the
 * page. `-- disk-full failover` follows these runbooks alone (and the page that makes the cluster),
 * `-- OPERATING` the page on operating. Exit code 0: all that this machine can run did what the
 * page says; blocks that were not run are listed with their reason.
 */
import { parseArgs } from 'node:util';
import { followPages, type StepReport } from './follow.ts';
import type { Page } from './page.ts';
import { operatingPages, runbookPages, whatIsHere } from './pages.ts';

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { keep: { type: 'boolean', default: false } },
});
const print = (line: string): void => void process.stdout.write(`${line}\n`);

const nameOf = ({ path }: Page): string => path.replace(/^.*\//, '').replace(/\.md$/, '');
const isWanted = (page: Page): boolean =>
  positionals.length === 0 || positionals.includes(nameOf(page));

/** The first runbook makes the cluster of the others. */
function wantedLists(): readonly (readonly Page[])[] {
  const [first, ...others] = runbookPages();
  const wanted = others.filter(isWanted);
  const isFirstWanted = first !== undefined && (wanted.length > 0 || isWanted(first));
  const runbooks = isFirstWanted ? [first, ...wanted] : [];
  return [runbooks, operatingPages().filter(isWanted)].filter((pages) => pages.length > 0);
}

function show({ line, outcome, page }: StepReport): void {
  const where = `${page}:${line}`.padEnd(44);
  if (outcome.kind === 'good') print(`good      ${where} ${Math.round(outcome.tookMs)} ms`);
  else if (outcome.kind === 'not-reached') print(`not run   ${where} a step before it failed`);
  else if (outcome.kind === 'skipped') print(`not run   ${where} ${outcome.reason}`);
  else {
    print(`FAILED    ${where} ${outcome.reason}`);
    print(outcome.output.replaceAll(/^/gm, '          | '));
  }
}

const lists = wantedLists();
const problems = lists
  .flat()
  .flatMap((page) => page.problems.map((problem) => `${page.path}: ${problem}`));
for (const problem of problems) print(`PROBLEM   ${problem}`);
const reports: StepReport[] = [];
for (const pages of lists) {
  const options = { pages, has: whatIsHere(), onStep: show, isKept: values.keep };
  reports.push(...(await followPages(options)));
}
const count = (kind: StepReport['outcome']['kind']): number =>
  reports.filter(({ outcome }) => outcome.kind === kind).length;
const failedCount = count('failed') + count('not-reached');
print('');
print(
  `${count('good')} steps good, ${failedCount} failed, ${count('skipped')} not for this machine`,
);
process.exitCode = failedCount + problems.length === 0 && reports.length > 0 ? 0 : 1;

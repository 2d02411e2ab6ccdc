/**
 * `npm run sim:mutants`: re-introduces known bugs of other implementations, one by one, into a copy
 * of the compiled output and looks which test notices. Exits 1 when one survives or does not fit.
 *
 *   npm run sim:mutants                      all, going on where an interrupted run was
 *   npm run sim:mutants -- --only lost-window-stalls,commit-by-counting
 *   npm run sim:mutants -- --fresh           forget earlier findings
 *   npm run sim:mutants -- --report file.md  also write the table to a file
 *   npm run sim:mutants -- --simulator       what whole nodes under faults notice, 40 seeds each
 *   npm run sim:mutants -- --list
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { MUTANTS } from './mutants/all-mutants.ts';
import { hunt } from './mutants/hunt.ts';
import { SIMULATOR } from './mutants/killers.ts';
import type { Mutant } from './mutants/mutant.ts';
import { digestOf, type Finding, Progress } from './mutants/progress.ts';
import { closingLine, reportOf } from './mutants/report.ts';
import { endRunningKillers } from './mutants/run-killer.ts';
import { Scratch } from './mutants/scratch.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    jobs: { type: 'string', default: '2' },
    fresh: { type: 'boolean', default: false },
    simulator: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    report: { type: 'string' },
  },
});

const PROGRESS_PATH = values.simulator
  ? `${ROOT}node_modules/.mutants/progress-simulator.json`
  : `${ROOT}node_modules/.mutants/progress.json`;
const KILLERS = values.simulator ? [SIMULATOR] : undefined;

function chosen(): readonly Mutant[] {
  if (values.only === undefined) return MUTANTS;
  return values.only.split(',').map((id) => {
    const mutant = MUTANTS.find((one) => one.id === id);
    if (mutant === undefined) throw new Error(`there is no mutant ${id}; --list shows them`);
    return mutant;
  });
}

const scratches: Scratch[] = [];

/** Interrupted: what was found is kept, the copies go. */
function stop(): never {
  endRunningKillers();
  for (const scratch of scratches) scratch.remove();
  process.exit(1);
}
process.on('SIGINT', stop);
process.on('SIGTERM', stop);

const say = (line: string): void => void process.stdout.write(`${line}\n`);

/** Takes mutants from `queue` until it is empty. */
async function work(queue: Mutant[], progress: Progress, findings: Finding[]): Promise<void> {
  const scratch = new Scratch(ROOT);
  scratches.push(scratch);
  try {
    for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
      const known = progress.finding(mutant.id);
      const finding = known ?? (await hunt(mutant, scratch, progress, KILLERS));
      progress.note(finding);
      findings.push(finding);
      const killer = finding.killer?.split('/').at(-1) ?? 'SURVIVES';
      const seed = finding.seed === null ? '' : ` seed ${finding.seed}`;
      const when = known === undefined ? `${finding.seconds.toFixed(1)} s` : 'known';
      say(`${mutant.id.padEnd(32)} ${killer}${seed}: ${finding.detail} (${when})`);
    }
  } finally {
    scratch.remove();
  }
}

async function main(): Promise<number> {
  const mutants = chosen();
  if (values.list) {
    for (const { id, bug, source } of mutants) say(`${id.padEnd(32)} ${bug} (${source})`);
    return 0;
  }
  const progress = new Progress(
    PROGRESS_PATH,
    digestOf(ROOT, JSON.stringify(MUTANTS)),
    values.fresh,
  );
  const queue = [...mutants];
  const findings: Finding[] = [];
  const jobs = Array.from({ length: Number(values.jobs) }, () => work(queue, progress, findings));
  const results = await Promise.allSettled(jobs);
  for (const result of results) if (result.status === 'rejected') say(String(result.reason));
  if (values.report !== undefined) writeFileSync(values.report, `${reportOf(mutants, findings)}\n`);
  say(closingLine(mutants, findings));
  const isGood =
    results.every((result) => result.status === 'fulfilled') &&
    findings.length === mutants.length &&
    findings.every((finding) => finding.killer !== null);
  return isGood ? 0 : 1;
}

process.exitCode = await main();

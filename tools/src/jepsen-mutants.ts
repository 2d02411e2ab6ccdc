/**
 * `npm run jepsen:mutants`: plants bugs into a copy of the compiled product, one by one, and looks
 * whether jepsen-lite catches them: on real processes, or in simulation. Exits 1 when one survives
 * or does not fit.
 *
 *   npm run jepsen:mutants                      all, going on where an interrupted run was
 *   npm run jepsen:mutants -- --only if-version-ignored,read-without-round
 *   npm run jepsen:mutants -- --fresh           forget earlier findings
 *   npm run jepsen:mutants -- --report file.md  also write the page to a file
 *   npm run jepsen:mutants -- --list
 *
 * One at a time: a cluster of real processes needs the machine for itself.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type HuntPlace, huntInHarness } from './mutants/harness-hunt.ts';
import { describeKiller, type HarnessMutant } from './mutants/harness-killers.ts';
import { HARNESS_MUTANTS } from './mutants/harness-mutants.ts';
import { harnessClosingLine, harnessReport } from './mutants/harness-report.ts';
import { BaselineFailure } from './mutants/hunt.ts';
import { digestOf, type Finding, Progress } from './mutants/progress.ts';
import { endRunningKillers } from './mutants/run-killer.ts';
import { Scratch } from './mutants/scratch.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const PROGRESS_PATH = `${ROOT}node_modules/.mutants/progress-jepsen.json`;
const STORE_DIRECTORY = `${ROOT}node_modules/.mutants/store`;

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    fresh: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    report: { type: 'string' },
  },
});

const say = (line: string): void => void process.stdout.write(`${line}\n`);

function chosen(): readonly HarnessMutant[] {
  if (values.only === undefined) return HARNESS_MUTANTS;
  return values.only.split(',').map((id) => {
    const mutant = HARNESS_MUTANTS.find((one) => one.id === id);
    if (mutant === undefined) throw new Error(`there is no mutant ${id}; --list shows them`);
    return mutant;
  });
}

function commitName(): string {
  return execFileSync('git', ['rev-parse', '--short=12', 'HEAD'], {
    cwd: ROOT,
    encoding: 'utf8',
  }).trim();
}

/** Null: its killer is not valid without any bug, so it can show nothing. */
async function huntOne(mutant: HarnessMutant, place: HuntPlace): Promise<Finding | null> {
  try {
    return await huntInHarness(mutant, place);
  } catch (error) {
    if (!(error instanceof BaselineFailure)) throw error;
    say(error.message);
    return null;
  }
}

/** What was found, of all whose killers are valid without any bug. */
async function huntAll(
  mutants: readonly HarnessMutant[],
  scratch: Scratch,
): Promise<readonly Finding[]> {
  const digest = digestOf(ROOT, '', ['packages', 'jepsen-lite/dist']);
  const progress = new Progress(PROGRESS_PATH, digest, values.fresh);
  const place = { scratch, progress, storeDirectory: STORE_DIRECTORY, say };
  const startedAt = performance.now();
  const findings: Finding[] = [];
  for (const [i, mutant] of mutants.entries()) {
    const { id, killer } = mutant;
    const version = createHash('sha256').update(JSON.stringify(mutant)).digest('hex');
    const before = progress.finding(id, version);
    // One that survived is tried again: chance decides.
    const known = before?.killer === null ? undefined : before;
    const found = known ?? (await huntOne(mutant, place));
    if (found === null) continue;
    const finding = { ...found, version };
    progress.note(finding);
    findings.push(finding);
    const verdict = finding.killer === null ? 'SURVIVES' : 'caught';
    const seconds = known === undefined ? `${finding.seconds.toFixed(0)} s` : 'known';
    const minutes = ((performance.now() - startedAt) / 60_000).toFixed(1);
    say(
      `[${i + 1}/${mutants.length}, ${minutes} min] ${id} ${verdict}, ${describeKiller(killer)}, ` +
        `${finding.detail} (${seconds})`,
    );
  }
  return findings;
}

async function main(): Promise<number> {
  const mutants = chosen();
  if (values.list) {
    for (const { id, bug, killer } of mutants) {
      say(`${id.padEnd(32)} ${describeKiller(killer).padEnd(32)} ${bug}`);
    }
    return 0;
  }
  const scratch = new Scratch(ROOT);
  // Interrupted: what was found is kept, the copy and what runs in it go.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      endRunningKillers();
      scratch.remove();
      process.exit(1);
    });
  }
  try {
    const findings = await huntAll(mutants, scratch);
    if (values.report !== undefined) {
      const facts = {
        commit: commitName(),
        date: new Date().toISOString().slice(0, 10),
        processorCount: availableParallelism(),
      };
      writeFileSync(values.report, `${harnessReport(mutants, findings, facts)}\n`);
    }
    say(harnessClosingLine(mutants, findings));
    const caughtCount = findings.filter(({ killer }) => killer !== null).length;
    return caughtCount === mutants.length ? 0 : 1;
  } finally {
    scratch.remove();
  }
}

process.exitCode = await main();

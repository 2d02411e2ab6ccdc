/**
 * Runs one workload under process faults on a cluster of real processes and prints the verdicts.
 *
 *   node jepsen-lite/dist/src/cli.js [--workload set|register] [--seed N] [--seconds N]
 *     [--faults kill-leader,kill-follower,kill-all,freeze-leader,strand-leader]
 *     [--interval-seconds N]
 *
 * Exit code 0: everything valid; 1: something invalid; 3: something unknown; 2: bad usage.
 */
import { parseArgs } from 'node:util';
import { writeGapsOf } from './checker/availability.ts';
import { type Verdict, worstOf } from './checker/verdict.ts';
import { ProcessCluster } from './cluster/process-cluster.ts';
import { finishedOperations } from './history.ts';
import { type ProcessFault, processNemesis } from './nemesis/process.ts';
import { type RunReport, run } from './runner.ts';
import { registerWorkload } from './workload/register.ts';
import { setWorkload } from './workload/set.ts';
import type { Workload } from './workload/workload.ts';

const EXIT_CODES = { valid: 0, invalid: 1, unknown: 3 } as const;
const EXIT_USAGE = 2;
const KNOWN_FAULTS: readonly ProcessFault[] = [
  'kill-leader',
  'kill-follower',
  'kill-all',
  'freeze-leader',
  'strand-leader',
];

const print = (line: string): void => void process.stdout.write(`${line}\n`);

function readOptions() {
  const { values } = parseArgs({
    options: {
      workload: { type: 'string', default: 'set' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      seconds: { type: 'string', default: '30' },
      'interval-seconds': { type: 'string', default: '4' },
      faults: { type: 'string', default: KNOWN_FAULTS.join(',') },
    },
  });
  const faults = values.faults.split(',').filter((fault) => fault !== '');
  const unknownFault = faults.find((fault) => !KNOWN_FAULTS.some((known) => known === fault));
  if (unknownFault !== undefined) throw new TypeError(`unknown fault '${unknownFault}'`);
  return {
    seed: positive('seed', values.seed),
    durationMs: positive('seconds', values.seconds) * 1_000,
    faultIntervalMs: positive('interval-seconds', values['interval-seconds']) * 1_000,
    faults: faults as ProcessFault[],
    workloadName: values.workload,
  };
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new TypeError(`--${name} must be a positive number, not '${text}'`);
  return value;
}

function workloadOf(name: string, seed: number): Workload {
  if (name === 'set') return setWorkload();
  if (name === 'register') return registerWorkload(seed);
  throw new TypeError(`unknown workload '${name}'; there are: set, register`);
}

function printReport(report: RunReport): Verdict {
  const operations = finishedOperations(report.events);
  for (const outcome of ['ok', 'fail', 'info'] as const) {
    print(`${outcome.padEnd(6)} ${operations.filter((one) => one.outcome === outcome).length}`);
  }
  for (const gap of writeGapsOf(report.events)) {
    print(`write gap after ${gap.action}: ${Math.round(gap.gapMs)} ms`);
  }
  for (const [name, verdict] of Object.entries(report.verdicts)) {
    print(`${name}: ${JSON.stringify(verdict)}`);
  }
  return worstOf(Object.values(report.verdicts));
}

async function main(): Promise<number> {
  const { seed, durationMs, faultIntervalMs, faults, workloadName } = readOptions();
  const workload = workloadOf(workloadName, seed);
  print(`workload ${workload.name}, seed ${seed}, ${durationMs / 1_000} s, faults ${faults}`);
  const cluster = await ProcessCluster.launch({ name: 'jepsen' });
  try {
    const nemesis = faults.length === 0 ? null : processNemesis(faults);
    const report = await run({
      cluster,
      workload,
      nemesis,
      seed,
      durationMs,
      faultIntervalMs,
      log: print,
    });
    const verdict = printReport(report);
    print(verdict.kind);
    if (verdict.kind !== 'valid') print(`again: --workload ${workload.name} --seed ${seed}`);
    return EXIT_CODES[verdict.kind];
  } catch (thrown) {
    print(cluster.describeLogs());
    throw thrown;
  } finally {
    await cluster.stop();
  }
}

try {
  process.exitCode = await main();
} catch (thrown) {
  const isUsage = thrown instanceof TypeError;
  process.stderr.write(`${isUsage ? thrown.message : ((thrown as Error).stack ?? thrown)}\n`);
  process.exitCode = isUsage ? EXIT_USAGE : 1;
}

/**
 * `npm run torture -- [--flips N] [--truncate N] [--zero-page N] [--swap N] [--stale N]
 *   [--delete N] [--seed N] [--nodes 1|2] [--outstanding N] [--shards N] [--segments N]
 *   [--minutes N] [--report DIRECTORY] [--keep]`
 *
 * Exit code 0: all damage was found and repaired, and no answer was wrong; 1: it was not; 2: usage.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { describe, failuresOf, renderReport, type TortureReport } from './report.ts';
import { type Progress, runTorture, type TortureOptions } from './torture.ts';

/** A shard seals a segment of so many rows. */
const SEGMENT_ROW_COUNT = 65_536;
/** Rows that are not sealed, and room for shards that get more than their share. */
const GROWING_SHARE = 0.25;
const EXIT_USAGE = 2;

const print = (line: string): void => void process.stdout.write(`${line}\n`);

function readOptions(): TortureOptions & { readonly report: string | undefined } {
  const count = (fallback: string) => ({ type: 'string', default: fallback }) as const;
  const { values } = parseArgs({
    options: {
      ...{ flips: count('0'), truncate: count('0'), 'zero-page': count('0'), swap: count('0') },
      ...{ stale: count('0'), delete: count('0'), seed: count(String(Date.now() % 1_000_000)) },
      ...{ nodes: count('1'), outstanding: count('20'), shards: count('2'), segments: count('2') },
      ...{ minutes: count('60'), report: { type: 'string' }, keep: { type: 'boolean' } },
    },
  });
  const numberOf = (name: Exclude<keyof typeof values, 'report' | 'keep'>, least: number) => {
    const value = Number(values[name]);
    if (Number.isSafeInteger(value) && value >= least) return value;
    throw new TypeError(`--${name}: '${values[name]}' is not a whole number from ${least} on`);
  };
  const counts = {
    ...{ flip: numberOf('flips', 0), truncate: numberOf('truncate', 0) },
    ...{ zeroPage: numberOf('zero-page', 0), swap: numberOf('swap', 0) },
    ...{ stale: numberOf('stale', 0), delete: numberOf('delete', 0) },
  };
  if (Object.values(counts).every((one) => one === 0)) throw new TypeError('nothing to damage');
  const victimCount = numberOf('nodes', 1);
  if (victimCount > 2) throw new TypeError('--nodes: two of three nodes at most');
  const shardCount = numberOf('shards', 1);
  const segments = numberOf('segments', 1) + GROWING_SHARE;
  return {
    ...{ counts, victimCount, shardCount, seed: numberOf('seed', 0) },
    rowCount: Math.ceil(SEGMENT_ROW_COUNT * shardCount * segments),
    outstandingMax: numberOf('outstanding', 1),
    timeoutMs: numberOf('minutes', 1) * 60_000,
    isKept: values.keep === true,
    report: values.report,
  };
}

const BAR_WIDTH = 30;
const PLAIN_PROGRESS_INTERVAL_MS = 10_000;

/** A bar on a terminal; elsewhere a line now and then. */
function progressPrinter(): (progress: Progress) => void {
  let toldAtMs = 0;
  return ({ injected, open, planned, repaired, wrong }) => {
    const nowMs = performance.now();
    const { isTTY } = process.stdout;
    if (!isTTY && nowMs - toldAtMs < PLAIN_PROGRESS_INTERVAL_MS) return;
    toldAtMs = nowMs;
    const filled = Math.round((repaired / planned) * BAR_WIDTH);
    const bar = '#'.repeat(filled).padEnd(BAR_WIDTH, '.');
    const text =
      `[${bar}] ${repaired}/${planned} repaired, ${injected} injected, ${open} open, ` +
      `wrong answers ${wrong}`;
    process.stdout.write(isTTY ? `\r${text}  ` : `${text}\n`);
  };
}

function keepReport(directory: string, report: TortureReport): void {
  mkdirSync(directory, { recursive: true });
  const lines = report.injuries.map((injury) => `- ${injury.state}: ${describe(injury)}`);
  const text = `# Torture\n\n${renderReport(report)}\n\n## Damages\n\n${lines.join('\n')}\n`;
  writeFileSync(join(directory, 'torture.md'), text);
  writeFileSync(join(directory, 'torture.json'), `${JSON.stringify(report, null, 2)}\n`);
}

async function main(): Promise<number> {
  let options: ReturnType<typeof readOptions>;
  try {
    options = readOptions();
  } catch (thrown) {
    print(thrown instanceof Error ? thrown.message : String(thrown));
    return EXIT_USAGE;
  }
  print(`seed ${options.seed}, ${options.rowCount} rows, ${options.victimCount} damaged node(s)`);
  const report = await runTorture({ ...options, onProgress: progressPrinter() });
  print(`\n${renderReport(report)}`);
  if (options.report !== undefined) keepReport(options.report, report);
  return failuresOf(report).length === 0 ? 0 : 1;
}

process.exitCode = await main();

/**
 * `npm run jepsen:numbers -- [row ...] [--times N] [--seed N] [--quick] [--list] [--markdown]`:
 * measures the table of numbers, all of it or some rows, and keeps a line per row in
 * `jepsen-lite/store/numbers.jsonl`. `--quick` does each row once or twice, to see that it works.
 * `--markdown` prints the newest figure of every row for a page.
 *
 * Exit code 0: everything met; 1: a target was missed, or something was lost; 2: usage; 4: the
 * harness broke. A row that the machine cannot measure is skipped with its reason.
 */
import { availableParallelism, loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { lookAtMachine } from '../nemesis/needs.ts';
import { commitName } from '../sim/commit-name.ts';
import { STORE_DIRECTORY } from '../suite/run-experiment.ts';
import { renderTable } from './figure-table.ts';
import {
  appendRecord,
  groupOf,
  type NumberRecord,
  newestOf,
  readRecords,
  renderMarkdown,
  resultOf,
} from './record.ts';
import type { NumberRow } from './row.ts';
import { NUMBER_ROWS } from './rows.ts';

const RECORDS_PATH = join(STORE_DIRECTORY, 'numbers.jsonl');
const EXIT_MISSED = 1;
const EXIT_USAGE = 2;
const EXIT_BROKEN = 4;

interface Options {
  readonly rows: readonly NumberRow[];
  /** Null: as each row has it. */
  readonly times: number | null;
  readonly seed: number;
  readonly isQuick: boolean;
}

const print = (line: string): void => void process.stdout.write(`${line}\n`);

function readArguments() {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      ...{ times: { type: 'string' }, seed: { type: 'string' }, quick: { type: 'boolean' } },
      ...{ list: { type: 'boolean' }, markdown: { type: 'boolean' } },
    },
  });
  return { positionals, ...values };
}

function whole(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new TypeError(`--${name} must be a whole number from 1 on, not '${text}'`);
}

/** @throws TypeError with what is wrong */
function optionsOf({ positionals, quick, seed, times }: ReturnType<typeof readArguments>): Options {
  const known = NUMBER_ROWS.map(({ name }) => name);
  const stranger = positionals.find((name) => !known.includes(name));
  if (stranger !== undefined) {
    throw new TypeError(`unknown row '${stranger}'; there are: ${known.join(', ')}`);
  }
  return {
    rows: NUMBER_ROWS.filter(({ name }) => positionals.length === 0 || positionals.includes(name)),
    times: times === undefined ? null : whole('times', times),
    seed: seed === undefined ? 1 + (Date.now() % 1_000_000) : whole('seed', seed),
    isQuick: quick === true,
  };
}

async function measure(
  row: NumberRow,
  { isQuick, seed, ...given }: Options,
): Promise<NumberRecord> {
  const startMs = performance.now();
  const times = given.times ?? (isQuick ? row.timesQuick : row.timesDefault);
  const facts = {
    ...{ row: row.name, commit: commitName(), startedAt: new Date().toISOString() },
    ...{ coreCount: availableParallelism(), loadAverage: loadavg()[0] ?? 0, load: row.load },
    ...{ times, seed, isQuick },
  };
  const log = (line: string): void => {
    const seconds = ((performance.now() - startMs) / 1_000).toFixed(0);
    print(`${row.name} ${seconds.padStart(4)} s  ${line}`);
  };
  const reason = row.whyNot(lookAtMachine());
  if (reason !== null) {
    log(`skipped: ${reason}`);
    const nothing = { figures: [], verdicts: {}, samples: [], seconds: 0 };
    return { ...facts, ...nothing, result: 'skipped', notes: [`skipped: ${reason}`] };
  }
  log(`${times} times, seed ${seed}: measures ${row.what}`);
  const outcome = await row.run({ times, seed, isQuick, log });
  const seconds = Math.round((performance.now() - startMs) / 1_000);
  const result = resultOf(outcome.figures, outcome.verdicts);
  log(result);
  return { ...facts, ...outcome, seconds, result };
}

async function main(): Promise<number> {
  const given = readArguments();
  if (given.list === true) {
    for (const { name, timesDefault, what } of NUMBER_ROWS)
      print(`${name.padEnd(15)} ${String(timesDefault).padStart(6)} x  ${what}`);
    return 0;
  }
  if (given.markdown === true) {
    const rows = new Map(NUMBER_ROWS.map(({ name, what }) => [name, what]));
    const newest = newestOf(readRecords(RECORDS_PATH), [...rows.keys()]);
    print(renderMarkdown(newest, (row) => rows.get(row) ?? row));
    return 0;
  }
  const options = optionsOf(given);
  const records: NumberRecord[] = [];
  let isBroken = false;
  for (const row of options.rows) {
    try {
      const record = await measure(row, options);
      appendRecord(RECORDS_PATH, record);
      records.push(record);
    } catch (thrown) {
      isBroken = true;
      print(`${row.name}: the harness broke`);
      for (let cause = thrown; cause instanceof Error; cause = cause.cause)
        print(cause.stack ?? cause.message);
    }
  }
  print(`\n${renderTable(records.map(groupOf), 'row')}`);
  if (records.some(({ result }) => result === 'missed')) return EXIT_MISSED;
  return isBroken ? EXIT_BROKEN : 0;
}

try {
  process.exitCode = await main();
} catch (thrown) {
  if (!(thrown instanceof TypeError)) throw thrown;
  process.stderr.write(`${thrown.message}\n`);
  process.exitCode = EXIT_USAGE;
}

/** What proofs and drills print: lines as they go, with the time since the start, and tables. */

const NAME_WIDTH = 56;
const startMs = performance.now();

export const print = (line: string): void => void process.stdout.write(`${line}\n`);

export function printProgress(line: string): void {
  print(`${((performance.now() - startMs) / 1_000).toFixed(1).padStart(7)} s  ${line}`);
}

export const printRow = (name: string, value: string | number): void =>
  print(`${name.padEnd(NAME_WIDTH)} ${String(value).padStart(14)}`);

/** The last line, and the exit code of the process. */
export function printVerdict(isGood: boolean): void {
  print(isGood ? 'GOOD' : 'NOT GOOD');
  process.exitCode = isGood ? 0 : 1;
}

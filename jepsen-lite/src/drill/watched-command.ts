/** The `holdfast` command in a process of its own, whose lines are watched as they come. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { serverEntryPath } from '../cluster/server-command.ts';

export interface CommandEnd {
  /** Null: it was killed. */
  readonly exitCode: number | null;
  /** What it wrote to stderr, its end. */
  readonly said: string;
}

export interface WatchedCommand {
  readonly end: Promise<CommandEnd>;
  /** kill -9 */
  kill(): void;
}

const SAID_LENGTH_MAX = 4_000;

/** `onLine` is called for each line of its stdout, in order. */
export function watchCommand(
  argv: readonly string[],
  onLine: (line: string) => void,
): WatchedCommand {
  const child = spawn(process.execPath, [serverEntryPath(), ...argv], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-SAID_LENGTH_MAX);
  });
  createInterface({ input: child.stdout }).on('line', onLine);
  const end = new Promise<CommandEnd>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (exitCode) => resolve({ exitCode, said }));
  });
  return { end, kill: () => void child.kill('SIGKILL') };
}

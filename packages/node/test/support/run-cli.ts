/** Runs a `holdfast` command in this process and keeps what it prints. */
import type { CliIo } from '../../src/cli/io.ts';
import { runCli } from '../../src/cli/program.ts';

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export async function run(...argv: string[]): Promise<Ran> {
  let out = '';
  let err = '';
  const io: CliIo = {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    isInteractive: false,
    environment: {},
    untilStopped: () => new Promise(() => {}),
  };
  const code = await runCli(argv, io);
  return { code, out, err };
}

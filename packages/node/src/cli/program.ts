/**
 * The `holdfast` command line. `runCli` never exits the process and never throws for what a user
 * did: it answers the exit code (0 done, 1 could not, 2 wrong command line).
 */
import { toHoldfastError } from '@holdfast/base';
import { Command, CommanderError } from 'commander';
import { registerAdmin } from './admin-commands.ts';
import { registerBackup } from './backup-commands.ts';
import { registerCluster } from './cluster-commands.ts';
import { registerDataCommands } from './data-commands.ts';
import { registerImport } from './import.ts';
import { registerInspect } from './inspect.ts';
import {
  type CliIo,
  EXIT_FAILED,
  EXIT_OK,
  EXIT_USAGE,
  ExitWith,
  failureLine,
  UsageError,
} from './io.ts';
import { registerLog } from './log-commands.ts';
import { registerMembers } from './member-commands.ts';
import { registerRestore } from './restore-commands.ts';
import { registerScrub } from './scrub-commands.ts';
import { registerServe } from './serve.ts';
import { registerStandby } from './standby-commands.ts';

/** `argv` without the program's own two words. */
export async function runCli(argv: readonly string[], io: CliIo): Promise<number> {
  const program = createProgram(io);
  try {
    await program.parseAsync(argv, { from: 'user' });
    return EXIT_OK;
  } catch (thrown) {
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? EXIT_OK : EXIT_USAGE;
    if (thrown instanceof ExitWith) return thrown.exitCode;
    if (thrown instanceof UsageError) {
      io.err(`error: ${thrown.message}\n`);
      return EXIT_USAGE;
    }
    if (toHoldfastError(thrown).code === 'INTERNAL' && thrown instanceof Error) {
      io.err(`${thrown.stack ?? thrown.message}\n`);
    }
    io.err(failureLine(thrown));
    return EXIT_FAILED;
  }
}

function createProgram(io: CliIo): Command {
  const program = new Command('holdfast');
  program
    .description('a replicated, self-healing vector database')
    .configureOutput({ writeOut: (text) => io.out(text), writeErr: (text) => io.err(text) })
    .configureHelp({ showGlobalOptions: false })
    .showHelpAfterError('see holdfast --help, or holdfast COMMAND --help')
    .exitOverride();
  registerServe(program, io);
  registerCluster(program, io);
  registerMembers(program, io);
  registerDataCommands(program, io);
  registerImport(program, io);
  registerInspect(program, io);
  registerScrub(program, io);
  registerLog(program, io);
  registerAdmin(program, io);
  registerBackup(program, io);
  registerRestore(program, io);
  registerStandby(program, io);
  return program;
}

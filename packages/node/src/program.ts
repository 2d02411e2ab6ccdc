/**
 * The `holdfast` command as a process. A bug that reaches the top ends it with a clear last line.
 */
import { armFailpointsFromEnvironment } from '@holdfast/storage';
import { processIo } from './cli/io.ts';
import { runCli } from './cli/program.ts';

/** sysexits: internal software error. Tells supervisors a crash from a refusal. */
const EXIT_CRASHED = 70;

const crash = (thrown: unknown): void => {
  const text = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
  const [first = ''] = text.split('\n');
  process.stderr.write(`${text}\nholdfast: INTERNAL: ${first}; this is a bug, please report it\n`);
  process.exit(EXIT_CRASHED);
};
// `holdfast inspect ... | head`: whoever read our output has seen enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  crash(error);
});
process.on('uncaughtException', crash);
process.on('unhandledRejection', crash);

// Started with a channel to its parent: it ends with it.
if (process.connected) {
  process.once('disconnect', () => process.exit(EXIT_CRASHED));
  process.channel?.unref();
}

armFailpointsFromEnvironment(process.env);
const exitCode = await runCli(process.argv.slice(2), processIo());
// What was written to a pipe must have left before the process goes.
process.stdout.write('', () => process.stderr.write('', () => process.exit(exitCode)));

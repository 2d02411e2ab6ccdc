/** The `holdfast` command as an operator calls it, in a process of its own. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { serverEntryPath } from '../cluster/server-command.ts';

/** Far more than a listing or a restore prints. */
const OUTPUT_SIZE_BYTES_MAX = 16 * 1024 * 1024;

/** What it printed. @throws Error with what it said when its exit code is not 0 */
export const holdfast = (...argv: readonly string[]): Promise<string> => holdfastWith({}, ...argv);

/** With these variables beside those of this process. */
export async function holdfastWith(
  environment: Readonly<Record<string, string>>,
  ...argv: readonly string[]
): Promise<string> {
  const commandArguments = [serverEntryPath(), ...argv];
  const { stdout } = await promisify(execFile)(process.execPath, commandArguments, {
    encoding: 'utf8',
    env: { ...process.env, ...environment },
    maxBuffer: OUTPUT_SIZE_BYTES_MAX,
  });
  return stdout;
}

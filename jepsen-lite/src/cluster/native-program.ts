/**
 * The few faults that no JavaScript can do are done by small C programs. They are compiled when
 * they are first needed; where there is no compiler, these faults are skipped.
 */
import { execFile, execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export type NativeProgram = 'interposer.c' | 'power-cut.c';

/** They are a page or two long. */
const COMPILE_TIMEOUT_MS = 60_000;

/**
 * Compiles the program into the directory and resolves with the path.
 * @throws Error with what the compiler said
 */
export async function compileNative(program: NativeProgram, directory: string): Promise<string> {
  const source = fileURLToPath(new URL(`../../../native/${program}`, import.meta.url));
  const isLibrary = program === 'interposer.c';
  const output = join(directory, program.replace('.c', isLibrary ? '.so' : ''));
  const kind = isLibrary ? ['-shared', '-fPIC'] : [];
  const commandArguments = ['-O2', '-Wall', ...kind, '-o', output, source, '-ldl'];
  await promisify(execFile)('cc', commandArguments, { timeout: COMPILE_TIMEOUT_MS });
  return output;
}

/** Whether a command can be started here. */
export function hasCommand(name: string, versionFlag = '--version'): boolean {
  try {
    execFileSync(name, [versionFlag], { stdio: 'ignore', timeout: COMPILE_TIMEOUT_MS });
    return true;
  } catch (error) {
    // It was found and did not like the flag: it is there.
    return (error as NodeJS.ErrnoException).code !== 'ENOENT';
  }
}

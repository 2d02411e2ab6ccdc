/** Command line of the benchmarks. Pure: arguments in, options or a complaint out. */
import { err, ok, type Result } from '@holdfast/base';

export interface BenchOptions {
  /** Empty: the default set. */
  readonly names: readonly string[];
  readonly isQuick: boolean;
  readonly isHelpWanted: boolean;
}

export function parseOptions(
  commandArguments: readonly string[],
  knownNames: readonly string[],
): Result<BenchOptions, string> {
  const names: string[] = [];
  let isQuick = false;
  let isHelpWanted = false;
  for (const argument of commandArguments) {
    if (argument === '--quick') isQuick = true;
    else if (argument === '--help') isHelpWanted = true;
    else if (argument.startsWith('-')) return err(`unknown option ${argument}; try --help`);
    else if (!knownNames.includes(argument)) {
      return err(`unknown benchmark '${argument}'; there are: ${knownNames.join(', ')}`);
    } else names.push(argument);
  }
  return ok({ names, isQuick, isHelpWanted });
}

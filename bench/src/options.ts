/** Command line of the benchmarks. Pure: arguments in, options or a complaint out. */
import { err, ok, type Result } from '@holdfast/base';

/** Sizes that a caller may choose; a benchmark has defaults for what is not given. */
export interface BenchSizes {
  /** Strikes at the leader of `failover`. */
  readonly kills?: number;
  /** How long `false-elections` runs. */
  readonly minutes?: number;
  /** How far behind the follower of `catch-up` is; what `archive` replays. */
  readonly entries?: number;
  /** Of `backup` and `sealing`. */
  readonly rows?: number;
}

export interface BenchOptions {
  /** Empty: the default set. */
  readonly names: readonly string[];
  readonly isQuick: boolean;
  readonly isHelpWanted: boolean;
  readonly sizes: BenchSizes;
}

const SIZE_FLAGS: Readonly<Record<string, keyof BenchSizes>> = {
  '--kills': 'kills',
  '--minutes': 'minutes',
  '--entries': 'entries',
  '--rows': 'rows',
};

export function parseOptions(
  commandArguments: readonly string[],
  knownNames: readonly string[],
): Result<BenchOptions, string> {
  const names: string[] = [];
  const sizes: { -readonly [Key in keyof BenchSizes]: number } = {};
  let isQuick = false;
  let isHelpWanted = false;
  for (let i = 0; i < commandArguments.length; i++) {
    const argument = commandArguments[i] ?? '';
    const size = SIZE_FLAGS[argument];
    if (size !== undefined) {
      i += 1;
      const value = Number(commandArguments[i]);
      if (!(value > 0)) return err(`${argument} needs a number above 0`);
      sizes[size] = value;
    } else if (argument === '--quick') isQuick = true;
    else if (argument === '--help') isHelpWanted = true;
    else if (argument.startsWith('-')) return err(`unknown option ${argument}; try --help`);
    else if (!knownNames.includes(argument)) {
      return err(`unknown benchmark '${argument}'; there are: ${knownNames.join(', ')}`);
    } else names.push(argument);
  }
  return ok({ names, isQuick, isHelpWanted, sizes });
}

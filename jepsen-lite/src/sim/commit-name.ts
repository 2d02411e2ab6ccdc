/** Which sources a run was made from: a failed seed means nothing without it. */
import { execFileSync } from 'node:child_process';

/** The commit of the working tree, with `+` when something has changed since. */
export function commitName(): string {
  try {
    const git = (...args: readonly string[]): string =>
      execFileSync('git', [...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    const isChanged = git('status', '--porcelain', '--untracked-files=no').trim() !== '';
    return `${git('rev-parse', '--short=12', 'HEAD').trim()}${isChanged ? '+' : ''}`;
  } catch {
    return 'unknown';
  }
}

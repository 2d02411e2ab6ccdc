/** What a rule is: a pure function from one file, or from the whole tree, to problems. */
import type { SourceText } from './source-text.ts';

export interface Problem {
  readonly path: string;
  readonly line: number;
  readonly rule: string;
  readonly message: string;
}

export type FileRule = (source: SourceText) => readonly Problem[];

/** One file of the tree; `text` of every text file, keyed by path relative to the root. */
export type Tree = ReadonlyMap<string, string>;

export type TreeRule = (tree: Tree) => readonly Problem[];

export const problem = (path: string, line: number, rule: string, message: string): Problem => ({
  path,
  line,
  rule,
  message,
});

/** The workspace folder of a path (`packages/raft`, `bench`), or '' for files of the root. */
export function folderOf(path: string): string {
  const match = /^(packages\/[^/]+|examples\/[^/]+|jepsen-lite|bench|tools)\//.exec(path);
  return match?.[1] ?? '';
}

export const isTest = (path: string): boolean => /\/test\//.test(path);
export const isTesting = (path: string): boolean => /\/src\/(?:.*\/)?testing\//.test(path);
export const isProduct = (path: string): boolean =>
  /^packages\/[^/]+\/src\//.test(path) && !isTesting(path);

/** Every match of `pattern` in `text` (same offsets as the source) as a problem. */
export function matches(
  source: SourceText,
  text: string,
  pattern: RegExp,
  rule: string,
  message: (found: string) => string,
): Problem[] {
  const found: Problem[] = [];
  for (const [index, line] of text.split('\n').entries())
    for (const match of line.matchAll(pattern))
      found.push(problem(source.path, index + 1, rule, message(match[1] ?? match[0])));
  return found;
}

/**
 * The purity line: what a folder may not touch, because its inputs must come in through interfaces.
 * The Raft core proves its claims only as long as the same messages always give the same answers.
 */
import type { FileRule, Problem } from './rules.ts';
import { isProduct, isTesting, matches, problem } from './rules.ts';
import type { SourceText } from './source-text.ts';
import { importsOf } from './source-text.ts';

/** Names of the environment; a property of the same name (`clock.performance`) is not one. */
const WORLD =
  /(?<![.\w$#'"])(Date|performance|process|console|setTimeout|setInterval|setImmediate|clearTimeout|queueMicrotask|globalThis|fetch|WebSocket|crypto|Worker|Atomics|SharedArrayBuffer|require)\b(?!\s*[:?](?!:))/g;
const CHANCE = /\b(Math\.random|Math\s*\[)/g;
const SUSPENSION = /(?<![.\w$#])(async|await|Promise)\b/g;

const isPureFolder = (path: string): boolean =>
  /^packages\/(base|raft|protocol)\/src\//.test(path) && !isTesting(path);
const isRaftCore = (path: string): boolean =>
  path.startsWith('packages/raft/src/') && !isTesting(path);

export const purityRule: FileRule = (source) => {
  if (!isPureFolder(source.path)) return [];
  const say = (name: string) => `${name} in a pure package: take it through an interface`;
  const problems: Problem[] = matches(source, source.code, WORLD, 'purity', say);
  problems.push(...matches(source, source.code, CHANCE, 'purity', say));
  if (isRaftCore(source.path))
    problems.push(
      ...matches(source, source.code, SUSPENSION, 'purity', (n) => `${n}: the core is synchronous`),
    );
  for (const use of importsOf(source)) {
    const isOwn = use.specifier.startsWith('.') || use.specifier === '@holdfast/base';
    const isNode = use.specifier.startsWith('node:');
    if (isNode || (isRaftCore(source.path) && !isOwn))
      problems.push(
        problem(source.path, use.line, 'purity', `import of ${use.specifier} in a pure package`),
      );
  }
  return problems;
};

/** Code of a running node that may touch files itself: start-up, and the command line. */
const FILE_ACCESS_ALLOWED = [
  /^packages\/storage\/src\//,
  /^packages\/node\/src\/(cli|config|cluster|launch)\//,
  /^packages\/node\/src\/program\.ts$/,
  // a folder as a store of backups: asynchronous, because it runs beside the replica
  /^packages\/node\/src\/backup\/sinks\/local-[a-z]+\.ts$/,
];

export const fileAccessRule: FileRule = (source) => {
  if (!isProduct(source.path) || !source.path.endsWith('.ts')) return [];
  if (FILE_ACCESS_ALLOWED.some((pattern) => pattern.test(source.path))) return [];
  return importsOf(source)
    .filter((use) => /^(node:)?fs(\/promises)?$/.test(use.specifier))
    .map((use) =>
      problem(
        source.path,
        use.line,
        'file-access',
        `${use.specifier}: only storage touches files; use its FileSystem`,
      ),
    );
};

const CONSOLE_ALLOWED = /^packages\/node\/src\/(cli\/|cluster\/|program\.ts)/;

export const consoleRule: FileRule = (source) =>
  isProduct(source.path) && !CONSOLE_ALLOWED.test(source.path)
    ? matches(source, source.code, /\b(console)\s*\./g, 'console', () => 'use the Logger')
    : [];

export function purityProblems(sources: readonly SourceText[]): readonly Problem[] {
  return sources.flatMap((source) => [
    ...purityRule(source),
    ...fileAccessRule(source),
    ...consoleRule(source),
  ]);
}

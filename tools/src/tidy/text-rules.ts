/** Leftovers, escapes from the type system, waiting in tests, file names and header comments. */
import type { FileRule, Problem } from './rules.ts';
import { isTest, matches, problem } from './rules.ts';
import { headerOf } from './size-rules.ts';
import { importsOf } from './source-text.ts';

/** A file of this size needs no header comment: its exports say it all. */
const HEADER_NEEDED_LINES = 40;

export const leftoverRule: FileRule = (source) => [
  ...matches(source, source.code, /(?<![\w.$])(debugger)\b/g, 'leftover', () => 'debugger'),
  ...matches(source, source.code, /\.(only)\s*\(/g, 'leftover', () => '.only runs only this test'),
  ...matches(
    source,
    source.comments,
    /\b((?:TODO|FIXME|XXX|HACK)\b(?!\s*\(?#\d+))/g,
    'leftover',
    (word) => `${word} needs the number of an issue: ${word} #12`,
  ),
];

export const typeEscapeRule: FileRule = (source) => [
  ...matches(
    source,
    source.comments,
    /@(ts-(?:ignore|nocheck|expect-error))/g,
    'type-escape',
    (name) => `@${name} silences the compiler`,
  ),
  ...matches(
    source,
    source.code,
    /(?:(?<![?\w)\]'"]\s?)\?\s*|:\s*|\bas\s+|<\s*|,\s*|\|\s*|&\s*|\bextends\s+)(any)\b(?=\s*(?:[[\]),;=>|&}]|$))/g,
    'type-escape',
    () => 'any: use unknown, or the type',
  ),
];

/** Tests wait for a condition or an event; time is virtual and a time limit makes a test flaky. */
export const testRule: FileRule = (source) => {
  if (!/\.test\.ts$/.test(source.path)) return [];
  const rule = 'test-waits';
  const sleeps = /(?<![.\w$#])(setTimeout|setInterval|sleep|delay)\s*\(/g;
  const problems: Problem[] = [
    ...matches(source, source.code, sleeps, rule, (name) => `${name}(): wait for a condition`),
    ...matches(
      source,
      source.code,
      /\bt\.(setTimeout)\s*\((?!\s*0\s*\))/g,
      rule,
      () => 'no time limit in a test',
    ),
    ...matches(source, source.code, /\{\s*(timeout):\s*\d/g, rule, () => 'no time limit in a test'),
    ...matches(source, source.code, /\.(skip|todo)\s*\(/g, 'test-skip', (n) => `.${n}: run it`),
    ...matches(
      source,
      source.code,
      /\b((?:skip|todo):\s*true)\b/g,
      'test-skip',
      (found) => `${found}: a skip needs a reason that the run prints`,
    ),
  ];
  for (const use of importsOf(source))
    if (/^(node:)?timers(\/promises)?$/.test(use.specifier))
      problems.push(problem(source.path, use.line, rule, `${use.specifier}: wait for a condition`));
  return problems;
};

export const nameRule: FileRule = (source) => {
  const name = source.path.split('/').at(-1) ?? '';
  return /^\.?[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+)*)*$/.test(name)
    ? []
    : [problem(source.path, 1, 'file-name', `${name} is not kebab-case`)];
};

export const headerRule: FileRule = (source) => {
  if (!/\/src\//.test(source.path) || isTest(source.path)) return [];
  if (/\/index\.ts$/.test(source.path) || source.lines.length <= HEADER_NEEDED_LINES) return [];
  return headerOf(source) === ''
    ? [problem(source.path, 1, 'header', 'no header comment: say why the file is, and what holds')]
    : [];
};

/** Paths of somebody's machine and filler text: a checkout must work, and read well, anywhere. */
const MACHINE_PATH = /(?:^|[\s'"`(=])(\/(?:home|root|Users|work|mnt)\/[\w.-]+)/g;
const FILLER = /\b(lorem ipsum|coming soon|tbd|wip)\b/gi;

export const wordRule: FileRule = (source) => [
  ...matches(source, source.text, MACHINE_PATH, 'words', (path) => `${path} is a machine's path`),
  ...matches(
    source,
    source.text,
    FILLER,
    'words',
    (word) => `"${word}": write it, or leave it out`,
  ),
];

/** Lines, files and functions that a reader can take in: 100 columns, 600 lines, 70 lines. */
import type { FileRule, Problem } from './rules.ts';
import { isTest, problem } from './rules.ts';
import type { SourceText } from './source-text.ts';

export const LINE_COLUMNS_MAX = 100;
export const FILE_LINES_MAX = 600;
export const FILE_LINES_REASON = 400;
export const FUNCTION_LINES_MAX = 70;
/** A literal of this size cannot be broken without harming it (a title, a help text, a URL). */
const LITERAL_SIZE_UNBREAKABLE = 40;

export const lineRule: FileRule = (source) => {
  const problems: Problem[] = [];
  for (const [index, line] of source.lines.entries()) {
    if ([...line].length <= LINE_COLUMNS_MAX || isUnbreakable(source, index)) continue;
    const message = `${[...line].length} columns, at most ${LINE_COLUMNS_MAX}`;
    problems.push(problem(source.path, index + 1, 'line-length', message));
  }
  return problems;
};

function isUnbreakable(source: SourceText, index: number): boolean {
  const line = source.lines[index] ?? '';
  const code = source.codeLines[index] ?? '';
  if (/^\s*(import|export)\b.*\bfrom\b|^} from /.test(code)) return true;
  if (/https?:\/\/\S{30,}/.test(line)) return true;
  const literal = /(['"`/])( {40,})/.exec(code);
  if (literal !== null && (literal[2]?.length ?? 0) >= LITERAL_SIZE_UNBREAKABLE) {
    const withoutLiterals = code.replaceAll(/(['"`/]) +/g, '$1');
    return withoutLiterals.length <= LINE_COLUMNS_MAX;
  }
  // the inside of a template of several lines has neither code nor comment
  return code.trim() === '' && commentLine(source, index).trim() === '';
}

const commentLine = (source: SourceText, index: number): string =>
  source.comments.split('\n')[index] ?? '';

export const fileRule: FileRule = (source) => {
  const lineCount = source.lines.length - (source.text.endsWith('\n') ? 1 : 0);
  const at = (message: string) => [problem(source.path, 1, 'file-length', message)];
  if (lineCount > FILE_LINES_MAX) return at(`${lineCount} lines, at most ${FILE_LINES_MAX}`);
  if (lineCount <= FILE_LINES_REASON || isTest(source.path)) return [];
  if (/lines because\b/i.test(headerOf(source))) return [];
  return at(`${lineCount} lines: split it, or say "Over 400 lines because ..." in the header`);
};

/** The first comment of the file, after an interpreter line. */
export function headerOf(source: SourceText): string {
  const text = source.text.replace(/^#!.*\n/, '').trimStart();
  const block = /^\/\*[\s\S]*?\*\//.exec(text) ?? /^(?:\/\/.*\n?)+/.exec(text);
  return block?.[0].replaceAll(/\n\s*\*?\s*/g, ' ') ?? '';
}

export interface FunctionSpan {
  readonly name: string;
  readonly line: number;
  readonly lineCount: number;
}

const CONTROL = /^\s*(?:\}\s*)?(?:if|else|for|while|switch|catch|do|try|finally|with)\b/;
const NOT_FUNCTION = /^\s*(?:export\s+)?(?:default\s+)?(?:abstract\s+)?(?:class|interface)\b/;
const HAS_PARAMETERS = /\)\s*(?::[^=]*)?\{$/;

/**
 * Functions by layout: the formatter puts the closing brace of a body at the indentation of the
 * line that starts the declaration.
 */
export function functionsOf(source: SourceText): readonly FunctionSpan[] {
  const lines = source.codeLines;
  const spans: FunctionSpan[] = [];
  for (const [index, line] of lines.entries()) {
    const trimmed = line.trimEnd();
    if (!trimmed.endsWith('{')) continue;
    const indent = indentOf(line);
    const start = /^\s*\)/.test(line) ? headerLine(lines, index, indent) : index;
    const header = lines[start] ?? '';
    if (CONTROL.test(header) || NOT_FUNCTION.test(header)) continue;
    if (!/=>\s*\{$/.test(trimmed) && !HAS_PARAMETERS.test(trimmed)) continue;
    const end = lines.findIndex(
      (later, at) => at > index && indentOf(later) === indent && /^\s*\}/.test(later),
    );
    if (end < 0) continue;
    spans.push({
      name: nameOf(source.lines[start] ?? header),
      line: start + 1,
      lineCount: end - start + 1,
    });
  }
  return spans;
}

const indentOf = (line: string): number => line.length - line.trimStart().length;

function headerLine(lines: readonly string[], index: number, indent: number): number {
  for (let at = index - 1; at >= 0; at--) {
    const line = lines[at] ?? '';
    if (line.trim() !== '' && indentOf(line) <= indent) return at;
  }
  return index;
}

function nameOf(header: string): string {
  const title = /^\s*\w+\.test\(\s*(['"`])(.*?)\1/.exec(header)?.[2];
  if (title !== undefined) return `test "${title}"`;
  const declared =
    /\bfunction\*?\s+([\w$]+)/.exec(header) ??
    /\b(?:const|let)\s+([\w$]+)/.exec(header) ??
    /^\s*(?:(?:static|async|override|public|get|set|readonly)\s+)*\*?(#?[\w$]+)\s*[(<=]/.exec(
      header,
    );
  return declared?.[1] ?? header.trim();
}

export type Ratchet = Readonly<Record<string, number>>;

/** Functions over the limit; the ratchet lists old ones with their size, which may only shrink. */
export function functionRule(sources: readonly SourceText[], ratchet: Ratchet): readonly Problem[] {
  const problems: Problem[] = [];
  const seen = new Set<string>();
  for (const source of sources)
    for (const span of functionsOf(source)) {
      const key = `${source.path}#${span.name}`;
      const allowed = ratchet[key];
      const add = (message: string) =>
        problems.push(problem(source.path, span.line, 'function-length', message));
      if (span.lineCount <= FUNCTION_LINES_MAX) continue;
      seen.add(key);
      const size = `${span.name} has ${span.lineCount} lines`;
      if (allowed === undefined) add(`${size}, at most ${FUNCTION_LINES_MAX}`);
      else if (span.lineCount > allowed) add(`${size}, the ratchet allows ${allowed}`);
      else if (span.lineCount < allowed) add(`${size}: lower its ratchet from ${allowed}`);
    }
  for (const key of Object.keys(ratchet))
    if (!seen.has(key))
      problems.push(
        problem('tools/tidy-ratchet.json', 1, 'function-length', `${key} is short now: remove it`),
      );
  return problems;
}

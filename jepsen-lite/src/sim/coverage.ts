/**
 * Which lines of the product a set of seeds has run, from V8's own counts: the union over all
 * worker processes, mapped back to the TypeScript lines through the source maps.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { SourceMap, type SourceMapPayload } from 'node:module';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

interface RangeCount {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly count: number;
}

interface ScriptCoverage {
  readonly url: string;
  readonly functions: readonly { readonly ranges: readonly RangeCount[] }[];
}

export interface FileCoverage {
  readonly file: string;
  readonly lineCount: number;
  readonly coveredCount: number;
  /** Lines of code that no seed ran. */
  readonly missed: readonly number[];
}

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));

/** What a running simulated node is made of. */
const FOLDERS = [
  'packages/raft/dist/src',
  'packages/storage/dist/src',
  'packages/node/dist/src/replica',
  'packages/node/dist/src/state',
] as const;

/** Files of those folders that no simulated node runs, and why. */
export const LEFT_OUT: readonly (readonly [pattern: RegExp, reason: string])[] = [
  [/\/testing\//, 'test doubles'],
  [/storage\/dist\/src\/(inspect|fsck)\.js$/, 'tools of an operator'],
  [/storage\/dist\/src\/(node-fs|data-lock|process-table|data-directory)\.js$/, 'the real system'],
  [/storage\/dist\/src\/atomic-(json|file)\.js$/, 'used when a node is formatted'],
  [/wal\/(thread-|wal-worker|shared-ring|zero-filler)/, 'the log thread; the simulator has none'],
  [/\/index\.js$/, 'names only'],
];

/** `directory` holds what NODE_V8_COVERAGE wrote. */
export function coverageOf(directory: string): readonly FileCoverage[] {
  const scripts = new Map<string, ScriptCoverage[]>();
  for (const name of readdirSync(directory)) {
    const page = JSON.parse(readFileSync(join(directory, name), 'utf8')) as {
      readonly result: readonly ScriptCoverage[];
    };
    for (const script of page.result) {
      if (!script.url.startsWith('file:')) continue;
      const path = relative(ROOT, fileURLToPath(script.url));
      scripts.set(path, [...(scripts.get(path) ?? []), script]);
    }
  }
  return wantedFiles().map((path) => fileCoverage(path, scripts.get(path) ?? []));
}

function wantedFiles(): readonly string[] {
  const files: string[] = [];
  for (const folder of FOLDERS) {
    for (const name of readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })) {
      const path = `${folder}/${name}`;
      if (path.endsWith('.js') && !LEFT_OUT.some(([pattern]) => pattern.test(path)))
        files.push(path);
    }
  }
  return files.sort();
}

function fileCoverage(path: string, scripts: readonly ScriptCoverage[]): FileCoverage {
  const text = readFileSync(join(ROOT, path), 'utf8');
  const counted = new Uint8Array(text.length);
  for (const script of scripts) markRun(script, counted);
  const lines = new Map<number, boolean>();
  const sourceLine = sourceLines(join(ROOT, path));
  let offset = 0;
  for (const [number, line] of text.split('\n').entries()) {
    const start = offset + (line.length - line.trimStart().length);
    offset += line.length + 1;
    if (!isCode(line)) continue;
    const source = sourceLine(number, start - (offset - line.length - 1));
    const isRun = counted.subarray(start, offset - 1).includes(1);
    lines.set(source, (lines.get(source) ?? false) || isRun);
  }
  const missed = [...lines].filter(([, isRun]) => !isRun).map(([line]) => line);
  return {
    file: path.replace('/dist/', '/').replace(/\.js$/, '.ts'),
    lineCount: lines.size,
    coveredCount: lines.size - missed.length,
    missed: missed.sort((left, right) => left - right),
  };
}

/** Inner ranges come after the ones that hold them, and count by themselves. */
function markRun(script: ScriptCoverage, counted: Uint8Array): void {
  const own = new Uint8Array(counted.length);
  for (const { ranges } of script.functions)
    for (const { startOffset, endOffset, count } of ranges)
      own.fill(count > 0 ? 1 : 0, startOffset, endOffset);
  for (let i = 0; i < own.length; i++) if (own[i] === 1) counted[i] = 1;
}

/** Comments, blank lines, lone brackets and declarations without effect are no code. */
const isCode = (line: string): boolean =>
  !/^\s*(?:$|\/\/|\/\*|\*|[\])};,\s]+$|import\b|export \{)/.test(line);

function sourceLines(path: string): (line: number, column: number) => number {
  if (!existsSync(`${path}.map`)) return (line) => line + 1;
  const payload = JSON.parse(readFileSync(`${path}.map`, 'utf8')) as SourceMapPayload;
  const map = new SourceMap(payload);
  return (line, column) => {
    const entry = map.findEntry(line, column);
    return 'originalLine' in entry ? entry.originalLine + 1 : line + 1;
  };
}

export function coverageTable(files: readonly FileCoverage[]): readonly string[] {
  const lines: string[] = [''];
  const percent = (covered: number, all: number): string =>
    `${((100 * covered) / Math.max(1, all)).toFixed(1).padStart(5)} %`;
  const sum = (list: readonly FileCoverage[], key: 'lineCount' | 'coveredCount'): number =>
    list.reduce((total, file) => total + file[key], 0);
  for (const { file, lineCount, coveredCount, missed } of files) {
    const missing = missed.length === 0 ? '' : `  missed ${shorten(missed)}`;
    lines.push(`${percent(coveredCount, lineCount)}  ${file}${missing}`);
  }
  lines.push('');
  for (const folder of FOLDERS.map((path) => path.replace('/dist/', '/'))) {
    const own = files.filter(({ file }) => file.startsWith(`${folder}/`));
    lines.push(`${percent(sum(own, 'coveredCount'), sum(own, 'lineCount'))}  ${folder}`);
  }
  lines.push(`${percent(sum(files, 'coveredCount'), sum(files, 'lineCount'))}  all of them`);
  return lines;
}

/** 3-5, 9, 12-14 and so on, cut after some. */
function shorten(numbers: readonly number[]): string {
  const spans: string[] = [];
  for (let i = 0; i < numbers.length; ) {
    let end = i;
    while (numbers[end + 1] === numbers[end]! + 1) end += 1;
    spans.push(end === i ? `${numbers[i]}` : `${numbers[i]}-${numbers[end]}`);
    i = end + 1;
  }
  return spans.length > 12 ? `${spans.slice(0, 12).join(', ')}, ...` : spans.join(', ');
}

/**
 * Reads runs back, also those whose harness died: a run without verdicts has not ended, a torn last
 * line of a history is left out and said. A directory that is no run is said to be unreadable and
 * why; it does not keep the others from being listed.
 */
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { StringDecoder } from 'node:string_decoder';
import type { Verdict } from '../checker/verdict.ts';
import type { HistoryEvent } from '../history.ts';
import { parseLine } from './history-lines.ts';
import { isRecord, parseRunFacts, type RunFacts } from './run-facts.ts';
import type { RunSummary } from './run-summary.ts';
import { STORED_EVENT_COUNT_MAX } from './run-writer.ts';
import { parseSeries, type Series } from './series.ts';

/** A run as the list shows it. */
export interface ListedRun {
  readonly kind: 'run';
  /** Name of the directory in the store. */
  readonly name: string;
  readonly facts: RunFacts;
  /** Null: the run has not ended, or never will. */
  readonly verdicts: Readonly<Record<string, Verdict>> | null;
  readonly summary: RunSummary | null;
  readonly hasTimeline: boolean;
}

export interface UnreadableRun {
  readonly kind: 'unreadable';
  readonly name: string;
  readonly reason: string;
}

export interface StoredHistory {
  readonly events: readonly HistoryEvent[];
  /** The last line was cut off; its event is not among `events`. */
  readonly isTorn: boolean;
}

export interface StoredRun {
  readonly directory: string;
  readonly listed: ListedRun;
  readonly history: StoredHistory;
  readonly series: readonly Series[];
  /** Paths relative to the directory, for links. */
  readonly fileNames: readonly string[];
}

const CHUNK_SIZE_BYTES = 4 << 20;
/** A line is one operation; the longest is a final read of all elements. */
const LINE_LENGTH_MAX = 64 << 20;

/** Directories of the store, newest first. */
export function listRuns(storeDirectory: string): readonly (ListedRun | UnreadableRun)[] {
  if (!existsSync(storeDirectory)) return [];
  return readdirSync(storeDirectory, { withFileTypes: true })
    .filter((item) => item.isDirectory())
    .map(({ name }) => name)
    .sort((left, right) => (left < right ? 1 : -1))
    .map((name) => listRun(storeDirectory, name));
}

export function listRun(storeDirectory: string, name: string): ListedRun | UnreadableRun {
  const directory = join(storeDirectory, name);
  const unreadable = (reason: string): UnreadableRun => ({ kind: 'unreadable', name, reason });
  const facts = readJsonFile(join(directory, 'run.json'), parseRunFacts);
  if (facts === 'missing') return unreadable('no run.json');
  if (facts === 'unreadable') return unreadable('run.json is not of this version, or damaged');
  const judged = readJsonFile(join(directory, 'verdicts.json'), parseVerdicts);
  if (judged === 'unreadable') return unreadable('verdicts.json is damaged');
  return {
    kind: 'run',
    name,
    facts,
    verdicts: judged === 'missing' ? null : judged.verdicts,
    summary: judged === 'missing' ? null : judged.summary,
    hasTimeline: existsSync(join(directory, 'timeline.html')),
  };
}

/**
 * The whole run.
 * @throws Error naming the file, when something before the end of the history is no event
 */
export function readRun(storeDirectory: string, name: string): StoredRun {
  const listed = listRun(storeDirectory, name);
  const directory = join(storeDirectory, name);
  if (listed.kind === 'unreadable') throw new Error(`${directory}: ${listed.reason}`);
  const series = readJsonFile(join(directory, 'series.json'), parseSeries);
  if (series === 'unreadable') throw new Error(`${join(directory, 'series.json')} is damaged`);
  return {
    directory,
    listed,
    history: readHistory(join(directory, 'history.jsonl')),
    series: series === 'missing' ? [] : series,
    fileNames: fileNamesOf(directory),
  };
}

/** @throws Error naming file and line, when a line that is not the torn last one is no event */
export function readHistory(path: string): StoredHistory {
  const events: HistoryEvent[] = [];
  let lineNumber = 0;
  let isTorn = false;
  for (const { text, isEnded } of linesOf(path)) {
    lineNumber += 1;
    if (!isEnded) {
      isTorn = true;
      continue;
    }
    const event = parseLine(text);
    if (event === null) throw new Error(`${path}:${lineNumber}: not an event of a history`);
    if (events.length >= STORED_EVENT_COUNT_MAX) throw new Error(`${path}: too many events`);
    events.push(event);
  }
  return { events, isTorn };
}

interface Line {
  readonly text: string;
  /** False for the last one, when it was cut off. */
  readonly isEnded: boolean;
}

/** In pieces: a long history is longer than a string may be. */
function* linesOf(path: string): Generator<Line> {
  const descriptor = openSync(path, 'r');
  const chunk = new Uint8Array(CHUNK_SIZE_BYTES);
  const decoder = new StringDecoder('utf8');
  let rest = '';
  try {
    for (;;) {
      const sizeBytes = readSync(descriptor, chunk, 0, chunk.length, null);
      if (sizeBytes === 0) break;
      const parts = (rest + decoder.write(Buffer.from(chunk.subarray(0, sizeBytes)))).split('\n');
      rest = parts.pop() ?? '';
      if (rest.length > LINE_LENGTH_MAX) throw new Error(`${path}: a line has no end`);
      for (const text of parts) yield { text, isEnded: true };
    }
    rest += decoder.end();
    if (rest !== '') yield { text: rest, isEnded: false };
  } finally {
    closeSync(descriptor);
  }
}

function readJsonFile<Content>(
  path: string,
  parse: (value: unknown) => Content | null,
): Content | 'missing' | 'unreadable' {
  if (!existsSync(path)) return 'missing';
  try {
    return parse(JSON.parse(readFileSync(path, 'utf8'))) ?? 'unreadable';
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return 'unreadable';
    throw thrown;
  }
}

function parseVerdicts(
  value: unknown,
): { verdicts: Readonly<Record<string, Verdict>>; summary: RunSummary } | null {
  if (!isRecord(value) || value.formatVersion !== 1) return null;
  if (!isRecord(value.verdicts) || !Object.values(value.verdicts).every(isVerdict)) return null;
  if (!isSummary(value.summary)) return null;
  return {
    verdicts: value.verdicts as Readonly<Record<string, Verdict>>,
    summary: value.summary as unknown as RunSummary,
  };
}

function isVerdict(value: unknown): boolean {
  if (!isRecord(value)) return false;
  switch (value.kind) {
    case 'valid':
      return isRecord(value.summary);
    case 'unknown':
      return typeof value.reason === 'string';
    case 'invalid':
      return typeof value.reason === 'string' && Array.isArray(value.examples);
    default:
      return false;
  }
}

const SUMMARY_COUNTS = [
  'okCount',
  'failCount',
  'infoCount',
  'installedFaultCount',
  'skippedFaultCount',
  'lastEventMs',
] as const;

function isSummary(value: unknown): boolean {
  if (!isRecord(value)) return false;
  const gapMs = value.longestWriteGapMs;
  const hasGap = gapMs === null || typeof gapMs === 'number';
  return hasGap && SUMMARY_COUNTS.every((name) => typeof value[name] === 'number');
}

function fileNamesOf(directory: string): readonly string[] {
  const names: string[] = [];
  for (const item of readdirSync(directory, { withFileTypes: true })) {
    if (item.isFile()) names.push(item.name);
    if (!item.isDirectory()) continue;
    if (item.name === 'data') names.push('data/');
    if (item.name !== 'logs') continue;
    for (const log of readdirSync(join(directory, 'logs'))) names.push(`logs/${log}`);
  }
  return names.filter((name) => !name.endsWith('.part') && name !== 'timeline.html').sort();
}

/**
 * From what a person asks for (the newest state, an index, a time) to the index where the replay
 * ends. A time means: the last entry whose log time is not after it. It is found by halving over
 * the chunks, with some twenty of them read, however long the archive is.
 */
import type { LogIndex } from '@holdfast/base';
import { HoldfastError, logIndex, term, unreachable } from '@holdfast/base';
import type { LogGap, TimelineParent } from '@holdfast/storage';
import { archiveCorrupt, logTimeMs } from '@holdfast/storage';
import type { TimelineSpan } from './archive-history.ts';
import type { ArchiveStore, LogObject } from './archive-store.ts';
import { endOf, linkOf } from './archive-store.ts';
import { knownAt } from './archive-walk.ts';
import { entryTimestampMs } from './entry-time.ts';

export type RestoreTarget =
  | { readonly kind: 'latest' }
  | { readonly kind: 'index'; readonly index: number }
  /** Milliseconds since the Unix epoch, on the clock of the leaders: log time. */
  | { readonly kind: 'time'; readonly timestampMs: number };

/** The kinds, where a target is stored. */
export const TARGET_KIND_PATTERN = /^(latest|index|time)$/;

export interface ResolvedTarget {
  readonly index: LogIndex;
  /** Log time there; null for an index that nobody had to look up. */
  readonly timestampMs: number | null;
  /** Nothing is archived behind it; for a time: it may be later than what was archived. */
  readonly isAtEnd: boolean;
}

/** Where the archive of a history ends. */
export interface ArchiveEnd {
  readonly index: LogIndex;
  readonly timestampMs: number;
}

/** The end of the last object; the beginning of the timeline when there is none. */
export async function archiveEnd(spans: readonly TimelineSpan[]): Promise<ArchiveEnd> {
  for (const span of [...spans].reverse()) {
    const object = await lastObject(span);
    if (object === null) continue;
    const { index, timestampMs } = endOf(object);
    const through = span.throughIndex ?? index;
    if (index < through) return { index, timestampMs };
    if (index === through) return { index, timestampMs };
    return { index: through, timestampMs: timeAt(object, through) };
  }
  return { index: logIndex(0), timestampMs: 0 };
}

/**
 * @throws HoldfastError RESTORE_TARGET naming what can be reached, ARCHIVE_GAP when nobody can say
 *   which entry it is, BACKUP_CORRUPT
 */
export async function resolveTarget(
  spans: readonly TimelineSpan[],
  target: RestoreTarget,
): Promise<ResolvedTarget> {
  const end = await archiveEnd(spans);
  switch (target.kind) {
    case 'latest':
      return { ...end, isAtEnd: true };
    case 'index':
      if (target.index > end.index) throw beyondEnd(target.index, end);
      if (!Number.isSafeInteger(target.index) || target.index < 0) throw noIndex(target.index);
      return {
        index: logIndex(target.index),
        timestampMs: null,
        isAtEnd: target.index === end.index,
      };
    case 'time':
      return resolveTime(spans, target.timestampMs, end);
    default:
      return unreachable(target);
  }
}

async function resolveTime(
  spans: readonly TimelineSpan[],
  timestampMs: number,
  end: ArchiveEnd,
): Promise<ResolvedTarget> {
  for (const span of [...spans].reverse()) {
    const found = await lastBegunBy(span, timestampMs);
    if (found === null) continue;
    if (found.kind === 'gap') throw timeInGap(found, timestampMs);
    const through = span.throughIndex ?? Number.MAX_SAFE_INTEGER;
    let { index, timestampMs: timeMs } = { index: 0, timestampMs: 0 };
    let atMs = found.header.timestampBeforeMs;
    for (const entry of found.entries) {
      atMs = logTimeMs(atMs, entryTimestampMs(entry));
      if (atMs > timestampMs || entry.index > through) break;
      index = entry.index;
      timeMs = atMs;
    }
    await refuseBehindGap(span.store, found, index, timestampMs);
    if (index === found.header.lastIndex) await refuseHoleBehind(span, index, timestampMs);
    return { index: logIndex(index), timestampMs: timeMs, isAtEnd: index === end.index };
  }
  throw await beforeBeginning(spans, timestampMs);
}

/**
 * The entry at `index` as the history knows it: what a new timeline that leaves it there names.
 * @throws HoldfastError RESTORE_TARGET, ARCHIVE_GAP (nothing is known of it), BACKUP_CORRUPT
 */
export async function pointAt(
  spans: readonly TimelineSpan[],
  index: LogIndex,
): Promise<TimelineParent> {
  const span = [...spans].reverse().find(({ afterIndex }) => index > afterIndex);
  const firstIndex = await span?.store.lastLogIndex(index, index);
  if (span === undefined || firstIndex === undefined || firstIndex === null) {
    throw noIndex(index);
  }
  const object = await mustRead(span.store, firstIndex);
  const known = knownAt(object, index);
  if (known === null) {
    if (object.kind === 'gap') throw gapRefusal(object, `nothing is known of index ${index}`);
    throw beyondEnd(index, endOf(object));
  }
  const { clusterId, timeline } = span.store;
  const timestampMs = timeAt(object, index);
  return { clusterId, timeline, index, term: term(known.term), sum: known.sum, timestampMs };
}

/** The last object of the span whose first entry is not later than `timestampMs`. */
async function lastBegunBy(span: TimelineSpan, timestampMs: number): Promise<LogObject | null> {
  const { store } = span;
  const newest = await lastObject(span);
  if (newest === null) return null;
  let low = span.afterIndex + 1;
  let high: number = linkOf(newest).firstIndex;
  let best: LogObject | null = null;
  while (low <= high) {
    const middle = low + Math.floor((high - low) / 2);
    const firstIndex = await store.lastLogIndex(middle, middle);
    if (firstIndex === null) {
      low = middle + 1;
      continue;
    }
    const object = await mustRead(store, firstIndex);
    if (beginMs(object) <= timestampMs) {
      best = object;
      low = Math.max(middle, endOf(object).index) + 1;
    } else {
      high = firstIndex - 1;
    }
  }
  return best;
}

const beginMs = (object: LogObject): number =>
  object.kind === 'gap' ? object.timestampBeforeMs : object.header.firstTimestampMs;

/**
 * Entries without a stamp behind a gap have the log time before it, but what is lost was before
 * them and may be later than the target.
 */
async function refuseBehindGap(
  store: ArchiveStore,
  found: Extract<LogObject, { kind: 'chunk' }>,
  index: number,
  timestampMs: number,
): Promise<void> {
  const isStamped = (object: typeof found): boolean =>
    object.entries.some((entry) => entry.index <= index && entryTimestampMs(entry) !== null);
  let present: LogObject = found;
  while (present.kind === 'chunk' && !isStamped(present)) {
    const { firstIndex } = present.header;
    const before = firstIndex <= 1 ? null : await store.lastLogIndex(firstIndex, firstIndex - 1);
    if (before === null) return;
    present = await mustRead(store, before);
    const { index: endIndex } = endOf(present);
    if (endIndex < firstIndex - 1) throw timeInHole(endIndex + 1, firstIndex - 1, timestampMs);
  }
  if (present.kind === 'gap') throw timeInGap(present, timestampMs);
}

/** Entries that are not there any more may be of the time that is asked for. */
async function refuseHoleBehind(
  { store, throughIndex }: TimelineSpan,
  index: number,
  timestampMs: number,
): Promise<void> {
  const next = (await store.firstLogIndexAfter(index)) ?? throughIndex;
  const last = Math.min(next ?? index, (throughIndex ?? Number.MAX_SAFE_INTEGER) + 1) - 1;
  if (last > index) throw timeInHole(index + 1, last, timestampMs);
}

async function lastObject({ afterIndex, store, throughIndex }: TimelineSpan) {
  const atMost = throughIndex ?? Number.MAX_SAFE_INTEGER;
  const near = throughIndex ?? afterIndex;
  const firstIndex = await store.lastLogIndex(near, atMost);
  return firstIndex === null ? null : mustRead(store, firstIndex);
}

async function mustRead(store: ArchiveStore, firstIndex: number): Promise<LogObject> {
  const object = await store.readLogObject(firstIndex);
  if (object !== null) return object;
  throw archiveCorrupt(store.logKey(firstIndex), firstIndex, 'it was listed and is gone');
}

function timeAt(object: LogObject, index: number): number {
  if (object.kind === 'gap') return object.timestampBeforeMs;
  let atMs = object.header.timestampBeforeMs;
  for (const entry of object.entries) {
    if (entry.index > index) break;
    atMs = logTimeMs(atMs, entryTimestampMs(entry));
  }
  return atMs;
}

/** The entries of a gap, and how to get around it. */
export function gapRefusal(gap: LogGap, what: string): HoldfastError {
  const { firstIndex, lastIndex, reason } = gap;
  const through = firstIndex - 1;
  return new HoldfastError(
    'ARCHIVE_GAP',
    `${what}: entries ${firstIndex} to ${lastIndex} of timeline ${gap.timeline} never reached ` +
      `the archive (${reason}); choose a target up to index ${through}, or one that a backup at ` +
      `index ${lastIndex} or later leads to`,
    {
      details: {
        ...{ firstIndex, lastIndex, reason, timeline: gap.timeline },
        reachableThrough: through,
        reachableFrom: lastIndex,
      },
    },
  );
}

const timeInGap = (gap: LogGap, timestampMs: number): HoldfastError =>
  gapRefusal(gap, `nobody can say what the last entry at ${isoTime(timestampMs)} was`);

const timeInHole = (firstIndex: number, lastIndex: number, timestampMs: number): HoldfastError =>
  new HoldfastError(
    'RESTORE_TARGET',
    `nobody can say what the last entry at ${isoTime(timestampMs)} was: entries ${firstIndex} to ` +
      `${lastIndex} are not in the archive (any more); choose another time, or an index or a ` +
      'backup by its id',
    { details: { firstIndex, lastIndex } },
  );

const beyondEnd = (index: number, end: ArchiveEnd): HoldfastError =>
  new HoldfastError(
    'RESTORE_TARGET',
    `the archive ends at index ${end.index} (${isoTime(end.timestampMs)}), index ${index} is not ` +
      'in it: choose one up to there, or latest',
    { details: { index, archivedIndex: end.index } },
  );

const noIndex = (index: number): HoldfastError =>
  new HoldfastError('RESTORE_TARGET', `the archive has no index ${index}: choose one that it has`);

async function beforeBeginning(
  spans: readonly TimelineSpan[],
  timestampMs: number,
): Promise<HoldfastError> {
  const asked = isoTime(timestampMs);
  for (const { afterIndex, store, throughIndex } of spans) {
    const firstIndex = await store.firstLogIndexAfter(afterIndex);
    if (firstIndex === null || firstIndex > (throughIndex ?? firstIndex)) continue;
    const object = await mustRead(store, firstIndex);
    const firstMs = beginMs(object);
    return new HoldfastError(
      'RESTORE_TARGET',
      `the archive begins at ${isoTime(firstMs)} with index ${firstIndex}, after ${asked}: ` +
        'choose a later time, or a backup by its id',
      { details: { firstIndex, firstTimestampMs: firstMs } },
    );
  }
  return new HoldfastError('RESTORE_TARGET', `nothing is archived yet: no entry is of ${asked}`);
}

/** Also of numbers that are no date. */
const isoTime = (timestampMs: number): string => {
  const date = new Date(timestampMs);
  return Number.isNaN(date.getTime()) ? `${timestampMs} ms` : date.toISOString();
};

/**
 * Reads the objects of a history in order, and lets nothing pass that does not continue what came
 * before: indexes without a hole, chain sums, terms, log time and hashes. Objects are fetched a few
 * ahead; memory holds that many.
 *
 * Overlaps are never written (see log-archiver.ts); if a store has some all the same, they
 * are taken when their contents agree, and refused when not.
 */
import type { Entry } from '@holdfast/base';
import { type HoldfastError, sumsEqual } from '@holdfast/base';
import type { ChainPoint, LogChunk } from '@holdfast/storage';
import { archiveCorrupt, checkFollows, startOfTimeline } from '@holdfast/storage';
import type { TimelineSpan } from './archive-history.ts';
import type { ArchiveStore, LogObject } from './archive-store.ts';
import { endOf, linkOf } from './archive-store.ts';

export interface ArchiveStep {
  readonly key: string;
  readonly object: LogObject;
  /** Those that belong to the history and were not part of an earlier step; none of a gap. */
  readonly entries: readonly Entry[];
}

/** Enough to hide the latency of a store; chunks have up to 4 MiB, seldom more. */
const FETCH_AHEAD_COUNT = 6;
const OVERLAPPING_CHUNK_COUNT_MAX = 64;

/** Told of entries that no object has; first and last index. Retention makes such holes. */
export type HoleListener = (firstIndex: number, lastIndex: number) => void;

/**
 * Objects from the one that covers `fromIndex` on, to `throughIndex` or the end. The first one is
 * believed where it begins, unless it is the first of the history: the caller knows what it
 * must continue.
 * Without `onHole` a hole is an error; with it the walk tells and goes on behind it.
 * @throws HoldfastError BACKUP_CORRUPT (as archiveCorrupt), whatever the sink throws
 */
export async function* walkArchive(
  spans: readonly TimelineSpan[],
  fromIndex: number,
  throughIndex: number,
  onHole?: HoleListener,
): AsyncGenerator<ArchiveStep, void, undefined> {
  let next = fromIndex;
  for (const span of spans) {
    const through = Math.min(throughIndex, span.throughIndex ?? Number.MAX_SAFE_INTEGER);
    if (through < next) continue;
    const walk = new SpanWalk(span, onHole ?? null);
    const first = Math.max(next, span.afterIndex + 1);
    for await (const { firstIndex, object } of fetchAhead(span.store, first, through)) {
      const step = walk.take(firstIndex, await object, first, through);
      if (step === null) continue;
      yield step;
      next = walk.nextIndex;
    }
    walk.checkComplete(first);
    next = Math.max(next, walk.nextIndex);
    if (span.throughIndex !== null && next <= through) {
      if (onHole === undefined) throw missing(span.store, next);
      onHole(next, through);
      next = through + 1;
    }
    walk.checkChild(spans[spans.indexOf(span) + 1]);
    next = Math.min(next, (span.throughIndex ?? next) + 1);
  }
}

interface Fetched {
  readonly firstIndex: number;
  readonly object: Promise<LogObject>;
}

/** Objects that cover first..through, in order of their keys. */
async function* fetchAhead(
  store: ArchiveStore,
  first: number,
  through: number,
): AsyncGenerator<Fetched, void, undefined> {
  const begin = await store.lastLogIndex(first, first);
  const queue: Fetched[] = [];
  for await (const firstIndex of store.logIndexesAfter((begin ?? first) - 1)) {
    if (firstIndex > through) break;
    const object = readPresent(store, firstIndex);
    // It is awaited in its turn; until then a failure is nobody's.
    object.catch(() => undefined);
    queue.push({ firstIndex, object });
    if (queue.length < FETCH_AHEAD_COUNT) continue;
    yield queue.shift() as Fetched;
  }
  yield* queue;
}

async function readPresent(store: ArchiveStore, firstIndex: number): Promise<LogObject> {
  const object = await store.readLogObject(firstIndex);
  if (object === null) throw missing(store, firstIndex);
  return object;
}

const missing = (store: ArchiveStore, index: number): HoldfastError =>
  archiveCorrupt(store.logKey(index), index, 'there is no such object in the archive');

/** The state of the walk within one timeline. */
class SpanWalk {
  readonly #span: TimelineSpan;
  /** Furthest end so far, and the hashes that the next object may continue. */
  #end: ChainPoint | null = null;
  #hashes: readonly Uint8Array[] = [];
  /** Chunks since the last one that overlapped nothing. */
  #recent: readonly LogChunk[] = [];
  readonly #onHole: HoleListener | null;

  constructor(span: TimelineSpan, onHole: HoleListener | null) {
    this.#span = span;
    this.#onHole = onHole;
  }

  get nextIndex(): number {
    return (this.#end?.index ?? this.#span.afterIndex) + 1;
  }

  /** Null when all of `object` was known before. */
  take(firstIndex: number, object: LogObject, from: number, through: number): ArchiveStep | null {
    const { store, timeline } = this.#span;
    const key = store.logKey(firstIndex);
    if (this.#end === null) this.#begin(firstIndex, startOfTimeline(timeline), from);
    const before: ChainPoint | null = this.#end;
    const newFrom = Math.max(from, (before?.index ?? firstIndex - 1) + 1);
    if (before === null) this.#reset(object);
    else if (firstIndex <= before.index) this.#overlap(object, key, before);
    else this.#follow(object, key, before);
    if (endOf(object).index < newFrom) return null;
    const entries =
      object.kind === 'gap'
        ? []
        : object.entries.filter(({ index }) => index >= newFrom && index <= through);
    return { key, object, entries };
  }

  /** Everything from `first` on was there. */
  checkComplete(first: number): void {
    // A newest timeline without any object of its own has simply no entries yet.
    if (this.#end !== null || this.#span.throughIndex !== null) return;
    if (first > this.#span.afterIndex + 1) this.#hole(first, first);
  }

  /** The child leaves this timeline at the entry that it names. */
  checkChild(child: TimelineSpan | undefined): void {
    const parent = child?.timeline.parent ?? null;
    if (child === undefined || parent === null || this.#end === null) return;
    const sum = this.#sumAt(parent.index);
    if (sum === null || sumsEqual(sum, parent.sum)) return;
    throw archiveCorrupt(
      child.store.logKey(parent.index + 1),
      parent.index + 1,
      `timeline ${child.timeline.timeline} leaves another history than this one`,
    );
  }

  #begin(firstIndex: number, start: ChainPoint, from: number): void {
    if (firstIndex > from) this.#hole(from, firstIndex - 1);
    if (firstIndex !== start.index + 1) return;
    this.#end = start;
    this.#hashes = [start.hash];
  }

  #follow(object: LogObject, key: string, before: ChainPoint): void {
    const link = linkOf(object);
    if (link.firstIndex > before.index + 1) {
      this.#hole(before.index + 1, link.firstIndex - 1);
    } else {
      const hash = this.#hashes.find((known) => sumsEqual(known, link.hashBefore));
      checkFollows(link, { ...before, hash: hash ?? before.hash }, key);
    }
    this.#reset(object);
  }

  #hole(firstIndex: number, lastIndex: number): void {
    if (this.#onHole === null) throw missing(this.#span.store, firstIndex);
    this.#onHole(firstIndex, lastIndex);
  }

  #reset(object: LogObject): void {
    this.#end = endOf(object);
    this.#hashes = [this.#end.hash];
    this.#recent = object.kind === 'chunk' ? [object] : [];
  }

  #overlap(object: LogObject, key: string, before: ChainPoint): void {
    const refuse = (index: number, what: string) => archiveCorrupt(key, index, what);
    const { firstIndex, sumBefore } = linkOf(object);
    if (object.kind === 'gap' || this.#recent.length >= OVERLAPPING_CHUNK_COUNT_MAX) {
      throw refuse(firstIndex, 'it overlaps what is archived before it');
    }
    const known = this.#sumAt(firstIndex - 1);
    if (known === null || !sumsEqual(known, sumBefore)) {
      throw refuse(firstIndex, 'it overlaps a chunk with another content');
    }
    for (const { index, sum } of object.entries) {
      const other = this.#sumAt(index);
      if (index > before.index) break;
      if (other === null || !sumsEqual(other, sum)) {
        throw refuse(index, 'it overlaps a chunk with another content');
      }
    }
    const end = endOf(object);
    if (end.index >= before.index) {
      this.#hashes = end.index > before.index ? [end.hash] : [...this.#hashes, end.hash];
      this.#end = end;
    }
    this.#recent = [...this.#recent, object];
  }

  #sumAt(index: number): Uint8Array | null {
    for (const { entries, header } of this.#recent) {
      if (index === header.firstIndex - 1) return header.sumBefore;
      const entry = entries[index - header.firstIndex];
      if (entry !== undefined) return entry.sum;
    }
    return null;
  }
}

/** Chain sum and term of `index`, as the first object that a walk meets knows them. */
export function knownAt(
  object: LogObject,
  index: number,
): { readonly sum: Uint8Array; readonly term: number } | null {
  const { firstIndex, sumBefore, termBefore } = linkOf(object);
  if (index === firstIndex - 1) return { sum: sumBefore, term: termBefore };
  const end = endOf(object);
  if (index === end.index) return { sum: end.sum, term: end.term };
  if (object.kind === 'gap') return null;
  return object.entries[index - firstIndex] ?? null;
}

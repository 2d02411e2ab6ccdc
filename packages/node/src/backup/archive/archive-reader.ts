/**
 * The archive as those see it who restore, verify or follow: one history over its timelines, in
 * order, every byte verified, and a refusal by name where something is missing.
 */
import type { Entry, LogIndex, Term } from '@holdfast/base';
import { HoldfastError, logIndex, sumsEqual } from '@holdfast/base';
import type { LogGap, TimelineParent } from '@holdfast/storage';
import { archiveCorrupt } from '@holdfast/storage';
import type { TimelineSpan } from './archive-history.ts';
import { readHistory } from './archive-history.ts';
import type { ArchiveStore } from './archive-store.ts';
import { endOf, linkOf } from './archive-store.ts';
import type { ArchiveEnd, ResolvedTarget, RestoreTarget } from './archive-target.ts';
import { archiveEnd, gapRefusal, pointAt, resolveTarget } from './archive-target.ts';
import { knownAt, walkArchive } from './archive-walk.ts';

/** Where a state that is to be continued stands: of a checkpoint, or of an applied entry. */
export interface ReplayStart {
  readonly index: LogIndex;
  readonly term: Term;
  readonly sum: Uint8Array;
}

export interface EntryBatch {
  /** Of the chunk they come from. */
  readonly key: string;
  /** In order, without a hole to the batch before; at least one. */
  readonly entries: readonly Entry[];
}

/** One object that would be read, as the listing tells it: nothing of it was verified. */
export interface ListedChunk {
  readonly key: string;
  readonly firstIndex: number;
}

export interface ArchiveReport {
  /** Null when nothing was there to be verified. */
  readonly firstIndex: number | null;
  /** The last index that was verified. */
  readonly lastIndex: number | null;
  readonly chunkCount: number;
  readonly entryCount: number;
  readonly gaps: readonly Pick<LogGap, 'firstIndex' | 'lastIndex' | 'reason' | 'timeline'>[];
  /** Entries that no object has, first to last; empty unless holes are allowed. */
  readonly holes: readonly { readonly firstIndex: number; readonly lastIndex: number }[];
  readonly firstBadIndex: number | null;
  readonly error: HoldfastError | null;
}

export class ArchiveReader {
  readonly #store: ArchiveStore;
  #spans: Promise<readonly TimelineSpan[]> | null = null;

  /** `store` is of the newest timeline; the others are found through it. */
  constructor(store: ArchiveStore) {
    this.#store = store;
  }

  /** Oldest first. Read once. @throws HoldfastError BACKUP_NOT_FOUND, BACKUP_CORRUPT */
  history(): Promise<readonly TimelineSpan[]> {
    this.#spans ??= readHistory(this.#store).catch((thrown: unknown) => {
      this.#spans = null;
      throw thrown;
    });
    return this.#spans;
  }

  async end(): Promise<ArchiveEnd> {
    return archiveEnd(await this.history());
  }

  /** As resolveTarget. Resolve first, then choose a backup at or before the index. */
  async resolve(target: RestoreTarget): Promise<ResolvedTarget> {
    return resolveTarget(await this.history(), target);
  }

  /** As pointAt: the entry where a restore leaves this history. */
  async pointAt(index: LogIndex): Promise<TimelineParent> {
    return pointAt(await this.history(), index);
  }

  /** Every gap of the history, ascending, from the copies that are kept for this. */
  async gaps(): Promise<readonly LogGap[]> {
    const gaps: LogGap[] = [];
    for (const { afterIndex, store, throughIndex } of await this.history()) {
      for (const gap of await store.gaps()) {
        const isShared = throughIndex === null || gap.firstIndex <= throughIndex;
        if (isShared && gap.lastIndex > afterIndex) gaps.push(gap);
      }
    }
    return gaps;
  }

  /** What covers (from, through], by listing alone: for plans and estimates. */
  async *chunks(from: LogIndex, through: LogIndex): AsyncGenerator<ListedChunk, void, undefined> {
    for (const { afterIndex, store, throughIndex } of await this.history()) {
      const last = Math.min(through, throughIndex ?? through);
      const first = Math.max(from, afterIndex) + 1;
      if (first > last) continue;
      const begin = (await store.lastLogIndex(first, first)) ?? first;
      for await (const firstIndex of store.logIndexesAfter(begin - 1)) {
        if (firstIndex > last) break;
        yield { key: store.logKey(firstIndex), firstIndex };
      }
    }
  }

  /**
   * The entries behind `from`, to `through` inclusive, or to the end of the archive as it is, in
   * order across timelines; complete or an error. The first one continues `from`, by its chain sum.
   * @throws HoldfastError BACKUP_CORRUPT naming key and index, ARCHIVE_GAP, RESTORE_TARGET when the
   *   archive ends before `through`
   */
  async *entries(
    from: ReplayStart,
    through: LogIndex | 'end',
  ): AsyncGenerator<EntryBatch, void, undefined> {
    const last = through === 'end' ? LAST_INDEX : through;
    if (last <= from.index) return;
    let next = from.index + 1;
    for await (const step of walkArchive(await this.history(), next, last)) {
      const { entries, key, object } = step;
      if (next === from.index + 1) refuseOther(from, step.key, knownAt(object, from.index));
      if (object.kind === 'gap') {
        const what =
          through === 'end'
            ? `the archive cannot be followed from index ${from.index} to its end`
            : `index ${through} cannot be reached from ${from.index}`;
        throw gapRefusal(object, what);
      }
      if (entries.length === 0) continue;
      next = (entries.at(-1)?.index ?? next) + 1;
      yield { key, entries };
    }
    if (through === 'end' || next > through) return;
    throw new HoldfastError(
      'RESTORE_TARGET',
      `the archive ends at index ${next - 1}, before ${through}: choose a target up to there`,
      { details: { archivedIndex: next - 1, index: through } },
    );
  }

  /**
   * Reads everything from `fromIndex` on (by default all there is) and tells the first bad index.
   * A hole is bad, unless holes are allowed: retention leaves some between what kept backups need,
   * and cannot be told from a loss.
   * @throws HoldfastError only when the archive cannot be read: SINK_*, BACKUP_KEY_WRONG,
   *   FORMAT_UNKNOWN
   */
  async verify(
    fromIndex?: LogIndex,
    { allowsHoles = false }: { readonly allowsHoles?: boolean } = {},
  ): Promise<ArchiveReport> {
    const holes: ArchiveReport['holes'][number][] = [];
    const onHole = (first: number, last: number): void => {
      holes.push({ firstIndex: first, lastIndex: last });
    };
    const gaps: ArchiveReport['gaps'][number][] = [];
    let firstIndex: number | null = null;
    let lastIndex: number | null = null;
    let [chunkCount, entryCount] = [0, 0];
    const report = (error: HoldfastError | null): ArchiveReport => {
      const index = error?.details.index;
      const firstBadIndex = typeof index === 'number' ? index : null;
      const counts = { chunkCount, entryCount };
      return { firstIndex, lastIndex, ...counts, gaps, holes, firstBadIndex, error };
    };
    try {
      const spans = await this.history();
      const from = fromIndex ?? (await firstArchived(spans));
      const walk = walkArchive(spans, from, LAST_INDEX, allowsHoles ? onHole : undefined);
      for await (const { entries, object } of walk) {
        firstIndex ??= Math.max(from, linkOf(object).firstIndex);
        lastIndex = object.kind === 'gap' ? endOf(object).index : (entries.at(-1)?.index ?? null);
        entryCount += entries.length;
        if (object.kind === 'chunk') chunkCount += 1;
        else gaps.push(object);
      }
    } catch (thrown) {
      if (!(thrown instanceof HoldfastError) || thrown.code !== 'BACKUP_CORRUPT') throw thrown;
      return report(thrown);
    }
    return report(null);
  }
}

const LAST_INDEX = Number.MAX_SAFE_INTEGER;

/** Older objects may have been removed by retention; what is left is verified. */
async function firstArchived(spans: readonly TimelineSpan[]): Promise<LogIndex> {
  for (const { afterIndex, store, throughIndex } of spans) {
    const firstIndex = await store.firstLogIndexAfter(afterIndex);
    if (firstIndex !== null && firstIndex <= (throughIndex ?? firstIndex)) {
      return logIndex(firstIndex);
    }
  }
  return logIndex(1);
}

function refuseOther(
  from: ReplayStart,
  key: string,
  known: { readonly sum: Uint8Array; readonly term: number } | null,
): void {
  // Inside a gap nothing is known, and the walk refuses to go on.
  if (known === null) return;
  if (known.term === from.term && sumsEqual(known.sum, from.sum)) return;
  throw archiveCorrupt(
    key,
    from.index,
    'the archive has another entry there than the backup that it should continue',
  );
}

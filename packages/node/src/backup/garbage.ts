/**
 * Which objects of a store nobody needs any more. Pure. When in doubt an object stays.
 *
 * Files: no manifest names them, and they are older than a day, so that a backup under way, whose
 * manifest is not there yet, keeps what it has sent. Chunks of the log: older than the retention of
 * the log, in no kept backup's range, and not on the way from a kept backup to what is kept.
 */
export const GARBAGE_AGE_MS = 24 * 3_600_000;

export interface AgedObject {
  readonly key: string;
  readonly modifiedMs: number;
}

/** Keys of files to remove. `named` holds the keys that manifests name. */
export function fileGarbage(
  objects: readonly AgedObject[],
  named: ReadonlySet<string>,
  nowMs: number,
): readonly string[] {
  return objects
    .filter(({ key, modifiedMs }) => !named.has(key) && nowMs - modifiedMs > GARBAGE_AGE_MS)
    .map(({ key }) => key);
}

export interface StoredChunk extends AgedObject {
  readonly firstIndex: number;
}

/** What is kept of one timeline. */
export interface KeptTimeline {
  readonly timeline: string;
  /** Where it leaves its parent; null for the first one. */
  readonly parent: { readonly timeline: string; readonly index: number } | null;
  /** Log indexes of the kept backups of this timeline. */
  readonly backupIndexes: readonly number[];
  /** First indexes of the chunks that kept backups name. */
  readonly namedChunks: ReadonlySet<number>;
  /** Ascending by first index, from the oldest on. */
  readonly chunks: readonly StoredChunk[];
  /** Others follow, of whatever age. */
  readonly hasMoreChunks: boolean;
}

/**
 * Keys of chunks to remove, over all timelines. A chunk ends where the next one begins; the end of
 * the newest one is not known, so it stays. Both times are compared as they are: a day's
 * difference between the two clocks moves the border by a day.
 */
export function logGarbage(
  timelines: readonly KeptTimeline[],
  retentionMs: number,
  nowMs: number,
): readonly string[] {
  const needs = new Map(timelines.map(({ timeline }) => [timeline, [] as Need[]]));
  for (const timeline of timelines) {
    const first = firstKeptIndex(timeline, retentionMs, nowMs);
    if (first !== null) addNeed(timelines, needs, timeline, first);
  }
  return timelines.flatMap((timeline) => {
    const needed = needs.get(timeline.timeline) ?? [];
    return timeline.chunks
      .filter((chunk, i) => {
        const next = timeline.chunks[i + 1];
        if (next === undefined || nowMs - chunk.modifiedMs <= retentionMs) return false;
        if (timeline.namedChunks.has(chunk.firstIndex)) return false;
        const lastIndex = next.firstIndex - 1;
        return !needed.some(({ after, upTo }) => lastIndex > after && chunk.firstIndex <= upTo);
      })
      .map(({ key }) => key);
  });
}

/** Entries (after, upTo] of a timeline lead from a backup to something that is kept. */
interface Need {
  readonly after: number;
  readonly upTo: number;
}

/**
 * What must stay reachable begins with the oldest chunk that is young. When none is, it is whatever
 * comes after the newest backup; null without chunks.
 */
function firstKeptIndex(
  { chunks, hasMoreChunks }: KeptTimeline,
  retentionMs: number,
  nowMs: number,
): number | null {
  const last = chunks.at(-1);
  if (last === undefined) return null;
  const young = chunks.find(({ modifiedMs }) => nowMs - modifiedMs <= retentionMs);
  if (young !== undefined) return young.firstIndex;
  return hasMoreChunks ? last.firstIndex : Number.MAX_SAFE_INTEGER;
}

/**
 * Makes `firstIndex` of `timeline` and all after it reachable: from the newest backup before it, or
 * from one of the timelines that it comes from.
 */
function addNeed(
  timelines: readonly KeptTimeline[],
  needs: ReadonlyMap<string, Need[]>,
  timeline: KeptTimeline,
  firstIndex: number,
): void {
  let current: KeptTimeline | undefined = timeline;
  let before = firstIndex - 1;
  let upTo = Number.MAX_SAFE_INTEGER;
  const seen = new Set<string>();
  while (current !== undefined && !seen.has(current.timeline)) {
    seen.add(current.timeline);
    const limit = before;
    const usable = current.backupIndexes.filter((index) => index <= limit);
    const after = usable.length === 0 ? 0 : Math.max(...usable);
    needs.get(current.timeline)?.push({ after, upTo });
    if (usable.length > 0) return;
    const { parent } = current as KeptTimeline;
    current = timelines.find((other) => other.timeline === parent?.timeline);
    before = Math.min(before, parent?.index ?? 0);
    upTo = parent?.index ?? 0;
  }
}

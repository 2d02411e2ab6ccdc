/** The archive of one sink as a backup sees it: which chunks belong to it. */
import { logIndex } from '@holdfast/base';
import { ArchiveReader } from './archive/archive-reader.ts';
import type { ArchiveStore } from './archive/archive-store.ts';
import { endOf } from './archive/archive-store.ts';
import type { ArchivedLog } from './make-backup.ts';

export const archivedLogIn = (storeOf: (timeline: string) => ArchiveStore): ArchivedLog => ({
  async cover(timeline, afterIndex, lastIndex) {
    const store = storeOf(timeline);
    if ((await store.readTimeline()) === null) return null;
    const reader = new ArchiveReader(store);
    // A gap stands in the place of a chunk.
    const isCut = (await reader.gaps()).some((gap) => {
      return gap.firstIndex <= lastIndex && gap.lastIndex > afterIndex;
    });
    if (isCut) return null;
    const chunks: number[] = [];
    const range = [logIndex(afterIndex), logIndex(lastIndex)] as const;
    for await (const chunk of reader.chunks(...range)) {
      // Entries of a parent are in the parent's own archive: a base is of the same timeline.
      if (chunk.key === store.logKey(chunk.firstIndex)) chunks.push(chunk.firstIndex);
    }
    const [first] = chunks;
    const last = chunks.at(-1);
    if (first === undefined || last === undefined || first > afterIndex + 1) return null;
    // Each begins where the one before ends: that was checked when they were put.
    const newest = await store.readLogObject(last);
    return newest !== null && endOf(newest).index >= lastIndex ? chunks : null;
  },
});

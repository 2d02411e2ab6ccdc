/** Bugs of segments, checkpoints and the letting go of dead rows. */
import type { Mutant } from './mutant.ts';

const SHARD = 'packages/shard-worker/dist/src';
const NODE = 'packages/node/dist/src';

export const SEGMENT_MUTANTS: readonly Mutant[] = [
  {
    id: 'failed-checkpoint-counts',
    bug: 'a segment that a failed checkpoint wrote is named by the next, after its file was removed',
    source: 'this project, before segments were merged',
    file: `${SHARD}/segment/checkpoint-writer.js`,
    find: 'segment.file = null;',
    replace: ';',
  },
  {
    id: 'checkpoint-sees-later-deaths',
    bug: 'a checkpoint written in steps holds tombstones of entries after it',
    source: 'fuzzy snapshots without a copy on write',
    file: `${SHARD}/segment/checkpoint-writer.js`,
    find: 'segment.tombstonePositions.slice(0, tombstoneCount)',
    replace: 'segment.tombstonePositions.slice()',
  },
  {
    id: 'merge-by-local-history',
    bug: 'whether segments are merged depends on when this process began to look',
    source: 'replicas that compact by local state diverge',
    file: `${SHARD}/segment/ledger.js`,
    find: '        // Any death may make it small, or too dead: ask again.\n        this.#mayMerge = true;',
    replace: '',
  },
  {
    id: 'compaction-drops-unwritten',
    bug: 'dead rows leave memory before the segment that holds them is on disk',
    source: 'log structured stores that drop before the flush',
    file: `${SHARD}/engine/row-compaction.js`,
    find: 'if (segment.isDurable)\n                continue;',
    replace: 'continue;',
  },
  {
    id: 'compaction-revives-rows',
    bug: 'a row that dies while rows are carried over stays in the id table',
    source: 'copying collectors without a write barrier',
    file: `${SHARD}/engine/row-compaction.js`,
    find: 'this.#ids.remove(newRow);',
    replace: '',
  },
  {
    id: 'stale-file-verifies',
    bug: 'a good but older file at the place of another passes verification',
    source: 'checksums stored with the data only',
    file: `${SHARD}/segment/references.js`,
    find: '=== file.checksum',
    replace: "!== ''",
  },
  {
    id: 'tombstones-by-memory',
    bug: 'tombstones name rows by their place in memory, not in the file',
    source: 'deletion vectors after a reload',
    file: `${SHARD}/segment/sealed-segment.js`,
    find: 'this.#positions === null ? i : this.#positions[i]',
    replace: 'i',
  },
  {
    id: 'damaged-root-stays-newest',
    bug: 'after a start from an older generation the damaged one is still offered to peers',
    source: 'fall-back without forgetting',
    file: `${NODE}/recovery/open-state.js`,
    find: 'roots.slice(age)',
    replace: 'roots',
  },
];

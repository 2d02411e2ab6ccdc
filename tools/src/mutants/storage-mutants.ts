/** Bugs of what is on disk. */
import type { Mutant } from './mutant.ts';

const WAL = 'packages/storage/dist/src/wal';

export const STORAGE_MUTANTS: readonly Mutant[] = [
  {
    id: 'batch-is-not-synced',
    bug: 'a batch counts as durable when it was written',
    source: 'ATC 2020, Can Applications Recover from fsync Failures?',
    file: `${WAL}/wal-writer.js`,
    find: 'handle.datasync();',
    replace: 'handle.sizeBytes();',
  },
  {
    id: 'write-after-failed-sync',
    bug: 'after a failed sync the log goes on, as if nothing was lost',
    source: 'rostam#94 (fsyncgate), canonical/raft#320',
    file: `${WAL}/wal-writer.js`,
    find: 'catch (error) {\n            this.#hasFailed = true;',
    replace: 'catch (error) {',
  },
  {
    id: 'recovered-tail-is-trusted',
    bug: 'what is read back at start is taken for durable without writing it again',
    source: 're-sync before trust; etcd#14098, etcd#14143 (lazyfs)',
    file: `${WAL}/recovery.js`,
    find: 'if (fileId === scan.last.fileId)\n                rewriteTail(handle, scan.last, options.fileSizeBytes);',
    replace: '',
  },
  {
    id: 'rename-is-not-synced',
    bug: 'a renamed file counts as durable before its directory is synced',
    source: 'etcd#14098, etcd#14143',
    file: 'packages/storage/dist/src/atomic-file.js',
    find: '    fileSystem.syncDirectory(parentDirectory(path));\n    return result;',
    replace: '    return result;',
  },
  {
    id: 'rename-before-content',
    bug: 'a file is renamed into place before its content is synced',
    source: 'etcd#14098, etcd#14143',
    file: 'packages/storage/dist/src/atomic-file.js',
    find: "failpoint('file.before-sync');\n            handle.sync();",
    replace: "failpoint('file.before-sync');",
  },
  {
    id: 'rot-is-cut-like-a-torn-tail',
    bug: 'a batch that is known to have been durable is cut off like an unfinished one',
    source: 'etcd#5230, etcd#6378, pebble#453, camunda#6098',
    file: `${WAL}/scan.js`,
    find: 'first !== undefined || this.#promised.batch >= pending.batch.header.batch;',
    replace: 'first !== undefined;',
  },
  {
    id: 'failed-append-is-swallowed',
    bug: 'an append that failed is dropped and the log goes on with the next',
    source: 'canonical/raft#320',
    file: `${WAL}/inline-wal.js`,
    find: 'if (!isBlockedError(error))\n                this.#fail(error);',
    replace: 'if (!isBlockedError(error))\n                this.#completions.length;',
  },
  {
    id: 'failed-sync-may-be-tried-again',
    bug: 'a sync that failed counts as something to try again',
    source: 'rostam#94 (fsyncgate)',
    file: 'packages/storage/dist/src/write-errors.js',
    find: '!FINAL_OPERATIONS.has(operation)',
    replace: 'operation !== undefined',
  },
  {
    id: 'refused-batch-is-sealed-anew',
    bug: 'a write that the disk refused is prepared a second time, under another number',
    source: 'own design: the same bytes in the same place',
    file: `${WAL}/wal-writer.js`,
    find: 'attempt.prepared ??= this.#prepare(attempt.payload);',
    replace: 'attempt.prepared = this.#prepare(attempt.payload);',
  },
];

// The writer alone, without the log in front of it that also remembers a failure.
import t from 'tap';
import { MemoryFileSystem } from '../src/testing/memory-fs.ts';
import { recoverWal } from '../src/wal/recovery.ts';
import { DEFAULT_WAL_OPTIONS } from '../src/wal/types.ts';
import { SMALL_WAL, WAL_DIRECTORY } from './support.ts';

for (const operation of ['sync'] as const)
  t.test(`after a failed ${operation} the writer touches the disk no more`, async (t) => {
    const fileSystem = new MemoryFileSystem();
    const options = { ...DEFAULT_WAL_OPTIONS, ...SMALL_WAL };
    const { writer } = recoverWal(fileSystem, WAL_DIRECTORY, options, { monotonicMs: () => 0 });
    writer.writeBatch(new Uint8Array(0));
    fileSystem.faults.add({ operation, fault: 'EIO' });
    t.throws(() => writer.writeBatch(new Uint8Array(0)), { code: 'WAL_IO' });
    const { operationCount } = fileSystem;
    t.throws(() => writer.writeBatch(new Uint8Array(0)), { name: 'InvariantViolation' });
    t.equal(writer.prepareNextFile(options.fileSizeBytes), false);
    writer.releaseFilesBelow(Number.MAX_SAFE_INTEGER);
    writer.close();
    t.equal(fileSystem.operationCount, operationCount);
  });

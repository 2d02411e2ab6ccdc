// The writer alone, without the log in front of it that also remembers a failure.
import { EMPTY_LOG_SUM } from '@holdfast/base';
import t from 'tap';
import { MemoryFileSystem } from '../src/testing/memory-fs.ts';
import { encodeAppend } from '../src/wal/append-frame.ts';
import { InlineWal } from '../src/wal/inline-wal.ts';
import { recoverWal } from '../src/wal/recovery.ts';
import type { WalOptions } from '../src/wal/types.ts';
import { DEFAULT_WAL_OPTIONS } from '../src/wal/types.ts';
import { GROUP_ONE, makeEntries, SMALL_WAL, WAL_DIRECTORY } from './support.ts';

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

function openWriter(options: Partial<WalOptions>) {
  const fileSystem = new MemoryFileSystem();
  const clock = { nowMs: 1_000, monotonicMs: () => clock.nowMs };
  const whole = { ...DEFAULT_WAL_OPTIONS, ...SMALL_WAL, ...options };
  const { writer } = recoverWal(fileSystem, WAL_DIRECTORY, whole, clock);
  writer.writeBatch(new Uint8Array(0));
  const syncsOf = (action: () => void): number => {
    const before = writer.stats.syncs;
    action();
    return writer.stats.syncs - before;
  };
  return { clock, fileSystem, options: whole, syncsOf, writer };
}

const ENTRIES = makeEntries(EMPTY_LOG_SUM, 1, 400, { sizeBytes: 200 });

function entry(index: number): Uint8Array {
  const nothing = { truncateFrom: null, snapshot: null, hardState: null };
  const entries = ENTRIES.slice(index - 1, index);
  return encodeAppend({ group: GROUP_ONE, entries, ...nothing, mustSync: true }, null).bytes;
}

t.test('a batch is synced by itself, unless the mode is an unsafe one', async (t) => {
  for (const [syncMode, count] of [
    ['group', 3],
    ['every_write', 3],
    ['batch', 0],
    ['none', 0],
  ] as const) {
    const { syncsOf, writer } = openWriter({ syncMode });
    const syncs = syncsOf(() => {
      for (const index of [1, 2, 3]) writer.writeBatch(entry(index));
    });
    t.equal(syncs, count, syncMode);
  }
});

t.test('in the mode batch a quiet log is synced when the interval is over', async (t) => {
  const { clock, syncsOf, writer } = openWriter({ syncMode: 'batch', syncIntervalMs: 100 });
  clock.nowMs += 30;
  t.equal(
    syncsOf(() => writer.writeBatch(entry(1))),
    0,
  );
  t.equal(writer.confirmAtMs, 1_100);
  clock.nowMs = 1_100;
  t.equal(
    syncsOf(() => writer.confirm()),
    1,
  );
  t.equal(writer.confirmAtMs, null);
});

for (const syncMode of ['batch', 'none'] as const) {
  t.test(`${syncMode}: what another file calls durable is synced before`, async (t) => {
    const { fileSystem, options, syncsOf, writer } = openWriter({ syncMode });
    writer.prepareNextFile(1);
    writer.writeBatch(entry(1));
    const prepare = (): void => {
      while (writer.prepareNextFile(options.fileSizeBytes));
    };
    t.ok(syncsOf(prepare) >= 1, 'the header of the next file names the newest batch');
    writer.writeBatch(entry(2));
    fileSystem.faults.add({ operation: 'sync', fault: 'ENOSPC' });
    t.throws(
      () => {
        for (let index = 3; index <= 400; index++) writer.writeBatch(entry(index));
      },
      { code: 'WAL_IO' },
      'a sync that failed is not tried again with the batch',
    );
    t.notOk(writer.isBlocked);
  });
}

t.test('in the mode every_write two appends of one turn are two batches', async (t) => {
  for (const [syncMode, count] of [
    ['every_write', 2],
    ['group', 1],
  ] as const) {
    const fileSystem = new MemoryFileSystem();
    const options = { ...SMALL_WAL, syncMode };
    const wal = InlineWal.open({ fileSystem, directory: WAL_DIRECTORY, options });
    const { batches } = wal.stats();
    const nothing = { truncateFrom: null, snapshot: null, hardState: null };
    for (const one of [0, 1]) {
      const entries = ENTRIES.slice(one, one + 1);
      wal.append({ group: GROUP_ONE, entries, ...nothing, mustSync: true });
    }
    wal.pump();
    t.equal(wal.stats().batches - batches, count, syncMode);
    await wal.close();
  }
});

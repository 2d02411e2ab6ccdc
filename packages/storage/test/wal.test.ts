/** The running log: group commit, reading back, rolling, compaction, failures. */
import type { HoldfastError } from '@holdfast/base';
import {
  EMPTY_LOG_SUM,
  InvariantViolation,
  logIndex,
  nodeId,
  SeededRandom,
  term,
} from '@holdfast/base';
import { randomConf } from '@holdfast/base/testing';
import fc from 'fast-check';
import t from 'tap';
import { MemoryFileSystem } from '../src/testing/memory-fs.ts';
import type { InlineWalOptions } from '../src/wal/inline-wal.ts';
import { InlineWal } from '../src/wal/inline-wal.ts';
import { decodeGroupSummary, encodeGroupSummary } from '../src/wal/record-payload.ts';
import type { WalOptions } from '../src/wal/types.ts';
import {
  describeLog,
  GROUP_ONE,
  GROUP_TWO,
  makeAppend,
  makeEntries,
  makeHardState,
  makeSnapshot,
  readAll,
  SMALL_WAL,
  sumAt,
  WAL_DIRECTORY,
} from './support.ts';

function openWal(
  fileSystem: MemoryFileSystem,
  options: Partial<WalOptions> = {},
  rest: Partial<InlineWalOptions> = {},
): { readonly wal: InlineWal; readonly durable: number[]; readonly failures: HoldfastError[] } {
  const wal = InlineWal.open({
    fileSystem,
    directory: WAL_DIRECTORY,
    options: { ...SMALL_WAL, ...options },
    ...rest,
  });
  const durable: number[] = [];
  const failures: HoldfastError[] = [];
  wal.onDurable((ticket) => durable.push(ticket));
  wal.onFailure((error) => failures.push(error));
  return { wal, durable, failures };
}

t.test('appends queued together cost one batch and one sync, and are told in order', async (t) => {
  const { wal, durable } = openWal(new MemoryFileSystem());
  const before = wal.stats();
  const entries = makeEntries(EMPTY_LOG_SUM, 1, 10);
  for (const entry of entries) wal.append(makeAppend({ entries: [entry] }));
  t.equal(wal.groupLog(GROUP_ONE).lastIndex(), 0, 'nothing is visible before it is durable');
  t.equal(wal.flush(), true);
  t.same(durable, [], 'flush makes durable and does not tell');
  wal.deliver();
  t.same(durable, [10]);
  t.equal(wal.stats().syncs - before.syncs, 1);
  t.same(readAll(wal.groupLog(GROUP_ONE)), entries);
  await wal.close();
});

t.test('a batch over the limit is split, and a single larger append is one batch', async (t) => {
  const { wal, durable } = openWal(new MemoryFileSystem(), { batchSizeBytesMax: 4096 });
  const entries = makeEntries(EMPTY_LOG_SUM, 1, 4, { sizeBytes: 2000 });
  for (const entry of entries) wal.append(makeAppend({ entries: [entry] }));
  const before = wal.stats().batches;
  wal.pump();
  t.equal(wal.stats().batches - before, 4);
  const large = makeEntries(sumAt(wal.groupLog(GROUP_ONE), 4), 5, 1, { sizeBytes: 100_000 });
  wal.append(makeAppend({ entries: large }));
  wal.pump();
  t.equal(durable.at(-1), 5);
  t.same(readAll(wal.groupLog(GROUP_ONE)), [...entries, ...large], 'also larger than a file');
  await wal.close();
});

t.test('everything is found again after a clean close, over many files', async (t) => {
  const fileSystem = new MemoryFileSystem();
  const first = openWal(fileSystem);
  const entries = makeEntries(EMPTY_LOG_SUM, 1, 120, { sizeBytes: 300 });
  first.wal.append(makeAppend({ hardState: makeHardState(3, 0) }));
  for (const entry of entries) {
    first.wal.append(makeAppend({ entries: [entry] }));
    first.wal.pump();
  }
  first.wal.append(makeAppend({ group: GROUP_TWO, hardState: makeHardState(9, 0, null) }));
  await first.wal.close();
  t.ok(fileSystem.list(WAL_DIRECTORY).filter((name) => name.endsWith('.wal')).length > 3);
  const { wal } = openWal(fileSystem);
  t.equal(wal.tornTail, null);
  t.same(wal.groups(), [GROUP_ONE, GROUP_TWO]);
  const log = wal.groupLog(GROUP_ONE);
  t.same(readAll(log), entries, 'old entries are read from the files, new ones from memory');
  t.same(log.hardState(), makeHardState(3, 0));
  t.same(wal.groupLog(GROUP_TWO).hardState(), makeHardState(9, 0, null));
  t.equal(log.term(logIndex(120)), 1);
  t.equal(log.term(logIndex(121)), 'unavailable');
  t.same(log.sum(logIndex(60)), entries[59]?.sum);
  await wal.close();
});

t.test('entries are cut by size but never empty', async (t) => {
  const { wal } = openWal(new MemoryFileSystem());
  const entries = makeEntries(EMPTY_LOG_SUM, 1, 20, { sizeBytes: 100 });
  wal.append(makeAppend({ entries }));
  wal.pump();
  const log = wal.groupLog(GROUP_ONE);
  const count = (low: number, high: number, size: number): number =>
    log.entries(logIndex(low), logIndex(high), size).length;
  t.equal(count(1, 21, 1), 1);
  t.equal(count(1, 21, 280), 2);
  t.equal(count(5, 5, 1000), 0);
  t.equal(count(3, 21, Number.MAX_SAFE_INTEGER), 18);
  t.throws(() => log.entries(logIndex(3), logIndex(22), 1), InvariantViolation);
  await wal.close();
});

t.test('truncation replaces the tail, also over a restart', async (t) => {
  const fileSystem = new MemoryFileSystem();
  const first = openWal(fileSystem);
  const entries = makeEntries(EMPTY_LOG_SUM, 1, 6);
  first.wal.append(makeAppend({ entries }));
  const replaced = makeEntries(entries[2]!.sum, 4, 2, { term: 2 });
  const hardState = makeHardState(2, 3);
  first.wal.append(makeAppend({ hardState, truncateFrom: logIndex(4), entries: replaced }));
  first.wal.pump();
  const expected = [...entries.slice(0, 3), ...replaced];
  t.same(readAll(first.wal.groupLog(GROUP_ONE)), expected);
  await first.wal.close();
  const { wal } = openWal(fileSystem);
  t.same(readAll(wal.groupLog(GROUP_ONE)), expected);
  t.same(wal.groupLog(GROUP_ONE).hardState(), hardState);
  await wal.close();
});

t.test('a snapshot restarts the log, and both survive a restart', async (t) => {
  const fileSystem = new MemoryFileSystem();
  const first = openWal(fileSystem);
  first.wal.append(makeAppend({ entries: makeEntries(EMPTY_LOG_SUM, 1, 6) }));
  const snapshot = makeSnapshot(50, 4, new Uint8Array(16).fill(7));
  const entries = makeEntries(snapshot.sum, 51, 3, { term: 4 });
  first.wal.append(makeAppend({ snapshot, entries, hardState: makeHardState(4, 50) }));
  first.wal.pump();
  await first.wal.close();
  const { wal } = openWal(fileSystem);
  const log = wal.groupLog(GROUP_ONE);
  t.same(log.snapshot(), snapshot);
  t.same(log.base(), { index: 50, term: 4, sum: snapshot.sum });
  t.same(readAll(log), entries);
  t.equal(log.term(logIndex(50)), 4);
  t.equal(log.term(logIndex(49)), 'compacted');
  t.equal(log.entries(logIndex(50), logIndex(52), 1000), 'compacted');
  await wal.close();
});

t.test('compaction hides entries at once and deletes files no group needs', async (t) => {
  const fileSystem = new MemoryFileSystem();
  const first = openWal(fileSystem);
  const { wal } = first;
  const log = wal.groupLog(GROUP_ONE);
  const other = makeEntries(EMPTY_LOG_SUM, 1, 1);
  wal.append(makeAppend({ group: GROUP_TWO, entries: other }));
  for (let index = 1; index <= 100; index++) {
    const entries = makeEntries(sumAt(log, index - 1), index, 1, { sizeBytes: 600 });
    wal.append(makeAppend({ entries, hardState: makeHardState(1, index - 1) }));
    wal.pump();
  }
  const filesBefore = fileSystem.list(WAL_DIRECTORY);
  const base = { index: logIndex(90), term: log.term(logIndex(90)) as never, sum: sumAt(log, 90) };
  wal.compact(GROUP_ONE, base);
  t.equal(log.firstIndex(), 91);
  t.equal(log.entries(logIndex(90), logIndex(92), 1000), 'compacted');
  wal.pump();
  t.same(fileSystem.list(WAL_DIRECTORY), filesBefore, 'group two still needs the first file');
  wal.compact(GROUP_TWO, { index: logIndex(1), term: other[0]!.term, sum: other[0]!.sum });
  wal.pump();
  t.ok(fileSystem.list(WAL_DIRECTORY).length < filesBefore.length - 2);
  const before = describeLog(log);
  await wal.close();
  const again = openWal(fileSystem);
  t.equal(describeLog(again.wal.groupLog(GROUP_ONE)), before);
  t.equal(again.wal.groupLog(GROUP_TWO).lastIndex(), 1);
  await again.wal.close();
});

t.test('a commit hint costs no sync, waits its turn, and rides with the next batch', async (t) => {
  const fileSystem = new MemoryFileSystem();
  const { wal, durable } = openWal(fileSystem);
  const entries = makeEntries(EMPTY_LOG_SUM, 1, 2);
  wal.append(makeAppend({ entries, hardState: makeHardState(1, 0) }));
  const hint = makeAppend({ hardState: makeHardState(1, 2), mustSync: false });
  wal.append(hint);
  wal.deliver();
  t.same(durable, [], 'it is behind an append that is not durable');
  wal.pump();
  t.same(durable, [2]);
  const { syncs } = wal.stats();
  wal.append(hint);
  wal.pump();
  t.same(durable, [2, 3]);
  t.equal(wal.stats().syncs, syncs);
  wal.append(makeAppend({ entries: makeEntries(entries[1]!.sum, 3, 1) }));
  wal.pump();
  t.same(wal.groupLog(GROUP_ONE).hardState(), makeHardState(1, 2));
  fileSystem.crash({ seed: 1, keepUnsynced: 'none' });
  const again = openWal(fileSystem);
  t.same(again.wal.groupLog(GROUP_ONE).hardState(), makeHardState(1, 2));
  await again.wal.close();
});

t.test('an append that breaks the rules of the log is refused before it is queued', async (t) => {
  const { wal } = openWal(new MemoryFileSystem());
  const entries = makeEntries(EMPTY_LOG_SUM, 1, 4);
  wal.append(makeAppend({ entries: entries.slice(0, 2), hardState: makeHardState(2, 1) }));
  const refused = [
    makeAppend({ entries: entries.slice(3) }),
    makeAppend({ entries: entries.slice(1) }),
    makeAppend({ truncateFrom: logIndex(4) }),
    makeAppend({ hardState: makeHardState(1, 0) }),
    makeAppend({ hardState: makeHardState(2, 3) }),
    makeAppend({ hardState: makeHardState(3, 0), mustSync: false }),
    makeAppend({ entries: entries.slice(2), mustSync: false }),
  ];
  for (const append of refused) t.throws(() => wal.append(append), InvariantViolation);
  wal.append(makeAppend({ entries: entries.slice(2) }));
  wal.pump();
  t.equal(wal.groupLog(GROUP_ONE).lastIndex(), 4);
  await wal.close();
});

t.test(
  'above the queue limit an append is refused with OVERLOADED and nothing is lost',
  async (t) => {
    const { wal, durable } = openWal(new MemoryFileSystem(), { queueSizeBytesMax: 1000 });
    const entries = makeEntries(EMPTY_LOG_SUM, 1, 3, { sizeBytes: 400 });
    wal.append(makeAppend({ entries: entries.slice(0, 1) }));
    const second = makeAppend({ entries: entries.slice(1) });
    t.throws(() => wal.append(second), { code: 'OVERLOADED' });
    wal.pump();
    t.equal(wal.append(second), 2);
    wal.pump();
    t.same(durable, [1, 2]);
    await wal.close();
  },
);

for (const fault of ['EIO', 'ENOSPC'] as const) {
  t.test(`a failed sync (${fault}) fails the log for good and is never retried`, async (t) => {
    const fileSystem = new MemoryFileSystem();
    const { wal, durable, failures } = openWal(fileSystem);
    const entries = makeEntries(EMPTY_LOG_SUM, 1, 3);
    wal.append(makeAppend({ entries: entries.slice(0, 1) }));
    wal.pump();
    fileSystem.faults.add({ operation: 'sync', fault });
    wal.append(makeAppend({ entries: entries.slice(1, 2) }));
    wal.pump();
    t.same(durable, [1]);
    t.match(failures, [{ code: 'WAL_IO' }]);
    const { operationCount } = fileSystem;
    wal.pump();
    t.throws(() => wal.append(makeAppend({ entries: entries.slice(2) })), { code: 'WAL_IO' });
    wal.deliver();
    await wal.close();
    t.equal(fileSystem.operationCount, operationCount, 'no write and no sync after the failure');
    t.same(durable, [1], 'nothing later is told durable');
    fileSystem.crash({ seed: 1, keepUnsynced: 'all' });
    const again = openWal(fileSystem);
    t.same(readAll(again.wal.groupLog(GROUP_ONE)), entries.slice(0, 1), 'the page was lost');
    await again.wal.close();
  });
}

t.test('an entry that rots after it was durable is named, not served', async (t) => {
  const fileSystem = new MemoryFileSystem();
  const { wal } = openWal(fileSystem, { cacheSizeBytesMax: 100 });
  const entries = makeEntries(EMPTY_LOG_SUM, 1, 9, { sizeBytes: 200 });
  wal.append(makeAppend({ entries }));
  wal.pump();
  const path = `${WAL_DIRECTORY}/0000000000000001.wal`;
  const size = fileSystem.sizeBytes(path);
  const bytes = new Uint8Array(size);
  fileSystem.open(path, 'read').read(bytes, 0);
  const position = Buffer.from(bytes).indexOf(Buffer.from(entries[3]!.data)) + 11;
  fileSystem.flipBit(path, position);
  const log = wal.groupLog(GROUP_ONE);
  const read = (low: number, high: number) => log.entries(logIndex(low), logIndex(high), 1 << 20);
  t.same(read(1, 4), entries.slice(0, 3));
  t.throws(() => read(1, 6), { code: 'WAL_CORRUPT', details: { file: path, index: 4 } });
  t.same(read(5, 10), entries.slice(4));
  await wal.close();
});

t.test('after close nothing is taken', async (t) => {
  const { wal } = openWal(new MemoryFileSystem());
  await wal.close();
  await wal.close();
  t.throws(() => wal.append(makeAppend({})), { code: 'SHUTTING_DOWN' });
});

t.test('with a schedule the log asks for its own turns', async (t) => {
  const tasks: (() => void)[] = [];
  const rest = { schedule: (task: () => void) => tasks.push(task) };
  const { wal, durable } = openWal(new MemoryFileSystem(), {}, rest);
  const entries = makeEntries(EMPTY_LOG_SUM, 1, 2);
  for (const entry of entries) wal.append(makeAppend({ entries: [entry] }));
  t.equal(tasks.length, 1);
  tasks.shift()?.();
  t.same(durable, [2]);
  wal.append(makeAppend({ mustSync: false }));
  t.equal(tasks.length, 1);
  tasks.shift()?.();
  t.same(durable, [2, 3]);
  t.equal(wal.hasWork, false);
  await wal.close();
});

t.test('while the disk stands still nothing is told and no later batch is written', async (t) => {
  const fileSystem = new MemoryFileSystem();
  const tasks: { readonly task: () => void; readonly delayMs: number }[] = [];
  const { wal, durable } = openWal(
    fileSystem,
    {},
    {
      schedule: (task, delayMs) => tasks.push({ task, delayMs }),
      takeStallMs: () => fileSystem.faults.takeStallMs(),
    },
  );
  fileSystem.faults.add({ operation: 'sync', fault: 'stall', stallMs: 300 });
  const entries = makeEntries(EMPTY_LOG_SUM, 1, 2);
  wal.append(makeAppend({ entries: entries.slice(0, 1) }));
  tasks.shift()!.task();
  const { batches } = wal.stats();
  wal.append(makeAppend({ entries: entries.slice(1) }));
  t.match(tasks, [{ delayMs: 300 }]);
  t.same(durable, []);
  t.equal(wal.stats().batches, batches);
  tasks.shift()!.task();
  t.same(durable, [1, 2]);
  t.same(tasks, []);
  await wal.close();
});

t.test('the state of a group reads back as written, and no cut of it does', async (t) => {
  const node = fc.stringMatching(/^[a-zA-Z0-9][a-zA-Z0-9._-]{0,10}$/).map(nodeId);
  const index = fc.maxSafeNat().map(logIndex);
  const inTerm = fc.maxSafeNat().map(term);
  const sum = fc.uint8Array({ minLength: 16, maxLength: 16 });
  const base = fc.record({ index, term: inTerm, sum });
  const conf = fc.nat().map((seed) => randomConf(new SeededRandom(seed)));
  const rest = { conf, confIndex: index, id: fc.string() };
  const snapshot = fc.record({ index, term: inTerm, sum, ...rest });
  const hardState = fc.record({ term: inTerm, vote: fc.option(node), commit: index });
  const last = fc.option(fc.record({ lastTerm: inTerm, lastSum: sum }));
  const rest2 = { hardState: fc.option(hardState), base, lastIndex: index };
  const summary = fc
    .tuple(fc.record({ ...rest2, snapshot: fc.option(snapshot) }), last)
    .map(([fields, name]) => ({ ...fields, ...(name ?? { lastTerm: null, lastSum: null }) }));
  // A failure prints the seed and the smallest counterexample.
  fc.assert(
    fc.property(summary, fc.nat(), (written, cut) => {
      const bytes = encodeGroupSummary(written);
      t.same(decodeGroupSummary(bytes), written);
      const short = bytes.subarray(0, cut % bytes.byteLength);
      t.throws(() => decodeGroupSummary(short), { code: 'WAL_CORRUPT' });
    }),
  );
});

/** Closing the damage of a log: repair, discarding, compaction, and a crash at every operation. */
import type { Entry } from '@holdfast/base';
import { EMPTY_LOG_SUM, logIndex, term } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import t from 'tap';
import { readWholeFile } from '../src/fs.ts';
import { fsckDataDirectory } from '../src/fsck.ts';
import { describeWalFile } from '../src/inspect.ts';
import { CrashSignal } from '../src/testing/fault-plan.ts';
import type { CrashOptions } from '../src/testing/memory-fs.ts';
import { MemoryFileSystem } from '../src/testing/memory-fs.ts';
import { FIRST_BATCH_OFFSET } from '../src/wal/format.ts';
import { InlineWal } from '../src/wal/inline-wal.ts';
import type { DamagedRange } from '../src/wal/types.ts';
import { CONFIRM_IDLE_MS } from '../src/wal/wal-writer.ts';
import {
  describeLog,
  flawOfDamaged,
  GROUP_ONE,
  GROUP_TWO,
  heal,
  makeAppend,
  makeEntries,
  makeEntry,
  makeHardState,
  makeSnapshot,
  readAll,
  SMALL_WAL,
  sameEntries,
  sumAt,
  WAL_DIRECTORY,
} from './support.ts';

const OPTIONS = { ...SMALL_WAL, fileSizeBytes: 32 * 1024, batchSizeBytesMax: 2048 };
const FIRST_FILE = `${WAL_DIRECTORY}/0000000000000001.wal`;
const open = (fileSystem: MemoryFileSystem): InlineWal =>
  InlineWal.open({ fileSystem, directory: WAL_DIRECTORY, options: OPTIONS });

/** Four entries in each batch, confirmed; the commit hint is two behind the batch before. */
async function writeLog(batches = 3): Promise<{
  readonly fileSystem: MemoryFileSystem;
  readonly entries: readonly Entry[];
}> {
  const fileSystem = new MemoryFileSystem();
  const wal = open(fileSystem);
  const log = wal.groupLog(GROUP_ONE);
  for (let batch = 0; batch < batches; batch++) {
    const first = batch * 4 + 1;
    const entries = makeEntries(sumAt(log, first - 1), first, 4, { sizeBytes: 600 });
    wal.append(makeAppend({ entries, hardState: makeHardState(1, Math.max(0, first - 2)) }));
    wal.pump();
  }
  const entries = readAll(log);
  await wal.close();
  return { fileSystem, entries };
}

function positionOf(fileSystem: MemoryFileSystem, entry: Entry): number {
  return Buffer.from(readWholeFile(fileSystem, FIRST_FILE)).indexOf(Buffer.from(entry.data));
}

function erase(fileSystem: MemoryFileSystem, from: number, to: number): void {
  const handle = fileSystem.open(FIRST_FILE, 'readWrite');
  handle.write([new Uint8Array(to - from)], from);
  handle.sync();
  handle.close();
}

/** Spoils the data of entries low..high. */
function damage(
  fileSystem: MemoryFileSystem,
  entries: readonly Entry[],
  low: number,
  high = low,
): void {
  for (const entry of entries.slice(low - 1, high)) {
    fileSystem.flipBit(FIRST_FILE, positionOf(fileSystem, entry) + 100, 3);
  }
}

const span = ({ low, high }: DamagedRange): string => `${low}-${high}`;

t.test('a damaged entry is not read around: the log stops before it and says where', async (t) => {
  const { fileSystem, entries } = await writeLog();
  damage(fileSystem, entries, 6, 7);
  const log = open(fileSystem).groupLog(GROUP_ONE);
  t.same(log.damage().map(span), ['6-7']);
  t.match(log.damage()[0], { file: FIRST_FILE, lastTerm: 1, lastSum: entries[6]!.sum });
  t.equal(log.lastIndex(), 12);
  t.equal(log.term(logIndex(6)), 'unavailable');
  t.equal(log.sum(logIndex(7)), 'unavailable');
  t.equal(log.term(logIndex(8)), 1);
  const read = (low: number) => log.entries(logIndex(low), logIndex(13), 1 << 20);
  t.same(read(1), entries.slice(0, 5));
  t.same(read(8), entries.slice(7));
  t.throws(() => read(6), { code: 'WAL_CORRUPT', details: { file: FIRST_FILE, index: 6 } });
  t.equal(log.isHardStateKnown(), true);
});

t.test('until it is repaired a damaged log takes no append, and others go on', async (t) => {
  const { fileSystem, entries } = await writeLog();
  damage(fileSystem, entries, 6);
  const wal = open(fileSystem);
  const next = makeEntries(entries[11]!.sum, 13, 1);
  const appends = [
    makeAppend({ entries: next }),
    makeAppend({ truncateFrom: logIndex(12) }),
    makeAppend({ hardState: makeHardState(2) }),
    makeAppend({ hardState: makeHardState(1, 12), mustSync: false }),
    makeAppend({ snapshot: makeSnapshot(11, 1, entries[10]!.sum) }),
  ];
  for (const append of appends) t.throws(() => wal.append(append), { name: 'InvariantViolation' });
  wal.append(makeAppend({ group: GROUP_TWO, entries: makeEntries(EMPTY_LOG_SUM, 1, 2) }));
  wal.pump();
  t.equal(wal.groupLog(GROUP_TWO).lastIndex(), 2);
  await heal(wal, GROUP_ONE, entries);
  wal.append(makeAppend({ entries: next }));
  wal.pump();
  t.ok(sameEntries(readAll(wal.groupLog(GROUP_ONE)), [...entries, ...next]));
  await wal.close();
});

t.test('only the entries that were lost repair a range, and only all of them', async (t) => {
  const { fileSystem, entries } = await writeLog();
  damage(fileSystem, entries, 6, 7);
  damage(fileSystem, entries, 12);
  const wal = open(fileSystem);
  const { operationCount } = fileSystem;
  const lost = entries.slice(5, 7);
  const other = makeEntry(entries[4]!.sum, 6, 1, new Uint8Array(3));
  const forged = [other, makeEntry(other.sum, 7, 1, new Uint8Array(3))];
  const attempts: readonly (readonly [string, readonly Entry[]])[] = [
    ['nothing', []],
    ['a part', lost.slice(0, 1)],
    ['more than the range', entries.slice(5, 8)],
    ['another range', entries.slice(0, 2)],
    ['a chain of its own', forged],
    ['changed data', [lost[0]!, { ...lost[1]!, data: new Uint8Array(600) }]],
    ['a changed term', [lost[0]!, { ...lost[1]!, term: term(9) }]],
    ['a gap', [lost[0]!, { ...lost[1]!, index: logIndex(8) }]],
    ['another last entry', [makeEntry(entries[10]!.sum, 12, 1, new Uint8Array(9))]],
  ];
  for (const [name, given] of attempts) {
    await t.rejects(wal.repair(GROUP_ONE, given), { code: 'REPAIR_REFUSED' }, name);
  }
  t.equal(wal.hasWork, false, 'nothing was queued');
  t.equal(fileSystem.operationCount, operationCount, 'and nothing was written');
  await heal(wal, GROUP_ONE, entries);
  t.ok(sameEntries(readAll(wal.groupLog(GROUP_ONE)), entries));
  await wal.close();
});

t.test('entries that nothing names any more must still lead to the entry after them', async (t) => {
  const { fileSystem, entries } = await writeLog();
  const position = positionOf(fileSystem, entries[5]!);
  // Records 6 and 7, headers included.
  erase(fileSystem, position - 90, position + 1290);
  const wal = open(fileSystem);
  const log = wal.groupLog(GROUP_ONE);
  t.match(log.damage(), [{ low: 6, high: 7, lastTerm: null, lastSum: null }]);
  const other = makeEntry(entries[4]!.sum, 6, 1, new Uint8Array(3));
  const forged = [other, makeEntry(other.sum, 7, 1, new Uint8Array(3))];
  await t.rejects(wal.repair(GROUP_ONE, forged), {
    code: 'REPAIR_REFUSED',
    message: /entry 8, which is intact, does not follow it/,
  });
  await heal(wal, GROUP_ONE, entries);
  t.ok(sameEntries(readAll(log), entries));
  await wal.close();
});

t.test('what is known committed is never put in doubt, what is not may be', async (t) => {
  const { fileSystem, entries } = await writeLog(6);
  const batches = [...describeWalFile(fileSystem, FIRST_FILE)].filter(
    ({ kind }) => kind === 'batch',
  );
  t.ok(batches.length >= 7, 'the one of the start, and six');
  // The fourth and fifth batch, entries 13 to 20: the third says commit 7 and holds 9 to 12.
  erase(fileSystem, batches[4]!.offset, batches[6]!.offset);
  const wal = open(fileSystem);
  t.same(wal.groupLog(GROUP_ONE).damage().map(span), ['8-20']);
  await heal(wal, GROUP_ONE, entries);
  t.ok(sameEntries(readAll(wal.groupLog(GROUP_ONE)), entries));
  await wal.close();
});

t.test('what was repaired stays repaired, over restarts, rolls and further damage', async (t) => {
  const { fileSystem, entries } = await writeLog();
  damage(fileSystem, entries, 2, 11);
  const first = open(fileSystem);
  await heal(first, GROUP_ONE, entries);
  t.match(
    fsckDataDirectory(fileSystem, '/data').filter(({ file }) => file.endsWith('.wal')),
    [{ severity: 'mended' }, { severity: 'mended' }, { severity: 'mended' }],
  );
  const second = open(fileSystem);
  t.same(second.groupLog(GROUP_ONE).damage(), []);
  t.ok(sameEntries(readAll(second.groupLog(GROUP_ONE)), entries));
  const more = makeEntries(entries[11]!.sum, 13, 60, { sizeBytes: 600 });
  for (const entry of more) {
    second.append(makeAppend({ entries: [entry] }));
    second.pump();
  }
  t.ok(fileSystem.exists(FIRST_FILE), 'its intact entries are still needed');
  await second.close();
  damage(fileSystem, entries, 1);
  const third = open(fileSystem);
  t.same(third.groupLog(GROUP_ONE).damage().map(span), ['1-1']);
  await heal(third, GROUP_ONE, entries);
  t.ok(sameEntries(readAll(third.groupLog(GROUP_ONE)), [...entries, ...more]));
  const base = { index: logIndex(40), term: term(1), sum: more[27]!.sum };
  third.compact(GROUP_ONE, base);
  third.pump();
  t.equal(fileSystem.exists(FIRST_FILE), false, 'compacted, the damaged file goes');
  await third.close();
  t.ok(sameEntries(readAll(open(fileSystem).groupLog(GROUP_ONE)), more.slice(28)));
});

t.test('no file goes while a log is damaged, whatever other groups compact', async (t) => {
  const { fileSystem, entries } = await writeLog();
  damage(fileSystem, entries, 2);
  const wal = open(fileSystem);
  let sum: Uint8Array = EMPTY_LOG_SUM;
  for (let index = 1; index <= 60; index++) {
    const added = makeEntries(sum, index, 1, { sizeBytes: 900 });
    wal.append(makeAppend({ group: GROUP_TWO, entries: added }));
    wal.pump();
    sum = added[0]!.sum;
  }
  wal.compact(GROUP_TWO, { index: logIndex(60), term: term(1), sum });
  wal.pump();
  t.ok(wal.stats().filesCreated > 2);
  t.equal(wal.stats().filesRemoved, 0);
  t.match(wal.stats(), { oldestFileId: 1, groups: [{ oldestFileId: 1 }, { oldestFileId: null }] });
  await heal(wal, GROUP_ONE, entries);
  wal.compact(GROUP_ONE, { index: logIndex(12), term: term(1), sum: entries[11]!.sum });
  wal.pump();
  t.ok(wal.stats().filesRemoved > 1);
  t.equal(wal.stats().oldestFileId, wal.stats().newestFileId);
  await wal.close();
});

t.test('a file whose head is damaged never becomes the oldest', async (t) => {
  const fileSystem = new MemoryFileSystem();
  const wal = open(fileSystem);
  const entries = makeEntries(EMPTY_LOG_SUM, 1, 120, { sizeBytes: 600 });
  for (const entry of entries) {
    wal.append(makeAppend({ entries: [entry] }));
    wal.pump();
  }
  await wal.close();
  const names = fileSystem.list(WAL_DIRECTORY).filter((name) => name.endsWith('.wal'));
  t.ok(names.length >= 4);
  const path = `${WAL_DIRECTORY}/${names[1]}`;
  const handle = fileSystem.open(path, 'readWrite');
  handle.write([new Uint8Array(512)], FIRST_BATCH_OFFSET);
  handle.sync();
  const again = open(fileSystem);
  await heal(again, GROUP_ONE, entries);
  const compactTo = (index: number): readonly string[] => {
    const base = { index: logIndex(index), term: term(1), sum: entries[index - 1]!.sum };
    again.compact(GROUP_ONE, base);
    again.pump();
    return fileSystem.list(WAL_DIRECTORY).filter((name) => name.endsWith('.wal'));
  };
  t.match(compactTo(45), [names[0], names[1]], 'the second one is needed, the first one starts it');
  const reopened = open(fileSystem.clone());
  t.same(reopened.groupLog(GROUP_ONE).damage(), []);
  t.ok(sameEntries(readAll(reopened.groupLog(GROUP_ONE)), entries.slice(45)));
  t.match(compactTo(100), [names[3]], 'both go together');
});

t.test('a checkpoint closes the damage that it covers, when it fits the log', async (t) => {
  const { fileSystem, entries } = await writeLog();
  damage(fileSystem, entries, 2);
  damage(fileSystem, entries, 6, 8);
  const wal = open(fileSystem);
  const log = wal.groupLog(GROUP_ONE);
  const baseAt = (index: number) => ({
    index: logIndex(index),
    term: term(1),
    sum: entries[index - 1]!.sum,
  });
  const wrong = { ...baseAt(4), sum: entries[4]!.sum };
  t.throws(() => wal.compact(GROUP_ONE, wrong), { code: 'WAL_CORRUPT' });
  t.throws(() => wal.compact(GROUP_ONE, { ...baseAt(8), sum: wrong.sum }), { code: 'WAL_CORRUPT' });
  wal.compact(GROUP_ONE, baseAt(4));
  t.same(log.damage().map(span), ['6-8']);
  wal.compact(GROUP_ONE, baseAt(7));
  t.same(log.damage().map(span), ['8-8']);
  wal.pump();
  await heal(wal, GROUP_ONE, entries);
  t.ok(sameEntries(readAll(log), entries.slice(7)));
  await wal.close();
});

t.test('a snapshot beyond the end replaces a damaged log', async (t) => {
  const { fileSystem, entries } = await writeLog();
  damage(fileSystem, entries, 5, 12);
  const wal = open(fileSystem);
  wal.append(makeAppend({ snapshot: makeSnapshot(30, 2, new Uint8Array(16).fill(4)) }));
  wal.pump();
  t.same(wal.groupLog(GROUP_ONE).damage(), []);
  await wal.close();
  t.equal(describeLog(open(fileSystem).groupLog(GROUP_ONE)), '1/n1 base=30 []');
});

t.test(
  'discarding drops a damaged end, never what is committed, never a healthy log',
  async (t) => {
    const { fileSystem, entries } = await writeLog();
    damage(fileSystem, entries, 10, 12);
    const wal = open(fileSystem);
    const log = wal.groupLog(GROUP_ONE);
    t.equal(log.hardState()?.commit, 7);
    await t.rejects(wal.discardDamaged(GROUP_ONE, logIndex(7)), { name: 'InvariantViolation' });
    const discarded = wal.discardDamaged(GROUP_ONE, logIndex(10));
    wal.pump();
    await discarded;
    t.same(log.damage(), []);
    t.equal(log.lastIndex(), 9);
    await t.rejects(wal.discardDamaged(GROUP_ONE, logIndex(9)), { name: 'InvariantViolation' });
    const next = makeEntries(entries[8]!.sum, 10, 3, { term: 2 });
    wal.append(makeAppend({ hardState: makeHardState(2), entries: next }));
    wal.pump();
    await wal.close();
    const again = open(fileSystem).groupLog(GROUP_ONE);
    t.ok(sameEntries(readAll(again), [...entries.slice(0, 9), ...next]));
  },
);

t.test('a failed disk ends a repair, and the damage is still there', async (t) => {
  const { fileSystem, entries } = await writeLog();
  damage(fileSystem, entries, 6);
  const wal = open(fileSystem);
  fileSystem.faults.add({ operation: 'sync', fault: 'EIO' });
  const settled = wal.repair(GROUP_ONE, entries.slice(5, 6));
  wal.pump();
  await t.rejects(settled, { code: 'WAL_IO' });
  await t.rejects(wal.repair(GROUP_ONE, entries.slice(5, 6)), { code: 'WAL_IO' });
  fileSystem.crash({ seed: 1, keepUnsynced: 'none' });
  t.same(open(fileSystem).groupLog(GROUP_ONE).damage().map(span), ['6-6']);
});

type Policy = Omit<CrashOptions, 'seed'>;
const POLICIES: readonly Policy[] = [
  { keepUnsynced: 'none' },
  { keepUnsynced: 'random', tearsSectors: true },
  { keepUnsynced: 'all' },
];

/** Runs `act`, which opens the log itself, with a crash before every operation in turn. */
async function crashEverywhere(
  original: MemoryFileSystem,
  act: (fileSystem: MemoryFileSystem) => Promise<void>,
  check: (wal: InlineWal) => string | null,
): Promise<{ readonly flaws: readonly string[]; readonly crashes: number }> {
  const flaws: string[] = [];
  let crashes = 0;
  for (const policy of POLICIES) {
    for (let point = 1; ; point++) {
      const fileSystem = original.clone();
      fileSystem.crashAtOperation(point);
      const hasCrashed = await act(fileSystem).then(
        () => false,
        (error) => {
          if (error instanceof CrashSignal) return true;
          throw error;
        },
      );
      if (!hasCrashed) break;
      crashes += 1;
      fileSystem.crash({ ...policy, seed: point });
      const flaw = check(open(fileSystem));
      if (flaw !== null) flaws.push(`${policy.keepUnsynced}, crash before ${point}: ${flaw}`);
    }
  }
  return { flaws, crashes };
}

t.test('a crash at any operation of a repair leaves the damage, less of it, or none', async (t) => {
  const { fileSystem, entries } = await writeLog();
  damage(fileSystem, entries, 3, 9);
  const seen = new Set<string>();
  const { flaws, crashes } = await crashEverywhere(
    fileSystem,
    async (copy) => heal(open(copy), GROUP_ONE, entries),
    (wal) => {
      const log = wal.groupLog(GROUP_ONE);
      seen.add(log.damage().map(span).join());
      return flawOfDamaged(log, entries);
    },
  );
  t.same(flaws, []);
  t.ok(crashes > 60, `${crashes} crashes`);
  t.same([...seen].sort(), ['', '3-9', '5-9', '7-9', '9-9'], 'batch by batch from the low end');
});

t.test('a crash at any operation of discarding leaves the damage or the shorter log', async (t) => {
  const { fileSystem, entries } = await writeLog();
  damage(fileSystem, entries, 10, 12);
  const seen = new Set<string>();
  const { flaws } = await crashEverywhere(
    fileSystem,
    async (copy) => {
      const wal = open(copy);
      const settled = wal.discardDamaged(GROUP_ONE, logIndex(10));
      wal.pump();
      await settled;
    },
    (wal) => {
      const log = wal.groupLog(GROUP_ONE);
      const found = `${log.lastIndex()} ${log.damage().map(span).join()}`;
      seen.add(found);
      return flawOfDamaged(log, entries.slice(0, log.lastIndex()));
    },
  );
  t.same(flaws, []);
  t.same([...seen].sort(), ['12 10-12', '9 ']);
});

t.test('a log that goes quiet confirms its last batch; rot in it is then damage', async (t) => {
  for (const quietMs of [CONFIRM_IDLE_MS - 1, CONFIRM_IDLE_MS, 60_000]) {
    const fileSystem = new MemoryFileSystem();
    const clock = new VirtualClock();
    // Large, so that no next file is made: its header would confirm the batch as well.
    const options = { ...OPTIONS, fileSizeBytes: 1024 * 1024 };
    const place = { fileSystem, directory: WAL_DIRECTORY, options };
    const wal = InlineWal.open({ ...place, timers: clock, clock });
    const entries = makeEntries(EMPTY_LOG_SUM, 1, 2, { sizeBytes: 600 });
    wal.append(makeAppend({ entries }));
    wal.pump();
    const { batches } = wal.stats();
    clock.advance(quietMs);
    const isConfirmed = quietMs >= CONFIRM_IDLE_MS;
    t.equal(wal.stats().batches, batches + (isConfirmed ? 1 : 0), 'confirmed once');
    fileSystem.crash({ seed: 1, keepUnsynced: 'none' });
    damage(fileSystem, entries, 2);
    const again = open(fileSystem);
    t.same(again.groupLog(GROUP_ONE).damage().map(span), isConfirmed ? ['2-2'] : []);
    t.equal(again.groupLog(GROUP_ONE).lastIndex(), isConfirmed ? 2 : 0, 'else it looks torn');
  }
});

t.test('a log under load writes no batch of its own for confirming', async (t) => {
  const fileSystem = new MemoryFileSystem();
  const clock = new VirtualClock();
  const place = { fileSystem, directory: WAL_DIRECTORY, options: OPTIONS };
  const wal = InlineWal.open({ ...place, timers: clock, clock });
  const { batches, syncs } = wal.stats();
  let sum: Uint8Array = EMPTY_LOG_SUM;
  for (let index = 1; index <= 200; index++) {
    const [entry] = makeEntries(sum, index, 1);
    wal.append(makeAppend({ entries: [entry!] }));
    wal.pump();
    clock.advance(4);
    sum = entry!.sum;
  }
  t.equal(wal.stats().batches - batches, 200);
  t.equal(wal.stats().syncs - syncs, 200);
  clock.advance(1);
  t.equal(wal.stats().batches - batches, 201);
  await wal.close();
  t.equal(wal.stats().batches - batches, 201, 'close has nothing left to confirm');
});

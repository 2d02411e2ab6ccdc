/**
 * Goal: what the writer of a running log does by order never touches what the log holds, and
 * entries that are written once more are read from there, also after the next start.
 * Method: the log without a thread on a memory disk.
 */
import type { Entry } from '@holdfast/base';
import { logIndex } from '@holdfast/base';
import t from 'tap';
import { readWholeFile } from '../src/fs.ts';
import { MemoryFileSystem } from '../src/testing/memory-fs.ts';
import { InlineWal } from '../src/wal/inline-wal.ts';
import { scrubWalFile } from '../src/wal/scrub.ts';
import {
  GROUP_ONE,
  makeAppend,
  makeEntries,
  makeHardState,
  readAll,
  SMALL_WAL,
  sumAt,
  WAL_DIRECTORY,
} from './support.ts';

const FIRST_FILE = `${WAL_DIRECTORY}/0000000000000001.wal`;
const OPTIONS = { ...SMALL_WAL, fileSizeBytes: 64 * 1024 };
const open = (fileSystem: MemoryFileSystem): InlineWal =>
  InlineWal.open({ fileSystem, directory: WAL_DIRECTORY, options: OPTIONS });

function writeLog() {
  const fileSystem = new MemoryFileSystem();
  const wal = open(fileSystem);
  const log = wal.groupLog(GROUP_ONE);
  for (let first = 1; first <= 9; first += 4) {
    const entries = makeEntries(sumAt(log, first - 1), first, 4, { sizeBytes: 600 });
    wal.append(makeAppend({ entries, hardState: makeHardState(1, first - 1) }));
    wal.pump();
  }
  return { fileSystem, wal, entries: readAll(log) };
}

function scrub(fileSystem: MemoryFileSystem) {
  const steps = scrubWalFile(fileSystem, WAL_DIRECTORY, 1);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

const positionOf = (fileSystem: MemoryFileSystem, entry: Entry): number =>
  Buffer.from(readWholeFile(fileSystem, FIRST_FILE)).indexOf(Buffer.from(entry.data));

t.test('an order to zero the whole file leaves everything that is written', async (t) => {
  const { entries, fileSystem, wal } = writeLog();
  await wal.mend({
    kind: 'zero',
    fileId: 1,
    from: 0,
    to: OPTIONS.fileSizeBytes,
    isEnclosed: false,
  });
  await wal.close();
  const again = open(fileSystem);
  t.same(again.groupLog(GROUP_ONE).damage(), []);
  t.equal(readAll(again.groupLog(GROUP_ONE)).length, entries.length);
});

t.test('rot in space that is not used yet is found, and zeroed by order', async (t) => {
  const { fileSystem, wal } = writeLog();
  fileSystem.flipBit(FIRST_FILE, 50_000);
  const [flaw, ...more] = scrub(fileSystem);
  t.match(flaw, { kind: 'zeros', offset: 49_664, end: 50_176 });
  t.same(more, []);
  await wal.mend({ kind: 'zero', fileId: 1, from: 49_664, to: 50_176, isEnclosed: false });
  t.same(scrub(fileSystem), []);
});

t.test('a file header is written again as it was', async (t) => {
  const { fileSystem, wal } = writeLog();
  const before = readWholeFile(fileSystem, FIRST_FILE);
  fileSystem.flipBit(FIRST_FILE, 17);
  const [flaw] = scrub(fileSystem);
  const { epoch = 0, watermark = 0 } = flaw ?? {};
  t.equal(flaw?.kind, 'header');
  await wal.mend({ kind: 'header', fileId: 1, epoch, watermark });
  t.equal(Buffer.compare(readWholeFile(fileSystem, FIRST_FILE), before), 0);
});

t.test('an entry that is written again is read from its new place, now and later', async (t) => {
  const { entries, fileSystem, wal } = writeLog();
  const entry = entries[5]!;
  const at = positionOf(fileSystem, entry);
  fileSystem.flipBit(FIRST_FILE, at + 10);
  const [flaw] = scrub(fileSystem);
  t.equal(flaw?.kind, 'batch');
  t.ok(wal.entriesIn(GROUP_ONE, 1, at, at + 1).includes(entry.index));
  const rewritten = wal.rewrite(GROUP_ONE, [entry], logIndex(12));
  wal.pump();
  await rewritten;
  t.same(wal.entriesIn(GROUP_ONE, 1, at, at + 1), [], 'nothing is read from the bad place');
  await wal.close();
  const again = open(fileSystem);
  t.same(again.groupLog(GROUP_ONE).damage(), [], 'the next start finds no hole');
  const [read] = again.groupLog(GROUP_ONE).entries(entry.index, logIndex(entry.index + 1), 1);
  t.same((read as Entry).data, entry.data);
});

t.test(
  'only the very entry that the log knows, and a committed one, is written again',
  async (t) => {
    const { entries, wal } = writeLog();
    const entry = entries[5]!;
    const other = { ...entry, data: new Uint8Array(600).fill(1) };
    const refused = { code: 'REPAIR_REFUSED' };
    await t.rejects(wal.rewrite(GROUP_ONE, [other], logIndex(12)), refused, 'other bytes');
    await t.rejects(wal.rewrite(GROUP_ONE, [entry], logIndex(5)), refused, 'not known committed');
    const beyond = { ...entry, index: logIndex(99) };
    await t.rejects(wal.rewrite(GROUP_ONE, [beyond], logIndex(99)), refused, 'not in the log');
  },
);

t.test('both copies of term and vote are made anew by order', async (t) => {
  const { fileSystem, wal } = writeLog();
  const path = `${WAL_DIRECTORY}/TERM-A`;
  // The first slot only counts the others.
  const slots = (): Uint8Array => readWholeFile(fileSystem, path).subarray(512);
  const before = slots();
  fileSystem.flipBit(path, 600);
  await wal.mend({ kind: 'hardStates' });
  t.equal(Buffer.compare(slots(), before), 0);
  wal.append(makeAppend({ hardState: makeHardState(2, 12) }));
  wal.pump();
  await wal.close();
  t.equal(open(fileSystem).groupLog(GROUP_ONE).hardState()?.term, 2, 'and they are still written');
});

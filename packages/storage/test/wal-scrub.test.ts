/**
 * Goal: whatever became of the bytes of a running log's files is found, also where nothing that is
 * left of a file is wrong in itself; and the entries that were there are kept.
 * Method: the log without a thread on a memory disk, several files, one injury at a time.
 */
import { logIndex } from '@holdfast/base';
import t from 'tap';
import { joinPath, readWholeFile } from '../src/fs.ts';
import { MemoryFileSystem } from '../src/testing/memory-fs.ts';
import { readBatch } from '../src/wal/batch-reader.ts';
import { checksumMask, walFilePath } from '../src/wal/format.ts';
import { InlineWal } from '../src/wal/inline-wal.ts';
import type { WalFlaw } from '../src/wal/scrub.ts';
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

const FILE_SIZE_BYTES = 19 * 1024;
const OPTIONS = { ...SMALL_WAL, fileSizeBytes: FILE_SIZE_BYTES };
const open = (fileSystem: MemoryFileSystem): InlineWal =>
  InlineWal.open({ fileSystem, directory: WAL_DIRECTORY, options: OPTIONS });
const pathOf = (fileId: number): string => walFilePath(WAL_DIRECTORY, fileId);

function append(wal: InlineWal, count: number): void {
  const log = wal.groupLog(GROUP_ONE);
  const first = log.lastIndex() + 1;
  const entries = makeEntries(sumAt(log, first - 1), first, count, { sizeBytes: 600 });
  wal.append(makeAppend({ entries, hardState: makeHardState(1, first - 1) }));
  wal.pump();
}

/** Entries 1 to 40 in at least three files; `onBatch` sees the disk after each batch. */
function writeLog(onBatch: (wal: InlineWal, fileSystem: MemoryFileSystem) => void = () => {}) {
  const fileSystem = new MemoryFileSystem();
  const wal = open(fileSystem);
  for (let batch = 0; batch < 20; batch++) {
    append(wal, 2);
    onBatch(wal, fileSystem);
  }
  t.ok(wal.files().length >= 3, 'there are several files');
  return { fileSystem, wal, entries: readAll(wal.groupLog(GROUP_ONE)) };
}

function scrub(fileSystem: MemoryFileSystem, wal: InlineWal, fileId: number): readonly WalFlaw[] {
  const expected = wal.files().find((facts) => facts.fileId === fileId) ?? null;
  const steps = scrubWalFile(fileSystem, WAL_DIRECTORY, fileId, expected);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

function replace(fileSystem: MemoryFileSystem, path: string, bytes: Uint8Array): void {
  fileSystem.remove(path);
  const handle = fileSystem.open(path, 'createNew');
  if (bytes.byteLength > 0) handle.write([bytes], 0);
  handle.sync();
  handle.close();
}

/** Where batches begin, by their magic. */
function batchOffsets(bytes: Uint8Array): readonly number[] {
  const magic = Buffer.from('HFWB', 'latin1');
  const offsets: number[] = [];
  for (let at = 4096; at < bytes.byteLength; at += 512) {
    if (magic.equals(bytes.subarray(at, at + 4))) offsets.push(at);
  }
  return offsets;
}

type Injure = (fileSystem: MemoryFileSystem, path: string, half: Uint8Array) => void;

const INJURIES: readonly (readonly [string, Injure])[] = [
  ['is deleted', (fs, path) => fs.remove(path)],
  ['is emptied', (fs, path) => replace(fs, path, new Uint8Array(0))],
  [
    'is cut between two batches',
    (fs, path) => {
      const bytes = readWholeFile(fs, path);
      replace(fs, path, bytes.subarray(0, batchOffsets(bytes).at(-2)));
    },
  ],
  [
    'is cut inside a batch',
    (fs, path) => {
      const bytes = readWholeFile(fs, path);
      replace(fs, path, bytes.subarray(0, batchOffsets(bytes)[2]! + 700));
    },
  ],
  [
    'has lost its last batches to zeros',
    (fs, path) => {
      const bytes = readWholeFile(fs, path).slice();
      replace(fs, path, bytes.fill(0, batchOffsets(bytes).at(-2)));
    },
  ],
  [
    'has lost a batch between others to zeros',
    (fs, path) => {
      const bytes = readWholeFile(fs, path).slice();
      const [, from, to] = batchOffsets(bytes);
      replace(fs, path, bytes.fill(0, from, to));
    },
  ],
  [
    'has lost its first batch to zeros',
    (fs, path) => {
      const bytes = readWholeFile(fs, path).slice();
      const [from, to] = batchOffsets(bytes);
      replace(fs, path, bytes.fill(0, from, to));
    },
  ],
  ['is put back as it once was', (fs, path, half) => replace(fs, path, half)],
];

for (const [what, injure] of INJURIES) {
  t.test(`a log file that ${what} is found, and its entries are kept`, async (t) => {
    let half = new Uint8Array(0);
    const { entries, fileSystem, wal } = writeLog((log, disk) => {
      if (log.files().at(-1)?.fileId !== 2 || half.byteLength > 0) return;
      if (batchOffsets(readWholeFile(disk, pathOf(2))).length < 3) return;
      half = readWholeFile(disk, pathOf(2)).slice();
    });
    t.same(scrub(fileSystem, wal, 2), [], 'sound before');
    injure(fileSystem, pathOf(2), half);
    const flaws = scrub(fileSystem, wal, 2);
    t.ok(
      flaws.some(({ kind }) => kind === 'batch'),
      JSON.stringify(flaws),
    );
    const lost = flaws.flatMap((flaw) => wal.entriesLostBy(GROUP_ONE, flaw));
    t.ok(lost.length > 0, 'the log knows what was there');
    for (const flaw of flaws) wal.distrustHead(flaw.fileId);
    const again = wal.rewrite(
      GROUP_ONE,
      entries.filter(({ index }) => lost.includes(index)),
      logIndex(40),
    );
    wal.pump();
    await again;
    await wal.close();
    const next = open(fileSystem);
    t.same(next.groupLog(GROUP_ONE).damage(), [], 'the next start finds no hole');
    t.same(readAll(next.groupLog(GROUP_ONE)), entries);
  });
}

t.test('a long log file is read once and in steps, and every flaw has its place', async (t) => {
  const fileSystem = new MemoryFileSystem();
  const fileSizeBytes = 4 * 1024 * 1024;
  const options = { ...SMALL_WAL, fileSizeBytes, batchSizeBytesMax: fileSizeBytes };
  const wal = InlineWal.open({ fileSystem, directory: WAL_DIRECTORY, options });
  const log = wal.groupLog(GROUP_ONE);
  for (const sizeBytes of [300_000, 900_000, 100, 700_000, 200_000, 5_000, 260_000, 90_000]) {
    const first = log.lastIndex() + 1;
    const entries = makeEntries(sumAt(log, first - 1), first, 1, { sizeBytes });
    wal.append(makeAppend({ entries, hardState: makeHardState(1, first - 1) }));
    wal.pump();
  }
  const path = pathOf(1);
  const bytes = readWholeFile(fileSystem, path).slice();
  const offsets = batchOffsets(bytes);
  const steps = scrubWalFile(fileSystem, WAL_DIRECTORY, 1);
  let readBytes = 0;
  for (let step = steps.next(); step.done !== true; step = steps.next()) {
    t.ok(step.value <= 256 * 1024);
    readBytes += step.value;
  }
  t.equal(readBytes, fileSizeBytes);
  for (const [i, offset] of offsets.slice(0, -1).entries()) {
    const next = offsets[i + 1]!;
    fileSystem.flipBit(path, offset + 10);
    const lost = scrub(fileSystem, wal, 1);
    t.match(lost, [{ kind: 'batch', offset, end: next, what: 'a batch has lost its header' }]);
    fileSystem.flipBit(path, offset + 10);
    for (const at of [offset + 70, offset + 160, next - 300, next - 1]) {
      fileSystem.flipBit(path, at);
      const [flaw, ...others] = scrub(fileSystem, wal, 1);
      t.same(others, []);
      t.ok(flaw!.offset >= offset && flaw!.offset <= at, `${at}: ${JSON.stringify(flaw)}`);
      t.ok(flaw!.end > at && flaw!.end <= next, `${at}: ${JSON.stringify(flaw)}`);
      fileSystem.flipBit(path, at);
    }
  }
  for (const at of [fileSizeBytes - 1, fileSizeBytes - 1_000_000]) {
    fileSystem.flipBit(path, at);
    const offset = at - (at % 512);
    t.match(scrub(fileSystem, wal, 1), [{ kind: 'zeros', offset, end: offset + 512 }]);
    fileSystem.flipBit(path, at);
  }
  t.same(scrub(fileSystem, wal, 1), []);
});

t.test('batches zeroed in the file that is written to are found', async (t) => {
  const { fileSystem, wal } = writeLog();
  const active = wal.files().at(-1)!.fileId;
  for (const at of [-1, -2]) {
    const before = readWholeFile(fileSystem, pathOf(active)).slice();
    const offset = batchOffsets(before).at(at)!;
    const handle = fileSystem.open(pathOf(active), 'readWrite');
    handle.write([new Uint8Array(1_024)], offset);
    t.match(scrub(fileSystem, wal, active), [{ kind: 'batch' }], `batch ${at}`);
    handle.write([before], 0);
    t.same(scrub(fileSystem, wal, active), []);
    handle.close();
  }
});

t.test('each damaged record of a batch is told where it is', (t) => {
  const fileSystem = new MemoryFileSystem();
  const wal = open(fileSystem);
  append(wal, 8);
  append(wal, 1);
  const isPayload = (byte: number, i: number, bytes: Uint8Array): boolean =>
    byte !== 0 && bytes[i + 1] === byte;
  const before = readWholeFile(fileSystem, pathOf(1));
  // Behind those of the start.
  const [from, to] = batchOffsets(before).slice(-2);
  const [first, second] = [0.4, 0.8].map((share) => {
    const at = Math.floor(from! + (to! - from!) * share);
    return before.findIndex((byte, i, bytes) => i >= at && isPayload(byte, i, bytes));
  });
  for (const at of [first!, second!]) fileSystem.flipBit(pathOf(1), at);
  const flaws = scrub(fileSystem, wal, 1);
  t.equal(flaws.length, 2, JSON.stringify(flaws));
  for (const [i, at] of [first!, second!].entries()) {
    t.match(flaws[i], { kind: 'batch' });
    t.ok(flaws[i]!.offset <= at && at < flaws[i]!.end);
    t.ok(flaws[i]!.end - flaws[i]!.offset < 1_024, 'one record, not the batch');
  }
  const lost = flaws.flatMap((one) => wal.entriesLostBy(GROUP_ONE, one));
  t.equal(lost.length, 2, 'and no entry beside them is doubted');
  t.end();
});

t.test('what a cut between two records took is told where the bytes end', (t) => {
  const bytes = readWholeFile(writeLog().fileSystem, pathOf(2));
  const [, from, to] = batchOffsets(bytes);
  const read = (end: number) =>
    readBatch(bytes.subarray(from, end), 2, 0, checksumMask(2), from!)?.content;
  const whole = read(to!);
  const second = whole?.kind === 'whole' ? whole.records[1] : undefined;
  const cut = read(second!.offset);
  t.match(cut, { kind: 'damaged', offset: second!.offset, what: 'the batch is cut off' });
  t.end();
});

t.test('a batch whose first sector is zeroed is told where it began', (t) => {
  const { fileSystem, wal } = writeLog();
  const bytes = readWholeFile(fileSystem, pathOf(2)).slice();
  const [, from, to] = batchOffsets(bytes);
  replace(fileSystem, pathOf(2), bytes.fill(0, from, from! + 512));
  t.match(scrub(fileSystem, wal, 2), [{ kind: 'batch', offset: from, end: to }]);
  t.end();
});

t.test('rot behind the batches of a closed file is zeroed, and nothing else', async (t) => {
  const { fileSystem, wal } = writeLog();
  const before = readWholeFile(fileSystem, pathOf(2));
  const end = before.byteLength - 1;
  t.equal(before[end], 0);
  fileSystem.flipBit(pathOf(2), end, 3);
  fileSystem.flipBit(pathOf(2), 100);
  for (const { end: to, fileId, isEnclosed = false, kind, offset: from } of scrub(
    fileSystem,
    wal,
    2,
  )) {
    t.equal(kind, 'zeros');
    t.ok(isEnclosed);
    await wal.mend({ kind: 'zero', fileId, from, to, isEnclosed });
  }
  t.equal(Buffer.compare(readWholeFile(fileSystem, pathOf(2)), before), 0, 'as it was');
});

t.test('a closed file that is cut behind its batches gets its size back', async (t) => {
  const { fileSystem, wal } = writeLog();
  const before = readWholeFile(fileSystem, pathOf(2));
  const used = before.findLastIndex((byte) => byte !== 0) + 1;
  replace(fileSystem, pathOf(2), before.subarray(0, Math.ceil(used / 512) * 512));
  const [flaw] = scrub(fileSystem, wal, 2);
  t.match(flaw, { kind: 'zeros', isEnclosed: true, end: FILE_SIZE_BYTES });
  const { end: to, offset: from } = flaw!;
  await wal.mend({ kind: 'zero', fileId: 2, from, to, isEnclosed: true });
  t.equal(Buffer.compare(readWholeFile(fileSystem, pathOf(2)), before), 0, 'as it was');
});

t.test('the end of a file whose batches have rot is never taken for unused space', async (t) => {
  const { fileSystem, wal } = writeLog();
  await wal.close();
  const [, , , last] = batchOffsets(readWholeFile(fileSystem, pathOf(2)));
  for (const at of batchOffsets(readWholeFile(fileSystem, pathOf(2)))) {
    if (at >= last!) fileSystem.flipBit(pathOf(2), at + 10);
  }
  const again = open(fileSystem);
  const flaws = scrub(fileSystem, again, 2);
  t.ok(flaws.length > 0);
  t.ok(
    flaws.every(({ kind }) => kind === 'batch'),
    JSON.stringify(flaws),
  );
});

t.test('a file prepared ahead and deleted is not written to', async (t) => {
  const { fileSystem, wal } = writeLog();
  const next = wal.files().at(-1)!.fileId + 1;
  while (!fileSystem.exists(pathOf(next))) append(wal, 1);
  t.equal(wal.files().at(-1)?.fileId, next - 1);
  fileSystem.remove(pathOf(next));
  while (wal.files().at(-1)!.fileId < next) append(wal, 2);
  const entries = readAll(wal.groupLog(GROUP_ONE));
  await wal.close();
  const again = open(fileSystem);
  t.same(again.groupLog(GROUP_ONE).damage(), []);
  t.equal(readAll(again.groupLog(GROUP_ONE)).length, entries.length);
});

t.test(
  'the file that is written to is left when it is gone, and its entries are kept',
  async (t) => {
    const { entries, fileSystem, wal } = writeLog();
    const fileId = wal.files().at(-1)!.fileId;
    fileSystem.remove(pathOf(fileId));
    const [flaw] = scrub(fileSystem, wal, fileId);
    t.match(flaw, { kind: 'batch', isFileMissing: true });
    await wal.mend({ kind: 'leave', fileId });
    const lost = wal.entriesLostBy(GROUP_ONE, flaw!);
    const rewritten = wal.rewrite(
      GROUP_ONE,
      entries.filter(({ index }) => lost.includes(index)),
      logIndex(40),
    );
    wal.pump();
    await rewritten;
    t.equal(wal.files().at(-1)?.fileId, fileId + 1);
    await wal.close();
    const again = open(fileSystem);
    t.same(again.groupLog(GROUP_ONE).damage(), []);
    t.same(readAll(again.groupLog(GROUP_ONE)), entries);
  },
);

t.test('the log lets go of a file that somebody else has deleted', async (t) => {
  const { fileSystem, wal } = writeLog();
  fileSystem.remove(pathOf(1));
  const log = wal.groupLog(GROUP_ONE);
  const index = log.lastIndex();
  const [inTerm, sum] = [log.term(index), log.sum(index)];
  if (typeof inTerm === 'string' || typeof sum === 'string') throw new Error('the end is known');
  wal.compact(GROUP_ONE, { index, term: inTerm, sum });
  wal.pump();
  append(wal, 2);
  t.notOk(fileSystem.exists(pathOf(2)));
  t.notOk(
    wal.files().some(({ fileId }) => fileId <= 2),
    'and does not look for it',
  );
  t.ok(fileSystem.exists(joinPath(WAL_DIRECTORY, 'EPOCH')));
});

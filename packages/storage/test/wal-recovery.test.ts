/** Torn tail or rot: the truth table of recovery, and the frozen bytes of format version 1. */
import { readFileSync } from 'node:fs';
import { EMPTY_LOG_SUM, logIndex, term } from '@holdfast/base';
import t from 'tap';
import { crc32c } from '../src/checksum.ts';
import { readWholeFile } from '../src/fs.ts';
import { describeWalFile } from '../src/inspect.ts';
import { MemoryFileSystem } from '../src/testing/memory-fs.ts';
import { alignBatch, checksumMask, FIRST_BATCH_OFFSET } from '../src/wal/format.ts';
import { InlineWal } from '../src/wal/inline-wal.ts';
import {
  describeLog,
  GROUP_ONE,
  GROUP_TWO,
  makeAppend,
  makeEntries,
  makeHardState,
  makeSnapshot,
  SMALL_WAL,
  sumAt,
  WAL_DIRECTORY,
} from './support.ts';

const FIXTURES = new URL('../../test/fixtures/format-v1/', import.meta.url);
const OPTIONS = { ...SMALL_WAL, fileSizeBytes: 8 * 1024 };
const path = (fileId: number): string => `${WAL_DIRECTORY}/${String(fileId).padStart(16, '0')}.wal`;

const open = (fileSystem: MemoryFileSystem): InlineWal =>
  InlineWal.open({ fileSystem, directory: WAL_DIRECTORY, options: OPTIONS });

/** Opens, describes group one, and throws the WAL away. */
const recovered = (fileSystem: MemoryFileSystem): string =>
  describeLog(open(fileSystem).groupLog(GROUP_ONE));

interface Written {
  readonly fileSystem: MemoryFileSystem;
  /** The log after 0, 1, 2, ... batches. */
  readonly states: readonly string[];
  /** Files with batches, with the end of the last batch in each. */
  readonly files: readonly { readonly fileId: number; readonly end: number }[];
  /** Where the last batch starts; its file is the last one. */
  readonly lastBatchOffset: number;
}

/** `batches` appends of `sizeBytes`, each durable by itself; then the process is killed. */
function writeLog(batches: number, sizeBytes: number): Written {
  const fileSystem = new MemoryFileSystem();
  const wal = open(fileSystem);
  const log = wal.groupLog(GROUP_ONE);
  const states = [describeLog(log)];
  for (let batch = 1; batch <= batches; batch++) {
    const entries = makeEntries(sumAt(log, log.lastIndex()), log.lastIndex() + 1, 2, { sizeBytes });
    wal.append(makeAppend({ entries, hardState: makeHardState(batch, log.lastIndex()) }));
    wal.pump();
    states.push(describeLog(log));
  }
  fileSystem.crash({ seed: 1, keepUnsynced: 'all' });
  const files: { fileId: number; end: number }[] = [];
  let lastBatchOffset = 0;
  for (const name of fileSystem.list(WAL_DIRECTORY).filter((name) => name.endsWith('.wal'))) {
    const fileId = Number(name.slice(0, 16));
    const lines = [...describeWalFile(fileSystem, path(fileId))];
    const batch = lines.findLast((line) => line.kind === 'batch');
    if (batch === undefined) continue;
    lastBatchOffset = batch.offset;
    const end = batch.offset + 64 + Number(batch.fields.payloadSizeBytes);
    files.push({ fileId, end });
  }
  return { fileSystem, states, files, lastBatchOffset };
}

type Outcome = 'refused' | 'all' | 'withoutLastBatch' | 'wrong';

function outcomeOf(fileSystem: MemoryFileSystem, states: readonly string[]): Outcome {
  let found: string;
  try {
    found = recovered(fileSystem);
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === 'WAL_CORRUPT' || code === 'FORMAT_UNKNOWN') return 'refused';
    throw error;
  }
  if (found === states.at(-1)) return 'all';
  return found === states.at(-2) ? 'withoutLastBatch' : 'wrong';
}

for (const { batches, sizeBytes } of [
  { batches: 3, sizeBytes: 40 },
  { batches: 3, sizeBytes: 800 },
]) {
  t.test(`one bad byte anywhere in ${batches} batches of ${sizeBytes} is found`, async (t) => {
    const { fileSystem, states, files, lastBatchOffset } = writeLog(batches, sizeBytes);
    const lastFileId = files.at(-1)!.fileId;
    const wrong: string[] = [];
    for (const { fileId, end } of files) {
      for (let position = 0; position < fileSystem.sizeBytes(path(fileId)); position++) {
        const isUnused = position >= end + 512 || (position >= 64 && position < FIRST_BATCH_OFFSET);
        if (isUnused && position % 97 !== 0) continue;
        const copy = fileSystem.clone();
        copy.flipBit(path(fileId), position, position % 8);
        const outcome = outcomeOf(copy, states);
        const isHeader = position < 64;
        const isInLast = fileId === lastFileId && position >= lastBatchOffset && position < end;
        const isData = isHeader || (position >= FIRST_BATCH_OFFSET && position < end);
        const isRight = isInLast
          ? outcome === 'withoutLastBatch' || outcome === 'refused'
          : !isData || isPadding(fileSystem, fileId, position)
            ? outcome === 'all'
            : outcome === 'refused';
        if (!isRight) wrong.push(`file ${fileId} byte ${position}: ${outcome}`);
      }
    }
    t.same(wrong, []);
    t.ok(files.length > (sizeBytes > 500 ? 1 : 0));
  });
}

/** Between the end of a batch and the next multiple of 512. */
function isPadding(fileSystem: MemoryFileSystem, fileId: number, position: number): boolean {
  for (const line of describeWalFile(fileSystem, path(fileId))) {
    if (line.kind !== 'batch') continue;
    const size = 64 + Number(line.fields.payloadSizeBytes);
    const paddingStart = line.offset + size;
    if (position >= paddingStart && position < line.offset + alignBatch(size)) return true;
  }
  return false;
}

t.test('after a clean close even the last batch is confirmed: a bad byte is refused', async (t) => {
  const fileSystem = new MemoryFileSystem();
  const wal = open(fileSystem);
  const entries = makeEntries(EMPTY_LOG_SUM, 1, 2);
  wal.append(makeAppend({ entries }));
  wal.pump();
  await wal.close();
  const bytes = Buffer.from(readWholeFile(fileSystem, path(1)));
  const position = bytes.indexOf(Buffer.from(entries[1]!.data));
  fileSystem.flipBit(path(1), position + 3, 5);
  t.throws(() => open(fileSystem), {
    code: 'WAL_CORRUPT',
    details: { file: path(1), index: 2 },
    message: /log index 2/,
  });
});

t.test('an unfinished last batch is dropped, reported, and zeroed on the disk', async (t) => {
  const { fileSystem, states, lastBatchOffset } = writeLog(2, 500);
  fileSystem.flipBit(path(1), lastBatchOffset + 600);
  const wal = open(fileSystem);
  t.match(wal.tornTail, { file: path(1), offset: lastBatchOffset });
  t.equal(describeLog(wal.groupLog(GROUP_ONE)), states[1]);
  fileSystem.crash({ seed: 1, keepUnsynced: 'none' });
  const bytes = readWholeFile(fileSystem, path(1));
  const boot = lastBatchOffset + 512;
  t.equal(
    bytes.subarray(boot).every((byte) => byte === 0),
    true,
    'nothing is left behind it',
  );
  t.equal(recovered(fileSystem), states[1]);
});

t.test('rot in a batch is not taken for a torn tail when a torn batch follows it', async (t) => {
  const { fileSystem, states, lastBatchOffset } = writeLog(3, 40);
  const handle = fileSystem.open(path(1), 'readWrite');
  handle.write([new Uint8Array(64)], lastBatchOffset);
  handle.sync();
  t.equal(outcomeOf(fileSystem.clone(), states), 'withoutLastBatch', 'torn alone is dropped');
  fileSystem.flipBit(path(1), lastBatchOffset - 300);
  t.throws(() => open(fileSystem), { code: 'WAL_CORRUPT', message: /written after it/ });
});

t.test('a file made after the last batch was durable proves that its damage is rot', async (t) => {
  const written = [1, 2, 3, 4, 5].map((batches) => writeLog(batches, 800));
  const rolled = written.filter(({ lastBatchOffset }) => lastBatchOffset === FIRST_BATCH_OFFSET);
  t.ok(rolled.length > 0, 'the last batch is the first of its file, and the next file is made');
  for (const { fileSystem, files } of rolled) {
    const { fileId } = files.at(-1)!;
    t.ok(fileSystem.exists(path(fileId + 1)));
    fileSystem.flipBit(path(fileId), FIRST_BATCH_OFFSET + 900);
    t.throws(() => open(fileSystem), { code: 'WAL_CORRUPT', details: { file: path(fileId) } });
  }
});

t.test('a batch that vanished from the end of a file is missed by the file after it', async (t) => {
  const { fileSystem, files } = writeLog(6, 800);
  t.ok(files.length >= 2);
  const lines = [...describeWalFile(fileSystem, path(1))];
  const last = lines.findLast((line) => line.kind === 'batch')!;
  const handle = fileSystem.open(path(1), 'readWrite');
  handle.write([new Uint8Array(fileSystem.sizeBytes(path(1)) - last.offset)], last.offset);
  t.throws(() => open(fileSystem), {
    code: 'WAL_CORRUPT',
    details: { file: path(2) },
    message: /a batch between is missing|is missing/,
  });
});

t.test('even a lost batch that no other record mentions is missed by the next one', async (t) => {
  const fileSystem = new MemoryFileSystem();
  const wal = open(fileSystem);
  const entries = makeEntries(EMPTY_LOG_SUM, 1, 1);
  wal.append(makeAppend({ entries, hardState: makeHardState(1) }));
  wal.pump();
  wal.append(makeAppend({ hardState: makeHardState(1, 1) }));
  wal.pump();
  const lost = [...describeWalFile(fileSystem, path(1))].findLast(({ kind }) => kind === 'batch')!;
  wal.append(makeAppend({ entries: makeEntries(entries[0]!.sum, 2, 1, { sizeBytes: 3000 }) }));
  wal.pump();
  t.equal(wal.stats().filesCreated, 2, 'the third batch is in the next file');
  fileSystem.crash({ seed: 1, keepUnsynced: 'all' });
  fileSystem.open(path(1), 'readWrite').write([new Uint8Array(512)], lost.offset);
  t.throws(() => open(fileSystem), {
    code: 'WAL_CORRUPT',
    message: /a batch between is missing/,
  });
});

t.test('a missing file is refused, wherever it is', async (t) => {
  const written = writeLog(12, 800);
  t.ok(written.files.length >= 4);
  for (const { fileId } of written.files.slice(0, -1)) {
    const fileSystem = written.fileSystem.clone();
    fileSystem.remove(path(fileId));
    t.throws(() => open(fileSystem), { code: 'WAL_CORRUPT' }, `file ${fileId}`);
  }
  const fileSystem = written.fileSystem.clone();
  for (const name of fileSystem.list(WAL_DIRECTORY)) {
    if (name.endsWith('.wal')) fileSystem.remove(`${WAL_DIRECTORY}/${name}`);
  }
  t.throws(() => open(fileSystem), { code: 'WAL_CORRUPT', message: /gone or empty/ });
});

t.test(
  'a first file that is gone is refused even when no later file names its entries',
  async (t) => {
    const fileSystem = new MemoryFileSystem();
    const wal = open(fileSystem);
    wal.append(makeAppend({ group: GROUP_TWO, entries: makeEntries(EMPTY_LOG_SUM, 1, 3) }));
    wal.pump();
    for (let index = 1; index <= 12; index++) {
      const sum = sumAt(wal.groupLog(GROUP_ONE), index - 1);
      wal.append(makeAppend({ entries: makeEntries(sum, index, 1, { sizeBytes: 1000 }) }));
      wal.pump();
    }
    const log = wal.groupLog(GROUP_ONE);
    const base = { index: logIndex(12), term: term(1), sum: sumAt(log, 12) };
    wal.compact(GROUP_ONE, base);
    wal.pump();
    await wal.close();
    t.ok(fileSystem.exists(path(1)), 'group two keeps it');
    fileSystem.remove(path(1));
    t.throws(() => open(fileSystem), { code: 'WAL_CORRUPT', message: /entries 1 to 3/ });
  },
);

t.test('a file shorter than it was made is grown again', async (t) => {
  const { fileSystem, states, files } = writeLog(2, 40);
  const end = alignBatch(files[0]!.end);
  const handle = fileSystem.open(path(1), 'readWrite');
  handle.truncate(end);
  handle.sync();
  t.equal(recovered(fileSystem), states.at(-1));
  t.equal(fileSystem.sizeBytes(path(1)), OPTIONS.fileSizeBytes);
});

t.test('rests of making the next file are removed', async (t) => {
  const { fileSystem, states, files } = writeLog(2, 40);
  const nextId = files.at(-1)!.fileId + 1;
  if (fileSystem.exists(path(nextId))) fileSystem.remove(path(nextId));
  const handle = fileSystem.open(path(nextId), 'createNew');
  handle.write([new Uint8Array(3000).fill(9)], 0);
  handle.sync();
  fileSystem.syncDirectory(WAL_DIRECTORY);
  t.equal(recovered(fileSystem), states.at(-1));
  t.equal(fileSystem.exists(path(nextId)), false);
});

t.test('a file of a newer format is refused by name and left alone', async (t) => {
  const { fileSystem } = writeLog(1, 40);
  const bytes = readWholeFile(fileSystem, path(1)).slice(0, 64);
  const view = new DataView(bytes.buffer);
  view.setUint16(4, 2, true);
  view.setUint32(60, (crc32c(bytes.subarray(0, 60)) ^ checksumMask(1)) >>> 0, true);
  const handle = fileSystem.open(path(1), 'readWrite');
  handle.write([bytes], 0);
  const { operationCount } = fileSystem;
  t.throws(() => open(fileSystem), { code: 'FORMAT_UNKNOWN', message: /upgrade/ });
  t.equal(fileSystem.operationCount - operationCount, 2, 'only the directory was made sure of');
});

t.test('a damaged epoch file costs nothing', async (t) => {
  const { fileSystem, states } = writeLog(2, 40);
  fileSystem.flipBit(`${WAL_DIRECTORY}/EPOCH`, 30);
  t.equal(recovered(fileSystem), states.at(-1));
  t.equal(recovered(fileSystem), states.at(-1));
});

t.test('batch numbers never repeat, not even after a dropped batch', async (t) => {
  const { fileSystem, lastBatchOffset } = writeLog(2, 40);
  const numbers = (): string[] =>
    [...describeWalFile(fileSystem, path(1))]
      .filter((line) => line.kind === 'batch')
      .map((line) => line.what);
  const before = numbers();
  fileSystem.flipBit(path(1), lastBatchOffset + 100);
  recovered(fileSystem);
  fileSystem.crash({ seed: 1, keepUnsynced: 'none' });
  const after = numbers();
  t.same(after.slice(0, -1), before.slice(0, -1));
  t.notOk(before.includes(after.at(-1)!));
});

function writeGoldenLog(): MemoryFileSystem {
  const fileSystem = new MemoryFileSystem();
  const wal = open(fileSystem);
  const entries = makeEntries(EMPTY_LOG_SUM, 1, 4, { sizeBytes: 12 });
  wal.append(makeAppend({ hardState: makeHardState(3), entries }));
  const replaced = makeEntries(entries[1]!.sum, 3, 1, { term: 4, sizeBytes: 5 });
  const second = { hardState: makeHardState(4, 2), truncateFrom: logIndex(3), entries: replaced };
  wal.append(makeAppend(second));
  wal.pump();
  const snapshot = makeSnapshot(20, 2, new Uint8Array(16).fill(3));
  wal.append(makeAppend({ group: GROUP_TWO, snapshot, hardState: makeHardState(2, 20, null) }));
  wal.pump();
  wal.compact(GROUP_ONE, { index: logIndex(1), term: term(1), sum: entries[0]!.sum });
  wal.pump();
  return fileSystem;
}

t.test('format version 1 is written byte for byte as frozen', async (t) => {
  const fileSystem = writeGoldenLog();
  const bytes = Buffer.from(readWholeFile(fileSystem, path(1)));
  const frozen = readFileSync(new URL('wal.bin', FIXTURES));
  t.equal(bytes.toString('hex'), frozen.toString('hex'));
});

t.test('a frozen log of format version 1 opens and says what it said', async (t) => {
  const fileSystem = new MemoryFileSystem();
  fileSystem.makeDirectory(WAL_DIRECTORY);
  const handle = fileSystem.open(path(1), 'createNew');
  handle.write([readFileSync(new URL('wal.bin', FIXTURES))], 0);
  const wal = open(fileSystem);
  t.equal(describeLog(wal.groupLog(GROUP_ONE)), '4/n1 base=1 [2@1:15 3@4:25]');
  t.match(wal.groupLog(GROUP_TWO).snapshot(), { index: 20, term: 2, id: 'snapshot-20' });
  t.equal(wal.groupLog(GROUP_TWO).hardState()?.vote, null);
});

t.test('a log file is listed record by record', async (t) => {
  const lines = [...describeWalFile(writeGoldenLog(), path(1))];
  t.same(
    lines.filter((line) => line.kind !== 'record').map((line) => line.what),
    [
      'log file',
      'batch 1:1',
      'batch 1:2',
      'batch 1:3',
      'batch 1:4',
      'zeros to the end of the file',
    ],
  );
  t.same(
    lines.filter((line) => line.kind === 'record').map((line) => line.what),
    ['hardState', 'entry', 'entry', 'entry', 'entry', 'hardState', 'truncate', 'entry'].concat([
      'hardState',
      'snapshot',
      'base',
    ]),
  );
});

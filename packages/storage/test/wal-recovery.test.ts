/** Torn tail or damage: the truth table of recovery, and the frozen bytes of format version 2. */
import { readFileSync } from 'node:fs';
import type { Entry } from '@holdfast/base';
import { EMPTY_LOG_SUM, logIndex, term } from '@holdfast/base';
import t from 'tap';
import { crc32c } from '../src/checksum.ts';
import { readWholeFile } from '../src/fs.ts';
import { fsckDataDirectory } from '../src/fsck.ts';
import type { WalFileLine } from '../src/inspect.ts';
import { describeWalFile } from '../src/inspect.ts';
import { MemoryFileSystem } from '../src/testing/memory-fs.ts';
import { alignBatch, checksumMask, FIRST_BATCH_OFFSET } from '../src/wal/format.ts';
import { InlineWal } from '../src/wal/inline-wal.ts';
import {
  describeLog,
  flawOfDamaged,
  GROUP_ONE,
  GROUP_TWO,
  heal,
  makeAppend,
  makeEntries,
  makeHardState,
  makeSnapshot,
  readAll,
  SMALL_WAL,
  sumAt,
  WAL_DIRECTORY,
} from './support.ts';

const FIXTURES = new URL('../../test/fixtures/format-v2/', import.meta.url);
const GOLDEN = [
  ['0000000000000001.wal', 'wal.bin'],
  ['TERM-A', 'term.bin'],
  ['TERM-B', 'term.bin'],
] as const;
const OPTIONS = { ...SMALL_WAL, fileSizeBytes: 8 * 1024 };
const path = (fileId: number): string => `${WAL_DIRECTORY}/${String(fileId).padStart(16, '0')}.wal`;

const open = (fileSystem: MemoryFileSystem): InlineWal =>
  InlineWal.open({ fileSystem, directory: WAL_DIRECTORY, options: OPTIONS });

/** What fsck says of the log, and nothing of the rest of the directory. */
const fsckWal = (fileSystem: MemoryFileSystem): readonly string[] =>
  fsckDataDirectory(fileSystem, '/data')
    .filter(({ file }) => file.startsWith(WAL_DIRECTORY))
    .map(({ what }) => what);

/** Opens, describes group one, and throws the WAL away. */
const recovered = (fileSystem: MemoryFileSystem): string =>
  describeLog(open(fileSystem).groupLog(GROUP_ONE));

interface Written {
  readonly fileSystem: MemoryFileSystem;
  /** The log after 0, 1, 2, ... batches. */
  readonly states: readonly string[];
  readonly entries: readonly Entry[];
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
  const entries = readAll(log);
  fileSystem.crash({ seed: 1, keepUnsynced: 'all' });
  const files: { fileId: number; end: number }[] = [];
  let lastBatchOffset = 0;
  for (const name of fileSystem.list(WAL_DIRECTORY).filter((name) => name.endsWith('.wal'))) {
    const fileId = Number(name.slice(0, 16));
    const lines = [...describeWalFile(fileSystem, path(fileId))];
    const batch = lines.findLast((line) => line.kind === 'batch');
    if (batch === undefined) continue;
    lastBatchOffset = batch.offset;
    const end = batch.offset + sizeOfBatch(batch);
    files.push({ fileId, end });
  }
  return { fileSystem, states, entries, files, lastBatchOffset };
}

/** Header, confirmation and records. */
const sizeOfBatch = ({ fields }: WalFileLine): number =>
  64 + Number(fields.confirmationSizeBytes) + Number(fields.payloadSizeBytes);

type Outcome = 'refused' | 'all' | 'damaged' | 'withoutLastBatch' | 'wrong';

/** 'damaged' means: nothing but described damage is missing, and repair brings all of it back. */
async function outcomeOf(fileSystem: MemoryFileSystem, written: Written): Promise<Outcome> {
  const { states, entries } = written;
  let wal: InlineWal;
  try {
    wal = open(fileSystem);
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === 'WAL_CORRUPT' || code === 'FORMAT_UNKNOWN') return 'refused';
    throw error;
  }
  const log = wal.groupLog(GROUP_ONE);
  if (log.damage().length > 0) {
    if (flawOfDamaged(log, entries) !== null || !log.isHardStateKnown()) return 'wrong';
    await heal(wal, GROUP_ONE, entries);
    return describeLog(log) === states.at(-1) ? 'damaged' : 'wrong';
  }
  const found = describeLog(log);
  if (found === states.at(-1)) return 'all';
  // Term and vote of the dropped batch live on in their copies.
  return entriesOf(found) === entriesOf(states.at(-2)!) ? 'withoutLastBatch' : 'wrong';
}

const entriesOf = (description: string): string => description.slice(description.indexOf(' '));

for (const { batches, sizeBytes, stride } of [
  { batches: 3, sizeBytes: 40, stride: 1 },
  { batches: 3, sizeBytes: 800, stride: 5 },
]) {
  t.test(`one bad byte anywhere in ${batches} batches of ${sizeBytes} costs nothing`, async (t) => {
    const written = writeLog(batches, sizeBytes);
    const { fileSystem, files, lastBatchOffset } = written;
    const lastFileId = files.at(-1)!.fileId;
    const counts: Record<string, number> = {};
    const wrong: string[] = [];
    for (const { fileId, end } of files) {
      for (let position = 0; position < fileSystem.sizeBytes(path(fileId)); position += stride) {
        const isUnused = position >= end + 512 || (position >= 64 && position < FIRST_BATCH_OFFSET);
        if (isUnused && position % 13 !== 0) continue;
        const copy = fileSystem.clone();
        copy.flipBit(path(fileId), position, position % 8);
        const outcome = await outcomeOf(copy, written);
        counts[outcome] = (counts[outcome] ?? 0) + 1;
        const isInLast = fileId === lastFileId && position >= lastBatchOffset && position < end;
        const isRight =
          outcome === 'all' ||
          outcome === 'damaged' ||
          (isInLast && (outcome === 'withoutLastBatch' || outcome === 'refused'));
        if (!isRight) wrong.push(`file ${fileId} byte ${position}: ${outcome}`);
      }
    }
    t.same(wrong, []);
    t.comment(JSON.stringify(counts));
    t.ok(counts.damaged! > 200 && counts.all! > 200, 'both are common');
    t.ok(files.length > (sizeBytes > 500 ? 1 : 0));
  });
}

t.test('after a clean close even the last batch is confirmed: a bad byte is damage', async (t) => {
  const fileSystem = new MemoryFileSystem();
  const wal = open(fileSystem);
  const entries = makeEntries(EMPTY_LOG_SUM, 1, 2);
  wal.append(makeAppend({ entries }));
  wal.pump();
  await wal.close();
  const bytes = Buffer.from(readWholeFile(fileSystem, path(1)));
  const position = bytes.indexOf(Buffer.from(entries[1]!.data));
  fileSystem.flipBit(path(1), position + 3, 5);
  const again = open(fileSystem);
  t.match(again.groupLog(GROUP_ONE).damage(), [
    { low: 2, high: 2, lastTerm: 1, lastSum: entries[1]!.sum, file: path(1), what: /checksum/ },
  ]);
  t.equal(again.groupLog(GROUP_ONE).lastIndex(), 2, 'the log is not shorter for it');
  await heal(again, GROUP_ONE, entries);
  t.same(readAll(again.groupLog(GROUP_ONE)), entries);
});

t.test('an unfinished last batch is dropped, reported, and zeroed on the disk', async (t) => {
  const { fileSystem, states, lastBatchOffset } = writeLog(2, 500);
  fileSystem.flipBit(path(1), lastBatchOffset + 600);
  const wal = open(fileSystem);
  t.match(wal.tornTail, { file: path(1), offset: lastBatchOffset });
  t.equal(entriesOf(describeLog(wal.groupLog(GROUP_ONE))), entriesOf(states[1]!));
  t.same(wal.groupLog(GROUP_ONE).hardState(), makeHardState(2, 0), 'the copies have the vote');
  fileSystem.crash({ seed: 1, keepUnsynced: 'none' });
  const bytes = readWholeFile(fileSystem, path(1));
  const boot = lastBatchOffset + 2 * 512;
  t.equal(
    bytes.subarray(boot).every((byte) => byte === 0),
    true,
    'nothing is left behind the two batches of the start',
  );
  t.equal(entriesOf(recovered(fileSystem)), entriesOf(states[1]!));
});

t.test('rot in a batch is not taken for a torn tail when a torn batch follows it', async (t) => {
  const written = writeLog(3, 40);
  const { fileSystem, lastBatchOffset } = written;
  const handle = fileSystem.open(path(1), 'readWrite');
  handle.write([new Uint8Array(64)], lastBatchOffset);
  handle.sync();
  t.equal(
    await outcomeOf(fileSystem.clone(), written),
    'withoutLastBatch',
    'torn alone is dropped',
  );
  const bytes = Buffer.from(readWholeFile(fileSystem, path(1)));
  fileSystem.flipBit(path(1), bytes.indexOf(Buffer.from(written.entries[3]!.data)) + 9);
  const log = open(fileSystem).groupLog(GROUP_ONE);
  t.match(log.damage(), [{ low: 4, high: 4, lastSum: written.entries[3]!.sum }]);
  t.equal(flawOfDamaged(log, written.entries.slice(0, 4)), null);
});

t.test('a file made after the last batch was durable proves that its damage is rot', async (t) => {
  const written = [1, 2, 3, 4, 5].map((batches) => writeLog(batches, 800));
  const rolled = written.filter(({ lastBatchOffset }) => lastBatchOffset === FIRST_BATCH_OFFSET);
  t.ok(rolled.length > 0, 'the last batch is the first of its file, and the next file is made');
  for (const one of rolled) {
    const { fileId } = one.files.at(-1)!;
    t.ok(one.fileSystem.exists(path(fileId + 1)));
    one.fileSystem.flipBit(path(fileId), FIRST_BATCH_OFFSET + 1200);
    t.equal(await outcomeOf(one.fileSystem, one), 'damaged');
  }
});

t.test('a batch that vanished from the end of a file is missed by the file after it', async (t) => {
  const written = writeLog(6, 800);
  const { fileSystem, files } = written;
  t.ok(files.length >= 2);
  const lines = [...describeWalFile(fileSystem, path(1))];
  const last = lines.findLast((line) => line.kind === 'batch')!;
  const handle = fileSystem.open(path(1), 'readWrite');
  handle.write([new Uint8Array(fileSystem.sizeBytes(path(1)) - last.offset)], last.offset);
  t.equal(await outcomeOf(fileSystem, written), 'damaged');
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
  const again = open(fileSystem);
  t.same(again.groupLog(GROUP_ONE).damage(), [], 'it held only a commit hint');
  t.same(
    again.groupLog(GROUP_ONE).hardState(),
    makeHardState(1, 1),
    'which is confirmed elsewhere',
  );
  const found = fsckWal(fileSystem);
  t.match(found, [/batch 1:3 is missing; nothing is missing for it/]);
});

t.test('a missing file is damage that peers can give back, wherever it is', async (t) => {
  const written = writeLog(12, 800);
  t.ok(written.files.length >= 4);
  for (const { fileId } of written.files.slice(0, -1)) {
    const fileSystem = written.fileSystem.clone();
    fileSystem.remove(path(fileId));
    t.equal(await outcomeOf(fileSystem, written), 'damaged', `file ${fileId}`);
  }
  const fileSystem = written.fileSystem.clone();
  for (const name of fileSystem.list(WAL_DIRECTORY)) {
    if (name.endsWith('.wal')) fileSystem.remove(`${WAL_DIRECTORY}/${name}`);
  }
  t.throws(() => open(fileSystem), { code: 'WAL_CORRUPT', message: /gone or empty/ });
});

t.test(
  'a first file that is gone is missed even when no later file names its entries',
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
    t.match(open(fileSystem).groupLog(GROUP_TWO).damage(), [{ low: 1, high: 3, what: /gone/ }]);
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
  view.setUint16(4, 3, true);
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
  fileSystem.flipBit(path(1), lastBatchOffset + 300);
  recovered(fileSystem);
  fileSystem.crash({ seed: 1, keepUnsynced: 'none' });
  const after = numbers();
  const kept = before.length - 1;
  t.same(after.slice(0, kept), before.slice(0, kept));
  t.same(
    after.slice(kept).filter((batch) => before.includes(batch)),
    [],
  );
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

t.test('format version 2 is written byte for byte as frozen', async (t) => {
  const fileSystem = writeGoldenLog();
  for (const [name, fixture] of GOLDEN) {
    const bytes = Buffer.from(readWholeFile(fileSystem, `${WAL_DIRECTORY}/${name}`));
    t.equal(bytes.toString('hex'), readFileSync(new URL(fixture, FIXTURES)).toString('hex'), name);
  }
});

t.test('a frozen log of format version 2 opens and says what it said', async (t) => {
  const fileSystem = new MemoryFileSystem();
  fileSystem.makeDirectory(WAL_DIRECTORY);
  for (const [name, fixture] of GOLDEN) {
    const handle = fileSystem.open(`${WAL_DIRECTORY}/${name}`, 'createNew');
    handle.write([readFileSync(new URL(fixture, FIXTURES))], 0);
  }
  const wal = open(fileSystem);
  t.equal(describeLog(wal.groupLog(GROUP_ONE)), '4/n1 base=1 [2@1:15 3@4:25]');
  t.match(wal.groupLog(GROUP_TWO).snapshot(), { index: 20, term: 2, id: 'snapshot-20' });
  t.equal(wal.groupLog(GROUP_TWO).hardState()?.vote, null);
  t.same(fsckWal(fileSystem), []);
});

t.test('a log of format version 1 is refused by both versions', async (t) => {
  const fileSystem = new MemoryFileSystem();
  fileSystem.makeDirectory(WAL_DIRECTORY);
  const handle = fileSystem.open(path(1), 'createNew');
  handle.write([readFileSync(new URL('../format-v1/wal.bin', FIXTURES))], 0);
  t.throws(() => open(fileSystem), {
    code: 'FORMAT_UNKNOWN',
    message: /version 1, this program reads and writes version 2/,
  });
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

/**
 * Goal: a file is the same sealed object however it is read, and never one made of two versions of
 * the file. Method: files of several frames on a disk in memory, read in parts of every kind.
 */
import { SeededRandom } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import type { Compression } from '@holdfast/storage';
import {
  openSealed,
  SEALED_FRAME_SIZE_BYTES,
  sealedSizeBytesMax,
  writeChecksummedFile,
} from '@holdfast/storage';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import t from 'tap';
import type { PinnedFile } from '../src/backup/checkpoint-source.ts';
import { examineFile, FileFactsCache } from '../src/backup/file-facts.ts';
import { SealedFileSource } from '../src/backup/sealed-file.ts';
import { TransferBudget } from '../src/replica/transfer-budget.ts';
import { errorOf, KEYS, pause, sealing } from './support/backup.ts';

const PATH = '/data/backup/x/collections/1/0/segment-00000001.seg';
const CONTEXT = 'cluster/files/name';
const PAYLOAD_SIZE_BYTES = 2 * SEALED_FRAME_SIZE_BYTES + 300_000;

function makeFile(payloadSizeBytes = PAYLOAD_SIZE_BYTES) {
  const fileSystem = new MemoryFileSystem();
  fileSystem.makeDirectory('/data/backup/x/collections/1/0');
  const random = new SeededRandom(3);
  const payload = new Uint8Array(payloadSizeBytes);
  for (let i = 0; i < payload.byteLength; i += 3) payload[i] = random.nextU32() & 255;
  const options = { kind: 'segment', algorithm: 'xxhash3' } as const;
  const { checksum, sizeBytes } = writeChecksummedFile(fileSystem, PATH, options, [payload]);
  const file: PinnedFile = {
    ...{ path: 'collections/1/0/segment-00000001.seg', fullPath: PATH, kind: 'segment' },
    ...{ checksum, sizeBytes },
  };
  return { fileSystem, file };
}

async function openSource(
  made: ReturnType<typeof makeFile>,
  compression: Compression,
  changes: { readonly budget?: TransferBudget; readonly signal?: AbortSignal } = {},
): Promise<SealedFileSource> {
  const { fileSystem, file } = made;
  const facts = await examineFile(fileSystem, file, pause);
  return SealedFileSource.open({
    ...{ fileSystem, fullPath: PATH, facts, context: CONTEXT, seal: sealing({ compression }) },
    ...{ pause, budget: null },
    ...changes,
  });
}

for (const compression of ['none', 'gzip', 'zstd'] as const) {
  t.test(`parts read in any order are parts of one object (${compression})`, async (t) => {
    const made = makeFile();
    const source = await openSource(made, compression);
    const whole = await source.read(0, source.sizeBytes);
    const opened = await openSealed(whole, {
      ...{ kind: 'file', context: CONTEXT, keys: KEYS, sizeBytesMax: made.file.sizeBytes },
    });
    t.equal(Buffer.compare(opened, made.fileSystem.contentOf(PATH)), 0, 'it is the file');
    const most = sealedSizeBytesMax(made.file.sizeBytes);
    if (compression === 'none') t.equal(source.sizeBytes, most);
    else t.ok(source.sizeBytes < most * 0.9, 'it is smaller');
    const random = new SeededRandom(8);
    const wrong: string[] = [];
    for (let i = 0; i < 12; i++) {
      const offset = random.nextBelow(source.sizeBytes);
      const length = random.nextBelow(Math.min(900_000, source.sizeBytes - offset) + 1);
      const part = await source.read(offset, length);
      const expected = whole.subarray(offset, offset + length);
      if (Buffer.compare(part, expected) !== 0) wrong.push(`${offset}+${length}`);
    }
    t.same(wrong, []);
    source.close();
  });
}

t.test('a file that changes while it is sent is never sent as a mixture', async (t) => {
  for (const compression of ['none', 'zstd'] as const) {
    const made = makeFile();
    const source = await openSource(made, compression);
    await source.read(0, 1_000);
    made.fileSystem.flipBit(PATH, 2 * SEALED_FRAME_SIZE_BYTES + 5);
    const error = await errorOf(() => source.read(0, source.sizeBytes));
    t.equal(error?.code, 'FILE_CORRUPT', compression);
    t.match(error?.message, PATH);
    source.close();
  }
});

t.test('what was cut, or is another file than the checkpoint names, is not examined', async (t) => {
  const { fileSystem, file } = makeFile(100_000);
  const other = { ...file, checksum: '0'.repeat(64) };
  const error = await errorOf(() => examineFile(fileSystem, other, pause));
  t.equal(error?.code, 'FILE_CORRUPT');
  fileSystem.tamper(PATH, fileSystem.contentOf(PATH).subarray(0, 70_000));
  const cut = await errorOf(() => examineFile(fileSystem, file, pause));
  t.equal(cut?.code, 'FILE_CORRUPT');
});

t.test('bytes leave at the rate of the budget, and an abort is heard meanwhile', async (t) => {
  const made = makeFile(900_000);
  const clock = new VirtualClock();
  const budget = new TransferBudget(clock, clock, 100_000);
  const controller = new AbortController();
  const source = await openSource(made, 'none', { budget, signal: controller.signal });
  let isDone = false;
  const reading = source.read(0, source.sizeBytes).finally(() => {
    isDone = true;
  });
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  while (!isDone) {
    await turn();
    clock.advance(50);
  }
  await reading;
  const leastMs = ((source.sizeBytes - 256 * 1024) / 100_000) * 1_000;
  t.ok(clock.monotonicMs() >= leastMs, `${clock.monotonicMs()} ms, at least ${leastMs}`);
  const aborted = errorOf(() => source.read(0, source.sizeBytes));
  await turn();
  controller.abort();
  clock.advance(10_000);
  t.equal((await aborted)?.code, 'ABORTED');
  source.close();
});

t.test('a file is examined once for several sinks, and again after a failure', async (t) => {
  const { fileSystem, file } = makeFile(1_000);
  let count = 0;
  const cache = new FileFactsCache((examined) => {
    count += 1;
    return examineFile(fileSystem, examined, pause);
  });
  const [left, right] = await Promise.all([cache.of(file), cache.of(file)]);
  t.equal(left, right);
  t.equal(count, 1);
  const missing = { ...file, path: 'other', fullPath: '/data/none' };
  t.equal((await errorOf(() => cache.of(missing)))?.code, 'FILE_IO');
  t.equal((await errorOf(() => cache.of(missing)))?.code, 'FILE_IO');
  t.equal(count, 3);
});

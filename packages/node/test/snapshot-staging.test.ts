/**
 * Goal: what was received once is not received again, and nothing is believed that was not
 * verified. Method: the staging folder on the faulty file system in memory, cut at every class of
 * byte boundary, by kill, power cut, rot and failing syncs.
 */
import { SeededRandom } from '@holdfast/base';
import type { FileSystem } from '@holdfast/storage';
import { BLOCK_SIZE_BYTES, joinPath, readWholeFile, writeChecksummedFile } from '@holdfast/storage';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import t from 'tap';
import { SnapshotStaging, stagingPath } from '../src/replica/snapshot-staging.ts';
import type { IncomingSnapshotFile } from '../src/service-api.ts';

const DATA = '/data';
const SEGMENT = 'collections/3/0/segment-1.seg';
const META = 'meta/meta-9-a.meta';
const pause = (): Promise<void> => Promise.resolve();

interface Source {
  readonly files: readonly IncomingSnapshotFile[];
  readonly contents: readonly Uint8Array[];
}

/** Block files as a sender has them. */
function makeSource(sizesBytes: Readonly<Record<string, number>>, seed = 1): Source {
  const fileSystem = new MemoryFileSystem();
  const random = new SeededRandom(seed);
  const files: IncomingSnapshotFile[] = [];
  const contents: Uint8Array[] = [];
  for (const [path, payloadSizeBytes] of Object.entries(sizesBytes)) {
    const payload = new Uint8Array(payloadSizeBytes).map(() => random.nextU32() & 255);
    const full = joinPath(DATA, path);
    fileSystem.makeDirectory(full.slice(0, full.lastIndexOf('/')));
    const options = { kind: 'segment', algorithm: 'xxhash3' } as const;
    const { sizeBytes, checksum } = writeChecksummedFile(fileSystem, full, options, [payload]);
    files.push({ path, sizeBytes, checksum });
    contents.push(readWholeFile(fileSystem, full));
  }
  return { files, contents };
}

function newDisk(): MemoryFileSystem {
  const fileSystem = new MemoryFileSystem();
  fileSystem.makeDirectory(DATA);
  return fileSystem;
}

const open = (fileSystem: FileSystem, { files }: Source): Promise<SnapshotStaging> =>
  SnapshotStaging.open({ fileSystem, dataDirectory: DATA, files, pause });

/** Sends what is missing, up to `limitBytes` in total, in pieces of `pieceBytes`. */
async function feed(
  staging: SnapshotStaging,
  source: Source,
  { limitBytes = Number.POSITIVE_INFINITY, pieceBytes = 50_000 } = {},
): Promise<number> {
  let sentBytes = 0;
  const held = staging.heldSizesBytes;
  for (const [fileIndex, content] of source.contents.entries()) {
    let offset = held[fileIndex] ?? 0;
    while (offset < content.byteLength && sentBytes < limitBytes) {
      const end = Math.min(
        content.byteLength,
        offset + pieceBytes,
        offset + limitBytes - sentBytes,
      );
      await staging.write(fileIndex, offset, content.subarray(offset, end));
      sentBytes += end - offset;
      offset = end;
    }
  }
  return sentBytes;
}

function wrongFiles(fileSystem: FileSystem, { files, contents }: Source): readonly string[] {
  return files.flatMap(({ path }, i) => {
    const full = joinPath(DATA, path);
    if (!fileSystem.exists(full)) return [`${path} is missing`];
    return Buffer.compare(readWholeFile(fileSystem, full), contents[i] ?? new Uint8Array()) === 0
      ? []
      : [`${path} has other bytes`];
  });
}

const RECORD = BLOCK_SIZE_BYTES + 8;
/** Around the header, around block borders, and around the ends of the files. */
const CUTS: readonly (readonly [name: string, bytes: number])[] = [
  ['nothing', 0],
  ['one byte', 1],
  ['all of the header but a byte', 63],
  ['the header', 64],
  ['a byte of the first block', 65],
  ['the first block without its checksum', 64 + BLOCK_SIZE_BYTES],
  ['the first block but a byte', 64 + RECORD - 1],
  ['the first block', 64 + RECORD],
  ['two blocks and a half', 64 + 2 * RECORD + RECORD / 2],
  ['all of a file but a byte', 64 + 3 * RECORD + 18 - 1],
  ['a whole file', 64 + 3 * RECORD + 18],
  ['a file and a byte', 64 + 3 * RECORD + 18 + 1],
];

for (const end of ['kill', 'power cut'] as const) {
  t.test(`a transfer cut by a ${end} at any byte is gone on with, and ends whole`, async (t) => {
    const source = makeSource({ [SEGMENT]: 3 * BLOCK_SIZE_BYTES + 10, [META]: 70_000 });
    const sizeBytes = source.contents.reduce((sum, content) => sum + content.byteLength, 0);
    for (const [name, limitBytes] of CUTS) {
      for (const seed of end === 'kill' ? [0] : [1, 2, 3]) {
        const fileSystem = newDisk();
        const first = await open(fileSystem, source);
        t.equal(await feed(first, source, { limitBytes }), limitBytes, name);
        if (end === 'kill') fileSystem.crashProcess();
        else fileSystem.crash({ seed, keepUnsynced: seed === 1 ? 'none' : 'random' });
        const second = await open(fileSystem, source);
        const heldBytes = second.heldSizeBytes;
        t.ok(heldBytes <= limitBytes, `${name}, seed ${seed}: ${heldBytes} of ${limitBytes} held`);
        // What a live disk holds is lost at most back to the last whole block of each file.
        if (end === 'kill')
          t.ok(heldBytes > limitBytes - RECORD, `${name}: no whole block is lost`);
        t.equal(await feed(second, source), sizeBytes - heldBytes, 'only the rest is sent');
        await second.seal();
        second.install();
        fileSystem.crash({ seed, keepUnsynced: 'none' });
        t.strictSame(wrongFiles(fileSystem, source), [], `${name}, seed ${seed}`);
      }
    }
  });
}

t.test('a file that is here already, with the same checksum, is not sent', async (t) => {
  const source = makeSource({ [SEGMENT]: 200_000, [META]: 5_000 });
  const fileSystem = newDisk();
  const first = await open(fileSystem, source);
  await feed(first, source);
  await first.seal();
  first.install();
  const other = makeSource({ [META.replace('9-a', '12-b')]: 4_000 }, 7);
  const next: Source = {
    files: [...source.files.slice(0, 1), ...other.files],
    contents: [...source.contents.slice(0, 1), ...other.contents],
  };
  const second = await open(fileSystem, next);
  t.strictSame(second.heldSizesBytes, [source.contents[0]?.byteLength, 0]);
  await feed(second, next);
  await second.seal();
  second.install();
  t.strictSame(wrongFiles(fileSystem, next), []);
  t.strictSame(wrongFiles(fileSystem, source), [], 'what was there is untouched');
});

t.test('a file here that rotted since it was looked at fails the seal', async (t) => {
  const source = makeSource({ [SEGMENT]: 200_000 });
  const fileSystem = newDisk();
  const first = await open(fileSystem, source);
  await feed(first, source);
  await first.seal();
  first.install();
  const second = await open(fileSystem, source);
  t.equal(second.heldSizesBytes[0], source.contents[0]?.byteLength);
  fileSystem.flipBit(joinPath(DATA, SEGMENT), 100_000);
  await t.rejects(second.seal(), { code: 'FILE_CORRUPT' });
  const third = await open(fileSystem, source);
  t.equal(third.heldSizesBytes[0], 0, 'then it is fetched');
  await feed(third, source);
  await third.seal();
  third.install();
  t.strictSame(wrongFiles(fileSystem, source), []);
});

t.test('the list of another leader keeps what it names too, and removes the rest', async (t) => {
  const mine = makeSource({ [SEGMENT]: 300_000, [META]: 300_000 });
  const fileSystem = newDisk();
  const first = await open(fileSystem, mine);
  await feed(first, mine, { limitBytes: (mine.files[0]?.sizeBytes ?? 0) + 250_000 });
  first.close();
  const other = makeSource({ [META]: 300_000 }, 5);
  const next: Source = {
    files: [...other.files, ...mine.files.slice(0, 1)],
    contents: [...other.contents, ...mine.contents.slice(0, 1)],
  };
  const second = await open(fileSystem, next);
  t.strictSame(
    second.heldSizesBytes,
    [0, mine.contents[0]?.byteLength],
    'the same path with another checksum is another file',
  );
  t.equal(fileSystem.list(stagingPath(DATA)).length, 1, 'what nobody names is gone');
  await feed(second, next);
  await second.seal();
  second.install();
  t.strictSame(wrongFiles(fileSystem, next), []);
});

t.test('rot in a staged file costs the blocks behind it, never the result', async (t) => {
  const source = makeSource({ [SEGMENT]: 10 * BLOCK_SIZE_BYTES });
  const size = source.contents[0]?.byteLength ?? 0;
  for (const limitBytes of [size - 5, size]) {
    const fileSystem = newDisk();
    const first = await open(fileSystem, source);
    await feed(first, source, { limitBytes });
    first.close();
    const name = fileSystem.list(stagingPath(DATA))[0] ?? '';
    fileSystem.flipBit(joinPath(stagingPath(DATA), name), 64 + 4 * RECORD + 77);
    const second = await open(fileSystem, source);
    t.equal(second.heldSizesBytes[0], 64 + 4 * RECORD);
    await feed(second, source);
    await second.seal();
    second.install();
    t.strictSame(wrongFiles(fileSystem, source), []);
  }
});

t.test('bytes that do not give the promised checksum are dropped, not installed', async (t) => {
  const source = makeSource({ [SEGMENT]: 100_000 });
  const wrong = makeSource({ [SEGMENT]: 100_000 }, 9);
  const fileSystem = newDisk();
  const staging = await open(fileSystem, source);
  await t.rejects(feed(staging, wrong), { code: 'FILE_CORRUPT' });
  t.strictSame(fileSystem.list(stagingPath(DATA)), []);
});

t.test('a failed sync drops its file, which is then fetched into a new one', async (t) => {
  const source = makeSource({ [SEGMENT]: 9 * 1024 * 1024 });
  for (const skip of [0, 1, 2]) {
    const fileSystem = newDisk();
    const staging = await open(fileSystem, source);
    fileSystem.faults.add({ operation: 'sync', pathContains: 'staging', skip, fault: 'EIO' });
    await t.rejects(feed(staging, source, { pieceBytes: 1024 * 1024 }), { code: 'FILE_IO' });
    t.strictSame(fileSystem.list(stagingPath(DATA)), [], `sync ${skip}`);
    const second = await open(fileSystem, source);
    t.equal(second.heldSizeBytes, 0);
    await feed(second, source, { pieceBytes: 1024 * 1024 });
    await second.seal();
    second.install();
    fileSystem.crash({ seed: 1, keepUnsynced: 'none' });
    t.strictSame(wrongFiles(fileSystem, source), []);
  }
});

t.test(
  'what a process wrote and died before it was synced is synced by the next one',
  async (t) => {
    const source = makeSource({ [SEGMENT]: 100_000 });
    const fileSystem = newDisk();
    const first = await open(fileSystem, source);
    fileSystem.faults.add({ operation: 'sync', pathContains: 'staging', fault: 'crash' });
    await t.rejects(feed(first, source));
    fileSystem.crashProcess();
    const second = await open(fileSystem, source);
    t.equal(second.heldSizeBytes, source.contents[0]?.byteLength, 'all of it is to be seen');
    await second.seal();
    second.install();
    fileSystem.crash({ seed: 1, keepUnsynced: 'none' });
    t.strictSame(wrongFiles(fileSystem, source), []);
  },
);

t.test('a snapshot that does not fit is refused before a byte of it is taken', async (t) => {
  const source = makeSource({ [SEGMENT]: 1_000_000 });
  const fileSystem = newDisk();
  fileSystem.capacityBytes = 900_000;
  await t.rejects(open(fileSystem, source), { code: 'DISK_FULL' });
});

t.test('files that no checkpoint has are refused', async (t) => {
  const { files } = makeSource({ [SEGMENT]: 1_000 });
  const [file] = files;
  if (file === undefined) throw new Error('one file was made');
  const bad: readonly IncomingSnapshotFile[] = [
    { ...file, path: '../../etc/passwd' },
    { ...file, path: 'CHECKPOINT' },
    { ...file, path: 'wal/000.wal' },
    { ...file, path: 'meta/.hidden' },
    { ...file, path: `meta/${'x'.repeat(200)}` },
    { ...file, checksum: 'own' },
    { ...file, checksum: '../x' },
    { ...file, sizeBytes: 0 },
  ];
  for (const one of bad) {
    await t.rejects(
      open(newDisk(), { files: [one], contents: [] }),
      { code: 'PEER_PROTOCOL' },
      `${one.path} ${one.checksum.slice(0, 8)}`,
    );
  }
  await t.rejects(open(newDisk(), { files: [file, file], contents: [] }), {
    code: 'PEER_PROTOCOL',
  });
});

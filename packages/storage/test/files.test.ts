/** Atomic files, JSON files, block files, identity, checkpoint root, lock, and fsck over all. */
import { readFileSync } from 'node:fs';
import {
  clusterId,
  EMPTY_LOG_SUM,
  groupId,
  incarnation,
  logIndex,
  nodeId,
  SeededRandom,
  term,
} from '@holdfast/base';
import t from 'tap';
import { removeTemporaryFiles, writeAtomicFile } from '../src/atomic-file.ts';
import { readAtomicJson, writeAtomicJson } from '../src/atomic-json.ts';
import type { CheckpointRoot } from '../src/checkpoint-root.ts';
import {
  readCheckpointRoot,
  recoverCheckpointRoot,
  referencedFiles,
  writeCheckpointRoot,
} from '../src/checkpoint-root.ts';
import { crc32c, crc32cOfChunks, createEntryHasher, toHex, xxh3_64 } from '../src/checksum.ts';
import {
  ChecksummedFileReader,
  digestChecksummedFile,
  verifyChecksummedFile,
} from '../src/checksummed-file.ts';
import { writeChecksummedFile } from '../src/checksummed-writer.ts';
import { formatDataDirectory } from '../src/data-directory.ts';
import { findLockHolder, lockDataDirectory } from '../src/data-lock.ts';
import { readWholeFile } from '../src/fs.ts';
import { fsckDataDirectory } from '../src/fsck.ts';
import type { NodeIdentity } from '../src/identity.ts';
import { readIdentity } from '../src/identity.ts';
import { NodeProcessTable } from '../src/process-table.ts';
import { FakeProcessTable } from '../src/testing/fake-process-table.ts';
import { CrashSignal } from '../src/testing/fault-plan.ts';
import { MemoryFileSystem } from '../src/testing/memory-fs.ts';
import { InlineWal } from '../src/wal/inline-wal.ts';
import { makeAppend, makeEntries, makeHardState, makeSnapshot, SMALL_WAL } from './support.ts';

const FIXTURES = new URL('../../test/fixtures/format-v1/', import.meta.url);
const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const textOf = (fileSystem: MemoryFileSystem, path: string): string =>
  Buffer.from(readWholeFile(fileSystem, path)).toString();

/** Runs `body` with a crash before its operation 1, 2, ... until it gets through. */
function atEveryCrashPoint(
  prepare: () => MemoryFileSystem,
  body: (fileSystem: MemoryFileSystem) => void,
  check: (fileSystem: MemoryFileSystem, point: number) => void,
): number {
  for (let point = 1; ; point++) {
    for (const keepUnsynced of ['none', 'random', 'all'] as const) {
      const fileSystem = prepare();
      fileSystem.faults.reset();
      fileSystem.crashAtOperation(point);
      try {
        body(fileSystem);
        return point - 1;
      } catch (error) {
        if (!(error instanceof CrashSignal)) throw error;
      }
      fileSystem.crash({ seed: point, keepUnsynced });
      check(fileSystem, point);
    }
  }
}

t.test('checksums are the published ones', async (t) => {
  t.equal(crc32c(bytesOf('123456789')), 0xe3069283);
  t.equal(crc32c(new Uint8Array(0)), 0);
  const random = new SeededRandom(1);
  for (let length = 0; length < 400; length++) {
    const bytes = new Uint8Array(length).map(() => random.nextBelow(256));
    const cut = random.nextBelow(length + 1);
    const pieces = [bytes.subarray(0, cut), bytes.subarray(cut)];
    if (crc32c(bytes) !== crc32cOfChunks(pieces)) t.fail(`length ${length}`);
  }
  t.equal(toHex(xxh3_64([])), '2d06800538d394c2');
});

t.test('the entry hash of format version 1 is frozen', async (t) => {
  const hash = createEntryHasher();
  const first = hash(EMPTY_LOG_SUM, term(1), logIndex(1), 'normal', bytesOf('hello'));
  const second = hash(first, term(0x1_0000_0001), logIndex(2), 'conf', new Uint8Array(0));
  t.same(
    [toHex(first), toHex(second)],
    readFileSync(new URL('entry-hash.txt', FIXTURES), 'utf8').trim().split('\n'),
  );
});

t.test('an atomic file is old or new after a crash at any operation', async (t) => {
  const points = atEveryCrashPoint(
    () => {
      const fileSystem = new MemoryFileSystem();
      fileSystem.makeDirectory('/d');
      writeAtomicFile(fileSystem, '/d/f', [bytesOf('old')]);
      return fileSystem;
    },
    (fileSystem) => writeAtomicFile(fileSystem, '/d/f', [bytesOf('new '), bytesOf('content')]),
    (fileSystem, point) => {
      const text = textOf(fileSystem, '/d/f');
      if (text !== 'old' && text !== 'new content') t.fail(`point ${point}: ${text}`);
      removeTemporaryFiles(fileSystem, '/d');
      t.same(fileSystem.list('/d'), ['f']);
      writeAtomicFile(fileSystem, '/d/f', [bytesOf('again')]);
    },
  );
  t.ok(points >= 5, `${points} crash points`);
});

t.test('an atomic file is durable when the call returns', async (t) => {
  const fileSystem = new MemoryFileSystem();
  fileSystem.makeDirectory('/d');
  writeAtomicFile(fileSystem, '/d/f', [bytesOf('new')]);
  fileSystem.crash({ seed: 1, keepUnsynced: 'none' });
  t.equal(textOf(fileSystem, '/d/f'), 'new');
});

t.test('a flipped bit anywhere in a JSON file is found', async (t) => {
  const fileSystem = new MemoryFileSystem();
  const format = { format: 'test', version: 1 };
  const body = { name: 'ünï', list: [1, -0.5, null, true], deep: { a: '' } };
  writeAtomicJson(fileSystem, '/j', format, body);
  t.same(readAtomicJson(fileSystem, '/j', format), body);
  for (let position = 0; position < fileSystem.sizeBytes('/j'); position++) {
    const copy = fileSystem.clone();
    copy.flipBit('/j', position, position % 8);
    t.throws(() => readAtomicJson(copy, '/j', format), { code: 'FILE_CORRUPT' });
  }
  const newer = { format: 'test', version: 2 };
  writeAtomicJson(fileSystem, '/j', newer, body);
  t.throws(() => readAtomicJson(fileSystem, '/j', format), { code: 'FORMAT_UNKNOWN' });
});

const SEGMENT = { kind: 'segment', algorithm: 'xxhash3' } as const;

function* pieces(size: number, seed: number): Generator<Uint8Array> {
  const random = new SeededRandom(seed);
  for (let left = size; left > 0; ) {
    const count = Math.min(left, 1 + random.nextBelow(50_000));
    yield new Uint8Array(count).map((_, i) => (left + i) & 0xff);
    left -= count;
  }
}

t.test('a block file gives back any range, and its digest is that of its bytes', async (t) => {
  for (const algorithm of ['crc32c', 'xxhash3', 'sha256'] as const) {
    for (const size of [0, 1, 65_535, 65_536, 65_537, 300_000]) {
      const fileSystem = new MemoryFileSystem();
      const whole = Buffer.concat([...pieces(size, 3)]);
      const facts = writeChecksummedFile(
        fileSystem,
        '/s',
        { ...SEGMENT, algorithm },
        pieces(size, 3),
      );
      t.equal(facts.payloadSizeBytes, size);
      t.equal(facts.sizeBytes, fileSystem.sizeBytes('/s'));
      t.equal(facts.checksum, digestChecksummedFile(fileSystem, '/s'));
      const reader = ChecksummedFileReader.open(fileSystem, '/s', 'segment');
      t.equal(Buffer.compare(reader.readAll(), whole), 0);
      t.equal(Buffer.compare(Buffer.concat([...reader.stream(9999)]), whole), 0);
      const middle = Math.floor(size / 3);
      const range = reader.read(middle, size - middle);
      t.equal(Buffer.compare(range, whole.subarray(middle)), 0);
      t.same(verifyChecksummedFile(fileSystem, '/s'), []);
      reader.close();
    }
  }
});

t.test('no damaged byte of a block file is served, and its block is named', async (t) => {
  const fileSystem = new MemoryFileSystem();
  const { sizeBytes } = writeChecksummedFile(fileSystem, '/s', SEGMENT, pieces(140_000, 5));
  for (let position = 0; position < sizeBytes; position += position < 64 ? 1 : 997) {
    const copy = fileSystem.clone();
    copy.flipBit('/s', position, position % 8);
    const damage = verifyChecksummedFile(copy, '/s');
    t.equal(damage.length, 1, `byte ${position}`);
    t.equal(
      damage[0]?.offset,
      position < 64 ? 0 : 64 + Math.floor((position - 64) / 65_544) * 65_544,
    );
    t.throws(
      () => {
        const reader = ChecksummedFileReader.open(copy, '/s', 'segment');
        reader.readAll();
      },
      { code: 'SEGMENT_CORRUPT', details: { file: '/s' } },
    );
  }
  const handle = fileSystem.open('/s', 'readWrite');
  handle.truncate(sizeBytes - 1);
  t.throws(() => ChecksummedFileReader.open(fileSystem, '/s', 'segment'), {
    code: 'SEGMENT_CORRUPT',
  });
  t.equal(verifyChecksummedFile(fileSystem, '/s').length, 1);
});

t.test('two blocks that changed places are both found', async (t) => {
  const fileSystem = new MemoryFileSystem();
  writeChecksummedFile(fileSystem, '/s', SEGMENT, pieces(131_072, 5));
  const bytes = readWholeFile(fileSystem, '/s');
  const handle = fileSystem.open('/s', 'readWrite');
  handle.write([bytes.subarray(64 + 65_544), bytes.subarray(64, 64 + 65_544)], 64);
  t.equal(verifyChecksummedFile(fileSystem, '/s').length, 2);
});

t.test('a block file of another kind is refused', async (t) => {
  const fileSystem = new MemoryFileSystem();
  writeChecksummedFile(fileSystem, '/s', { kind: 'meta', algorithm: 'crc32c' }, [bytesOf('x')]);
  t.throws(() => ChecksummedFileReader.open(fileSystem, '/s', 'segment'), {
    code: 'SEGMENT_CORRUPT',
  });
  const reader = ChecksummedFileReader.openAny(fileSystem, '/s');
  t.same([reader.kind, reader.algorithm], ['meta', 'crc32c']);
});

t.test('block files of format version 1 are written and read as frozen', async (t) => {
  const frozen = readFileSync(new URL('block-file.bin', FIXTURES));
  const fileSystem = new MemoryFileSystem();
  writeChecksummedFile(fileSystem, '/s', SEGMENT, pieces(66_000, 9));
  t.equal(Buffer.compare(readWholeFile(fileSystem, '/s'), frozen), 0);
  const handle = fileSystem.open('/frozen', 'createNew');
  handle.write([frozen], 0);
  const reader = ChecksummedFileReader.open(fileSystem, '/frozen', 'segment');
  t.equal(Buffer.compare(reader.readAll(), Buffer.concat([...pieces(66_000, 9)])), 0);
});

const IDENTITY: NodeIdentity = {
  clusterId: clusterId('0123456789abcdef0123456789abcdef'),
  nodeId: nodeId('n1'),
  incarnation: incarnation('a'.repeat(32)),
  formatVersion: 1,
  group: groupId(1),
  epoch: 1,
  firstConfiguration: [
    {
      nodeId: nodeId('n1'),
      incarnation: incarnation('a'.repeat(32)),
      address: '127.0.0.1:7001',
      clientAddress: null,
    },
  ],
};

t.test('an identity is written once and read back', async (t) => {
  const fileSystem = new MemoryFileSystem();
  t.throws(() => readIdentity(fileSystem, '/data'), { code: 'DATA_DIR_EMPTY' });
  formatDataDirectory(fileSystem, '/data', IDENTITY);
  formatDataDirectory(fileSystem, '/data', IDENTITY);
  t.same(readIdentity(fileSystem, '/data'), IDENTITY);
  const other = { ...IDENTITY, nodeId: nodeId('n2') };
  t.throws(() => formatDataDirectory(fileSystem, '/data', other), { code: 'DATA_DIR_FOREIGN' });
  fileSystem.crash({ seed: 1, keepUnsynced: 'none' });
  t.same(readIdentity(fileSystem, '/data'), IDENTITY);
  fileSystem.flipBit('/data/identity.json', 200);
  t.throws(() => readIdentity(fileSystem, '/data'), { code: 'FILE_CORRUPT' });
  t.throws(() => formatDataDirectory(fileSystem, '/data', IDENTITY), { code: 'FILE_CORRUPT' });
});

t.test('formatting refuses what is not empty, and completes what was cut off', async (t) => {
  const foreign = new MemoryFileSystem();
  foreign.makeDirectory('/data/wal');
  foreign.open('/data/wal/0000000000000001.wal', 'createNew');
  t.throws(() => formatDataDirectory(foreign, '/data', IDENTITY), { code: 'DATA_DIR_FOREIGN' });
  t.throws(() => formatDataDirectory(foreign, '/data/wal/0000000000000001.wal', IDENTITY), {
    code: 'DATA_DIR_FOREIGN',
  });
  const points = atEveryCrashPoint(
    () => new MemoryFileSystem(),
    (fileSystem) => formatDataDirectory(fileSystem, '/deep/data', IDENTITY),
    (fileSystem) => {
      formatDataDirectory(fileSystem, '/deep/data', IDENTITY);
      t.same(readIdentity(fileSystem, '/deep/data'), IDENTITY);
    },
  );
  t.ok(points > 10);
});

const rootOf = (generation: number): CheckpointRoot => ({
  generation,
  meta: makeSnapshot(generation * 10, 2, new Uint8Array(16).fill(generation)),
  metaFile: { path: `meta/${generation}`, checksum: 'ab', sizeBytes: 5 },
  shards: [
    { collectionUid: 'c', shard: 0, manifestPath: `collections/c/0/${generation}`, checksum: 'cd' },
  ],
});

t.test(
  'a checkpoint root is one generation or the next after a crash at any operation',
  async (t) => {
    const points = atEveryCrashPoint(
      () => {
        const fileSystem = new MemoryFileSystem();
        fileSystem.makeDirectory('/data');
        writeCheckpointRoot(fileSystem, '/data', rootOf(1));
        writeCheckpointRoot(fileSystem, '/data', rootOf(2));
        return fileSystem;
      },
      (fileSystem) => writeCheckpointRoot(fileSystem, '/data', rootOf(3)),
      (fileSystem, point) => {
        const found = recoverCheckpointRoot(fileSystem, '/data');
        const generation = found?.root.generation;
        if (generation !== 2 && generation !== 3) t.fail(`point ${point}: ${generation}`);
        t.equal(found?.source, 'current');
        t.ok(referencedFiles(fileSystem, '/data').has(`meta/${generation}`));
        fileSystem.crash({ seed: point, keepUnsynced: 'none' });
        t.same(readCheckpointRoot(fileSystem, '/data')?.root, rootOf(generation!), 'relied on');
      },
    );
    t.ok(points >= 10);
  },
);

t.test(
  'a root that was read from the page cache of a killed process survives a power cut',
  async (t) => {
    for (let point = 1; point < 30; point++) {
      const fileSystem = new MemoryFileSystem();
      fileSystem.makeDirectory('/data');
      writeCheckpointRoot(fileSystem, '/data', rootOf(1));
      fileSystem.crashAtOperation(fileSystem.operationCount + point);
      let isCut = false;
      try {
        writeCheckpointRoot(fileSystem, '/data', rootOf(2));
      } catch (error) {
        if (!(error instanceof CrashSignal)) throw error;
        isCut = true;
      }
      fileSystem.crashProcess();
      const found = recoverCheckpointRoot(fileSystem, '/data');
      fileSystem.crash({ seed: point, keepUnsynced: 'none' });
      t.same(readCheckpointRoot(fileSystem, '/data')?.root, found?.root, `point ${point}`);
      if (!isCut) return;
    }
  },
);

t.test('a damaged root falls back one generation, and says so; two are refused', async (t) => {
  const fileSystem = new MemoryFileSystem();
  fileSystem.makeDirectory('/data');
  t.equal(readCheckpointRoot(fileSystem, '/data'), null);
  writeCheckpointRoot(fileSystem, '/data', rootOf(1));
  writeCheckpointRoot(fileSystem, '/data', rootOf(2));
  t.same([...referencedFiles(fileSystem, '/data')].sort(), [
    'collections/c/0/1',
    'collections/c/0/2',
    'meta/1',
    'meta/2',
  ]);
  t.throws(() => writeCheckpointRoot(fileSystem, '/data', rootOf(2)), /generation must grow/);
  fileSystem.flipBit('/data/CHECKPOINT', 100);
  const found = readCheckpointRoot(fileSystem, '/data');
  t.match(found, {
    root: { generation: 1 },
    source: 'previous',
    damage: { code: 'CHECKPOINT_CORRUPT' },
  });
  writeCheckpointRoot(fileSystem, '/data', rootOf(3));
  t.match(readCheckpointRoot(fileSystem, '/data'), { root: { generation: 3 }, source: 'current' });
  fileSystem.flipBit('/data/CHECKPOINT', 100);
  t.match(
    readCheckpointRoot(fileSystem, '/data'),
    { root: { generation: 1 } },
    'rot was not copied',
  );
  fileSystem.flipBit('/data/CHECKPOINT.previous', 100);
  t.throws(() => readCheckpointRoot(fileSystem, '/data'), {
    code: 'CHECKPOINT_CORRUPT',
    message: /CHECKPOINT: .*CHECKPOINT\.previous: /,
  });
});

t.test('a data directory has one living owner; a dead one is replaced', async (t) => {
  const fileSystem = new MemoryFileSystem();
  fileSystem.makeDirectory('/data');
  const processes = new FakeProcessTable(10);
  const first = lockDataDirectory(fileSystem, '/data', processes);
  t.equal(findLockHolder(fileSystem, '/data', processes), 10);
  const locked = { code: 'DATA_DIR_LOCKED', details: { pid: 10 } };
  t.throws(() => lockDataDirectory(fileSystem, '/data', processes), locked, 'the same process');
  processes.start(11);
  t.throws(() => lockDataDirectory(fileSystem, '/data', processes), locked);
  t.equal(fileSystem.list('/data').length, 1, 'a refused owner leaves nothing');
  processes.kill(10);
  const second = lockDataDirectory(fileSystem, '/data', processes);
  t.equal(findLockHolder(fileSystem, '/data', processes), 11);
  first.release();
  second.release();
  second.release();
  t.same(fileSystem.list('/data'), []);
  processes.kill(11);
  processes.start(11);
  lockDataDirectory(fileSystem, '/data', processes);
  processes.kill(11);
  processes.start(11);
  lockDataDirectory(fileSystem, '/data', processes).release();
  t.same(fileSystem.list('/data'), [], 'the same pid again is another process');
});

t.test('the real process table knows the living from the dead', async (t) => {
  const processes = new NodeProcessTable();
  const self = processes.current();
  t.equal(self.pid, process.pid);
  t.equal(processes.isAlive(self), true);
  t.equal(processes.isAlive({ ...self, bootId: 'another' }), false);
  t.equal(processes.isAlive({ ...self, startTicks: '1' }), false);
  t.equal(processes.isAlive({ ...self, pid: 2 ** 30 }), false);
});

/** A complete data directory: identity, roots, meta, manifest, segment, log. */
async function makeDataDirectory(): Promise<MemoryFileSystem> {
  const fileSystem = new MemoryFileSystem();
  formatDataDirectory(fileSystem, '/data', IDENTITY);
  const shard = '/data/collections/c/0';
  fileSystem.makeDirectory(shard);
  writeChecksummedFile(fileSystem, `${shard}/segment-1`, SEGMENT, pieces(70_000, 1));
  writeChecksummedFile(
    fileSystem,
    `${shard}/growing-1`,
    { ...SEGMENT, kind: 'growing' },
    pieces(100, 1),
  );
  for (const generation of [1, 2]) {
    const meta = { kind: 'meta', algorithm: 'crc32c' } as const;
    const manifest = { kind: 'manifest', algorithm: 'sha256' } as const;
    const name = `${shard}/manifest-${generation}`;
    const { checksum } = writeChecksummedFile(fileSystem, name, manifest, [bytesOf('manifest')]);
    const path = `meta/${generation}`;
    const facts = writeChecksummedFile(fileSystem, `/data/${path}`, meta, [bytesOf('meta')]);
    writeCheckpointRoot(fileSystem, '/data', {
      ...rootOf(generation),
      metaFile: { path, checksum: facts.checksum, sizeBytes: facts.sizeBytes },
      shards: [
        { collectionUid: 'c', shard: 0, manifestPath: name.slice('/data/'.length), checksum },
      ],
    });
  }
  const wal = InlineWal.open({ fileSystem, directory: '/data/wal', options: SMALL_WAL });
  const entries = makeEntries(EMPTY_LOG_SUM, 1, 5);
  wal.append(makeAppend({ entries, hardState: makeHardState(1) }));
  await wal.close();
  return fileSystem;
}

t.test('fsck finds one flipped bit in every kind of file, and writes nothing', async (t) => {
  const fileSystem = await makeDataDirectory();
  t.same(fsckDataDirectory(fileSystem, '/data'), []);
  const targets: readonly (readonly [string, number])[] = [
    ['/data/identity.json', 150],
    ['/data/CHECKPOINT', 90],
    ['/data/CHECKPOINT.previous', 90],
    ['/data/wal/0000000000000001.wal', 4096 + 512 + 300],
    ['/data/wal/EPOCH', 60],
    ['/data/meta/2', 66],
    ['/data/meta/1', 0],
    ['/data/collections/c/0/manifest-2', 70],
    ['/data/collections/c/0/segment-1', 1],
    ['/data/collections/c/0/segment-1', 66_000],
    ['/data/collections/c/0/growing-1', 80],
  ];
  for (const [path, position] of targets) {
    const copy = fileSystem.clone();
    copy.flipBit(path, position, 2);
    const damage = fsckDataDirectory(copy, '/data');
    t.ok(damage.length > 0, `${path} at ${position}`);
    t.ok(
      damage.every(({ file, severity }) => file === path && severity === 'damage'),
      path,
    );
    t.equal(copy.operationCount, 0);
  }
  for (const [path, position] of [
    ['/data/wal/0000000000000001.wal', 8],
    ['/data/wal/TERM-A', 20],
    ['/data/wal/TERM-B', 600],
  ] as const) {
    const copy = fileSystem.clone();
    copy.flipBit(path, position, 2);
    t.match(fsckDataDirectory(copy, '/data'), [{ file: path, severity: 'mended' }], path);
  }
});

t.test(
  'fsck tells a torn tail and the rest of a crash from damage, and misses no file',
  async (t) => {
    const fileSystem = await makeDataDirectory();
    const handle = fileSystem.open('/data/wal/0000000000000001.wal', 'readWrite');
    handle.write([new Uint8Array(50).fill(5)], 12_288);
    fileSystem.open('/data/meta/3.temporary', 'createNew');
    fileSystem.remove('/data/collections/c/0/manifest-1');
    const damage = fsckDataDirectory(fileSystem, '/data');
    t.same(
      damage.map(({ file, severity }) => [file, severity]),
      [
        ['/data/collections/c/0/manifest-1', 'damage'],
        ['/data/wal/0000000000000001.wal', 'tornTail'],
        ['/data/meta/3.temporary', 'leftover'],
      ],
    );
  },
);

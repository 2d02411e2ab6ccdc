/** One conformance suite for the real file system and the one in memory; then its faults. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SeededRandom } from '@holdfast/base';
import t from 'tap';
import { parentDirectory, readWholeFile } from '../src/fs.ts';
import { NodeFileSystem } from '../src/node-fs.ts';
import { CrashSignal } from '../src/testing/fault-plan.ts';
import { fileSystemConformance } from '../src/testing/fs-conformance.ts';
import { MemoryFileSystem } from '../src/testing/memory-fs.ts';

const temporary = mkdtempSync(join(tmpdir(), 'holdfast-fs-'));
t.teardown(() => rmSync(temporary, { recursive: true, force: true }));

const subjects = [
  { name: 'NodeFileSystem', fileSystem: new NodeFileSystem(), root: temporary },
  { name: 'MemoryFileSystem', fileSystem: new MemoryFileSystem(), root: '/conformance' },
];
for (const { name, fileSystem, root } of subjects) {
  for (const [i, { title, run }] of fileSystemConformance.entries()) {
    t.test(`${name}: ${title}`, async (t) => {
      const directory = `${root}/case-${i}`;
      fileSystem.makeDirectory(directory);
      run(fileSystem, directory, (isTrue, what) => t.ok(isTrue, what));
    });
  }
}

const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));

function write(fileSystem: MemoryFileSystem, path: string, text: string, isSynced: boolean): void {
  const exists = fileSystem.exists(path);
  const handle = fileSystem.open(path, exists ? 'readWrite' : 'createNew');
  handle.write([bytesOf(text)], 0);
  if (isSynced) handle.sync();
  handle.close();
}

function read(fileSystem: MemoryFileSystem, path: string): string {
  const handle = fileSystem.open(path, 'read');
  const bytes = new Uint8Array(handle.sizeBytes());
  handle.read(bytes, 0);
  return Buffer.from(bytes).toString();
}

t.test('a power cut keeps only synced bytes under synced names', async (t) => {
  const fileSystem = new MemoryFileSystem();
  fileSystem.makeDirectory('/d');
  write(fileSystem, '/d/kept', 'old', true);
  write(fileSystem, '/d/renamed', 'moved', true);
  fileSystem.syncDirectory('/d');
  write(fileSystem, '/d/kept', 'new', false);
  write(fileSystem, '/d/nameless', 'bytes', true);
  fileSystem.rename('/d/renamed', '/d/other');
  t.equal(read(fileSystem, '/d/kept'), 'new');
  fileSystem.crash({ seed: 1, keepUnsynced: 'none' });
  t.same(fileSystem.list('/d'), ['kept', 'renamed']);
  t.equal(read(fileSystem, '/d/kept'), 'old');
});

t.test('a killed process loses no byte, and its handles are dead', async (t) => {
  const fileSystem = new MemoryFileSystem();
  const handle = fileSystem.open('/f', 'createNew');
  handle.write([bytesOf('page cache')], 0);
  fileSystem.crashProcess();
  t.equal(read(fileSystem, '/f'), 'page cache');
  t.throws(() => handle.write([bytesOf('x')], 0), CrashSignal);
  fileSystem.crash({ seed: 1, keepUnsynced: 'none' });
  t.equal(fileSystem.exists('/f'), false);
});

t.test(
  'random survival is by sector, differs by seed, and is the same for the same seed',
  async (t) => {
    const outcome = (seed: number): string => {
      const fileSystem = new MemoryFileSystem();
      write(fileSystem, '/f', 'a'.repeat(8192), true);
      fileSystem.syncDirectory('/');
      write(fileSystem, '/f', 'b'.repeat(8192), false);
      fileSystem.crash({ seed, keepUnsynced: 'random', tearsSectors: true });
      return read(fileSystem, '/f');
    };
    const outcomes = new Set(Array.from({ length: 20 }, (_, seed) => outcome(seed)));
    t.ok(outcomes.size > 10);
    t.ok([...outcomes].some((text) => text.includes('a') && text.includes('b')));
    t.equal(outcome(3), outcome(3));
  },
);

t.test('a failed sync drops the dirty pages, which still read back', async (t) => {
  const fileSystem = new MemoryFileSystem();
  write(fileSystem, '/f', 'old', true);
  fileSystem.syncDirectory('/');
  fileSystem.faults.add({ operation: 'sync', fault: 'EIO' });
  t.throws(() => write(fileSystem, '/f', 'new', true), { code: 'FILE_IO' });
  t.equal(read(fileSystem, '/f'), 'new');
  const handle = fileSystem.open('/f', 'readWrite');
  handle.sync();
  fileSystem.crash({ seed: 1, keepUnsynced: 'all' });
  t.equal(read(fileSystem, '/f'), 'old', 'the second sync said yes and wrote nothing');
});

t.test('a lying sync, a full disk, a bad read and a planned crash do what they say', async (t) => {
  const fileSystem = new MemoryFileSystem();
  write(fileSystem, '/f', 'old', true);
  fileSystem.syncDirectory('/');
  fileSystem.faults.add({ operation: 'sync', fault: 'lie' });
  write(fileSystem, '/f', 'new', true);
  fileSystem.crash({ seed: 1, keepUnsynced: 'none' });
  t.equal(read(fileSystem, '/f'), 'old');
  fileSystem.capacityBytes = 10;
  const full = { code: 'FILE_IO', details: { code: 'ENOSPC', cause: 'disk-full' } };
  t.throws(() => write(fileSystem, '/f', 'x'.repeat(11), true), full);
  t.equal(fileSystem.freeBytes(), 0);
  fileSystem.faults.add({ operation: 'read', pathContains: '/f', fault: 'flipBit' });
  t.not(read(fileSystem, '/f'), read(fileSystem, '/f'));
  fileSystem.crashAtOperation(fileSystem.operationCount + 1);
  t.throws(() => fileSystem.remove('/f'), CrashSignal);
  t.throws(() => fileSystem.syncDirectory('/'), CrashSignal);
  fileSystem.crash({ seed: 1, keepUnsynced: 'all' });
  t.equal(fileSystem.exists('/f'), true, 'the planned operation did not happen');
});

t.test('random faults come by seed', async (t) => {
  const failures = (seed: number): number => {
    const fileSystem = new MemoryFileSystem();
    const random = new SeededRandom(seed);
    fileSystem.faults.setRandomFaults({ random, writeErrorRate: 0.3, syncErrorRate: 0.3 });
    let count = 0;
    for (let i = 0; i < 50; i++) {
      try {
        write(fileSystem, `/${i}`, 'x', true);
      } catch {
        count += 1;
      }
    }
    return count;
  };
  t.equal(failures(5), failures(5));
  t.ok(failures(5) > 5 && failures(5) < 45);
});

t.test('a clone is independent and keeps what is not synced', async (t) => {
  const fileSystem = new MemoryFileSystem();
  write(fileSystem, '/f', 'old', true);
  const copy = fileSystem.clone();
  write(fileSystem, '/f', 'new', true);
  t.equal(read(copy, '/f'), 'old');
  copy.crash({ seed: 1, keepUnsynced: 'none' });
  t.equal(copy.exists('/f'), false);
  t.equal(read(fileSystem, '/f'), 'new');
});

t.test(
  'rot at rest hits what was written, by seed, and survives every cache and crash',
  async (t) => {
    const make = (): MemoryFileSystem => {
      const fileSystem = new MemoryFileSystem();
      fileSystem.makeDirectory('/d/e');
      for (const path of ['/d/a', '/d/e/b']) {
        const handle = fileSystem.open(path, 'createNew');
        handle.write([new Uint8Array(700).fill(1)], 4096);
        handle.sync();
        fileSystem.syncDirectory(parentDirectory(path));
      }
      return fileSystem;
    };
    const clean = make();
    t.same(
      clean.files('/d').map(({ path, sizeBytes }) => [path, sizeBytes]),
      [
        ['/d/a', 4796],
        ['/d/e/b', 4796],
      ],
    );
    const places = new Set<string>();
    for (let seed = 1; seed <= 50; seed++) {
      const fileSystem = make();
      const place = fileSystem.corrupt(new SeededRandom(seed), '/d')!;
      t.same(make().corrupt(new SeededRandom(seed), '/d'), place, 'by seed');
      fileSystem.crash({ seed, keepUnsynced: 'none' });
      const { path, position } = place;
      t.ok(position >= 4096);
      const isSame =
        Buffer.compare(readWholeFile(fileSystem, path), readWholeFile(clean, path)) === 0;
      t.equal(isSame, false);
      places.add(path);
    }
    t.equal(places.size, 2);
    t.equal(new MemoryFileSystem().corrupt(new SeededRandom(1), '/'), null);
  },
);

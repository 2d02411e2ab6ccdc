/**
 * Goal: a block file is made whole from sound blocks or stays as it was; no crash, wrong block or
 * wrong file leaves a mix of both under its name.
 * Method: the repair step by step on a disk in memory, with a power cut before every operation.
 */
import { SeededRandom } from '@holdfast/base';
import t from 'tap';
import { digestChecksummedFile } from '../src/checksummed-file.ts';
import {
  BlockFilePatch,
  BlockFileShape,
  badBlockSteps,
  readHeaderBytes,
} from '../src/checksummed-repair.ts';
import { writeChecksummedFile } from '../src/checksummed-writer.ts';
import { readWholeFile } from '../src/fs.ts';
import { scrubBlockFile } from '../src/scrub-steps.ts';
import { CrashSignal } from '../src/testing/fault-plan.ts';
import { MemoryFileSystem } from '../src/testing/memory-fs.ts';

const PATH = '/data/segment.seg';
const PLACE = { path: PATH, temporaryPath: '/data/repair/segment' };
const PAYLOAD_SIZE_BYTES = 150_000;
const BLOCK_COUNT = 3;

function payload(seed: number): Uint8Array {
  const random = new SeededRandom(seed);
  return Uint8Array.from({ length: PAYLOAD_SIZE_BYTES }, () => random.nextBelow(256));
}

/** A disk with one file of three blocks, whose second block is damaged if so wanted. */
function disk(isDamaged: boolean, seed = 1): MemoryFileSystem {
  const fileSystem = new MemoryFileSystem();
  fileSystem.makeDirectory('/data/repair');
  const options = { kind: 'segment', algorithm: 'crc32c' } as const;
  writeChecksummedFile(fileSystem, PATH, options, [payload(seed)]);
  if (isDamaged) fileSystem.flipBit(PATH, 70_000, 3);
  return fileSystem;
}

function finish<Result>(steps: Generator<unknown, Result>): Result {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

function shapeOf(fileSystem: MemoryFileSystem): BlockFileShape {
  const handle = fileSystem.open(PATH, 'read');
  try {
    return new BlockFileShape(readHeaderBytes(handle), PATH);
  } finally {
    handle.close();
  }
}

const whole = disk(false);
const WANTED = digestChecksummedFile(whole, PATH);

function blockOf(fileSystem: MemoryFileSystem, block: number): Uint8Array {
  const handle = fileSystem.open(PATH, 'read');
  try {
    return shapeOf(fileSystem).readSound(handle, block)!;
  } finally {
    handle.close();
  }
}

/** Everything that a repair does; false when the copy was not the file that is wanted. */
function repair(fileSystem: MemoryFileSystem, source: MemoryFileSystem): boolean {
  const patch = new BlockFilePatch(fileSystem, PLACE, shapeOf(source));
  try {
    const bad = finish(badBlockSteps(fileSystem, PATH, shapeOf(source)));
    finish(patch.copyRest(new Set(bad)));
    for (const block of bad) patch.put(block, blockOf(source, block));
    if (!finish(patch.prove(WANTED))) return false;
    patch.install();
    return true;
  } finally {
    patch.abandon();
  }
}

const content = (fileSystem: MemoryFileSystem): Buffer =>
  Buffer.from(readWholeFile(fileSystem, PATH));

t.test('one bad block is replaced and the file is the one that is wanted', async (t) => {
  const fileSystem = disk(true);
  t.same(finish(badBlockSteps(fileSystem, PATH, shapeOf(fileSystem))), [1]);
  t.ok(repair(fileSystem, whole));
  t.equal(digestChecksummedFile(fileSystem, PATH), WANTED);
  t.notOk(fileSystem.exists(PLACE.temporaryPath));
});

t.test('a sound block of another file is found out and nothing takes the name', async (t) => {
  const fileSystem = disk(true);
  const before = content(fileSystem);
  t.notOk(repair(fileSystem, disk(false, 2)), 'the whole is not what is wanted');
  t.ok(content(fileSystem).equals(before), 'the file is as it was');
  t.notOk(fileSystem.exists(PLACE.temporaryPath));
});

t.test('a power cut at any moment leaves the damaged file or the whole one', async (t) => {
  const damaged = content(disk(true));
  const sound = content(whole);
  let seen = '';
  for (let point = 1; ; point++) {
    let hasCrashed = false;
    for (const keepUnsynced of ['none', 'random', 'all'] as const) {
      const fileSystem = disk(true);
      fileSystem.faults.reset();
      fileSystem.crashAtOperation(point);
      try {
        repair(fileSystem, whole);
      } catch (thrown) {
        if (!(thrown instanceof CrashSignal)) throw thrown;
        hasCrashed = true;
      }
      fileSystem.crash({ seed: point, keepUnsynced, tearsSectors: true });
      const found = content(fileSystem);
      if (found.equals(damaged)) seen += 'd';
      else if (found.equals(sound)) seen += 's';
      else t.fail(`point ${point}, ${keepUnsynced}: neither the one nor the other`);
    }
    if (!hasCrashed) break;
  }
  t.match(seen, /^d+.*s+$/, 'the file changes at one moment, and is whole in the end');
});

t.test('damage of every block is found at its place, the last one too', async (t) => {
  for (let block = 0; block < BLOCK_COUNT; block++) {
    const fileSystem = disk(false);
    const shape = shapeOf(fileSystem);
    const offset = shape.positionOf(block);
    fileSystem.flipBit(PATH, offset + shape.sizeOf(block) - 1, 6);
    const flaws = finish(scrubBlockFile(fileSystem, PATH, WANTED));
    t.match(flaws, [{ offset }]);
    t.equal(flaws.length, 1);
    t.same(finish(badBlockSteps(fileSystem, PATH, shape)), [block]);
  }
});

t.test('a sound file that is not the one that is named is a flaw of the whole', async (t) => {
  const other = disk(false, 2);
  t.match(finish(scrubBlockFile(other, PATH, WANTED)), [{ offset: null, expected: WANTED }]);
  t.same(finish(scrubBlockFile(whole, PATH, WANTED)), []);
});

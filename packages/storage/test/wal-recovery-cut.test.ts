/**
 * Goal: a power cut during recovery never makes damage look like a torn tail. What shows that a
 * damaged batch was durable may be the head of a torn batch behind it, and recovery zeroes that.
 * Method: a damaged batch before a torn one; recovery is cut at every file operation and run again.
 */
import { EMPTY_LOG_SUM } from '@holdfast/base';
import t from 'tap';
import { describeWalFile } from '../src/inspect.ts';
import { MemoryFileSystem } from '../src/testing/memory-fs.ts';
import { InlineWal } from '../src/wal/inline-wal.ts';
import { GROUP_ONE, makeAppend, makeEntries, makeHardState, SMALL_WAL } from './support.ts';

const DIRECTORY = '/data/wal';
const FILE = `${DIRECTORY}/0000000000000001.wal`;
/** Into the payload of a record, behind its head. */
const PAYLOAD_OFFSET = 90;

const open = (fileSystem: MemoryFileSystem): InlineWal =>
  InlineWal.open({ fileSystem, directory: DIRECTORY, options: SMALL_WAL });

/** Batches of one entry each; the last but one is damaged, the last one torn. */
function damagedBeforeTorn(): MemoryFileSystem {
  const fileSystem = new MemoryFileSystem();
  fileSystem.makeDirectory(DIRECTORY);
  const wal = open(fileSystem);
  for (const entry of makeEntries(EMPTY_LOG_SUM, 1, 6)) {
    wal.append(makeAppend({ hardState: makeHardState(1, entry.index - 1), entries: [entry] }));
    wal.pump();
  }
  fileSystem.crashProcess();
  const lines = [...describeWalFile(fileSystem, FILE)];
  const entries = lines.filter(({ kind, what }) => kind === 'record' && what === 'entry');
  for (const { offset } of entries.slice(-2)) fileSystem.flipBit(FILE, offset + PAYLOAD_OFFSET);
  return fileSystem;
}

const damageOf = (wal: InlineWal): readonly (readonly [number, number])[] =>
  wal
    .groupLog(GROUP_ONE)
    .damage()
    .map(({ low, high }) => [low, high] as const);

for (const keepUnsynced of ['none', 'random', 'all'] as const) {
  t.test(`damage outlives a recovery that is cut anywhere (kept: ${keepUnsynced})`, async (t) => {
    const original = damagedBeforeTorn();
    const whole = original.clone();
    const before = whole.operationCount;
    const expected = damageOf(open(whole));
    t.same(expected, [[5, 5]], 'the torn batch is gone, the damaged one is described');
    const operationCount = whole.operationCount - before;
    for (let operation = 1; operation <= operationCount; operation++) {
      const disk = original.clone();
      disk.crashAtOperation(disk.operationCount + operation);
      t.throws(() => open(disk), `operation ${operation} was reached`);
      disk.crash({ seed: operation, keepUnsynced });
      const wal = open(disk);
      t.same(damageOf(wal), expected, `operation ${operation}`);
      t.equal(wal.groupLog(GROUP_ONE).lastIndex(), 5);
    }
  });
}

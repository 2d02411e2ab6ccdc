/** Term and vote: two copies beside the log, and what is left when some of the three are bad. */
import { EMPTY_LOG_SUM, nodeId, SeededRandom } from '@holdfast/base';
import t from 'tap';
import { readWholeFile } from '../src/fs.ts';
import { fsckDataDirectory } from '../src/fsck.ts';
import { describeWalFile } from '../src/inspect.ts';
import { CrashSignal } from '../src/testing/fault-plan.ts';
import type { CrashOptions } from '../src/testing/memory-fs.ts';
import { MemoryFileSystem } from '../src/testing/memory-fs.ts';
import { HARD_STATE_FILE_NAMES } from '../src/wal/hard-state-copies.ts';
import { InlineWal } from '../src/wal/inline-wal.ts';
import {
  GROUP_ONE,
  GROUP_TWO,
  makeAppend,
  makeEntries,
  makeHardState,
  SMALL_WAL,
  WAL_DIRECTORY,
} from './support.ts';

const [COPY_A, COPY_B] = HARD_STATE_FILE_NAMES.map((name) => `${WAL_DIRECTORY}/${name}`);
const LOG_FILE = `${WAL_DIRECTORY}/0000000000000001.wal`;
const COPIES = [COPY_A!, COPY_B!];
/** Header slot, then the slot of group one. */
const SLOT = 512;

const open = (fileSystem: MemoryFileSystem): InlineWal =>
  InlineWal.open({ fileSystem, directory: WAL_DIRECTORY, options: SMALL_WAL });

/** Votes for n2 in term 7; killed without a clean close. */
function writeVote(): MemoryFileSystem {
  const fileSystem = new MemoryFileSystem();
  const wal = open(fileSystem);
  wal.append(
    makeAppend({ hardState: makeHardState(3), entries: makeEntries(EMPTY_LOG_SUM, 1, 2) }),
  );
  wal.pump();
  wal.append(makeAppend({ hardState: makeHardState(7, 0, nodeId('n2')) }));
  wal.pump();
  fileSystem.crash({ seed: 1, keepUnsynced: 'none' });
  return fileSystem;
}

const voteOf = (wal: InlineWal): string => {
  const log = wal.groupLog(GROUP_ONE);
  const hardState = log.hardState();
  return log.isHardStateKnown() ? `${hardState?.term} ${hardState?.vote}` : 'unknown';
};

/** Spoils the payload of the last record of a kind. */
function spoilLast(fileSystem: MemoryFileSystem, kind: string): void {
  const lines = [...describeWalFile(fileSystem, LOG_FILE)];
  const record = lines.findLast(({ what }) => what === kind)!;
  fileSystem.flipBit(LOG_FILE, record.offset + 56 + 9, 4);
}

t.test('a changed term or vote costs two more syncs, everything else none', async (t) => {
  const fileSystem = new MemoryFileSystem();
  const wal = open(fileSystem);
  const entries = makeEntries(EMPTY_LOG_SUM, 1, 3);
  const syncsOf = (fields: Parameters<typeof makeAppend>[0]): number => {
    const { syncs } = wal.stats();
    wal.append(makeAppend(fields));
    wal.pump();
    return wal.stats().syncs - syncs;
  };
  t.equal(syncsOf({ hardState: makeHardState(1) }), 3);
  t.equal(syncsOf({ entries: entries.slice(0, 1) }), 1);
  t.equal(syncsOf({ hardState: makeHardState(1, 1), entries: entries.slice(1) }), 1);
  t.equal(syncsOf({ hardState: makeHardState(2, 1, null) }), 3);
  t.equal(syncsOf({ hardState: makeHardState(2, 1, nodeId('n3')) }), 3);
  await wal.close();
});

t.test('one bad byte anywhere in either copy costs nothing and is mended', async (t) => {
  const original = writeVote();
  const wrong: string[] = [];
  for (const path of COPIES) {
    for (let position = 0; position < original.sizeBytes(path); position += 3) {
      const fileSystem = original.clone();
      fileSystem.flipBit(path, position, position % 8);
      const found = voteOf(open(fileSystem));
      const [left, right] = COPIES.map((copy) => readWholeFile(fileSystem, copy));
      const isMended = Buffer.compare(left!, right!) === 0;
      if (found !== '7 n2' || !isMended) wrong.push(`${path} at ${position}: ${found}`);
    }
  }
  t.same(wrong, []);
});

t.test('missing, empty and swapped copies cost nothing while the log is whole', async (t) => {
  for (const spoil of [
    (fileSystem: MemoryFileSystem) => {
      for (const path of COPIES) fileSystem.remove(path);
    },
    (fileSystem: MemoryFileSystem) => {
      for (const path of COPIES) fileSystem.open(path, 'readWrite').truncate(0);
    },
    (fileSystem: MemoryFileSystem) => fileSystem.rename(COPY_A!, COPY_B!),
  ]) {
    const fileSystem = writeVote();
    spoil(fileSystem);
    t.equal(voteOf(open(fileSystem)), '7 n2');
    t.ok(COPIES.every((path) => fileSystem.exists(path)));
    t.equal(voteOf(open(fileSystem)), '7 n2');
  }
});

t.test('a vote whose record rotted at the very end of the log is kept by the copies', async (t) => {
  for (const lost of COPIES) {
    const fileSystem = writeVote();
    spoilLast(fileSystem, 'hardState');
    fileSystem.flipBit(lost, SLOT + 20);
    const wal = open(fileSystem);
    t.ok(wal.tornTail !== null, 'for the log alone it is a write that was never finished');
    t.equal(voteOf(wal), '7 n2', 'which only one copy tells');
    t.equal(voteOf(open(fileSystem)), '7 n2');
  }
});

/** The record of the vote, its confirmation and both copies are bad. */
function loseVote(): MemoryFileSystem {
  const fileSystem = new MemoryFileSystem();
  const wal = open(fileSystem);
  wal.append(
    makeAppend({ hardState: makeHardState(3), entries: makeEntries(EMPTY_LOG_SUM, 1, 2) }),
  );
  wal.pump();
  wal.append(makeAppend({ hardState: makeHardState(7, 0, nodeId('n2')) }));
  wal.pump();
  wal.confirm();
  fileSystem.crash({ seed: 1, keepUnsynced: 'none' });
  const batches = [...describeWalFile(fileSystem, LOG_FILE)].filter(({ kind }) => kind === 'batch');
  spoilLast(fileSystem, 'hardState');
  fileSystem.flipBit(LOG_FILE, batches.at(-1)!.offset + 64 + 20);
  for (const path of COPIES) fileSystem.flipBit(path, SLOT + 20);
  return fileSystem;
}

t.test('each of four places alone still tells the vote', async (t) => {
  const whole = loseVote();
  const flips: readonly (readonly [string, (fileSystem: MemoryFileSystem) => void])[] = [
    ['copy A', (fileSystem) => fileSystem.flipBit(COPY_A!, SLOT + 20)],
    ['copy B', (fileSystem) => fileSystem.flipBit(COPY_B!, SLOT + 20)],
    ['the record', (fileSystem) => flipLostRecord(fileSystem)],
    ['its confirmation', (fileSystem) => flipLostConfirmation(fileSystem)],
  ];
  for (const [name, flipBack] of flips) {
    const fileSystem = whole.clone();
    flipBack(fileSystem);
    t.equal(voteOf(open(fileSystem)), '7 n2', name);
  }
});

function flipLostRecord(fileSystem: MemoryFileSystem): void {
  const lines = [...describeWalFile(fileSystem, LOG_FILE)];
  const lost = lines.find(({ kind, fields }) => kind === 'damage' && fields.type === 'hardState')!;
  fileSystem.flipBit(LOG_FILE, lost.offset + 56 + 9, 4);
}

function flipLostConfirmation(fileSystem: MemoryFileSystem): void {
  const lines = [...describeWalFile(fileSystem, LOG_FILE)];
  const batch = lines.findLast(({ kind }) => kind === 'batch')!;
  fileSystem.flipBit(LOG_FILE, batch.offset + 64 + 20);
}

t.test(
  'when no place tells it, the vote is unknown, stays unknown, and nothing is written',
  async (t) => {
    const fileSystem = loseVote();
    t.match(
      fsckDataDirectory(fileSystem, '/data').filter(({ severity }) => severity === 'damage'),
      [{ what: /identity/ }, { file: COPY_A, what: /term and vote of group 1 are lost/ }],
    );
    for (let start = 1; start <= 3; start++) {
      const wal = open(fileSystem);
      t.equal(voteOf(wal), 'unknown', `start ${start}`);
      t.equal(wal.groupLog(GROUP_ONE).lastIndex(), 2, 'the entries are there');
      t.throws(() => wal.append(makeAppend({ hardState: makeHardState(9) })), {
        name: 'InvariantViolation',
      });
      wal.append(makeAppend({ group: GROUP_TWO, hardState: makeHardState(start) }));
      await wal.close();
    }
  },
);

t.test('no crash while votes are written takes back a vote that was reported', async (t) => {
  const policies: readonly Omit<CrashOptions, 'seed'>[] = [
    { keepUnsynced: 'none' },
    { keepUnsynced: 'random', tearsSectors: true },
    { keepUnsynced: 'all' },
  ];
  const wrong: string[] = [];
  let crashes = 0;
  for (const policy of policies) {
    for (let point = 1; ; point++) {
      const fileSystem = new MemoryFileSystem();
      fileSystem.crashAtOperation(point);
      const reported = voteUntilCrash(fileSystem);
      if (!fileSystem.faults.hasCrashed) break;
      crashes += 1;
      fileSystem.crash({ ...policy, seed: point });
      // One copy rots as well: the other one and the log must be enough.
      const rotten = COPIES[point % 2]!;
      if (fileSystem.exists(rotten)) rot(fileSystem, rotten, point);
      const found = open(fileSystem).groupLog(GROUP_ONE).hardState()?.term ?? 0;
      if (found < reported) wrong.push(`${policy.keepUnsynced} ${point}: ${found} < ${reported}`);
    }
  }
  t.same(wrong, []);
  t.ok(crashes > 150, `${crashes} crashes`);
});

/** Terms 1, 2, 3, ... as fast as they are durable; returns the newest one reported. */
function voteUntilCrash(fileSystem: MemoryFileSystem): number {
  let reported = 0;
  try {
    const wal = open(fileSystem);
    wal.onDurable((ticket) => {
      reported = ticket;
    });
    for (let inTerm = 1; inTerm <= 10; inTerm++) {
      wal.append(makeAppend({ hardState: makeHardState(inTerm) }));
      wal.pump();
    }
  } catch (error) {
    if (!(error instanceof CrashSignal)) throw error;
  }
  return reported;
}

function rot(fileSystem: MemoryFileSystem, path: string, seed: number): void {
  const random = new SeededRandom(seed);
  const handle = fileSystem.open(path, 'readWrite');
  handle.write([new Uint8Array(handle.sizeBytes()).map(() => random.nextBelow(256))], 0);
  handle.sync();
}

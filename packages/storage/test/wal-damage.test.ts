/**
 * Damage everywhere. Method: write a log of many files with truncations, snapshots and
 * compactions, all of it confirmed; damage it at rest; open it. Every index must hold exactly its
 * entry or be covered by damage, the log must be as long as it was, term and vote must be known;
 * the right entries must bring everything back, and wrong ones must be refused.
 */
import type { Entry, GroupId } from '@holdfast/base';
import { SeededRandom } from '@holdfast/base';
import t from 'tap';
import { readWholeFile } from '../src/fs.ts';
import { MemoryFileSystem } from '../src/testing/memory-fs.ts';
import { UNREADABLE_BYTE } from '../src/unreadable.ts';
import { isZero } from '../src/wal/batch-reader.ts';
import { InlineWal } from '../src/wal/inline-wal.ts';
import {
  flawOfDamaged,
  GROUP_ONE,
  GROUP_TWO,
  heal,
  readAll,
  SMALL_WAL,
  sameEntries,
  WAL_DIRECTORY,
} from './support.ts';
import { WalWorkload } from './wal-model.ts';

const GROUPS = [GROUP_ONE, GROUP_TWO];
const OPTIONS = { ...SMALL_WAL, fileSizeBytes: 8 * 1024 };
const open = (fileSystem: MemoryFileSystem): InlineWal =>
  InlineWal.open({ fileSystem, directory: WAL_DIRECTORY, options: OPTIONS });

interface Expected {
  readonly term: number;
  readonly entries: readonly Entry[];
}
interface Written {
  readonly fileSystem: MemoryFileSystem;
  readonly expected: ReadonlyMap<GroupId, Expected>;
}

async function writeLog(seed: number, steps: number): Promise<Written> {
  const fileSystem = new MemoryFileSystem();
  const workload = new WalWorkload(fileSystem, seed);
  workload.open();
  for (let i = 0; i < steps; i++) workload.step();
  workload.finish();
  const expected = new Map(GROUPS.map((group) => [group, workload.expected(group)] as const));
  await workload.close();
  return { fileSystem, expected };
}

const logFiles = (fileSystem: MemoryFileSystem): readonly string[] =>
  fileSystem
    .list(WAL_DIRECTORY)
    .filter((name) => name.endsWith('.wal'))
    .map((name) => `${WAL_DIRECTORY}/${name}`);

interface Damager {
  readonly name: string;
  /** One place of `sizeBytes` every `step` bytes. */
  readonly step: number;
  readonly sizeBytes: number;
  readonly spoil: (old: Uint8Array, random: SeededRandom) => Uint8Array;
}

const DAMAGERS: readonly Damager[] = [
  {
    name: 'one flipped byte',
    step: 64,
    sizeBytes: 1,
    spoil: (old, random) => old.map((byte) => byte ^ (1 << random.nextBelow(8))),
  },
  {
    name: 'a zeroed sector',
    step: 512,
    sizeBytes: 512,
    spoil: (old) => new Uint8Array(old.length),
  },
  {
    name: 'a sector of garbage',
    step: 512,
    sizeBytes: 512,
    spoil: (old, random) => old.map(() => random.nextBelow(256)),
  },
  {
    name: 'a torn sector',
    step: 512,
    sizeBytes: 512,
    spoil: (old, random) => old.map((byte, i) => (i < random.nextBelow(512) ? byte : 0)),
  },
  {
    name: 'a zeroed page',
    step: 4096,
    sizeBytes: 4096,
    spoil: (old) => new Uint8Array(old.length),
  },
  {
    name: 'a page that the disk refuses to read',
    step: 4096,
    sizeBytes: 4096,
    spoil: (old) => new Uint8Array(old.length).fill(UNREADABLE_BYTE),
  },
];

function spoil(
  fileSystem: MemoryFileSystem,
  path: string,
  position: number,
  damager: Damager,
  random: SeededRandom,
): void {
  const handle = fileSystem.open(path, 'readWrite');
  const old = new Uint8Array(Math.min(damager.sizeBytes, handle.sizeBytes() - position));
  handle.read(old, position);
  handle.write([damager.spoil(old, random)], position);
  handle.sync();
  handle.close();
}

type Verdict = 'intact' | 'healed' | 'refused';

/** Opens the damaged log, judges it, heals it, and opens it again. @throws Error when wrong */
async function judge(fileSystem: MemoryFileSystem, written: Written): Promise<Verdict> {
  let wal: InlineWal;
  try {
    wal = open(fileSystem);
  } catch (error) {
    if ((error as { code?: string }).code === 'WAL_CORRUPT') return 'refused';
    throw error;
  }
  let verdict: Verdict = 'intact';
  for (const [group, { term, entries }] of written.expected) {
    const log = wal.groupLog(group);
    const flaw = flawOfDamaged(log, entries);
    if (flaw !== null) throw new Error(`group ${group}: ${flaw}`);
    if (!log.isHardStateKnown()) throw new Error(`group ${group}: term and vote are not known`);
    if ((log.hardState()?.term ?? 0) !== term) throw new Error(`group ${group}: term is wrong`);
    if (log.damage().length === 0) continue;
    verdict = 'healed';
    await refusesOthers(wal, group, entries);
    await heal(wal, group, entries);
  }
  fileSystem.crash({ seed: 1, keepUnsynced: 'none' });
  const again = open(fileSystem);
  for (const [group, { entries }] of written.expected) {
    const log = again.groupLog(group);
    if (log.damage().length > 0) throw new Error(`group ${group} is damaged after its repair`);
    const wanted = entries.filter(({ index }) => index >= log.firstIndex());
    if (!sameEntries(readAll(log), wanted)) throw new Error(`group ${group} was not healed`);
  }
  return verdict;
}

/** Entries with one wrong byte are refused when the range has a known end. */
async function refusesOthers(
  wal: InlineWal,
  group: GroupId,
  entries: readonly Entry[],
): Promise<void> {
  const log = wal.groupLog(group);
  for (const range of log.damage()) {
    const right = entries.filter(({ index }) => index >= range.low && index <= range.high);
    const wrong = right.map((entry, i) =>
      i === right.length - 1 ? { ...entry, data: entry.data.map((byte) => byte ^ 1) } : entry,
    );
    if (wrong.at(-1)!.data.byteLength === 0) continue;
    const code = await wal.repair(group, wrong).then(
      () => 'accepted',
      (error) => (error as { code: string }).code,
    );
    if (code !== 'REPAIR_REFUSED') throw new Error(`a wrong repair of ${range.low} was ${code}`);
  }
}

for (const damager of DAMAGERS) {
  t.test(`${damager.name} anywhere in a log: nothing is lost or wrong`, async (t) => {
    const counts = { intact: 0, healed: 0, refused: 0 };
    const wrong: string[] = [];
    for (const seed of [1, 2, 3]) {
      const written = await writeLog(seed, 40);
      const random = new SeededRandom(seed);
      for (const path of logFiles(written.fileSystem)) {
        const bytes = readWholeFile(written.fileSystem, path);
        for (let position = 0; position < bytes.byteLength; position += damager.step) {
          const isUnused = isZero(bytes, position, position + damager.step);
          if (isUnused && random.nextBelow(16) > 0) continue;
          const copy = written.fileSystem.clone();
          const jitter = damager.sizeBytes === 1 ? random.nextBelow(damager.step) : 0;
          spoil(copy, path, position + jitter, damager, random);
          try {
            counts[await judge(copy, written)] += 1;
          } catch (error) {
            wrong.push(`seed ${seed}, ${path} at ${position}: ${String(error)}`);
          }
        }
      }
    }
    t.same(wrong, []);
    t.comment(JSON.stringify(counts));
    t.ok(counts.healed > 0 && counts.refused === 0);
  });
}

t.test('a closed file that is cut anywhere: nothing is lost or wrong', async (t) => {
  const counts = { intact: 0, healed: 0, refused: 0 };
  const wrong: string[] = [];
  for (const seed of [1]) {
    const written = await writeLog(seed, 40);
    const random = new SeededRandom(seed);
    const used = logFiles(written.fileSystem).map((path) => {
      const bytes = readWholeFile(written.fileSystem, path);
      return { path, end: bytes.findLastIndex((byte) => byte !== 0) + 1 };
    });
    // Of the newest one nobody can tell a cut from a crash.
    const last = used.findLastIndex(({ end }) => end > 4_096);
    for (const { end, path } of used.slice(0, last)) {
      for (let from = 0; from < end; from += 64) {
        const copy = written.fileSystem.clone();
        const handle = copy.open(path, 'readWrite');
        const sizeBytes = from + random.nextBelow(64);
        handle.truncate(sizeBytes);
        handle.sync();
        handle.close();
        try {
          counts[await judge(copy, written)] += 1;
        } catch (error) {
          wrong.push(`seed ${seed}, ${path} cut to ${sizeBytes} bytes: ${String(error)}`);
        }
      }
    }
  }
  t.same(wrong, []);
  t.comment(JSON.stringify(counts));
  t.ok(counts.healed > 100 && counts.refused === 0);
});

t.test(
  'damage in many places at once is described or refused, and never guessed over',
  async (t) => {
    const counts = { intact: 0, healed: 0, refused: 0 };
    const wrong: string[] = [];
    for (let seed = 1000; seed < 1250; seed++) {
      const random = new SeededRandom(seed);
      const written = await writeLog(seed % 5, 60);
      const { fileSystem } = written;
      // The last two files stay: what no later batch confirms may be cut as torn.
      const files = logFiles(fileSystem).slice(0, -2);
      for (let places = 1 + random.nextBelow(6); places > 0; places--) {
        const path = files[random.nextBelow(files.length)]!;
        if (!fileSystem.exists(path)) continue;
        if (random.nextBelow(12) === 0) {
          fileSystem.remove(path);
          continue;
        }
        const damager = DAMAGERS[random.nextBelow(DAMAGERS.length)]!;
        const size = fileSystem.sizeBytes(path);
        const position = random.nextBelow(Math.ceil(size / damager.step)) * damager.step;
        spoil(fileSystem, path, position, damager, random);
      }
      try {
        counts[await judge(fileSystem, written)] += 1;
      } catch (error) {
        wrong.push(`seed ${seed}: ${String(error)}`);
      }
    }
    t.same(wrong, []);
    t.comment(JSON.stringify(counts));
    t.ok(counts.healed > 60 && counts.intact > 10);
  },
);

/**
 * Goal: what the repair of a running log calls made good is made good for the next start as well,
 * however many damages came one after the other.
 * Method: a log in memory is written to, cut at its beginning and damaged by turns, one closed file
 * at a time; each damage is looked at and mended as the healer does it, and after each a copy of
 * the disk is opened: it must have no hole, and every entry.
 * Replay: HOLDFAST_SEED=7 HOLDFAST_SEEDS=1 node packages/node/dist/test/log-rot-storm.test.js
 */
import type { Entry } from '@holdfast/base';
import {
  EMPTY_LOG_SUM,
  groupId,
  logIndex,
  nodeId,
  SeededRandom,
  sumsEqual,
  term,
} from '@holdfast/base';
import type { WalFlaw } from '@holdfast/storage';
import { createEntryHasher, InlineWal, lookAtFile, scrubLook } from '@holdfast/storage';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import t from 'tap';
import { placeOf } from '../src/heal/file-healer.ts';
import { LogRepair } from '../src/heal/log-repair.ts';

const FIRST_SEED = Number(process.env.HOLDFAST_SEED ?? 1);
const SEED_COUNT = Number(process.env.HOLDFAST_SEEDS ?? 8);
const STEPS = 120;
const DIRECTORY = '/data/wal';
const GROUP = groupId(1);
const OPTIONS = {
  fileSizeBytes: 32 * 1024,
  batchSizeBytesMax: 16 * 1024,
  cacheSizeBytesMax: 4_096,
};
const RETAINED_ENTRIES = 160;
const ATTEMPT_COUNT_MAX = 3;
const PASS_COUNT_MAX = 6;
const hasher = createEntryHasher();

class Storm {
  readonly random: SeededRandom;
  readonly fileSystem = new MemoryFileSystem();
  readonly entries: Entry[] = [];
  readonly settled = new Set<string>();
  readonly story: string[] = [];
  wal: InlineWal;

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
    this.wal = InlineWal.open({
      fileSystem: this.fileSystem,
      directory: DIRECTORY,
      options: OPTIONS,
    });
  }

  append(): void {
    const count = 1 + this.random.nextBelow(4);
    const before = this.entries.length;
    for (let i = 0; i < count; i++) {
      const index = logIndex(this.entries.length + 1);
      const previous = this.entries.at(-1)?.sum ?? EMPTY_LOG_SUM;
      const sizeBytes = this.random.nextBelow(4) === 0 ? 1_500 : 20 + this.random.nextBelow(80);
      const data = new Uint8Array(sizeBytes).map(() => this.random.nextBelow(256));
      const sum = hasher(previous, term(1), index, 'normal', data);
      this.entries.push({ index, term: term(1), type: 'normal', data, sum });
    }
    // What is committed is told with a later append, as the log does it.
    const hasState = before === 0 || this.random.nextBelow(3) === 0;
    const hardState = { term: term(1), vote: nodeId('n1'), commit: logIndex(before) };
    this.wal.append({
      ...{ group: GROUP, truncateFrom: null, snapshot: null, mustSync: true },
      entries: this.entries.slice(before),
      hardState: hasState ? hardState : null,
    });
    if (this.random.nextBelow(3) > 0) this.wal.pump();
    if (this.random.nextBelow(4) === 0) this.wal.confirm();
  }

  compact(): void {
    this.wal.pump();
    const index = this.entries.length - RETAINED_ENTRIES;
    const entry = this.entries[index - 1];
    if (entry === undefined) return;
    this.wal.compact(GROUP, { index: entry.index, term: entry.term, sum: entry.sum });
    this.wal.pump();
  }

  /** One closed file is damaged; null when there is none. */
  damage(): number | null {
    this.wal.pump();
    const closed = this.wal.files().filter(({ isClosed }) => isClosed);
    const file = closed[this.random.nextBelow(Math.max(1, closed.length))];
    if (file === undefined) return null;
    const name = `${DIRECTORY}/${String(file.fileId).padStart(16, '0')}.wal`;
    if (!this.fileSystem.exists(name)) return null;
    const kind = ['flip', 'zero', 'truncate', 'swap', 'stale', 'delete'][this.random.nextBelow(6)]!;
    const handle = this.fileSystem.open(name, 'readWrite');
    const size = handle.sizeBytes();
    const at = this.random.nextBelow(size);
    this.story.push(`${kind} of file ${file.fileId} at ${at} of ${size}`);
    const page = (position: number): Uint8Array => {
      const bytes = new Uint8Array(1_024);
      return bytes.subarray(0, handle.read(bytes, position));
    };
    if (kind === 'flip')
      handle.write(
        [
          page(at)
            .subarray(0, 1)
            .map((byte) => byte ^ 16),
        ],
        at,
      );
    else if (kind === 'zero') handle.write([new Uint8Array(Math.min(1_024, size - at))], at);
    else if (kind === 'truncate') handle.truncate(at);
    else if (kind === 'stale') handle.write([new Uint8Array(size - at)], at);
    else if (kind === 'swap') {
      const [left, right] = [at & ~1_023, this.random.nextBelow(size) & ~1_023];
      const [first, second] = [page(left).slice(), page(right).slice()];
      const length = Math.min(first.byteLength, second.byteLength);
      handle.write([second.subarray(0, length)], left);
      handle.write([first.subarray(0, length)], right);
    }
    handle.sync();
    handle.close();
    if (kind === 'delete') {
      this.fileSystem.remove(name);
      this.fileSystem.syncDirectory(DIRECTORY);
    }
    return file.fileId;
  }

  look(fileId: number): readonly WalFlaw[] {
    const expected = this.wal.files().find((one) => one.fileId === fileId) ?? null;
    const job = { kind: 'logFile', directory: DIRECTORY, fileId, expected } as const;
    const steps = scrubLook(this.fileSystem, lookAtFile(job));
    for (;;) {
      const step = steps.next();
      if (step.done === true) return step.value as readonly WalFlaw[];
    }
  }

  keyOf(flaw: WalFlaw): string {
    return placeOf({ path: `${flaw.fileId}` }, flaw);
  }

  /** As the scrubber and the healer do it, until a pass finds nothing new. */
  async mendAll(): Promise<void> {
    for (let pass = 1; pass <= PASS_COUNT_MAX; pass++) {
      const open = this.wal.files().filter(({ fileId }) => !this.isSound(fileId));
      if (open.length === 0) return;
      for (const { fileId } of open) await this.mend(fileId);
    }
    throw new Error(`passes find more and more: ${this.story.at(-1)}`);
  }

  isSound(fileId: number): boolean {
    return this.look(fileId).every((flaw) => this.settled.has(this.keyOf(flaw)));
  }

  async mend(fileId: number): Promise<void> {
    for (let attempt = 1; attempt <= ATTEMPT_COUNT_MAX; attempt++) {
      const repair = new LogRepair({
        wal: this.wal,
        entries: {
          fetch: async (_group, indexes) => ({
            entries: indexes.map((index) => this.entries[index - 1]!),
            ...{ bytesMoved: 0, sources: [] },
          }),
        },
        committedIndex: () => logIndex(this.entries.length),
        peers: () => [],
      });
      for (const flaw of this.look(fileId)) {
        if (this.settled.has(this.keyOf(flaw))) continue;
        const mended = repair.mend(flaw);
        this.wal.pump();
        for (let turn = 0; turn < 4; turn++) {
          await Promise.resolve();
          this.wal.pump();
        }
        if (await mended) this.settled.add(this.keyOf(flaw));
      }
      if (this.isSound(fileId)) return;
    }
    throw new Error(`file ${fileId} is not made good: ${this.story.at(-1)}`);
  }

  /** What a start makes of the disk as it is; null when nothing is wrong. */
  async problem(): Promise<string | null> {
    this.wal.pump();
    const wal = InlineWal.open({
      ...{ fileSystem: this.fileSystem.clone(), directory: DIRECTORY, options: OPTIONS },
    });
    const log = wal.groupLog(GROUP);
    const damage = log.damage();
    if (damage.length > 0) return `a start has lost ${JSON.stringify(damage)}`;
    if (log.lastIndex() !== this.entries.length) return `it ends at ${log.lastIndex()}`;
    for (let index = log.firstIndex(); index <= log.lastIndex(); index = logIndex(index + 1)) {
      const [entry] = log.entries(index, logIndex(index + 1), 1) as readonly Entry[];
      if (entry === undefined || !sumsEqual(entry.sum, this.entries[index - 1]!.sum))
        return `entry ${index} is another`;
    }
    return null;
  }
}

for (let seed = FIRST_SEED; seed < FIRST_SEED + SEED_COUNT; seed++) {
  t.test(
    `damage after damage of a running log leaves the next start whole (seed ${seed})`,
    async (t) => {
      const storm = new Storm(seed);
      for (let step = 0; step < STEPS; step++) {
        for (let i = 0; i < 6; i++) storm.append();
        storm.wal.pump();
        if (step % 5 === 4) storm.compact();
        if (step < 10 || storm.random.nextBelow(2) === 0) continue;
        const fileId = storm.damage();
        if (fileId === null) continue;
        await storm.mendAll();
        const problem = await storm.problem();
        if (problem === null) continue;
        t.fail(`step ${step}: ${problem}`, { story: storm.story.slice(-12) });
        return;
      }
      t.ok(storm.story.length > 30, `${storm.story.length} damages`);
    },
  );
}

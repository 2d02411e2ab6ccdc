/** A log that a test owns, archivers on it, and a way to say which sink operation goes on next. */
import type { Entry, Random } from '@holdfast/base';
import { clusterId, EMPTY_LOG_SUM, logIndex, SeededRandom, term } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import type { LogGap, TimelineParent } from '@holdfast/storage';
import { createEntryHasher, NO_KEYS } from '@holdfast/storage';
import { ArchiveReader } from '../../src/backup/archive/archive-reader.ts';
import { ArchiveStore } from '../../src/backup/archive/archive-store.ts';
import type { CommittedLog } from '../../src/backup/archive/committed-log.ts';
import { entryTimestampMs } from '../../src/backup/archive/entry-time.ts';
import type { ArchiverLimits } from '../../src/backup/archive/log-archiver.ts';
import { LogArchiver } from '../../src/backup/archive/log-archiver.ts';
import type { BackupSink } from '../../src/backup/sinks/sink.ts';
import { encodeCommand } from '../../src/state/command.ts';

export const CLUSTER = clusterId('00112233445566778899aabbccddeeff');
export const MAIN = 'main';
export const START_MS = 1_700_000_000_000;
export const hasher = createEntryHasher();

export const stamped = (timestampMs: number, bodyHash: number): Uint8Array =>
  encodeCommand({
    ...{ timestampMs, session: null, bodyHash: BigInt(bodyHash) },
    command: { kind: 'verify' },
  });

/** A log of true entries; nodes see it through views that may lag and may be compacted. */
export class TestLog {
  readonly entries: Entry[] = [];
  #term = 1;
  #timeMs = START_MS;

  get lastIndex(): number {
    return this.entries.length;
  }

  /** The first of a term is a no-op, as a new leader's is. */
  append(count: number, options: { newTerm?: boolean; stepMs?: number; mark?: number } = {}): this {
    if (options.newTerm === true) this.#term += 1;
    for (let i = 0; i < count; i++) {
      const index = logIndex(this.entries.length + 1);
      const isFirst = i === 0 && (options.newTerm === true || index === 1);
      this.#timeMs += isFirst ? 0 : (options.stepMs ?? 10);
      const data = isFirst
        ? new Uint8Array(0)
        : stamped(this.#timeMs, index + 1_000 * (options.mark ?? 0));
      const type = isFirst ? 'noop' : 'normal';
      const sum = hasher(this.sumOf(index - 1), term(this.#term), index, type, data);
      this.entries.push({ index, term: term(this.#term), type, data, sum });
    }
    return this;
  }

  sumOf(index: number): Uint8Array {
    return this.entries[index - 1]?.sum ?? EMPTY_LOG_SUM;
  }

  termOf(index: number): number {
    return this.entries[index - 1]?.term ?? 0;
  }

  /** The same up to `index`, then on its own. */
  fork(index: number): TestLog {
    const fork = new TestLog();
    fork.entries.push(...this.entries.slice(0, index));
    fork.#term = this.#term;
    fork.#timeMs = this.#timeMs;
    return fork;
  }
}

export class LogView implements CommittedLog {
  readonly log: TestLog;
  committed: number;
  baseIndex = 0;

  constructor(log: TestLog, committed: number = log.lastIndex) {
    this.log = log;
    this.committed = committed;
  }

  committedIndex() {
    return logIndex(this.committed);
  }

  base() {
    const { baseIndex: index, log } = this;
    return { index: logIndex(index), term: term(log.termOf(index)), sum: log.sumOf(index) };
  }

  sumAt(index: number) {
    if (index < this.baseIndex || index > this.log.lastIndex) return null;
    return this.log.sumOf(index);
  }

  isLongerThan(firstIndex: number, sizeBytes: number) {
    const waiting = this.log.entries.slice(firstIndex - 1, this.committed);
    return waiting.reduce((size, { data }) => size + 40 + data.byteLength, 0) > sizeBytes;
  }

  async read(firstIndex: number, sizeBytesMax: number) {
    if (firstIndex <= this.baseIndex) return 'compacted';
    let sizeBytes = 0;
    return this.log.entries.slice(firstIndex - 1, this.committed).filter(({ data }, i) => {
      sizeBytes += 40 + data.byteLength;
      return i === 0 || sizeBytes <= sizeBytesMax;
    });
  }
}

const noise: Random = new SeededRandom(7);

export const storeOf = (sink: BackupSink, timeline = MAIN, cluster = CLUSTER): ArchiveStore =>
  new ArchiveStore({
    ...{ sink, clusterId: cluster, timeline, hasher, timestampOf: entryTimestampMs },
    sealing: {
      compression: 'none',
      keys: NO_KEYS,
      random: (sizeBytes) => Uint8Array.from({ length: sizeBytes }, () => noise.nextBelow(256)),
    },
  });

export const readerOf = (sink: BackupSink, timeline = MAIN, cluster = CLUSTER): ArchiveReader =>
  new ArchiveReader(storeOf(sink, timeline, cluster));

export interface TestArchiver {
  readonly archiver: LogArchiver;
  readonly clock: VirtualClock;
  readonly alarms: Error[];
  /** When alarms ended. */
  readonly endedAlarms: number[];
  readonly gaps: LogGap[];
}

export function makeArchiver(
  sink: BackupSink,
  log: CommittedLog,
  options: {
    readonly clock?: VirtualClock;
    readonly limits?: Partial<ArchiverLimits>;
    readonly store?: ArchiveStore;
    readonly parent?: TimelineParent;
    readonly seed?: number;
  } = {},
): TestArchiver {
  const { clock = new VirtualClock(), limits, parent = null, seed = 1 } = options;
  const alarms: Error[] = [];
  const endedAlarms: number[] = [];
  const gaps: LogGap[] = [];
  const archiver = new LogArchiver({
    ...{ store: options.store ?? storeOf(sink), log, parent, hasher, clock },
    random: new SeededRandom(seed),
    onGap: (gap) => gaps.push(gap),
    onAlarm: (error) => alarms.push(error),
    onAlarmEnded: () => endedAlarms.push(clock.monotonicMs()),
    ...(limits === undefined ? {} : { limits }),
  });
  return { archiver, clock, alarms, endedAlarms, gaps };
}

/** Lets time pass in ticks until everything committed is archived, or for so many ticks. */
export async function catchUp(
  { archiver, clock }: TestArchiver,
  log: CommittedLog,
  tickCountMax = 100,
): Promise<boolean> {
  for (let tick = 0; tick < tickCountMax; tick++) {
    archiver.tick();
    await archiver.idle();
    const archived = archiver.archivedIndex ?? -1;
    if (archived >= log.committedIndex()) return true;
    clock.advance(1_000);
  }
  return false;
}

/** Everything that the archive holds. */
export async function readAll(reader: ArchiveReader, through: number): Promise<readonly Entry[]> {
  const entries: Entry[] = [];
  const start = { index: logIndex(0), term: term(0), sum: EMPTY_LOG_SUM };
  for await (const batch of reader.entries(start, logIndex(through)))
    entries.push(...batch.entries);
  return entries;
}

/** Callers wait here until the test lets one of them go on. */
export class Turns {
  readonly #waiting: { readonly name: string; readonly go: () => void }[] = [];

  get count(): number {
    return this.#waiting.length;
  }

  wait(name: string): Promise<void> {
    return new Promise((go) => {
      this.#waiting.push({ name, go });
    });
  }

  /** Drops those of `name`: they never go on. */
  forget(name: string): void {
    const left = this.#waiting.filter((waiter) => waiter.name !== name);
    this.#waiting.splice(0, this.#waiting.length, ...left);
  }

  async release(position: number): Promise<void> {
    this.#waiting.splice(position, 1)[0]?.go();
    await settle();
  }
}

/** Everything that needs no turn has gone as far as it can. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** `inner` as one node sees it: its operations on log objects wait before and after. */
export function gated(inner: BackupSink, gate: () => Promise<void>): BackupSink {
  const turn = async <T>(key: string, body: () => Promise<T>): Promise<T> => {
    if (!key.includes('/log/')) return body();
    await gate();
    const result = await body();
    await gate();
    return result;
  };
  return {
    name: inner.name,
    check: (options) => inner.check(options),
    put: (key, source, options) => turn(key, () => inner.put(key, source, options)),
    get: (key, size, options) => turn(key, () => inner.get(key, size, options)),
    read: (key, options) => inner.read(key, options),
    head: (key, options) => inner.head(key, options),
    list: (prefix, after, options) => inner.list(prefix, after, options),
    remove: (keys, options) => inner.remove(keys, options),
    presign: (key, expiresInS) => inner.presign(key, expiresInS),
    close: () => inner.close(),
  };
}

/**
 * A workload over two groups with a model beside it. The model knows the log after every append;
 * after a crash the recovered log must be the log after some append, at or after the newest one
 * reported durable. What recovery shows counts as reported: the node acts on it.
 */
import type { Entry, GroupId } from '@holdfast/base';
import { EMPTY_LOG_SUM, logIndex, SeededRandom, sumsEqual, term } from '@holdfast/base';
import type { MemoryFileSystem } from '../src/testing/memory-fs.ts';
import { InlineWal } from '../src/wal/inline-wal.ts';
import type { GroupLog, LogAppend } from '../src/wal/types.ts';
import {
  GROUP_ONE,
  GROUP_TWO,
  makeAppend,
  makeEntries,
  makeHardState,
  makeSnapshot,
  readAll,
  SMALL_WAL,
  WAL_DIRECTORY,
} from './support.ts';

interface GroupModel {
  readonly term: number;
  /** The newest commit hint: nothing up to it is ever truncated. */
  readonly commit: number;
  readonly startIndex: number;
  readonly startSum: Uint8Array;
  /** Entries startIndex+1 and on; compaction does not remove them from the model. */
  readonly entries: readonly Entry[];
}

type Model = ReadonlyMap<GroupId, GroupModel>;
const GROUPS = [GROUP_ONE, GROUP_TWO];
const EMPTY_GROUP: GroupModel = {
  term: 0,
  commit: 0,
  startIndex: 0,
  startSum: EMPTY_LOG_SUM,
  entries: [],
};

export class WalWorkload {
  readonly fileSystem: MemoryFileSystem;
  readonly #random: SeededRandom;
  #wal: InlineWal | null = null;
  /** Model after ticket `#firstTicket + i`. */
  #models: Model[] = [new Map(GROUPS.map((group) => [group, EMPTY_GROUP]))];
  /** Position in `#models` of the newest one reported durable. */
  #confirmed = 0;
  #isClosed = false;

  constructor(fileSystem: MemoryFileSystem, seed: number) {
    this.fileSystem = fileSystem;
    this.#random = new SeededRandom(seed);
  }

  get confirmedCount(): number {
    return this.#confirmed;
  }

  /** Opens the log and checks it against the model. @throws Error when something is lost */
  open(): void {
    const options = { ...SMALL_WAL, fileSizeBytes: 8 * 1024 };
    const wal = InlineWal.open({
      fileSystem: this.fileSystem,
      directory: WAL_DIRECTORY,
      options,
    });
    const matching = this.#models.findIndex(
      (model, i) => i >= this.#confirmed && GROUPS.every((group) => agrees(wal, group, model)),
    );
    if (matching < 0) {
      const found = GROUPS.map((group) => summarise(wal.groupLog(group))).join('; ');
      const model = this.#models[this.#confirmed]!;
      const expected = GROUPS.map((group) => summariseModel(model.get(group)!)).join('; ');
      throw new Error(`acknowledged state is lost: found ${found}; at least ${expected}`);
    }
    this.#models = [this.#models[matching]!];
    this.#confirmed = 0;
    this.#wal = wal;
    this.#isClosed = false;
    wal.onDurable((ticket) => {
      this.#confirmed = ticket;
    });
  }

  /** One random step: an append, or a compaction; sometimes several before they are written. */
  step(): void {
    const wal = this.#wal!;
    const group = this.#random.nextBelow(4) === 0 ? GROUP_TWO : GROUP_ONE;
    const choice = this.#random.nextBelow(16);
    if (choice === 0) this.#compact(wal, group);
    else this.#append(wal, group, choice);
    if (this.#random.nextBelow(3) > 0) wal.pump();
  }

  /** The entries of a group after everything so far, compacted ones included, and its term. */
  expected(group: GroupId): { readonly term: number; readonly entries: readonly Entry[] } {
    return this.#models.at(-1)!.get(group)!;
  }

  finish(): void {
    this.#wal!.pump();
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#wal!.close();
  }

  #append(wal: InlineWal, group: GroupId, choice: number): void {
    const before = this.#models.at(-1)!;
    const model = before.get(group)!;
    const { append, after } = this.#makeAppend(wal.groupLog(group), group, model, choice);
    wal.append(append);
    this.#models.push(new Map(before).set(group, after));
  }

  #makeAppend(
    log: GroupLog,
    group: GroupId,
    model: GroupModel,
    choice: number,
  ): { append: LogAppend; after: GroupModel } {
    const inTerm = model.term + (choice < 4 ? 1 : 0);
    const lastIndex = model.startIndex + model.entries.length;
    const committed = Math.max(model.commit, lastIndex - this.#random.nextBelow(6));
    const commit = choice % 3 === 0 ? committed : model.commit;
    const isNews = inTerm > model.term || commit > model.commit;
    const hardState = isNews ? makeHardState(inTerm, commit) : null;
    if (choice === 1) {
      const sum = new Uint8Array(16).fill(this.#random.nextBelow(250) + 1);
      const snapshot = makeSnapshot(lastIndex + 5, inTerm, sum);
      const start = { startIndex: snapshot.index, startSum: sum, entries: [] };
      const after = { term: inTerm, commit, ...start };
      return { append: makeAppend({ group, snapshot, hardState }), after };
    }
    const keep = choice === 2 ? this.#keepCount(log, model) : model.entries.length;
    const kept = model.entries.slice(0, keep);
    const count = 1 + this.#random.nextBelow(3);
    const sizeBytes = this.#random.nextBelow(8) === 0 ? 3000 : this.#random.nextBelow(300);
    const first = model.startIndex + keep + 1;
    const previousSum = kept.at(-1)?.sum ?? model.startSum;
    const added = makeEntries(previousSum, first, count, { term: inTerm, sizeBytes });
    const isTruncated = keep < model.entries.length;
    const truncateFrom = isTruncated ? logIndex(first) : null;
    const append = makeAppend({ group, hardState, truncateFrom, entries: added });
    return { append, after: { ...model, term: inTerm, commit, entries: [...kept, ...added] } };
  }

  /** How many entries a truncation leaves: never below the base or the commit. */
  #keepCount(log: GroupLog, model: GroupModel): number {
    const least = Math.max(0, Math.max(log.base().index, model.commit) - model.startIndex);
    return Math.max(least, model.entries.length - this.#random.nextBelow(4));
  }

  #compact(wal: InlineWal, group: GroupId): void {
    wal.pump();
    const log = wal.groupLog(group);
    if (log.lastIndex() === log.base().index) return;
    const span = log.lastIndex() - log.base().index;
    const index = logIndex(log.base().index + 1 + this.#random.nextBelow(span));
    const sum = log.sum(index);
    const inTerm = log.term(index);
    if (typeof sum === 'string' || typeof inTerm === 'string') throw new Error('no such entry');
    wal.compact(group, { index, term: term(inTerm), sum });
  }
}

function agrees(wal: InlineWal, group: GroupId, model: Model): boolean {
  const log = wal.groupLog(group);
  const expected = model.get(group)!;
  if ((log.hardState()?.term ?? 0) !== expected.term) return false;
  if (log.lastIndex() !== expected.startIndex + expected.entries.length) return false;
  if (log.base().index < expected.startIndex) return false;
  const entries = readAll(log);
  const tail = expected.entries.slice(log.base().index - expected.startIndex);
  if (tail.length !== entries.length) return false;
  return entries.every((entry, i) => {
    const wanted = tail[i]!;
    const isSame = entry.index === wanted.index && sumsEqual(entry.sum, wanted.sum);
    return isSame && Buffer.compare(entry.data, wanted.data) === 0;
  });
}

const summarise = (log: GroupLog): string =>
  `group ${log.group} term ${log.hardState()?.term ?? 0} ${log.base().index}..${log.lastIndex()}`;
const summariseModel = (model: GroupModel): string =>
  `term ${model.term} ..${model.startIndex + model.entries.length}`;

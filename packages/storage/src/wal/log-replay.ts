/**
 * Replays the batches of a log into the logs of its groups: whole batches record by record, and
 * damaged ones as far as they can be read. Where records may be hidden, every group that they can
 * belong to is put in doubt; what a later batch confirms, or a file repeats, ends it. Whatever is
 * in doubt at the end cannot be described, and the log is refused.
 */
import type { EntryHasher, GroupId } from '@holdfast/base';
import {
  decodeEntry,
  HoldfastError,
  InvariantViolation,
  sumsEqual,
  unreachable,
} from '@holdfast/base';
import { createEntryHasher } from '../checksum.ts';
import type { Confirmation, ConfirmedGroup } from './confirmation.ts';
import { DurableGroupLog } from './durable-group-log.ts';
import type { HolePlace } from './group-replay.ts';
import { GroupReplay } from './group-replay.ts';
import type { RecordName, WalRecord } from './record.ts';
import type { GroupSummary } from './record-payload.ts';
import { decodeGroupSummary, decodeHardState, decodeSnapshot } from './record-payload.ts';
import type { RecordSource } from './record-source.ts';
import { walCorrupt } from './record-source.ts';
import type { SalvageItem } from './salvage.ts';
import type { WalOptions } from './types.ts';

export interface ReplayedLog {
  readonly groups: ReadonlyMap<GroupId, DurableGroupLog>;
  /** Groups whose newest hard state record may be among what is lost. */
  readonly hardStatesInDoubt: ReadonlySet<GroupId>;
}

export class LogReplay {
  readonly #source: RecordSource;
  readonly #cacheSizeBytesMax: number;
  readonly #verifiesChain: boolean;
  readonly #hasher: EntryHasher = createEntryHasher();
  readonly #groups = new Map<GroupId, GroupReplay>();
  /** The beginning of the log is lost: groups may exist that no record has named yet. */
  #lostHead: HolePlace | null = null;
  /** Groups with records whose beginning is lost: they wait for a summary. */
  readonly #waiting = new Set<GroupId>();
  /** Set by a hole that may hide a group, until a complete list of the groups is seen. */
  #unlisted: HolePlace | null = null;

  constructor(
    source: RecordSource,
    options: Pick<WalOptions, 'cacheSizeBytesMax' | 'verifiesEntryChain'>,
  ) {
    this.#source = source;
    this.#cacheSizeBytesMax = options.cacheSizeBytesMax;
    this.#verifiesChain = options.verifiesEntryChain;
  }

  /** `isHead`: the first batch of the oldest file, whose file states are the start of the log. */
  replayWhole(fileId: number, records: readonly WalRecord[], isHead: boolean): void {
    for (const record of records) {
      this.#checked(fileId, record.offset, record.index, () =>
        this.#replay(fileId, record, isHead),
      );
    }
    // The head of a file lists every group.
    if (records[0]?.type === 'fileState') this.#listed();
  }

  /**
   * Items of one batch or region that was durable. `confirmation` is that of exactly this batch,
   * or null when there is none or more than one batch is hidden.
   */
  replayDamaged(
    fileId: number,
    items: readonly SalvageItem[],
    confirmation: Confirmation | null,
    isHead: boolean,
  ): void {
    for (const item of items) {
      const offset = item.kind === 'record' ? item.record.offset : item.offset;
      const place = (what: string): HolePlace => ({ file: this.#path(fileId), offset, what });
      this.#checked(fileId, offset, null, () => {
        switch (item.kind) {
          case 'record':
            this.#replay(fileId, item.record, isHead);
            return;
          case 'named':
            this.#replayNamed(item.name, place(item.what), isHead);
            return;
          case 'gap':
            this.hole(place(item.what), confirmation, item.lostCount, isHead);
            return;
          default:
            unreachable(item);
        }
      });
    }
  }

  /** Records may be hidden at `place`. */
  hole(
    place: HolePlace,
    confirmation: Confirmation | null,
    lostCount: number | null,
    isHead: boolean,
  ): void {
    if (isHead) {
      this.#lostHead = place;
      this.#unlisted = place;
    }
    if (confirmation !== null && !isHead) {
      for (const { group, changedFrom } of confirmation.groups) {
        const known = this.#groups.get(group) ?? this.#newGroup(group);
        known.hole(place, changedFrom, lostCount);
      }
      return;
    }
    this.#unlisted = place;
    for (const replay of this.#groups.values()) replay.hole(place, null, lostCount);
  }

  /** What the batch at `offset` says of the groups before it. */
  confirm(fileId: number, offset: number, confirmation: Confirmation): void {
    this.#checked(fileId, offset, null, () => {
      const place = { file: this.#path(fileId), offset, what: 'its entries are lost' };
      for (const confirmed of confirmation.groups) this.#confirmGroup(confirmed, place);
    });
    if (confirmation.isComplete) this.#listed();
  }

  /** @throws HoldfastError WAL_CORRUPT when anything is still in doubt */
  finish(): ReplayedLog {
    const groups = new Map<GroupId, DurableGroupLog>();
    const hardStatesInDoubt = new Set<GroupId>();
    if (this.#unlisted !== null) throw this.#undescribed(this.#unlisted, 'groups');
    for (const group of this.#waiting) {
      throw this.#undescribed(null, `the beginning of group ${group}`);
    }
    for (const [group, replay] of this.#groups) {
      if (replay.doubt !== null) throw this.#undescribed(replay.doubt, `group ${group}`);
      this.#checkCommit(replay.log);
      groups.set(group, replay.log);
      if (replay.isHardStateInDoubt) hardStatesInDoubt.add(group);
    }
    return { groups, hardStatesInDoubt };
  }

  /** The first index that the log cannot give, for errors. */
  nextIndex(): number {
    const logs = [...this.#groups.values()].map(({ log }) => log.lastIndex() + 1);
    return logs.length === 0 ? 1 : Math.min(...logs);
  }

  #listed(): void {
    this.#unlisted = null;
    this.#lostHead = null;
  }

  #replay(fileId: number, record: WalRecord, isHead: boolean): void {
    const { group, type } = record;
    const known = this.#groups.get(group);
    if (type === 'fileState') {
      this.#replayFileState(fileId, record, isHead, known);
      return;
    }
    if (known === undefined && this.#lostHead !== null) {
      this.#waiting.add(group);
      return;
    }
    const replay = known ?? this.#newGroup(group);
    switch (type) {
      case 'hardState':
        replay.hardState(decodeHardState(record.payload));
        return;
      case 'truncate':
        replay.truncateFrom(record.index);
        return;
      case 'entry':
      case 'repair':
        this.#replayEntry(fileId, record, replay);
        return;
      case 'snapshot': {
        const base = { index: record.index, term: record.term, sum: record.sum.slice() };
        replay.restart(base, decodeSnapshot(base, record.payload));
        return;
      }
      case 'base':
        replay.base({ index: record.index, term: record.term, sum: record.sum.slice() });
        return;
      default:
        unreachable(type);
    }
  }

  #replayEntry(fileId: number, record: WalRecord, replay: GroupReplay): void {
    const decoded = decodeEntry(record.payload, 0).entry;
    const isSame =
      decoded.index === record.index &&
      decoded.term === record.term &&
      sumsEqual(decoded.sum, record.sum);
    if (!isSame) throw nonsense('entry and its record header differ');
    const entry = { ...decoded, data: decoded.data.slice() };
    const position = { fileId, offset: record.offset, sizeBytes: record.sizeBytes };
    if (record.type === 'repair') replay.repaired(entry, position);
    else replay.entry(entry, position);
  }

  #replayFileState(
    fileId: number,
    record: WalRecord,
    isHead: boolean,
    known: GroupReplay | undefined,
  ): void {
    const summary = decodeGroupSummary(record.payload);
    const place = { file: this.#path(fileId), offset: record.offset, what: GONE };
    if (known !== undefined) known.summary(summary);
    else if (isHead) this.#newGroup(record.group).startFrom(summary, place);
    else this.#summaryOfUnknown(record.group, summary, place);
  }

  #replayNamed(name: RecordName, place: HolePlace, isHead: boolean): void {
    const { group, type, index, term, sum } = name;
    const known = this.#groups.get(group);
    if (known === undefined && type === 'fileState' && isHead) {
      const replay = this.#newGroup(group);
      replay.restart({ index, term, sum }, null);
      replay.hole(place, null, null);
      return;
    }
    if (known === undefined && this.#lostHead !== null) {
      this.#waiting.add(group);
      return;
    }
    const replay = known ?? this.#newGroup(group);
    switch (type) {
      case 'entry':
        replay.lostEntry(index, { term, sum }, place);
        return;
      case 'hardState':
        replay.lostHardState();
        return;
      case 'snapshot':
        replay.restart({ index, term, sum }, null);
        return;
      case 'repair':
      case 'fileState':
        // The entry stays lost; the state is as the records before say.
        return;
      case 'truncate':
      case 'base':
        throw nonsense('record has no payload to be damaged');
      default:
        unreachable(type);
    }
  }

  #confirmGroup({ group, summary }: ConfirmedGroup, place: HolePlace): void {
    const known = this.#groups.get(group);
    if (known !== undefined) known.summary({ ...summary, snapshot: null });
    else this.#summaryOfUnknown(group, summary, place);
  }

  #summaryOfUnknown(group: GroupId, summary: GroupSummary, place: HolePlace): void {
    if (this.#lostHead !== null) {
      this.#waiting.delete(group);
      this.#newGroup(group).startFrom(summary, place);
      return;
    }
    this.#newGroup(group).summary(summary);
  }

  #newGroup(group: GroupId): GroupReplay {
    const log = new DurableGroupLog(group, this.#source, this.#cacheSizeBytesMax);
    const replay = new GroupReplay(log, this.#hasher, this.#verifiesChain);
    this.#groups.set(group, replay);
    // Its first records may be among what is hidden.
    if (this.#unlisted !== null && this.#lostHead === null) replay.hole(this.#unlisted, null, null);
    return replay;
  }

  #checkCommit(log: DurableGroupLog): void {
    const commit = log.hardState()?.commit ?? 0;
    const last = log.lastIndex();
    if (commit <= last) return;
    // A hint is written with or after its entries, never before: entries are lost.
    const what = `group ${log.group} knows commit ${commit} but its log ends earlier`;
    throw walCorrupt(this.#path(0), 0, last + 1, what);
  }

  #undescribed(place: HolePlace | null, whose: string): HoldfastError {
    const { file, offset, what } = place ?? { file: this.#path(0), offset: 0, what: GONE };
    const message = `${what}, and no later record says what ${whose} had come to`;
    return walCorrupt(file, offset, this.nextIndex(), message);
  }

  /** A record that verifies and makes no sense is damage too: it is not guessed over. */
  #checked(fileId: number, offset: number, index: number | null, body: () => void): void {
    try {
      body();
    } catch (error) {
      const isPlaced = error instanceof HoldfastError && error.details.file !== undefined;
      const isKnown = error instanceof HoldfastError || error instanceof InvariantViolation;
      if (isPlaced || !isKnown) throw error;
      throw walCorrupt(this.#path(fileId), offset, index ?? this.nextIndex(), error.message);
    }
  }

  #path(fileId: number): string {
    return this.#source.path(fileId);
  }
}

const GONE = 'its entries were in older files that are gone';

function nonsense(what: string): HoldfastError {
  return new HoldfastError('WAL_CORRUPT', what, { details: { what } });
}

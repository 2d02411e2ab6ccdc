/**
 * Reads a whole log and decides, without writing, what it holds. The rule that tells a torn tail
 * from damage: batch k+1 is written only after the sync of batch k returned, and names k. So the
 * last bad batch is an unfinished write only when nothing shows that a later one was begun; any
 * such sign means that it was durable and may have been acknowledged: then it is damage, and is
 * described, not dropped.
 *
 * Signs: a valid batch header further on, in this file or a later one; the watermark of a later
 * file; bytes that are not zero beyond the end of the bad batch. A batch is confirmed by the next
 * one or, when the log goes quiet, by an empty one a few milliseconds later; what stays ambiguous
 * is damage to the very last batch of a node that stopped inside that window: it is taken for torn.
 */
import type { GroupId } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import type { FileSystem } from '../fs.ts';
import { readWholeFile } from '../fs.ts';
import type { ParsedBatch } from './batch-reader.ts';
import { findBatch, isZero } from './batch-reader.ts';
import type { BatchChanges, Confirmation } from './confirmation.ts';
import { noteChange } from './confirmation.ts';
import type { DurableGroupLog } from './durable-group-log.ts';
import { readEpoch } from './epoch-file.ts';
import type { ClosedWalFile } from './file-facts.ts';
import {
  checksumMask,
  decodeFileHeader,
  describeBatch,
  epochOf,
  FIRST_BATCH_OFFSET,
  parseWalFileName,
} from './format.ts';
import { LogReplay } from './log-replay.ts';
import type { RecordSource } from './record-source.ts';
import { walCorrupt } from './record-source.ts';
import { salvageRegion } from './salvage.ts';
import type { WalOptions } from './types.ts';

export interface LastBatch {
  readonly fileId: number;
  readonly offset: number;
  /** The bytes as read, padding included. */
  readonly bytes: Uint8Array;
  /** What it did to the groups, as far as it can be read. */
  readonly changes: BatchChanges;
}

export interface TornTail {
  readonly file: string;
  readonly offset: number;
  readonly what: string;
}

export interface WalScan {
  readonly groups: ReadonlyMap<GroupId, DurableGroupLog>;
  /** Groups whose newest hard state record may be among what is damaged. */
  readonly hardStatesInDoubt: ReadonlySet<GroupId>;
  /** Files up to the one with the last batch, ascending. */
  readonly liveFileIds: readonly number[];
  /** Later files that hold no batch: prepared ahead, or torn while being made or begun. */
  readonly unusedFileIds: readonly number[];
  /** Null when the log holds no batch at all. */
  readonly last: LastBatch | null;
  readonly lastBatch: number;
  /** Newest epoch seen in any valid header. */
  readonly epochMax: number;
  /** Newest batch that is damaged and was durable, whatever shows it; 0 when there is none. */
  readonly durableBatch: number;
  readonly tornTail: TornTail | null;
  /** Files whose first batch is bad: none of them must become the oldest, which starts the log. */
  readonly badHeadFileIds: ReadonlySet<number>;
  /** Of every file, in their order, as far as can be seen from outside each. */
  readonly fileFacts: readonly ClosedWalFile[];
  /** Every place whose bytes are wrong, also where nothing is missing because of it. */
  readonly badPlaces: readonly TornTail[];
}

/**
 * @throws HoldfastError WAL_CORRUPT naming file, offset and index, when damage cannot be described;
 *   FORMAT_UNKNOWN; FILE_IO
 */
export function scanWal(
  fileSystem: FileSystem,
  directory: string,
  source: RecordSource,
  options: Pick<WalOptions, 'cacheSizeBytesMax' | 'verifiesEntryChain'>,
): WalScan {
  const fileIds = fileSystem
    .list(directory)
    .map(parseWalFileName)
    .filter((id) => id !== null)
    .sort((left, right) => left - right);
  const scanner = new WalScanner(fileSystem, source, options);
  scanner.promise(readEpoch(fileSystem, directory)?.durableBatch ?? 0, fileIds[0] ?? 0);
  for (const fileId of fileIds) scanner.scanFile(fileId);
  return scanner.finish();
}

/** Bytes that are not zero and belong to no batch. */
interface Region {
  readonly fileId: number;
  readonly bytes: Uint8Array;
  readonly from: number;
  readonly to: number;
}

interface PlacedBatch {
  readonly fileId: number;
  readonly bytes: Uint8Array;
  readonly batch: ParsedBatch;
  readonly isHead: boolean;
}

class WalScanner {
  readonly #fileSystem: FileSystem;
  readonly #source: RecordSource;
  readonly #replay: LogReplay;
  readonly #fileIds: number[] = [];
  #fileFacts: ClosedWalFile[] = [];
  /** Regions since the last batch. */
  #regions: Region[] = [];
  /** A damaged batch that is replayed when the next one shows that it was durable. */
  #pending: PlacedBatch | null = null;
  #last: LastBatch | null = null;
  /** 0 until the first batch. */
  #lastBatch = 0;
  #epochMax = 0;
  /** Newest batch that a file header calls durable, and the file. */
  #promised = { batch: 0, fileId: 0 };
  #hasBatch = false;
  #durableBatch = 0;
  readonly #badPlaces: TornTail[] = [];
  readonly #badHeadFileIds = new Set<number>();

  constructor(
    fileSystem: FileSystem,
    source: RecordSource,
    options: Pick<WalOptions, 'cacheSizeBytesMax' | 'verifiesEntryChain'>,
  ) {
    this.#fileSystem = fileSystem;
    this.#source = source;
    this.#replay = new LogReplay(source, options);
  }

  /** An earlier recovery has seen that `batch` was durable. */
  promise(batch: number, fileId: number): void {
    this.#durableBatch = batch;
    this.#promised = { batch, fileId };
  }

  scanFile(fileId: number): void {
    const path = this.#source.path(fileId);
    const bytes = readWholeFile(this.#fileSystem, path);
    const header = decodeFileHeader(bytes, fileId, path);
    const mask = checksumMask(fileId);
    this.#fileIds.push(fileId);
    if (header !== null) {
      this.#epochMax = Math.max(this.#epochMax, header.epoch);
      if (header.watermark > this.#promised.batch) {
        this.#promised = { batch: header.watermark, fileId };
      }
    }
    let offset = FIRST_BATCH_OFFSET;
    let isHeadGood = false;
    for (;;) {
      const batch = findBatch(bytes, fileId, offset, mask);
      isHeadGood ||= batch?.offset === FIRST_BATCH_OFFSET && batch.content.kind === 'whole';
      this.#noteRegion({ fileId, bytes, from: offset, to: batch?.offset ?? bytes.byteLength });
      if (batch === null) break;
      this.#follow(fileId, bytes, batch);
      offset = batch.offset + batch.sizeBytes;
    }
    this.#fileFacts.push({ fileId, sizeBytes: bytes.byteLength, lastBatch: this.#newestBatch });
    const isUsed = offset > FIRST_BATCH_OFFSET;
    if (!isHeadGood) this.#badHeadFileIds.add(fileId);
    if (header === null && isUsed) this.#noteBad(path, 0, 'file header is damaged');
  }

  finish(): WalScan {
    const tornTail = this.#settleEnd();
    if (this.#promised.batch > this.#lastBatch) throw this.#missingBatch(tornTail);
    const { groups, hardStatesInDoubt } = this.#replay.finish();
    const lastFileId = this.#last?.fileId ?? 0;
    return {
      groups,
      hardStatesInDoubt,
      liveFileIds: this.#fileIds.filter((fileId) => fileId <= lastFileId),
      unusedFileIds: this.#fileIds.filter((fileId) => fileId > lastFileId),
      last: this.#last,
      lastBatch: this.#lastBatch,
      epochMax: this.#epochMax,
      durableBatch: this.#durableBatch,
      tornTail,
      badHeadFileIds: new Set([...this.#badHeadFileIds].filter((id) => id <= lastFileId)),
      badPlaces: this.#badPlaces,
      fileFacts: this.#fileFacts,
    };
  }

  get #newestBatch(): number {
    return this.#pending?.batch.header.batch ?? this.#lastBatch;
  }

  /** Files that seem to end with `before` ended with `watermark`: their ends are lost. */
  #correctFacts(before: number, watermark: number): void {
    this.#fileFacts = this.#fileFacts.map((facts) =>
      facts.lastBatch === before ? { ...facts, lastBatch: watermark } : facts,
    );
  }

  #follow(fileId: number, bytes: Uint8Array, batch: ParsedBatch): void {
    const { batch: number, watermark } = batch.header;
    const path = this.#source.path(fileId);
    if (batch.content.kind === 'damaged' && batch.content.unknownTypeAt !== null) {
      throw unknownRecord(path, batch.content.unknownTypeAt);
    }
    const before = this.#newestBatch;
    const isFirst = !this.#hasBatch;
    if (number <= before || (!isFirst && watermark < before)) {
      const what =
        `batch ${describeBatch(number)} follows ${describeBatch(before)} ` +
        `but was written after ${describeBatch(watermark)}`;
      throw walCorrupt(path, batch.offset, this.#replay.nextIndex(), what);
    }
    const { confirmation } = batch;
    if (confirmation === null) this.#noteBad(path, batch.offset, 'confirmation is damaged');
    this.#replayPending(watermark === before ? confirmation : null);
    const isHead = isFirst && batch.offset === FIRST_BATCH_OFFSET && !this.#startsAtBirth();
    const hasLost = isFirst ? this.#hasLostHead(batch, watermark) : watermark > before;
    if (watermark > before) this.#correctFacts(before, watermark);
    if (hasLost) this.#replayHole(path, batch, before, isFirst);
    else for (const region of this.#regions) this.#noteUnused(region);
    this.#regions = [];
    this.#hasBatch = true;
    // The oldest file may begin after batches that are deleted: its head says what they left.
    if (confirmation !== null && (!isFirst || hasLost)) {
      this.#replay.confirm(fileId, batch.offset, confirmation);
    }
    this.#epochMax = Math.max(this.#epochMax, epochOf(number));
    this.#pending = { fileId, bytes, batch, isHead };
    if (batch.content.kind === 'whole') this.#replayPending(null);
  }

  /** The first file ever made begins with nothing; any other one with the state of its groups. */
  #startsAtBirth(): boolean {
    return this.#fileIds[0] === 1;
  }

  #hasLostHead(batch: ParsedBatch, watermark: number): boolean {
    return this.#startsAtBirth() ? watermark > 0 : batch.offset !== FIRST_BATCH_OFFSET;
  }

  /** The batch that waited is replayed; `confirmation` is the next batch's, when it names it. */
  #replayPending(confirmation: Confirmation | null): void {
    const pending = this.#pending;
    if (pending === null) return;
    this.#pending = null;
    const { fileId, bytes, batch, isHead } = pending;
    const { content, offset, sizeBytes } = batch;
    const changes = new Map<GroupId, number>();
    if (content.kind === 'whole') {
      for (const record of content.records) {
        if (record.type !== 'fileState') noteChange(changes, record);
      }
      this.#replay.replayWhole(fileId, content.records, isHead);
    } else {
      for (const item of content.items) {
        if (item.kind !== 'gap')
          noteChange(changes, item.kind === 'record' ? item.record : item.name);
      }
      this.#noteBad(this.#source.path(fileId), content.offset, content.what);
      this.#durableBatch = Math.max(this.#durableBatch, batch.header.batch);
      this.#replay.replayDamaged(fileId, content.items, confirmation, isHead);
    }
    this.#last = { fileId, offset, bytes: bytes.subarray(offset, offset + sizeBytes), changes };
    this.#lastBatch = batch.header.batch;
  }

  /** Batches before `batch` are lost; what lies in their place is read record by record. */
  #replayHole(path: string, batch: ParsedBatch, before: number, isFirst: boolean): void {
    const { watermark } = batch.header;
    const isOne = watermark === before + 1;
    const confirmation = isOne ? batch.confirmation : null;
    const isHead = isFirst && !this.#startsAtBirth();
    const what = `batch ${isOne ? '' : 'up to '}${describeBatch(watermark)} is missing`;
    const place = { file: path, offset: batch.offset, what };
    this.#durableBatch = Math.max(this.#durableBatch, watermark);
    if (this.#regions.length === 0) {
      this.#noteBad(path, batch.offset, what);
      this.#replay.hole(place, confirmation, null, isHead);
      return;
    }
    for (const { fileId, bytes, from, to } of this.#regions) {
      const mask = checksumMask(fileId);
      const { items, unknownTypeAt } = salvageRegion(bytes, from, to, mask, what);
      if (unknownTypeAt !== null) throw unknownRecord(this.#source.path(fileId), unknownTypeAt);
      this.#noteBad(this.#source.path(fileId), from, what);
      this.#replay.replayDamaged(fileId, items, confirmation, isHead);
    }
  }

  /** What is behind the last whole batch: torn, or durable and damaged. Returns what is torn. */
  #settleEnd(): TornTail | null {
    const pending = this.#pending;
    const [first, second] = this.#regions;
    if (first !== undefined && second !== undefined) {
      const what = `batch is damaged, but ${this.#source.path(second.fileId)} was begun after it`;
      throw walCorrupt(this.#source.path(first.fileId), first.from, this.#replay.nextIndex(), what);
    }
    if (pending !== null) {
      const wasDurable = first !== undefined || this.#promised.batch >= pending.batch.header.batch;
      const { content, offset } = pending.batch;
      if (!wasDurable) {
        this.#pending = null;
        const what = content.kind === 'damaged' ? content.what : '';
        return { file: this.#source.path(pending.fileId), offset, what };
      }
      this.#replayPending(null);
    }
    if (first === undefined) return null;
    const what = 'batch header fails its checksum';
    return { file: this.#source.path(first.fileId), offset: first.from, what };
  }

  #missingBatch(tornTail: TornTail | null): HoldfastError {
    const { batch, fileId } = this.#promised;
    const path = this.#source.path(fileId);
    const what = `batch ${describeBatch(batch)}, durable before ${path}, is missing`;
    const place = tornTail ?? { file: path, offset: 0 };
    return walCorrupt(place.file, place.offset, this.#replay.nextIndex(), what);
  }

  #noteRegion(region: Region): void {
    if (!isZero(region.bytes, region.from, region.to)) this.#regions.push(region);
  }

  #noteUnused({ fileId, from }: Region): void {
    this.#noteBad(this.#source.path(fileId), from, 'bytes between batches are not zero');
  }

  #noteBad(file: string, offset: number, what: string): void {
    this.#badPlaces.push({ file, offset, what });
  }
}

function unknownRecord(file: string, offset: number): HoldfastError {
  const message = `${file} at offset ${offset}: record type is unknown: upgrade this node`;
  return new HoldfastError('FORMAT_UNKNOWN', message, { details: { file, offset } });
}

/**
 * Reads a whole log and decides, without writing, what it holds. The rule that tells a torn tail
 * from rot: batch k+1 is written only after the sync of batch k returned. So a bad batch is an
 * unfinished write only when nothing shows that a later one was begun; any such sign means that
 * the bad batch was durable and may have been acknowledged, and then the log is refused.
 *
 * Signs: a valid batch header further on, in this file or a later one; the watermark of a later
 * file; bytes that are not zero beyond the end of the bad batch. What stays ambiguous is damage to
 * the very last batch: it is treated as torn (a later format adds a header ring for that).
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
import type { FileSystem } from '../fs.ts';
import { readWholeFile } from '../fs.ts';
import type { BatchOutcome, ParsedBatch } from './batch-reader.ts';
import { findBatchHeader, isZero, readBatch } from './batch-reader.ts';
import { DurableGroupLog } from './durable-group-log.ts';
import {
  alignBatch,
  BATCH_ALIGNMENT_BYTES,
  BATCH_HEADER_SIZE_BYTES,
  checksumMask,
  decodeFileHeader,
  describeBatch,
  epochOf,
  FIRST_BATCH_OFFSET,
  parseWalFileName,
} from './format.ts';
import type { WalRecord } from './record.ts';
import { decodeGroupSummary, decodeHardState, decodeSnapshot } from './record-payload.ts';
import type { RecordSource } from './record-source.ts';
import { walCorrupt } from './record-source.ts';
import type { WalOptions } from './types.ts';

export interface LastBatch {
  readonly fileId: number;
  readonly offset: number;
  /** The verified bytes, padding included. */
  readonly bytes: Uint8Array;
}

export interface TornTail {
  readonly file: string;
  readonly offset: number;
  readonly what: string;
}

export interface WalScan {
  readonly groups: ReadonlyMap<GroupId, DurableGroupLog>;
  /** Files up to the one with the last batch, ascending. */
  readonly liveFileIds: readonly number[];
  /** Later files that hold no batch: prepared ahead, or torn while being made or begun. */
  readonly unusedFileIds: readonly number[];
  /** Null when the log holds no batch at all. */
  readonly last: LastBatch | null;
  readonly lastBatch: number;
  /** Newest epoch seen in any valid header. */
  readonly epochMax: number;
  readonly tornTail: TornTail | null;
}

/**
 * @throws HoldfastError WAL_CORRUPT naming file, offset and index; FORMAT_UNKNOWN; FILE_IO
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
  for (const [i, fileId] of fileIds.entries()) {
    const isGap = i > 0 && fileId !== fileIds[i - 1]! + 1;
    if (isGap) throw scanner.missingFile(fileIds[i - 1]! + 1);
    scanner.scanFile(fileId, i === fileIds.length - 1);
  }
  return scanner.finish();
}

class WalScanner {
  readonly #fileSystem: FileSystem;
  readonly #source: RecordSource;
  readonly #cacheSizeBytesMax: number;
  readonly #hasher: EntryHasher | null;
  readonly #groups = new Map<GroupId, DurableGroupLog>();
  readonly #live: number[] = [];
  readonly #unused: number[] = [];
  #last: LastBatch | null = null;
  /** 0 until the first batch. */
  #lastBatch = 0;
  #epochMax = 0;
  #tornTail: TornTail | null = null;

  constructor(
    fileSystem: FileSystem,
    source: RecordSource,
    options: Pick<WalOptions, 'cacheSizeBytesMax' | 'verifiesEntryChain'>,
  ) {
    this.#fileSystem = fileSystem;
    this.#source = source;
    this.#cacheSizeBytesMax = options.cacheSizeBytesMax;
    this.#hasher = options.verifiesEntryChain ? createEntryHasher() : null;
  }

  scanFile(fileId: number, isLastFile: boolean): void {
    const path = this.#source.path(fileId);
    const bytes = readWholeFile(this.#fileSystem, path);
    const header = decodeFileHeader(bytes, fileId, path);
    const mask = checksumMask(fileId);
    if (header === null) {
      const found = findBatchHeader(bytes, fileId, FIRST_BATCH_OFFSET, mask);
      if (!isLastFile || found !== null) throw this.#corrupt(path, 0, 'file header is damaged');
      this.#unused.push(fileId);
      return;
    }
    this.#epochMax = Math.max(this.#epochMax, header.epoch);
    if (this.#last !== null && header.watermark > this.#lastBatch) {
      throw this.#missingBatch(path, header.watermark);
    }
    const end = this.#readBatches(bytes, fileId, mask);
    if (this.#last?.fileId === fileId) {
      const empty = this.#unused[0];
      if (empty !== undefined) throw this.#emptyFile(empty, fileId);
      this.#live.push(fileId);
    } else {
      // A file made after a durable batch, with no batch at all to be seen: the log is lost.
      if (this.#last === null && header.watermark > 0) {
        throw this.#missingBatch(path, header.watermark);
      }
      this.#unused.push(fileId);
    }
    this.#noteTorn(path, bytes, end);
  }

  finish(): WalScan {
    for (const log of this.#groups.values()) this.#checkComplete(log);
    return {
      groups: this.#groups,
      liveFileIds: this.#live,
      unusedFileIds: this.#unused,
      last: this.#last,
      lastBatch: this.#lastBatch,
      epochMax: this.#epochMax,
      tornTail: this.#tornTail,
    };
  }

  missingFile(fileId: number): HoldfastError {
    return this.#corrupt(this.#source.path(fileId), 0, 'file is missing');
  }

  #missingBatch(path: string, watermark: number): HoldfastError {
    const what = `batch ${describeBatch(watermark)}, durable before this file, is missing`;
    if (this.#tornTail === null) return this.#corrupt(path, 0, what);
    return this.#corrupt(this.#tornTail.file, this.#tornTail.offset, this.#tornTail.what);
  }

  #emptyFile(fileId: number, laterFileId: number): HoldfastError {
    const later = this.#source.path(laterFileId);
    const what = `file holds no batch, but ${later} does`;
    return this.#corrupt(this.#source.path(fileId), FIRST_BATCH_OFFSET, what);
  }

  #readBatches(
    bytes: Uint8Array,
    fileId: number,
    mask: number,
  ): { readonly offset: number; readonly outcome: BatchOutcome } {
    let offset = FIRST_BATCH_OFFSET;
    for (;;) {
      const outcome = readBatch(bytes, fileId, offset, mask);
      if (outcome.kind !== 'batch') {
        this.#refuseIfLaterExists(bytes, fileId, offset, outcome);
        return { offset, outcome };
      }
      const { batch } = outcome;
      this.#follow(fileId, batch, bytes);
      offset += batch.sizeBytes;
    }
  }

  #follow(fileId: number, batch: ParsedBatch, bytes: Uint8Array): void {
    const path = this.#source.path(fileId);
    const { batch: number, watermark } = batch.header;
    const isLinked = this.#last === null || watermark === this.#lastBatch;
    if (!isLinked || number <= this.#lastBatch) {
      const torn = this.#tornTail;
      const what =
        `batch ${describeBatch(number)} follows ${describeBatch(this.#lastBatch)} ` +
        `but was written after ${describeBatch(watermark)}; a batch between is missing`;
      if (torn === null) throw this.#corrupt(path, batch.offset, what);
      throw this.#corrupt(torn.file, torn.offset, `${torn.what}: ${what}`);
    }
    // The link is exact, so nothing is missing: what looked torn is rot in unused space.
    this.#tornTail = null;
    for (const record of batch.records) this.#replayChecked(fileId, record);
    const { offset, sizeBytes } = batch;
    this.#last = { fileId, offset, bytes: bytes.subarray(offset, offset + sizeBytes) };
    this.#lastBatch = number;
    this.#epochMax = Math.max(this.#epochMax, epochOf(number));
  }

  #refuseIfLaterExists(
    bytes: Uint8Array,
    fileId: number,
    offset: number,
    outcome: Exclude<BatchOutcome, { kind: 'batch' }>,
  ): void {
    const path = this.#source.path(fileId);
    const mask = checksumMask(fileId);
    const later = findBatchHeader(bytes, fileId, offset + BATCH_ALIGNMENT_BYTES, mask);
    const damage = outcome.kind === 'damaged' ? outcome.damage : null;
    const what = damage?.what ?? 'batch is missing';
    const at = damage?.offset ?? offset;
    const index = damage?.index === 0 ? null : (damage?.index ?? null);
    if (damage?.isUnknownType) {
      const message = `${path} at offset ${at}: record type is unknown: upgrade this node`;
      throw new HoldfastError('FORMAT_UNKNOWN', message, { details: { file: path, offset: at } });
    }
    if (later !== null) {
      const evidence = `batch ${describeBatch(later.header.batch)} at ${later.offset} is later`;
      throw this.#corrupt(path, at, `${what}, but ${evidence}`, index);
    }
    if (outcome.kind !== 'damaged' || outcome.header === null) return;
    const size = alignBatch(BATCH_HEADER_SIZE_BYTES + outcome.header.payloadSizeBytes);
    if (isZero(bytes, offset + size, bytes.byteLength)) return;
    throw this.#corrupt(path, at, `${what}, but something was written after it`, index);
  }

  /** Notes an unfinished batch at the end of a file; refuses when another one is noted already. */
  #noteTorn(
    path: string,
    bytes: Uint8Array,
    end: { readonly offset: number; readonly outcome: BatchOutcome },
  ): void {
    const isDamaged = end.outcome.kind === 'damaged';
    if (!isDamaged && isZero(bytes, end.offset, bytes.byteLength)) return;
    const torn = this.#tornTail;
    if (torn !== null) {
      throw this.#corrupt(torn.file, torn.offset, `${torn.what}, but ${path} was begun after it`);
    }
    const what =
      end.outcome.kind === 'damaged' ? end.outcome.damage.what : 'batch has lost its beginning';
    this.#tornTail = { file: path, offset: end.offset, what };
  }

  /** A record that verifies and makes no sense is damage too: it is not guessed over. */
  #replayChecked(fileId: number, record: WalRecord): void {
    try {
      this.#replay(fileId, record);
    } catch (error) {
      const isPlaced = error instanceof HoldfastError && error.details.file !== undefined;
      const isKnown = error instanceof HoldfastError || error instanceof InvariantViolation;
      if (isPlaced || !isKnown) throw error;
      throw this.#corrupt(this.#source.path(fileId), record.offset, error.message, record.index);
    }
  }

  #replay(fileId: number, record: WalRecord): void {
    const log = this.#groups.get(record.group);
    if (record.type === 'fileState') {
      this.#replayFileState(fileId, record, log);
      return;
    }
    const group = log ?? this.#newGroup(record.group);
    switch (record.type) {
      case 'hardState':
        group.setHardState(decodeHardState(record.payload));
        return;
      case 'truncate':
        group.truncateFrom(record.index);
        return;
      case 'entry':
        this.#replayEntry(fileId, record, group);
        return;
      case 'snapshot': {
        const { index, term } = record;
        group.restartAt(decodeSnapshot({ index, term, sum: record.sum.slice() }, record.payload));
        return;
      }
      case 'base':
        group.compactTo({ index: record.index, term: record.term, sum: record.sum.slice() });
        return;
      default:
        unreachable(record.type);
    }
  }

  #replayEntry(fileId: number, record: WalRecord, log: DurableGroupLog): void {
    const fail = (what: string): HoldfastError =>
      this.#corrupt(this.#source.path(fileId), record.offset, what, record.index);
    const decoded = decodeEntry(record.payload, 0).entry;
    const isSame =
      decoded.index === record.index &&
      decoded.term === record.term &&
      sumsEqual(decoded.sum, record.sum);
    if (!isSame) throw fail('entry and its record header differ');
    const previousIndex = record.index - 1;
    if (previousIndex !== log.lastIndex()) throw fail(`entry follows index ${log.lastIndex()}`);
    const { index, term, type, sum } = decoded;
    const data = decoded.data.slice();
    const previousSum = log.sum(log.lastIndex());
    if (this.#hasher !== null && typeof previousSum !== 'string') {
      const expected = this.#hasher(previousSum, term, index, type, data);
      if (!sumsEqual(expected, sum)) throw fail('entry breaks the hash chain');
    }
    const position = { fileId, offset: record.offset, sizeBytes: record.sizeBytes };
    log.append({ index, term, type, data, sum }, position);
  }

  /** In the oldest file it is the start; in later files it must equal what was replayed. */
  #replayFileState(fileId: number, record: WalRecord, log: DurableGroupLog | undefined): void {
    const summary = decodeGroupSummary(record.payload);
    if (log === undefined && this.#live.length === 0) {
      this.#newGroup(record.group).startFrom(summary);
      return;
    }
    const known = log?.summary();
    const isSame =
      known !== undefined &&
      known.lastIndex === summary.lastIndex &&
      known.base.index === summary.base.index &&
      known.hardState?.term === summary.hardState?.term &&
      known.hardState?.vote === summary.hardState?.vote;
    if (isSame) return;
    const path = this.#source.path(fileId);
    const what = `group ${record.group} is not as earlier files say`;
    throw this.#corrupt(path, record.offset, what, summary.lastIndex);
  }

  #newGroup(group: GroupId): DurableGroupLog {
    const log = new DurableGroupLog(group, this.#source, this.#cacheSizeBytesMax);
    this.#groups.set(group, log);
    return log;
  }

  #checkComplete(log: DurableGroupLog): void {
    const path = this.#source.path(this.#live[0] ?? 0);
    const base = log.base().index;
    if (log.missingThrough > base) {
      const what = `entries ${base + 1} to ${log.missingThrough} were in older files that are gone`;
      throw this.#corrupt(path, 0, what, base + 1);
    }
    const commit = log.hardState()?.commit ?? 0;
    if (commit <= log.lastIndex()) return;
    const what = `group ${log.group} knows commit ${commit} but its log ends earlier`;
    throw this.#corrupt(path, 0, what, log.lastIndex() + 1);
  }

  /** `index` defaults to the first one that the log cannot give. */
  #corrupt(path: string, offset: number, what: string, index: number | null = null): HoldfastError {
    const logs = [...this.#groups.values()];
    const next = logs.length === 0 ? 1 : Math.min(...logs.map((log) => log.lastIndex() + 1));
    return walCorrupt(path, offset, index ?? next, what);
  }
}

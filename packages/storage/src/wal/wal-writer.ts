/**
 * Writes batches: one positioned write and one fdatasync each, into zero-filled files. Synchronous;
 * the WAL thread and the simulator host the same object.
 *
 * Invariants:
 * - a batch is written only after the sync of the one before it returned; its header names that one
 *   as watermark;
 * - every file starts with the state of all groups, so older files can go when no entry needs them;
 * - after any failure nothing is written or synced any more: a failed sync is never retried.
 */
import type { Clock, GroupId } from '@holdfast/base';
import { assert, HoldfastError, InvariantViolation, logIndex, unreachable } from '@holdfast/base';
import { crc32cOfChunks } from '../checksum.ts';
import type { FileHandle, FileSystem } from '../fs.ts';
import { isDiskFullError } from '../fs.ts';
import { encodeFileState } from './append-frame.ts';
import {
  alignBatch,
  BATCH_HEADER_SIZE_BYTES,
  batchNumber,
  checksumMask,
  counterOf,
  encodeBatchHeader,
  epochOf,
  FIRST_BATCH_OFFSET,
  WAL_FILE_SIZE_BYTES_MAX,
  walFilePath,
} from './format.ts';
import type { WalRecord } from './record.ts';
import { sealRecord, viewRecord } from './record.ts';
import type { GroupSummary } from './record-payload.ts';
import { decodeHardState, decodeSnapshot, EMPTY_GROUP_SUMMARY } from './record-payload.ts';
import type { WalOptions } from './types.ts';
import { ZeroFiller } from './zero-filler.ts';

/** Where a recovered log continues. Plain data: it is sent to the WAL thread. */
export interface WriterState {
  readonly directory: string;
  /** Ascending, gapless; the last one is written to. */
  readonly fileIds: readonly number[];
  /** Where the next batch goes in the last file; everything from there is zero. */
  readonly offset: number;
  readonly epoch: number;
  /** Newest durable batch, of any epoch. */
  readonly lastBatch: number;
  readonly groups: readonly (readonly [GroupId, GroupSummary])[];
}

export interface BatchPlace {
  readonly fileId: number;
  /** Where the caller's payload starts in the file. */
  readonly payloadOffset: number;
  /** Duration of write and sync. */
  readonly syncMs: number;
}

export interface WriterStats {
  readonly bytesWritten: number;
  readonly batches: number;
  readonly syncs: number;
  readonly filesCreated: number;
  readonly filesRemoved: number;
}

export class WalWriter {
  readonly #fileSystem: FileSystem;
  readonly #directory: string;
  readonly #options: WalOptions;
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #groups: Map<GroupId, GroupSummary>;
  readonly #fileIds: number[];
  readonly #epoch: number;
  #counter: number;
  #batches = 0;
  #lastBatch: number;
  #file: { readonly id: number; readonly handle: FileHandle; readonly sizeBytes: number };
  #offset: number;
  #next: ZeroFiller | null = null;
  /** Set when the disk was too full to prepare; cleared by a roll. */
  #isPreparationPaused = false;
  #hasFailed = false;
  #bytesWritten = 0;
  #filesCreated = 0;
  #filesRemoved = 0;

  constructor(
    fileSystem: FileSystem,
    state: WriterState,
    options: WalOptions,
    clock: Pick<Clock, 'monotonicMs'>,
  ) {
    this.#fileSystem = fileSystem;
    this.#directory = state.directory;
    this.#options = options;
    this.#clock = clock;
    this.#groups = new Map(state.groups);
    this.#fileIds = [...state.fileIds];
    this.#epoch = state.epoch;
    this.#lastBatch = state.lastBatch;
    const isSameEpoch = epochOf(state.lastBatch) === state.epoch;
    this.#counter = isSameEpoch ? counterOf(state.lastBatch) : 0;
    this.#offset = state.offset;
    const id = this.#fileIds.at(-1);
    assert(id !== undefined, 'writer needs a file to continue');
    const handle = fileSystem.open(walFilePath(state.directory, id), 'readWrite');
    this.#file = { id, handle, sizeBytes: handle.sizeBytes() };
  }

  get stats(): WriterStats {
    return {
      bytesWritten: this.#bytesWritten,
      batches: this.#batches,
      syncs: this.#batches,
      filesCreated: this.#filesCreated,
      filesRemoved: this.#filesRemoved,
    };
  }

  /** Where this log continues now, for handing it to another writer. */
  state(): WriterState {
    return {
      directory: this.#directory,
      fileIds: [...this.#fileIds],
      offset: this.#offset,
      epoch: this.#epoch,
      lastBatch: this.#lastBatch,
      groups: [...this.#groups],
    };
  }

  /**
   * Makes `payload` (unsealed records, sealed here in place) durable as one batch.
   * @throws HoldfastError WAL_IO: stop; nothing of the batch may be acknowledged
   */
  writeBatch(payload: Uint8Array): BatchPlace {
    assert(!this.#hasFailed, 'a failed log must not be written');
    return this.#guard(() => this.#writeBatch(payload));
  }

  /** Prepares a slice of the next file; true when there is more to do. */
  prepareNextFile(budgetBytes: number): boolean {
    if (this.#hasFailed || this.#isPreparationPaused || this.#next?.isFinished) return false;
    return this.#guard(() => {
      try {
        this.#next ??= this.#startNextFile(this.#options.fileSizeBytes);
        this.#next.fill(budgetBytes);
        if (this.#next.isFilled) this.#finishNextFile(this.#next);
        return !this.#next.isFinished;
      } catch (error) {
        // Nothing depends on the next file yet: give its space back and try again at the roll.
        if (!isDiskFullError(error) || this.#next?.isFilled) throw error;
        this.#next?.discard();
        this.#next = null;
        this.#isPreparationPaused = true;
        return false;
      }
    });
  }

  /**
   * Deletes the files below `fileId`, oldest first and each durably before the next, so that a
   * crash never leaves a gap.
   */
  releaseFilesBelow(fileId: number): void {
    if (this.#hasFailed) return;
    this.#guard(() => {
      while (this.#fileIds.length > 1 && this.#fileIds[0]! < fileId) {
        this.#fileSystem.remove(walFilePath(this.#directory, this.#fileIds[0]!));
        this.#fileSystem.syncDirectory(this.#directory);
        this.#fileIds.shift();
        this.#filesRemoved += 1;
      }
    });
  }

  /** Confirms the last batch on disk by an empty one, then releases the files. */
  close(): void {
    if (!this.#hasFailed) this.writeBatch(new Uint8Array(0));
    this.abandon();
  }

  /** Releases the file handles and writes nothing. */
  abandon(): void {
    this.#hasFailed = true;
    this.#next?.handle.close();
    this.#file.handle.close();
  }

  #writeBatch(payload: Uint8Array): BatchPlace {
    const startMs = this.#clock.monotonicMs();
    let head: FileStateBytes = NO_FILE_STATE;
    if (this.#offset + batchSizeBytes(payload.byteLength) > this.#file.sizeBytes) {
      head = encodeFileState(this.#groups);
      this.#roll(head.bytes.byteLength + payload.byteLength);
    }
    const { id, handle } = this.#file;
    const mask = checksumMask(id);
    sealRecords(head.bytes, mask);
    const recordCount = this.#sealAndFollow(payload, mask) + head.recordCount;
    this.#counter += 1;
    const batch = batchNumber(this.#epoch, this.#counter);
    const header = encodeBatchHeader(
      {
        batch,
        watermark: this.#lastBatch,
        recordCount,
        payloadSizeBytes: head.bytes.byteLength + payload.byteLength,
        payloadChecksum: crc32cOfChunks([head.bytes, payload]),
      },
      id,
      this.#offset,
      mask,
    );
    handle.write([header, head.bytes, payload], this.#offset);
    handle.datasync();
    const payloadOffset = this.#offset + BATCH_HEADER_SIZE_BYTES + head.bytes.byteLength;
    const sizeBytes = batchSizeBytes(head.bytes.byteLength + payload.byteLength);
    this.#offset += sizeBytes;
    this.#lastBatch = batch;
    this.#batches += 1;
    this.#bytesWritten += sizeBytes;
    return { fileId: id, payloadOffset, syncMs: this.#clock.monotonicMs() - startMs };
  }

  /** Continues in the next file, which must hold one batch with this much payload. */
  #roll(payloadSizeBytes: number): void {
    const needed = FIRST_BATCH_OFFSET + batchSizeBytes(payloadSizeBytes);
    assert(needed <= WAL_FILE_SIZE_BYTES_MAX, 'batch is too large for a log file', { needed });
    const next = this.#next ?? this.#startNextFile(needed);
    next.growTo(Math.max(needed, this.#options.fileSizeBytes));
    this.#finishNextFile(next);
    this.#file.handle.close();
    this.#file = { id: next.fileId, handle: next.handle, sizeBytes: next.sizeBytes };
    this.#fileIds.push(next.fileId);
    this.#offset = FIRST_BATCH_OFFSET;
    this.#next = null;
    this.#isPreparationPaused = false;
  }

  #startNextFile(sizeBytes: number): ZeroFiller {
    const fileId = this.#file.id + 1;
    return new ZeroFiller(this.#fileSystem, { directory: this.#directory, fileId, sizeBytes });
  }

  #finishNextFile(next: ZeroFiller): void {
    if (next.isFinished) return;
    next.finish({ epoch: this.#epoch, watermark: this.#lastBatch });
    this.#filesCreated += 1;
  }

  /** Seals the caller's records and keeps the group summaries in step. Returns their number. */
  #sealAndFollow(payload: Uint8Array, mask: number): number {
    let count = 0;
    for (let offset = 0; offset < payload.byteLength; count++) {
      const end = sealRecord(payload, offset, mask);
      const record = viewRecord(payload, offset);
      const before = this.#groups.get(record.group) ?? EMPTY_GROUP_SUMMARY;
      this.#groups.set(record.group, followRecord(before, record));
      offset = end;
    }
    return count;
  }

  /** After a failure nothing more is written; operating errors become WAL_IO. */
  #guard<T>(body: () => T): T {
    try {
      return body();
    } catch (error) {
      this.#hasFailed = true;
      if (!(error instanceof HoldfastError) || error.code !== 'FILE_IO') throw error;
      const message = `the log cannot be written: ${error.message}; restart the node after that`;
      throw new HoldfastError('WAL_IO', message, { cause: error, details: error.details });
    }
  }
}

type FileStateBytes = ReturnType<typeof encodeFileState>;
const NO_FILE_STATE: FileStateBytes = { bytes: new Uint8Array(0), recordCount: 0 };

const batchSizeBytes = (payloadSizeBytes: number): number =>
  alignBatch(BATCH_HEADER_SIZE_BYTES + payloadSizeBytes);

function sealRecords(bytes: Uint8Array, mask: number): void {
  for (let offset = 0; offset < bytes.byteLength; ) offset = sealRecord(bytes, offset, mask);
}

/** The summary after `record`. */
export function followRecord(before: GroupSummary, record: WalRecord): GroupSummary {
  const { type, index, term } = record;
  switch (type) {
    case 'hardState':
      return { ...before, hardState: decodeHardState(record.payload) };
    case 'truncate':
      return { ...before, lastIndex: logIndex(index - 1) };
    case 'entry':
      assert(index === before.lastIndex + 1, 'entry must continue the log', {
        group: record.group,
        index,
        lastIndex: before.lastIndex,
      });
      return { ...before, lastIndex: index };
    case 'snapshot': {
      const base = { index, term, sum: record.sum.slice() };
      const snapshot = decodeSnapshot(base, record.payload);
      return { ...before, base, lastIndex: index, snapshot };
    }
    case 'base':
      return { ...before, base: { index, term, sum: record.sum.slice() } };
    case 'fileState':
      throw new InvariantViolation('file state is written by the writer only');
    default:
      return unreachable(type);
  }
}

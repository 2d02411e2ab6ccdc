/**
 * Writes batches: one positioned write and one fdatasync each (see SyncPace), into zero-filled
 * files. Synchronous; the WAL thread and the simulator host the same object. Each batch confirms
 * the one before; when the log goes quiet, `confirm` writes an empty one. A batch that changes term
 * or vote is followed by the two copies of the hard state before it is reported.
 *
 * Invariants:
 * - a batch is written only after the sync of the one before it returned; its header names that one
 *   as watermark;
 * - every file starts with the state of all groups, so older files can go when no entry needs them;
 * - a write that the disk refuses before anything of it was synced may be tried again, with the
 *   same bytes in the same place, and nothing else is written before it succeeded;
 * - after any other failure nothing is written or synced: a failed sync is never retried.
 *
 * Over 400 lines because all that writes to these files turns on one position, and on one state of
 * what may be tried again and what never may.
 */
import type { Clock, GroupId } from '@holdfast/base';
import { assert, failpoint, HoldfastError, unreachable } from '@holdfast/base';
import { crc32c, crc32cOfChunks } from '../checksum.ts';
import type { FileHandle, FileSystem } from '../fs.ts';
import { classifyWriteError } from '../write-errors.ts';
import { encodeFileState } from './append-frame.ts';
import { encodeConfirmation, noteChange } from './confirmation.ts';
import type { ClosedWalFile } from './file-facts.ts';
import { followRecord } from './follow.ts';
import {
  alignPage,
  BATCH_HEADER_SIZE_BYTES,
  batchNumber,
  batchSizeBytes,
  checksumMask,
  counterOf,
  encodeBatchHeader,
  epochOf,
  FILE_HEADER_SIZE_BYTES,
  FIRST_BATCH_OFFSET,
  WAL_FILE_SIZE_BYTES_MAX,
  walFilePath,
} from './format.ts';
import type { TermAndVote } from './hard-state-copies.ts';
import { HardStateWriter, makeHardStateCopies, termAndVote } from './hard-state-copies.ts';
import type { WalRecord } from './record.ts';
import { sealRecord, viewRecord } from './record.ts';
import type { GroupSummary } from './record-payload.ts';
import { EMPTY_GROUP_SUMMARY } from './record-payload.ts';
import { SyncPace } from './sync-pace.ts';
import type { WalOptions, WalOrder } from './types.ts';
import { isBlockedError, walIo } from './writer-errors.ts';
import { rewriteHeader, writeZeros, ZeroFiller } from './zero-filler.ts';

/** A log that is quiet for this long gets its last batch confirmed: one more sync, off the load. */
export const CONFIRM_IDLE_MS = 5;

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
  /** What the last batch changed: for its confirmation. */
  readonly changes: readonly (readonly [GroupId, number])[];
  /** Least recently written first. */
  readonly groups: readonly (readonly [GroupId, GroupSummary])[];
  /** Groups in the order of their slots in the copies of the hard state. */
  readonly hardStateSlots: readonly GroupId[];
}

export interface BatchPlace {
  readonly batch: number;
  readonly fileId: number;
  /** Where the caller's payload starts in the file. */
  readonly payloadOffset: number;
  /** Duration of write and sync. */
  readonly syncMs: number;
}

/** A batch under way. */
interface Attempt {
  readonly payload: Uint8Array;
  readonly startMs: number;
  /** Null until it has its place in a file. */
  prepared: PreparedBatch | null;
}

interface PreparedBatch {
  readonly chunks: readonly Uint8Array[];
  readonly payloadOffset: number;
  readonly sizeBytes: number;
  readonly batch: number;
  readonly hardStates: ReadonlyMap<GroupId, TermAndVote>;
}

export interface WriterStats {
  readonly bytesWritten: number;
  readonly batches: number;
  readonly syncs: number;
  readonly filesCreated: number;
  readonly filesRemoved: number;
  readonly oldestFileId: number;
  readonly newestFileId: number;
}

export class WalWriter {
  readonly #fileSystem: FileSystem;
  readonly #directory: string;
  readonly #options: WalOptions;
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  /** In the order they were last written. */
  readonly #groups: Map<GroupId, GroupSummary>;
  /** What the last batch changed. */
  #changes: Map<GroupId, number>;
  #hardStates: HardStateWriter;
  readonly #fileIds: number[];
  readonly #epoch: number;
  #counter: number;
  #batches = 0;
  #syncs = 0;
  #lastBatch: number;
  /** The last batch holds records that no other batch confirms yet. */
  #isUnconfirmed = false;
  #lastWriteMs = 0;
  readonly #pace: SyncPace;
  #file: { readonly id: number; readonly handle: FileHandle; readonly sizeBytes: number };
  #offset: number;
  #next: ZeroFiller | null = null;
  /** Since they were last taken. */
  #closedFiles: ClosedWalFile[] = [];
  /** Set when the disk was too full to prepare; cleared by a roll. */
  #isPreparationPaused = false;
  #hasFailed = false;
  /** A batch of which nothing is synced: until it is, the disk may refuse it. */
  #attempt: Attempt | null = null;
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
    this.#pace = new SyncPace(options);
    this.#groups = new Map(state.groups);
    this.#changes = new Map(state.changes);
    this.#hardStates = new HardStateWriter(fileSystem, state.directory, state.hardStateSlots);
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
      syncs: this.#syncs,
      filesCreated: this.#filesCreated,
      filesRemoved: this.#filesRemoved,
      oldestFileId: this.#fileIds[0]!,
      newestFileId: this.#file.id,
    };
  }

  /** When the last batch needs a confirmation by the caller's clock; null when it has one. */
  get confirmAtMs(): number | null {
    if (!this.#isUnconfirmed || this.#hasFailed) return null;
    return this.#pace.confirmAtMs(this.#lastWriteMs + CONFIRM_IDLE_MS);
  }

  /** Where this log continues now, for handing it to another writer. */
  state(): WriterState {
    return {
      directory: this.#directory,
      fileIds: [...this.#fileIds],
      offset: this.#offset,
      epoch: this.#epoch,
      lastBatch: this.#lastBatch,
      changes: [...this.#changes],
      groups: [...this.#groups],
      hardStateSlots: [...this.#hardStates.slots],
    };
  }

  /**
   * Makes `payload` (unsealed records, sealed here in place) durable as one batch.
   * @throws HoldfastError WRITES_BLOCKED: the disk refuses it, nothing is synced, `resume` tries
   *   again; WAL_IO: stop. Nothing of the batch may be acknowledged either way
   */
  writeBatch(payload: Uint8Array): BatchPlace {
    assert(!this.#hasFailed, 'a failed log must not be written');
    assert(this.#attempt === null, 'a refused batch is written before the next one');
    this.#attempt = { payload, startMs: this.#clock.monotonicMs(), prepared: null };
    return this.resume();
  }

  /** True while the disk refuses a batch. */
  get isBlocked(): boolean {
    return this.#attempt !== null && !this.#hasFailed;
  }

  /** Tries the refused batch again. @throws as `writeBatch` */
  resume(): BatchPlace {
    const attempt = this.#attempt;
    assert(attempt !== null && !this.#hasFailed, 'there is a refused batch');
    return this.#guard(() => {
      attempt.prepared ??= this.#prepare(attempt.payload);
      return this.#write(attempt, attempt.prepared);
    });
  }

  /** Files that were left for the next one since this was last asked. */
  takeClosedFiles(): readonly ClosedWalFile[] {
    const taken = this.#closedFiles;
    this.#closedFiles = [];
    return taken;
  }

  /** Whether the disk has room for another log file. */
  get hasRoom(): boolean {
    return this.#fileSystem.freeBytes(this.#directory) >= 2 * this.#options.fileSizeBytes;
  }

  /**
   * Confirms the last batch by an empty one in a page of its own. False when that would need a
   * file that is not prepared: a confirmation is not worth failing for a full disk.
   */
  confirm(): boolean {
    const start = alignPage(this.#offset);
    const confirmation = encodeConfirmation(this.#groups, this.#changes, true);
    const fits = start + batchSizeBytes(confirmation.byteLength, 0) <= this.#file.sizeBytes;
    if (!fits && !this.#next?.isFinished) return false;
    failpoint('wal.before-confirm');
    this.#offset = fits ? start : this.#file.sizeBytes;
    this.writeBatch(EMPTY);
    return true;
  }

  /** Prepares a slice of the next file; true when there is more to do. */
  prepareNextFile(budgetBytes: number): boolean {
    if (this.#hasFailed || this.#isPreparationPaused || this.#next?.isFinished) return false;
    if (this.isBlocked) return false;
    return this.#guard(() => {
      try {
        this.#next ??= this.#startNextFile(this.#options.fileSizeBytes);
        this.#next.fill(budgetBytes);
        if (this.#next.isFilled) this.#finishNextFile(this.#next);
        return !this.#next.isFinished;
      } catch (error) {
        // Nothing depends on the next file yet: give its space back and try again at the roll.
        if (!classifyWriteError(error)?.isRetryable) throw error;
        this.#discardNext();
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
        failpoint('wal.before-release');
        const path = walFilePath(this.#directory, this.#fileIds[0]!);
        // One that somebody else has deleted is gone all the same.
        if (this.#fileSystem.exists(path)) this.#fileSystem.remove(path);
        this.#fileSystem.syncDirectory(this.#directory);
        this.#fileIds.shift();
        this.#filesRemoved += 1;
      }
    });
  }

  /** See Wal.mend. @throws HoldfastError WAL_IO: stop */
  mend(order: WalOrder): void {
    assert(!this.#hasFailed, 'a failed log must not be written');
    failpoint('wal.before-mend');
    this.#guard(() => {
      switch (order.kind) {
        case 'zero':
          this.#zero(order);
          return;
        case 'leave':
          this.#leave(order.fileId);
          return;
        case 'header':
          this.#makeHeader(order);
          return;
        case 'hardStates':
          this.#makeHardStates();
          return;
        default:
          unreachable(order);
      }
    });
  }

  /**
   * Where nothing was written yet: behind the last batch, and in the file prepared next. And where
   * nothing will ever be: between two batches, or behind the last one of a closed file.
   */
  #zero({ fileId, from, isEnclosed, to }: WalOrder & { readonly kind: 'zero' }): void {
    if (isEnclosed && this.#fileIds.includes(fileId)) {
      this.#zeroEnclosed(fileId, from, to);
      return;
    }
    const isNext = fileId === this.#next?.fileId && this.#next.isFinished;
    const [handle, start] = isNext
      ? [this.#next?.handle, Math.max(from, FIRST_BATCH_OFFSET)]
      : [this.#file.handle, Math.max(from, this.#offset)];
    if ((!isNext && fileId !== this.#file.id) || handle === undefined) return;
    writeZeros(handle, start, Math.min(to, handle.sizeBytes()));
    this.#syncs += 1;
  }

  #zeroEnclosed(fileId: number, from: number, to: number): void {
    const isInside = from >= FILE_HEADER_SIZE_BYTES && to <= WAL_FILE_SIZE_BYTES_MAX;
    assert(isInside, 'only what no batch can hold is zeroed', { fileId, from, to });
    const isWritten = fileId !== this.#file.id || to <= this.#offset;
    assert(isWritten, 'what is enclosed lies before the end of the log', { fileId, from, to });
    const path = walFilePath(this.#directory, fileId);
    if (!this.#fileSystem.exists(path)) return;
    const handle = this.#fileSystem.open(path, 'readWrite');
    try {
      writeZeros(handle, from, to);
    } finally {
      handle.close();
    }
    this.#syncs += 1;
  }

  /** The file is gone from the directory: what follows must be found at the next start. */
  #leave(fileId: number): void {
    if (fileId !== this.#file.id || this.isBlocked) return;
    this.#offset = this.#file.sizeBytes;
    this.writeBatch(EMPTY);
  }

  #makeHeader({ epoch, fileId, watermark }: WalOrder & { readonly kind: 'header' }): void {
    const isNext = fileId === this.#next?.fileId;
    if ((isNext && !this.#next?.isFinished) || (!isNext && !this.#fileIds.includes(fileId))) return;
    const known = isNext
      ? { epoch: this.#epoch, watermark: this.#lastBatch }
      : { epoch, watermark };
    if (!this.#fileSystem.exists(walFilePath(this.#directory, fileId))) return;
    rewriteHeader(this.#fileSystem, this.#directory, { ...known, fileId });
    this.#syncs += 1;
  }

  #makeHardStates(): void {
    const { slots } = this.#hardStates;
    const states = slots.map((group) => {
      const hardState = this.#groups.get(group)?.hardState ?? null;
      assert(hardState !== null, 'a group with a slot has a term', { group });
      return [group, termAndVote(hardState)] as const;
    });
    makeHardStateCopies(this.#fileSystem, this.#directory, states);
    this.#hardStates.close();
    this.#hardStates = new HardStateWriter(this.#fileSystem, this.#directory, slots);
  }

  /** Confirms the last batch on disk by an empty one, then releases the files. */
  close(): void {
    try {
      // A disk that refuses it now leaves the last batch as a crash would: recovery confirms it.
      if (!this.isBlocked && this.confirmAtMs !== null && !this.confirm()) this.writeBatch(EMPTY);
      if (!this.isBlocked && !this.#hasFailed) this.#guard(() => this.#syncRest());
    } catch (error) {
      if (!isBlockedError(error)) throw error;
    }
    this.abandon();
  }

  /** Releases the file handles and writes nothing. */
  abandon(): void {
    this.#hasFailed = true;
    this.#next?.handle.close();
    this.#file.handle.close();
    this.#hardStates.close();
  }

  /** Finds a place for the batch and seals it there; changes nothing when it finds no room. */
  #prepare(payload: Uint8Array): PreparedBatch {
    const confirmation = encodeConfirmation(this.#groups, this.#changes, payload.byteLength === 0);
    let head: FileStateBytes = NO_FILE_STATE;
    const bodySizeBytes = confirmation.byteLength + payload.byteLength;
    if (this.#offset + batchSizeBytes(bodySizeBytes, 0) > this.#file.sizeBytes) {
      head = encodeFileState(this.#groups);
      this.#roll(head.bytes.byteLength + bodySizeBytes);
    }
    const { id } = this.#file;
    const mask = checksumMask(id);
    const headOffset = this.#offset + BATCH_HEADER_SIZE_BYTES + confirmation.byteLength;
    const payloadOffset = headOffset + head.bytes.byteLength;
    for (let at = 0; at < head.bytes.byteLength; ) {
      at = sealRecord(head.bytes, at, headOffset, mask);
    }
    const { count, hardStates } = this.#sealAndFollow(payload, payloadOffset, mask);
    const recordCount = count + head.recordCount;
    this.#counter += 1;
    const batch = batchNumber(this.#epoch, this.#counter);
    const header = encodeBatchHeader(
      {
        batch,
        watermark: this.#lastBatch,
        recordCount,
        confirmationSizeBytes: confirmation.byteLength,
        confirmationChecksum: crc32c(confirmation),
        payloadSizeBytes: head.bytes.byteLength + payload.byteLength,
        payloadChecksum: crc32cOfChunks([head.bytes, payload]),
      },
      id,
      this.#offset,
      mask,
    );
    const chunks = [header, confirmation, head.bytes, payload];
    const sizeBytes = batchSizeBytes(head.bytes.byteLength + bodySizeBytes, 0);
    return { chunks, payloadOffset, sizeBytes, batch, hardStates };
  }

  #write({ payload, startMs }: Attempt, prepared: PreparedBatch): BatchPlace {
    const { chunks, payloadOffset, sizeBytes, batch, hardStates } = prepared;
    const { id, handle } = this.#file;
    failpoint('wal.before-write');
    handle.write(chunks, this.#offset);
    // From here on it may be on the disk: what fails now is never tried again.
    this.#attempt = null;
    failpoint('wal.before-sync');
    if (this.#pace.written(startMs)) this.#sync(handle);
    failpoint('wal.after-sync');
    this.#syncs += this.#hardStates.write(hardStates);
    this.#offset += sizeBytes;
    this.#lastBatch = batch;
    this.#isUnconfirmed = payload.byteLength > 0;
    this.#batches += 1;
    this.#bytesWritten += sizeBytes;
    this.#lastWriteMs = this.#clock.monotonicMs();
    return { batch, fileId: id, payloadOffset, syncMs: this.#lastWriteMs - startMs };
  }

  #sync(handle: FileHandle): void {
    handle.datasync();
    this.#syncs += 1;
    this.#pace.synced(this.#clock.monotonicMs());
  }

  /**
   * What another file is going to call durable. Not part of the batch under way: a sync that fails
   * here is not tried again with it.
   */
  #syncRest(): void {
    if (!this.#pace.hasUnsynced) return;
    try {
      this.#sync(this.#file.handle);
    } catch (error) {
      throw error instanceof HoldfastError && error.code === 'FILE_IO' ? walIo(error) : error;
    }
  }

  /** Continues in the next file, which must hold one batch with this much behind its header. */
  #roll(bodySizeBytes: number): void {
    const needed = FIRST_BATCH_OFFSET + batchSizeBytes(bodySizeBytes, 0);
    assert(needed <= WAL_FILE_SIZE_BYTES_MAX, 'batch is too large for a log file', { needed });
    if (this.#next !== null && !this.#fileSystem.exists(this.#next.handle.path)) {
      // Somebody has deleted it: what is written there would be gone with the handle.
      this.#discardNext();
    }
    this.#next ??= this.#startNextFile(needed);
    const next = this.#next;
    next.growTo(Math.max(needed, this.#options.fileSizeBytes));
    this.#finishNextFile(next);
    const { id, sizeBytes } = this.#file;
    failpoint('wal.before-roll');
    this.#syncRest();
    this.#closedFiles.push({ fileId: id, sizeBytes, lastBatch: this.#lastBatch });
    this.#file.handle.close();
    this.#file = { id: next.fileId, handle: next.handle, sizeBytes: next.sizeBytes };
    this.#fileIds.push(next.fileId);
    this.#offset = FIRST_BATCH_OFFSET;
    this.#next = null;
    this.#isPreparationPaused = false;
    failpoint('wal.after-roll');
  }

  #startNextFile(sizeBytes: number): ZeroFiller {
    const fileId = this.#file.id + 1;
    return new ZeroFiller(this.#fileSystem, { directory: this.#directory, fileId, sizeBytes });
  }

  /** It holds no batch: what made it is undone, and another one is begun at the next roll. */
  #discardNext(): void {
    this.#next?.discard();
    this.#next = null;
  }

  #finishNextFile(next: ZeroFiller): void {
    if (next.isFinished) return;
    this.#syncRest();
    failpoint('wal.before-next-file-is-named');
    next.finish({ epoch: this.#epoch, watermark: this.#lastBatch });
    this.#filesCreated += 1;
  }

  /**
   * Seals the caller's records and keeps the group summaries in step. Returns the number of
   * records, and the terms and votes that changed.
   */
  #sealAndFollow(
    payload: Uint8Array,
    fileOffset: number,
    mask: number,
  ): { readonly count: number; readonly hardStates: ReadonlyMap<GroupId, TermAndVote> } {
    const hardStates = new Map<GroupId, TermAndVote>();
    this.#changes = new Map();
    let count = 0;
    let last: WalRecord | null = null;
    for (let offset = 0; offset < payload.byteLength; count++) {
      const end = sealRecord(payload, offset, fileOffset, mask);
      const record = viewRecord(payload, offset);
      offset = end;
      if (last !== null && isNextEntry(last, record)) {
        // One object per run of entries, not per entry.
        last = record;
        continue;
      }
      if (last !== null) this.#endRun(last);
      last = record.type === 'entry' ? record : null;
      const { group } = record;
      const before = this.#groups.get(group) ?? EMPTY_GROUP_SUMMARY;
      const after = followRecord(before, record);
      if (!this.#changes.has(group)) this.#groups.delete(group);
      this.#groups.set(group, after);
      noteChange(this.#changes, record);
      if (after.hardState !== null && isOtherVote(before, after)) {
        hardStates.set(group, termAndVote(after.hardState));
      }
    }
    if (last !== null) this.#endRun(last);
    return { count, hardStates };
  }

  /** The log of the group ends with this entry, which continues the one before it. */
  #endRun({ group, index, term, sum }: WalRecord): void {
    const summary = this.#groups.get(group) ?? EMPTY_GROUP_SUMMARY;
    if (summary.lastIndex === index) return;
    const end = { lastIndex: index, lastTerm: term, lastSum: sum.slice() };
    this.#groups.set(group, { ...summary, ...end });
  }

  /** After a failure nothing more is written; operating errors become WAL_IO. */
  #guard<T>(body: () => T): T {
    try {
      return body();
    } catch (error) {
      this.#hasFailed = true;
      if (!(error instanceof HoldfastError) || error.code !== 'FILE_IO') throw error;
      if (this.#attempt !== null && classifyWriteError(error)?.isRetryable === true) {
        if (this.#attempt.prepared === null) this.#discardNext();
        this.#hasFailed = false;
        const message = `the disk refuses the log: ${error.message}`;
        throw new HoldfastError('WRITES_BLOCKED', message, {
          cause: error,
          details: error.details,
        });
      }
      throw walIo(error);
    }
  }
}

type FileStateBytes = ReturnType<typeof encodeFileState>;
const NO_FILE_STATE: FileStateBytes = { bytes: new Uint8Array(0), recordCount: 0 };

const EMPTY = new Uint8Array(0);

const isNextEntry = (last: WalRecord, record: WalRecord): boolean =>
  record.type === 'entry' && record.group === last.group && record.index === last.index + 1;

const isOtherVote = (before: GroupSummary, after: GroupSummary): boolean =>
  before.hardState?.term !== after.hardState?.term ||
  before.hardState?.vote !== after.hardState?.vote;

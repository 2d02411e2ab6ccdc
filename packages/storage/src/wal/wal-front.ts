/**
 * The half of the WAL on the caller's thread, shared by both hosts: checks and encodes appends,
 * gives tickets, keeps what is under way, and shows it in the group logs once it is durable. A
 * damaged group is read-only. Over 400 lines because all of it turns on one queue of what waits.
 *
 * Invariants: tickets are reported in order, each exactly once; a group log changes only here and
 * only with durable records, except that `compact` hides entries at once; after a failure nothing
 * is reported any more.
 */
import type { Entry, EntryHasher, GroupId, HardState, LogIndex } from '@holdfast/base';
import { assert, entrySizeBytes, HoldfastError } from '@holdfast/base';
import { createEntryHasher } from '../checksum.ts';
import type { AppendTail } from './append-check.ts';
import { checkAppend } from './append-check.ts';
import {
  encodeAppend,
  encodeBaseFrame,
  encodeHardStateFrame,
  encodeRepairFrame,
  encodeTruncateFrame,
} from './append-frame.ts';
import { DurableGroupLog } from './durable-group-log.ts';
import type { EpochRecord } from './epoch-file.ts';
import type { ClosedWalFile, WalFileFacts } from './file-facts.ts';
import { WalFileLedger } from './file-facts.ts';
import { RECORD_HEADER_SIZE_BYTES } from './record.ts';
import type { RecordSource } from './record-source.ts';
import type { RecoveredWal } from './recovery.ts';
import {
  checkBaseOfDamaged,
  checkDiscard,
  checkRepair,
  checkRewrite,
  checkWritable,
  chunksOf,
} from './repair.ts';
import type { WalFlaw } from './scrub.ts';
import type {
  DurableListener,
  GroupLog,
  LogAppend,
  LogBase,
  WalFailureListener,
  WalOptions,
  WalStats,
  WalWritesListener,
} from './types.ts';
import type { BatchPlace, WriterStats } from './wal-writer.ts';
import type { WalWrites } from './write-retry.ts';
import { WAL_WRITES_FINE } from './write-retry.ts';

interface Pending {
  /** Null for a record of the WAL itself. */
  readonly ticket: number | null;
  readonly group: GroupId;
  readonly append: LogAppend | null;
  readonly hardState: HardState | null;
  /** 0 when nothing was written for it: it is durable when everything before it is. */
  readonly sizeBytes: number;
  readonly firstEntryOffset: number;
  /** Shows a record of the WAL itself, whose frame is durable at the given place. */
  readonly onDurable: ((fileId: number, frameOffset: number) => void) | null;
}

/** Frames to write, and what to wait for. */
export interface Mending {
  readonly frames: readonly Uint8Array[];
  readonly settled: Promise<void>;
}

interface Tail extends AppendTail {
  /** A commit hint that waits for the next written append of its group. */
  hint: HardState | null;
}

export class WalFront {
  readonly #groups: Map<GroupId, DurableGroupLog>;
  readonly epoch: EpochRecord;
  readonly #source: RecordSource;
  readonly #files: WalFileLedger;
  readonly #badHeadFileIds: Set<number>;
  readonly #options: WalOptions;
  readonly #tails = new Map<GroupId, Tail>();
  readonly #durableListeners: DurableListener[] = [];
  readonly #failureListeners: WalFailureListener[] = [];
  #pending: Pending[] = [];
  #pendingHead = 0;
  #queueSizeBytes = 0;
  #ticket = 0;
  #reportedTicket = 0;
  #failure: HoldfastError | null = null;
  #isClosing = false;
  #lastSyncMs = 0;
  #writes: WalWrites = WAL_WRITES_FINE;
  readonly #writesListeners: WalWritesListener[] = [];
  #releasedBelow = 0;
  readonly #hasher: EntryHasher = createEntryHasher();
  /** Groups with a repair under way. */
  readonly #mending = new Map<GroupId, (error: HoldfastError) => void>();

  constructor(recovered: Omit<RecoveredWal, 'writer' | 'tornTail'>, options: WalOptions) {
    this.#groups = new Map(recovered.groups);
    this.#source = recovered.source;
    this.epoch = recovered.epoch;
    const { closedFiles, place } = recovered;
    this.#files = new WalFileLedger(closedFiles, place.fileId, place.batch);
    this.#badHeadFileIds = new Set(recovered.badHeadFileIds);
    this.#options = options;
  }

  get failure(): HoldfastError | null {
    return this.#failure;
  }

  get isClosing(): boolean {
    return this.#isClosing;
  }

  onDurable(listener: DurableListener): void {
    this.#durableListeners.push(listener);
  }

  onFailure(listener: WalFailureListener): void {
    this.#failureListeners.push(listener);
  }

  get writes(): WalWrites {
    return this.#writes;
  }

  onWrites(listener: WalWritesListener): void {
    this.#writesListeners.push(listener);
  }

  /** The writer's view of its disk. */
  noteWrites(writes: WalWrites): void {
    const hasChanged = writes.state !== this.#writes.state || writes.type !== this.#writes.type;
    this.#writes = writes;
    if (hasChanged) for (const listener of this.#writesListeners) listener(writes);
  }

  groups(): readonly GroupId[] {
    return [...this.#groups.values()].filter(hasRecords).map((log) => log.group);
  }

  groupLog(group: GroupId): GroupLog {
    return this.#log(group);
  }

  /** Takes an append; `frame` is null when nothing has to be written for it. */
  admit(append: LogAppend): { readonly ticket: number; readonly frame: Uint8Array | null } {
    this.#refuseWhenClosed();
    const { group } = append;
    const tail = this.#tail(group);
    const log = this.#log(group);
    checkWritable(append, log);
    const next = checkAppend(append, tail, log.base().index);
    const hardState = append.hardState ?? tail.hint;
    // Recovery takes a commit beyond the log as proof of a loss, so it must never be written.
    const commit = hardState?.commit ?? 0;
    assert(commit <= next.lastIndex, 'commit must be inside the log', {
      group,
      commit,
      lastIndex: next.lastIndex,
    });
    const encoded = append.mustSync ? encodeAppend(append, hardState) : null;
    const frame = encoded?.bytes.byteLength === 0 ? null : encoded;
    const sizeBytes = frame?.bytes.byteLength ?? 0;
    this.#refuseWhenFull(sizeBytes);
    tail.lastIndex = next.lastIndex;
    tail.hardState = next.hardState;
    tail.hint = frame === null ? hardState : null;
    this.#ticket += 1;
    this.#push({
      ticket: this.#ticket,
      group,
      append,
      hardState: frame === null ? null : hardState,
      sizeBytes,
      firstEntryOffset: frame?.firstEntryOffset ?? 0,
      onDurable: null,
    });
    return { ticket: this.#ticket, frame: frame?.bytes ?? null };
  }

  /** Hides the entries at once and returns the record to write, or null when there is none. */
  compact(group: GroupId, base: LogBase): Uint8Array | null {
    this.#refuseWhenClosed();
    const log = this.#log(group);
    if (base.index <= log.base().index) return null;
    if (log.hasDamage) checkBaseOfDamaged(log, base, this.#hasher, this.#source.path(0));
    const frame = encodeBaseFrame(group, base);
    this.#refuseWhenFull(frame.byteLength);
    log.compactTo(base);
    this.#pushInternal(group, null, frame);
    return frame;
  }

  /** See Wal.repair. */
  repair(group: GroupId, entries: readonly Entry[]): Mending {
    this.#refuseWhenClosed();
    const log = this.#log(group);
    checkRepair(log, entries, this.#hasher);
    const chunks = chunksOf(entries, this.#options.batchSizeBytesMax);
    let left = chunks.length;
    return this.#mend(
      group,
      chunks.map((chunk) => encodeRepairFrame(group, chunk)),
      (i, place) => {
        let { offset } = place;
        for (const entry of chunks[i]!) {
          const sizeBytes = RECORD_HEADER_SIZE_BYTES + entrySizeBytes(entry);
          // A compaction may have overtaken it.
          const isLive = entry.index > log.base().index;
          if (isLive) log.fill(entry, { fileId: place.fileId, offset, sizeBytes });
          offset += sizeBytes;
        }
        left -= 1;
        return left === 0;
      },
    );
  }

  /** See Wal.rewrite. */
  rewrite(group: GroupId, entries: readonly Entry[], committed: LogIndex): Mending {
    this.#refuseWhenClosed();
    const log = this.#log(group);
    checkRewrite(log, committed, entries, this.#hasher);
    const chunks = chunksOf(entries, this.#options.batchSizeBytesMax);
    let left = chunks.length;
    return this.#mend(
      group,
      chunks.map((chunk) => encodeRepairFrame(group, chunk)),
      (i, place) => {
        let { offset } = place;
        for (const { index, ...entry } of chunks[i]!) {
          const sizeBytes = RECORD_HEADER_SIZE_BYTES + entrySizeBytes({ ...entry, index });
          // A compaction may have overtaken it.
          const isLive = log.isPresent(index);
          if (isLive) log.move(index, { fileId: place.fileId, offset, sizeBytes });
          offset += sizeBytes;
        }
        left -= 1;
        return left === 0;
      },
    );
  }

  /** See Wal.distrustHead. */
  distrustHead(fileId: number): void {
    this.#badHeadFileIds.add(fileId);
  }

  entriesIn(group: GroupId, fileId: number, from: number, to: number): readonly LogIndex[] {
    return this.#log(group).indexesIn(fileId, from, to);
  }

  entriesLostBy(group: GroupId, { committed, end, fileId, offset }: WalFlaw): readonly LogIndex[] {
    const log = this.#log(group);
    if (committed === undefined) return log.indexesIn(fileId, offset, end);
    return log.indexesDoubtedBy(fileId, offset, end, committed.get(group) ?? 0);
  }

  /** See Wal.discardDamaged. */
  discardDamaged(group: GroupId, from: LogIndex): Mending {
    this.#refuseWhenClosed();
    const log = this.#log(group);
    const tail = this.#tail(group);
    checkDiscard(log, from);
    tail.lastIndex = from - 1;
    return this.#mend(group, [encodeTruncateFrame(group, from)], () => {
      log.truncateFrom(from);
      return true;
    });
  }

  /** No append is taken any more; returns the hints that are still to be written. */
  startClosing(): readonly Uint8Array[] {
    this.#isClosing = true;
    const frames: Uint8Array[] = [];
    for (const [group, tail] of this.#tails) {
      if (tail.hint === null) continue;
      const frame = encodeHardStateFrame(group, tail.hint);
      this.#pushInternal(group, tail.hint, frame);
      tail.hint = null;
      frames.push(frame);
    }
    return frames;
  }

  /**
   * The oldest `frameCount` written frames are durable at `place`. Shows them, reports tickets,
   * and returns the file below which no file is needed, or null when that has not changed.
   */
  completed(
    frameCount: number,
    place: BatchPlace,
    closedFiles: readonly ClosedWalFile[],
  ): number | null {
    if (this.#failure !== null) return null;
    this.#files.written(place, closedFiles);
    this.#lastSyncMs = place.syncMs;
    let offset = place.payloadOffset;
    let left = frameCount;
    while (left > 0) {
      const pending = this.#shift();
      if (pending.sizeBytes > 0) left -= 1;
      this.#show(pending, place.fileId, offset);
      offset += pending.sizeBytes;
    }
    this.reportDurable();
    return this.#releasable(place.fileId);
  }

  /** Reports what is durable: also appends that had nothing to write, behind what they wait for. */
  reportDurable(): void {
    if (this.#failure !== null) return;
    while (this.#peek()?.sizeBytes === 0) this.#show(this.#shift(), 0, 0);
    const next = this.#nextTicket();
    const durable = next === null ? this.#ticket : next - 1;
    if (durable === this.#reportedTicket) return;
    this.#reportedTicket = durable;
    for (const listener of this.#durableListeners) listener(durable, this.#lastSyncMs);
  }

  fail(error: HoldfastError): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    for (const reject of this.#mending.values()) reject(error);
    this.#mending.clear();
    for (const listener of this.#failureListeners) listener(error);
  }

  stats(writer: WriterStats): WalStats {
    return {
      ...writer,
      syncMode: this.#options.syncMode,
      lastSyncMs: this.#lastSyncMs,
      queueDepth: this.#pending.length - this.#pendingHead,
      queueSizeBytes: this.#queueSizeBytes,
      groups: [...this.#groups.values()].map((log) => ({
        group: log.group,
        sizeBytes: log.sizeBytes,
        oldestFileId: log.hasDamage ? writer.oldestFileId : log.oldestFileId(),
      })),
    };
  }

  files(): readonly WalFileFacts[] {
    return this.#files.list();
  }

  closeReaders(): void {
    this.#source.close();
  }

  #show(pending: Pending, fileId: number, frameOffset: number): void {
    const { append, hardState } = pending;
    const log = this.#log(pending.group);
    pending.onDurable?.(fileId, frameOffset);
    if (hardState !== null) log.setHardState(hardState);
    if (append === null || pending.sizeBytes === 0) return;
    if (append.snapshot !== null) log.restartAt(append.snapshot);
    if (append.truncateFrom !== null) log.truncateFrom(append.truncateFrom);
    let offset = frameOffset + pending.firstEntryOffset;
    for (const entry of append.entries) {
      const sizeBytes = RECORD_HEADER_SIZE_BYTES + entrySizeBytes(entry);
      log.append(entry, { fileId, offset, sizeBytes });
      offset += sizeBytes;
    }
  }

  #releasable(currentFileId: number): number | null {
    let below = currentFileId;
    for (const log of this.#groups.values()) {
      below = Math.min(below, log.oldestFileId() ?? currentFileId);
    }
    // The oldest file starts the log, so it must have a good head.
    while (this.#badHeadFileIds.has(below) && below < currentFileId) below -= 1;
    if (below <= this.#releasedBelow) return null;
    this.#releasedBelow = below;
    this.#source.releaseBelow(below);
    this.#files.releaseBelow(below);
    return below;
  }

  #push(pending: Pending): void {
    this.#pending.push(pending);
    this.#queueSizeBytes += pending.sizeBytes;
  }

  #pushInternal(
    group: GroupId,
    hardState: HardState | null,
    frame: Uint8Array,
    onDurable: Pending['onDurable'] = null,
  ): void {
    const rest = { ticket: null, append: null, firstEntryOffset: 0, onDurable };
    this.#push({ ...rest, group, hardState, sizeBytes: frame.byteLength });
  }

  /** `show` gets each frame's number and place; it says when the last one is durable. */
  #mend(
    group: GroupId,
    frames: readonly Uint8Array[],
    show: (i: number, place: { readonly fileId: number; readonly offset: number }) => boolean,
  ): Mending {
    assert(!this.#mending.has(group), 'one repair of a group at a time', { group });
    const settled = new Promise<void>((resolve, reject) => {
      this.#mending.set(group, reject);
      for (const [i, frame] of frames.entries()) {
        this.#pushInternal(group, null, frame, (fileId, offset) => {
          if (!show(i, { fileId, offset })) return;
          this.#mending.delete(group);
          resolve();
        });
      }
    });
    return { frames, settled };
  }

  #peek(): Pending | undefined {
    return this.#pending[this.#pendingHead];
  }

  #shift(): Pending {
    const pending = this.#pending[this.#pendingHead];
    assert(pending !== undefined, 'a durable frame must be pending');
    this.#pendingHead += 1;
    this.#queueSizeBytes -= pending.sizeBytes;
    if (this.#pendingHead >= 1024 || this.#pendingHead === this.#pending.length) {
      this.#pending = this.#pending.slice(this.#pendingHead);
      this.#pendingHead = 0;
    }
    return pending;
  }

  /** Ticket of the oldest append under way, or null. */
  #nextTicket(): number | null {
    for (let i = this.#pendingHead; i < this.#pending.length; i++) {
      const ticket = this.#pending[i]?.ticket;
      if (typeof ticket === 'number') return ticket;
    }
    return null;
  }

  #log(group: GroupId): DurableGroupLog {
    const known = this.#groups.get(group);
    if (known !== undefined) return known;
    const log = new DurableGroupLog(group, this.#source, this.#options.cacheSizeBytesMax);
    this.#groups.set(group, log);
    return log;
  }

  #tail(group: GroupId): Tail {
    const known = this.#tails.get(group);
    if (known !== undefined) return known;
    const log = this.#log(group);
    const tail: Tail = { lastIndex: log.lastIndex(), hardState: log.hardState(), hint: null };
    this.#tails.set(group, tail);
    return tail;
  }

  #refuseWhenClosed(): void {
    if (this.#failure !== null) {
      const message = `the log has failed: ${this.#failure.message}`;
      const { details } = this.#failure;
      throw new HoldfastError('WAL_IO', message, { cause: this.#failure, details });
    }
    if (this.#isClosing) throw new HoldfastError('SHUTTING_DOWN', 'the log is closed');
  }

  #refuseWhenFull(sizeBytes: number): void {
    const limit = this.#options.queueSizeBytesMax;
    if (this.#queueSizeBytes + sizeBytes <= limit || this.#queueSizeBytes === 0) return;
    throw new HoldfastError('OVERLOADED', 'the log has too many bytes under way; retry later', {
      details: { queueSizeBytes: this.#queueSizeBytes, queueSizeBytesMax: limit },
    });
  }
}

const hasRecords = (log: DurableGroupLog) => log.hardState() !== null || log.lastIndex() > 0;

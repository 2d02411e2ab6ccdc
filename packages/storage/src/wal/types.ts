/**
 * The contract of the write-ahead log: one per node, shared by all its groups. An append is one
 * atomic unit: after a crash either all of it is there or none of it. Appends become durable in
 * the order they were made. What the listener was told is durable is never lost, never truncated
 * and never skipped: what the disk has damaged is described by `damage()`, not cut off, and the
 * group's log is read-only until `repair` or `discardDamaged` has closed every hole.
 */
import type {
  Entry,
  GroupId,
  HardState,
  HoldfastError,
  LogIndex,
  SnapshotMeta,
  Term,
} from '@holdfast/base';
import type { EpochRecord } from './epoch-file.ts';
import type { WalFileFacts } from './file-facts.ts';
import type { WalFlaw } from './scrub.ts';
import type { WalSyncMode } from './sync-pace.ts';
import type { WalWrites, WriteRetryOptions } from './write-retry.ts';
import { WRITE_RETRY_DEFAULT } from './write-retry.ts';

/** Raft's AppendRequest with the group it belongs to. Entries are shared, never mutated. */
export interface LogAppend {
  readonly group: GroupId;
  readonly hardState: HardState | null;
  /** Every log entry with index >= this is replaced; above base and at most last + 1. */
  readonly truncateFrom: LogIndex | null;
  /** Continue the log without a gap, after `snapshot` and `truncateFrom` took effect. */
  readonly entries: readonly Entry[];
  /** The whole log is replaced: it restarts, empty, after `snapshot.index`. */
  readonly snapshot: SnapshotMeta | null;
  /**
   * False only for a changed commit hint (term and vote as before, nothing else). Such an append
   * costs no disk write: it is reported as soon as everything before it is durable, and its hint
   * is written with the next batch.
   */
  readonly mustSync: boolean;
}

/** Where a log starts: the entry before the first readable one. Index 0 is the empty log. */
export interface LogBase {
  readonly index: LogIndex;
  readonly term: Term;
  readonly sum: Uint8Array;
}

/**
 * Entries that were durable, may have been acknowledged, and cannot be read. The range is never
 * too small; it may name entries that no longer counted (a truncation may be among what was lost).
 */
export interface DamagedRange {
  readonly low: LogIndex;
  /** Inclusive. The last index of the log when the damage ends it. */
  readonly high: LogIndex;
  /** Term and chain sum of the entry `high`, when they are still known. */
  readonly lastTerm: Term | null;
  readonly lastSum: Uint8Array | null;
  /** Where it was found, for people. */
  readonly file: string;
  readonly offset: number;
  readonly what: string;
}

/**
 * The durable log of one group, synchronously readable. Shows exactly what was reported durable
 * (and what recovery found); appends still under way are not visible. It changes just before the
 * durable listeners run, except that `compact` takes effect at once.
 */
export interface GroupLog {
  readonly group: GroupId;
  /** base().index + 1, also when the log is empty. */
  firstIndex(): LogIndex;
  /** base().index when the log is empty; damaged entries at the end count. */
  lastIndex(): LogIndex;
  /**
   * For firstIndex - 1 <= index <= lastIndex; 'compacted' below, 'unavailable' above and where the
   * entry is damaged.
   */
  term(index: LogIndex): Term | 'compacted' | 'unavailable';
  /** For the same range as `term`. */
  sum(index: LogIndex): Uint8Array | 'compacted' | 'unavailable';
  /**
   * Entries low..high-1, cut after `sizeBytesMax` of encoded size but never empty when low < high.
   * 'compacted' when low < firstIndex. `high` is at most lastIndex + 1. Newest entries come from
   * memory, older ones are read from the file with their checksums verified. Stops before a
   * damaged entry.
   * @throws HoldfastError WAL_CORRUPT naming file, offset and index, when `low` is damaged or the
   *   disk gives wrong bytes
   */
  entries(low: LogIndex, high: LogIndex, sizeBytesMax: number): readonly Entry[] | 'compacted';
  base(): LogBase;
  /** Bytes on disk of the entries firstIndex..lastIndex. */
  readonly sizeBytes: number;
  /** Smallest readable index from which on all entries have at most `sizeBytesMax` on disk. */
  firstIndexWithin(sizeBytesMax: number): LogIndex;
  /** How many of the newest entries stand in that file (and in later ones), one after another. */
  tailCountIn(fileId: number): number;
  /** Null until the group has one. Its commit may be older than the newest hint appended. */
  hardState(): HardState | null;
  /**
   * The newest snapshot installed through `LogAppend.snapshot`; null when none ever was, or when
   * its record is damaged and no later file repeats it: the checkpoint that it names holds it too.
   */
  snapshot(): SnapshotMeta | null;
  /** Every hole of the log, ascending, apart from each other; empty for a healthy log. */
  damage(): readonly DamagedRange[];
  /**
   * False when the newest term and vote may be lost: the node must neither vote nor campaign nor
   * append under this incarnation any more.
   */
  isHardStateKnown(): boolean;
  /** Lets go of the entries that are in memory to be fast; how many those were. */
  clearCache(): number;
}

/** What one group has on the disk. */
export interface GroupStats {
  readonly group: GroupId;
  /** Records of the live entries. */
  readonly sizeBytes: number;
  /** Oldest file the group still needs; null when it needs none. */
  readonly oldestFileId: number | null;
}

export interface WalStats {
  readonly bytesWritten: number;
  readonly batches: number;
  readonly syncs: number;
  readonly syncMode: WalSyncMode;
  readonly lastSyncMs: number;
  readonly filesCreated: number;
  readonly filesRemoved: number;
  /** Appends not yet reported durable. */
  readonly queueDepth: number;
  readonly queueSizeBytes: number;
  readonly oldestFileId: number;
  readonly newestFileId: number;
  readonly groups: readonly GroupStats[];
}

/** `syncMs` is how long the write and sync that made the newest ticket durable took. */
export type DurableListener = (ticket: number, syncMs: number) => void;
export type WalFailureListener = (error: HoldfastError) => void;
export type WalWritesListener = (writes: WalWrites) => void;

/**
 * `zero`: bytes of the file that is written to, or of the next one, that hold nothing yet; what
 * lies before the end of the log is left alone, unless the caller has proof that no batch ever was
 * there and none will be (`isEnclosed`). `header`: of a file, with what its first batch says (for
 * a file that holds none the writer knows). `leave`: the file that is written to is gone from the
 * directory, go on in the next one. `hardStates`: both copies of term and vote.
 */
export type WalOrder =
  | {
      readonly kind: 'zero';
      readonly fileId: number;
      readonly from: number;
      /** Exclusive. */
      readonly to: number;
      readonly isEnclosed: boolean;
    }
  | { readonly kind: 'leave'; readonly fileId: number }
  | {
      readonly kind: 'header';
      readonly fileId: number;
      readonly epoch: number;
      readonly watermark: number;
    }
  | { readonly kind: 'hardStates' };

export interface Wal {
  /**
   * Queues one append and returns its ticket: strictly increasing by one, over all groups. A
   * group with damage takes nothing but a snapshot that replaces its whole log.
   * @throws HoldfastError OVERLOADED (nothing was queued) above `queueSizeBytesMax`;
   *   WAL_IO after a failure; SHUTTING_DOWN after close
   */
  append(append: LogAppend): number;
  /**
   * Every append with a ticket up to the one told is durable and visible in its GroupLog. Told
   * with increasing tickets, on the caller's thread, never from inside `append`.
   */
  onDurable(listener: DurableListener): void;
  /**
   * Until `uncork` appends are only collected, so that those of one turn become one batch. Never
   * across turns. Not nested.
   */
  cork(): void;
  uncork(): void;
  /** WAL_IO, at most once; after it nothing becomes durable any more: stop the node. */
  onFailure(listener: WalFailureListener): void;
  /** The same object for the same group; an empty log for a group never seen. */
  groupLog(group: GroupId): GroupLog;
  /** Groups with any durable record. */
  groups(): readonly GroupId[];
  /**
   * Forgets the entries up to base.index (at least the present base, at most lastIndex). Readers
   * see it at once; files that no group needs are deleted after it is durable. The state up to
   * base.index must already be durable elsewhere (a checkpoint). It also closes the damage up to
   * base.index.
   * @throws HoldfastError WAL_CORRUPT when the log around base.index does not agree with `base`
   */
  compact(group: GroupId, base: LogBase): void;
  /**
   * Fills one whole damaged range with the entries that a peer gave. They are checked by the hash
   * chain against the entry before, the entry after, and what is still known of the lost ones.
   * Durable and visible when resolved; a crash leaves the range as it was, or shorter.
   * @throws HoldfastError (as a rejection) REPAIR_REFUSED: nothing was written; WAL_IO
   */
  repair(group: GroupId, entries: readonly Entry[]): Promise<void>;
  /**
   * Drops every entry from `from` on, damaged or not. The caller has proof (a NACK quorum) that
   * none of them was committed. Durable and visible when resolved.
   * @throws HoldfastError (as a rejection) WAL_IO
   */
  discardDamaged(group: GroupId, from: LogIndex): Promise<void>;
  /**
   * Writes present entries once more, at the end of the log, because the disk has damaged the place
   * where they are: from then on they are read from there. Each must be the entry that the log
   * knows under its index, and at most `committed`: the caller knows all up to it to be committed.
   * @throws HoldfastError (as a rejection) REPAIR_REFUSED: nothing was written; WAL_IO
   */
  rewrite(group: GroupId, entries: readonly Entry[], committed: LogIndex): Promise<void>;
  /**
   * Makes good what only the writer may touch, durably. Resolves in its turn, behind all appends
   * made before. @throws HoldfastError (as a rejection) WAL_IO
   */
  mend(order: WalOrder): Promise<void>;
  /** The first batch of the file has rot: it must not become the oldest, which starts the log. */
  distrustHead(fileId: number): void;
  /** Present entries of `group` with a record in [from, to) of the file. */
  entriesIn(group: GroupId, fileId: number, from: number, to: number): readonly LogIndex[];
  /**
   * Present entries to write again because of a flaw: those that a start would not find, or would
   * not be sure of. Empty when nothing is missing for it (any more).
   */
  entriesLostBy(group: GroupId, flaw: WalFlaw): readonly LogIndex[];
  stats(): WalStats;
  /** Files that must be there, ascending; the last one is written to. */
  files(): readonly WalFileFacts[];
  /** What the file of that name must say, until the next start. */
  readonly epoch: EpochRecord;
  /**
   * Whether the disk takes what is written. While it refuses, appends are queued and nothing
   * becomes durable; it goes on by itself when the disk does.
   */
  writes(): WalWrites;
  /**
   * While the breaker is open: the write that the disk refused is tried now, within a moment, and
   * not when its time has come. What comes of it shows in `writes`; nothing becomes durable by
   * asking.
   */
  probeWrites(): void;
  /** Called when the state of `writes` has changed. */
  onWrites(listener: WalWritesListener): void;
  /** Writes what is queued, confirms it on disk, releases files and thread. Idempotent. */
  close(): Promise<void>;
}

export interface WalOptions {
  /** Preallocated size of one file; a larger batch gets a larger file. */
  readonly fileSizeBytes: number;
  /** Most bytes of one group commit, unless a single append is larger. */
  readonly batchSizeBytesMax: number;
  /** Bytes of newest entries kept in memory, per group. */
  readonly cacheSizeBytesMax: number;
  /** Bytes queued and not yet durable above which `append` refuses. */
  readonly queueSizeBytesMax: number;
  /** Recompute the hash chain of entries at recovery. Off only for tests with invented sums. */
  readonly verifiesEntryChain: boolean;
  /** What a disk that refuses writes is granted. */
  readonly writeRetry: WriteRetryOptions;
  /** `batch` and `none` let a power cut take what was acknowledged. */
  readonly syncMode: WalSyncMode;
  /** Most time between two syncs in the mode `batch`. */
  readonly syncIntervalMs: number;
}

export const DEFAULT_WAL_OPTIONS: WalOptions = {
  fileSizeBytes: 16 * 1024 * 1024,
  // One sync costs the same for 64 KiB and little more for 4 MiB; more only adds latency.
  batchSizeBytesMax: 4 * 1024 * 1024,
  cacheSizeBytesMax: 16 * 1024 * 1024,
  // Raft bounds its uncommitted bytes far below this; reaching it means the disk has stalled.
  queueSizeBytesMax: 256 * 1024 * 1024,
  verifiesEntryChain: true,
  writeRetry: WRITE_RETRY_DEFAULT,
  syncMode: 'group',
  syncIntervalMs: 100,
};

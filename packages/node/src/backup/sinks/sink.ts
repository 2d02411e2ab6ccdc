/**
 * Where backups and the archive of the log go: a flat store of immutable objects by key. One
 * interface for a folder, S3 and Azure; the same conformance suite holds for each of them.
 *
 * Promises every sink makes:
 * - An object appears whole or not at all, under its key, and is durable when `put` returns.
 * - With `ifAbsent` exactly one of any number of racing writers gets `stored`, the others `exists`
 *   and the object is the winner's: this is what fences two archivers.
 * - What is read back was checked against the digest that was stored with it, or the read fails:
 *   `read` keeps the last piece back until the whole is checked: nobody gets a whole that is not.
 * - `list` is in order of the UTF-8 bytes of the keys and sees every object stored before it began.
 * - Transient failures are tried again with backoff, within bounds, before a caller sees them.
 * Failures: SINK_UNAVAILABLE (may have had an effect), SINK_REFUSED, SINK_FULL, BACKUP_CORRUPT
 * (bytes that fail their digest), ABORTED (by the signal). Messages name sink and key, never a
 * secret. Every call is bounded in time and memory; large objects stream.
 */

/** Facts about one stored object. */
export interface SinkObject {
  readonly key: string;
  readonly sizeBytes: number;
  /** By the clock of the store: for ages only, never for order. */
  readonly modifiedMs: number;
}

/** Content that can be read more than once, in any order: an attempt may start again. */
export interface SinkSource {
  readonly sizeBytes: number;
  /** Exactly `length` bytes from `offset`. @throws HoldfastError FILE_IO, FILE_CORRUPT, ABORTED */
  read(offset: number, length: number): Promise<Uint8Array>;
  /**
   * SHA-256 of the whole as lower-case hex, where the source has better means than to hand all of
   * it out. @throws as read
   */
  digest?(signal?: AbortSignal): Promise<string>;
}

export interface SinkPutOptions {
  /** Store only if there is no object under the key. */
  readonly ifAbsent: boolean;
  readonly signal?: AbortSignal;
  /** Called with the bytes the store has confirmed so far; falls back when a part is repeated. */
  readonly onProgress?: (storedSizeBytes: number) => void;
}

export interface SinkReadOptions {
  readonly signal?: AbortSignal;
}

export type SinkPutOutcome = 'stored' | 'exists';

export interface BackupSink {
  /** For messages and metrics, such as `s3://bucket/prefix`; no secrets in it. */
  readonly name: string;
  /** Finds out whether the sink can do what it promises here. Writes and removes small objects. */
  check(options?: SinkReadOptions): Promise<void>;
  /** Keys: see sink-keys.ts; another one is SINK_REFUSED before anything is sent. */
  put(key: string, source: SinkSource, options: SinkPutOptions): Promise<SinkPutOutcome>;
  /**
   * Null when there is no such object. `sizeBytesMax` bounds memory.
   * @throws HoldfastError SINK_REFUSED when the object is larger
   */
  get(key: string, sizeBytesMax: number, options?: SinkReadOptions): Promise<Uint8Array | null>;
  /**
   * The content in pieces of at most 1 MiB, which belong to the caller. Pieces are unchecked until
   * the iteration has ended without a failure. @throws HoldfastError BACKUP_NOT_FOUND
   */
  read(key: string, options?: SinkReadOptions): AsyncIterable<Uint8Array>;
  /** Null when there is no such object. */
  head(key: string, options?: SinkReadOptions): Promise<SinkObject | null>;
  /** Keys that start with `prefix` and come after `after`. */
  list(prefix: string, after?: string, options?: SinkReadOptions): AsyncIterable<SinkObject>;
  /** Removing what is not there is no failure. */
  remove(keys: readonly string[], options?: SinkReadOptions): Promise<void>;
  /** A link that lets anybody download the object for a while; null where the store has none. */
  presign(key: string, expiresInS: number): Promise<string | null>;
  /**
   * Removes what interrupted puts of crashed processes have left unseen and is older than this.
   * Returns how many. Not there where a store drops it by itself.
   */
  removeAbandoned?(olderThanMs: number, options?: SinkReadOptions): Promise<number>;
  close(): Promise<void>;
}

/** Bytes as a source. They are not copied and must not change. */
export function bytesSource(bytes: Uint8Array): SinkSource {
  return {
    sizeBytes: bytes.byteLength,
    read: async (offset, length) => bytes.subarray(offset, offset + length),
  };
}

/**
 * The archive of one timeline in one sink, as typed objects: what comes out was opened and verified
 * in itself, under the key that it was asked for by. How objects follow each other is the caller's
 * to check.
 */
import type { ClusterId, EntryHasher, LogIndex } from '@holdfast/base';
import { assert, failpoint, HoldfastError } from '@holdfast/base';
import type {
  ChainLink,
  ChainPoint,
  Compression,
  EntryTimestamp,
  KeyRing,
  LogChunk,
  LogGap,
  RandomBytes,
  Timeline,
  TimelineObject,
} from '@holdfast/storage';
import {
  archiveCorrupt,
  decodeLogChunk,
  decodeLogGap,
  decodeTimeline,
  encodeTimeline,
  endOfChunk,
  endOfGap,
  gapKey,
  gapPrefix,
  haveSameOrigin,
  isLogGap,
  LOG_CHUNK_SIZE_BYTES_MAX,
  LOG_GAP_SIZE_BYTES_MAX,
  logChunkKey,
  logChunkPrefix,
  numberOfKey,
  openSealed,
  sealBytes,
  sealedSizeBytesMax,
  TIMELINE_SIZE_BYTES_MAX,
  timelineKey,
} from '@holdfast/storage';
import type { BackupSink, SinkPutOutcome } from '../sinks/sink.ts';
import { bytesSource } from '../sinks/sink.ts';

/** What stands under `log/<firstIndex>`. */
export type LogObject = LogChunk | LogGap;

export const linkOf = (object: LogObject): ChainLink =>
  object.kind === 'chunk' ? object.header : object;
export const endOf = (object: LogObject): ChainPoint =>
  object.kind === 'chunk' ? endOfChunk(object) : endOfGap(object);

/** How objects are sealed and opened. */
export interface ArchiveSealing {
  readonly compression: Compression;
  readonly keys: KeyRing;
  readonly random: RandomBytes;
}

export interface ArchiveStoreOptions {
  readonly sink: BackupSink;
  readonly clusterId: ClusterId;
  readonly timeline: string;
  readonly sealing: ArchiveSealing;
  readonly hasher: EntryHasher;
  readonly timestampOf: EntryTimestamp;
  readonly signal?: AbortSignal;
}

/** Objects that begin within so many indexes are listed; one listing of a store has 1,000 keys. */
const LISTED_INDEX_COUNT = 1_000;
const LOOK_FACTOR = 8;

export class ArchiveStore {
  readonly #options: ArchiveStoreOptions;

  constructor(options: ArchiveStoreOptions) {
    this.#options = options;
  }

  get clusterId(): ClusterId {
    return this.#options.clusterId;
  }

  get timeline(): string {
    return this.#options.timeline;
  }

  get sinkName(): string {
    return this.#options.sink.name;
  }

  /** The same sink, another timeline. */
  of(clusterId: ClusterId, timeline: string): ArchiveStore {
    return new ArchiveStore({ ...this.#options, clusterId, timeline });
  }

  logKey(firstIndex: number): string {
    return logChunkKey(this.clusterId, this.timeline, firstIndex);
  }

  /** Stores a chunk or a gap in its place, if nothing is there; how many bytes it took. */
  async putLogObject(
    firstIndex: LogIndex,
    body: Uint8Array,
  ): Promise<{ readonly outcome: SinkPutOutcome; readonly sizeBytes: number }> {
    const key = this.logKey(firstIndex);
    return this.#put(key, 'log-chunk', body);
  }

  /**
   * What stands under `log/<firstIndex>`; null when there is nothing.
   * @throws HoldfastError BACKUP_CORRUPT with the key and the first index that is bad
   */
  async readLogObject(firstIndex: number): Promise<LogObject | null> {
    const key = this.logKey(firstIndex);
    const bytes = await this.#getLogObject(key, firstIndex);
    if (bytes === null) return null;
    const { clusterId, hasher, timeline, timestampOf } = this.#options;
    const checks = { key, firstIndex, clusterId, timeline };
    return isLogGap(bytes)
      ? decodeLogGap(bytes, checks)
      : decodeLogChunk(bytes, { ...checks, hasher, timestampOf });
  }

  /** First indexes of log objects greater than `index`, ascending. */
  async *logIndexesAfter(index: number): AsyncGenerator<number, void, undefined> {
    const { clusterId, signal, sink, timeline } = this.#options;
    const prefix = logChunkPrefix(clusterId, timeline);
    const after = this.logKey(index);
    for await (const { key } of sink.list(prefix, after, signal === undefined ? {} : { signal })) {
      const number = numberOfKey(key);
      // Anything else under the prefix was not written by an archiver.
      if (number !== null && key === this.logKey(number)) yield number;
    }
  }

  /** The smallest first index greater than `index`; null when there is none. */
  async firstLogIndexAfter(index: number): Promise<number | null> {
    for await (const firstIndex of this.logIndexesAfter(index)) return firstIndex;
    return null;
  }

  /**
   * First index of the last log object that begins at or before `atMost`. Looks near `near` first
   * and halves what is left, so it never lists them all.
   */
  async lastLogIndex(near: number, atMost = Number.MAX_SAFE_INTEGER): Promise<number | null> {
    const after = async (index: number): Promise<number | null> => {
      const found = await this.firstLogIndexAfter(index);
      return found !== null && found <= atMost ? found : null;
    };
    let low: number | null = null;
    for (let distance = LISTED_INDEX_COUNT; low === null; distance *= LOOK_FACTOR) {
      const from = Math.max(0, Math.min(near, atMost) - distance);
      low = await after(from);
      if (low === null && from === 0) return null;
    }
    // From `high` on there is none.
    let high = low;
    for (let distance = LISTED_INDEX_COUNT; high === low; distance *= LOOK_FACTOR) {
      high = Math.min(atMost, low + distance);
      const beyond = high === atMost ? null : await after(high);
      if (beyond !== null) low = high = beyond;
      else if (high === low) return low;
    }
    while (high - low > LISTED_INDEX_COUNT) {
      const middle = low + Math.floor((high - low) / 2);
      const found: number | null = await after(middle);
      if (found === null) high = middle;
      else low = found;
    }
    let last = low;
    for await (const firstIndex of this.logIndexesAfter(low)) {
      if (firstIndex > atMost) break;
      last = firstIndex;
    }
    return last;
  }

  /** Lets readers find a gap without opening chunks. Putting the same one again is no failure. */
  async putGapCopy({ bytes, firstIndex }: LogGap): Promise<void> {
    await this.#put(gapKey(this.clusterId, this.timeline, firstIndex), 'gap', bytes);
  }

  /** The gaps that have a copy, ascending. */
  async gaps(): Promise<readonly LogGap[]> {
    const { clusterId, sink, timeline } = this.#options;
    const gaps: LogGap[] = [];
    for await (const { key } of sink.list(gapPrefix(clusterId, timeline))) {
      const firstIndex = numberOfKey(key);
      if (firstIndex === null) continue;
      const bytes = await this.#get(key, 'gap', LOG_GAP_SIZE_BYTES_MAX);
      if (bytes === null) continue;
      gaps.push(decodeLogGap(bytes, { key, firstIndex, clusterId, timeline }));
    }
    return gaps;
  }

  /** Null when the timeline was never begun in this sink. */
  async readTimeline(): Promise<TimelineObject | null> {
    const { clusterId, timeline } = this.#options;
    const key = timelineKey(clusterId, timeline);
    const bytes = await this.#get(key, 'timeline', TIMELINE_SIZE_BYTES_MAX);
    return bytes === null ? null : decodeTimeline(bytes, { key, clusterId, timeline });
  }

  /**
   * The object of the timeline, which is made when there is none.
   * @throws HoldfastError BACKUP_CORRUPT when the sink's has another origin
   */
  async beginTimeline(timeline: Timeline): Promise<TimelineObject> {
    const found = await this.readTimeline();
    if (found !== null) return this.#agreed(found, timeline);
    const key = timelineKey(this.clusterId, this.timeline);
    const encoded = encodeTimeline(timeline);
    failpoint('archive.before-timeline');
    const { outcome } = await this.#put(key, 'timeline', encoded.bytes);
    failpoint('archive.after-timeline');
    if (outcome === 'stored') return encoded.timeline;
    const winner = await this.readTimeline();
    assert(winner !== null, 'what exists can be read', { key });
    return this.#agreed(winner, timeline);
  }

  async #getLogObject(key: string, firstIndex: number): Promise<Uint8Array | null> {
    try {
      return await this.#get(key, 'log-chunk', LOG_CHUNK_SIZE_BYTES_MAX);
    } catch (thrown) {
      if (!(thrown instanceof HoldfastError) || thrown.code !== 'BACKUP_CORRUPT') throw thrown;
      throw archiveCorrupt(key, firstIndex, thrown.message, thrown);
    }
  }

  #agreed(found: TimelineObject, own: Timeline): TimelineObject {
    if (haveSameOrigin(found, own)) return found;
    const key = timelineKey(this.clusterId, this.timeline);
    throw new HoldfastError(
      'BACKUP_CORRUPT',
      `${key} in ${this.sinkName} has another origin than timeline ${own.timeline} of this ` +
        'cluster: another cluster writes to this store; give each its own',
      { details: { key } },
    );
  }

  async #put(context: string, kind: 'gap' | 'log-chunk' | 'timeline', body: Uint8Array) {
    const { sealing, signal, sink } = this.#options;
    const { compression, keys, random } = sealing;
    const sealed = await sealBytes(body, { kind, context, compression, key: keys.current, random });
    const outcome = await sink.put(context, bytesSource(sealed), {
      ifAbsent: true,
      ...(signal === undefined ? {} : { signal }),
    });
    return { outcome, sizeBytes: sealed.byteLength };
  }

  async #get(
    context: string,
    kind: 'gap' | 'log-chunk' | 'timeline',
    sizeBytesMax: number,
  ): Promise<Uint8Array | null> {
    const { sealing, signal, sink } = this.#options;
    const sealed = await sink.get(
      context,
      sealedSizeBytesMax(sizeBytesMax),
      signal === undefined ? {} : { signal },
    );
    if (sealed === null) return null;
    return openSealed(sealed, { kind, context, keys: sealing.keys, sizeBytesMax });
  }
}

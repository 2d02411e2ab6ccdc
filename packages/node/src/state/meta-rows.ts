/**
 * The meta state as bytes: frames of rows, so that ten thousand sessions with full windows are
 * written, hashed and read in slices and never are one string or one buffer.
 *
 * Little-endian. File: magic "HFMS", version u16, zero u16, then frames: size u32, rows. A row
 * never spans frames. Rows begin with their kind u8:
 *   0 head: size u32, JSON {appliedIndex, logTimeMs}        first, once
 *   1 collection: size u32, JSON definition                 in order of creation
 *   2 session: id f64, lastActiveMs f64, ackedThrough f64   the results behind it are its own
 *   3 written, none skipped: sequence f64, bodyHash u64, index f64, term f64, deletedCount u32
 *   4 other result: sequence f64, bodyHash u64, size u32, JSON ApplyResult
 *   5 end: rows before it f64                               last, once
 *   6 site: size u32, JSON Site       second, once; left out for a cluster that is none but itself
 *   7 hidden collection: size u32, JSON {definition, hiding}    among the collections
 * Equal states give equal bytes. A state without rows of the kinds 6 and 7 is written as version 2,
 * which older nodes read; one with them as version 3.
 */
import { assert, HoldfastError, logIndex, term } from '@holdfast/base';
import type { CollectionDefinition } from '@holdfast/shard-worker';
import type { ApplyResult } from './apply-result.ts';
import type { HiddenCollection } from './hiding.ts';
import type { Site } from './site.ts';

const MAGIC = 0x534d_4648;
/** Without sites and hidden collections. */
const VERSION_PLAIN = 2;
const VERSION_EXTENDED = 3;
export const META_HEAD_SIZE_BYTES = 8;
/** A frame is closed above this: about a millisecond of work. */
const FRAME_SIZE_BYTES = 64 * 1024;
/** What a reader takes for possible: a frame, and the largest row (a result with conflicts). */
export const META_FRAME_SIZE_BYTES_MAX = 4 * 1024 * 1024;
const KIND = {
  head: 0,
  collection: 1,
  session: 2,
  written: 3,
  other: 4,
  end: 5,
  site: 6,
  hidden: 7,
} as const;

export interface MetaHead {
  readonly appliedIndex: number;
  readonly logTimeMs: number;
}

export interface SessionRow {
  readonly id: number;
  readonly lastActiveMs: number;
  readonly ackedThrough: number;
}

export interface ResultRow {
  readonly sequence: number;
  readonly bodyHash: bigint;
  readonly result: ApplyResult;
}

/** Takes rows in their order. */
export interface MetaRowVisitor {
  head(head: MetaHead): void;
  site?(site: Site): void;
  collection(definition: CollectionDefinition): void;
  hidden(collection: HiddenCollection): void;
  session(session: SessionRow): void;
  result(row: ResultRow): void;
}

export function encodeMetaHead(isExtended: boolean): Uint8Array {
  const bytes = new Uint8Array(META_HEAD_SIZE_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint16(4, isExtended ? VERSION_EXTENDED : VERSION_PLAIN, true);
  return bytes;
}

/** @throws HoldfastError FORMAT_UNKNOWN */
export function checkMetaHead(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isOurs = bytes.byteLength === META_HEAD_SIZE_BYTES && view.getUint32(0, true) === MAGIC;
  const version = isOurs ? view.getUint16(4, true) : null;
  if (version === VERSION_PLAIN || version === VERSION_EXTENDED) return;
  throw new HoldfastError(
    'FORMAT_UNKNOWN',
    `a meta file is of version ${version ?? 'unknown'}, this node reads up to ` +
      `${VERSION_EXTENDED}: run the version that wrote it, or replace this node`,
    { details: { version } },
  );
}

const UTF8 = new TextEncoder();
const TEXT = new TextDecoder();

/** Collects rows into frames. */
export class FrameWriter {
  /** Grows to the largest row; the first four bytes are the size. */
  #bytes = new Uint8Array(2 * FRAME_SIZE_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #at = 4;
  #rowCount = 0;

  get isFull(): boolean {
    return this.#at >= FRAME_SIZE_BYTES;
  }

  /** The frame with its size; a fresh copy. Null when no row waits. */
  take(): Uint8Array | null {
    if (this.#at === 4) return null;
    this.#view.setUint32(0, this.#at - 4, true);
    const frame = this.#bytes.slice(0, this.#at);
    this.#at = 4;
    return frame;
  }

  head(head: MetaHead): void {
    this.#json(KIND.head, [], head);
  }

  site(site: Site): void {
    this.#json(KIND.site, [], site);
  }

  collection(definition: CollectionDefinition): void {
    this.#json(KIND.collection, [], definition);
  }

  hidden({ definition, hiding }: HiddenCollection): void {
    const { state, sinceMs, purgeAtMs } = hiding;
    // Fields in one order, however the object came to be: equal states give equal bytes.
    this.#json(KIND.hidden, [], { definition, hiding: { state, sinceMs, purgeAtMs } });
  }

  session({ id, lastActiveMs, ackedThrough }: SessionRow): void {
    this.#begin(KIND.session, 24);
    this.#float(id);
    this.#float(lastActiveMs);
    this.#float(ackedThrough);
  }

  result({ sequence, bodyHash, result }: ResultRow): void {
    const { value } = result.ok ? result : { value: null };
    if (!result.ok || value?.kind !== 'written' || value.skippedCount !== undefined) {
      this.#json(KIND.other, [sequence, bodyHash], result);
      return;
    }
    this.#begin(KIND.written, 36);
    this.#float(sequence);
    this.#hash(bodyHash);
    this.#float(result.index);
    this.#float(result.term);
    this.#view.setUint32(this.#at, value.deletedCount, true);
    this.#at += 4;
  }

  end(): void {
    const rowCount = this.#rowCount;
    this.#begin(KIND.end, 8);
    this.#float(rowCount);
  }

  #json(kind: number, prefix: readonly [] | readonly [number, bigint], value: unknown): void {
    const json = UTF8.encode(JSON.stringify(value));
    this.#begin(kind, 8 * prefix.length + 4 + json.byteLength);
    const [sequence, bodyHash] = prefix;
    if (sequence !== undefined) this.#float(sequence);
    if (bodyHash !== undefined) this.#hash(bodyHash);
    this.#view.setUint32(this.#at, json.byteLength, true);
    this.#bytes.set(json, this.#at + 4);
    this.#at += 4 + json.byteLength;
  }

  #begin(kind: number, sizeBytes: number): void {
    const needed = this.#at + 1 + sizeBytes;
    assert(needed <= META_FRAME_SIZE_BYTES_MAX, 'a meta row fits into a frame', { sizeBytes });
    if (needed > this.#bytes.byteLength) {
      const larger = new Uint8Array(2 * needed);
      larger.set(this.#bytes.subarray(0, this.#at));
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    this.#view.setUint8(this.#at, kind);
    this.#at += 1;
    this.#rowCount += 1;
  }

  #float(value: number): void {
    this.#view.setFloat64(this.#at, value, true);
    this.#at += 8;
  }

  #hash(value: bigint): void {
    this.#view.setBigUint64(this.#at, value, true);
    this.#at += 8;
  }
}

/** Takes frames apart. Their checksums were verified, so a bad row is a broken invariant. */
export class FrameReader {
  readonly #visitor: MetaRowVisitor;
  #bytes: Uint8Array = new Uint8Array(0);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;
  #rowCount = 0;
  #isEnded = false;

  constructor(visitor: MetaRowVisitor) {
    this.#visitor = visitor;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Visits the rows of one frame, given without its size. */
  read(frame: Uint8Array): void {
    this.#bytes = frame;
    this.#view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
    this.#at = 0;
    while (this.#at < frame.byteLength) {
      assert(!this.#isEnded, 'nothing follows the end of the meta rows');
      this.#row();
      this.#rowCount += 1;
    }
  }

  #row(): void {
    const kind = this.#view.getUint8(this.#at);
    this.#at += 1;
    switch (kind) {
      case KIND.head:
        this.#visitor.head(this.#json());
        return;
      case KIND.site: {
        const site = this.#json<Site>();
        this.#visitor.site?.(site);
        return;
      }
      case KIND.collection:
        this.#visitor.collection(this.#json());
        return;
      case KIND.hidden:
        this.#visitor.hidden(this.#json());
        return;
      case KIND.session: {
        const [id, lastActiveMs, ackedThrough] = [this.#float(), this.#float(), this.#float()];
        this.#visitor.session({ id, lastActiveMs, ackedThrough });
        return;
      }
      case KIND.written:
        this.#written();
        return;
      case KIND.other: {
        const [sequence, bodyHash] = [this.#float(), this.#hash()];
        this.#visitor.result({ sequence, bodyHash, result: this.#json() });
        return;
      }
      case KIND.end:
        assert(this.#float() === this.#rowCount, 'every meta row is there');
        this.#isEnded = true;
        return;
      default:
        assert(false, 'a meta row is of a known kind', { kind });
    }
  }

  #written(): void {
    const sequence = this.#float();
    const bodyHash = this.#hash();
    const index = logIndex(this.#float());
    const atTerm = term(this.#float());
    const deletedCount = this.#view.getUint32(this.#at, true);
    this.#at += 4;
    const value = { kind: 'written', deletedCount } as const;
    this.#visitor.result({
      sequence,
      bodyHash,
      result: { ok: true, index, term: atTerm, value },
    });
  }

  #float(): number {
    this.#at += 8;
    return this.#view.getFloat64(this.#at - 8, true);
  }

  #hash(): bigint {
    this.#at += 8;
    return this.#view.getBigUint64(this.#at - 8, true);
  }

  #json<Value>(): Value {
    const start = this.#at + 4;
    this.#at = start + this.#view.getUint32(this.#at, true);
    return JSON.parse(TEXT.decode(this.#bytes.subarray(start, this.#at))) as Value;
  }
}

/**
 * Payload bytes of the records that are no entries: hard state, snapshot meta, and the state of a
 * group that starts each file. Reading checks lengths; the checksums were verified before.
 */
import type { ConfState, HardState, LogIndex, NodeId, SnapshotMeta, Term } from '@holdfast/base';
import {
  assert,
  decodeConf,
  EMPTY_LOG_SUM,
  ENTRY_SUM_SIZE_BYTES,
  encodeConf,
  HoldfastError,
  isNodeId,
  logIndex,
  readU64,
  term,
  writeU64,
} from '@holdfast/base';
import type { LogBase } from './types.ts';

/** What the WAL knows of a group without its entries. */
export interface GroupSummary {
  readonly hardState: HardState | null;
  readonly base: LogBase;
  readonly lastIndex: LogIndex;
  readonly snapshot: SnapshotMeta | null;
}

export const EMPTY_LOG_BASE: LogBase = {
  index: logIndex(0),
  term: term(0),
  sum: EMPTY_LOG_SUM,
};

export const EMPTY_GROUP_SUMMARY: GroupSummary = {
  hardState: null,
  base: EMPTY_LOG_BASE,
  lastIndex: logIndex(0),
  snapshot: null,
};

export function encodeHardState(hardState: HardState): Uint8Array {
  const writer = new ByteWriter();
  writeHardState(writer, hardState);
  return writer.finish();
}

export function decodeHardState(payload: Uint8Array): HardState {
  const reader = new ByteReader(payload);
  const hardState = readHardState(reader);
  reader.expectEnd();
  return hardState;
}

/** Without index, term and sum: those are in the record header. */
export function encodeSnapshot(meta: SnapshotMeta): Uint8Array {
  const writer = new ByteWriter();
  writeSnapshotRest(writer, meta);
  return writer.finish();
}

export function decodeSnapshot(base: LogBase, payload: Uint8Array): SnapshotMeta {
  const reader = new ByteReader(payload);
  const meta = readSnapshotRest(reader, base);
  reader.expectEnd();
  return meta;
}

export function encodeGroupSummary(summary: GroupSummary): Uint8Array {
  const writer = new ByteWriter();
  writer.u8(summary.hardState === null ? 0 : 1);
  if (summary.hardState !== null) writeHardState(writer, summary.hardState);
  writeBase(writer, summary.base);
  writer.u64(summary.lastIndex);
  writer.u8(summary.snapshot === null ? 0 : 1);
  if (summary.snapshot !== null) {
    writeBase(writer, summary.snapshot);
    writeSnapshotRest(writer, summary.snapshot);
  }
  return writer.finish();
}

export function decodeGroupSummary(payload: Uint8Array): GroupSummary {
  const reader = new ByteReader(payload);
  const hardState = reader.u8() === 0 ? null : readHardState(reader);
  const base = readBase(reader);
  const lastIndex = logIndex(reader.u64());
  const snapshot = reader.u8() === 0 ? null : readSnapshotRest(reader, readBase(reader));
  reader.expectEnd();
  return { hardState, base, lastIndex, snapshot };
}

function writeHardState(writer: ByteWriter, hardState: HardState): void {
  writer.u64(hardState.term);
  writer.u64(hardState.commit);
  writer.text(hardState.vote ?? '');
}

function readHardState(reader: ByteReader): HardState {
  const currentTerm = term(reader.u64());
  const commit = logIndex(reader.u64());
  const vote = reader.text();
  return { term: currentTerm, commit, vote: vote === '' ? null : asNodeId(vote) };
}

function writeBase(writer: ByteWriter, base: LogBase): void {
  writer.u64(base.index);
  writer.u64(base.term);
  writer.sum(base.sum);
}

function readBase(reader: ByteReader): LogBase {
  return { index: logIndex(reader.u64()), term: term(reader.u64()) as Term, sum: reader.sum() };
}

function writeSnapshotRest(writer: ByteWriter, meta: SnapshotMeta): void {
  writer.u64(meta.confIndex);
  writer.text(meta.id);
  writer.bytes(encodeConf(meta.conf));
}

function readSnapshotRest(reader: ByteReader, base: LogBase): SnapshotMeta {
  const confIndex = logIndex(reader.u64());
  const id = reader.text();
  const conf = reader.conf();
  return { index: base.index, term: base.term, sum: base.sum, conf, confIndex, id };
}

function asNodeId(value: string): NodeId {
  if (!isNodeId(value)) throw malformed('node id');
  return value;
}

function malformed(what: string, cause?: unknown): HoldfastError {
  return new HoldfastError('WAL_CORRUPT', `record payload has a bad ${what}`, {
    cause,
    details: { what },
  });
}

/** Strings on disk have a u16 length. */
const TEXT_SIZE_BYTES_MAX = 0xffff;

class ByteWriter {
  readonly #parts: Uint8Array[] = [];

  u8(value: number): void {
    this.#parts.push(new Uint8Array([value]));
  }

  u64(value: number): void {
    const bytes = new Uint8Array(8);
    writeU64(new DataView(bytes.buffer), 0, value);
    this.#parts.push(bytes);
  }

  sum(bytes: Uint8Array): void {
    assert(bytes.byteLength === ENTRY_SUM_SIZE_BYTES, 'sum must be 16 bytes');
    this.#parts.push(bytes);
  }

  bytes(value: Uint8Array): void {
    this.#parts.push(value);
  }

  text(value: string): void {
    const bytes = Buffer.from(value, 'utf8');
    assert(bytes.byteLength <= TEXT_SIZE_BYTES_MAX, 'text is too long for the log', {
      sizeBytes: bytes.byteLength,
    });
    const size = new Uint8Array(2);
    new DataView(size.buffer).setUint16(0, bytes.byteLength, true);
    this.#parts.push(size, bytes);
  }

  finish(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.#parts));
  }
}

class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  u64(): number {
    return readU64(this.#view, this.#advance(8));
  }

  sum(): Uint8Array {
    const start = this.#advance(ENTRY_SUM_SIZE_BYTES);
    return this.#bytes.slice(start, start + ENTRY_SUM_SIZE_BYTES);
  }

  text(): string {
    const size = this.#view.getUint16(this.#advance(2), true);
    const start = this.#advance(size);
    return Buffer.from(this.#bytes.subarray(start, start + size)).toString('utf8');
  }

  conf(): ConfState {
    try {
      const { conf, end } = decodeConf(this.#bytes, this.#offset);
      this.#offset = end;
      return conf;
    } catch (thrown) {
      throw malformed('configuration', thrown);
    }
  }

  expectEnd(): void {
    if (this.#offset !== this.#bytes.byteLength) throw malformed('length');
  }

  #advance(count: number): number {
    const start = this.#offset;
    if (start + count > this.#bytes.byteLength) throw malformed('length');
    this.#offset = start + count;
    return start;
  }
}

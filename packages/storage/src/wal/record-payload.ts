/**
 * Payload bytes of the records that are no entries: hard state, snapshot meta, and the state of a
 * group that starts each file. Reading checks lengths; the checksums were verified before.
 */
import type { HardState, LogIndex, NodeId, SnapshotMeta, Term } from '@holdfast/base';
import { EMPTY_LOG_SUM, encodeConf, isNodeId, logIndex, term } from '@holdfast/base';
import { ByteReader, ByteWriter, malformed } from './bytes.ts';
import type { LogBase } from './types.ts';

/** What the WAL knows of a group without its entries. */
export interface GroupSummary {
  readonly hardState: HardState | null;
  readonly base: LogBase;
  readonly lastIndex: LogIndex;
  /** Name of the last entry (or the base): null after a truncation until the log grows again. */
  readonly lastTerm: Term | null;
  readonly lastSum: Uint8Array | null;
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
  lastTerm: term(0),
  lastSum: EMPTY_LOG_SUM,
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
  writeGroupSummary(writer, summary);
  return writer.finish();
}

export function decodeGroupSummary(payload: Uint8Array): GroupSummary {
  const reader = new ByteReader(payload);
  const summary = readGroupSummary(reader);
  reader.expectEnd();
  return summary;
}

const HAS_HARD_STATE = 1;
const HAS_LAST = 2;
const HAS_SNAPSHOT = 4;

export function writeGroupSummary(writer: ByteWriter, summary: GroupSummary): void {
  const { hardState, base, lastIndex, lastTerm, lastSum, snapshot } = summary;
  const hasLast = lastTerm !== null && lastSum !== null;
  writer.u8(
    (hardState === null ? 0 : HAS_HARD_STATE) |
      (hasLast ? HAS_LAST : 0) |
      (snapshot === null ? 0 : HAS_SNAPSHOT),
  );
  if (hardState !== null) writeHardState(writer, hardState);
  writeBase(writer, base);
  writer.u64(lastIndex);
  if (hasLast) {
    writer.u64(lastTerm);
    writer.sum(lastSum);
  }
  if (snapshot === null) return;
  writeBase(writer, snapshot);
  writeSnapshotRest(writer, snapshot);
}

export function readGroupSummary(reader: ByteReader): GroupSummary {
  const flags = reader.u8();
  const hardState = (flags & HAS_HARD_STATE) === 0 ? null : readHardState(reader);
  const base = readBase(reader);
  const lastIndex = logIndex(reader.u64());
  const hasLast = (flags & HAS_LAST) !== 0;
  const lastTerm = hasLast ? term(reader.u64()) : null;
  const lastSum = hasLast ? reader.sum() : null;
  const hasSnapshot = (flags & HAS_SNAPSHOT) !== 0;
  const snapshot = hasSnapshot ? readSnapshotRest(reader, readBase(reader)) : null;
  return { hardState, base, lastIndex, lastTerm, lastSum, snapshot };
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

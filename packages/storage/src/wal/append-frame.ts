/** Encodes one append as the unsealed records of one frame: what travels to the writer. */
import type { Entry, GroupId, HardState, LogIndex } from '@holdfast/base';
import { EMPTY_LOG_SUM, encodeEntry, entrySizeBytes } from '@holdfast/base';
import type { RecordFields } from './record.ts';
import { encodeRecordHeader, RECORD_HEADER_SIZE_BYTES } from './record.ts';
import type { GroupSummary } from './record-payload.ts';
import { encodeGroupSummary, encodeHardState, encodeSnapshot } from './record-payload.ts';
import type { LogAppend, LogBase } from './types.ts';

export interface AppendFrame {
  readonly bytes: Uint8Array;
  /** Where the first entry record starts; the others follow without a gap. */
  readonly firstEntryOffset: number;
}

interface SmallRecord {
  readonly fields: RecordFields;
  readonly payload: Uint8Array;
}

const NO_PAYLOAD = new Uint8Array(0);

/** Order matters: the log restarts at the snapshot, loses its tail, then grows. */
export function encodeAppend(append: LogAppend, hardState: HardState | null): AppendFrame {
  const { group, snapshot, truncateFrom } = append;
  const small: SmallRecord[] = [];
  if (hardState !== null) small.push(hardStateRecord(group, hardState));
  if (snapshot !== null) {
    small.push({
      fields: { type: 'snapshot', group, ...snapshot },
      payload: encodeSnapshot(snapshot),
    });
  }
  if (truncateFrom !== null) small.push(truncateRecord(group, truncateFrom));
  const firstEntryOffset = sizeOf(small);
  let size = firstEntryOffset;
  for (const entry of append.entries) size += RECORD_HEADER_SIZE_BYTES + entrySizeBytes(entry);
  const bytes = new Uint8Array(size);
  encodeEntries('entry', group, append.entries, bytes, writeSmall(small, bytes));
  return { bytes, firstEntryOffset };
}

function encodeEntries(
  type: 'entry' | 'repair',
  group: GroupId,
  entries: readonly Entry[],
  target: Uint8Array,
  start: number,
): void {
  let offset = start;
  for (const entry of entries) {
    const { index, term, sum } = entry;
    const fields: RecordFields = { type, group, index, term, sum };
    offset = encodeRecordHeader(fields, entrySizeBytes(entry), target, offset);
    offset = encodeEntry(entry, target, offset);
  }
}

export function encodeHardStateFrame(group: GroupId, hardState: HardState): Uint8Array {
  return encodeSmall([hardStateRecord(group, hardState)]);
}

export function encodeBaseFrame(group: GroupId, base: LogBase): Uint8Array {
  const { index, term, sum } = base;
  return encodeSmall([{ fields: { type: 'base', group, index, term, sum }, payload: NO_PAYLOAD }]);
}

/** Drops everything from `index` on. */
export function encodeTruncateFrame(group: GroupId, index: LogIndex): Uint8Array {
  return encodeSmall([truncateRecord(group, index)]);
}

/** Entries that take the place of lost ones. */
export function encodeRepairFrame(group: GroupId, entries: readonly Entry[]): Uint8Array {
  let size = 0;
  for (const entry of entries) size += RECORD_HEADER_SIZE_BYTES + entrySizeBytes(entry);
  const bytes = new Uint8Array(size);
  encodeEntries('repair', group, entries, bytes, 0);
  return bytes;
}

/** The state of all groups: the first records of a new file. */
export function encodeFileState(groups: ReadonlyMap<GroupId, GroupSummary>): {
  readonly bytes: Uint8Array;
  readonly recordCount: number;
} {
  const records = [...groups].map(([group, summary]): SmallRecord => {
    const { index, term, sum } = summary.base;
    const fields: RecordFields = { type: 'fileState', group, index, term, sum };
    return { fields, payload: encodeGroupSummary(summary) };
  });
  return { bytes: encodeSmall(records), recordCount: records.length };
}

function truncateRecord(group: GroupId, index: LogIndex): SmallRecord {
  const fields: RecordFields = { type: 'truncate', group, index, term: 0, sum: EMPTY_LOG_SUM };
  return { fields, payload: NO_PAYLOAD };
}

function hardStateRecord(group: GroupId, hardState: HardState): SmallRecord {
  const fields: RecordFields = {
    type: 'hardState',
    group,
    index: 0,
    term: hardState.term,
    sum: EMPTY_LOG_SUM,
  };
  return { fields, payload: encodeHardState(hardState) };
}

const sizeOf = (records: readonly SmallRecord[]): number =>
  records.reduce((sum, { payload }) => sum + RECORD_HEADER_SIZE_BYTES + payload.byteLength, 0);

function encodeSmall(records: readonly SmallRecord[]): Uint8Array {
  const bytes = new Uint8Array(sizeOf(records));
  writeSmall(records, bytes);
  return bytes;
}

function writeSmall(records: readonly SmallRecord[], target: Uint8Array): number {
  let offset = 0;
  for (const { fields, payload } of records) {
    offset = encodeRecordHeader(fields, payload.byteLength, target, offset);
    target.set(payload, offset);
    offset += payload.byteLength;
  }
  return offset;
}

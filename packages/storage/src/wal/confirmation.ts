/**
 * What a batch says of the one before it: the state of its groups after it, written in other
 * sectors and only after its sync. A valid confirmation beside a bad batch therefore proves that
 * the batch was durable, and says what its groups had come to: last index, term, chain sum, term
 * and vote, and from which index on it changed the log.
 *
 * The list holds every group the batch touched, filled up with the groups touched before it, so
 * that damage to a few batches in a row is still covered; an empty batch lists every group.
 */
import type { GroupId } from '@holdfast/base';
import { groupId } from '@holdfast/base';
import { ByteReader, ByteWriter } from './bytes.ts';
import type { RecordName } from './record.ts';
import type { GroupSummary } from './record-payload.ts';
import { readGroupSummary, writeGroupSummary } from './record-payload.ts';

/** Listed when the batch itself touched fewer: about 100 bytes each. */
const LISTED_GROUPS_MIN = 4;

export interface ConfirmedGroup {
  readonly group: GroupId;
  /** Lowest index whose entry the batch replaced, removed or added; 0 when it changed none. */
  readonly changedFrom: number;
  /** After the batch, without the snapshot. */
  readonly summary: GroupSummary;
}

export interface Confirmation {
  /** Every group of the log is listed. */
  readonly isComplete: boolean;
  readonly groups: readonly ConfirmedGroup[];
}

/** Lowest changed index per group: what one batch did to the logs. */
export type BatchChanges = ReadonlyMap<GroupId, number>;

/** Notes what `record` does. A repair puts back what was there, so it changes nothing. */
export function noteChange(
  changes: Map<GroupId, number>,
  record: Pick<RecordName, 'type' | 'group' | 'index'>,
): void {
  const { type, group, index } = record;
  const known = changes.get(group) ?? 0;
  const isChange = type === 'entry' || type === 'truncate' || type === 'snapshot';
  const from = isChange ? (type === 'snapshot' ? index + 1 : index) : 0;
  const lowest = known === 0 || from === 0 ? Math.max(known, from) : Math.min(known, from);
  changes.set(group, lowest);
}

/** `groups` in the order they were last touched, newest at the end. */
export function encodeConfirmation(
  groups: ReadonlyMap<GroupId, GroupSummary>,
  changes: BatchChanges,
  isComplete: boolean,
): Uint8Array {
  const count = isComplete ? groups.size : Math.max(changes.size, LISTED_GROUPS_MIN);
  const listed = [...groups].slice(Math.max(0, groups.size - count));
  const writer = new ByteWriter();
  writer.u8(isComplete || listed.length === groups.size ? 1 : 0);
  writer.u32(listed.length);
  for (const [group, summary] of listed) {
    writer.u32(group);
    writer.u64(changes.get(group) ?? 0);
    writeGroupSummary(writer, { ...summary, snapshot: null });
  }
  return writer.finish();
}

/** @throws HoldfastError WAL_CORRUPT when the bytes are not what encodeConfirmation makes */
export function decodeConfirmation(bytes: Uint8Array): Confirmation {
  const reader = new ByteReader(bytes);
  const isComplete = reader.u8() === 1;
  const count = reader.u32();
  const groups: ConfirmedGroup[] = [];
  for (let i = 0; i < count; i++) {
    const group = groupId(reader.u32());
    groups.push({ group, changedFrom: reader.u64(), summary: readGroupSummary(reader) });
  }
  reader.expectEnd();
  return { isComplete, groups };
}

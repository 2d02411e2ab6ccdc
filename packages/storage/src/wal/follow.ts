/** What each record does to the state of its group, entries excepted: for the writer. */
import { assert, InvariantViolation, logIndex, unreachable } from '@holdfast/base';
import type { WalRecord } from './record.ts';
import type { GroupSummary } from './record-payload.ts';
import { decodeHardState, decodeSnapshot } from './record-payload.ts';

/** The summary after `record`. */
export function followRecord(before: GroupSummary, record: WalRecord): GroupSummary {
  const { type, index, term } = record;
  switch (type) {
    case 'hardState':
      return { ...before, hardState: decodeHardState(record.payload) };
    case 'truncate':
      return { ...before, lastIndex: logIndex(index - 1), ...nameAt(before, index - 1) };
    case 'entry':
      assert(index === before.lastIndex + 1, 'entry must continue the log', {
        group: record.group,
        index,
        lastIndex: before.lastIndex,
      });
      return { ...before, lastIndex: index, lastTerm: term, lastSum: record.sum.slice() };
    case 'repair':
      if (index !== before.lastIndex) return before;
      return { ...before, lastTerm: term, lastSum: record.sum.slice() };
    case 'snapshot': {
      const base = { index, term, sum: record.sum.slice() };
      const snapshot = decodeSnapshot(base, record.payload);
      const last = { lastIndex: index, lastTerm: term, lastSum: base.sum };
      return { ...before, base, ...last, snapshot };
    }
    case 'base':
      return { ...before, base: { index, term, sum: record.sum.slice() } };
    case 'fileState':
      throw new InvariantViolation('file state is written by the writer only');
    default:
      return unreachable(type);
  }
}

/** After a truncation the last entry is one whose sum only the index knows. */
function nameAt(before: GroupSummary, index: number): Pick<GroupSummary, 'lastTerm' | 'lastSum'> {
  const { base, lastIndex, lastTerm, lastSum } = before;
  if (index === lastIndex) return { lastTerm, lastSum };
  if (index === base.index) return { lastTerm: base.term, lastSum: base.sum };
  return { lastTerm: null, lastSum: null };
}

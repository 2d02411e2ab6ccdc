/** The rules an append must keep, as assertions: breaking one is a bug of the caller. */
import type { Entry, GroupId, HardState } from '@holdfast/base';
import { assert } from '@holdfast/base';
import type { LogAppend } from './types.ts';

/** What the newest append of a group, durable or not, leaves behind. */
export interface AppendTail {
  lastIndex: number;
  hardState: HardState | null;
}

/** Asserts that `append` continues the group's log; returns the tail after it. */
export function checkAppend(
  append: LogAppend,
  tail: AppendTail,
  baseIndex: number,
): { readonly lastIndex: number; readonly hardState: HardState | null } {
  const { group, snapshot, truncateFrom, entries } = append;
  let lastIndex = snapshot?.index ?? tail.lastIndex;
  const base = snapshot?.index ?? baseIndex;
  if (truncateFrom !== null) {
    assert(truncateFrom > base && truncateFrom <= lastIndex + 1, 'truncation must be in the log', {
      group,
      truncateFrom,
      base,
      lastIndex,
    });
    lastIndex = truncateFrom - 1;
  }
  lastIndex = checkEntries(entries, lastIndex, group);
  const hardState = append.hardState ?? tail.hardState;
  checkHardState(append, tail.hardState);
  return { lastIndex, hardState };
}

function checkEntries(entries: readonly Entry[], lastIndex: number, group: GroupId): number {
  let last = lastIndex;
  for (const entry of entries) {
    assert(entry.index === last + 1, 'entry must continue the log', {
      group,
      index: entry.index,
      lastIndex: last,
    });
    last = entry.index;
  }
  return last;
}

function checkHardState(append: LogAppend, before: HardState | null): void {
  const { group, hardState } = append;
  const previousTerm = before?.term ?? 0;
  if (!append.mustSync) {
    const isHint = append.entries.length === 0 && append.snapshot === null;
    assert(isHint && append.truncateFrom === null, 'an unsynced append holds no log change', {
      group,
    });
    const isSame =
      hardState === null ||
      (hardState.term === previousTerm && hardState.vote === (before?.vote ?? null));
    assert(isSame, 'an unsynced append must not change term or vote', { group });
  }
  if (hardState === null) return;
  assert(hardState.term >= previousTerm, 'term must not go back', { group, previousTerm });
}

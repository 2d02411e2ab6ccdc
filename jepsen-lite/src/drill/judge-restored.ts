/**
 * Whether a restored state is exactly what was acknowledged up to an index of the old log. Pure.
 * A write whose outcome nobody knows may be there or not; nothing else has a choice.
 */
import type { AcknowledgedWrite, DrillWrite, WorkerStory } from './drill-writer.ts';

export interface RestoredRow {
  readonly id: number;
  readonly value: number;
  /** Index of its last write in the old log. */
  readonly version: number;
}

export interface RestoreVerdict {
  readonly acknowledgedCount: number;
  /** Acknowledged and after the index: lost with the cluster. */
  readonly lostCount: number;
  /** Age of the oldest of them when the cluster was lost; 0 without any. */
  readonly oldestLostAgeMs: number;
  readonly rowCount: number;
  /** In words: what is missing, or there and should not be; empty when all is well. */
  readonly wrong: readonly string[];
}

interface Expected {
  readonly write: AcknowledgedWrite | null;
  readonly unknown: DrillWrite | null;
}

export function judgeRestored(
  stories: readonly WorkerStory[],
  rows: readonly RestoredRow[],
  restored: { readonly index: number; readonly lostAtMs: number },
): RestoreVerdict {
  const acknowledged = stories.flatMap((story) => story.acknowledged);
  const lost = acknowledged.filter(({ index }) => index > restored.index);
  const oldestMs = lost.reduce((oldest, one) => Math.min(oldest, one.acknowledgedAtMs), Infinity);
  return {
    acknowledgedCount: acknowledged.length,
    lostCount: lost.length,
    oldestLostAgeMs: lost.length === 0 ? 0 : Math.max(0, restored.lostAtMs - oldestMs),
    rowCount: rows.length,
    wrong: differences(expectedRows(stories, restored.index), rows, restored.index),
  };
}

/** By id: the last write that counts, and one that may have followed it. */
function expectedRows(
  stories: readonly WorkerStory[],
  index: number,
): ReadonlyMap<number, Expected> {
  const expected = new Map<number, Expected>();
  for (const { acknowledged, unknown } of stories) {
    for (const write of acknowledged) {
      if (write.index <= index) expected.set(write.id, { write, unknown: null });
    }
    if (unknown === null) continue;
    expected.set(unknown.id, { write: expected.get(unknown.id)?.write ?? null, unknown });
  }
  return expected;
}

function differences(
  expected: ReadonlyMap<number, Expected>,
  rows: readonly RestoredRow[],
  index: number,
): readonly string[] {
  const wrong: string[] = [];
  const byId = new Map(rows.map((row) => [row.id, row]));
  if (byId.size !== rows.length) wrong.push('an id is there more than once');
  for (const row of rows) {
    if (!expected.has(row.id)) wrong.push(`id ${row.id} is there and was not written by then`);
    if (row.version > index) wrong.push(`id ${row.id} has version ${row.version}, after ${index}`);
  }
  for (const [id, { unknown, write }] of expected) {
    const row = byId.get(id) ?? null;
    const isWritten =
      write === null || write.value === null
        ? row === null
        : row?.value === write.value && row.version === write.index;
    // It came after all acknowledged writes of its id.
    const isLater = row === null || row.version > (write?.index ?? 0);
    const isUnknown = unknown !== null && isLater && (row?.value ?? null) === unknown.value;
    if (!isWritten && !isUnknown) wrong.push(`id ${id}: ${describe(row)}, not ${wanted(write)}`);
  }
  return wrong;
}

const describe = (row: RestoredRow | null): string =>
  row === null ? 'nothing' : `value ${row.value} of index ${row.version}`;

const wanted = (write: AcknowledgedWrite | null): string =>
  write === null || write.value === null ? 'nothing' : `value ${write.value} of ${write.index}`;

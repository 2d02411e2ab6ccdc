/** The columns of a page, ready to draw: absolute times, and the operations of each lane. Pure. */
import type { OperationColumns, PageData, PageOutcome } from './page-data.ts';

export interface Operations {
  readonly count: number;
  readonly beginsMs: Float64Array;
  /** When the client was told or gave up; the end of the run when never. */
  readonly endsMs: Float64Array;
  readonly isEndTold: (position: number) => boolean;
  /** How late it began. */
  readonly delayMsOf: (position: number) => number;
  readonly lanes: Int32Array;
  readonly processIds: readonly number[];
  readonly outcomeOf: (position: number) => PageOutcome;
  readonly textOf: (position: number) => string;
  /** Empty: none. */
  readonly errorOf: (position: number) => string;
  /** Positions, in the order of begin; a lane runs one operation at a time. */
  readonly byLane: readonly Int32Array[];
  readonly byOutcome: Readonly<Record<PageOutcome, Int32Array>>;
}

const UNITS_PER_MS = 100;

export function decodeOperations(page: PageData): Operations {
  const { endMs, laneNames, operations, texts } = page;
  const count = operations.processIds.length;
  const beginsMs = new Float64Array(count);
  const endsMs = new Float64Array(count);
  let begin = 0;
  for (let i = 0; i < count; i++) {
    begin += operations.beginSteps[i] ?? 0;
    const length = operations.lengths[i] ?? 0;
    beginsMs[i] = begin / UNITS_PER_MS;
    endsMs[i] = length < 0 ? endMs : (begin + length) / UNITS_PER_MS;
  }
  const outcomeOf = (position: number): PageOutcome => outcomeAt(operations, position);
  return {
    ...{ count, beginsMs, endsMs, outcomeOf },
    isEndTold: (position) => (operations.lengths[position] ?? 0) >= 0,
    delayMsOf: (position) => (operations.delays[position] ?? 0) / UNITS_PER_MS,
    lanes: Int32Array.from(operations.lanes),
    processIds: operations.processIds,
    textOf: (position) => texts[operations.textIds[position] ?? 0] ?? '',
    errorOf: (position) => texts[operations.errorIds[position] ?? 0] ?? '',
    byLane: groups(operations.lanes, laneNames.length),
    byOutcome: {
      ok: where(count, (i) => outcomeOf(i) === 'ok'),
      fail: where(count, (i) => outcomeOf(i) === 'fail'),
      info: where(count, (i) => outcomeOf(i) === 'info'),
    },
  };
}

function outcomeAt(operations: OperationColumns, position: number): PageOutcome {
  switch (operations.outcomes[position]) {
    case 'o':
      return 'ok';
    case 'f':
      return 'fail';
    default:
      return 'info';
  }
}

function groups(lanes: readonly number[], laneCount: number): readonly Int32Array[] {
  const lists = Array.from({ length: laneCount }, (): number[] => []);
  lanes.forEach((lane, position) => {
    lists[lane]?.push(position);
  });
  return lists.map((list) => Int32Array.from(list));
}

function where(count: number, isIn: (position: number) => boolean): Int32Array {
  const list: number[] = [];
  for (let i = 0; i < count; i++) if (isIn(i)) list.push(i);
  return Int32Array.from(list);
}

/**
 * The operation of a lane at `timeMs`, or the nearest one not further than `toleranceMs`; -1: none.
 */
export function operationAt(
  operations: Operations,
  lane: number,
  timeMs: number,
  toleranceMs: number,
): number {
  const list = operations.byLane[lane];
  if (list === undefined || list.length === 0) return -1;
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((operations.beginsMs[list[middle] ?? 0] ?? 0) <= timeMs) low = middle + 1;
    else high = middle;
  }
  let best = -1;
  let bestMs = toleranceMs;
  for (const at of [low - 1, low]) {
    const position = list[at];
    if (position === undefined) continue;
    const beforeMs = (operations.beginsMs[position] ?? 0) - timeMs;
    const afterMs = timeMs - (operations.endsMs[position] ?? 0);
    const awayMs = Math.max(0, beforeMs, afterMs);
    if (awayMs > bestMs) continue;
    best = position;
    bestMs = awayMs;
  }
  return best;
}

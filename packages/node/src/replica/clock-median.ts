/**
 * The wall clock that a quorum of voters agrees on, and how far ours is from it. Pure: offsets are
 * what other nodes told in handshakes and pings, minus our own wall clock.
 *
 * The lower of two middle clocks counts: a clock that is ahead cannot be undone, one that is behind
 * only makes time stand for a moment.
 */
import type { NodeId } from '@holdfast/base';

/** Further from the median than this a clock is wrong: no network delay explains it. */
export const CLOCK_SKEW_MS_MAX = 10_000;
/** Two clocks that differ do not say which is wrong. */
const JUDGE_COUNT_MIN = 3;

export interface ClockView {
  readonly voters: readonly NodeId[];
  readonly self: NodeId;
  /** Theirs minus ours, of the nodes heard from lately. */
  readonly offsetsMs: ReadonlyMap<NodeId, number>;
}

/** Median minus our wall clock; null when the clocks of fewer than a quorum are known. */
export function medianOffsetMs(view: ClockView): number | null {
  const known = knownOffsets(view);
  if (known.length <= view.voters.length / 2) return null;
  return median(known);
}

/** Our wall clock minus the median; null when too few clocks are known to judge any. */
export function ownSkewMs(view: ClockView): number | null {
  const known = knownOffsets(view);
  if (known.length < JUDGE_COUNT_MIN || known.length <= view.voters.length / 2) return null;
  return -median(known);
}

/** Of `id`, by what we know: within the limit of the median. */
export function isClockRight(view: ClockView, id: NodeId): boolean {
  const medianMs = medianOffsetMs(view);
  const offsetMs = id === view.self ? 0 : view.offsetsMs.get(id);
  if (medianMs === null || offsetMs === undefined) return false;
  return Math.abs(offsetMs - medianMs) <= CLOCK_SKEW_MS_MAX;
}

function knownOffsets({ voters, self, offsetsMs }: ClockView): number[] {
  const known: number[] = [];
  for (const id of voters) {
    const offsetMs = id === self ? 0 : offsetsMs.get(id);
    if (offsetMs !== undefined) known.push(offsetMs);
  }
  return known.sort((left, right) => left - right);
}

const median = (sorted: readonly number[]): number => sorted[Math.floor((sorted.length - 1) / 2)]!;

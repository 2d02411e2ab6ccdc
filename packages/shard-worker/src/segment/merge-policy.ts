/**
 * When sealed segments are merged: a pure function of the shard's logical segment list, asked once
 * after each entry that touched the shard. Because it looks at nothing else, every replica merges
 * the same segments at the same entry, whatever it has on disk.
 *
 * Two reasons. *Dead rows*: a segment that lost a third of its rows is written anew without them,
 * so that a file never wastes more than that and each rewrite of two live rows frees a dead one.
 * *Many small ones*: eight neighbours below a quarter of the sealing limits become one, so that the
 * list stays short when sealed parts hold few live rows. Neighbours only: rows keep their order.
 *
 * The numbers are part of the format, not settings: replicas with other numbers would list other
 * segments. They may change only together with something that the log says.
 */

/** What the policy knows of one segment. */
export interface MergeCandidate {
  /** Rows in the file. */
  readonly rowCount: number;
  readonly deadRowCount: number;
  /** Bytes of all its rows, dead ones included. */
  readonly contentSizeBytes: number;
}

export interface SealLimits {
  readonly sealRowCount: number;
  readonly sealSizeBytes: number;
}

/** Neighbours in the list. */
export interface MergeRun {
  readonly first: number;
  readonly count: number;
}

/** A segment is rewritten once one of so many rows is dead. */
const DEAD_ROW_DIVISOR = 3;
/** Small: below this part of both sealing limits. */
const SMALL_DIVISOR = 4;
const SMALL_RUN_COUNT = 8;

/** True when the segment alone is a reason to merge. */
const hasManyDead = ({ rowCount, deadRowCount }: MergeCandidate): boolean =>
  deadRowCount * DEAD_ROW_DIVISOR >= rowCount;

/** The neighbours to merge now, or null. Segments without a live row must have left the list. */
export function decideMerge(list: readonly MergeCandidate[], limits: SealLimits): MergeRun | null {
  const dead = list.findIndex(hasManyDead);
  if (dead >= 0) return growRun(list, limits, dead);
  return findSmallRun(list, limits);
}

/** Takes small neighbours along while the output stays within one segment. */
function growRun(list: readonly MergeCandidate[], limits: SealLimits, start: number): MergeRun {
  let first = start;
  let end = start + 1;
  const total = new RunSize(limits);
  total.add(list[start]!);
  const fits = (candidate: MergeCandidate | undefined): boolean =>
    candidate !== undefined && isSmall(candidate, limits) && total.hasRoomFor(candidate);
  while (fits(list[end])) {
    total.add(list[end]!);
    end += 1;
  }
  while (fits(list[first - 1])) {
    total.add(list[first - 1]!);
    first -= 1;
  }
  return { first, count: end - first };
}

function findSmallRun(list: readonly MergeCandidate[], limits: SealLimits): MergeRun | null {
  let first = 0;
  for (let i = 0; i <= list.length; i++) {
    const candidate = list[i];
    if (candidate !== undefined && isSmall(candidate, limits)) continue;
    if (i - first >= SMALL_RUN_COUNT) return { first, count: fittingCount(list, limits, first, i) };
    first = i + 1;
  }
  return null;
}

/** At least two: each is below a quarter of the limits. */
function fittingCount(
  list: readonly MergeCandidate[],
  limits: SealLimits,
  first: number,
  end: number,
): number {
  const total = new RunSize(limits);
  let count = 0;
  while (first + count < end && total.hasRoomFor(list[first + count]!)) {
    total.add(list[first + count]!);
    count += 1;
  }
  return count;
}

const isSmall = (candidate: MergeCandidate, limits: SealLimits): boolean =>
  liveRowCount(candidate) * SMALL_DIVISOR < limits.sealRowCount &&
  liveSizeBytes(candidate) * SMALL_DIVISOR < limits.sealSizeBytes;

const liveRowCount = ({ rowCount, deadRowCount }: MergeCandidate): number =>
  rowCount - deadRowCount;

/** As if all rows had one size: exact enough for a decision, and equal everywhere. */
const liveSizeBytes = (candidate: MergeCandidate): number =>
  Math.floor((candidate.contentSizeBytes * liveRowCount(candidate)) / candidate.rowCount);

/** How large the output of a run would be. */
class RunSize {
  readonly #limits: SealLimits;
  #rowCount = 0;
  #sizeBytes = 0;

  constructor(limits: SealLimits) {
    this.#limits = limits;
  }

  add(candidate: MergeCandidate): void {
    this.#rowCount += liveRowCount(candidate);
    this.#sizeBytes += liveSizeBytes(candidate);
  }

  hasRoomFor(candidate: MergeCandidate): boolean {
    return (
      this.#rowCount + liveRowCount(candidate) <= this.#limits.sealRowCount &&
      this.#sizeBytes + liveSizeBytes(candidate) <= this.#limits.sealSizeBytes
    );
  }
}

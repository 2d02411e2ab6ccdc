/**
 * What the indexes know about a filter: a set of rows that holds every match, and whether all of it
 * matches. Conditions without an index leave the set as it is and make it inexact.
 */
import type { PointId } from '../model.ts';
import type { Filter, FilterCondition, KeyCondition } from './filter.ts';
import { isIdCondition, isKeyCondition } from './filter.ts';
import type { PayloadIndexes } from './payload-indexes.ts';
import type { RowBitmap } from './row-bitmap.ts';

export interface Candidates {
  readonly rows: RowBitmap;
  /** True: these are the matches. False: each must still be tested. */
  readonly isExact: boolean;
}

export interface CandidateSource {
  readonly indexes: PayloadIndexes;
  emptySet(): RowBitmap;
  liveSet(): RowBitmap;
  /** Live rows of these ids. */
  rowsOf(ids: readonly PointId[]): readonly number[];
}

/**
 * A condition so much wider than another that must hold too is not worth its bits: testing the few
 * payloads is cheaper. A payload is read in about 200 ns, a bit is set in 2 to 3.
 */
const WIDER_FACTOR = 64;

/** Null when no index helps. */
export function candidatesOf(filter: Filter, source: CandidateSource): Candidates | null {
  const required = requiredSets(filter, source);
  const excluded = (filter.must_not ?? []).map((condition) => ofCondition(condition, source));
  const known = required.filter((found) => found !== null);
  // Only rows that certainly match a must_not may go.
  const removable = excluded.filter((found) => found?.isExact === true) as readonly Candidates[];
  const [first, ...others] = known;
  if (first === undefined && removable.length === 0) return null;
  const rows = first?.rows ?? source.liveSet();
  for (const other of others) rows.keepOnly(other.rows);
  for (const other of removable) rows.removeAll(other.rows);
  const isExact =
    known.length === required.length &&
    known.every((found) => found.isExact) &&
    removable.length === excluded.length;
  return { rows, isExact };
}

/** One for each thing that must hold; null where the indexes say nothing. */
function requiredSets(filter: Filter, source: CandidateSource): readonly (Candidates | null)[] {
  const musts = filter.must ?? [];
  const widest = WIDER_FACTOR * smallestEstimate(musts, source);
  const sets = musts.map((condition) => {
    const isTooWide = isKeyCondition(condition) && estimateOf(condition, source) > widest;
    return isTooWide ? null : ofCondition(condition, source);
  });
  return filter.should === undefined ? sets : [...sets, unionOf(filter.should, source)];
}

function ofCondition(condition: FilterCondition, source: CandidateSource): Candidates | null {
  if (isKeyCondition(condition)) {
    const index = source.indexes.find(condition);
    if (index === null) return null;
    const rows = source.emptySet();
    index.collect(condition, rows);
    return { rows, isExact: true };
  }
  if (!isIdCondition(condition)) return candidatesOf(condition, source);
  const rows = source.emptySet();
  for (const row of source.rowsOf(condition.has_id)) rows.add(row);
  return { rows, isExact: true };
}

/** Null as soon as one of the alternatives is unknown: it may hold anywhere. */
function unionOf(
  conditions: readonly FilterCondition[],
  source: CandidateSource,
): Candidates | null {
  const rows = source.emptySet();
  let isExact = true;
  for (const condition of conditions) {
    const found = ofCondition(condition, source);
    if (found === null) return null;
    rows.addAll(found.rows);
    isExact &&= found.isExact;
  }
  return { rows, isExact };
}

const estimateOf = (condition: KeyCondition, source: CandidateSource): number =>
  source.indexes.find(condition)?.estimate(condition) ?? Number.POSITIVE_INFINITY;

/** Infinity when no condition has an estimate. */
function smallestEstimate(conditions: readonly FilterCondition[], source: CandidateSource): number {
  let smallest = Number.POSITIVE_INFINITY;
  for (const condition of conditions) {
    if (isKeyCondition(condition)) smallest = Math.min(smallest, estimateOf(condition, source));
    else if (isIdCondition(condition)) smallest = Math.min(smallest, condition.has_id.length);
  }
  return Math.max(1, smallest);
}

/**
 * What a filter means, as a test of one point. Everything else (indexes, bitmaps, the planner) only
 * makes it cheaper to ask and must agree with it.
 *
 * A path leads to any number of values, because it goes through arrays into every element; a match
 * or a range holds when it holds for at least one of them. Values of another sort than the
 * condition compares never hold: no text is read as a number, no number as text.
 */
import { assert, must, parseInstant, unreachable } from '@holdfast/base';
import type { PointId } from '../model.ts';
import type {
  Filter,
  FilterCondition,
  FilterMatch,
  FilterRange,
  FilterValue,
  KeyCondition,
  NumericRange,
} from './filter.ts';
import { isIdCondition, isKeyCondition } from './filter.ts';
import type { ValueVisitor } from './scan.ts';
import { encodePath, hasBytesAt, someValue } from './scan.ts';
import {
  encodeScalar,
  instantAt,
  isNull,
  isScalar,
  numberAt,
  scalarToken,
  tokenOfValue,
} from './token.ts';

/** `payload` is null for a point without one: no path leads anywhere in it. */
export type PointTest = (payload: Uint8Array | null, row: number) => boolean;

/** Rows of these ids as a test of a row: ids are resolved once, not compared per row. */
export type IdResolver = (ids: readonly PointId[]) => (row: number) => boolean;

export function compileFilter(filter: Filter, resolveIds: IdResolver): PointTest {
  const compileList = (list: readonly FilterCondition[] | undefined): PointTest[] =>
    (list ?? []).map((condition) => compileCondition(condition, resolveIds));
  const musts = compileList(filter.must);
  const shoulds = compileList(filter.should);
  const mustNots = compileList(filter.must_not);
  assert(musts.length + shoulds.length + mustNots.length > 0, 'a filter has a condition');
  return (payload, row) => {
    for (const test of musts) if (!test(payload, row)) return false;
    for (const test of mustNots) if (test(payload, row)) return false;
    if (shoulds.length === 0) return true;
    for (const test of shoulds) if (test(payload, row)) return true;
    return false;
  };
}

export function compileCondition(condition: FilterCondition, resolveIds: IdResolver): PointTest {
  if (isKeyCondition(condition)) return compileKeyCondition(condition);
  if (!isIdCondition(condition)) return compileFilter(condition, resolveIds);
  const hasId = resolveIds(condition.has_id);
  return (_payload, row) => hasId(row);
}

function compileKeyCondition(condition: KeyCondition): PointTest {
  const path = encodePath(condition.key);
  const some = (visit: ValueVisitor): PointTest => {
    return (payload) => payload !== null && someValue(payload, path, visit);
  };
  if ('match' in condition) return some(matchVisitor(condition.match));
  if ('range' in condition) return some(rangeVisitor(numericRange(condition.range)));
  if ('exists' in condition)
    return expecting(
      condition.exists,
      some(() => true),
    );
  if ('is_null' in condition) return expecting(condition.is_null, some(isNull));
  return unreachable(condition);
}

const expecting = (expected: boolean, test: PointTest): PointTest =>
  expected ? test : (payload, row) => !test(payload, row);

/** Up to so many values are compared one by one, more are looked up. */
const COMPARED_VALUE_COUNT_MAX = 8;

function matchVisitor(match: FilterMatch): ValueVisitor {
  if ('value' in match) return equalsVisitor([match.value]);
  if ('any' in match) return equalsVisitor(match.any);
  const equals = equalsVisitor(match.except);
  return (bytes, start) => isScalar(bytes, start) && !isNull(bytes, start) && !equals(bytes, start);
}

function equalsVisitor(values: readonly FilterValue[]): ValueVisitor {
  if (values.length > COMPARED_VALUE_COUNT_MAX) {
    const tokens = new Set(values.map(tokenOfValue));
    return (bytes, start) => isScalar(bytes, start) && tokens.has(scalarToken(bytes, start));
  }
  const encoded = values.map(encodeScalar);
  return (bytes, start) => {
    for (const value of encoded) if (equalsAt(bytes, start, value)) return true;
    return false;
  };
}

const COMMA = 0x2c;
const CLOSE_ARRAY = 0x5d;
const CLOSE_OBJECT = 0x7d;

/** A number may be the beginning of a longer one, so what follows must end the value. */
function equalsAt(bytes: Uint8Array, start: number, value: Uint8Array): boolean {
  if (!hasBytesAt(bytes, start, value)) return false;
  const next = bytes[start + value.length];
  return next === COMMA || next === CLOSE_ARRAY || next === CLOSE_OBJECT;
}

export function numericRange(range: FilterRange<number> | FilterRange<string>): NumericRange {
  const { gt, gte, lt, lte } = range;
  const isTime = [gt, gte, lt, lte].some((bound) => typeof bound === 'string');
  const numberOf = (bound: number | string): number =>
    typeof bound === 'number' ? bound : must(parseInstant(bound), 'a bound is a valid time');
  const above = gt === undefined ? Number.NEGATIVE_INFINITY : numberOf(gt);
  const from = gte === undefined ? Number.NEGATIVE_INFINITY : numberOf(gte);
  const below = lt === undefined ? Number.POSITIVE_INFINITY : numberOf(lt);
  const upTo = lte === undefined ? Number.POSITIVE_INFINITY : numberOf(lte);
  return {
    isTime,
    low: Math.max(above, from),
    isLowIncluded: gt === undefined || from > above,
    high: Math.min(below, upTo),
    isHighIncluded: lt === undefined || upTo < below,
  };
}

export const isInside = (range: NumericRange, value: number): boolean =>
  (range.isLowIncluded ? value >= range.low : value > range.low) &&
  (range.isHighIncluded ? value <= range.high : value < range.high);

function rangeVisitor(range: NumericRange): ValueVisitor {
  const read = range.isTime ? instantAt : numberAt;
  return (bytes, start) => {
    const value = read(bytes, start);
    return value !== null && isInside(range, value);
  };
}

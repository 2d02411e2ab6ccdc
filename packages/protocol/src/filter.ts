/**
 * The filter language: which points of a collection a read or a delete is about. Plain objects with
 * the same names on the wire, in the client and here. What each clause means is written in
 * docs/FILTERS.md and decided in shard-worker (payload/predicate.ts); here is only its shape.
 *
 * Ambiguous filters are refused, because a delete may depend on them: an empty filter and an empty
 * list of clauses could mean all or nothing.
 */
import { HoldfastError, parseInstant, parseKeyPath } from '@holdfast/base';
import { z } from 'zod';
import type { Draft, Fields } from './check.ts';
import { isFields } from './check.ts';
import {
  FILTER_CLAUSE_COUNT_MAX,
  FILTER_DEPTH_MAX,
  FILTER_KEY_LENGTH_MAX,
  FILTER_LIST_LENGTH_MAX,
  FILTER_TEXT_LENGTH_MAX,
} from './limits.ts';
import type { PointId } from './point-id.ts';
import { isPointIdLike, pointIdAt } from './point-id.ts';

/** What a payload value is compared with. */
export type FilterValue = string | number | boolean;

/** Holds for a value that equals one of these, or, with `except`, for one that equals none. */
export type FilterMatch =
  | { readonly value: FilterValue }
  | { readonly any: readonly FilterValue[] }
  | { readonly except: readonly FilterValue[] };

/** Numbers, or RFC 3339 times as text; all bounds of one range are of the same sort. */
export interface FilterRange<Bound extends number | string = number | string> {
  readonly gt?: Bound;
  readonly gte?: Bound;
  readonly lt?: Bound;
  readonly lte?: Bound;
}

/** One test of one place in the payload, of the id, or a filter inside a filter. */
export type FilterCondition =
  | { readonly key: string; readonly match: FilterMatch }
  | { readonly key: string; readonly range: FilterRange<number> | FilterRange<string> }
  | { readonly key: string; readonly exists: boolean }
  | { readonly key: string; readonly is_null: boolean }
  | { readonly has_id: readonly PointId[] }
  | Filter;

/** All of `must`, at least one of `should`, none of `must_not`. At least one list is given. */
export interface Filter {
  readonly must?: readonly FilterCondition[];
  readonly should?: readonly FilterCondition[];
  readonly must_not?: readonly FilterCondition[];
}

const LISTS = ['must', 'should', 'must_not'] as const;
const TESTS = ['match', 'range', 'exists', 'is_null'] as const;
const MATCHES = ['value', 'any', 'except'] as const;
const BOUNDS = ['gt', 'gte', 'lt', 'lte'] as const;

export const filterSchema = z
  .custom<Filter>((value) => {
    try {
      checkFilter(value);
      return true;
    } catch (thrown) {
      if (thrown instanceof HoldfastError) return false;
      throw thrown;
    }
  })
  .describe(
    'Map of must, should, must_not: lists of conditions (match, range, exists, is_null of a key; ' +
      'has_id; a filter). See FILTERS.md.',
  );

/** Clauses left to this filter. */
interface Budget {
  clausesLeft: number;
}

/**
 * A checked copy of `value`: the caller may change its objects afterwards.
 * @throws HoldfastError FILTER_INVALID naming the clause, for example `filter.must[0].range.gte`
 */
export function checkFilter(value: unknown, path = 'filter'): Filter {
  return filterAt(value, path, 1, { clausesLeft: FILTER_CLAUSE_COUNT_MAX });
}

export function filterInto(draft: { filter?: Filter }, fields: Fields): void {
  if (fields.filter !== undefined) draft.filter = checkFilter(fields.filter);
}

function filterAt(value: unknown, path: string, depth: number, budget: Budget): Filter {
  const fields = mapAt(value, path, 'a map of must, should, must_not');
  refuseOthers(fields, LISTS, path);
  if (depth > FILTER_DEPTH_MAX) {
    throw refuse(path, `is nested deeper than ${FILTER_DEPTH_MAX} levels; flatten it`);
  }
  const filter: Draft<Filter> = {};
  for (const name of LISTS) {
    const list = fields[name];
    if (list !== undefined) filter[name] = conditionsAt(list, `${path}.${name}`, depth, budget);
  }
  if (Object.keys(filter).length > 0) return filter;
  throw refuse(path, 'must have one of must, should, must_not; to mean all, leave the filter out');
}

function conditionsAt(
  value: unknown,
  path: string,
  depth: number,
  budget: Budget,
): FilterCondition[] {
  if (!Array.isArray(value)) throw refuse(path, 'must be a list of conditions');
  if (value.length === 0) throw refuse(path, 'must have a condition; leave an empty list out');
  budget.clausesLeft -= value.length;
  if (budget.clausesLeft < 0) {
    throw refuse(
      path,
      `makes more than ${FILTER_CLAUSE_COUNT_MAX} clauses; use match.any or has_id`,
    );
  }
  return value.map((each, i) => conditionAt(each, `${path}[${i}]`, depth, budget));
}

function conditionAt(value: unknown, path: string, depth: number, budget: Budget): FilterCondition {
  const fields = mapAt(value, path, 'a condition: a key with a test, has_id, or a filter');
  if (fields.key !== undefined) return keyConditionAt(fields, path);
  if (fields.has_id === undefined) return filterAt(fields, path, depth + 1, budget);
  refuseOthers(fields, ['has_id'], path);
  return { has_id: listAt(fields.has_id, `${path}.has_id`, idAt) };
}

function keyConditionAt(fields: Fields, path: string): FilterCondition {
  const key = keyPathAt(fields.key, `${path}.key`);
  refuseOthers(fields, ['key', ...TESTS], path);
  const test = onlyOne(fields, TESTS, path);
  const testPath = `${path}.${test}`;
  switch (test) {
    case 'match':
      return { key, match: matchAt(fields.match, testPath) };
    case 'range':
      return { key, range: rangeAt(fields.range, testPath) };
    case 'exists':
      return { key, exists: flagAt(fields.exists, testPath) };
    case 'is_null':
      return { key, is_null: flagAt(fields.is_null, testPath) };
  }
}

/** @throws HoldfastError FILTER_INVALID; the keys of payload indexes are judged here too */
export function keyPathAt(value: unknown, path: string): string {
  if (typeof value !== 'string' || value.length > FILTER_KEY_LENGTH_MAX) {
    throw refuse(path, `must be text of at most ${FILTER_KEY_LENGTH_MAX} characters`);
  }
  if (parseKeyPath(value) !== null) return value;
  throw refuse(path, 'must be keys joined by dots; write \\. and \\\\ for . and \\ inside a key');
}

function matchAt(value: unknown, path: string): FilterMatch {
  const fields = mapAt(value, path, 'a map with value, any or except');
  refuseOthers(fields, MATCHES, path);
  const kind = onlyOne(fields, MATCHES, path);
  switch (kind) {
    case 'value':
      return { value: valueAt(fields.value, () => `${path}.value`) };
    case 'any':
      return { any: listAt(fields.any, `${path}.any`, valueAt) };
    case 'except':
      return { except: listAt(fields.except, `${path}.except`, valueAt) };
  }
}

/** Paths of items are made only when they are needed: a list may have a thousand. */
type Where = () => string;

function listAt<Value>(
  value: unknown,
  path: string,
  check: (each: unknown, where: Where) => Value,
): Value[] {
  if (!Array.isArray(value)) throw refuse(path, 'must be a list');
  if (value.length > FILTER_LIST_LENGTH_MAX) {
    const found = `has ${value.length} values, at most ${FILTER_LIST_LENGTH_MAX} are allowed`;
    throw refuse(path, `${found}; use several lists under should`);
  }
  return value.map((each, i) => check(each, () => `${path}[${i}]`));
}

function idAt(value: unknown, where: Where): PointId {
  if (isPointIdLike(value)) return pointIdAt(value, '');
  throw refuse(where(), 'must be an unsigned integer up to 2^53 - 1 or a UUID string');
}

function valueAt(value: unknown, where: Where): FilterValue {
  if (typeof value === 'boolean') return value;
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  if (typeof value !== 'string') {
    throw refuse(where(), 'must be text, a finite number, true or false; for null use is_null');
  }
  if (value.length <= FILTER_TEXT_LENGTH_MAX) return value;
  throw refuse(where(), `must be text of at most ${FILTER_TEXT_LENGTH_MAX} characters`);
}

function rangeAt(value: unknown, path: string): FilterRange<number> | FilterRange<string> {
  const fields = mapAt(value, path, 'a map of gt, gte, lt, lte');
  refuseOthers(fields, BOUNDS, path);
  const range: Record<string, number | string> = {};
  for (const name of BOUNDS) {
    if (fields[name] !== undefined) range[name] = boundAt(fields[name], `${path}.${name}`);
  }
  const sorts = new Set(Object.values(range).map((bound) => typeof bound));
  if (sorts.size === 0) throw refuse(path, 'must have at least one of gt, gte, lt, lte');
  if (sorts.size > 1) throw refuse(path, 'must have bounds of one sort: all numbers or all times');
  return range as FilterRange<number> | FilterRange<string>;
}

function boundAt(value: unknown, path: string): number | string {
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  if (typeof value === 'string' && parseInstant(value) !== null) return value;
  throw refuse(path, 'must be a finite number or an RFC 3339 time such as 2024-05-01T12:00:00Z');
}

function flagAt(value: unknown, path: string): boolean {
  if (typeof value !== 'boolean') throw refuse(path, 'must be true or false');
  return value;
}

function mapAt(value: unknown, path: string, what: string): Fields {
  if (!isFields(value)) throw refuse(path, `must be ${what}`);
  return value;
}

function onlyOne<Name extends string>(fields: Fields, names: readonly Name[], path: string): Name {
  const [name, ...others] = names.filter((each) => fields[each] !== undefined);
  if (name !== undefined && others.length === 0) return name;
  throw refuse(path, `must have exactly one of ${names.join(', ')}; use a clause for each`);
}

function refuseOthers(fields: Fields, known: readonly string[], path: string): void {
  for (const key of Object.keys(fields)) {
    if (fields[key] === undefined || known.includes(key)) continue;
    throw refuse(path, `has an unknown field '${clip(key)}'; known here are ${known.join(', ')}`);
  }
}

const clip = (text: string): string => (text.length <= 100 ? text : `${text.slice(0, 100)}...`);

const refuse = (path: string, what: string): HoldfastError =>
  new HoldfastError('FILTER_INVALID', `${path}: ${what}`, { details: { path } });

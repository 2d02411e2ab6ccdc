/**
 * What a filter means, over decoded payloads and in the plainest words: the model that the byte
 * scanner, the indexes and the planner are compared with. Shares no code with them.
 */
import type { PointId } from '../model.ts';
import type { Filter, FilterCondition, FilterValue } from '../payload/filter.ts';

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

export interface FilteredPoint {
  readonly id: PointId;
  /** JSON text, null when the point has none. */
  readonly payload: string | null;
}

export function matchesFilter(filter: Filter, point: FilteredPoint): boolean {
  const holds = (condition: FilterCondition): boolean => matchesCondition(condition, point);
  const { must, should, must_not } = filter;
  return (
    (must ?? []).every(holds) &&
    (should === undefined || should.some(holds)) &&
    !(must_not ?? []).some(holds)
  );
}

function matchesCondition(condition: FilterCondition, point: FilteredPoint): boolean {
  if ('has_id' in condition) return condition.has_id.includes(point.id);
  if (!('key' in condition)) return matchesFilter(condition, point);
  const root: Json = point.payload === null ? {} : (JSON.parse(point.payload) as Json);
  const found = valuesAt(root, splitPath(condition.key));
  if ('exists' in condition) return found.length > 0 === condition.exists;
  const elements = found.flatMap(flatten);
  if ('is_null' in condition) return elements.includes(null) === condition.is_null;
  const scalars = elements.filter((each) => ['string', 'number', 'boolean'].includes(typeof each));
  if ('match' in condition) {
    const { match } = condition;
    if ('value' in match) return scalars.includes(match.value);
    if ('any' in match) return scalars.some((each) => match.any.includes(each as FilterValue));
    return scalars.some((each) => !match.except.includes(each as FilterValue));
  }
  const { gt, gte, lt, lte } = condition.range;
  const isTime = [gt, gte, lt, lte].some((bound) => typeof bound === 'string');
  return scalars.some((each) => {
    const value = isTime ? timeOf(each) : each;
    if (typeof value !== 'number') return false;
    const bound = (raw: number | string | undefined, otherwise: number): number =>
      raw === undefined ? otherwise : isTime ? (timeOf(raw) ?? Number.NaN) : Number(raw);
    return (
      (gt === undefined || value > bound(gt, 0)) &&
      value >= bound(gte, Number.NEGATIVE_INFINITY) &&
      (lt === undefined || value < bound(lt, 0)) &&
      value <= bound(lte, Number.POSITIVE_INFINITY)
    );
  });
}

/** Everything the path leads to; arrays as themselves, not taken apart at the end. */
function valuesAt(value: Json, path: readonly string[]): readonly Json[] {
  const [key, ...rest] = path;
  if (key === undefined) return [value];
  if (Array.isArray(value)) return value.flatMap((each: Json) => valuesAt(each, path));
  if (typeof value !== 'object' || value === null) return [];
  const members = value as { readonly [key: string]: Json };
  return Object.hasOwn(members, key) ? valuesAt(members[key] ?? null, rest) : [];
}

const flatten = (value: Json): readonly Json[] =>
  Array.isArray(value) ? value.flatMap(flatten) : [value];

const splitPath = (path: string): readonly string[] =>
  (path.match(/(?:\\.|[^\\.])+/g) ?? []).map((key) => key.replaceAll(/\\(.)/g, '$1'));

/** Milliseconds; only for the times that tests use, which have no finer digits. */
function timeOf(value: unknown): number | null {
  const isTime = typeof value === 'string' && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/.test(value);
  const time = isTime ? Date.parse(value) : Number.NaN;
  return Number.isNaN(time) ? null : time;
}

/**
 * The filter language as lanes know it. Validated at the edge by the protocol package, whose type
 * is the same; docs/FILTERS.md says what every clause means.
 */
import type { PointId } from '../model.ts';

export type FilterValue = string | number | boolean;

export type FilterMatch =
  | { readonly value: FilterValue }
  | { readonly any: readonly FilterValue[] }
  | { readonly except: readonly FilterValue[] };

/** Bounds are all numbers or all RFC 3339 times. */
export interface FilterRange<Bound extends number | string = number | string> {
  readonly gt?: Bound;
  readonly gte?: Bound;
  readonly lt?: Bound;
  readonly lte?: Bound;
}

export type KeyCondition =
  | { readonly key: string; readonly match: FilterMatch }
  | { readonly key: string; readonly range: FilterRange<number> | FilterRange<string> }
  | { readonly key: string; readonly exists: boolean }
  | { readonly key: string; readonly is_null: boolean };

export interface IdCondition {
  readonly has_id: readonly PointId[];
}

export type FilterCondition = KeyCondition | IdCondition | Filter;

/** All of `must`, at least one of `should`, none of `must_not`. */
export interface Filter {
  readonly must?: readonly FilterCondition[];
  readonly should?: readonly FilterCondition[];
  readonly must_not?: readonly FilterCondition[];
}

export const isKeyCondition = (condition: FilterCondition): condition is KeyCondition =>
  'key' in condition;
export const isIdCondition = (condition: FilterCondition): condition is IdCondition =>
  'has_id' in condition;

/** A range as numbers: what is not given is unbounded. */
export interface NumericRange {
  readonly isTime: boolean;
  readonly low: number;
  readonly isLowIncluded: boolean;
  readonly high: number;
  readonly isHighIncluded: boolean;
}

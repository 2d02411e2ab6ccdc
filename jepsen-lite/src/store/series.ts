/** Samples of resources during a run: `series.json`. */
import { isRecord } from './run-facts.ts';

export interface Series {
  /** What is measured: 'rss', 'descriptors', 'event loop lag'. One chart per name. */
  readonly name: string;
  readonly unit: string;
  /** Of whom: one line per owner. */
  readonly owner: string;
  /** Milliseconds since the start of the run, and the value; in the order of time. */
  readonly points: readonly (readonly [timeMs: number, value: number])[];
}

/** Sixteen figures of seven nodes, once a second for an hour, and room. */
export const SERIES_POINT_COUNT_MAX = 500_000;

/** Null: not what this version writes. */
export function parseSeries(value: unknown): readonly Series[] | null {
  if (!Array.isArray(value)) return null;
  const isPoint = (point: unknown): boolean =>
    Array.isArray(point) && point.length === 2 && point.every((one) => typeof one === 'number');
  const isSeries = (one: unknown): boolean =>
    isRecord(one) &&
    [one.name, one.unit, one.owner].every((text) => typeof text === 'string') &&
    Array.isArray(one.points) &&
    one.points.every(isPoint);
  return value.every(isSeries) ? (value as readonly Series[]) : null;
}

/**
 * Memory, descriptors and event-loop lag of the nodes, sampled during a run: none may pass its
 * peak, and at the end none may have kept more than so much over the beginning. A node that was
 * restarted begins small, so only growth that is there at the end counts.
 */
import type { Series } from '../store/series.ts';
import { invalid, unknown, type Verdict, valid } from './verdict.ts';

export interface ResourceLimits {
  /** No sample may be above. */
  readonly peakMax?: number;
  /** The middle sample of the last tenth of the run may be so much above that of the first. */
  readonly growthMax?: number;
}

/** By name of the series. */
export type ResourceLimitsByName = Readonly<Record<string, ResourceLimits>>;

/** Names of the series that the runner samples. */
export const RSS_SERIES = 'rss';
export const DESCRIPTORS_SERIES = 'descriptors';
export const LAG_SERIES = 'event loop lag';

/** In MiB and descriptors: what a run without hostile clients may cost. */
export const RESOURCE_LIMITS: ResourceLimitsByName = {
  [RSS_SERIES]: { growthMax: 300 },
  [DESCRIPTORS_SERIES]: { growthMax: 64 },
};

/** Fewer samples have no beginning and no end. */
const SAMPLE_COUNT_MIN = 10;

export function judgeResources(
  series: readonly Series[],
  limits: ResourceLimitsByName = RESOURCE_LIMITS,
): Verdict {
  const problems: { owner: string; name: string; what: string; timeMs: number; value: number }[] =
    [];
  const figures: Record<string, number> = {};
  const noteMost = (name: string, value: number): void => {
    figures[name] = Math.round(Math.max(figures[name] ?? -Infinity, value));
  };
  for (const [name, limit] of Object.entries(limits)) {
    const own = series.filter((one) => one.name === name);
    if (own.length === 0) return unknown(`${name} was not sampled`);
    for (const { owner, points } of own) {
      if (points.length < SAMPLE_COUNT_MIN) {
        return unknown(`${name} of ${owner} has only ${points.length} samples`);
      }
      const peak = points.reduce((max, point) => (point[1] > max[1] ? point : max), points[0]!);
      const growth = growthOf(points);
      noteMost(`${name} peak`, peak[1]);
      noteMost(`${name} growth`, growth);
      const [lastMs] = points.at(-1)!;
      if (peak[1] > (limit.peakMax ?? Infinity)) {
        problems.push({ owner, name, what: 'peak', timeMs: peak[0], value: peak[1] });
      }
      if (growth > (limit.growthMax ?? Infinity)) {
        problems.push({ owner, name, what: 'growth', timeMs: lastMs, value: growth });
      }
    }
  }
  const [first] = problems;
  if (first === undefined) return valid(figures);
  return invalid(`${first.what} of ${first.name} of ${first.owner} is ${first.value}`, problems);
}

function growthOf(points: Series['points']): number {
  const [firstMs] = points[0]!;
  const [lastMs] = points.at(-1)!;
  const tenthMs = (lastMs - firstMs) / 10;
  const middle = (part: Series['points']): number => {
    const values = part.map(([, value]) => value).sort((left, right) => left - right);
    return values[Math.floor(values.length / 2)] ?? 0;
  };
  const begin = points.filter(([timeMs]) => timeMs <= firstMs + tenthMs);
  const end = points.filter(([timeMs]) => timeMs >= lastMs - tenthMs);
  return middle(end) - middle(begin);
}

/** What the stages of a row come to together. Pure. */
import { type Verdict, worstOf } from '../checker/verdict.ts';
import { quantileOf } from '../report/time-buckets.ts';
import { atMost, type Figure, figure } from './figure.ts';
import type { Gap, StageReport } from './stage.ts';

const sortedOf = (values: readonly number[]): readonly number[] =>
  [...values].sort((left, right) => left - right);

/** Null of none: a figure that looks like one would be a lie. */
export const shareOf = (values: readonly number[], share: number): number | null =>
  quantileOf(sortedOf(values), share);

export const medianOf = (values: readonly number[]): number | null => shareOf(values, 0.5);
export const maxOf = (values: readonly number[]): number | null => shareOf(values, 1);

export const harmsOf = (reports: readonly StageReport[]): readonly Gap[] =>
  reports.flatMap(({ gaps }) => gaps).filter(({ isHealing }) => !isHealing);

/** By name of the checker, the worst of all stages. */
export function worstByName(
  reports: readonly Pick<StageReport, 'verdicts'>[],
): Readonly<Record<string, Verdict>> {
  const names = new Set(reports.flatMap(({ verdicts }) => Object.keys(verdicts)));
  return Object.fromEntries(
    [...names].map((name) => [
      name,
      worstOf(reports.flatMap(({ verdicts }) => verdicts[name] ?? [])),
    ]),
  );
}

/** What every row says of its writes: none lost, none invented, all replicas equal. */
export function promiseFigures(reports: readonly StageReport[]): readonly Figure[] {
  const broken = reports.filter(
    ({ verdicts }) => worstOf(Object.values(verdicts)).kind !== 'valid',
  );
  const count = reports.reduce((sum, { acknowledgedCount }) => sum + acknowledgedCount, 0);
  return [
    figure('acknowledged writes, all read back from every node', count, ''),
    atMost('clusters with something lost, wrong or unequal', broken.length, '', 0),
  ];
}

export interface GapLimits {
  readonly medianMs: number;
  readonly maxMs: number;
}

export function gapFigures(
  what: string,
  gaps: readonly Gap[],
  limits: GapLimits,
): readonly Figure[] {
  const values = gaps.map(({ gapMs }) => gapMs);
  return [
    atMost(`${what}: median of ${values.length}`, medianOf(values), 'ms', limits.medianMs),
    atMost(`${what}: max`, maxOf(values), 'ms', limits.maxMs),
  ];
}

/** A gap is no better known than the clock of whoever measures it. */
export function latenessNotes(gaps: readonly Gap[]): readonly string[] {
  const lateMs = Math.max(0, ...gaps.map((gap) => gap.lateMs));
  return lateMs === 0 ? [] : [`the harness itself was late by up to ${Math.round(lateMs)} ms`];
}

export const samplesOf = (gaps: readonly Gap[]): readonly Readonly<Record<string, unknown>>[] =>
  gaps.map(({ action, gapMs, isHealing, lateMs }) => ({
    ...{ action, isHealing, gapMs: Math.round(gapMs), lateMs: Math.round(lateMs) },
  }));

/** So many at a time; the last part has what is left. */
export function partsOf<Item>(items: readonly Item[], size: number): readonly (readonly Item[])[] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_unused, i) =>
    items.slice(i * size, (i + 1) * size),
  );
}

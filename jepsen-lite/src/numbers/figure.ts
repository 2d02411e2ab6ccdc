/** A measured figure beside its target, for tables and for what is kept. Pure. */

export type TargetCheck = 'met' | 'missed' | 'notMeasured';

export interface Figure {
  readonly name: string;
  /** Null when it could not be measured; a note says why. */
  readonly value: number | null;
  readonly unit: string;
  /** Printed beside the figure, for example ">= 4,000". */
  readonly target?: string;
  readonly check?: TargetCheck;
}

export const figure = (name: string, value: number | null, unit: string): Figure => ({
  name,
  value,
  unit,
});

export const atLeast = (name: string, value: number | null, unit: string, min: number): Figure => ({
  ...figure(name, value, unit),
  target: `>= ${formatNumber(min)}`,
  check: value === null ? 'notMeasured' : value >= min ? 'met' : 'missed',
});

export const below = (name: string, value: number | null, unit: string, limit: number): Figure => ({
  ...figure(name, value, unit),
  target: `< ${formatNumber(limit)}`,
  check: value === null ? 'notMeasured' : value < limit ? 'met' : 'missed',
});

export const atMost = (name: string, value: number | null, unit: string, max: number): Figure => ({
  ...figure(name, value, unit),
  target: `<= ${formatNumber(max)}`,
  check: value === null ? 'notMeasured' : value <= max ? 'met' : 'missed',
});

/** Three significant digits below 1,000, whole numbers with separators above. */
export function formatNumber(value: number): string {
  if (Number.isInteger(value) || Math.abs(value) >= 1_000) {
    return Math.round(value).toLocaleString('en-US');
  }
  return String(Number(value.toPrecision(3)));
}

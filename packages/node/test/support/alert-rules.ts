/**
 * The rules in deploy/prometheus/alerts.yaml, and as much of PromQL as they use: one metric with
 * a selector, bare, as `time() - metric`, or in rate() or increase() of a range, against a number.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';

export interface AlertRule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly action: string };
}

export interface Expression {
  readonly form: 'value' | 'age' | 'rate' | 'increase';
  readonly metric: string;
  readonly selector: Readonly<Record<string, string>>;
  readonly rangeS: number;
  readonly limit: number;
}

const FILE = new URL('../../../../../deploy/prometheus/alerts.yaml', import.meta.url);
const UNITS_S: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };
const STEP_S = 15;

export function loadRules(): readonly AlertRule[] {
  const { groups } = parse(readFileSync(fileURLToPath(FILE), 'utf8')) as {
    groups: readonly { readonly rules: readonly AlertRule[] }[];
  };
  return groups.flatMap(({ rules }) => rules);
}

/** Throws for whatever this cannot evaluate: such a rule would be a rule that nobody has tried. */
export function parseExpression(text: string): Expression {
  const metric = String.raw`([a-z_]+)(?:\{([a-z]+)="([a-z_]+)"\})?`;
  const overRange = String.raw`(rate|increase)\(${metric}\[(\d+[smhd])\]\)`;
  const forms = new RegExp(String.raw`^(?:(time\(\) - )?${metric}|${overRange}) > ([0-9.]+)$`);
  const found = forms.exec(text);
  if (found === null) throw new Error(`cannot evaluate: ${text}`);
  const [, age, bare, label, value, over, ranged, rangedLabel, rangedValue, range, limit] = found;
  const name = label ?? rangedLabel;
  return {
    form: over === 'rate' || over === 'increase' ? over : age === undefined ? 'value' : 'age',
    metric: bare ?? ranged ?? '',
    selector: name === undefined ? {} : { [name]: value ?? rangedValue ?? '' },
    rangeS: range === undefined ? 0 : secondsOf(range),
    limit: Number(limit),
  };
}

export function secondsOf(text: string): number {
  const unit = UNITS_S[text.slice(-1)];
  if (unit === undefined) throw new Error(`no duration: ${text}`);
  return Number(text.slice(0, -1)) * unit;
}

/** What a metric is at a time, in seconds since the start; `nowS` is what time() says. */
export type Series = (atS: number, nowS: number) => number;

/** Whether the rule fires within `durationS`, its `for` included. */
export function fires(rule: AlertRule, series: Series, durationS: number, startS: number): boolean {
  const expression = parseExpression(rule.expr);
  const forS = rule.for === undefined ? 0 : secondsOf(rule.for);
  let sinceS: number | null = null;
  for (let atS = 0; atS <= durationS; atS += STEP_S) {
    if (valueAt(expression, series, atS, startS) <= expression.limit) {
      sinceS = null;
      continue;
    }
    sinceS ??= atS;
    if (atS - sinceS >= forS) return true;
  }
  return false;
}

function valueAt(
  { form, rangeS }: Expression,
  series: Series,
  atS: number,
  startS: number,
): number {
  const value = series(atS, startS + atS);
  switch (form) {
    case 'value':
      return value;
    case 'age':
      return startS + atS - value;
    case 'rate':
    case 'increase': {
      const fromS = Math.max(0, atS - rangeS);
      const increase = value - series(fromS, startS + fromS);
      return form === 'increase' ? increase : increase / rangeS;
    }
  }
}

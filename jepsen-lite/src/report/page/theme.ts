/** Colours of the drawing, from the style sheet: light or dark as the reader has it. */
import type { PageOutcome } from './page-data.ts';

export interface Theme {
  readonly text: string;
  readonly faint: string;
  readonly grid: string;
  readonly panel: string;
  readonly anomaly: string;
  readonly outcomes: Readonly<Record<PageOutcome, string>>;
  readonly lines: readonly string[];
  readonly font: string;
}

export function readTheme(): Theme {
  const styles = getComputedStyle(document.documentElement);
  const colour = (name: string): string => styles.getPropertyValue(`--${name}`).trim();
  return {
    text: colour('text'),
    faint: colour('faint'),
    grid: colour('grid'),
    panel: colour('panel'),
    anomaly: colour('anomaly'),
    outcomes: { ok: colour('ok'), fail: colour('fail'), info: colour('info') },
    lines: [1, 2, 3, 4, 5, 6, 7].map((number) => colour(`line-${number}`)),
    font: '11px system-ui, sans-serif',
  };
}

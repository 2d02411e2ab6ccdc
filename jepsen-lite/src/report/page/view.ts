/** Which part of the run is shown, and where on the screen a moment is. Values; pure. */

export interface View {
  readonly fromMs: number;
  readonly toMs: number;
  /** Of the whole run: no view goes beyond 0 and this. */
  readonly endMs: number;
  /** Pixels at which the time begins and how many it has. */
  readonly leftPx: number;
  readonly widthPx: number;
}

/** Less than this and the bars say nothing more. */
const SPAN_MS_MIN = 1;

export const spanOf = (view: View): number => view.toMs - view.fromMs;

export const xOf = (view: View, timeMs: number): number =>
  view.leftPx + ((timeMs - view.fromMs) / spanOf(view)) * view.widthPx;

export const timeAt = (view: View, xPx: number): number =>
  view.fromMs + ((xPx - view.leftPx) / view.widthPx) * spanOf(view);

/** Shows `fromMs` to `toMs`, as far as the run has them. */
export function showing(view: View, fromMs: number, toMs: number): View {
  const spanMs = Math.min(view.endMs, Math.max(SPAN_MS_MIN, toMs - fromMs));
  const begin = Math.min(Math.max(0, fromMs), view.endMs - spanMs);
  return { ...view, fromMs: begin, toMs: begin + spanMs };
}

/** `factor` below 1 shows less; the moment `aroundMs` stays where it is. */
export function zoomed(view: View, factor: number, aroundMs: number): View {
  const spanMs = Math.min(view.endMs, Math.max(SPAN_MS_MIN, spanOf(view) * factor));
  const share = (aroundMs - view.fromMs) / spanOf(view);
  const fromMs = aroundMs - share * spanMs;
  return showing(view, fromMs, fromMs + spanMs);
}

export const panned = (view: View, byMs: number): View =>
  showing(view, view.fromMs + byMs, view.toMs + byMs);

/** Shows a place with some of what was around it, so that a reader sees where it is. */
export function around(view: View, fromMs: number, toMs: number): View {
  const marginMs = Math.max(20, (toMs - fromMs) * 0.6);
  return showing(view, fromMs - marginMs, toMs + marginMs);
}

const STEPS = [1, 2, 5] as const;

/** Round moments of the view, about `pxPerTick` apart. */
export function ticksOf(view: View, pxPerTick: number): readonly number[] {
  const stepMs = roundStep(spanOf(view) / Math.max(1, view.widthPx / pxPerTick));
  const ticks: number[] = [];
  for (let i = Math.ceil(view.fromMs / stepMs); i * stepMs <= view.toMs; i++)
    ticks.push(i * stepMs);
  return ticks;
}

/** The least of 1, 2, 5, 10, 20, ... (and 0.1, ...) that is not below `least`. */
export function roundStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least));
  for (const step of STEPS) if (step * power >= least * 0.999) return step * power;
  return 10 * power;
}

/** `12 s`, `12.35 s`: with as many digits as a step of the axis needs. */
export function secondsText(timeMs: number, stepMs: number): string {
  const digits = Math.min(5, Math.max(0, Math.ceil(3 - Math.log10(Math.max(0.01, stepMs)))));
  return `${(timeMs / 1_000).toFixed(digits)} s`;
}

/** A length of time as people say it. */
export function lengthText(lengthMs: number): string {
  if (lengthMs < 10) return `${lengthMs.toFixed(2)} ms`;
  if (lengthMs < 1_000) return `${lengthMs.toFixed(0)} ms`;
  return `${(lengthMs / 1_000).toFixed(2)} s`;
}

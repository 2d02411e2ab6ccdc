/** One canvas of the page: its size on this screen, and what all panels draw alike. */
import type { PageAnomaly, PageBand } from './page-data.ts';
import type { Theme } from './theme.ts';
import { secondsText, ticksOf, type View, xOf } from './view.ts';

export interface Surface {
  readonly context: CanvasRenderingContext2D;
  readonly heightPx: number;
  readonly theme: Theme;
  readonly view: View;
}

/** A panel is as wide as the page; all of them share the view. */
export interface Panel {
  readonly canvas: HTMLCanvasElement;
  readonly heightPx: number;
  draw(surface: Surface): void;
  /** Lines of text about what is at a point; null: nothing. */
  describe(view: View, xPx: number, yPx: number): readonly string[] | null;
}

const PX_PER_TICK = 90;
/** Over the bands the bars must stay readable. */
const BAND_ALPHA = 0.16;
const LABEL_LENGTH_MAX = 80;

/** Sizes the canvas for the screen and draws the panel anew. */
export function paint(panel: Panel, theme: Theme, view: View): void {
  const { canvas, heightPx } = panel;
  const context = canvas.getContext('2d');
  if (context === null) throw new Error('this browser has no 2d canvas');
  const ratio = window.devicePixelRatio || 1;
  const widthPx = canvas.clientWidth;
  canvas.width = Math.round(widthPx * ratio);
  canvas.height = Math.round(heightPx * ratio);
  canvas.style.height = `${heightPx}px`;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.font = theme.font;
  context.textBaseline = 'middle';
  context.fillStyle = theme.panel;
  context.fillRect(0, 0, widthPx, heightPx);
  panel.draw({ context, heightPx, theme, view });
}

/** Runs `draw` where time is shown, so that nothing is painted over the names on the left. */
export function clipped({ context, heightPx, view }: Surface, draw: () => void): void {
  context.save();
  context.beginPath();
  context.rect(view.leftPx, 0, view.widthPx, heightPx);
  context.clip();
  draw();
  context.restore();
}

export function drawGrid(surface: Surface, hasLabels: boolean): void {
  const { context, heightPx, theme, view } = surface;
  const ticks = ticksOf(view, PX_PER_TICK);
  const stepMs = (ticks[1] ?? 1_000) - (ticks[0] ?? 0);
  for (const timeMs of ticks) {
    const x = Math.round(xOf(view, timeMs)) + 0.5;
    context.strokeStyle = theme.grid;
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x, heightPx);
    context.stroke();
    if (!hasLabels) continue;
    context.fillStyle = theme.faint;
    const text = secondsText(timeMs, stepMs);
    const half = context.measureText(text).width / 2;
    context.fillText(text, Math.max(view.leftPx + 2, x - half), 9);
  }
}

/** Faults of several nemeses are strips one above the other, so that each is seen in its colour. */
export function drawBands(surface: Surface, bands: readonly PageBand[]): void {
  const { context, view } = surface;
  const nemeses = [...new Set(bands.map(({ nemesis }) => nemesis))];
  const heightPx = surface.heightPx / Math.max(1, nemeses.length);
  for (const band of bands) {
    const top = nemeses.indexOf(band.nemesis) * heightPx;
    const left = xOf(view, band.fromMs);
    const right = Math.max(left + 2, xOf(view, band.toMs ?? view.endMs));
    if (right < view.leftPx || left > view.leftPx + view.widthPx) continue;
    context.globalAlpha = BAND_ALPHA;
    context.fillStyle = band.colour;
    context.fillRect(left, top, right - left, heightPx);
    context.globalAlpha = 0.8;
    context.fillRect(left, top, 1, heightPx);
    context.globalAlpha = 1;
  }
}

/** The time of each anomaly, through the whole panel: seen from anywhere on the page. */
export function drawAnomalySpans(surface: Surface, anomalies: readonly PageAnomaly[]): void {
  const { context, heightPx, theme, view } = surface;
  for (const { fromMs, toMs } of anomalies) {
    if (fromMs === null) continue;
    const left = xOf(view, fromMs);
    const right = Math.max(left + 2, xOf(view, toMs ?? fromMs));
    context.fillStyle = theme.anomaly;
    context.globalAlpha = 0.13;
    context.fillRect(left, 0, right - left, heightPx);
    context.globalAlpha = 1;
    for (const x of [left, right - 1.5]) context.fillRect(x, 0, 1.5, heightPx);
  }
}

/** Text to the left of the time, right-aligned. */
export function drawLeftLabel(surface: Surface, text: string, y: number): void {
  const { context, theme, view } = surface;
  context.fillStyle = theme.faint;
  context.textAlign = 'right';
  context.fillText(text.slice(0, LABEL_LENGTH_MAX), view.leftPx - 8, y, view.leftPx - 12);
  context.textAlign = 'left';
}

/** What is at a moment besides the panel's own things. */
export function bandLines(bands: readonly PageBand[], timeMs: number): readonly string[] {
  return bands
    .filter(({ fromMs, toMs }) => fromMs <= timeMs && timeMs <= (toMs ?? Infinity))
    .map(({ action, nemesis, targets }) => {
      const whom = targets === '' ? '' : ` on ${targets}`;
      return `during ${nemesis}: ${action}${whom}`;
    });
}

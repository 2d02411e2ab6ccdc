/** The whole run, always: rate, faults, anomalies, and which part of it the panels below show. */
import type { PageBand, PageData } from './page-data.ts';
import { drawAnomalySpans, drawBands, drawLeftLabel, type Panel, type Surface } from './surface.ts';
import { secondsText, showing, type View, xOf } from './view.ts';

const HEIGHT_PX = 48;
/** Faults stand above the rate: behind it a busy run would hide them. */
const STRIP_HEIGHT_PX = 9;

export function overviewPanel(canvas: HTMLCanvasElement, page: PageData): Panel {
  const { buckets } = page;
  const highest = buckets.ok.reduce((most, count) => Math.max(most, count), 1);
  return {
    canvas,
    heightPx: HEIGHT_PX,
    draw: (surface) => {
      const { context, theme, view } = surface;
      const whole = { ...surface, view: showing(view, 0, view.endMs) };
      drawBands(whole, page.bands);
      context.fillStyle = theme.outcomes.ok;
      buckets.ok.forEach((count, i) => {
        const left = xOf(whole.view, i * buckets.widthMs);
        const right = xOf(whole.view, Math.min(view.endMs, (i + 1) * buckets.widthMs));
        const height = (count / highest) * (HEIGHT_PX - STRIP_HEIGHT_PX - 3);
        context.fillRect(left, HEIGHT_PX - height, Math.max(1, right - left), height);
      });
      drawStrip(whole, page.bands);
      drawAnomalySpans(whole, page.anomalies);
      drawWindow(context, theme.text, whole.view, view);
      drawLeftLabel(surface, 'whole run', HEIGHT_PX / 2);
    },
    describe: (view, xPx) => {
      const whole = showing(view, 0, view.endMs);
      const timeMs = ((xPx - whole.leftPx) / whole.widthPx) * view.endMs;
      return [`${secondsText(timeMs, 100)}: drag to choose what is shown below`];
    },
  };
}

function drawStrip({ context, view }: Surface, bands: readonly PageBand[]): void {
  context.globalAlpha = 0.85;
  for (const { colour, fromMs, toMs } of bands) {
    const left = xOf(view, fromMs);
    context.fillStyle = colour;
    context.fillRect(left, 0, Math.max(2, xOf(view, toMs ?? view.endMs) - left), STRIP_HEIGHT_PX);
  }
  context.globalAlpha = 1;
}

function drawWindow(
  context: CanvasRenderingContext2D,
  colour: string,
  whole: View,
  view: View,
): void {
  const left = xOf(whole, view.fromMs);
  const right = Math.max(left + 3, xOf(whole, view.toMs));
  context.fillStyle = colour;
  context.globalAlpha = 0.12;
  context.fillRect(whole.leftPx, 0, left - whole.leftPx, HEIGHT_PX);
  context.fillRect(right, 0, whole.leftPx + whole.widthPx - right, HEIGHT_PX);
  context.globalAlpha = 1;
  context.strokeStyle = colour;
  context.strokeRect(left + 0.5, 0.5, right - left - 1, HEIGHT_PX - 1);
}

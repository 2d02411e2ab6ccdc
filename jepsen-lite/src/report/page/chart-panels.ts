/** Rate and latency over time, from all operations of the run, with the faults behind them. */
import type { Operations } from './decode.ts';
import type { PageBuckets, PageChart, PageData, PageOutcome } from './page-data.ts';
import {
  bandLines,
  clipped,
  drawAnomalySpans,
  drawBands,
  drawGrid,
  drawLeftLabel,
  type Panel,
  type Surface,
} from './surface.ts';
import { lengthText, roundStep, secondsText, timeAt, xOf } from './view.ts';

const HEIGHT_PX = 130;
const SMALL_HEIGHT_PX = 90;
const TOP_PX = 10;
const BOTTOM_PX = 6;
/** So that one failed operation among thousands is seen. */
const BAR_HEIGHT_PX_MIN = 2;
const POINT_STEP_PX = 2;
const LATENCY_MS_MIN = 0.1;
const LATENCY_STEPS_MS = [0.1, 1, 10, 100, 1_000, 10_000, 100_000];
const OUTCOMES = ['ok', 'info', 'fail'] as const;

/** Operations per second as stacked bars. */
export function ratePanel(canvas: HTMLCanvasElement, page: PageData): Panel {
  const { buckets } = page;
  const seconds = buckets.widthMs / 1_000;
  const highest = buckets.ok.reduce(
    (most, ok, i) => Math.max(most, ok + (buckets.fail[i] ?? 0) + (buckets.info[i] ?? 0)),
    1,
  );
  const stepCount = roundStep(highest / 3);
  const top = Math.ceil(highest / stepCount) * stepCount;
  const yOf = (count: number): number =>
    HEIGHT_PX - BOTTOM_PX - (count / top) * (HEIGHT_PX - TOP_PX - BOTTOM_PX);
  return {
    canvas,
    heightPx: HEIGHT_PX,
    draw: (surface) => {
      clipped(surface, () => {
        drawGrid(surface, false);
        drawBands(surface, page.bands);
        for (let i = 0; i < buckets.ok.length; i++) drawStack(surface, buckets, i, yOf);
        drawAnomalySpans(surface, page.anomalies);
      });
      for (let count = 0; count <= top; count += stepCount) {
        drawLeftLabel(surface, `${Math.round(count / seconds)}/s`, yOf(count));
      }
    },
    describe: (view, xPx) => {
      const timeMs = timeAt(view, xPx);
      const i = Math.floor(timeMs / buckets.widthMs);
      if (buckets.ok[i] === undefined) return null;
      const counts = OUTCOMES.map((outcome) => `${buckets[outcome][i]} ${outcome}`);
      return [
        `${secondsText(i * buckets.widthMs, 1_000)}: ${counts.join(', ')}`,
        ...bandLines(page.bands, timeMs),
      ];
    },
  };
}

function drawStack(
  surface: Surface,
  buckets: PageBuckets,
  bucket: number,
  yOf: (count: number) => number,
): void {
  const { context, theme, view } = surface;
  const left = xOf(view, bucket * buckets.widthMs);
  const right = xOf(view, Math.min(view.endMs, (bucket + 1) * buckets.widthMs));
  const width = Math.max(1, right - left - (right - left > 4 ? 1 : 0));
  let bottom = yOf(0);
  for (const outcome of OUTCOMES) {
    const count = buckets[outcome][bucket] ?? 0;
    if (count === 0) continue;
    const height = Math.max(BAR_HEIGHT_PX_MIN, yOf(0) - yOf(count));
    context.fillStyle = theme.outcomes[outcome];
    context.fillRect(left, bottom - height, width, height);
    bottom -= height;
  }
}

/** Latency on a logarithmic axis: quantiles as lines, the drawn operations as points. */
export function latencyPanel(
  canvas: HTMLCanvasElement,
  page: PageData,
  operations: Operations,
): Panel {
  const { buckets } = page;
  let highestMs = 10;
  for (let i = 0; i < operations.count; i++) {
    if (!operations.isEndTold(i)) continue;
    highestMs = Math.max(highestMs, latencyMsOf(operations, i));
  }
  for (const value of buckets.max) highestMs = Math.max(highestMs, value ?? 0);
  const decades = Math.log10((highestMs * 1.2) / LATENCY_MS_MIN);
  const yOf = (latencyMs: number): number => {
    const share = Math.log10(Math.max(LATENCY_MS_MIN, latencyMs) / LATENCY_MS_MIN) / decades;
    return HEIGHT_PX - BOTTOM_PX - share * (HEIGHT_PX - TOP_PX - BOTTOM_PX);
  };
  return {
    canvas,
    heightPx: HEIGHT_PX,
    draw: (surface) => {
      clipped(surface, () => {
        drawGrid(surface, false);
        drawBands(surface, page.bands);
        for (const outcome of ['ok', 'fail', 'info'] as const) {
          drawPoints(surface, operations, outcome, yOf);
        }
        drawQuantile(surface, buckets, 'p50', [], yOf);
        drawQuantile(surface, buckets, 'p99', [5, 3], yOf);
        drawQuantile(surface, buckets, 'max', [2, 2], yOf);
        drawAnomalySpans(surface, page.anomalies);
      });
      for (const stepMs of LATENCY_STEPS_MS) {
        if (stepMs <= highestMs * 1.2) drawLeftLabel(surface, axisText(stepMs), yOf(stepMs));
      }
    },
    describe: (view, xPx) => {
      const timeMs = timeAt(view, xPx);
      const i = Math.floor(timeMs / buckets.widthMs);
      const [p50 = null, p99 = null, max = null] = [buckets.p50[i], buckets.p99[i], buckets.max[i]];
      if (p50 === null || p99 === null || max === null) return null;
      return [
        `${secondsText(i * buckets.widthMs, 1_000)}, ok: p50 ${lengthText(p50)}, ` +
          `p99 ${lengthText(p99)}, max ${lengthText(max)}`,
        ...bandLines(page.bands, timeMs),
      ];
    },
  };
}

const axisText = (stepMs: number): string =>
  stepMs < 1_000 ? `${stepMs} ms` : `${stepMs / 1_000} s`;

/** From when it was to begin: also what it waited until its client was free. */
function latencyMsOf({ beginsMs, delayMsOf, endsMs }: Operations, position: number): number {
  return (endsMs[position] ?? 0) - (beginsMs[position] ?? 0) + delayMsOf(position);
}

/** One per step in each direction: more cannot be told apart. */
function drawPoints(
  surface: Surface,
  operations: Operations,
  outcome: PageOutcome,
  yOf: (latencyMs: number) => number,
): void {
  const { context, theme, view } = surface;
  const columnCount = Math.ceil(view.widthPx / POINT_STEP_PX) + 2;
  const painted = new Uint8Array(columnCount * Math.ceil(HEIGHT_PX / POINT_STEP_PX));
  context.fillStyle = theme.outcomes[outcome];
  context.globalAlpha = outcome === 'ok' ? 0.45 : 1;
  for (const position of operations.byOutcome[outcome]) {
    const beginMs = operations.beginsMs[position] ?? 0;
    const endMs = operations.endsMs[position] ?? 0;
    if (beginMs > view.toMs) break;
    if (endMs < view.fromMs || endMs > view.toMs || !operations.isEndTold(position)) continue;
    const column = Math.round((xOf(view, endMs) - view.leftPx) / POINT_STEP_PX);
    const row = Math.round(yOf(latencyMsOf(operations, position)) / POINT_STEP_PX);
    const cell = row * columnCount + column;
    if (painted[cell] === 1) continue;
    painted[cell] = 1;
    drawPoint(context, outcome, view.leftPx + column * POINT_STEP_PX, row * POINT_STEP_PX);
  }
  context.globalAlpha = 1;
}

/** A dot, a cross, a triangle: colour is not the only sign. */
function drawPoint(
  context: CanvasRenderingContext2D,
  outcome: PageOutcome,
  x: number,
  y: number,
): void {
  if (outcome === 'ok') {
    context.fillRect(x - 1, y - 1, 2, 2);
  } else if (outcome === 'fail') {
    context.fillRect(x - 3, y - 0.75, 6, 1.5);
    context.fillRect(x - 0.75, y - 3, 1.5, 6);
  } else {
    context.beginPath();
    context.moveTo(x - 4, y + 3);
    context.lineTo(x + 4, y + 3);
    context.lineTo(x, y - 4);
    context.fill();
  }
}

/** A second without an answer is a hole in the line. */
function drawQuantile(
  surface: Surface,
  buckets: PageBuckets,
  name: 'p50' | 'p99' | 'max',
  dash: number[],
  yOf: (latencyMs: number) => number,
): void {
  const { context, theme, view } = surface;
  context.strokeStyle = theme.text;
  context.lineWidth = name === 'p50' ? 2 : 1.2;
  context.setLineDash(dash);
  context.beginPath();
  let isOn = false;
  buckets[name].forEach((value, i) => {
    if (value === null) {
      isOn = false;
      return;
    }
    const x = xOf(view, Math.min(view.endMs, (i + 0.5) * buckets.widthMs));
    if (isOn) context.lineTo(x, yOf(value));
    else context.moveTo(x, yOf(value));
    isOn = true;
  });
  context.stroke();
  context.setLineDash([]);
  context.lineWidth = 1;
}

/** Samples of one resource, a line per node. */
export function resourcePanel(canvas: HTMLCanvasElement, page: PageData, chart: PageChart): Panel {
  const highest = chart.lines.reduce(
    (most, { points }) => points.reduce((higher, [, value]) => Math.max(higher, value), most),
    0,
  );
  const step = roundStep(Math.max(highest, 1e-6) / 2);
  const top = Math.max(step, Math.ceil(highest / step) * step);
  const yOf = (value: number): number =>
    SMALL_HEIGHT_PX - BOTTOM_PX - (value / top) * (SMALL_HEIGHT_PX - TOP_PX - BOTTOM_PX);
  const valueText = (value: number): string => `${Number(value.toPrecision(4))} ${chart.unit}`;
  return {
    canvas,
    heightPx: SMALL_HEIGHT_PX,
    draw: (surface) => {
      clipped(surface, () => {
        drawGrid(surface, false);
        drawBands(surface, page.bands);
        chart.lines.forEach(({ points }, i) => {
          drawLine(surface, points, i, yOf);
        });
        drawAnomalySpans(surface, page.anomalies);
      });
      for (let value = 0; value <= top; value += step) {
        drawLeftLabel(surface, valueText(value), yOf(value));
      }
    },
    describe: (view, xPx) => {
      const timeMs = timeAt(view, xPx);
      const lines = chart.lines.flatMap(({ owner, points }) => {
        const last = points.findLast(([atMs]) => atMs <= timeMs);
        return last === undefined ? [] : [`${owner}: ${valueText(last[1])}`];
      });
      return lines.length === 0 ? null : [secondsText(timeMs, 100), ...lines];
    },
  };
}

function drawLine(
  { context, theme, view }: Surface,
  points: PageChart['lines'][number]['points'],
  number: number,
  yOf: (value: number) => number,
): void {
  context.strokeStyle = theme.lines[number % theme.lines.length] ?? theme.text;
  context.lineWidth = 1.5;
  context.beginPath();
  for (const [timeMs, value] of points) context.lineTo(xOf(view, timeMs), yOf(value));
  context.stroke();
  context.lineWidth = 1;
}

/**
 * Clients as lanes, operations as bars. A hundred thousand operations are drawn in one go: of those
 * that fall on one pixel of one lane only the first is painted, per outcome, so that the rare ones
 * (failed, open, part of an anomaly) are painted last and stay visible at any zoom.
 */
import { type Operations, operationAt } from './decode.ts';
import type { PageData, PageOutcome } from './page-data.ts';
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
import { lengthText, secondsText, spanOf, timeAt, type View, xOf } from './view.ts';

const AXIS_HEIGHT_PX = 18;
const LANE_HEIGHT_PX = 22;
/** With very many clients. */
const LANE_HEIGHT_PX_MIN = 7;
const PANEL_HEIGHT_PX_MAX = 4_000;
const BAR_WIDTH_PX_MIN = 1.5;
/** How far bars of one lane and outcome are apart at least. */
const BAR_STEP_PX_MIN = 2;
/** A bar of this width has room for its text. */
const TEXT_BAR_PX_MIN = 34;
/** Above this many in view none is wide enough for text anyway. */
const TEXT_COUNT_MAX = 4_000;
const HOVER_PX = 5;
const DELAY_MS_SHOWN_MIN = 1;
/** Names of anomalous operations beside their bars; with more they would cover each other. */
const CALLOUT_COUNT_MAX = 30;

export function lanePanel(
  canvas: HTMLCanvasElement,
  page: PageData,
  operations: Operations,
): Panel {
  const laneCount = page.laneNames.length;
  const laneHeightPx = Math.max(
    LANE_HEIGHT_PX_MIN,
    Math.min(LANE_HEIGHT_PX, Math.floor(PANEL_HEIGHT_PX_MAX / Math.max(1, laneCount))),
  );
  const marked = new Set(page.anomalies.flatMap((anomaly) => anomaly.operations));
  const lanes = { operations, laneHeightPx, marked };
  return {
    canvas,
    heightPx: AXIS_HEIGHT_PX + laneCount * laneHeightPx,
    draw: (surface) => {
      clipped(surface, () => {
        drawGrid(surface, true);
        drawBands(surface, page.bands);
        drawAnomalySpans(surface, page.anomalies);
        for (const outcome of ['ok', 'fail', 'info'] as const) drawBars(surface, lanes, outcome);
        drawTexts(surface, lanes);
        drawMarked(surface, lanes);
      });
      page.laneNames.forEach((name, lane) => {
        if (laneHeightPx < 10 && lane % 2 === 1) return;
        drawLeftLabel(surface, name, AXIS_HEIGHT_PX + (lane + 0.5) * laneHeightPx);
      });
    },
    describe: (view, xPx, yPx) => {
      const lane = Math.floor((yPx - AXIS_HEIGHT_PX) / laneHeightPx);
      const toleranceMs = (HOVER_PX / view.widthPx) * spanOf(view);
      const timeMs = timeAt(view, xPx);
      const found = operationAt(operations, lane, timeMs, toleranceMs);
      const bands = bandLines(page.bands, timeMs);
      if (found < 0) return bands.length === 0 ? null : bands;
      return [...describeOperationAt(operations, found), ...anomalyLines(page, found), ...bands];
    },
  };
}

interface Lanes {
  readonly operations: Operations;
  readonly laneHeightPx: number;
  /** Positions that belong to an anomaly. */
  readonly marked: ReadonlySet<number>;
}

/** In each outcome's own height, so that colour is not the only sign. */
const BAR_SHAPES: Readonly<Record<PageOutcome, { readonly top: number; readonly share: number }>> =
  {
    ok: { top: 0.22, share: 0.56 },
    fail: { top: 0.5, share: 0.4 },
    info: { top: 0.08, share: 0.84 },
  };

interface Bar {
  readonly left: number;
  readonly width: number;
  readonly top: number;
  readonly height: number;
}

function barOf(view: View, { laneHeightPx, operations }: Lanes, position: number): Bar {
  const left = xOf(view, operations.beginsMs[position] ?? 0);
  const right = xOf(view, operations.endsMs[position] ?? 0);
  const { share, top } = BAR_SHAPES[operations.outcomeOf(position)];
  const lane = operations.lanes[position] ?? 0;
  return {
    left,
    width: Math.max(BAR_WIDTH_PX_MIN, right - left),
    top: AXIS_HEIGHT_PX + (lane + top) * laneHeightPx,
    height: share * laneHeightPx,
  };
}

function isInView(view: View, operations: Operations, position: number): boolean {
  const isLater = (operations.beginsMs[position] ?? 0) > view.toMs;
  return !isLater && (operations.endsMs[position] ?? 0) >= view.fromMs;
}

/** The hot loop: what is hidden by the bar before it costs a few comparisons and no object. */
function drawBars(surface: Surface, lanes: Lanes, outcome: PageOutcome): void {
  const { context, theme, view } = surface;
  const { beginsMs, byLane, byOutcome, endsMs, lanes: laneOf } = lanes.operations;
  const paintedPx = new Float64Array(byLane.length).fill(-1);
  context.fillStyle = theme.outcomes[outcome];
  for (const position of byOutcome[outcome]) {
    const beginMs = beginsMs[position] ?? 0;
    const endMs = endsMs[position] ?? 0;
    if (beginMs > view.toMs) break;
    if (endMs < view.fromMs) continue;
    const lane = laneOf[position] ?? 0;
    if (xOf(view, endMs) <= (paintedPx[lane] ?? -1)) continue;
    const { height, left, top, width } = barOf(view, lanes, position);
    paintedPx[lane] = left + Math.max(BAR_STEP_PX_MIN, width);
    // a gap of a pixel between neighbours that are wide enough
    context.fillRect(left, top, width > 4 ? width - 1 : width, height);
    if (outcome === 'info' && width > 8) drawOpenEnd(surface, left + width, top, height);
  }
}

/** Nobody knows when it ended: the bar goes on as an arrow. */
function drawOpenEnd({ context }: Surface, x: number, top: number, height: number): void {
  context.beginPath();
  context.moveTo(x - 1, top);
  context.lineTo(x + 5, top + height / 2);
  context.lineTo(x - 1, top + height);
  context.fill();
}

function drawTexts(surface: Surface, lanes: Lanes): void {
  const { context, theme, view } = surface;
  const { laneHeightPx, operations } = lanes;
  if (laneHeightPx < 14) return;
  const wide: number[] = [];
  const widthMs = (TEXT_BAR_PX_MIN / view.widthPx) * spanOf(view);
  for (let i = 0; i < operations.count && wide.length <= TEXT_COUNT_MAX; i++) {
    const lengthMs = (operations.endsMs[i] ?? 0) - (operations.beginsMs[i] ?? 0);
    // a failed one is too low for text
    if (lengthMs < widthMs || operations.outcomeOf(i) === 'fail') continue;
    if (isInView(view, operations, i)) wide.push(i);
  }
  if (wide.length > TEXT_COUNT_MAX) return;
  for (const position of wide) {
    const bar = barOf(view, lanes, position);
    const left = Math.max(bar.left, view.leftPx) + 4;
    const room = bar.left + bar.width - left - 4;
    if (room < TEXT_BAR_PX_MIN - 8) continue;
    context.save();
    context.beginPath();
    context.rect(left, bar.top, room, bar.height);
    context.clip();
    context.fillStyle = theme.panel;
    context.fillText(operations.textOf(position), left, bar.top + bar.height / 2 + 0.5);
    context.restore();
  }
}

/** Anomalous operations: framed, never narrower than can be seen, named when there is room. */
function drawMarked(surface: Surface, lanes: Lanes): void {
  const { context, theme, view } = surface;
  const { marked, operations } = lanes;
  const inView = [...marked].filter((position) => isInView(view, operations, position));
  for (const position of inView) {
    const bar = barOf(view, lanes, position);
    const width = Math.max(7, bar.width);
    context.fillStyle = theme.outcomes[operations.outcomeOf(position)];
    context.fillRect(bar.left, bar.top, width, bar.height);
    context.strokeStyle = theme.anomaly;
    context.lineWidth = 2;
    context.strokeRect(bar.left - 1, bar.top - 1, width + 2, bar.height + 2);
    context.lineWidth = 1;
  }
  if (inView.length > CALLOUT_COUNT_MAX || lanes.laneHeightPx < 14) return;
  for (const position of inView) drawCallout(surface, lanes, position);
}

function drawCallout(surface: Surface, lanes: Lanes, position: number): void {
  const { context, theme, view } = surface;
  const bar = barOf(view, lanes, position);
  const text = lanes.operations.textOf(position);
  const textWidth = context.measureText(text).width;
  if (bar.width > textWidth + 8) {
    drawInside(surface, bar, text);
    return;
  }
  const edge = view.leftPx + view.widthPx;
  const right = bar.left + Math.max(7, bar.width) + 5;
  const left = right + textWidth + 6 > edge ? bar.left - textWidth - 9 : right;
  context.fillStyle = theme.anomaly;
  context.fillRect(left - 3, bar.top - 1, textWidth + 6, bar.height + 2);
  context.fillStyle = theme.panel;
  context.fillText(text, left, bar.top + bar.height / 2 + 0.5);
}

function drawInside({ context, theme, view }: Surface, bar: Bar, text: string): void {
  context.fillStyle = theme.panel;
  context.fillText(text, Math.max(bar.left, view.leftPx) + 4, bar.top + bar.height / 2 + 0.5);
}

const OUTCOME_TEXTS: Readonly<Record<PageOutcome, string>> = {
  ok: 'ok: it took effect',
  fail: 'fail: it certainly had no effect',
  info: 'info: nobody knows whether it took effect',
};

function describeOperationAt(operations: Operations, position: number): readonly string[] {
  const beginMs = operations.beginsMs[position] ?? 0;
  const endMs = operations.endsMs[position] ?? 0;
  const error = operations.errorOf(position);
  const delayMs = operations.delayMsOf(position);
  const length = operations.isEndTold(position) ? lengthText(endMs - beginMs) : 'never answered';
  return [
    operations.textOf(position),
    OUTCOME_TEXTS[operations.outcomeOf(position)] + (error === '' ? '' : ` (${error})`),
    `process ${operations.processIds[position]}, ${secondsText(beginMs, 1)}, ${length}`,
    ...(delayMs < DELAY_MS_SHOWN_MIN ? [] : [`it began ${lengthText(delayMs)} late`]),
  ];
}

function anomalyLines(page: PageData, position: number): readonly string[] {
  return page.anomalies.flatMap(({ checker, operations }, i) =>
    operations.includes(position) ? [`anomaly ${i + 1} (${checker})`] : [],
  );
}

/**
 * One row per nemesis: what was in force when, whom it hit, and what was skipped; and above them a
 * row with the anomalies. The first thing to look at in a run.
 */
import type { PageBand, PageData } from './page-data.ts';
import {
  clipped,
  drawAnomalySpans,
  drawGrid,
  drawLeftLabel,
  type Panel,
  type Surface,
} from './surface.ts';
import { lengthText, secondsText, spanOf, timeAt, xOf } from './view.ts';

const AXIS_HEIGHT_PX = 18;
const ROW_HEIGHT_PX = 22;
const HOVER_PX = 6;

export function faultPanel(canvas: HTMLCanvasElement, page: PageData): Panel {
  const hasAnomalies = page.anomalies.some(({ fromMs }) => fromMs !== null);
  const firstRowPx = AXIS_HEIGHT_PX + (hasAnomalies ? ROW_HEIGHT_PX : 0);
  const rows = [...new Set([...page.nemeses, ...page.skips.map(({ nemesis }) => nemesis)])];
  const topOf = (nemesis: string): number => firstRowPx + rows.indexOf(nemesis) * ROW_HEIGHT_PX;
  return {
    canvas,
    heightPx: firstRowPx + Math.max(1, rows.length) * ROW_HEIGHT_PX + 4,
    draw: (surface) => {
      clipped(surface, () => {
        drawGrid(surface, true);
        drawAnomalySpans(surface, page.anomalies);
        for (const band of page.bands) drawBand(surface, band, topOf(band.nemesis));
        for (const { nemesis, timeMs } of page.skips) drawSkip(surface, timeMs, topOf(nemesis));
        page.anomalies.forEach(({ atMs }, i) => {
          if (atMs !== null) drawMarker(surface, atMs, `${i + 1}`);
        });
      });
      if (hasAnomalies) drawLeftLabel(surface, 'anomalies', AXIS_HEIGHT_PX + ROW_HEIGHT_PX / 2);
      for (const name of rows) drawLeftLabel(surface, name, topOf(name) + ROW_HEIGHT_PX / 2);
      if (rows.length === 0) drawLeftLabel(surface, 'no faults', firstRowPx + ROW_HEIGHT_PX / 2);
    },
    describe: (view, xPx, yPx) => {
      const toleranceMs = (HOVER_PX / view.widthPx) * spanOf(view);
      const timeMs = timeAt(view, xPx);
      if (yPx < firstRowPx) return describeAnomalies(page, timeMs, toleranceMs * 2);
      const name = rows[Math.floor((yPx - firstRowPx) / ROW_HEIGHT_PX)];
      return name === undefined ? null : describeRow(page, name, timeMs, toleranceMs);
    },
  };
}

function drawBand(surface: Surface, band: PageBand, top: number): void {
  const { context, theme, view } = surface;
  const left = xOf(view, band.fromMs);
  const right = Math.max(left + 3, xOf(view, band.toMs ?? view.endMs));
  if (right < view.leftPx || left > view.leftPx + view.widthPx) return;
  context.fillStyle = band.colour;
  context.globalAlpha = band.isIndeterminate ? 0.4 : 0.85;
  context.fillRect(left, top + 2, right - left, ROW_HEIGHT_PX - 4);
  context.globalAlpha = 1;
  const textLeft = Math.max(left, view.leftPx) + 5;
  if (right - textLeft < 20) return;
  context.save();
  context.beginPath();
  context.rect(textLeft - 2, top, right - textLeft, ROW_HEIGHT_PX);
  context.clip();
  context.fillStyle = isDark(band.colour) && !band.isIndeterminate ? '#fff' : '#000';
  if (band.isIndeterminate) context.fillStyle = theme.text;
  const whom = band.targets === '' ? band.detail : band.targets;
  const text = whom === '' ? band.action : `${band.action} · ${whom}`;
  context.fillText(text, textLeft, top + ROW_HEIGHT_PX / 2 + 0.5);
  context.restore();
}

/** A planned fault that found nobody to hit. */
function drawSkip({ context, theme, view }: Surface, timeMs: number, top: number): void {
  const x = xOf(view, timeMs);
  const y = top + ROW_HEIGHT_PX / 2;
  context.strokeStyle = theme.faint;
  context.beginPath();
  context.moveTo(x - 4, y - 4);
  context.lineTo(x + 4, y + 4);
  context.moveTo(x + 4, y - 4);
  context.lineTo(x - 4, y + 4);
  context.stroke();
}

function drawMarker({ context, theme, view }: Surface, timeMs: number, label: string): void {
  const x = Math.min(Math.max(xOf(view, timeMs), view.leftPx), view.leftPx + view.widthPx);
  const top = AXIS_HEIGHT_PX + 1;
  context.fillStyle = theme.anomaly;
  context.beginPath();
  context.moveTo(x - 10, top);
  context.lineTo(x + 10, top);
  context.lineTo(x, top + 19);
  context.fill();
  context.fillStyle = theme.panel;
  context.textAlign = 'center';
  context.fillText(label, x, top + 6.5);
  context.textAlign = 'left';
}

/** Whether white text is easier to read on it than black (relative luminance of WCAG). */
export function isDark(hexColour: string): boolean {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const share = Number.parseInt(hexColour.slice(at, at + 2), 16) / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.18;
}

function describeAnomalies(
  page: PageData,
  timeMs: number,
  toleranceMs: number,
): readonly string[] | null {
  const lines = page.anomalies.flatMap(({ checker, fromMs, text, toMs }, i) => {
    if (fromMs === null) return [];
    const isHere = fromMs - toleranceMs <= timeMs && timeMs <= (toMs ?? fromMs) + toleranceMs;
    return isHere ? [`anomaly ${i + 1} (${checker}): ${text}`] : [];
  });
  return lines.length === 0 ? null : lines;
}

function describeRow(
  page: PageData,
  nemesis: string,
  timeMs: number,
  toleranceMs: number,
): readonly string[] | null {
  const lines: string[] = [];
  for (const skip of page.skips) {
    if (skip.nemesis !== nemesis || Math.abs(skip.timeMs - timeMs) > toleranceMs) continue;
    lines.push(`${skip.action} was skipped: ${skip.detail}`);
  }
  for (const band of page.bands) {
    const toMs = band.toMs ?? Infinity;
    if (band.nemesis !== nemesis || band.fromMs > timeMs || toMs < timeMs) continue;
    lines.push(...describeBand(band));
  }
  return lines.length === 0 ? null : lines;
}

function describeBand(band: PageBand): readonly string[] {
  const { action, counts, detail, fromMs, isIndeterminate, nemesis, targets, toMs } = band;
  const length = toMs === null ? 'never healed' : `for ${lengthText(toMs - fromMs)}`;
  const doubt = isIndeterminate ? ' (nobody knows whether it was in place)' : '';
  return [
    `${nemesis}: ${action}${doubt}`,
    ...(targets === '' ? [] : [`on ${targets}`]),
    ...(detail === '' || detail === targets ? [] : [detail]),
    `${secondsText(fromMs, 1)}, ${length}`,
    `ended meanwhile: ${counts.ok} ok, ${counts.fail} fail, ${counts.info} info`,
  ];
}

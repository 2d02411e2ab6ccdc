/** The script of a timeline page: reads what the page holds and draws all panels together. */
import { latencyPanel, ratePanel, resourcePanel } from './chart-panels.ts';
import { decodeOperations } from './decode.ts';
import { faultPanel } from './fault-panel.ts';
import { makeHover } from './hover.ts';
import { lanePanel } from './lane-panel.ts';
import {
  listenToButtons,
  listenToDrag,
  listenToSelection,
  listenToWheel,
  type Navigator,
} from './navigation.ts';
import { overviewPanel } from './overview-panel.ts';
import type { PageData } from './page-data.ts';
import { type Panel, paint } from './surface.ts';
import { readTheme } from './theme.ts';
import { around, secondsText, showing, spanOf, type View } from './view.ts';

const LEFT_PX = 84;
const RIGHT_PX = 12;

function canvasOf(id: string): HTMLCanvasElement {
  const canvas = document.getElementById(id);
  if (!(canvas instanceof HTMLCanvasElement)) throw new Error(`the page has no canvas ${id}`);
  return canvas;
}

function elementOf(id: string): HTMLElement {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no element ${id}`);
  return element;
}

function startTimeline(page: PageData): void {
  const operations = decodeOperations(page);
  const overview = overviewPanel(canvasOf('overview'), page);
  const panels: readonly Panel[] = [
    faultPanel(canvasOf('faults'), page),
    ratePanel(canvasOf('rate'), page),
    latencyPanel(canvasOf('latency'), page, operations),
    ...page.charts.map((chart, i) => resourcePanel(canvasOf(`chart-${i}`), page, chart)),
    lanePanel(canvasOf('lanes'), page, operations),
  ];
  const container = elementOf('panels');
  const rangeText = elementOf('range');
  const { endMs } = page;
  let view: View = { fromMs: 0, toMs: endMs, endMs, leftPx: LEFT_PX, widthPx: 1 };
  let isDue = false;

  const draw = (): void => {
    isDue = false;
    const widthPx = Math.max(50, overview.canvas.clientWidth - LEFT_PX - RIGHT_PX);
    view = { ...view, widthPx };
    const theme = readTheme();
    for (const panel of [overview, ...panels]) paint(panel, theme, view);
    const stepMs = spanOf(view) / 100;
    const times = [view.fromMs, view.toMs].map((timeMs) => secondsText(timeMs, stepMs));
    rangeText.textContent = times.join(' to ');
  };
  const drawSoon = (): void => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(draw);
  };
  const navigator = {
    view: () => view,
    change: (next: View) => {
      view = next;
      drawSoon();
    },
  };

  const hover = makeHover(container);
  for (const panel of [overview, ...panels]) {
    const { canvas } = panel;
    canvas.addEventListener('pointermove', (event) => hover.show(panel, event, view));
    canvas.addEventListener('pointerleave', () => hover.hide());
    if (panel === overview) continue;
    listenToWheel(canvas, navigator);
    listenToDrag(canvas, navigator);
  }
  listenToSelection(overview.canvas, navigator);
  listenToButtons(navigator);
  listenToAnomalies(page, navigator, container);
  window.addEventListener('resize', drawSoon);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawSoon);
  draw();
  showHash(page, navigator);
}

/** Buttons beside the anomalies lead to their places. */
function listenToAnomalies(page: PageData, navigator: Navigator, container: HTMLElement): void {
  for (const button of document.querySelectorAll<HTMLElement>('[data-anomaly]')) {
    button.addEventListener('click', () => {
      showAnomaly(page, Number(button.dataset.anomaly), navigator);
      container.scrollIntoView({ block: 'start' });
    });
  }
}

function showAnomaly(page: PageData, number: number, navigator: Navigator): void {
  const anomaly = page.anomalies[number];
  if (anomaly === undefined || anomaly.fromMs === null) return;
  navigator.change(around(navigator.view(), anomaly.fromMs, anomaly.toMs ?? anomaly.fromMs));
}

/** `#anomaly-2` and `#from-1200-to-3400` (milliseconds) lead there, so that a place can be sent. */
function showHash(page: PageData, navigator: Navigator): void {
  const anomaly = /^#anomaly-(\d+)$/.exec(location.hash);
  if (anomaly !== null) showAnomaly(page, Number(anomaly[1]) - 1, navigator);
  const range = /^#from-(\d+)-to-(\d+)$/.exec(location.hash);
  if (range === null) return;
  navigator.change(showing(navigator.view(), Number(range[1]), Number(range[2])));
}

startTimeline(JSON.parse(elementOf('data').textContent ?? '') as PageData);

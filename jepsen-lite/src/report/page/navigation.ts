/**
 * How a reader moves through a run: buttons, keys, the wheel with ctrl (a plain wheel scrolls the
 * page, as everywhere), dragging, and dragging in the overview to choose a part.
 */
import { panned, showing, spanOf, timeAt, type View, zoomed } from './view.ts';

export interface Navigator {
  view(): View;
  change(view: View): void;
}

const ZOOM_STEP = 0.6;
const PAN_SHARE = 0.25;
/** A click that moved less was no drag. */
const DRAG_PX_MIN = 4;

const middleOf = (view: View): number => (view.fromMs + view.toMs) / 2;

export function listenToButtons(navigator: Navigator): void {
  const actions: Readonly<Record<string, (view: View) => View>> = {
    'zoom-in': (view) => zoomed(view, ZOOM_STEP, middleOf(view)),
    'zoom-out': (view) => zoomed(view, 1 / ZOOM_STEP, middleOf(view)),
    'zoom-all': (view) => showing(view, 0, view.endMs),
    earlier: (view) => panned(view, -spanOf(view) * PAN_SHARE),
    later: (view) => panned(view, spanOf(view) * PAN_SHARE),
  };
  for (const [id, action] of Object.entries(actions)) {
    document.getElementById(id)?.addEventListener('click', () => {
      navigator.change(action(navigator.view()));
    });
  }
  const keys: Readonly<Record<string, string>> = {
    ...{ '+': 'zoom-in', '=': 'zoom-in', '-': 'zoom-out', '0': 'zoom-all' },
    ...{ ArrowLeft: 'earlier', ArrowRight: 'later' },
  };
  document.addEventListener('keydown', (event) => {
    const action = actions[keys[event.key] ?? ''];
    if (action === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target instanceof HTMLInputElement) return;
    event.preventDefault();
    navigator.change(action(navigator.view()));
  });
}

export function listenToWheel(canvas: HTMLCanvasElement, navigator: Navigator): void {
  canvas.addEventListener(
    'wheel',
    (event) => {
      const view = navigator.view();
      const isSideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
      if (!event.ctrlKey && !event.metaKey && !isSideways) return;
      event.preventDefault();
      if (isSideways) {
        const byPx = event.deltaX === 0 ? event.deltaY : event.deltaX;
        navigator.change(panned(view, (byPx / view.widthPx) * spanOf(view)));
        return;
      }
      const xPx = event.clientX - canvas.getBoundingClientRect().left;
      const factor = Math.exp(Math.max(-1, Math.min(1, event.deltaY / 200)));
      navigator.change(zoomed(view, factor, timeAt(view, xPx)));
    },
    { passive: false },
  );
}

/** Moves what is shown along with the pointer. */
export function listenToDrag(canvas: HTMLCanvasElement, navigator: Navigator): void {
  onDrag(
    canvas,
    (view, fromPx, toPx) => {
      navigator.change(panned(view, ((fromPx - toPx) / view.widthPx) * spanOf(view)));
    },
    navigator,
  );
}

/** Shows what was dragged over. */
export function listenToSelection(canvas: HTMLCanvasElement, navigator: Navigator): void {
  onDrag(
    canvas,
    (view, fromPx, toPx) => {
      const whole = showing(view, 0, view.endMs);
      const [left, right] = fromPx < toPx ? [fromPx, toPx] : [toPx, fromPx];
      navigator.change(showing(view, timeAt(whole, left), timeAt(whole, right)));
    },
    navigator,
  );
}

/** `move` gets the view and the position at the begin of the drag. */
function onDrag(
  canvas: HTMLCanvasElement,
  move: (begun: View, fromPx: number, toPx: number) => void,
  navigator: Navigator,
): void {
  let begin: { readonly xPx: number; readonly view: View } | null = null;
  const xPxOf = (event: PointerEvent): number =>
    event.clientX - canvas.getBoundingClientRect().left;
  canvas.addEventListener('pointerdown', (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    begin = { xPx: xPxOf(event), view: navigator.view() };
  });
  canvas.addEventListener('pointermove', (event) => {
    if (begin === null || Math.abs(xPxOf(event) - begin.xPx) < DRAG_PX_MIN) return;
    move(begin.view, begin.xPx, xPxOf(event));
  });
  for (const name of ['pointerup', 'pointercancel'] as const) {
    canvas.addEventListener(name, () => {
      begin = null;
    });
  }
}

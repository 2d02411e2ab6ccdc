/** The line under the pointer through all panels, and the box that says what is there. */
import type { Panel } from './surface.ts';
import type { View } from './view.ts';

const BOX_OFFSET_PX = 14;

export interface Hover {
  show(panel: Panel, event: PointerEvent, view: View): void;
  hide(): void;
}

export function makeHover(container: HTMLElement): Hover {
  const line = document.createElement('div');
  line.className = 'crosshair';
  const box = document.createElement('div');
  box.className = 'hover';
  container.append(line, box);
  const hide = (): void => {
    line.hidden = true;
    box.hidden = true;
  };
  hide();
  return {
    hide,
    show: (panel, event, view) => {
      const bounds = panel.canvas.getBoundingClientRect();
      const outer = container.getBoundingClientRect();
      const xPx = event.clientX - bounds.left;
      if (xPx < view.leftPx || xPx > view.leftPx + view.widthPx) return hide();
      line.hidden = false;
      line.style.left = `${event.clientX - outer.left}px`;
      const texts = panel.describe(view, xPx, event.clientY - bounds.top);
      box.hidden = texts === null;
      if (texts === null) return;
      box.replaceChildren(
        ...texts.map((text) => {
          const row = document.createElement('div');
          row.textContent = text;
          return row;
        }),
      );
      place(box, event, outer);
    },
  };
}

/** Beside the pointer, and inside of the page. */
function place(box: HTMLElement, event: PointerEvent, outer: DOMRect): void {
  const xPx = event.clientX - outer.left;
  const isRight = event.clientX + BOX_OFFSET_PX + box.offsetWidth > outer.right;
  box.style.left = `${isRight ? xPx - BOX_OFFSET_PX - box.offsetWidth : xPx + BOX_OFFSET_PX}px`;
  const isBelow = event.clientY + BOX_OFFSET_PX + box.offsetHeight > window.innerHeight;
  const yPx = event.clientY - outer.top;
  box.style.top = `${isBelow ? yPx - BOX_OFFSET_PX - box.offsetHeight : yPx + BOX_OFFSET_PX}px`;
}

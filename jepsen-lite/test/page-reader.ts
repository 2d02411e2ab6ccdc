// Reads a page as a browser would, as far as the tests need it: its parts, and what its script
// draws, on a document of canvases that note what is painted.
import { createHash } from 'node:crypto';
import { createContext, Script } from 'node:vm';
import { assert } from '@holdfast/base';
import type { PageData } from '../src/report/page/page-data.ts';

export interface ParsedPage {
  /** The text that a reader sees, without data and scripts. */
  readonly text: string;
  readonly data: PageData;
  readonly script: string;
  /** Every tag of the body, as written. */
  readonly tags: readonly string[];
  readonly policy: string;
  readonly hasOwnHash: boolean;
}

export const unescapeHtml = (text: string): string =>
  text
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&#39;', "'")
    .replaceAll('&amp;', '&');

export function parsePage(html: string): ParsedPage {
  const scripts = [...html.matchAll(/<script([^>]*)>([\s\S]*?)<\/script>/g)];
  assert(scripts.length === 2, 'a page has its data and its script', { count: scripts.length });
  const [data = '', script = ''] = scripts.map((match) => match[2]);
  const body = html.slice(html.indexOf('<body>'), html.indexOf('<script'));
  const policy = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(html)?.[1] ?? '';
  const hash = createHash('sha256').update(script).digest('base64');
  return {
    text: unescapeHtml(body.replaceAll(/<[^>]*>/g, ' ').replaceAll(/\s+/g, ' ')),
    data: JSON.parse(data) as PageData,
    script,
    tags: [...body.matchAll(/<[^>]*>/g)].map(([tag]) => tag),
    policy,
    hasOwnHash: policy.includes(`'sha256-${hash}'`),
  };
}

export interface Painting {
  readonly texts: readonly string[];
  /** Rectangles by colour. */
  readonly rectCounts: ReadonlyMap<string, number>;
}

export interface FakeBrowser {
  /** By id of the canvas; of the last time it was painted. */
  painting(id: string): Painting;
  click(id: string): void;
  /** The text that the script has put into an element. */
  textOf(id: string): string;
}

type Listener = (event: object) => void;

class FakeElement {
  readonly listeners = new Map<string, Listener[]>();
  readonly style: Record<string, string> = {};
  readonly dataset: Record<string, string> = {};
  textContent = '';
  hidden = false;
  readonly clientWidth = 1_096;

  addEventListener(name: string, listener: Listener): void {
    this.listeners.set(name, [...(this.listeners.get(name) ?? []), listener]);
  }
  append(): void {}
  replaceChildren(): void {}
  scrollIntoView(): void {}
  getBoundingClientRect() {
    return { left: 0, top: 0, right: 1_096, bottom: 500 };
  }
}

class FakeCanvas extends FakeElement {
  texts: string[] = [];
  rectCounts = new Map<string, number>();
  #width = 0;

  get width(): number {
    return this.#width;
  }
  /** As in a browser: a new width is a new painting. */
  set width(value: number) {
    this.#width = value;
    this.texts = [];
    this.rectCounts = new Map();
  }

  getContext(): object {
    const state: Record<string, unknown> = { fillStyle: '' };
    const calls: Record<string, (...values: never[]) => unknown> = {
      fillText: (text: string) => this.texts.push(text),
      fillRect: (...numbers: number[]) => {
        assert(numbers.every(Number.isFinite), 'painted at no place', { numbers });
        const colour = String(state.fillStyle);
        this.rectCounts.set(colour, (this.rectCounts.get(colour) ?? 0) + 1);
      },
      measureText: (text: string) => ({ width: text.length * 6 }),
    };
    return new Proxy(state, {
      get: (target, name: string) => calls[name] ?? target[name] ?? (() => undefined),
    });
  }
}

/** Runs the script of a page. Style variables are their own names: `--ok` is the colour 'ok'. */
export function openPage(html: string, hash = ''): FakeBrowser {
  const elements = new Map<string, FakeElement>();
  for (const [tag, id = ''] of html.matchAll(/<\w+[^>]* id="([^"]+)"[^>]*>/g)) {
    elements.set(id, tag.startsWith('<canvas') ? new FakeCanvas() : new FakeElement());
  }
  const { data, script } = parsePage(html);
  const dataElement = elements.get('data') ?? new FakeElement();
  dataElement.textContent = JSON.stringify(data);
  const buttons = [...html.matchAll(/data-anomaly="(\d+)"/g)].map(([, number = '']) => {
    const button = new FakeElement();
    button.dataset.anomaly = number;
    elements.set(`anomaly ${number}`, button);
    return button;
  });
  const globals = {
    HTMLCanvasElement: FakeCanvas,
    HTMLInputElement: class extends FakeElement {},
    location: { hash },
    document: {
      documentElement: {},
      addEventListener: () => {},
      createElement: () => new FakeElement(),
      getElementById: (id: string) => elements.get(id) ?? null,
      querySelectorAll: () => buttons,
    },
    getComputedStyle: () => ({ getPropertyValue: (name: string) => name.slice(2) }),
    matchMedia: () => new FakeElement(),
    requestAnimationFrame: (draw: () => void) => draw(),
  };
  const window = { devicePixelRatio: 1, innerHeight: 900, addEventListener: () => {} };
  new Script(script).runInContext(createContext({ ...globals, window }));
  return {
    painting: (id) => {
      const canvas = elements.get(id);
      assert(canvas instanceof FakeCanvas, 'no such canvas', { id });
      return canvas;
    },
    click: (id) => {
      const listeners = elements.get(id)?.listeners.get('click') ?? [];
      assert(listeners.length > 0, 'nothing listens', { id });
      for (const listener of listeners) listener({});
    },
    textOf: (id) => elements.get(id)?.textContent ?? '',
  };
}

/**
 * What the demo shows. On a terminal: colours and a moving progress bar. Anywhere else (a pipe, a
 * log of continuous integration): plain lines, one at each quarter of the work.
 */
import { SingleBar } from 'cli-progress';

export interface ScreenTarget {
  readonly isTerminal: boolean;
  readonly hasColour: boolean;
  write(text: string): void;
}

export interface ProgressBar {
  advanceTo(value: number): void;
  stop(): void;
}

type Tone = 'bold' | 'dim' | 'good' | 'bad' | 'warm';

const TONE_CODES = {
  bold: '1',
  dim: '2',
  good: '32',
  bad: '31',
  warm: '33',
} as const satisfies Record<Tone, string>;

const WRAP_COLUMNS = 92;
/** Plain progress lines per bar. */
const PLAIN_STEP_COUNT = 4;

export function standardOutput(): ScreenTarget {
  const isTerminal = process.stdout.isTTY === true;
  return {
    isTerminal,
    hasColour: isTerminal && process.env.NO_COLOR === undefined,
    write: (text) => void process.stdout.write(text),
  };
}

export class Screen {
  readonly #target: ScreenTarget;

  constructor(target: ScreenTarget) {
    this.#target = target;
  }

  heading(text: string): void {
    this.line();
    this.line(this.tone('bold', text));
  }

  line(text = ''): void {
    this.#target.write(`${text}\n`);
  }

  /** A line that belongs to the heading above it. */
  detail(text: string): void {
    this.line(`  ${text}`);
  }

  /** Wrapped to a readable width, indented. */
  paragraph(text: string, indent: string): void {
    for (const line of wrap(text, WRAP_COLUMNS - indent.length)) {
      this.line(this.tone('dim', indent + line));
    }
  }

  check(isGood: boolean, text: string): void {
    const mark = isGood ? this.tone('good', 'ok  ') : this.tone('bad', 'FAIL');
    this.detail(`${mark} ${text}`);
  }

  tone(tone: Tone, text: string): string {
    return this.#target.hasColour ? `\u001b[${TONE_CODES[tone]}m${text}\u001b[0m` : text;
  }

  progress(total: number, unit: string): ProgressBar {
    return this.#target.isTerminal ? movingBar(total, unit) : this.#plainBar(total, unit);
  }

  #plainBar(total: number, unit: string): ProgressBar {
    let shownSteps = 0;
    return {
      advanceTo: (value) => {
        const steps = Math.floor((value / total) * PLAIN_STEP_COUNT);
        if (steps <= shownSteps) return;
        shownSteps = steps;
        this.detail(`${value} of ${total} ${unit}`);
      },
      stop: () => undefined,
    };
  }
}

function movingBar(total: number, unit: string): ProgressBar {
  const bar = new SingleBar({
    format: `  [{bar}] {percentage}% {value}/{total} ${unit}, {duration_formatted}`,
    barCompleteChar: '=',
    barIncompleteChar: ' ',
    barsize: 40,
    hideCursor: true,
  });
  bar.start(total, 0);
  return { advanceTo: (value) => bar.update(value), stop: () => bar.stop() };
}

/** Breaks between words; a word longer than a line stands alone. */
export function wrap(text: string, columns: number): readonly string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = '';
    }
    line = line === '' ? word : `${line} ${word}`;
  }
  if (line !== '') lines.push(line);
  return lines;
}

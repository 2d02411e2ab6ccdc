/**
 * A page for operators as a list of steps. Pure. Every fence of such a page has a language:
 *
 *   sh                 a step: run by bash, exit code 0
 *   sh exit=1          a step that must fail with this code
 *   sh shared          values and functions that the pages of its folder use
 *   sh needs=root      run where that is there (see NEEDS), else listed as not run
 *   sh elsewhere=apt   for another platform (see ELSEWHERE): never run, always listed
 *   output             what the step above it prints: see expected-output.ts
 *
 * Anything else is read and not run, and may hold no command: what looks like one is a problem.
 */

export interface PageStep {
  readonly kind: 'step' | 'shared';
  /** Line of its fence, from 1. */
  readonly line: number;
  readonly code: string;
  readonly exitCode: number;
  readonly needs: Need | null;
  readonly elsewhere: Elsewhere | null;
  /** Lines of the `output` block that follows; null: there is none. */
  readonly expected: readonly string[] | null;
}

export interface Page {
  /** Relative to the root of the tree. */
  readonly path: string;
  readonly title: string;
  readonly steps: readonly PageStep[];
  /** In words, with the line: the page cannot be followed as it is written. */
  readonly problems: readonly string[];
}

/** What a step may need of the machine. */
export const NEEDS = {
  root: 'needs root, to mount a small disk',
  s3: 'needs the S3 server of the tests (Debian: radosgw ceph-mon ceph-osd ceph-common)',
} as const;
export type Need = keyof typeof NEEDS;

/** The only reasons for which a step is never run. */
export const ELSEWHERE = {
  systemd: 'for servers that start their nodes with systemd',
  kubernetes: 'for nodes in Kubernetes',
  apt: 'installs packages of the system',
} as const;
export type Elsewhere = keyof typeof ELSEWHERE;

interface Fence {
  readonly line: number;
  readonly words: readonly string[];
  readonly lines: readonly string[];
}

const COMMAND = /^\s*(?:\$ |(?:holdfast|npm|npx|curl|kubectl|systemctl|apt-get) )/;

export function readPage(path: string, text: string): Page {
  const problems: string[] = [];
  const steps: PageStep[] = [];
  for (const fence of fencesOf(text, problems)) {
    const { line, lines, words } = fence;
    const [language = ''] = words;
    if (language === 'sh') steps.push(stepOf(fence, problems));
    else if (language === 'output') addOutput(steps, fence, problems);
    else if (language === '') problems.push(`line ${line}: a block without a language`);
    else if (lines.some((each) => COMMAND.test(each))) {
      problems.push(`line ${line}: a command in a block that is not run; make it sh`);
    }
  }
  const title = /^# (.+)$/m.exec(text)?.[1] ?? path;
  return { path, title, steps, problems };
}

/** Commands of `holdfast` that the prose names in backquotes: `holdfast backup list ...`. */
export function mentionedCommands(text: string): readonly string[] {
  const spans = [...text.matchAll(/`holdfast ([a-z]+)( [a-z]+)?/g)];
  return [...new Set(spans.map(([, first = '', second = '']) => first + second))];
}

/** Whether a step calls it. */
export const isCalledIn = (command: string, { code }: PageStep): boolean =>
  new RegExp(`\\bholdfast ${command}\\b`).test(code);

function fencesOf(text: string, problems: string[]): readonly Fence[] {
  const fences: Fence[] = [];
  let open: { line: number; words: readonly string[]; lines: string[] } | null = null;
  for (const [number, line] of text.split('\n').entries()) {
    const fence = /^\s*```(.*)$/.exec(line);
    if (fence === null) open?.lines.push(line);
    else if (open === null) {
      const words = (fence[1] ?? '').trim().split(/\s+/);
      open = { line: number + 1, words, lines: [] };
    } else {
      fences.push(open);
      open = null;
    }
  }
  if (open !== null) problems.push(`line ${open.line}: a block without an end`);
  return fences;
}

function stepOf({ line, lines, words }: Fence, problems: string[]): PageStep {
  let exitCode = 0;
  let kind: PageStep['kind'] = 'step';
  let needs: Need | null = null;
  let elsewhere: Elsewhere | null = null;
  for (const word of words.slice(1)) {
    const [name = '', value = ''] = word.split('=');
    if (word === 'shared') kind = 'shared';
    else if (name === 'exit' && /^[1-9]\d*$/.test(value)) exitCode = Number(value);
    else if (name === 'needs' && isKeyOf(NEEDS, value)) needs = value;
    else if (name === 'elsewhere' && isKeyOf(ELSEWHERE, value)) elsewhere = value;
    else problems.push(`line ${line}: sh ${word} is not known`);
  }
  return { kind, line, code: lines.join('\n'), exitCode, needs, elsewhere, expected: null };
}

const isKeyOf = <Table extends object>(table: Table, key: string): key is keyof Table & string =>
  Object.hasOwn(table, key);

function addOutput(steps: PageStep[], { line, lines }: Fence, problems: string[]): void {
  const step = steps.pop();
  if (step === undefined || step.expected !== null) {
    problems.push(`line ${line}: output of no step`);
    return;
  }
  steps.push({ ...step, expected: lines.filter((each) => each.trim() !== '') });
}

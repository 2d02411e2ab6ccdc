/**
 * Follows pages as they are written. The pages of one list share a machine: the first one makes the
 * cluster, the others use it, in the order of the list. After a step that failed the rest of its
 * page is not run; the next page gets a new shell with the shared steps of the first page.
 */
import { join } from 'node:path';
import { missingLine } from './expected-output.ts';
import type { Need, Page, PageStep } from './page.ts';
import { ELSEWHERE, NEEDS } from './page.ts';
import { Place, withOwnValues } from './place.ts';
import { Shell } from './shell.ts';

export type StepOutcome =
  | { readonly kind: 'good'; readonly tookMs: number }
  | { readonly kind: 'failed'; readonly reason: string; readonly output: string }
  /** For a reason that the page or the machine gives. */
  | { readonly kind: 'skipped'; readonly reason: string }
  /** A step before it failed. */
  | { readonly kind: 'not-reached' };

export interface StepReport {
  readonly page: string;
  readonly line: number;
  readonly outcome: StepOutcome;
}

export interface FollowOptions {
  readonly pages: readonly Page[];
  /** What this machine has. */
  readonly has: ReadonlySet<Need>;
  readonly onStep: (report: StepReport) => void;
  /** Leave the folder with data, logs and the texts of steps. */
  readonly isKept?: boolean;
}

/** A whole drill fits into one step, on a machine that is busy. */
const STEP_TIMEOUT_MS = 900_000;
const OUTPUT_LENGTH_SHOWN = 4_000;

/** Returns every step of every page, in order. */
export async function followPages(options: FollowOptions): Promise<readonly StepReport[]> {
  const { has, isKept, onStep, pages } = options;
  const used = new Set(pages.flatMap(({ steps }) => steps.flatMap(({ needs }) => needs ?? [])));
  const place = await Place.make(new Set([...used].filter((need) => has.has(need))));
  const reports: StepReport[] = [];
  const follower = new Follower(place, options);
  try {
    for (const page of pages) {
      for await (const report of follower.page(page)) {
        reports.push(report);
        onStep(report);
      }
    }
  } finally {
    await place.leave(isKept);
  }
  return reports;
}

class Follower {
  readonly #place: Place;
  readonly #options: FollowOptions;
  #shell: Shell | null = null;
  #shellCount = 0;
  /** The first page did not end well: there is no cluster for the others. */
  #isHopeless = false;

  constructor(place: Place, options: FollowOptions) {
    this.#place = place;
    this.#options = options;
  }

  async *page(page: Page): AsyncGenerator<StepReport> {
    const { pages } = this.#options;
    let hasFailed = this.#isHopeless;
    for (const step of page.steps) {
      const reason = this.#whyNot(step);
      let outcome: StepOutcome;
      if (reason !== null) outcome = { kind: 'skipped', reason };
      else if (hasFailed) outcome = { kind: 'not-reached' };
      else outcome = await this.#run(step);
      hasFailed ||= outcome.kind === 'failed';
      yield { page: page.path, line: step.line, outcome };
    }
    if (hasFailed && page === pages[0]) this.#isHopeless = true;
  }

  #whyNot({ elsewhere, needs }: PageStep): string | null {
    if (elsewhere !== null) return ELSEWHERE[elsewhere];
    if (needs !== null && !this.#options.has.has(needs)) return NEEDS[needs];
    return null;
  }

  async #run(step: PageStep): Promise<StepOutcome> {
    const shell = await this.#openShell();
    const code = withOwnValues(step.code, this.#place.values);
    const { exitCode, output, tookMs } = await shell.run(code, step.exitCode !== 0);
    const reason = whatIsWrong(step, exitCode, output);
    if (reason === null) return { kind: 'good', tookMs };
    await shell.close();
    this.#shell = null;
    return { kind: 'failed', reason, output: output.slice(-OUTPUT_LENGTH_SHOWN) };
  }

  async #openShell(): Promise<Shell> {
    if (this.#shell?.isOpen === true) return this.#shell;
    this.#shellCount += 1;
    const { environment, folder, values, workFolder } = this.#place;
    const shell = new Shell({
      ...{ environment, folder: workFolder, stepTimeoutMs: STEP_TIMEOUT_MS },
      notesFolder: join(folder, `shell-${this.#shellCount}`),
    });
    this.#shell = shell;
    if (this.#shellCount === 1) return shell;
    const [first] = this.#options.pages;
    for (const step of first?.steps ?? []) {
      if (step.kind === 'shared' && this.#whyNot(step) === null) {
        await shell.run(withOwnValues(step.code, values));
      }
    }
    return shell;
  }
}

function whatIsWrong(step: PageStep, exitCode: number | null, output: string): string | null {
  if (exitCode === null) return 'it did not end in time';
  if (exitCode !== step.exitCode) return `exit code ${exitCode}, not ${step.exitCode}`;
  const missing = step.expected === null ? null : missingLine(step.expected, output);
  return missing === null ? null : `it did not print: ${missing}`;
}

/** What a checker found wrong, by name: a few examples of each, and how many there were. */
import type { FinishedOperation } from '../history.ts';
import { EXAMPLE_COUNT_MAX, type InvalidExample, invalid, type Verdict } from './verdict.ts';

export class Problems {
  readonly #examples = new Map<string, InvalidExample[]>();
  readonly #counts = new Map<string, number>();

  /** A problem of the kind `what`; the last of the `witnesses` is the one that shows it. */
  add(
    what: string,
    facts: Readonly<Record<string, unknown>>,
    witnesses: readonly FinishedOperation[] = [],
  ): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1);
    const examples = this.#examples.get(what) ?? [];
    this.#examples.set(what, examples);
    if (examples.length >= EXAMPLE_COUNT_MAX) return;
    examples.push({ what, ...facts, ...placeOf(witnesses) });
  }

  /** Null when nothing was found. Every kind of problem is among the examples. */
  toVerdict(subject: string): Verdict | null {
    if (this.#counts.size === 0) return null;
    const counts = [...this.#counts].map(([what, count]) => `${count} x ${what}`);
    const groups = [...this.#examples.values()];
    const inTurn = Array.from({ length: EXAMPLE_COUNT_MAX }, (_unused, i) =>
      groups.flatMap((group) => group.slice(i, i + 1)),
    );
    return invalid(`${subject}: ${counts.join(', ')}`, inTurn.flat());
  }
}

/** Who and when, for a picture. */
function placeOf(witnesses: readonly FinishedOperation[]): InvalidExample {
  const last = witnesses.at(-1);
  if (last === undefined) return {};
  const endsMs = witnesses.map(({ finishedMs }) => finishedMs).filter((ms) => ms !== Infinity);
  return {
    processIds: [...new Set(witnesses.map(({ processId }) => processId))],
    fromMs: Math.min(...witnesses.map(({ invokedMs }) => invokedMs)),
    ...(endsMs.length === 0 ? {} : { toMs: Math.max(...endsMs) }),
    timeMs: last.finishedMs === Infinity ? last.invokedMs : last.finishedMs,
  };
}

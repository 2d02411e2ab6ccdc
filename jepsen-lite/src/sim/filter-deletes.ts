/**
 * What deletes by filter did, worked out from the log indexes of a finished history. The leader
 * resolves the filter with a linearizable read and deletes each point only as it was found, so of a
 * key nothing needs to be guessed unless it was written while the delete was under way.
 */
import type { Outcome } from '../history.ts';
import type { Timeline } from './timeline.ts';
import { valueAt, versionAt } from './timeline.ts';

/** Every value belongs to one; the payload of a point names that of its value. */
export const GROUP_COUNT = 4;
export const groupOf = (value: number): number => value % GROUP_COUNT;

export interface FilterDelete {
  readonly group: number;
  /** Highest index that anyone was told before it began: everything up to it is found. */
  readonly floorIndex: number;
  outcome: 'open' | 'refused' | 'unknown' | { readonly index: number; readonly count: number };
  /** Decides later how the delete of a key ended, for the linearizability search. */
  readonly settle: (key: number, outcome: Outcome) => void;
  /** It is over, however it ended. */
  readonly end: () => void;
}

/** A version of a key that may have been deleted at an index, or not. */
interface Doubt {
  readonly version: number;
  readonly index: number;
}

export class FilterDeletes {
  readonly #deletes: FilterDelete[] = [];
  readonly #doubts = new Map<number, Doubt[]>();

  begin(one: FilterDelete): void {
    this.#deletes.push(one);
  }

  /**
   * Puts what was deleted into the timelines, oldest first. `isBlurred`: an upsert of the key has
   * an unknown outcome. Returns what cannot be.
   */
  apply(
    keys: readonly number[],
    timelineOf: (key: number) => Timeline,
    isBlurred: (key: number) => boolean,
  ): readonly string[] {
    const problems: string[] = [];
    for (const one of this.#done()) {
      const { index, count } = one.outcome;
      let low = 0;
      let high = 0;
      for (const key of keys) {
        const timeline = timelineOf(key);
        const version = versionAt(timeline, index - 1);
        const value = valueAt(timeline, index - 1);
        const mayMatch = value !== null && (Number.isNaN(value) || groupOf(value) === one.group);
        const isCertain = mayMatch && !Number.isNaN(value) && version <= one.floorIndex;
        if (isCertain && !timeline.has(index)) timeline.set(index, null);
        else if (mayMatch) this.#doubt(key, { version, index });
        // Another delete that nobody was told of may have been there first.
        const isClear = !isBlurred(key) && !this.mayBeGone(key, version, value, index - 1);
        const isSure = isCertain && isClear;
        if (isSure) low += 1;
        if (mayMatch || isBlurred(key)) high += 1;
        one.settle(key, isSure ? 'ok' : !mayMatch && isClear ? 'fail' : 'info');
      }
      if (count < low || count > high)
        problems.push(`a delete by filter at ${index}: ${low} to ${high} match, ${count} went`);
    }
    return problems;
  }

  /** A key that had `version` and is gone at `index`: some delete may explain it. */
  mayBeGone(key: number, version: number, value: number | null, index: number): boolean {
    const doubts = this.#doubts.get(key) ?? [];
    if (doubts.some((doubt) => doubt.version === version && doubt.index <= index)) return true;
    if (value === null) return false;
    return this.#deletes.some(
      ({ group, outcome }) =>
        (outcome === 'unknown' || outcome === 'open') &&
        (Number.isNaN(value) || groupOf(value) === group),
    );
  }

  /** Some delete that may have taken effect is about points with this value. */
  isAbout(value: number): boolean {
    return this.#deletes.some(
      ({ group, outcome }) => outcome !== 'refused' && groupOf(value) === group,
    );
  }

  #doubt(key: number, doubt: Doubt): void {
    this.#doubts.set(key, [...(this.#doubts.get(key) ?? []), doubt]);
  }

  #done() {
    return this.#deletes
      .flatMap((one) => (typeof one.outcome === 'object' ? [{ ...one, outcome: one.outcome }] : []))
      .sort((left, right) => left.outcome.index - right.outcome.index);
  }
}

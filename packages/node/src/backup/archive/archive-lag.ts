/**
 * How long the oldest committed entry has waited to be archived: what a site that is lost now would
 * lose. Remembers when the commit index was seen to move, in a bounded number of steps; where
 * steps are merged the age is rather too great than too small.
 */
const STEP_COUNT_MAX = 512;
/** Commits that come within this time of each other are one step. */
const STEP_MS = 10;

interface Step {
  /** Entries after the step before and up to this one were committed at `atMs`, at the earliest. */
  readonly index: number;
  readonly atMs: number;
}

export class ArchiveLag {
  #steps: Step[] = [];
  #committedIndex = 0;
  #archivedIndex = 0;

  get entryCount(): number {
    return Math.max(0, this.#committedIndex - this.#archivedIndex);
  }

  noteCommitted(index: number, nowMs: number): void {
    if (index <= this.#committedIndex) return;
    this.#committedIndex = index;
    if (index <= this.#archivedIndex) return;
    const last = this.#steps.at(-1);
    if (last !== undefined && nowMs - last.atMs < STEP_MS) {
      this.#steps[this.#steps.length - 1] = { ...last, index };
      return;
    }
    if (this.#steps.length >= STEP_COUNT_MAX) this.#steps = halve(this.#steps);
    this.#steps.push({ index, atMs: nowMs });
  }

  noteArchived(index: number): void {
    this.#archivedIndex = index;
    const first = this.#steps.findIndex((step) => step.index > index);
    this.#steps = first < 0 ? [] : this.#steps.slice(first);
  }

  /** The oldest entry that waits is known to have waited for so long already. */
  backdate(ageMs: number, nowMs: number): void {
    const [oldest, ...rest] = this.#steps;
    if (oldest === undefined) return;
    this.#steps = [{ ...oldest, atMs: Math.min(oldest.atMs, nowMs - ageMs) }, ...rest];
  }

  /** Milliseconds; 0 when everything is archived. */
  ageMs(nowMs: number): number {
    const oldest = this.#steps[0];
    return oldest === undefined ? 0 : Math.max(0, nowMs - oldest.atMs);
  }
}

/** Every two steps become one, at the time of the earlier. */
function halve(steps: readonly Step[]): Step[] {
  const halved: Step[] = [];
  for (let i = 0; i < steps.length; i += 2) {
    const earlier = steps[i] as Step;
    const later = steps[i + 1] ?? earlier;
    halved.push({ index: later.index, atMs: earlier.atMs });
  }
  return halved;
}

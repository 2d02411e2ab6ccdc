/**
 * A known bug of other implementations, written as an exact change to compiled text. Production
 * source carries no switch for it. A mutant changes behaviour only: it adds no throw, assertion or
 * log line that could be what kills it.
 */
export interface PlantedBug {
  /** Short and unique; what `--only` takes. */
  readonly id: string;
  /** The bug as one sentence. */
  readonly bug: string;
  /** Compiled file, relative to the root. */
  readonly file: string;
  /** Stands exactly once in the file. */
  readonly find: string;
  readonly replace: string;
}

/** One that tests are to kill. */
export interface Mutant extends PlantedBug {
  /** Where it happened: paper sections, and projects with the number of the issue. */
  readonly source: string;
  /** First written when the tests that may kill it were frozen. */
  readonly isAddedAfterFreeze?: boolean;
}

/** `text` with the bug in it; null when the text to be replaced is not there exactly once. */
export function applyMutant(
  mutant: Pick<PlantedBug, 'find' | 'replace'>,
  text: string,
): string | null {
  const at = text.indexOf(mutant.find);
  if (at === -1 || text.indexOf(mutant.find, at + 1) !== -1) return null;
  return text.slice(0, at) + mutant.replace + text.slice(at + mutant.find.length);
}

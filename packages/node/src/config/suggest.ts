/** The known name nearest to a mistyped one. */

/** Beyond this many edits a suggestion is a guess that misleads. */
const EDIT_COUNT_MAX = 4;

/** Null when nothing is near enough. Case and separators do not count as edits. */
export function nearestName(unknown: string, known: Iterable<string>): string | null {
  let best: string | null = null;
  let bestDistance = Math.min(EDIT_COUNT_MAX, Math.ceil(unknown.length / 2)) + 1;
  for (const name of known) {
    const distance = editDistance(fold(unknown), fold(name));
    if (distance < bestDistance) {
      best = name;
      bestDistance = distance;
    }
  }
  return best;
}

const fold = (name: string): string => name.toLowerCase().replaceAll(/[-_. ]/g, '');

/** Levenshtein, two rows. Names are short: quadratic is fine. */
function editDistance(left: string, right: string): number {
  let previous = Array.from({ length: right.length + 1 }, (_, i) => i);
  for (let i = 1; i <= left.length; i++) {
    const current = [i];
    for (let j = 1; j <= right.length; j++) {
      const substitution = previous[j - 1]! + (left[i - 1] === right[j - 1] ? 0 : 1);
      current.push(Math.min(substitution, previous[j]! + 1, current[j - 1]! + 1));
    }
    previous = current;
  }
  return previous[right.length]!;
}

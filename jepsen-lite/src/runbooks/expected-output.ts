/**
 * Whether a step printed what its page shows. Pure. Each line of the page is found in the output,
 * in this order; other lines may stand between. `...` is whatever stands there, runs of blanks are
 * one blank.
 */

/** The first line of the page that was not printed; null: all were. */
export function missingLine(expected: readonly string[], output: string): string | null {
  const printed = output.split('\n').map(squeezed);
  let next = 0;
  for (const line of expected) {
    const pattern = patternOf(squeezed(line));
    while (next < printed.length && !pattern.test(printed[next] ?? '')) next += 1;
    if (next === printed.length) return line;
    next += 1;
  }
  return null;
}

const squeezed = (line: string): string => line.trim().replaceAll(/\s+/g, ' ');

const patternOf = (line: string): RegExp => {
  const literals = line.split('...').map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${literals.join('.*')}$`);
};

/**
 * Pages are written by hand; the parts that must agree with the code stand between two marks:
 *
 *   <!-- generated:NAME -->
 *   <!-- /generated -->
 *
 * Invariant: everything outside of the marks is kept byte for byte.
 */

export type Sections = Readonly<Record<string, () => string>>;

const SECTION = /<!-- generated:([a-z-]+) -->\n[\s\S]*?<!-- \/generated -->/g;

/** The page with every section made anew. @throws Error for a section that nobody makes */
export function withSections(page: string, sections: Sections): string {
  return page.replaceAll(SECTION, (_whole, name: string) => {
    const make = sections[name];
    if (make === undefined) throw new Error(`no generator for the section ${name}`);
    return `<!-- generated:${name} -->\n${make().trimEnd()}\n<!-- /generated -->`;
  });
}

export const sectionNames = (page: string): readonly string[] =>
  [...page.matchAll(SECTION)].map((match) => match[1] ?? '');

/** A row of a Markdown table; pipes and line breaks in cells are made harmless. */
export const row = (cells: readonly string[]): string =>
  `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`;

export function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  return [row(heads), row(heads.map(() => '---')), ...rows.map((cells) => row(cells))].join('\n');
}

export interface LineDifference {
  readonly line: number;
  readonly expected: string;
  readonly actual: string;
}

/** The first line in which the page and what it should be differ; null when they agree. */
export function firstDifference(actual: string, expected: string): LineDifference | null {
  if (actual === expected) return null;
  const [left, right] = [actual.split('\n'), expected.split('\n')];
  for (let i = 0; i < Math.max(left.length, right.length); i++)
    if (left[i] !== right[i])
      return { line: i + 1, expected: right[i] ?? '(end)', actual: left[i] ?? '(end)' };
  return null;
}

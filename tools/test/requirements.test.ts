/**
 * Goal: pages that claim something point at tests that exist. Method: titles in double quotes on
 * the requirements and guarantees pages are looked up, as they are, in the test files of the tree.
 */
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { readTree } from '../src/tidy/tree-files.ts';

/** How many requirements each source has; every number from 1 on is one. */
const COUNTS: Readonly<Record<string, number>> = { S0: 51, S1: 72, S2: 60, S3: 47, S4: 37, N: 10 };
const NOT_YET = /^not yet: \[(raft|storage|jepsen|backup|later)\]( \(.*\))?$/;

const tree = readTree(fileURLToPath(new URL('../../../', import.meta.url)));
const page = tree.get('docs/REQUIREMENTS.md') ?? '';
const guarantees = tree.get('docs/GUARANTEES.md') ?? '';
const testTexts = [...tree]
  .filter(([path]) => path.endsWith('.test.ts') && !path.startsWith('tools/test/requirements'))
  .map(([, text]) => text);

interface Row {
  readonly id: string;
  readonly shownBy: string;
}

const rows: readonly Row[] = page
  .split('\n')
  .map((line) => line.split('|').map((cell) => cell.trim()))
  .filter((cells) => /^(S\d|N)-\d+$/.test(cells[1] ?? ''))
  .map((cells) => ({ id: cells[1] ?? '', shownBy: cells.slice(3, -1).join('|') }));

const titlesOf = (text: string): readonly string[] =>
  [...text.matchAll(/"([^"]+)"/g)].map((match) => match[1] ?? '');

/** A title stands in a test file as the whole of a literal. */
const isTestTitle = (title: string, texts: readonly string[]): boolean =>
  ["'", '"', '`'].some((quote) => {
    const escaped = quote === "'" ? title.replaceAll("'", "\\'") : title;
    return texts.some((text) => text.includes(`${quote}${escaped}${quote}`));
  });

t.test('every requirement is listed exactly once', async (t) => {
  const expected = Object.entries(COUNTS).flatMap(([source, count]) =>
    Array.from({ length: count }, (_, index) => `${source}-${index + 1}`),
  );
  t.same(
    rows.map((row) => row.id),
    expected,
  );
});

t.test(
  'every requirement names tests of this tree, or the work that will bring them',
  async (t) => {
    for (const { id, shownBy } of rows) {
      const titles = titlesOf(shownBy);
      if (titles.length === 0) t.match(shownBy, NOT_YET, `${id} is shown by a test or not yet`);
      else t.notMatch(shownBy, /not yet/, `${id} is one or the other`);
      for (const title of titles)
        t.ok(isTestTitle(title, testTexts), `${id}: "${title}" is a test`);
    }
  },
);

t.test('every test that the guarantees page names exists', async (t) => {
  const titles = titlesOf(guarantees);
  t.ok(titles.length > 0, 'the page names tests');
  for (const title of titles) t.ok(isTestTitle(title, testTexts), `"${title}" is a test`);
});

t.test('a title that no test has is noticed', async (t) => {
  t.notOk(isTestTitle('a title of no test', ["t.test('another title', f)"]));
  t.notOk(isTestTitle('a part', ["t.test('a part of a title', f)"]));
  t.ok(isTestTitle("it's whole", ["t.test('it\\'s whole', f)"]));
  t.ok(isTestTitle('whole', ['t.test(`whole`, f)']));
});

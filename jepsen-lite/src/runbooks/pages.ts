/**
 * Which pages are followed, in which order: the page on operating by itself, and the runbooks. The
 * first of those makes the cluster that the others use, in the order in which it lists them.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { cephMissing } from '@holdfast/node/testing';
import { mentionedCommands, type Need, type Page, readPage } from './page.ts';

export const OPERATING = 'docs/OPERATING.md';
const RUNBOOKS = 'docs/runbooks';
const FIRST = `${RUNBOOKS}/README.md`;

const root = new URL('../../../../', import.meta.url);

export const readText = (path: string): string => readFileSync(new URL(path, root), 'utf8');

export const operatingPages = (): readonly Page[] => [readPage(OPERATING, readText(OPERATING))];

/** @throws Error when the first page does not list them all */
export function runbookPages(): readonly Page[] {
  const text = readText(FIRST);
  const listed = [...text.matchAll(/\]\(([a-z-]+\.md)\)/g)].map(([, name = '']) => name);
  const names = [...new Set(listed)];
  const there = readdirSync(fileURLToPath(new URL(`${RUNBOOKS}/`, root)));
  const forgotten = there.filter((name) => name !== 'README.md' && !names.includes(name));
  if (forgotten.length > 0) throw new Error(`${FIRST} does not list ${forgotten.join(', ')}`);
  const paths = [FIRST, ...names.map((name) => `${RUNBOOKS}/${name}`)];
  return paths.map((path) => readPage(path, readText(path)));
}

/** Commands of `holdfast` that a page names, by page. */
export const mentionsOf = (pages: readonly Page[]): ReadonlyMap<string, readonly string[]> =>
  new Map(pages.map(({ path }) => [path, mentionedCommands(readText(path))]));

/** What steps may count on here. */
export function whatIsHere(): ReadonlySet<Need> {
  const has = new Set<Need>();
  if (process.platform === 'linux' && process.getuid?.() === 0) has.add('root');
  if (cephMissing() === false) has.add('s3');
  return has;
}

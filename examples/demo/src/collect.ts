/**
 * Finds the real documents of the demo: every Markdown file and README of this repository and of
 * the packages it uses. Bounded in depth, count and size; sorted, so that every run reads the same.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TextFile } from './passages.ts';

/** Deeper trees than this are build output. */
const DEPTH_MAX = 16;
const FILE_COUNT_MAX = 4_000;
/** Larger files are generated. */
const FILE_SIZE_BYTES_MAX = 512 << 10;
const SKIPPED_DIRECTORIES: ReadonlySet<string> = new Set(['.git', '.tap', 'dist', 'data', 'store']);
/** Legal texts and lists of changes answer no questions and repeat themselves. */
const SKIPPED_FILES = /^(licen[cs]e|changelog|changes|history|code_of_conduct|security|patents)/i;
/** The embedder knows Latin letters only: `README.zh-CN.md` would become a vector of zeros. */
const TRANSLATED_FILE = /\.[a-z]{2}(-[a-z]{2})?\.md$/i;
const TEXT_FILE = /(\.(md|mdx|markdown)$|^readme(\.txt)?$)/i;

/** The directory that holds the workspace file, above this one. */
export function repositoryRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, 'pnpm-workspace.yaml'))) {
    const parent = dirname(directory);
    if (parent === directory) throw new Error('pnpm-workspace.yaml not found above this file');
    directory = parent;
  }
  return directory;
}

/** The repository's own texts first, then those of its packages. */
export function collectTextFiles(root: string): readonly TextFile[] {
  const paths: string[] = [];
  walk(root, 0, paths);
  const isForeign = (path: string) => Number(path.includes('node_modules'));
  return paths
    .map((path) => relative(root, path))
    .sort((left, right) => isForeign(left) - isForeign(right) || (left < right ? -1 : 1))
    .map((path) => ({ path: shownPath(path), text: readFileSync(join(root, path), 'utf8') }));
}

/** Symbolic links are not followed: every package has one real place in the pnpm store. */
function walk(directory: string, depth: number, paths: string[]): void {
  if (depth > DEPTH_MAX) return;
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (paths.length >= FILE_COUNT_MAX) return;
    const path = join(directory, entry.name);
    if (entry.isDirectory()) {
      const isBuildOutput = SKIPPED_DIRECTORIES.has(entry.name) && !path.includes('node_modules');
      if (!isBuildOutput && entry.name !== '.git') walk(path, depth + 1, paths);
    } else if (entry.isFile() && isWantedName(entry.name)) {
      if (statSync(path).size <= FILE_SIZE_BYTES_MAX) paths.push(path);
    }
  }
}

const isWantedName = (name: string): boolean =>
  TEXT_FILE.test(name) && !SKIPPED_FILES.test(name) && !TRANSLATED_FILE.test(name);

/** `node_modules/.pnpm/ws@8.23.0/node_modules/ws/README.md` reads better as `ws/README.md`. */
function shownPath(path: string): string {
  const marker = 'node_modules/';
  const at = path.lastIndexOf(marker);
  return at === -1 ? path : path.slice(at + marker.length);
}

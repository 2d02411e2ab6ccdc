/** Reads the text files of the checkout: sources, pages, settings. Not what a tool produced. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Tree } from './rules.ts';

const FOLDERS_LEFT_OUT = new Set(['node_modules', 'dist', '.git', '.tap', 'data']);
/** Runs of the fault harness; a folder of sources has the same name. */
const PATHS_LEFT_OUT = new Set(['jepsen-lite/store']);
/** Generated; and the pnpm hooks, whose very bytes the lockfile names. */
const FILES_LEFT_OUT = new Set(['pnpm-lock.yaml', '.pnpmfile.cjs']);
const FIXTURES = /\/fixtures\//;
const TEXT_FILE = /\.(ts|mjs|cjs|md|json|yaml|yml|txt|wat)$/;

export function readTree(root: string): Tree {
  const tree = new Map<string, string>();
  const walk = (folder: string): void => {
    for (const item of readdirSync(join(root, folder), { withFileTypes: true })) {
      const path = folder === '' ? item.name : `${folder}/${item.name}`;
      const isLeftOut = FOLDERS_LEFT_OUT.has(item.name) || PATHS_LEFT_OUT.has(path);
      if (item.isDirectory() && !isLeftOut) walk(path);
      const isText = TEXT_FILE.test(item.name) || folder === '.ci';
      if (!item.isFile() || !isText || FIXTURES.test(path) || FILES_LEFT_OUT.has(item.name))
        continue;
      tree.set(path, readFileSync(join(root, path), 'utf8'));
    }
  };
  walk('');
  return tree;
}

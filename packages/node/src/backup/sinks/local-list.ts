/**
 * The objects of a folder in the order of their keys, with bounded memory: names of one folder are
 * taken in pages of the smallest ones, and a folder of more names is read again for the next page.
 *
 * A folder named `a` holds the keys that begin with `a/`, so it sorts as `a/`: after `a-b` and
 * before `a0`, where the keys in it belong. From node:fs itself, as local-files.ts says.
 */
import { opendir } from 'node:fs/promises';
import { join } from 'node:path';
import { stringField } from './sink-failure.ts';
import { OBJECT_FILE_SUFFIX } from './sink-keys.ts';

/** About 20 MB of names; a folder of a million objects is read sixteen times. */
export const NAME_PAGE_COUNT_MAX = 65_536;

export interface ListedFile {
  readonly key: string;
  readonly path: string;
}

export interface ListBounds {
  readonly prefix: string;
  /** Only keys after this one; '' for all. */
  readonly after: string;
  readonly pageCountMax: number;
}

/** Keys below `root` that start with the prefix and come after `after`. */
export function listFiles(root: string, bounds: ListBounds): AsyncGenerator<ListedFile> {
  return walk(root, '', bounds);
}

async function* walk(
  folder: string,
  keyPrefix: string,
  bounds: ListBounds,
): AsyncGenerator<ListedFile> {
  let last: string | null = null;
  for (;;) {
    const page = await smallestNames(folder, keyPrefix, bounds, last);
    for (const name of page) {
      last = name;
      if (!name.endsWith('/')) {
        yield { key: `${keyPrefix}${name}`, path: join(folder, `${name}${OBJECT_FILE_SUFFIX}`) };
        continue;
      }
      yield* walk(join(folder, name.slice(0, -1)), `${keyPrefix}${name}`, bounds);
    }
    if (page.length < bounds.pageCountMax) return;
  }
}

/** In order, at most a page of them; folders with a slash at the end, objects without suffix. */
async function smallestNames(
  folder: string,
  keyPrefix: string,
  bounds: ListBounds,
  after: string | null,
): Promise<readonly string[]> {
  let names: string[] = [];
  const cut = (): void => {
    names = names.sort(byCodeUnit).slice(0, bounds.pageCountMax);
  };
  for await (const entry of entriesOf(folder)) {
    const name = logicalName(entry.name, entry.isDirectory());
    if (name === null || (after !== null && name <= after)) continue;
    if (!mayHold(`${keyPrefix}${name}`, bounds)) continue;
    names.push(name);
    if (names.length >= 2 * bounds.pageCountMax) cut();
  }
  cut();
  return names;
}

const byCodeUnit = (left: string, right: string): number => (left < right ? -1 : 1);

/** Null for what is no object: temporary files, and what others put into the folder. */
function logicalName(name: string, isFolder: boolean): string | null {
  if (name.startsWith('.')) return null;
  if (isFolder) return `${name}/`;
  return name.endsWith(OBJECT_FILE_SUFFIX) ? name.slice(0, -OBJECT_FILE_SUFFIX.length) : null;
}

/** Whether this key, or any key in this folder, is asked for. */
function mayHold(path: string, { prefix, after }: ListBounds): boolean {
  if (!path.endsWith('/')) return path.startsWith(prefix) && path > after;
  const isInPrefix = path.startsWith(prefix) || prefix.startsWith(path);
  return isInPrefix && (path > after || after.startsWith(path));
}

async function* entriesOf(folder: string) {
  try {
    for await (const entry of await opendir(folder, { bufferSize: 1_024 })) yield entry;
  } catch (error) {
    // nothing was ever stored there, or the last object was removed with its folder
    if (stringField(error, 'code') !== 'ENOENT') throw error;
  }
}

/**
 * Which files of a running node can be damaged now. Left out is what the node has not yet declared
 * part of its state (a checkpoint under way), and the place in the log that is written to just now.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type FileKind, kindOfPath } from './file-kinds.ts';

export interface VictimFile {
  /** Relative to the data directory. */
  readonly path: string;
  readonly kind: FileKind;
  readonly inode: number;
  readonly sizeBytes: number;
  /** Of the log: behind the last byte that is not zero; elsewhere the size. */
  readonly contentSizeBytes: number;
  /** The log file that is written to, or one that will be: only its distant parts are safe. */
  readonly isActive: boolean;
}

const DIRECTORIES = ['.', 'meta', 'wal', 'collections'] as const;

/**
 * A file that goes away meanwhile is left out. `known` are paths that a checkpoint was seen to
 * name; it grows: a segment that was made whole is a new file of the same name. `ahead` are places
 * of log files, by path, where a damage put a byte before anything was written there.
 */
export function listVictimFiles(
  dataDirectory: string,
  known: Set<string> = new Set(),
  ahead: ReadonlyMap<string, readonly number[]> = new Map(),
): readonly VictimFile[] {
  const checkpointMs = modifiedMs(join(dataDirectory, 'CHECKPOINT'));
  const files: VictimFile[] = [];
  for (const path of pathsIn(dataDirectory)) {
    const kind = kindOfPath(path);
    if (kind === null) continue;
    const file = victimFile(dataDirectory, path, kind, ahead.get(path) ?? []);
    if (file === null) continue;
    const isNamed = !/^(collections|meta)\//.test(path);
    const isOlder = (modifiedMs(join(dataDirectory, path)) ?? Infinity) <= (checkpointMs ?? 0);
    if (isNamed || isOlder) known.add(path);
    if (known.has(path)) files.push(file);
  }
  return markActive(files);
}

function pathsIn(dataDirectory: string): readonly string[] {
  const paths: string[] = [];
  for (const directory of DIRECTORIES) {
    const full = join(dataDirectory, directory);
    if (!existsSync(full)) continue;
    const names = readdirSync(full, { recursive: directory === 'collections', encoding: 'utf8' });
    for (const name of names) paths.push(directory === '.' ? name : `${directory}/${name}`);
  }
  return paths.sort();
}

function victimFile(
  dataDirectory: string,
  path: string,
  kind: FileKind,
  ahead: readonly number[],
): VictimFile | null {
  const full = join(dataDirectory, path);
  try {
    const { ino, size } = statSync(full);
    const contentSizeBytes = kind === 'wal' ? contentEnd(readFileSync(full), ahead) : size;
    return { path, kind, inode: ino, sizeBytes: size, contentSizeBytes, isActive: false };
  } catch (error) {
    if (isGone(error)) return null;
    throw error;
  }
}

/** Of a log file; one that is made ahead has nothing else. */
const HEADER_PAGE_SIZE_BYTES = 4_096;

/** The newest log file with batches, and those made ahead behind it. */
function markActive(files: readonly VictimFile[]): readonly VictimFile[] {
  const filled = files.filter(
    ({ kind, contentSizeBytes }) => kind === 'wal' && contentSizeBytes > HEADER_PAGE_SIZE_BYTES,
  );
  const active = filled.at(-1)?.path ?? '';
  return files.map((file) => ({ ...file, isActive: file.kind === 'wal' && file.path >= active }));
}

function contentEnd(bytes: Buffer, ahead: readonly number[]): number {
  for (const at of ahead) bytes[at] = 0;
  let end = bytes.byteLength;
  while (end > 0 && bytes[end - 1] === 0) end -= 1;
  return end;
}

/** Null when there is no such file. */
export function modifiedMs(path: string): number | null {
  try {
    return statSync(path).mtimeMs;
  } catch (error) {
    if (isGone(error)) return null;
    throw error;
  }
}

export const isGone = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'ENOENT';

/** Null when there is no such file. */
export function inodeOf(path: string): number | null {
  try {
    return statSync(path).ino;
  } catch (error) {
    if (isGone(error)) return null;
    throw error;
  }
}

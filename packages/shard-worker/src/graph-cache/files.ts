/**
 * Names and generations of saved graphs, in the folder of their shard:
 *
 *   graph-<generation>.graph     block file of kind `graph` (contents.ts): labels, native bytes
 *   graph-<generation>.json      sidecar (sidecar.ts): checksum of that file, and what it is of
 *   graph-<generation>.loading   stands while native code reads it; found at start: it crashed
 *   graph-native.scratch         what native code writes and reads; a later start removes it
 *
 * The sidecar comes last, so a graph file without one is the rest of a crash.
 */
import type { FileSystem } from '@holdfast/storage';
import { joinPath } from '@holdfast/storage';
import { shardDirectory } from '../segment/paths.ts';

/** S2-9: how far back a start looks for a graph that can be read. */
export const GENERATION_COUNT_MAX = 10;
/** Of one shard: a graph of a million rows at 128 dimensions, or several smaller ones. */
export const SIZE_BUDGET_BYTES_DEFAULT = 1 << 30;

const SCRATCH_FILE_NAME = 'graph-native.scratch';
const NAME_PATTERN = /^graph-(\d{8})\.(graph|json|loading)(\.temporary)?$/;

export interface GraphCachePlace {
  readonly fs: FileSystem;
  readonly dataDirectory: string;
  readonly uid: number;
  readonly shard: number;
}

export type GraphFileKind = 'graph' | 'json' | 'loading';

/** True for the files of this cache: they belong to no checkpoint and may go at any time. */
export const isGraphFileName = (name: string): boolean =>
  name === SCRATCH_FILE_NAME || NAME_PATTERN.test(name);

export const directoryOf = ({ dataDirectory, uid, shard }: GraphCachePlace): string =>
  joinPath(dataDirectory, shardDirectory(uid, shard));

export const scratchPath = (place: GraphCachePlace): string =>
  joinPath(directoryOf(place), SCRATCH_FILE_NAME);

export const graphFilePath = (
  place: GraphCachePlace,
  generation: number,
  kind: GraphFileKind,
): string => joinPath(directoryOf(place), `graph-${String(generation).padStart(8, '0')}.${kind}`);

/** Which files of each generation are there, oldest generation first. */
export function listGenerations(
  place: GraphCachePlace,
): ReadonlyMap<number, ReadonlySet<GraphFileKind>> {
  const found = new Map<number, Set<GraphFileKind>>();
  const directory = directoryOf(place);
  if (!place.fs.exists(directory)) return found;
  for (const name of place.fs.list(directory)) {
    const match = NAME_PATTERN.exec(name);
    if (match === null || match[3] !== undefined) continue;
    const generation = Number(match[1]);
    const kinds = found.get(generation) ?? new Set<GraphFileKind>();
    kinds.add(match[2] as GraphFileKind);
    found.set(generation, kinds);
  }
  return new Map([...found].sort(([left], [right]) => left - right));
}

/** Removes what an interrupted save or load left. */
export function removeLeftovers(place: GraphCachePlace): void {
  const directory = directoryOf(place);
  if (!place.fs.exists(directory)) return;
  for (const name of place.fs.list(directory)) {
    const match = NAME_PATTERN.exec(name);
    const isLeftover = name === SCRATCH_FILE_NAME || match?.[3] !== undefined;
    if (isLeftover) place.fs.remove(joinPath(directory, name));
  }
}

/** The sidecar goes first: a graph without one is never looked at. */
export function removeGeneration(place: GraphCachePlace, generation: number): void {
  for (const kind of ['json', 'graph', 'loading'] as const) {
    const path = graphFilePath(place, generation, kind);
    if (place.fs.exists(path)) place.fs.remove(path);
  }
  place.fs.syncDirectory(directoryOf(place));
}

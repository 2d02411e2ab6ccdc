/**
 * Saved graphs as files, for whoever looks after a disk: scrubber, fsck, inspect. A lane may save
 * or prune at the same time, so a file that is gone when it is read is no damage.
 */
import { HoldfastError } from '@holdfast/base';
import type { Damage, FileSystem, Steps } from '@holdfast/storage';
import {
  COLLECTIONS_DIRECTORY_NAME,
  digestSteps,
  joinPath,
  verifyChecksummedFile,
} from '@holdfast/storage';
import type { GraphCachePlace } from './files.ts';
import { graphFilePath, listGenerations } from './files.ts';
import type { GraphSidecar } from './sidecar.ts';
import { readSidecar } from './sidecar.ts';

export interface SavedGraph {
  readonly uid: number;
  readonly shard: number;
  readonly generation: number;
  /** Relative to the data directory. */
  readonly graphPath: string;
  readonly sidecarPath: string;
}

/** Every saved graph with its sidecar, of all shards; oldest generation of a shard first. */
export function listSavedGraphs(fs: FileSystem, dataDirectory: string): readonly SavedGraph[] {
  const root = joinPath(dataDirectory, COLLECTIONS_DIRECTORY_NAME);
  const found: SavedGraph[] = [];
  for (const uid of numbersIn(fs, root))
    for (const shard of numbersIn(fs, joinPath(root, String(uid)))) {
      const place = { fs, dataDirectory, uid, shard };
      for (const [generation, kinds] of listGenerations(place))
        if (kinds.has('json')) found.push(describe(place, generation));
    }
  return found;
}

/**
 * What is wrong with a saved graph, naming file and offset; empty when it is whole, or gone. About
 * a megabyte per step. Repair is `quarantineGeneration` and a new save: a graph is only a cache.
 */
export function* savedGraphDamageSteps(
  fs: FileSystem,
  dataDirectory: string,
  saved: SavedGraph,
): Steps<readonly Damage[]> {
  const sidecarPath = joinPath(dataDirectory, saved.sidecarPath);
  const graphPath = joinPath(dataDirectory, saved.graphPath);
  const damage = (file: string, what: string): readonly Damage[] =>
    fs.exists(file) ? [{ file, offset: 0, what, severity: 'damage' }] : [];
  let sidecar: GraphSidecar;
  try {
    sidecar = readSidecar(fs, sidecarPath);
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    return damage(sidecarPath, error.message);
  }
  if (!fs.exists(graphPath)) return damage(sidecarPath, 'its graph file is missing');
  if ((yield* digestSteps(fs, graphPath)) === sidecar.checksum) return [];
  const blocks = verifyChecksummedFile(fs, graphPath);
  return blocks.length > 0
    ? blocks
    : damage(graphPath, 'is not the file that its sidecar was written for');
}

function describe(place: GraphCachePlace, generation: number): SavedGraph {
  const relative = (kind: 'graph' | 'json') =>
    graphFilePath(place, generation, kind).slice(place.dataDirectory.length + 1);
  const { uid, shard } = place;
  const [graphPath, sidecarPath] = [relative('graph'), relative('json')];
  return { uid, shard, generation, graphPath, sidecarPath };
}

function numbersIn(fs: FileSystem, directory: string): readonly number[] {
  if (!fs.isDirectory(directory)) return [];
  return fs.list(directory).filter(isNumber).map(Number);
}

const isNumber = (name: string): boolean => /^\d{1,16}$/.test(name);

/**
 * Saved graphs as files, for whoever looks after a disk: the scrubber. A lane may save or prune at
 * the same time: what is wrong because of that is over a moment later, so look twice.
 *
 * Graph and sidecar are one unit: either without the other is a flaw of what is missing. Repair of
 * both is `quarantineGeneration` and a new save: a graph is only a cache.
 */
import { HoldfastError } from '@holdfast/base';
import type { FileSystem, ScrubLook } from '@holdfast/storage';
import { COLLECTIONS_DIRECTORY_NAME, joinPath, scrubSmallFile } from '@holdfast/storage';
import type { GraphCachePlace } from './files.ts';
import { graphFilePath, listGenerations } from './files.ts';
import type { GraphSidecar } from './sidecar.ts';
import { readSidecar } from './sidecar.ts';

export interface SavedGraphFile {
  readonly uid: number;
  readonly shard: number;
  readonly generation: number;
  readonly kind: 'graph' | 'json';
  /** Relative to the data directory. */
  readonly path: string;
}

/** Two files for every saved graph of which there is any, oldest generation of a shard first. */
export function listSavedGraphFiles(
  fs: FileSystem,
  dataDirectory: string,
): readonly SavedGraphFile[] {
  const root = joinPath(dataDirectory, COLLECTIONS_DIRECTORY_NAME);
  const found: SavedGraphFile[] = [];
  for (const uid of numbersIn(fs, root))
    for (const shard of numbersIn(fs, joinPath(root, String(uid)))) {
      const place = { fs, dataDirectory, uid, shard };
      for (const [generation, kinds] of listGenerations(place)) {
        if (!kinds.has('graph') && !kinds.has('json')) continue;
        found.push(fileOf(place, generation, 'graph'), fileOf(place, generation, 'json'));
      }
    }
  return found;
}

/** How one file of a saved graph is looked at right now. @throws HoldfastError FILE_IO */
export function lookAtSavedGraph(
  fs: FileSystem,
  dataDirectory: string,
  file: SavedGraphFile,
): ScrubLook {
  const place = { fs, dataDirectory, uid: file.uid, shard: file.shard };
  const path = joinPath(dataDirectory, file.path);
  if (file.kind === 'json') {
    const verify = (): void => assertOwn(readSidecar(fs, path), path, place);
    return { kind: 'small', steps: scrubSmallFile(fs, path, verify) };
  }
  const checksum = checksumIn(fs, graphFilePath(place, file.generation, 'json'));
  return {
    kind: 'file',
    job: { kind: 'blockFile', path, checksum: checksum ?? '' },
    judge: (flaws) => {
      const isNamed = checksum !== null || flaws.some(({ offset }) => offset !== null);
      // Without a checksum to compare with only its blocks speak; what is wrong is the sidecar.
      return isNamed || !fs.exists(path) ? flaws : [];
    },
  };
}

function assertOwn(sidecar: GraphSidecar, file: string, { shard, uid }: GraphCachePlace): void {
  if (sidecar.uid === uid && sidecar.shard === shard) return;
  const message = `${file} is of shard ${sidecar.shard} of collection ${sidecar.uid}`;
  throw new HoldfastError('FILE_CORRUPT', message, { details: { file } });
}

/** Null when the sidecar is missing or damaged, which is found by itself. */
function checksumIn(fs: FileSystem, sidecarPath: string): string | null {
  if (!fs.exists(sidecarPath)) return null;
  try {
    return readSidecar(fs, sidecarPath).checksum;
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    return null;
  }
}

function fileOf(
  place: GraphCachePlace,
  generation: number,
  kind: SavedGraphFile['kind'],
): SavedGraphFile {
  const { dataDirectory, shard, uid } = place;
  const path = graphFilePath(place, generation, kind).slice(dataDirectory.length + 1);
  return { uid, shard, generation, kind, path };
}

function numbersIn(fs: FileSystem, directory: string): readonly number[] {
  if (!fs.isDirectory(directory)) return [];
  return fs.list(directory).filter(isNumber).map(Number);
}

const isNumber = (name: string): boolean => /^\d{1,16}$/.test(name);

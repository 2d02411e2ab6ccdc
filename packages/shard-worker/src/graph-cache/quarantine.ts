/**
 * Takes one saved graph out of use: its files move below `quarantine/`, with a reason beside them.
 * Nothing is lost by it, the graph is built again; they are kept so that a person can find out why.
 */
import { joinPath, QUARANTINE_DIRECTORY_NAME, writeAtomicJson } from '@holdfast/storage';
import type { GraphCachePlace } from './files.ts';
import { directoryOf, graphFilePath } from './files.ts';

const FORMAT = { format: 'holdfast-quarantine', version: 1 } as const;
const REASON_FILE_NAME = 'reason.json';

/**
 * Safe to repeat after a crash at any point: the sidecar moves first, and what is left without one
 * is never loaded. Returns the folder, relative to the data directory.
 * @throws HoldfastError FILE_IO
 */
export function quarantineGeneration(
  place: GraphCachePlace,
  generation: number,
  reason: string,
): string {
  const { fs, dataDirectory, uid, shard } = place;
  const base = `${QUARANTINE_DIRECTORY_NAME}/graph-${uid}-${shard}-${generation}`;
  let folder = base;
  for (let n = 2; fs.exists(joinPath(dataDirectory, folder)); n++) folder = `${base}-${n}`;
  const directory = joinPath(dataDirectory, folder);
  fs.makeDirectory(directory);
  const files: string[] = [];
  for (const kind of ['json', 'graph', 'loading'] as const) {
    const path = graphFilePath(place, generation, kind);
    if (!fs.exists(path)) continue;
    fs.rename(path, joinPath(directory, kind));
    files.push(path.slice(dataDirectory.length + 1));
  }
  writeAtomicJson(fs, joinPath(directory, REASON_FILE_NAME), FORMAT, { reason, files });
  fs.syncDirectory(directory);
  fs.syncDirectory(directoryOf(place));
  return folder;
}

/** The disk of a simulated machine, judged from outside: whatever its node knows of it or not. */
import { fsckDataDirectory, joinPath, readCheckpointRoots, scrubLook } from '@holdfast/storage';
import { scrubPlaceOf } from '../heal/scrub-place.ts';
import type { ScrubPlace, ScrubTarget } from '../heal/scrub-targets.ts';
import { blockFiles, listTargets, lookOf } from '../heal/scrub-targets.ts';
import type { SimNode } from './sim-node.ts';
import { DATA_DIRECTORY } from './sim-node.ts';

/** Every file that the generations on the disk are made of. */
export function filesOnDisk({ fileSystem }: SimNode): readonly ScrubTarget[] {
  const { roots } = readCheckpointRoots(fileSystem, DATA_DIRECTORY);
  const walFiles = () => [];
  return listTargets({ fileSystem, dataDirectory: DATA_DIRECTORY, roots: () => roots, walFiles });
}

/**
 * What is wrong on the disk of a running node, by what its memory knows must be there: everywhere,
 * or in one file alone.
 */
export function flawsOf(node: SimNode, path: string | null = null): readonly string[] {
  const { fileSystem } = node;
  const { roots } = node.node.replica.checkpointer;
  const files = { fileSystem, dataDirectory: DATA_DIRECTORY, roots: () => roots };
  const place = scrubPlaceOf(files, node.wal);
  const isAskedFor = (target: ScrubTarget): boolean => path === null || target.path === path;
  const targets = listTargets(place).filter(isAskedFor);
  const found = targets.flatMap((target) =>
    target.kind === 'wal' ? [] : flawsOfFile(place, target),
  );
  return targets.some(({ kind }) => kind === 'wal') ? [...found, ...lostEntries(node)] : found;
}

/** A bad place of the log whose entries stand elsewhere misses nothing. */
function lostEntries({ fileSystem }: SimNode): readonly string[] {
  return fsckDataDirectory(fileSystem, DATA_DIRECTORY)
    .filter(({ severity, file }) => severity === 'damage' && file.includes('/wal'))
    .map(({ file, what }) => `${file}: ${what}`);
}

function flawsOfFile(place: ScrubPlace, target: ScrubTarget): readonly string[] {
  const steps = scrubLook(place.fileSystem, lookOf(place, target));
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value.map(({ what }) => `${target.path}: ${what}`);
  }
}

/** Content of every sealed segment that the newest checkpoint of a running node names, by path. */
export function segmentsOf(node: SimNode): ReadonlyMap<string, Uint8Array> {
  const { fileSystem } = node;
  const roots = node.node.replica.checkpointer.roots.slice(0, 1);
  const targets = blockFiles({ fileSystem, dataDirectory: DATA_DIRECTORY, roots: () => roots });
  const segments = targets.filter(({ kind }) => kind === 'segment');
  return new Map(
    segments.map(({ path }) => [path, fileSystem.contentOf(joinPath(DATA_DIRECTORY, path))]),
  );
}

/**
 * Loads the state of one checkpoint, or that of the beginning, into lanes and memory, and tells
 * what is damaged, file by file. What to do then is decided in open-state.ts.
 */
import type { Logger } from '@holdfast/base';
import { logIndex } from '@holdfast/base';
import type { CheckpointFile, FileDamage, ShardHost } from '@holdfast/shard-worker';
import { asDamage, damagedCheckpoint, isDamage, verifyCheckpoint } from '@holdfast/shard-worker';
import type { CheckpointRoot, FileSystem } from '@holdfast/storage';
import { manifestReferences } from '../replica/checkpointer.ts';
import { loadMeta } from '../replica/meta-file.ts';
import type { Pause } from '../replica/slices.ts';
import { inSlices } from '../replica/slices.ts';
import { MetaMachine } from '../state/meta-machine.ts';
import type { LoadWatch } from './load-watch.ts';

export interface StartStateParts {
  readonly fileSystem: FileSystem;
  readonly dataDirectory: string;
  readonly host: ShardHost;
  readonly pause: Pause;
  readonly watch: LoadWatch;
}

/**
 * The state at the end of `root`; null is the beginning of all.
 * @throws HoldfastError with all damages of its files (damagesOf), FORMAT_UNKNOWN, FILE_IO
 */
export async function loadStartState(
  parts: StartStateParts,
  root: CheckpointRoot | null,
): Promise<MetaMachine> {
  if (root !== null) return load(parts, root);
  await parts.host.open({ appliedIndex: logIndex(0), definitions: [], manifests: [] });
  return MetaMachine.empty();
}

async function load(parts: StartStateParts, root: CheckpointRoot): Promise<MetaMachine> {
  const { fileSystem, dataDirectory, host, pause, watch } = parts;
  const meta = await loadMeta(fileSystem, dataDirectory, root, pause).catch(async (thrown) => {
    if (!isDamage(thrown)) throw thrown;
    const references = manifestReferences(root);
    const others = await inSlices(verifyCheckpoint(fileSystem, dataDirectory, references), pause);
    throw damagedCheckpoint([asDamage(metaFileOf(root), thrown), ...others]);
  });
  await watch.during(
    root,
    host.open({
      appliedIndex: meta.appliedIndex,
      definitions: meta.catalogue.stored(),
      manifests: manifestReferences(root),
    }),
  );
  return meta;
}

const metaFileOf = ({ metaFile }: CheckpointRoot): CheckpointFile => ({
  ...{ kind: 'meta', uid: 0, shard: 0, ordinal: null },
  ...metaFile,
});

/** One line per damaged place, and one for the generation. */
export function tellDamage(
  logger: Logger,
  root: CheckpointRoot | null,
  damages: readonly Pick<FileDamage, 'kind' | 'path' | 'offset' | 'what'>[],
): void {
  for (const { kind, offset, path, what } of damages) {
    logger.error({ kind, path, offset, what }, 'a file of a checkpoint is damaged');
  }
  const place = { generation: root?.generation ?? 0, index: root?.meta.index ?? 0 };
  logger.error(
    { ...place, damagedCount: damages.length },
    'this checkpoint cannot be loaded as it is',
  );
}

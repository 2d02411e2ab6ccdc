/**
 * Loads the state that a node starts from: that of the newest checkpoint whose files are all what
 * they must be. A damaged one does not stop the start as long as an older generation is whole and
 * the log still has everything after it; then more is replayed, nothing is lost, and the damage is
 * told by file. Only when no generation can be used does the start fail, with the damages of the
 * newest one.
 */
import type { Logger } from '@holdfast/base';
import { HoldfastError, logIndex, toHoldfastError } from '@holdfast/base';
import type { CheckpointFile, FileDamage, ShardHost } from '@holdfast/shard-worker';
import {
  asDamage,
  damagedCheckpoint,
  damagesOf,
  isDamage,
  verifyCheckpoint,
} from '@holdfast/shard-worker';
import type { CheckpointRoot, FileSystem, GroupLog } from '@holdfast/storage';
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
  /** Repaired and brought into line with the newest root. */
  readonly log: GroupLog;
  readonly pause: Pause;
  readonly logger: Logger;
  readonly watch: LoadWatch;
}

export interface StartState {
  /** Of the generation in use, and those before it; empty on a node without a checkpoint. */
  readonly roots: readonly CheckpointRoot[];
  readonly meta: MetaMachine;
  /** Of newer generations that were left out. */
  readonly damages: readonly FileDamage[];
}

/**
 * `roots` are all readable generations, newest first.
 * @throws HoldfastError the first failure of the newest generation when none can be used
 */
export async function loadStartState(
  parts: StartStateParts,
  roots: readonly CheckpointRoot[],
): Promise<StartState> {
  if (roots.length === 0) {
    await parts.host.open({ appliedIndex: logIndex(0), definitions: [], manifests: [] });
    return { roots, meta: MetaMachine.empty(), damages: [] };
  }
  const damages: FileDamage[] = [];
  let newestFailure: HoldfastError | null = null;
  for (const [age, root] of roots.entries()) {
    if (age > 0 && !canReplayFrom(parts.log, root)) break;
    try {
      const meta = await load(parts, root);
      return { roots: roots.slice(age), meta, damages };
    } catch (thrown) {
      const failure = toHoldfastError(thrown);
      if (!isDamage(failure)) throw failure;
      newestFailure ??= failure;
      damages.push(...damagesOf(failure));
      tell(parts.logger, root, failure);
    }
  }
  throw newestFailure ?? new HoldfastError('CHECKPOINT_CORRUPT', 'no generation was tried');
}

/** True when the log has every entry after `root`, and the entry of `root` itself or its base. */
const canReplayFrom = (log: GroupLog, { meta }: CheckpointRoot): boolean =>
  log.base().index <= meta.index && log.term(meta.index) === meta.term;

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
      definitions: meta.catalogue.all(),
      manifests: manifestReferences(root),
    }),
  );
  return meta;
}

const metaFileOf = ({ metaFile }: CheckpointRoot): CheckpointFile => ({
  ...{ kind: 'meta', uid: 0, shard: 0, ordinal: null },
  ...metaFile,
});

function tell(logger: Logger, root: CheckpointRoot, failure: HoldfastError): void {
  for (const { kind, offset, path, what } of damagesOf(failure)) {
    logger.error({ kind, path, offset, what }, 'a file of a checkpoint is damaged');
  }
  const { generation, meta } = root;
  logger.error(
    { generation, index: meta.index, error: failure.message },
    'this checkpoint cannot be loaded; the generation before it is tried',
  );
}

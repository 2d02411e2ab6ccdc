/** What a checkpoint says about itself, for the manifest of a backup: read from its own files. */
import { HoldfastError } from '@holdfast/base';
import { readManifest } from '@holdfast/shard-worker';
import type { BackupCollection, FileSystem } from '@holdfast/storage';
import { manifestReferences } from '../replica/checkpointer.ts';
import { loadMetaSummary } from '../replica/meta-file.ts';
import type { Pause } from '../replica/slices.ts';
import type { PinnedCheckpoint } from './checkpoint-source.ts';

export interface CheckpointFacts {
  /** Time stamp of the newest entry, by the clock of the log. */
  readonly logTimeMs: number;
  /** In order of creation. */
  readonly collections: readonly BackupCollection[];
}

const DIGEST_RANGE = 1n << 128n;
const DIGEST_LENGTH = 32;

/** @throws HoldfastError FILE_CORRUPT, CHECKPOINT_CORRUPT, FORMAT_UNKNOWN, FILE_IO */
export async function describeCheckpoint(
  fileSystem: FileSystem,
  checkpoint: PinnedCheckpoint,
  pause: Pause,
): Promise<CheckpointFacts> {
  const { directory, root } = checkpoint;
  const { definitions, logTimeMs } = await loadMetaSummary(fileSystem, directory, root, pause);
  const sums = new Map<number, { vectorCount: number; digest: bigint; shardCount: number }>();
  for (const reference of manifestReferences(root)) {
    const { manifest } = readManifest(fileSystem, directory, reference);
    const sum = sums.get(reference.uid) ?? { vectorCount: 0, digest: 0n, shardCount: 0 };
    sum.vectorCount += manifest.liveRowCount;
    sum.digest = (sum.digest + BigInt(`0x${manifest.digest}`)) % DIGEST_RANGE;
    sum.shardCount += 1;
    sums.set(reference.uid, sum);
    await pause();
  }
  const collections = definitions.map((definition): BackupCollection => {
    const { name, uid, dimension, shardCount } = definition;
    const sum = sums.get(uid);
    if (sum?.shardCount !== shardCount) {
      const message = `the checkpoint has not every shard of collection ${name}: make another one`;
      throw new HoldfastError('CHECKPOINT_CORRUPT', message, { details: { uid, shardCount } });
    }
    const digest = sum.digest.toString(16).padStart(DIGEST_LENGTH, '0');
    return { name, uid, dimension, shardCount, vectorCount: sum.vectorCount, digest };
  });
  return { logTimeMs, collections };
}

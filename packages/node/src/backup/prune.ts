/**
 * Removes what retention lets go from one sink: manifests first, so that what is half removed is no
 * backup any more; then files and chunks of the log that nobody needs, in bounded batches. Before
 * every batch the manifests are read again, since a backup may have ended meanwhile.
 *
 * As long as one manifest cannot be read it is not known what it names, and nothing is removed.
 * One caller at a time for a sink, and no backup meanwhile: store-lock.ts keeps them apart.
 */
import type { Clock, HoldfastError } from '@holdfast/base';
import { failpoint } from '@holdfast/base';
import type { BackupManifest, KeyRing } from '@holdfast/storage';
import {
  backupManifestKey,
  fileKey,
  filePrefix,
  logChunkKey,
  logChunkPrefix,
  numberOfKey,
} from '@holdfast/storage';
import { throwIfAborted } from './backup-abort.ts';
import { forEachBounded } from './bounded.ts';
import type { KeptTimeline, StoredChunk } from './garbage.ts';
import { fileGarbage, logGarbage } from './garbage.ts';
import { listBackupIds, readStoredManifest } from './manifest-store.ts';
import type { KeptBackup, RetentionPolicy } from './retention.ts';
import { planRetention } from './retention.ts';
import type { BackupSink } from './sinks/sink.ts';
import { isObjectDamage } from './stored-object.ts';

/** What a store removes with one request. */
const REMOVE_BATCH_COUNT = 500;
/** Of one kind in one run; the next run goes on. */
const CANDIDATE_COUNT_MAX = 100_000;
const HEAD_CONCURRENCY = 8;

export interface TimelineFacts {
  readonly timeline: string;
  readonly parent: { readonly timeline: string; readonly index: number } | null;
}

export interface PruneOptions {
  readonly sink: BackupSink;
  readonly clusterId: string;
  readonly keys: KeyRing;
  readonly clock: Pick<Clock, 'wallMs'>;
  readonly policy: RetentionPolicy;
  /** Every timeline of the cluster, as its objects say: of others no log is removed. */
  readonly timelines: readonly TimelineFacts[];
  /** Only says what would be removed. */
  readonly isDryRun: boolean;
  /** Asked before every batch; what it throws ends the removal there. */
  readonly confirm?: () => Promise<void>;
  readonly signal?: AbortSignal;
}

export interface PruneReport {
  readonly kept: readonly KeptBackup[];
  /** Ids of backups, removed or, in a dry run, to be removed. */
  readonly removedBackups: readonly string[];
  readonly removedFileCount: number;
  readonly removedChunkCount: number;
  /** What interrupted puts had left unseen. */
  readonly removedLeftoverCount: number;
  /** Manifests that cannot be read: from then on nothing was removed. */
  readonly blockedBy: readonly { readonly backupId: string; readonly error: HoldfastError }[];
}

/** @throws HoldfastError SINK_*, BACKUP_ABORTED (by the signal); what was removed stays removed */
export async function prune(options: PruneOptions): Promise<PruneReport> {
  return new Prune(options).run();
}

/** What garbage is decided by, without the lists of files. */
interface ManifestFacts {
  readonly backupId: string;
  readonly createdMs: number;
  readonly baseBackupId: string | null;
  readonly timeline: string;
  readonly index: number;
  /** sha256 of each. */
  readonly contents: readonly string[];
  readonly chunks: readonly number[];
}

class Prune {
  readonly #options: PruneOptions;
  readonly #facts = new Map<string, ManifestFacts>();
  readonly #blockedBy: { backupId: string; error: HoldfastError }[] = [];

  constructor(options: PruneOptions) {
    this.#options = options;
  }

  async run(): Promise<PruneReport> {
    const { clock, isDryRun, policy } = this.#options;
    await this.#readManifests();
    if (this.#blockedBy.length > 0) return this.#blocked();
    const plan = planRetention([...this.#facts.values()], policy, clock.wallMs());
    if (isDryRun) for (const backupId of plan.remove) this.#facts.delete(backupId);
    else await this.#removeManifests(plan.remove);
    failpoint('prune.before-objects');
    const files = await this.#oldFiles();
    const chunks = await this.#oldChunks();
    const removedFileCount = await this.#removeUnnamed(files, (keys) => this.#stillOld(keys));
    const removedChunkCount = await this.#removeUnnamed(chunks, async (keys) => keys);
    return {
      ...{ kept: plan.keep, removedBackups: plan.remove, blockedBy: this.#blockedBy },
      ...{ removedFileCount, removedChunkCount, removedLeftoverCount: 0 },
    };
  }

  #blocked(): PruneReport {
    return {
      ...{ kept: [], removedBackups: [], removedFileCount: 0, removedChunkCount: 0 },
      removedLeftoverCount: 0,
      blockedBy: this.#blockedBy,
    };
  }

  async #removeManifests(ids: readonly string[]): Promise<void> {
    const { clusterId, signal, sink } = this.#options;
    // One by one: the order is a promise, and a store removes a batch in any.
    for (const backupId of ids) {
      throwIfAborted(signal);
      await this.#options.confirm?.();
      failpoint('prune.before-manifest');
      await sink.remove([backupManifestKey(clusterId, backupId)], this.#readOptions());
      this.#facts.delete(backupId);
    }
  }

  /**
   * Batch by batch, each judged anew just before by the manifests that there are then. Ends early
   * when one turns up that cannot be read.
   */
  async #removeUnnamed(
    candidates: readonly string[],
    judge: (keys: readonly string[]) => Promise<readonly string[]>,
  ): Promise<number> {
    const { isDryRun, signal, sink } = this.#options;
    if (isDryRun) return candidates.length;
    let removedCount = 0;
    for (let at = 0; at < candidates.length; at += REMOVE_BATCH_COUNT) {
      throwIfAborted(signal);
      const batch = await judge(candidates.slice(at, at + REMOVE_BATCH_COUNT));
      await this.#readManifests();
      if (this.#blockedBy.length > 0) return removedCount;
      const named = this.#named();
      const keys = batch.filter((key) => !named.has(key));
      if (keys.length === 0) continue;
      await this.#options.confirm?.();
      failpoint('prune.before-batch');
      await sink.remove(keys, this.#readOptions());
      removedCount += keys.length;
    }
    return removedCount;
  }

  async #oldFiles(): Promise<readonly string[]> {
    const { clock, clusterId, sink } = this.#options;
    const nowMs = clock.wallMs();
    const named = this.#named();
    const keys: string[] = [];
    for await (const object of sink.list(filePrefix(clusterId), undefined, this.#readOptions())) {
      keys.push(...fileGarbage([object], named, nowMs));
      if (keys.length >= CANDIDATE_COUNT_MAX) break;
    }
    return keys;
  }

  /** A backup may have sent it again since it was listed, and name it in a moment. */
  async #stillOld(keys: readonly string[]): Promise<readonly string[]> {
    const { clock, sink } = this.#options;
    const nothing: ReadonlySet<string> = new Set();
    const old: string[] = [];
    await forEachBounded(keys, HEAD_CONCURRENCY, async (key) => {
      const object = await sink.head(key, this.#readOptions());
      if (object !== null) old.push(...fileGarbage([object], nothing, clock.wallMs()));
    });
    return old;
  }

  async #oldChunks(): Promise<readonly string[]> {
    const { clock, policy, timelines } = this.#options;
    if (policy.logRetentionMs === null) return [];
    const { logRetentionMs } = policy;
    const kept = [...this.#facts.values()];
    const found: KeptTimeline[] = [];
    for (const { timeline, parent } of timelines) {
      const ofTimeline = kept.filter((facts) => facts.timeline === timeline);
      found.push({
        ...{ timeline, parent, ...(await this.#firstChunks(timeline, logRetentionMs)) },
        backupIndexes: ofTimeline.map(({ index }) => index),
        namedChunks: new Set(ofTimeline.flatMap((facts) => facts.chunks)),
      });
    }
    return logGarbage(found, logRetentionMs, clock.wallMs());
  }

  /** Up to the first that is young, since all that follow stay: a week of them is millions. */
  async #firstChunks(
    timeline: string,
    logRetentionMs: number,
  ): Promise<Pick<KeptTimeline, 'chunks' | 'hasMoreChunks'>> {
    const { clock, clusterId, sink } = this.#options;
    const nowMs = clock.wallMs();
    const chunks: StoredChunk[] = [];
    const prefix = logChunkPrefix(clusterId, timeline);
    for await (const { key, modifiedMs } of sink.list(prefix, undefined, this.#readOptions())) {
      const firstIndex = numberOfKey(key);
      if (firstIndex === null) continue;
      chunks.push({ key, modifiedMs, firstIndex });
      const isYoung = nowMs - modifiedMs <= logRetentionMs;
      if (isYoung || chunks.length >= CANDIDATE_COUNT_MAX) return { chunks, hasMoreChunks: true };
    }
    return { chunks, hasMoreChunks: false };
  }

  /** Keys of all objects that the manifests name. */
  #named(): ReadonlySet<string> {
    const { clusterId } = this.#options;
    const named = new Set<string>();
    for (const { chunks, contents, timeline } of this.#facts.values()) {
      for (const sha256 of contents) named.add(fileKey(clusterId, sha256));
      for (const index of chunks) named.add(logChunkKey(clusterId, timeline, index));
    }
    return named;
  }

  /** Manifests never change, so only new ones are fetched. */
  async #readManifests(): Promise<void> {
    const { keys } = this.#options;
    const ids = new Set(await listBackupIds(this.#options, this.#readOptions()));
    for (const known of [...this.#facts.keys()]) if (!ids.has(known)) this.#facts.delete(known);
    for (const backupId of ids) {
      if (this.#facts.has(backupId)) continue;
      try {
        const options = this.#readOptions();
        const manifest = await readStoredManifest(this.#options, backupId, keys, options);
        this.#facts.set(backupId, factsOf(manifest));
      } catch (error) {
        if (!isObjectDamage(error)) throw error;
        if (error.code !== 'BACKUP_NOT_FOUND') this.#blockedBy.push({ backupId, error });
      }
    }
  }

  #readOptions(): { readonly signal?: AbortSignal } {
    const { signal } = this.#options;
    return signal === undefined ? {} : { signal };
  }
}

function factsOf(manifest: BackupManifest): ManifestFacts {
  const { backupId, createdMs, baseBackupId, timeline, root, files, log } = manifest;
  return {
    ...{ backupId, createdMs, baseBackupId, timeline },
    index: root.meta.index,
    contents: files.map(({ sha256 }) => sha256),
    chunks: log?.chunks ?? [],
  };
}

/**
 * Restores collections beside live data: their rows go through the log of the running cluster into
 * hidden collections of their own, which nobody sees. Each is compared with its source, by the
 * cluster, before it takes no more rows; only then can it be published. What is live is never
 * touched, and whatever fails, what was begun is purged.
 *
 * Rows are written by id into collections that only this run writes, so a batch that was applied
 * and is sent again changes nothing: no change of leader doubles or loses rows.
 */
import { HoldfastError, toHoldfastError } from '@holdfast/base';
import { COLLECTION_NAME_PATTERN } from '@holdfast/protocol';
import type { CollectionDefinition, PointRecord } from '@holdfast/shard-worker';
import { addContentSums, EMPTY_CONTENT_SUM } from '../../replica/content-digest.ts';
import type { OfflineState } from './offline-state.ts';

/** Of one write: far below the limits of a batch, and a frame is small for every follower. */
const BATCH_POINT_COUNT_MAX = 256;
const BATCH_SIZE_BYTES_MAX = 1024 * 1024;
/** Under way at once; memory holds these and one stretch of the source. */
const CONCURRENCY = 4;

export interface HiddenTarget {
  readonly name: string;
  readonly uid: number;
}

export interface RestoredContent {
  readonly pointCount: number;
  readonly digest: string;
}

/** The cluster that is restored into, as its clients see it. Each call is retried by itself. */
export interface LiveCluster {
  /** Visible ones. */
  names(): Promise<ReadonlySet<string>>;
  /** The uid of a new hidden collection. */
  createHidden(name: string, definition: CollectionDefinition): Promise<number>;
  write(target: HiddenTarget, points: readonly PointRecord[]): Promise<void>;
  /** @throws HoldfastError COLLECTION_NOT_READY when the cluster has other points */
  finish(target: HiddenTarget, content: RestoredContent): Promise<void>;
  publish(uids: readonly number[]): Promise<void>;
  purge(uid: number): Promise<void>;
}

export type BesideStep =
  /** The past state is there; how many points all its collections have together. */
  | { readonly kind: 'opened'; readonly pointCount: number }
  | { readonly kind: 'created'; readonly target: HiddenTarget }
  | { readonly kind: 'rows'; readonly target: HiddenTarget; readonly pointCount: number }
  | {
      readonly kind: 'compared';
      readonly target: HiddenTarget;
      readonly content: RestoredContent;
    }
  | { readonly kind: 'published'; readonly targets: readonly HiddenTarget[] }
  | { readonly kind: 'purged'; readonly target: HiddenTarget }
  /** It stays hidden until its time is over. */
  | { readonly kind: 'purgeFailed'; readonly target: HiddenTarget; readonly error: HoldfastError };

export interface BesideOptions {
  readonly source: Pick<OfflineState, 'definitions' | 'stretches'>;
  readonly cluster: LiveCluster;
  /** In front of every name. */
  readonly prefix: string;
  /** False: they stay hidden, ready to be published. */
  readonly isPublished: boolean;
  readonly onStep?: (step: BesideStep) => void;
  /** Between two batches. */
  readonly signal?: AbortSignal;
}

/**
 * The names that the collections are to have.
 * @throws HoldfastError COLLECTION_EXISTS, ARGUMENT_INVALID: nothing was done
 */
export async function checkNames(
  cluster: Pick<LiveCluster, 'names'>,
  names: readonly string[],
  prefix: string,
): Promise<readonly string[]> {
  const taken = await cluster.names();
  const targets = names.map((name) => `${prefix}${name}`);
  for (const target of targets) {
    if (!COLLECTION_NAME_PATTERN.test(target)) {
      throw new HoldfastError('ARGUMENT_INVALID', `'${target}' is no name of a collection`);
    }
    if (!taken.has(target)) continue;
    const message =
      `a collection ${target} exists, and is not touched: restore under a prefix, or drop or ` +
      'rename that one first';
    throw new HoldfastError('COLLECTION_EXISTS', message, { details: { collection: target } });
  }
  const repeated = targets.find((target, i) => targets.indexOf(target) !== i);
  if (repeated === undefined) return targets;
  throw new HoldfastError('ARGUMENT_INVALID', `collection ${repeated} is named twice`);
}

/**
 * Resolves with what was made, in the order of the source. When it rejects, everything that it made
 * is purged again, or was told by `purgeFailed`.
 * @throws HoldfastError ABORTED, COLLECTION_EXISTS, COLLECTION_NOT_READY, whatever a write may
 */
export async function restoreBeside(options: BesideOptions): Promise<readonly HiddenTarget[]> {
  const { cluster, isPublished, onStep, prefix, source } = options;
  const sourceNames = source.definitions.map(({ name }) => name);
  const names = await checkNames(cluster, sourceNames, prefix);
  const targets: HiddenTarget[] = [];
  try {
    for (const [i, definition] of source.definitions.entries()) {
      refuseAborted(options);
      const name = names[i] ?? definition.name;
      const target = { name, uid: await cluster.createHidden(name, definition) };
      targets.push(target);
      onStep?.({ kind: 'created', target });
      const content = await copyRows(options, definition, target);
      refuseAborted(options);
      await cluster.finish(target, content);
      onStep?.({ kind: 'compared', target, content });
    }
    if (isPublished) {
      await cluster.publish(targets.map(({ uid }) => uid));
      onStep?.({ kind: 'published', targets });
    }
    return targets;
  } catch (thrown) {
    await purgeAll(options, targets);
    throw thrown;
  }
}

/** What a purge of a published collection finds is not hidden, and stays. */
async function purgeAll(
  { cluster, onStep }: BesideOptions,
  targets: readonly HiddenTarget[],
): Promise<void> {
  for (const target of targets) {
    try {
      await cluster.purge(target.uid);
      onStep?.({ kind: 'purged', target });
    } catch (thrown) {
      onStep?.({ kind: 'purgeFailed', target, error: toHoldfastError(thrown) });
    }
  }
}

async function copyRows(
  options: BesideOptions,
  definition: CollectionDefinition,
  target: HiddenTarget,
): Promise<RestoredContent> {
  const { onStep, source } = options;
  const writes = new WritesUnderWay((points) => options.cluster.write(target, points));
  let pointCount = 0;
  let digest = EMPTY_CONTENT_SUM;
  try {
    for (const { contentSum, points, rowCount } of source.stretches(definition)) {
      for (const batch of batchesOf(points)) {
        refuseAborted(options);
        await writes.add(batch);
      }
      pointCount += rowCount;
      digest = addContentSums(digest, contentSum);
      onStep?.({ kind: 'rows', target, pointCount });
    }
  } finally {
    // None may arrive behind the caller's back, when the collection is compared or purged.
    await writes.settled();
  }
  writes.throwFailure();
  return { pointCount, digest };
}

function* batchesOf(points: readonly PointRecord[]): Generator<readonly PointRecord[]> {
  let batch: PointRecord[] = [];
  let sizeBytes = 0;
  for (const point of points) {
    batch.push(point);
    sizeBytes += (point.vector?.byteLength ?? 0) + (point.payload?.byteLength ?? 0);
    if (batch.length < BATCH_POINT_COUNT_MAX && sizeBytes < BATCH_SIZE_BYTES_MAX) continue;
    yield batch;
    [batch, sizeBytes] = [[], 0];
  }
  if (batch.length > 0) yield batch;
}

/** A bounded number of writes at once; the first failure refuses all further ones. */
class WritesUnderWay {
  readonly #write: (points: readonly PointRecord[]) => Promise<void>;
  readonly #underWay = new Set<Promise<void>>();
  #failure: { readonly thrown: unknown } | null = null;

  constructor(write: (points: readonly PointRecord[]) => Promise<void>) {
    this.#write = write;
  }

  /** Resolves when there is room for the next. */
  async add(points: readonly PointRecord[]): Promise<void> {
    this.throwFailure();
    const sent: Promise<void> = this.#write(points)
      .catch((thrown: unknown) => {
        this.#failure ??= { thrown };
      })
      .finally(() => this.#underWay.delete(sent));
    this.#underWay.add(sent);
    if (this.#underWay.size >= CONCURRENCY) await Promise.race(this.#underWay);
  }

  async settled(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  throwFailure(): void {
    if (this.#failure !== null) throw this.#failure.thrown;
  }
}

function refuseAborted({ signal }: BesideOptions): void {
  if (signal?.aborted !== true) return;
  throw new HoldfastError('ABORTED', 'the restore was aborted; what it had made is purged');
}

/**
 * Imports any number of points as batches, several under way at a time. Each batch is atomic and
 * exactly-once on its own; the whole is not. The first failure stops the import; the details of its
 * error count what was acknowledged by then.
 */
import { HoldfastError, toHoldfastError } from '@holdfast/base';
import type { UpsertResult } from '@holdfast/protocol';
import { BATCH_POINT_COUNT_MAX } from '@holdfast/protocol';
import type { PointInput } from './collection.ts';
import type { RequestOptions } from './options.ts';
import { argumentInvalid } from './options.ts';

export interface UpsertManyOptions extends RequestOptions {
  /** Points per batch. Default 256. */
  readonly batchSize?: number;
  /** Batches under way at once. Default 4. */
  readonly concurrency?: number;
  /** Called after each acknowledged batch. */
  readonly onProgress?: (progress: UpsertManyProgress) => void;
}

export interface UpsertManyProgress {
  /** Points acknowledged so far. */
  readonly pointCount: number;
  readonly batchCount: number;
}

export interface UpsertManyResult extends UpsertManyProgress {
  /** Highest log index of the batches; 0 when there were no points. */
  readonly index: number;
}

interface Upserter {
  upsert(points: readonly PointInput[], options: RequestOptions): Promise<UpsertResult>;
}

const BATCH_SIZE_DEFAULT = 256;
const CONCURRENCY_DEFAULT = 4;
/** More batches than this only queue in the leader. */
const CONCURRENCY_MAX = 64;

export async function upsertMany(
  target: Upserter,
  points: AsyncIterable<PointInput> | Iterable<PointInput>,
  options: UpsertManyOptions,
): Promise<UpsertManyResult> {
  const { onProgress, batchSize: _batchSize, concurrency: _concurrency, ...perBatch } = options;
  const batchSize = countOf(
    options.batchSize ?? BATCH_SIZE_DEFAULT,
    BATCH_POINT_COUNT_MAX,
    'batchSize',
  );
  const concurrency = countOf(
    options.concurrency ?? CONCURRENCY_DEFAULT,
    CONCURRENCY_MAX,
    'concurrency',
  );
  let progress: UpsertManyResult = { pointCount: 0, batchCount: 0, index: 0 };
  let failure: HoldfastError | null = null;
  const underWay = new Set<Promise<void>>();

  const send = (batch: readonly PointInput[]): void => {
    const sent: Promise<void> = target
      .upsert(batch, perBatch)
      .then(({ index }) => {
        progress = {
          pointCount: progress.pointCount + batch.length,
          batchCount: progress.batchCount + 1,
          index: Math.max(progress.index, index),
        };
        onProgress?.(progress);
      })
      .catch((thrown: unknown) => {
        failure ??= toHoldfastError(thrown);
      })
      .finally(() => underWay.delete(sent));
    underWay.add(sent);
  };

  try {
    let batch: PointInput[] = [];
    for await (const point of points) {
      batch.push(point);
      if (batch.length < batchSize) continue;
      send(batch);
      batch = [];
      if (underWay.size >= concurrency) await Promise.race(underWay);
      if (failure !== null) break;
    }
    if (batch.length > 0 && failure === null) send(batch);
  } finally {
    await Promise.all(underWay);
  }
  if (failure !== null) throw withProgress(failure, progress);
  return progress;
}

function countOf(value: number, max: number, name: string): number {
  if (Number.isInteger(value) && value >= 1 && value <= max) return value;
  throw argumentInvalid(name, `an integer from 1 to ${max}`);
}

function withProgress(error: HoldfastError, progress: UpsertManyProgress): HoldfastError {
  const { pointCount, batchCount } = progress;
  return new HoldfastError(
    error.code,
    `${error.message} (after ${pointCount} acknowledged points in ${batchCount} batches)`,
    {
      details: { ...error.details, pointCount, batchCount },
      cause: error,
      ...(error.definite ? {} : { definite: false as const }),
    },
  );
}

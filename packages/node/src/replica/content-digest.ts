/**
 * Count and digest of what a collection holds: a sum over its points of the hash of id, vector and
 * payload. Unlike the digests that replicas compare, it does not depend on when and by which entry
 * a point was written, or on how many shards there are: a collection in another cluster has the
 * same exactly if it has the same points. Every point is read, in bounded stretches between which
 * the lanes go on with other things.
 */
import { HoldfastError, must } from '@holdfast/base';
import type { CollectionDefinition } from '@holdfast/shard-worker';
import { expectKind } from '../routing/scatter-gather.ts';
import type { ExecutorReplica } from './executor-replica.ts';

export interface ContentDigest {
  readonly pointCount: number;
  /** 32 hex digits. */
  readonly digest: string;
  /** The collection had these points at this index. */
  readonly appliedIndex: number;
}

const DIGEST_RANGE = 1n << 128n;
const DIGEST_LENGTH = 32;
/** A shard whose rows move or are written meanwhile is walked again this often. */
const WALK_COUNT_MAX = 4;
const RETRY_AFTER_MS = 1_000;

/** Sums of parts, as hex digits. */
export function addContentSums(left: string, right: string): string {
  const sum = (BigInt(`0x${left}`) + BigInt(`0x${right}`)) % DIGEST_RANGE;
  return sum.toString(16).padStart(DIGEST_LENGTH, '0');
}

export const EMPTY_CONTENT_SUM = '0'.repeat(DIGEST_LENGTH);

type Lanes = Pick<ExecutorReplica, 'host' | 'lanes'>;

/** @throws HoldfastError OVERLOADED while it is written, REQUEST_TIMEOUT, COLLECTION_NOT_FOUND */
export async function digestContent(
  replica: Lanes,
  definition: CollectionDefinition,
  deadlineMs: number,
): Promise<ContentDigest> {
  let pointCount = 0;
  let digest = EMPTY_CONTENT_SUM;
  const stamps: string[] = [];
  for (let shard = 0; shard < definition.shardCount; shard++) {
    const walked = await digestShard(replica, definition, shard, deadlineMs);
    pointCount += walked.pointCount;
    digest = addContentSums(digest, walked.sum);
    stamps.push(walked.stamp);
  }
  // All shards at one index: nothing was written to the first while the last was walked.
  const { index, results } = await replica.lanes.read(
    stamps.map((_, shard) => replica.host.laneOf(definition.uid, shard)),
    deadlineMs,
    lookAgain(replica, definition),
  );
  const isSame = results.every((result, shard) => {
    return contentOf(expectKind(result, 'walk').stamp) === contentOf(stamps[shard] ?? '');
  });
  if (!isSame) throw isWritten(definition);
  return { pointCount, digest, appliedIndex: index };
}

/** One read per shard, in the order of shards: a lane is asked as often as it has shards. */
function lookAgain({ host }: Lanes, { uid, shardCount }: CollectionDefinition) {
  const next = new Map<number, number>();
  return (lane: number) => {
    let shard = next.get(lane) ?? 0;
    while (shard < shardCount - 1 && host.laneOf(uid, shard) !== lane) shard += 1;
    next.set(lane, shard + 1);
    const fromRow = Number.MAX_SAFE_INTEGER;
    return { kind: 'walk', uid, shard, fromRow, withPoints: false } as const;
  };
}

/** A stamp without the numbering of rows: the digest of the shard itself. */
const contentOf = (stamp: string): string => stamp.slice(stamp.indexOf('/'));

async function digestShard(
  { host, lanes }: Lanes,
  definition: CollectionDefinition,
  shard: number,
  deadlineMs: number,
): Promise<{ readonly pointCount: number; readonly sum: string; readonly stamp: string }> {
  const { uid } = definition;
  const walk = async (fromRow: number) => {
    const { results } = await lanes.read([host.laneOf(uid, shard)], deadlineMs, () => ({
      ...{ kind: 'walk', uid, shard, fromRow, withPoints: false },
    }));
    return expectKind(must(results[0], 'a lane answers'), 'walk');
  };
  for (let walkCount = 0; walkCount < WALK_COUNT_MAX; walkCount++) {
    let stretch = await walk(0);
    const { stamp } = stretch;
    let pointCount = stretch.rowCount;
    let sum = stretch.contentSum;
    while (stretch.nextRow !== null && stretch.stamp === stamp) {
      stretch = await walk(stretch.nextRow);
      pointCount += stretch.rowCount;
      sum = addContentSums(sum, stretch.contentSum);
    }
    if (stretch.stamp === stamp) return { pointCount, sum, stamp };
  }
  throw isWritten(definition);
}

const isWritten = ({ name, uid }: CollectionDefinition): HoldfastError =>
  new HoldfastError(
    'OVERLOADED',
    `collection ${name} is being written, so it has no one digest; ask again when it is not`,
    { details: { uid, retryAfterMs: RETRY_AFTER_MS } },
  );

/**
 * A read goes to every lane that holds a shard of its collection, in one turn; the answers are
 * merged here. Never silently partial: a lane that could not answer makes the whole read an error.
 */
import type { LogIndex } from '@holdfast/base';
import { HoldfastError, must } from '@holdfast/base';
import type {
  CollectionDefinition,
  LaneRead,
  LaneReadResult,
  Metric,
  PointId,
  PointRecord,
  SearchHit,
  SearchPlan,
  ShardHost,
} from '@holdfast/shard-worker';
import { hashPointId, SCROLL_SIZE_BYTES_MAX, shardOfIdHash } from '@holdfast/shard-worker';

export interface LaneAnswers {
  /** Log index whose state was read, on every lane. */
  readonly index: LogIndex;
  /** In the order of the lanes asked. */
  readonly results: readonly LaneReadResult[];
}

interface PendingRead {
  readonly lanes: readonly number[];
  readonly deadlineMs: number;
  readonly settle: (index: LogIndex, perLane: readonly (readonly LaneReadResult[])[]) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Reads of one turn, collected so that each lane gets one task. Each is answered once: by the
 * lanes, or at its deadline, after which nothing of it is kept and what lanes still say is dropped.
 */
export class ReadBatch {
  readonly readsPerLane: LaneRead[][];
  readonly #pending = new Set<PendingRead>();
  #readCount = 0;

  constructor(host: ShardHost) {
    this.readsPerLane = Array.from({ length: host.laneCount }, () => []);
  }

  /** Reads added, also those that were answered since. */
  get readCount(): number {
    return this.#readCount;
  }

  get pendingCount(): number {
    return this.#pending.size;
  }

  /** One read to each of `lanes`; resolves with their answers in that order. */
  add(
    lanes: readonly number[],
    deadlineMs: number,
    read: (lane: number) => LaneRead,
  ): Promise<LaneAnswers> {
    const positions = lanes.map((lane) => {
      const reads = must(this.readsPerLane[lane]);
      reads.push(read(lane));
      return { lane, position: reads.length - 1 };
    });
    this.#readCount += 1;
    return new Promise((resolve, reject) => {
      const settle: PendingRead['settle'] = (index, perLane) => {
        const results = positions.map(({ lane, position }) => must(perLane[lane]?.[position]));
        resolve({ index, results });
      };
      this.#pending.add({ lanes, deadlineMs, settle, reject });
    });
  }

  settle(index: LogIndex, perLane: readonly (readonly LaneReadResult[])[]): void {
    for (const { settle } of this.#pending) settle(index, perLane);
    this.#pending.clear();
  }

  reject(error: unknown): void {
    for (const { reject } of this.#pending) reject(error);
    this.#pending.clear();
  }

  /** Rejects what waits for longer than it may. */
  expire(nowMs: number): void {
    for (const read of this.#pending) {
      if (nowMs < read.deadlineMs) continue;
      this.#pending.delete(read);
      read.reject(lanesTooLate(read.lanes));
    }
  }
}

/** Names all that were asked: which of them was late is told by the health of lanes. */
function lanesTooLate(asked: readonly number[]): HoldfastError {
  const lanes = [...asked].sort((left, right) => left - right);
  const names = lanes.length === 1 ? `lane ${lanes[0]}` : `lanes ${lanes.join(', ')}`;
  const message = `the read was not answered by ${names} in its time; ask again or another node`;
  return new HoldfastError('REQUEST_TIMEOUT', message, { details: { lanes } });
}

/** Lanes that hold at least one shard of the collection, ascending. */
export function lanesOf(host: ShardHost, definition: CollectionDefinition): readonly number[] {
  const lanes = new Set<number>();
  for (let shard = 0; shard < definition.shardCount; shard++) {
    lanes.add(host.laneOf(definition.uid, shard));
  }
  return [...lanes].sort((left, right) => left - right);
}

/** Ids by the lane that would hold them. */
export function idsByLane(
  host: ShardHost,
  definition: CollectionDefinition,
  ids: readonly PointId[],
): ReadonlyMap<number, PointId[]> {
  const byLane = new Map<number, PointId[]>();
  for (const id of ids) {
    const shard = shardOfIdHash(hashPointId(id), definition.shardCount);
    const lane = host.laneOf(definition.uid, shard);
    const list = byLane.get(lane);
    if (list === undefined) byLane.set(lane, [id]);
    else list.push(id);
  }
  return byLane;
}

export interface MergedSearch {
  readonly hits: readonly SearchHit[];
  readonly plans: readonly SearchPlan[];
}

/** The k best over all lanes, by score, then by id: numbers before strings, ascending. */
export function mergeSearch(
  results: readonly LaneReadResult[],
  metric: Metric,
  k: number,
): MergedSearch {
  const hits: SearchHit[] = [];
  const plans: SearchPlan[] = [];
  for (const result of results) {
    const search = expectKind(result, 'search');
    for (const hit of search.hits) hits.push(hit);
    for (const plan of search.plans) plans.push(plan);
  }
  if (results.length > 1) {
    const sign = metric === 'l2' ? 1 : -1;
    hits.sort((left, right) => sign * (left.score - right.score) || compareIds(left.id, right.id));
    if (hits.length > k) hits.length = k;
  }
  return { hits, plans };
}

/** In the order asked for; ids that do not exist are left out. */
export function mergeGet(
  results: readonly LaneReadResult[],
  ids: readonly PointId[],
): readonly PointRecord[] {
  const byId = new Map<PointId, PointRecord>();
  for (const result of results) {
    for (const point of expectKind(result, 'get').points) byId.set(point.id, point);
  }
  const points: PointRecord[] = [];
  for (const id of new Set(ids)) {
    const point = byId.get(id);
    if (point !== undefined) points.push(point);
  }
  return points;
}

export interface MergedScroll {
  readonly points: readonly PointRecord[];
  /** Where the next page begins; null when nothing is behind these points. */
  readonly next: PointId | null;
}

/**
 * The first of all lanes' points, ascending by id. A lane that has more says nothing about ids
 * behind its last one, so the page ends there at the latest.
 */
export function mergeScroll(results: readonly LaneReadResult[], limit: number): MergedScroll {
  const lanes = results.map((result) => expectKind(result, 'scroll'));
  const all = lanes.flatMap(({ points }) => points);
  all.sort((left, right) => compareIds(left.id, right.id));
  const ends = lanes.flatMap(({ points, hasMore }) => {
    const last = hasMore ? points.at(-1) : undefined;
    return last === undefined ? [] : [last.id];
  });
  const points: PointRecord[] = [];
  let sizeBytes = 0;
  for (const point of all) {
    const isBehindEnd = ends.some((end) => compareIds(point.id, end) > 0);
    if (isBehindEnd || points.length === limit || sizeBytes > SCROLL_SIZE_BYTES_MAX) break;
    sizeBytes += (point.vector?.byteLength ?? 0) + (point.payload?.byteLength ?? 0);
    points.push(point);
  }
  const hasMore = points.length < all.length || ends.length > 0;
  return { points, next: hasMore ? must(points.at(-1), 'a page is not empty').id : null };
}

export function mergeCount(results: readonly LaneReadResult[]): number {
  return results.reduce((sum, result) => sum + expectKind(result, 'count').count, 0);
}

function compareIds(left: PointId, right: PointId): number {
  if (typeof left !== typeof right) return typeof left === 'number' ? -1 : 1;
  return left < right ? -1 : left > right ? 1 : 0;
}

export function expectKind<Kind extends LaneReadResult['kind']>(
  result: LaneReadResult,
  kind: Kind,
): Extract<LaneReadResult, { kind: Kind }> {
  if (result.kind === 'error') throw HoldfastError.fromBody(result.error);
  if (result.kind !== kind) {
    throw new HoldfastError('INTERNAL', `a lane answered ${result.kind} to a ${kind}`);
  }
  return result as Extract<LaneReadResult, { kind: Kind }>;
}

/** What this package's tests share: definitions, seeded ops, a host driven an entry at a time. */
import type { LogIndex, Random } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import type { HostApplyBatch, ShardHost } from '../src/host/shard-host.ts';
import type { CollectionDefinition, Metric, PointId } from '../src/model.ts';
import type { PointCondition, PointOp } from '../src/point-op.ts';
import { encodePointOps, hasConditions, splitPointOps } from '../src/point-op.ts';
import type {
  Conflict,
  LaneCommand,
  LaneReadResult,
  SearchHit,
  SearchPlan,
  SearchQuery,
} from '../src/tasks.ts';
import { logTimeMs } from '../src/testing/brute-force-oracle.ts';

export const UID = 5;
export const at = (index: number): LogIndex => index as LogIndex;

export function definitionOf(changes: Partial<CollectionDefinition> = {}): CollectionDefinition {
  return {
    uid: UID,
    name: 'docs',
    dimension: 4,
    metric: 'l2' as Metric,
    shardCount: 3,
    hnsw: { m: 16, efConstruction: 128, efSearch: 64 },
    graph: { engine: 'auto', precision: 'f32' },
    sealRowCount: 40,
    sealSizeBytes: 1 << 20,
    checksumAlgorithm: 'xxhash3',
    ...changes,
  };
}

/** Few ids, so that replacements, deletes and conflicts happen all the time. */
export function randomOps(random: Random, dimension: number, versions: VersionSource): PointOp[] {
  const count = 1 + random.nextBelow(6);
  return Array.from({ length: count }, () => randomOp(random, dimension, versions));
}

/** The version a conditional op may rely on: sometimes right. */
export type VersionSource = (id: PointId) => number;

function randomOp(random: Random, dimension: number, versions: VersionSource): PointOp {
  const id = randomId(random);
  const condition = randomCondition(random, id, versions);
  if (random.nextBelow(4) === 0) return { type: 'delete', id, condition };
  // Small whole numbers: f32 sums are exact, so ties are real ties.
  const vector = Float32Array.from({ length: dimension }, () => random.nextBelow(7) - 3);
  const payloadSize = random.nextBelow(40);
  const payload =
    payloadSize === 0
      ? null
      : Uint8Array.from({ length: payloadSize }, () => random.nextBelow(256));
  return { type: 'upsert', id, vector, payload, condition };
}

function randomId(random: Random): PointId {
  const n = random.nextBelow(60);
  if (n % 3 !== 0) return n;
  return `${n.toString(16).padStart(8, '0')}-0000-4000-8000-${'0'.repeat(12)}`;
}

function randomCondition(random: Random, id: PointId, versions: VersionSource): PointCondition {
  const choice = random.nextBelow(20);
  if (choice === 0) return { kind: 'ifAbsent' };
  if (choice > 2) return { kind: 'none' };
  return { kind: 'ifVersion', version: versions(id) + random.nextBelow(2) };
}

export type WriteResult =
  | { readonly kind: 'written'; readonly deletedCount: number }
  | { readonly kind: 'conflict'; readonly conflicts: readonly Conflict[] };

/** Drives a host as the node's applier does: one entry at a time, voting when lanes must agree. */
export class HostDriver {
  readonly host: ShardHost;
  readonly definition: CollectionDefinition;
  appliedIndex: number;

  constructor(host: ShardHost, definition: CollectionDefinition, appliedIndex = 0) {
    this.host = host;
    this.definition = definition;
    this.appliedIndex = appliedIndex;
  }

  async openEmpty(): Promise<void> {
    await this.host.open({ appliedIndex: at(0), definitions: [], manifests: [] });
  }

  async create(): Promise<void> {
    const index = at(this.appliedIndex + 1);
    const { definition } = this;
    const command: LaneCommand = { kind: 'createCollection', index, definition };
    await this.#applyEverywhere(() => [command]);
  }

  async write(ops: readonly PointOp[]): Promise<WriteResult> {
    const { uid, shardCount } = this.definition;
    const slices = splitPointOps(
      encodePointOps(ops),
      shardCount,
      (shard) => this.host.laneOf(uid, shard),
      this.host.laneCount,
    );
    const index = at(this.appliedIndex + 1);
    const isOneLane = slices.filter((slice) => slice !== null).length === 1;
    const isConditional = slices.some((slice) => slice !== null && hasConditions(slice));
    if (isConditional && !isOneLane) {
      const conflicts = await this.host.vote(at(this.appliedIndex), uid, slices);
      if (conflicts.length > 0) {
        await this.#applyEverywhere(() => []);
        return { kind: 'conflict', conflicts };
      }
    }
    const mode = isConditional && isOneLane ? 'ifAllHold' : 'always';
    const outcomes = await this.#applyEverywhere((lane) => {
      const ops = slices[lane] ?? null;
      return ops === null
        ? []
        : [{ kind: 'write', index, timestampMs: logTimeMs(index), uid, mode, ops }];
    });
    let deletedCount = 0;
    for (const outcome of outcomes.flat()) {
      if (outcome.kind === 'conflict') return { kind: 'conflict', conflicts: outcome.conflicts };
      deletedCount += outcome.deletedCount;
    }
    return { kind: 'written', deletedCount };
  }

  /** An entry that asks every shard to seal what has grown. */
  async seal(): Promise<void> {
    const index = at(this.appliedIndex + 1);
    await this.#applyEverywhere(() => [{ kind: 'seal', index }]);
  }

  /** Searches every lane and merges as the node does. */
  async search(query: Partial<SearchQuery> & { readonly vector: Float32Array }): Promise<{
    readonly hits: readonly SearchHit[];
    readonly plans: readonly SearchPlan[];
  }> {
    const full = fillQuery(query);
    const results = await this.readAll({ kind: 'search', query: full });
    const hits = results.flatMap((result) => (result.kind === 'search' ? result.hits : []));
    const plans = results.flatMap((result) => (result.kind === 'search' ? result.plans : []));
    const sign = this.definition.metric === 'l2' ? 1 : -1;
    const merged = [...hits].sort((a, b) => sign * (a.score - b.score) || compareIds(a.id, b.id));
    return { hits: merged.slice(0, full.k), plans };
  }

  /** The same read on every lane; throws when a lane answers with an error. */
  async readAll(
    read: Parameters<ShardHost['read']>[1][number][number],
  ): Promise<readonly LaneReadResult[]> {
    const perLane = Array.from({ length: this.host.laneCount }, () => [read]);
    const results = (await this.host.read(at(this.appliedIndex), perLane)).flat();
    for (const result of results)
      if (result.kind === 'error') throw HoldfastError.fromBody(result.error);
    return results;
  }

  async count(): Promise<number> {
    const results = await this.readAll({ kind: 'count', uid: UID });
    return results.reduce((sum, result) => sum + (result.kind === 'count' ? result.count : 0), 0);
  }

  async get(ids: readonly PointId[]) {
    const read = { kind: 'get', uid: UID, ids, withVector: true, withPayload: true } as const;
    const results = await this.readAll(read);
    return results.flatMap((result) => (result.kind === 'get' ? result.points : []));
  }

  digests() {
    return this.host.digests(at(this.appliedIndex));
  }

  checkpoint(checkpointId = `c${this.appliedIndex}`) {
    return this.host.checkpoint(at(this.appliedIndex), checkpointId);
  }

  async #applyEverywhere(commandsOf: (lane: number) => readonly LaneCommand[]) {
    const index = at(this.appliedIndex + 1);
    const perLane = Array.from({ length: this.host.laneCount }, (_, lane) => commandsOf(lane));
    const batch: HostApplyBatch = { fromIndex: index, toIndex: index, perLane };
    this.appliedIndex += 1;
    return this.host.apply(batch);
  }
}

export function fillQuery(
  query: Partial<SearchQuery> & { readonly vector: Float32Array },
): SearchQuery {
  return {
    uid: UID,
    k: 10,
    ef: null,
    isExact: false,
    withPayload: false,
    withVector: false,
    ...query,
  };
}

const compareIds = (left: PointId, right: PointId): number => {
  if (typeof left !== typeof right) return typeof left === 'number' ? -1 : 1;
  return left < right ? -1 : left > right ? 1 : 0;
};

/**
 * Reads of clients: every replica may answer, after the read gate of the consistency asked for.
 */
import type { LogIndex } from '@holdfast/base';
import { HoldfastError, toHoldfastError, unreachable } from '@holdfast/base';
import type {
  Consistency,
  CountRequest,
  DegradedLayer,
  Filter,
  GetRequest,
  ListCollectionsRequest,
  ResultBody,
  ScrollRequest,
  SearchHit,
  SearchPlan,
  SearchRequest,
  StoredPoint,
} from '@holdfast/protocol';
import { parsePayload, SCROLL_LIMIT_DEFAULT, STALENESS_MS_DEFAULT } from '@holdfast/protocol';
import type {
  CollectionDefinition,
  SearchHit as LaneHit,
  SearchPlan as LanePlan,
  Metric,
  PointRecord,
  SearchQuery,
} from '@holdfast/shard-worker';
import type { LaneAnswers } from '../routing/scatter-gather.ts';
import {
  idsByLane,
  lanesOf,
  mergeCount,
  mergeGet,
  mergeScroll,
  mergeSearch,
} from '../routing/scatter-gather.ts';
import {
  collectionNotFound,
  describeCollection,
  describeHidden,
  dimensionMismatch,
} from './answers.ts';
import type { ExecutorReplica } from './executor-replica.ts';

type ReadRequest = GetRequest | CountRequest | ScrollRequest | SearchRequest;

export class ReadRequests {
  readonly #replica: ExecutorReplica;

  constructor(replica: ExecutorReplica) {
    this.#replica = replica;
  }

  async listCollections(request: ListCollectionsRequest, deadlineMs: number): Promise<ResultBody> {
    const index = await this.#gate(request, deadlineMs);
    const { catalogue } = this.#replica.meta;
    const collections = catalogue.all().map(describeCollection);
    if (request.includeDeleted !== true) return { collections, appliedIndex: index };
    return { collections, hidden: catalogue.allHidden().map(describeHidden), appliedIndex: index };
  }

  async get(request: GetRequest, deadlineMs: number): Promise<ResultBody> {
    const { host, lanes } = this.#replica;
    const { index, results } = await this.#read(request, deadlineMs, (definition) => {
      const byLane = idsByLane(host, definition, request.ids);
      return lanes.read([...byLane.keys()], deadlineMs, (lane) => ({
        kind: 'get',
        uid: definition.uid,
        ids: byLane.get(lane) ?? [],
        withVector: request.withVector ?? false,
        withPayload: request.withPayload ?? true,
      }));
    });
    return { points: mergeGet(results, request.ids).map(storedPoint), appliedIndex: index };
  }

  async count(request: CountRequest, deadlineMs: number): Promise<ResultBody> {
    const { host, lanes } = this.#replica;
    const { index, results } = await this.#read(request, deadlineMs, (definition) =>
      lanes.read(lanesOf(host, definition), deadlineMs, () => ({
        kind: 'count',
        uid: definition.uid,
        budgetMs: deadlineMs - this.#replica.nowMs(),
        ...filterOf(request),
      })),
    );
    return { count: mergeCount(results), appliedIndex: index };
  }

  async scroll(request: ScrollRequest, deadlineMs: number): Promise<ResultBody> {
    const { host, lanes } = this.#replica;
    const limit = request.limit ?? SCROLL_LIMIT_DEFAULT;
    const { index, results } = await this.#read(request, deadlineMs, (definition) =>
      lanes.read(lanesOf(host, definition), deadlineMs, () => ({
        kind: 'scroll',
        uid: definition.uid,
        budgetMs: deadlineMs - this.#replica.nowMs(),
        ...filterOf(request),
        after: request.after ?? null,
        limit,
        withVector: request.withVector ?? false,
        withPayload: request.withPayload ?? true,
      })),
    );
    const { points, next } = mergeScroll(results, limit);
    return { points: points.map(storedPoint), next, appliedIndex: index };
  }

  async search(request: SearchRequest, deadlineMs: number): Promise<ResultBody> {
    const { host, lanes, searchCache } = this.#replica;
    let metric: Metric = 'l2';
    const { index, results } = await this.#read(request, deadlineMs, (definition) => {
      if (request.vector.length !== definition.dimension) {
        throw dimensionMismatch(definition, request.vector.length, 'vector');
      }
      metric = definition.metric;
      const query = searchQuery(request, definition.uid, deadlineMs - this.#replica.nowMs());
      return searchCache.through(query, lanes.index, () =>
        lanes.read(lanesOf(host, definition), deadlineMs, () => ({ kind: 'search', query })),
      );
    });
    const { hits, plans } = mergeSearch(results, metric, request.k);
    return {
      hits: hits.map(searchHit),
      appliedIndex: index,
      plan: sumPlans(plans),
      degraded: plans.flatMap(degradedLayer),
    };
  }

  /**
   * Runs `post` on the lanes when the read may see their state.
   *
   * A linearizable read looks at the lanes at once, while a quorum confirms the leader: what it saw
   * counts if it is at least the state that was confirmed. Only otherwise, or when the collection
   * is not known here yet, it looks again after the confirmation. This takes the round trip off
   * the path of a read without weakening it: an answer leaves only after the confirmation.
   */
  async #read(
    request: ReadRequest,
    deadlineMs: number,
    post: (definition: CollectionDefinition) => Promise<LaneAnswers>,
  ): Promise<LaneAnswers> {
    const isLinearizable = (request.consistency ?? 'linearizable') === 'linearizable';
    const definition = this.#replica.meta.catalogue.byName(request.collection);
    if (isLinearizable && definition !== undefined) {
      const early = orError(() => post(definition));
      const confirmedIndex = await this.#replica.linearizable(deadlineMs);
      const answers = await early;
      if (answers instanceof HoldfastError) {
        if (answers.code === 'REQUEST_TIMEOUT') throw answers;
      } else if (answers.index >= confirmedIndex && this.#isStill(definition)) return answers;
    } else {
      await this.#gate(request, deadlineMs);
    }
    return this.#readNamed(request.collection, deadlineMs, post);
  }

  /**
   * Names and rows are looked at one after the other, and entries may be applied in between: a
   * collection that was dropped there still has rows, of a name that leads elsewhere or nowhere at
   * the index of the answer. So what is found counts only when the name has stood still.
   */
  async #readNamed(
    name: string,
    deadlineMs: number,
    post: (definition: CollectionDefinition) => Promise<LaneAnswers>,
  ): Promise<LaneAnswers> {
    for (;;) {
      const definition = this.#replica.meta.catalogue.byName(name);
      if (definition === undefined) throw collectionNotFound(name);
      const answers = await orError(() => post(definition));
      const isError = answers instanceof HoldfastError;
      if (isError && answers.code !== 'COLLECTION_NOT_FOUND') throw answers;
      if (this.#isStill(definition)) {
        if (isError) throw answers;
        return answers;
      }
      if (this.#replica.nowMs() >= deadlineMs) throw keptChanging(name);
    }
  }

  /** Each change of a definition, or of who has its name, makes another object of it. */
  #isStill(definition: CollectionDefinition): boolean {
    return this.#replica.meta.catalogue.byName(definition.name) === definition;
  }

  /** Resolves when a read of this consistency may look at the state of this replica. */
  async #gate(
    request: { readonly consistency?: Consistency; readonly maxStalenessMs?: number },
    deadlineMs: number,
  ): Promise<LogIndex> {
    switch (request.consistency) {
      case undefined:
      case 'linearizable':
        return this.#replica.linearizable(deadlineMs);
      case 'lease':
        return this.#replica.lease(deadlineMs);
      case 'stale': {
        const allowedMs = request.maxStalenessMs ?? STALENESS_MS_DEFAULT;
        const stalenessMs = this.#replica.stalenessMs();
        if (stalenessMs <= allowedMs) return this.#replica.meta.appliedIndex;
        throw new HoldfastError(
          'TOO_STALE',
          `this replica may be ${describeMs(stalenessMs)} behind; ask another node or allow more`,
          { details: { maxStalenessMs: allowedMs } },
        );
      }
      default:
        return unreachable(request.consistency);
    }
  }
}

/** A read that failed too early to count is made again, and fails again if it must. */
async function orError(read: () => Promise<LaneAnswers>): Promise<LaneAnswers | HoldfastError> {
  try {
    return await read();
  } catch (thrown) {
    return toHoldfastError(thrown);
  }
}

const filterOf = ({ filter }: { readonly filter?: Filter }): { readonly filter?: Filter } =>
  filter === undefined ? {} : { filter };

function degradedLayer({ shard, skippedLayer }: LanePlan): readonly DegradedLayer[] {
  return skippedLayer === undefined ? [] : [{ layer: skippedLayer, shard }];
}

function searchQuery(request: SearchRequest, uid: number, budgetMs: number): SearchQuery {
  return {
    uid,
    vector: request.vector,
    k: request.k,
    ef: request.ef ?? null,
    isExact: request.exact ?? false,
    withPayload: request.withPayload ?? true,
    withVector: request.withVector ?? false,
    budgetMs,
    ...filterOf(request),
  };
}

function sumPlans(plans: readonly LanePlan[]): SearchPlan {
  const sum = { graphRowCount: 0, exactRowCount: 0, shardCount: plans.length };
  const filter = {
    matchedRowCount: 0,
    evaluatedRowCount: 0,
    indexedShardCount: 0,
    exactShardCount: 0,
    graphShardCount: 0,
    fallbackShardCount: 0,
  };
  for (const plan of plans) {
    sum.graphRowCount += plan.graphRowCount;
    sum.exactRowCount += plan.exactRowCount;
    if (plan.filter === undefined) continue;
    filter.matchedRowCount += plan.filter.matchedRowCount;
    filter.evaluatedRowCount += plan.filter.testedRowCount;
    if (plan.filter.hasIndex) filter.indexedShardCount += 1;
    filter[SHARD_COUNT_OF_WAY[plan.filter.way]] += 1;
  }
  return plans.some((plan) => plan.filter !== undefined) ? { ...sum, filter } : sum;
}

const SHARD_COUNT_OF_WAY = {
  exact: 'exactShardCount',
  graph: 'graphShardCount',
  fallback: 'fallbackShardCount',
} as const;

function storedPoint(record: PointRecord): StoredPoint {
  const { id, version, vector, payload } = record;
  if (vector === null) {
    return payload === null ? { id, version } : { id, version, payload: parsePayload(payload) };
  }
  if (payload === null) return { id, version, vector };
  return { id, version, vector, payload: parsePayload(payload) };
}

/** Made ten times per search: plain hits are built without a detour. */
function searchHit(hit: LaneHit): SearchHit {
  const { id, version, vector, payload, score } = hit;
  if (vector === null && payload === null) return { id, version, score };
  return { ...storedPoint(hit), score };
}

const keptChanging = (name: string): HoldfastError =>
  new HoldfastError(
    'REQUEST_TIMEOUT',
    `collection ${name} was changed in every attempt to read it until the deadline; ask again`,
    { details: { collection: name } },
  );

const describeMs = (ms: number): string =>
  Number.isFinite(ms) ? `${Math.ceil(ms)} ms` : 'any time';

/**
 * Reads and writes of one collection. Everything is validated and copied before the first await, so
 * the caller may reuse its arrays at once, and a retried write has the same body as the first.
 */
import type {
  CanonicalPayload,
  CountResult,
  CreatePayloadIndexResult,
  DeleteByFilterResult,
  DeletePoint,
  DeleteResult,
  DropPayloadIndexResult,
  Filter,
  GetResult,
  JsonObject,
  OutgoingRequestOf,
  OutgoingUpsertPoint,
  PayloadIndexType,
  PointId,
  ReadOptions,
  RequestKind,
  RequestOf,
  ResultOf,
  ScrollResult,
  SearchResult,
  StoredPoint,
  UpsertPoint,
  UpsertResult,
  WithOptions,
} from '@holdfast/protocol';
import { checkUp, parsePayload } from '@holdfast/protocol';
import type { RequestOptions } from './options.ts';
import { argumentInvalid } from './options.ts';
import type { RequestPlan, Target } from './request-runner.ts';
import type { UpsertManyOptions, UpsertManyResult } from './upsert-many.ts';
import { upsertMany } from './upsert-many.ts';

/** A point as a caller writes it. */
export interface PointInput {
  /** Unsigned integer up to 2^53 - 1, or a UUID string. */
  readonly id: PointId;
  readonly vector: Float32Array | readonly number[];
  readonly payload?: JsonObject;
  /** Write only if the point exists with this version. */
  readonly ifVersion?: number;
  /** True: write only if the point does not exist. */
  readonly ifAbsent?: boolean;
}

export interface CountOptions extends RequestOptions, ReadOptions {
  /** Only points that match it. */
  readonly filter?: Filter;
}

export interface ScrollOptions extends RequestOptions, ReadOptions, WithOptions {
  /** Only points that match it. */
  readonly filter?: Filter;
  /** Only points behind this id: `next` of the page before. */
  readonly after?: PointId;
  /** Points of the page, 1 to 1,000; default 100. */
  readonly limit?: number;
}

export interface DeleteByFilterOptions extends RequestOptions {
  /** At most so many points, lowest ids first; 1 to 10,000, which is the default. */
  readonly limit?: number;
}

export interface GetOptions extends RequestOptions, ReadOptions, WithOptions {}

export interface SearchOptions extends RequestOptions, ReadOptions, WithOptions {
  readonly k: number;
  /** Beam width of the graph search; wider finds more of the true neighbours. */
  readonly ef?: number;
  /** True: compare with every point. */
  readonly exact?: boolean;
  /** Only points that match it. */
  readonly filter?: Filter;
}

export type Run = <Kind extends RequestKind>(
  plan: RequestPlan<Kind>,
  options: RequestOptions,
) => Promise<ResultOf<Kind>>;

export class Collection {
  readonly name: string;
  readonly #run: Run;

  constructor(name: string, run: Run) {
    this.name = name;
    this.#run = run;
  }

  /**
   * Inserts or replaces points, all of them or none. Acknowledged means on disk on a majority and
   * visible to the next read. With a duplicate id the last point wins.
   * @throws HoldfastError VERSION_CONFLICT when a condition did not hold; validation codes
   */
  async upsert(
    points: PointInput | readonly PointInput[],
    options: RequestOptions = {},
  ): Promise<UpsertResult> {
    const list = Array.isArray(points) ? points : [points];
    const checked = check('upsert', { collection: this.name, points: list });
    const copies = checked.points.map(copyPoint);
    return this.#run(
      {
        kind: 'upsert',
        target: LEADER,
        isWrite: true,
        message: (stamp, timeoutMs) => ({
          kind: 'upsert',
          timeoutMs,
          ...(stamp === null ? {} : { session: stamp }),
          collection: this.name,
          points: copies,
        }),
      },
      options,
    );
  }

  /** Upserts any number of points in batches; each batch is atomic on its own. */
  upsertMany(
    points: AsyncIterable<PointInput> | Iterable<PointInput>,
    options: UpsertManyOptions = {},
  ): Promise<UpsertManyResult> {
    return upsertMany(this, points, options);
  }

  /** Deletes points, all or none; ids that do not exist are not an error. */
  async delete(
    points: PointId | DeletePoint | readonly (PointId | DeletePoint)[],
    options: RequestOptions = {},
  ): Promise<DeleteResult> {
    const list: readonly unknown[] = Array.isArray(points) ? points : [points];
    const named = list.map((point) => (isPointId(point) ? { id: point } : point));
    const checked = check('delete', { collection: this.name, points: named });
    return this.#run(
      {
        kind: 'delete',
        target: LEADER,
        isWrite: true,
        message: (stamp, timeoutMs) => ({
          kind: 'delete',
          timeoutMs,
          ...(stamp === null ? {} : { session: stamp }),
          collection: this.name,
          points: checked.points,
        }),
      },
      options,
    );
  }

  /** Points that exist, in the order of the ids asked for. */
  get(id: PointId, options?: GetOptions): Promise<StoredPoint | null>;
  get(ids: readonly PointId[], options?: GetOptions): Promise<readonly StoredPoint[]>;
  async get(
    ids: PointId | readonly PointId[],
    options: GetOptions = {},
  ): Promise<StoredPoint | null | readonly StoredPoint[]> {
    const isList = Array.isArray(ids);
    const { points } = await this.getMany(isList ? ids : [ids as PointId], options);
    return isList ? points : (points[0] ?? null);
  }

  /** As `get`, with the log index that the answer saw. */
  async getMany(ids: readonly PointId[], options: GetOptions = {}): Promise<GetResult> {
    const { timeoutMs: _timeoutMs, signal: _signal, ...readOptions } = options;
    const { id: _id, ...message } = check('get', { collection: this.name, ids, ...readOptions });
    return this.#run(
      {
        kind: 'get',
        target: targetOf(readOptions),
        isWrite: false,
        message: (_stamp, timeoutMs) => ({ ...message, timeoutMs }),
      },
      options,
    );
  }

  /** The k nearest points, nearest first. */
  async search(
    vector: Float32Array | readonly number[],
    options: SearchOptions,
  ): Promise<SearchResult> {
    if (typeof options !== 'object' || options === null) {
      throw argumentInvalid('options', 'an object with k, for example { k: 10 }');
    }
    const { timeoutMs: _timeoutMs, signal: _signal, ...rest } = options;
    const { id: _id, ...checked } = check('search', { collection: this.name, vector, ...rest });
    const message = { ...checked, vector: checked.vector.slice() };
    return this.#run(
      {
        kind: 'search',
        target: targetOf(rest),
        isWrite: false,
        message: (_stamp, timeoutMs) => ({ ...message, timeoutMs }),
      },
      options,
    );
  }

  /** Points of the collection, or those that match a filter. Always exact. */
  async count(options: CountOptions = {}): Promise<CountResult> {
    const { timeoutMs: _timeoutMs, signal: _signal, ...readOptions } = options;
    const { id: _id, ...message } = check('count', { collection: this.name, ...readOptions });
    return this.#run(
      {
        kind: 'count',
        target: targetOf(readOptions),
        isWrite: false,
        message: (_stamp, timeoutMs) => ({ ...message, timeoutMs }),
      },
      options,
    );
  }

  /** One page of points, ordered by id. Each page is a read of its own. */
  async scroll(options: ScrollOptions = {}): Promise<ScrollResult> {
    const { timeoutMs: _timeoutMs, signal: _signal, ...readOptions } = options;
    const { id: _id, ...message } = check('scroll', { collection: this.name, ...readOptions });
    return this.#run(
      {
        kind: 'scroll',
        target: targetOf(readOptions),
        isWrite: false,
        message: (_stamp, timeoutMs) => ({ ...message, timeoutMs }),
      },
      options,
    );
  }

  /** All points, page by page as they are consumed. `limit` is the size of a page. */
  async *scrollAll(options: ScrollOptions = {}): AsyncGenerator<StoredPoint, void, undefined> {
    let after = options.after ?? null;
    do {
      const page = await this.scroll(after === null ? options : { ...options, after });
      yield* page.points;
      after = page.next;
    } while (after !== null);
  }

  /**
   * Deletes points that match, all or none of those found. A point that another write changes in
   * the meantime is skipped and counted. Repeat while deleted plus skipped reach the limit.
   */
  async deleteByFilter(
    filter: Filter,
    options: DeleteByFilterOptions = {},
  ): Promise<DeleteByFilterResult> {
    const { timeoutMs: _timeoutMs, signal: _signal, ...rest } = options;
    const fields = { collection: this.name, filter, ...rest };
    const { id: _id, ...message } = check('deleteByFilter', fields);
    return this.#write('deleteByFilter', message, options);
  }

  /**
   * Declares an index over a payload key, built by every node in the background. It makes filters
   * faster and changes no answer. An equal index that exists is no error.
   */
  async createPayloadIndex(
    key: string,
    type: PayloadIndexType,
    options: RequestOptions = {},
  ): Promise<CreatePayloadIndexResult> {
    const fields = { collection: this.name, key, type };
    const { id: _id, ...message } = check('createPayloadIndex', fields);
    return this.#write('createPayloadIndex', message, options);
  }

  async dropPayloadIndex(
    key: string,
    options: RequestOptions = {},
  ): Promise<DropPayloadIndexResult> {
    const { id: _id, ...message } = check('dropPayloadIndex', { collection: this.name, key });
    return this.#write('dropPayloadIndex', message, options);
  }

  #write<Kind extends 'deleteByFilter' | 'createPayloadIndex' | 'dropPayloadIndex'>(
    kind: Kind,
    message: Omit<OutgoingRequestOf<Kind>, 'id' | 'session' | 'timeoutMs'>,
    options: RequestOptions,
  ): Promise<ResultOf<Kind>> {
    return this.#run(
      {
        kind,
        target: LEADER,
        isWrite: true,
        message: (stamp, timeoutMs) =>
          ({ ...message, timeoutMs, ...(stamp === null ? {} : { session: stamp }) }) as never,
      },
      options,
    );
  }
}

const LEADER: Target = { kind: 'leader' };

/** Stale reads are for spreading load; the others are cheapest at the leader. */
const targetOf = (options: ReadOptions): Target =>
  options.consistency === 'stale' ? { kind: 'any' } : LEADER;

const isPointId = (value: unknown): boolean =>
  typeof value === 'number' || typeof value === 'string';

/** The server's own validator, before anything is sent. */
function check<Kind extends RequestKind>(
  kind: Kind,
  fields: Readonly<Record<string, unknown>>,
): RequestOf<Kind> {
  return checkUp({ id: 0, kind, ...withoutUndefined(fields) }) as RequestOf<Kind>;
}

/** `{ ef: undefined }` in JavaScript means "not given". */
function withoutUndefined(
  fields: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** Owned by the message: the caller may go on with its arrays. */
export function copyPoint(point: UpsertPoint): OutgoingUpsertPoint {
  const { payload, vector, ...rest } = point;
  return {
    ...rest,
    vector: vector.slice(),
    ...(payload === undefined ? {} : { payload: copyPayload(payload) }),
  };
}

const copyPayload = (payload: CanonicalPayload): JsonObject => parsePayload(payload);

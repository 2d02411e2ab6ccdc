/**
 * Reads and writes of one collection. Everything is validated and copied before the first await, so
 * the caller may reuse its arrays at once, and a retried write has the same body as the first.
 */
import type {
  CanonicalPayload,
  CountResult,
  DeletePoint,
  DeleteResult,
  GetResult,
  JsonObject,
  OutgoingUpsertPoint,
  PointId,
  ReadOptions,
  RequestKind,
  RequestOf,
  ResultOf,
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

export interface GetOptions extends RequestOptions, ReadOptions, WithOptions {}

export interface SearchOptions extends RequestOptions, ReadOptions, WithOptions {
  readonly k: number;
  /** Beam width of the graph search; wider finds more of the true neighbours. */
  readonly ef?: number;
  /** True: compare with every point. */
  readonly exact?: boolean;
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

  async count(options: RequestOptions & ReadOptions = {}): Promise<CountResult> {
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

function copyPoint(point: UpsertPoint): OutgoingUpsertPoint {
  const { payload, vector, ...rest } = point;
  return {
    ...rest,
    vector: vector.slice(),
    ...(payload === undefined ? {} : { payload: copyPayload(payload) }),
  };
}

const copyPayload = (payload: CanonicalPayload): JsonObject => parsePayload(payload);

/**
 * Everything that a workload may ask of the cluster, one union per workload. An operation is
 * written to the history twice: as asked (its results null or undefined) and as answered.
 *
 * Values and elements are unique within a run, so that an answer names the write it saw. `nodePick`
 * chooses the node that is asked, modulo their number, over a connection of its own that stays
 * however the node fares; without one the client library chooses and retries.
 */
import { unreachable } from '@holdfast/base';

/** One register per key. */
export type RegisterOperation =
  /** `value` is the result: null means "no such key"; undefined before the answer. */
  | {
      readonly kind: 'read';
      readonly key: string;
      readonly value: number | null | undefined;
      readonly nodePick: number | null;
    }
  /** null: the key is deleted. */
  | {
      readonly kind: 'write';
      readonly key: string;
      readonly value: number | null;
      readonly nodePick?: number | null;
    }
  /** `expected` is what it found, null for nothing; undefined while that is not known. */
  | {
      readonly kind: 'compareAndSet';
      readonly key: string;
      readonly expected: number | null | undefined;
      readonly value: number;
      readonly nodePick?: number | null;
    };

export type SetOperation =
  | { readonly kind: 'add'; readonly element: number }
  /** Reads elements `elementMin` (1 if not given) to `elementMax`; `elements` is the result. */
  | {
      readonly kind: 'readAll';
      readonly elementMin?: number;
      readonly elementMax: number;
      readonly elements: readonly number[] | null;
      readonly nodePick?: number | null;
    };

/** How a reader asks for several points in one read. */
export type ReadMeans = 'get' | 'scroll' | 'search';

/** A point as a read showed it. */
export interface SeenPoint {
  readonly point: number;
  readonly value: number;
  /** Log index of the write that made it. */
  readonly version: number;
}

/** Points that are written several at a time: atomic batches and bank accounts. */
export type GroupOperation =
  /** Gives all of `points` one value, in one batch. `index`: its place in the log, once known. */
  | {
      readonly kind: 'writeTogether';
      readonly key: string;
      readonly points: readonly number[];
      readonly value: number;
      readonly index: number | null;
    }
  /** Reads all points of the group in one read. */
  | {
      readonly kind: 'readTogether';
      readonly key: string;
      readonly points: readonly number[];
      readonly means: ReadMeans;
      readonly nodePick: number | null;
      readonly seen: readonly SeenPoint[] | null;
      readonly appliedIndex: number | null;
    }
  /**
   * Moves `amount` if there is enough; `balances` are those it leaves, of `from` and `to`.
   * `foundCount`: how many of the two it found when it read them, null while not known.
   */
  | {
      readonly kind: 'transfer';
      readonly from: number;
      readonly to: number;
      readonly amount: number;
      readonly foundCount: number | null;
      readonly balances: readonly [number, number] | null;
      readonly index: number | null;
    };

/** Lists that grow by compare-and-set. */
export type ListOperation =
  /** `list`: as found before, so without `element`; null while not known. */
  | {
      readonly kind: 'append';
      readonly key: string;
      readonly element: number;
      readonly list: readonly number[] | null;
    }
  | {
      readonly kind: 'readList';
      readonly key: string;
      readonly nodePick: number | null;
      readonly list: readonly number[] | null;
    };

/** Writes and reads that may be stale, with the log index that each saw. */
export type SessionOperation =
  | {
      readonly kind: 'writeVersioned';
      readonly key: string;
      readonly value: number;
      readonly index: number | null;
    }
  | {
      readonly kind: 'readStale';
      readonly key: string;
      readonly nodePick: number;
      readonly stalenessMsMax: number;
      /** Null: no such point, or no answer yet. */
      readonly value: number | null;
      readonly version: number | null;
      /** Null before the answer. */
      readonly appliedIndex: number | null;
    };

/** `graph` may miss a point, and says nothing when it does. */
export type SearchMeans = 'exact' | 'filter' | 'graph' | 'scroll';

export type PointOperation =
  | { readonly kind: 'putPoint'; readonly key: string; readonly value: number }
  | { readonly kind: 'deletePoint'; readonly key: string }
  /** `found`: the value of the point, null when it was not found; undefined: nothing was learnt. */
  | {
      readonly kind: 'findPoint';
      readonly key: string;
      readonly means: SearchMeans;
      readonly nodePick: number | null;
      readonly found: number | null | undefined;
    };

export type SchemaOperation =
  | {
      readonly kind: 'createCollection';
      readonly name: string;
      /** True: one that exists is the answer. */
      readonly isIdempotent: boolean;
      readonly index: number | null;
      /** Log index of the creation of what is there now. */
      readonly createdIndex: number | null;
    }
  | {
      readonly kind: 'dropCollection';
      readonly name: string;
      readonly index: number | null;
      readonly isDropped: boolean | null;
    }
  | {
      readonly kind: 'changePayloadIndex';
      readonly name: string;
      readonly isCreation: boolean;
      readonly index: number | null;
    }
  | {
      readonly kind: 'insertInto';
      readonly name: string;
      readonly element: number;
      readonly index: number | null;
    }
  /** All elements with their versions, by a filter that an index may serve, or without one. */
  | {
      readonly kind: 'readCollection';
      readonly name: string;
      readonly isFiltered: boolean;
      readonly nodePick: number | null;
      readonly seen: readonly SeenPoint[] | null;
      readonly appliedIndex: number | null;
    };

/** One request with one session and sequence, sent to several nodes at once. */
export type RepeatedOperation =
  | {
      readonly kind: 'insertRepeated';
      readonly element: number;
      /** Whether it demands that the element is absent. */
      readonly isConditional: boolean;
      /** Nodes that are asked, modulo their number. */
      readonly nodePicks: readonly number[];
      /** Log indexes that the answers named, one per answer. */
      readonly indexes: readonly number[] | null;
      /** Codes of refusals that come from the log and so are final. */
      readonly refusals: readonly string[] | null;
    }
  | {
      readonly kind: 'readRepeated';
      readonly elementMin: number;
      readonly elementMax: number;
      readonly nodePick: number | null;
      readonly seen: readonly SeenPoint[] | null;
    };

export type Operation =
  | RegisterOperation
  | SetOperation
  | GroupOperation
  | ListOperation
  | SessionOperation
  | PointOperation
  | SchemaOperation
  | RepeatedOperation;

export type OperationOf<Kind extends Operation['kind']> = Extract<Operation, { kind: Kind }>;

/** Whether an acknowledgement of it means that the cluster takes writes. */
export function isWrite({ kind }: Operation): boolean {
  switch (kind) {
    case 'write':
    case 'compareAndSet':
    case 'add':
    case 'writeTogether':
    case 'transfer':
    case 'append':
    case 'writeVersioned':
    case 'putPoint':
    case 'deletePoint':
    case 'createCollection':
    case 'dropCollection':
    case 'changePayloadIndex':
    case 'insertInto':
    case 'insertRepeated':
      return true;
    case 'read':
    case 'readAll':
    case 'readTogether':
    case 'readList':
    case 'readStale':
    case 'findPoint':
    case 'readCollection':
    case 'readRepeated':
      return false;
    default:
      return unreachable(kind);
  }
}

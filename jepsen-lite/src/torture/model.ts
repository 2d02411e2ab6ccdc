/**
 * What the rows must be. Every id has one writer, and every version of it has one content that is
 * computed from id and version; so an answer is right when each row in it is exactly one of the
 * versions that were possible while it was asked for. Pure.
 */
import { assert } from '@holdfast/base';
import type { StoredPoint } from '@holdfast/protocol';

export const DIMENSION = 2;
/** Of every this many versions of a point one is its absence. */
const VERSIONS_PER_ABSENCE = 7;
/** Scores are computed in f32. */
const SCORE_TOLERANCE = 1e-3;

export interface RowContent {
  readonly vector: readonly number[];
  readonly version: number;
}

/** Null: the point does not exist in this version. Version 0 always exists. */
export function contentOf(id: number, version: number): RowContent | null {
  if (version % VERSIONS_PER_ABSENCE === VERSIONS_PER_ABSENCE - 1) return null;
  return { vector: [coordinate(id, version, 1), coordinate(id, version, 2)], version };
}

/** In [0, 1000), a float32. */
function coordinate(id: number, version: number, axis: number): number {
  let mixed = Math.imul(id, 0x9e3779b1) ^ Math.imul(version + 1, 0x85ebca6b) ^ (axis * 0xc2b2);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d);
  mixed ^= mixed >>> 13;
  return Math.fround((mixed >>> 0) / 4_294_968);
}

/** What was known when a question was asked. */
export interface Snapshot {
  readonly versions: ReadonlyMap<number, number>;
  readonly changeCount: number;
  readonly openCount: number;
  readonly liveCount: number;
}

export class RowModel {
  /** Newest version that was acknowledged; all ids below the count have at least version 0. */
  readonly #acknowledged = new Map<number, number>();
  /** Newest version that was sent; absent when it is the acknowledged one. */
  readonly #sent = new Map<number, number>();
  readonly idCount: number;
  #liveCount: number;
  #changeCount = 0;

  constructor(idCount: number) {
    this.idCount = idCount;
    this.#liveCount = idCount;
  }

  /** Ids are 1 to `idCount`. */
  acknowledgedVersion(id: number): number {
    return this.#acknowledged.get(id) ?? 0;
  }

  get acknowledgedCount(): number {
    return this.#changeCount;
  }

  /** Ids that were ever written again, for the last read. */
  get changedIds(): readonly number[] {
    return [...this.#acknowledged.keys()];
  }

  /** The version to write next; its outcome is open until `acknowledge`. */
  send(id: number): number {
    const version = (this.#sent.get(id) ?? this.acknowledgedVersion(id)) + 1;
    this.#sent.set(id, version);
    return version;
  }

  acknowledge(id: number, version: number): void {
    assert(this.#sent.get(id) === version, 'only the newest write of an id is open', { id });
    const before = contentOf(id, this.acknowledgedVersion(id)) === null ? 0 : 1;
    const after = contentOf(id, version) === null ? 0 : 1;
    this.#liveCount += after - before;
    this.#changeCount += 1;
    this.#acknowledged.set(id, version);
    this.#sent.delete(id);
  }

  snapshot(ids: readonly number[]): Snapshot {
    return {
      versions: new Map(ids.map((id) => [id, this.acknowledgedVersion(id)])),
      changeCount: this.#changeCount,
      openCount: this.#sent.size,
      liveCount: this.#liveCount,
    };
  }

  /** Null when the answer is right; else what is wrong with it. */
  wrongRead(id: number, found: StoredPoint | null, asked: Snapshot): string | null {
    const oldest = asked.versions.get(id) ?? 0;
    if (found === null) {
      for (let version = oldest; version <= this.#newest(id); version++) {
        if (contentOf(id, version) === null) return null;
      }
      return `point ${id} is missing; version ${oldest} was acknowledged`;
    }
    return this.#wrongContent(id, found, oldest);
  }

  /** A row of a search: like a read; stale ones may be any version that was ever written. */
  wrongHit(
    hit: StoredPoint & { readonly score: number },
    query: readonly number[],
    oldest: number,
  ): string | null {
    const id = Number(hit.id);
    const wrong = this.#wrongContent(id, hit, oldest);
    if (wrong !== null) return wrong;
    const [x = 0, y = 0] = hit.vector ?? [];
    const score = Math.hypot(x - (query[0] ?? 0), y - (query[1] ?? 0));
    if (Math.abs(score - hit.score) <= SCORE_TOLERANCE * Math.max(1, score)) return null;
    return `point ${id} has the score ${hit.score}, not ${score}`;
  }

  /** Null when `id` must be there in one known version since `asked`; used for self searches. */
  settledContent(id: number, asked: Snapshot): RowContent | null {
    const oldest = asked.versions.get(id) ?? 0;
    return this.#newest(id) === oldest ? contentOf(id, oldest) : null;
  }

  wrongCount(found: number, asked: Snapshot): string | null {
    const uncertain = this.#changeCount - asked.changeCount + asked.openCount + this.#sent.size;
    if (Math.abs(found - asked.liveCount) <= uncertain) return null;
    return `${found} points are counted, not ${asked.liveCount} (give or take ${uncertain})`;
  }

  #newest(id: number): number {
    return this.#sent.get(id) ?? this.acknowledgedVersion(id);
  }

  #wrongContent(id: number, found: StoredPoint, oldest: number): string | null {
    const told = found.payload?.version ?? 0;
    const content = typeof told === 'number' && id >= 1 ? contentOf(id, told) : null;
    const isWritten = content !== null && Number(told) <= this.#newest(id) && id <= this.idCount;
    if (!isWritten) return `point ${id} is in version ${told}, which was never written`;
    if (Number(told) < oldest)
      return `point ${id} is in version ${told}; ${oldest} was acknowledged`;
    const isEqual = content.vector.every((value, axis) => found.vector?.[axis] === value);
    return isEqual ? null : `point ${id} in version ${told} has the vector [${found.vector}]`;
  }
}

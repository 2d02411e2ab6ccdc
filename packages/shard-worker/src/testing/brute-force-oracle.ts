/**
 * The plain meaning of a collection: a map of points, conditions checked against the state before
 * the batch, search by sorting everything in double precision. Slow, obvious, and sharing no code
 * with the engine but the id order.
 */
import { xxh128 } from '@holdfast/storage';
import type { CollectionDefinition, Metric, PointId } from '../model.ts';
import { comparePointIds, hashPointId, shardOfIdHash } from '../point-id.ts';
import type { PointOp } from '../point-op.ts';

export interface OraclePoint {
  readonly id: PointId;
  readonly version: number;
  readonly vector: Float32Array;
  readonly payload: Uint8Array | null;
}

export interface OracleHit {
  readonly id: PointId;
  readonly score: number;
}

export type OracleOutcome =
  | { readonly kind: 'written'; readonly deletedCount: number }
  | {
      readonly kind: 'conflict';
      readonly conflicts: readonly { readonly id: PointId; readonly actualVersion: number }[];
    };

export class BruteForceOracle {
  readonly definition: CollectionDefinition;
  readonly points = new Map<PointId, OraclePoint>();

  constructor(definition: CollectionDefinition) {
    this.definition = definition;
  }

  apply(ops: readonly PointOp[], index: number): OracleOutcome {
    const conflicts = ops
      .map((op) => ({ op, actualVersion: this.points.get(op.id)?.version ?? 0 }))
      .filter(({ op, actualVersion }) => !holds(op, actualVersion))
      .map(({ op, actualVersion }) => ({ id: op.id, actualVersion }));
    if (conflicts.length > 0) return { kind: 'conflict', conflicts };
    const last = new Map<PointId, PointOp>();
    for (const op of ops) last.set(op.id, op);
    let deletedCount = 0;
    for (const op of last.values()) {
      if (op.type === 'upsert') {
        const { id, vector, payload } = op;
        this.points.set(id, { id, version: index, vector, payload });
      } else if (this.points.delete(op.id)) deletedCount += 1;
    }
    return { kind: 'written', deletedCount };
  }

  search(query: Float32Array, k: number): OracleHit[] {
    const { metric } = this.definition;
    const sign = metric === 'l2' ? 1 : -1;
    return [...this.points.values()]
      .map(({ id, vector }) => ({ id, score: scoreOf(metric, query, vector) }))
      .sort((a, b) => sign * (a.score - b.score) || comparePointIds(a.id, b.id))
      .slice(0, k);
  }

  pointsOfShard(shard: number): OraclePoint[] {
    const { shardCount } = this.definition;
    return [...this.points.values()].filter(
      ({ id }) => shardOfIdHash(hashPointId(id), shardCount) === shard,
    );
  }

  /** The shard's digest from first principles. */
  digestOfShard(shard: number): string {
    const modulus = 1n << 128n;
    let sum = 0n;
    for (const point of this.pointsOfShard(shard)) {
      const hash = Buffer.from(xxh128([canonicalBytes(point)])).reverse();
      sum = (sum + BigInt(`0x${hash.toString('hex')}`)) % modulus;
    }
    return sum.toString(16).padStart(32, '0');
  }
}

function holds(op: PointOp, actualVersion: number): boolean {
  if (op.condition.kind === 'none') return true;
  if (op.condition.kind === 'ifAbsent') return actualVersion === 0;
  return op.condition.version === actualVersion;
}

export function scoreOf(metric: Metric, left: Float32Array, right: Float32Array): number {
  let dot = 0;
  let squared = 0;
  let leftSquared = 0;
  let rightSquared = 0;
  left.forEach((a, i) => {
    const b = right[i] ?? Number.NaN;
    dot += a * b;
    squared += (a - b) ** 2;
    leftSquared += a * a;
    rightSquared += b * b;
  });
  if (metric === 'l2') return Math.sqrt(squared);
  if (metric === 'innerProduct') return dot + 0;
  const norms = Math.sqrt(leftSquared) * Math.sqrt(rightSquared);
  return norms === 0 ? 0 : dot / norms + 0;
}

/** Log time of the entry at `index` in a test's log. */
export const logTimeMs = (index: number): number => 1_700_000_000_000 + index * 10;

function canonicalBytes({ id, version, vector, payload }: OraclePoint): Uint8Array {
  const header = Buffer.alloc(48);
  header.writeUInt8(typeof id === 'number' ? 0 : 1, 0);
  header.writeUInt16LE(payload === null ? 0 : 1, 2);
  header.writeUInt32LE(vector.length, 4);
  if (typeof id === 'number') header.writeDoubleLE(id, 8);
  else header.write(id.replaceAll('-', ''), 8, 'hex');
  header.writeBigUInt64LE(BigInt(version), 24);
  header.writeDoubleLE(logTimeMs(version), 32);
  header.writeUInt32LE(payload?.byteLength ?? 0, 40);
  const vectorBytes = Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength);
  return new Uint8Array(Buffer.concat([header, vectorBytes, payload ?? Buffer.alloc(0)]));
}

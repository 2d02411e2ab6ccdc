/** The byte form of ops, ids and their hashes, and the distance kernel: the pure leaves. */
import { strict } from 'node:assert';
import { readFileSync } from 'node:fs';
import { InvariantViolation, SeededRandom } from '@holdfast/base';
import fc from 'fast-check';
import type { Test } from 'tap';
import tap from 'tap';
import wabtInit from 'wabt';
import { dotExact, squaredDistanceExact } from '../src/distance/exact-math.ts';
import { KERNEL_BASE64 } from '../src/distance/kernel-bytes.ts';
import { TopK } from '../src/distance/top-k.ts';
import { BLOCK_ROW_COUNT, VectorStore } from '../src/distance/vector-store.ts';
import type { PointId } from '../src/model.ts';
import {
  comparePointIds,
  hashIdBytes,
  hashPointId,
  isPointId,
  pointIdKind,
  readPointId,
  shardOfIdHash,
  writePointId,
} from '../src/point-id.ts';
import type { PointCondition, PointOp } from '../src/point-op.ts';
import {
  countPointOps,
  decodePointOps,
  encodePointOps,
  hasConditions,
  splitPointOps,
} from '../src/point-op.ts';

const SEED = 20_240_607;
const id: fc.Arbitrary<PointId> = fc.oneof(
  fc.maxSafeNat(),
  fc.uuid().map((text) => text.toLowerCase()),
);
const condition: fc.Arbitrary<PointCondition> = fc.oneof(
  fc.constant({ kind: 'none' } as const),
  fc.constant({ kind: 'ifAbsent' } as const),
  fc.record(
    { kind: fc.constant('ifVersion' as const), version: fc.maxSafeNat() },
    { noNullPrototype: true },
  ),
);
const op: fc.Arbitrary<PointOp> = fc.oneof(
  fc.record(
    {
      type: fc.constant('upsert' as const),
      id,
      vector: fc.float32Array({ minLength: 1, maxLength: 9, noNaN: true, noDefaultInfinity: true }),
      payload: fc.option(fc.uint8Array({ maxLength: 20 })),
      condition,
    },
    { noNullPrototype: true },
  ),
  fc.record({ type: fc.constant('delete' as const), id, condition }, { noNullPrototype: true }),
);
/** Property bodies throw by node:assert: one tap assertion per property, the seed in the report. */
const check = <T extends [unknown, ...unknown[]]>(t: Test, property: fc.IProperty<T>) =>
  t.doesNotThrow(() => fc.assert(property, { seed: SEED, numRuns: 300 }));

tap.test('encoded ops decode to what they were', async (t) => {
  check(
    t,
    fc.property(fc.array(op, { maxLength: 12 }), (ops) => {
      const bytes = encodePointOps(ops);
      strict.deepEqual([...decodePointOps(bytes)], ops);
      strict.equal(countPointOps(bytes), ops.length);
      strict.equal(
        hasConditions(bytes),
        ops.some((one) => one.condition.kind !== 'none'),
      );
      // The same from any offset of a larger buffer.
      const shifted = new Uint8Array(bytes.byteLength + 3);
      shifted.set(bytes, 3);
      strict.deepEqual([...decodePointOps(shifted.subarray(3))], ops);
    }),
  );
});

tap.test('ops that came from a peer, in a part of a pooled Buffer, decode to copies', async (t) => {
  const ops: readonly PointOp[] = [
    {
      ...{
        type: 'upsert',
        id: 7,
        vector: Float32Array.of(1, 2, 3),
        condition: { kind: 'ifAbsent' },
      },
      payload: Uint8Array.of(0x81, 1),
    },
    { type: 'delete', id: 8, condition: { kind: 'ifVersion', version: 3 } },
  ];
  const bytes = encodePointOps(ops);
  // The pool is no multiple of four long, and begins with what is none of ours.
  const pool = Buffer.from(new Uint8Array(bytes.byteLength + 17).fill(0xff).buffer);
  pool.set(bytes, 8);
  const decoded = [...decodePointOps(pool.subarray(8, 8 + bytes.byteLength))];
  pool.fill(0);
  strict.deepEqual(decoded, ops);
  t.pass('equal, also when the pool is used again');
});

tap.test('a batch splits over lanes without losing, repeating or reordering an op', async (t) => {
  check(
    t,
    fc.property(
      fc.array(op, { maxLength: 30 }),
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 4 }),
      (ops, shardCount, laneCount) => {
        const laneOf = (one: PointOp) => shardOfIdHash(hashPointId(one.id), shardCount) % laneCount;
        const slices = splitPointOps(
          encodePointOps(ops),
          shardCount,
          (shard) => shard % laneCount,
          laneCount,
        );
        strict.equal(slices.length, laneCount);
        slices.forEach((slice, lane) => {
          const expected = ops.filter((one) => laneOf(one) === lane);
          strict.equal(slice === null, expected.length === 0);
          if (slice === null) return;
          strict.deepEqual([...decodePointOps(slice)], expected);
          strict.equal(slice.byteLength, slice.buffer.byteLength, 'owns its buffer: transferable');
        });
      },
    ),
  );
});

tap.test('malformed op bytes are a bug of ours and assert', async (t) => {
  const bytes = encodePointOps([
    {
      type: 'upsert',
      id: 7,
      vector: new Float32Array(4),
      payload: new Uint8Array(5),
      condition: { kind: 'none' },
    },
  ]);
  const damaged = (change: (copy: Uint8Array) => Uint8Array) => change(bytes.slice());
  const cases = {
    'cut header': damaged((copy) => copy.subarray(0, 20)),
    'cut body': damaged((copy) => copy.subarray(0, copy.byteLength - 8)),
    'unknown type': damaged((copy) => copy.fill(9, 4, 5)),
    'unknown id kind': damaged((copy) => copy.fill(9, 5, 6)),
    'another vector length': damaged((copy) => copy.fill(200, 12, 13)),
  };
  for (const [name, bad] of Object.entries(cases))
    t.throws(() => countPointOps(bad), InvariantViolation, name);
  t.throws(
    () => encodePointOps([{ type: 'delete', id: -1, condition: { kind: 'none' } }]),
    InvariantViolation,
  );
});

tap.test('ids keep their bytes, order and hash', async (t) => {
  check(
    t,
    fc.property(id, (one) => {
      const view = new DataView(new ArrayBuffer(24));
      writePointId(view, 5, one);
      strict.equal(readPointId(view, 5, pointIdKind(one)), one);
      strict.equal(hashIdBytes(new Uint8Array(view.buffer), pointIdKind(one), 5), hashPointId(one));
    }),
  );
  t.equal(hashPointId(-0), hashPointId(0), 'one zero');
  // Frozen: shards of stored points are chosen by these values.
  t.equal(hashPointId(1), 3_283_795_866);
  t.equal(hashPointId('00000000-0000-4000-8000-000000000001'), 3_454_647_509);
  const ids: PointId[] = ['b0000000-0000-4000-8000-000000000000', 10, 9, 0];
  ids.push('a0000000-0000-4000-8000-000000000000');
  t.same(ids.sort(comparePointIds), [
    0,
    9,
    10,
    'a0000000-0000-4000-8000-000000000000',
    'b0000000-0000-4000-8000-000000000000',
  ]);
  for (const bad of [
    -1,
    1.5,
    2 ** 53,
    Number.NaN,
    '',
    'A0000000-0000-4000-8000-000000000000',
    null,
  ])
    t.notOk(isPointId(bad), String(bad));
});

tap.test('consecutive ids spread evenly over shards', async (t) => {
  for (const shardCount of [2, 3, 8, 64]) {
    const counts = new Array<number>(shardCount).fill(0);
    for (let n = 0; n < 64_000; n++) counts[shardOfIdHash(hashPointId(n), shardCount)]! += 1;
    const mean = 64_000 / shardCount;
    // Six standard deviations of a fair draw.
    const slack = 6 * Math.sqrt(mean);
    t.ok(
      counts.every((count) => Math.abs(count - mean) < slack),
      `${shardCount}: ${counts}`,
    );
  }
});

tap.test('the embedded kernel is what the text compiles to', async (t) => {
  const wabt = await wabtInit();
  const path = new URL('../../src/distance/kernel.wat', import.meta.url);
  const module = wabt.parseWat('kernel.wat', readFileSync(path, 'utf8'), { simd: true });
  const compiled = Buffer.from(module.toBinary({}).buffer).toString('base64');
  t.equal(compiled, KERNEL_BASE64, 'run build-kernel.mjs after editing kernel.wat');
});

tap.test('the kernel agrees with plain arithmetic for every shape of row', async (t) => {
  const random = new SeededRandom(SEED);
  const vectorOf = (dimension: number) =>
    Float32Array.from({ length: dimension }, () => random.nextFloat() * 4 - 2);
  for (const dimension of [1, 2, 3, 4, 7, 15, 16, 17, 31, 32, 33, 100, 128, 384, 1000, 1536]) {
    const store = new VectorStore(dimension);
    const vectors = Array.from({ length: 70 }, () => vectorOf(dimension));
    for (const vector of vectors) store.append(new Uint8Array(vector.buffer), 0);
    const query = vectorOf(dimension);
    store.setQuery(query);
    const rows = Uint32Array.from([69, 0, 3, 3, 41]);
    for (const kind of ['l2', 'dot'] as const) {
      const exact = kind === 'l2' ? squaredDistanceExact : dotExact;
      const expected = vectors.map((vector) => exact(query, vector));
      const range = Float32Array.from(store.distancesOfRange(kind, 0, 70));
      const worst = expected.reduce(
        (max, value, i) => Math.max(max, Math.abs(value - range[i]!)),
        0,
      );
      t.ok(worst <= 1e-5 * dimension, `${kind} ${dimension}: off by ${worst}`);
      const gathered = store.distancesOfRows(kind, rows, 0, rows.length);
      t.same(
        [...gathered.subarray(0, rows.length)],
        [...rows].map((row) => range[row]!),
        'range and gather agree to the bit',
      );
    }
    t.same(store.vector(41), vectors[41], 'rows read back');
  }
});

tap.test('the vector memory grows in place and keeps its rows', async (t) => {
  const store = new VectorStore(700);
  const rowCount = 3000;
  const vector = new Float32Array(700);
  for (let row = 0; row < rowCount; row++) store.append(new Uint8Array(vector.fill(row).buffer), 0);
  store.setQuery(new Float32Array(700));
  for (let row = 0; row < rowCount; row += 500) t.equal(store.vector(row)[699], row);
  const last = store.distancesOfRange('l2', rowCount - 1, 1)[0];
  const expected = (rowCount - 1) ** 2 * 700;
  t.ok(Math.abs((last ?? 0) - expected) < expected * 1e-5);
  t.throws(() => store.distancesOfRange('l2', 0, BLOCK_ROW_COUNT + 1), InvariantViolation);
  t.throws(() => store.distancesOfRange('l2', rowCount, 1), InvariantViolation);
});

tap.test('the k best come out in order whatever order rows are offered in', async (t) => {
  check(
    t,
    fc.property(
      fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 60 }),
      fc.integer({ min: 1, max: 12 }),
      (keys, k) => {
        const top = new TopK(k, (left, right) => left - right);
        const order = keys.map((key, row) => ({ key, row }));
        for (const { key, row } of [...order].reverse()) top.offer(key, row);
        const expected = order.sort((a, b) => a.key - b.key || a.row - b.row).slice(0, k);
        strict.deepEqual(top.drain(), expected);
      },
    ),
  );
});

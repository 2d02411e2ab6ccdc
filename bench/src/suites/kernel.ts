/**
 * The exact scan: the WASM kernel over the store of a shard, beside the plainest JavaScript loop
 * over the same numbers in one flat array, round by round in this process.
 */
import { SeededRandom } from '@holdfast/base';
import { BLOCK_ROW_COUNT, VectorStore } from '@holdfast/shard-worker';
import { atLeast, type Bench, type Figure, figure } from '../result.ts';
import { median } from '../statistics.ts';

const DIMENSIONS: readonly number[] = [128, 768];
const ROW_COUNT = 10_000;
const ROUND_COUNT = 9;
const QUERIES_PER_ROUND = 20;
const RATIO_MIN = 5;

export const kernelBench: Bench = {
  name: 'kernel',
  description: 'exact scan of 10,000 rows by the kernel and by a plain JavaScript loop',
  run: async (context) => {
    const figures: Figure[] = [];
    const raw: Record<string, unknown> = {};
    for (const dimension of DIMENSIONS) {
      const samples = measure(dimension, context.isQuick ? 3 : ROUND_COUNT);
      const ratios = samples.map(({ kernel, plain }) => kernel / plain);
      figures.push(
        figure(`${dimension}-d kernel`, median(samples.map((one) => one.kernel)) / 1e6, 'Mrow/s'),
        figure(
          `${dimension}-d plain loop`,
          median(samples.map((one) => one.plain)) / 1e6,
          'Mrow/s',
        ),
        atLeast(`${dimension}-d ratio (median of rounds)`, median(ratios), 'x', RATIO_MIN),
      );
      raw[`${dimension}`] = samples;
    }
    return { figures, notes: [], raw };
  },
};

function measure(dimension: number, roundCount: number) {
  const random = new SeededRandom(4711);
  const flat = Float32Array.from({ length: ROW_COUNT * dimension }, () => random.nextFloat());
  const store = new VectorStore(dimension);
  for (let row = 0; row < ROW_COUNT; row++) {
    store.append(new Uint8Array(flat.buffer, row * dimension * 4, dimension * 4), 0);
  }
  const query = Float32Array.from({ length: dimension }, () => random.nextFloat());
  const distances = new Float32Array(ROW_COUNT);
  const scanPlain = () => squaredDistances(flat, query, distances);
  const scanKernel = () => {
    store.setQuery(query);
    for (let first = 0; first < ROW_COUNT; first += BLOCK_ROW_COUNT) {
      const count = Math.min(BLOCK_ROW_COUNT, ROW_COUNT - first);
      distances.set(store.distancesOfRange('l2', first, count).subarray(0, count), first);
    }
  };
  const rateOf = (scan: () => void): number => {
    const startMs = performance.now();
    for (let i = 0; i < QUERIES_PER_ROUND; i++) scan();
    return (QUERIES_PER_ROUND * ROW_COUNT) / ((performance.now() - startMs) / 1_000);
  };
  // The first round warms both up and is not counted.
  const samples = Array.from({ length: roundCount + 1 }, () => ({
    plain: rateOf(scanPlain),
    kernel: rateOf(scanKernel),
  }));
  return samples.slice(1);
}

function squaredDistances(flat: Float32Array, query: Float32Array, into: Float32Array): void {
  const dimension = query.length;
  for (let row = 0, at = 0; row < into.length; row++, at += dimension) {
    let sum = 0;
    for (let i = 0; i < dimension; i++) {
      const difference = flat[at + i]! - query[i]!;
      sum += difference * difference;
    }
    into[row] = sum;
  }
}

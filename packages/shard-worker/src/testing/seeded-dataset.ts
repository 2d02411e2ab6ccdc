/**
 * Vectors like those of embedding models, by seed: clusters in a low-dimensional space, mapped up,
 * with a little noise. Purely random vectors would make every index look bad and no test mean much.
 */
import type { Random } from '@holdfast/base';
import { SeededRandom } from '@holdfast/base';

export interface DatasetOptions {
  readonly seed: number;
  readonly count: number;
  readonly dimension: number;
  readonly clusterCount?: number;
}

const LATENT_DIMENSION = 16;
const SPREAD_IN_CLUSTER = 0.35;
const NOISE = 0.02;

export function clusteredVectors(options: DatasetOptions): Float32Array[] {
  const { seed, count, dimension, clusterCount = 50 } = options;
  const random = new SeededRandom(seed);
  const centers = Array.from({ length: clusterCount }, () => gaussians(random, LATENT_DIMENSION));
  const basis = Array.from({ length: dimension }, () => gaussians(random, LATENT_DIMENSION));
  return Array.from({ length: count }, () => {
    const center = centers[random.nextBelow(clusterCount)] ?? [];
    const latent = center.map((value) => value + SPREAD_IN_CLUSTER * gaussian(random));
    return Float32Array.from(basis, (axis) => {
      let sum = NOISE * gaussian(random);
      for (let i = 0; i < LATENT_DIMENSION; i++) sum += (axis[i] ?? 0) * (latent[i] ?? 0);
      return sum / 4;
    });
  });
}

const gaussians = (random: Random, count: number): number[] =>
  Array.from({ length: count }, () => gaussian(random));

/** Box-Muller. */
function gaussian(random: Random): number {
  const radius = Math.sqrt(-2 * Math.log(1 - random.nextFloat()));
  return radius * Math.cos(2 * Math.PI * random.nextFloat());
}

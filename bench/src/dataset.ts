/**
 * Vectors for the benchmarks, made as embeddings come: points of overlapping clusters in a latent
 * space of half the dimension, projected at random, plus noise in every component. (Uniform noise
 * has no near neighbours and makes every index look bad; clusters far apart make every index look
 * good.) Fixed seed, same numbers everywhere.
 */
import { assert, SeededRandom } from '@holdfast/base';

export interface Dataset {
  readonly dimension: number;
  readonly vectors: readonly Float32Array[];
  readonly queries: readonly Float32Array[];
}

export interface DatasetOptions {
  readonly seed: number;
  readonly dimension: number;
  readonly vectorCount: number;
  readonly queryCount: number;
  readonly clusterCount: number;
  /** Spread inside a cluster, where the centres are spread by 1. Default 1: clusters overlap. */
  readonly clusterSpread?: number;
}

/** Of every component after projection, where the components themselves are spread by about 1. */
const NOISE_SPREAD = 0.1;

/** Queries are drawn like the vectors but are none of them. */
export function clusteredDataset(options: DatasetOptions): Dataset {
  assert(options.clusterCount >= 1, 'at least one cluster', { count: options.clusterCount });
  const random = new SeededRandom(options.seed);
  const { dimension, clusterSpread = 1 } = options;
  const latentDimension = Math.max(1, dimension / 2);
  const origin = new Float32Array(latentDimension);
  const projection = Array.from({ length: dimension }, () =>
    around(random, origin, 1 / Math.sqrt(latentDimension)),
  );
  const centres = Array.from({ length: options.clusterCount }, () => around(random, origin, 1));
  const draw = () => {
    const centre = centres[random.nextBelow(centres.length)] ?? origin;
    const latent = around(random, centre, clusterSpread);
    return Float32Array.from(
      projection,
      (row) => dot(row, latent) + NOISE_SPREAD * gaussian(random),
    );
  };
  return {
    dimension,
    vectors: Array.from({ length: options.vectorCount }, draw),
    queries: Array.from({ length: options.queryCount }, draw),
  };
}

function around(random: SeededRandom, centre: Float32Array, spread: number): Float32Array {
  return centre.map((value) => value + spread * gaussian(random));
}

function dot(left: Float32Array, right: Float32Array): number {
  let total = 0;
  for (let i = 0; i < left.length; i++) total += left[i]! * right[i]!;
  return total;
}

/** Box-Muller; one of the pair is thrown away, which costs nothing that matters here. */
function gaussian(random: SeededRandom): number {
  const radius = Math.sqrt(-2 * Math.log(1 - random.nextFloat()));
  return radius * Math.cos(2 * Math.PI * random.nextFloat());
}

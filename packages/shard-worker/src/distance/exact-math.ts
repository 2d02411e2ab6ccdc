/**
 * Double-precision distances, for the rare rows where f32 sums overflow or underflow. Vectors are
 * finite, so these results are finite: no NaN ever reaches an ordering.
 */

export function squaredDistanceExact(left: Float32Array, right: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < left.length; i++) {
    const difference = left[i]! - right[i]!;
    sum += difference * difference;
  }
  return sum;
}

export function dotExact(left: Float32Array, right: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < left.length; i++) sum += left[i]! * right[i]!;
  return sum;
}

export const normExact = (vector: Float32Array): number => Math.sqrt(dotExact(vector, vector));

/** The unit vector of `vector` written to `target`; zeros stay zeros. */
export function normaliseInto(target: Float32Array, vector: Float32Array): void {
  const norm = normExact(vector);
  const scale = norm === 0 ? 0 : 1 / norm;
  for (let i = 0; i < vector.length; i++) target[i] = vector[i]! * scale;
}

export function isFiniteVector(vector: Float32Array): boolean {
  for (let i = 0; i < vector.length; i++) if (!Number.isFinite(vector[i]!)) return false;
  return true;
}

/**
 * The exact answer, computed here by the plainest possible loop: it shares no code with what it
 * judges.
 */

/**
 * Positions of the `k` nearest vectors by squared distance, nearest first, ties by lower position.
 */
export function exactNearest(
  vectors: readonly Float32Array[],
  query: Float32Array,
  k: number,
): readonly number[] {
  const distances = new Float64Array(vectors.length);
  for (let i = 0; i < vectors.length; i++) {
    distances[i] = squaredDistance(vectors[i] ?? query, query);
  }
  const nearest: number[] = [];
  for (let i = 0; i < distances.length; i++) {
    const distance = distances[i] ?? Infinity;
    const last = nearest[k - 1];
    if (last !== undefined && distance >= (distances[last] ?? Infinity)) continue;
    let place = Math.min(nearest.length, k - 1);
    while (place > 0 && distance < (distances[nearest[place - 1] ?? 0] ?? Infinity)) {
      nearest[place] = nearest[place - 1] ?? 0;
      place -= 1;
    }
    nearest[place] = i;
  }
  return nearest;
}

/** Share of the wanted neighbours that were found, over all queries; order does not matter. */
export function recallOf(
  found: readonly (readonly number[])[],
  wanted: readonly (readonly number[])[],
): number {
  let hitCount = 0;
  let wantedCount = 0;
  wanted.forEach((neighbours, i) => {
    const answers = new Set(found[i] ?? []);
    hitCount += neighbours.filter((neighbour) => answers.has(neighbour)).length;
    wantedCount += neighbours.length;
  });
  return wantedCount === 0 ? 0 : hitCount / wantedCount;
}

function squaredDistance(left: Float32Array, right: Float32Array): number {
  let total = 0;
  for (let i = 0; i < left.length; i++) {
    const difference = left[i]! - right[i]!;
    total += difference * difference;
  }
  return total;
}

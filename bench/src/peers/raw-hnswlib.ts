/**
 * The peer of the search benchmark: hnswlib-node in this process and thread, without wire, quorum,
 * or anything else around it.
 */
import type { HierarchicalNSW } from 'hnswlib-node';

export interface RawIndex {
  setEf(ef: number): void;
  /** Positions of the nearest vectors, nearest first. */
  search(query: number[], k: number): readonly number[];
}

/** Null when hnswlib-node is not installed (it is optional: it needs a compiler). */
export async function buildRawIndex(
  vectors: readonly Float32Array[],
  options: { readonly dimension: number; readonly m: number; readonly efConstruction: number },
): Promise<RawIndex | null> {
  const library = await import('hnswlib-node').catch(() => null);
  if (library === null) return null;
  // The package is CommonJS: the class is on the default export.
  const { HierarchicalNSW: Index } = library.default ?? library;
  const index: HierarchicalNSW = new Index('l2', options.dimension);
  index.initIndex(vectors.length, options.m, options.efConstruction, 100);
  vectors.forEach((vector, position) => {
    index.addPoint(Array.from(vector), position);
  });
  return {
    setEf: (ef) => index.setEf(ef),
    search: (query, k) => index.searchKnn(query, k).neighbors,
  };
}

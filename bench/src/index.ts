export { clusteredDataset } from './dataset.ts';
export { exactNearest, recallOf } from './ground-truth.ts';
export type { Bench, BenchResult, Figure } from './result.ts';

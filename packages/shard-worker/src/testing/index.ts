export type { OracleHit, OracleOutcome, OraclePoint } from './brute-force-oracle.ts';
export { BruteForceOracle, scoreOf } from './brute-force-oracle.ts';
export type { FilteredPoint } from './filter-oracle.ts';
export { matchesFilter } from './filter-oracle.ts';
export { FAULTY_WORKER, LANE_FAULT_IDS } from './lane-faults.ts';
export { recallAtK } from './recall.ts';
export type { DatasetOptions } from './seeded-dataset.ts';
export { clusteredVectors } from './seeded-dataset.ts';

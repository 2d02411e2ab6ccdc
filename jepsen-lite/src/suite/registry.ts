/** Every workload and every kind of fault that can be asked for by name. */
import { NEMESIS_NAMES, nemesisNamed } from '../nemesis/catalogue.ts';
import { WORKLOADS } from '../workload/catalogue.ts';
import type { Registry } from './experiment.ts';

export const REGISTRY: Registry = {
  workloads: WORKLOADS,
  nemeses: Object.fromEntries(NEMESIS_NAMES.map((name) => [name, () => nemesisNamed(name)])),
};

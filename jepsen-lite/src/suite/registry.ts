/** Every workload and every kind of fault that can be asked for by name. */
import { processNemesis } from '../nemesis/process.ts';
import { WORKLOADS } from '../workload/catalogue.ts';
import type { Registry } from './experiment.ts';

export const REGISTRY: Registry = {
  workloads: WORKLOADS,
  nemeses: {
    kill: () => processNemesis(['kill-leader', 'kill-follower']),
    'kill-all': () => processNemesis(['kill-all']),
    pause: () => processNemesis(['freeze-leader']),
    strand: () => processNemesis(['strand-leader']),
  },
};

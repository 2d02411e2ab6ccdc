/** Every workload and every kind of fault that can be asked for by name. */
import { processNemesis } from '../nemesis/process.ts';
import { registerWorkload } from '../workload/register.ts';
import { setWorkload } from '../workload/set.ts';
import type { Registry } from './experiment.ts';

export const REGISTRY: Registry = {
  workloads: {
    register: (seed) => registerWorkload(seed),
    set: () => setWorkload(),
  },
  nemeses: {
    kill: () => processNemesis(['kill-leader', 'kill-follower']),
    'kill-all': () => processNemesis(['kill-all']),
    pause: () => processNemesis(['freeze-leader']),
    strand: () => processNemesis(['strand-leader']),
  },
};

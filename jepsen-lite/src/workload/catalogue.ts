/** All workloads by name. */
import { appendWorkload } from './append.ts';
import { bankWorkload } from './bank.ts';
import { batchWorkload } from './batch.ts';
import { leasesWorkload, registerWorkload } from './register.ts';
import { retriesWorkload } from './retries.ts';
import { schemaWorkload } from './schema.ts';
import { searchWorkload } from './search.ts';
import { sessionsWorkload } from './sessions.ts';
import { setWorkload } from './set.ts';
import type { Workload, WorkloadOptions } from './workload.ts';

export const WORKLOADS = {
  register: registerWorkload,
  leases: leasesWorkload,
  set: setWorkload,
  batch: batchWorkload,
  bank: bankWorkload,
  append: appendWorkload,
  sessions: sessionsWorkload,
  search: searchWorkload,
  schema: schemaWorkload,
  retries: retriesWorkload,
} as const satisfies Readonly<Record<string, (options: WorkloadOptions) => Workload>>;

export type WorkloadName = keyof typeof WORKLOADS;

export const WORKLOAD_NAMES = Object.keys(WORKLOADS) as readonly WorkloadName[];

export type { SimClusterOptions } from './sim-cluster.ts';
export { SimCluster, SimNode } from './sim-cluster.ts';
export { SimScheduler } from './sim-scheduler.ts';
export { SimNetwork, SimTransport } from './sim-transport.ts';

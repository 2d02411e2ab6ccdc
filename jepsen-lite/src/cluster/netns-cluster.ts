/**
 * The cluster of real processes with a network namespace per node, so that cuts happen below TCP as
 * between hosts. Everything else is as in a cluster of processes.
 */
import { Namespaces } from './namespaces.ts';
import { ProcessCluster, type ProcessClusterOptions } from './process-cluster.ts';

/** Proxies have no place here: lines are cut below them. */
export type NetnsClusterOptions = Omit<ProcessClusterOptions, 'hasNamespaces'>;

/** Why there can be none on this machine, in a sentence for people; null when there can. */
export const whyNoNetnsCluster = (): string | null => Namespaces.whyNot();

/**
 * Forms a new cluster, starts every node and waits until all know one leader. `stop` removes the
 * namespaces too.
 * @throws Error when this machine has no namespaces for us
 */
export function launchNetnsCluster(options: NetnsClusterOptions = {}): Promise<ProcessCluster> {
  return ProcessCluster.launch({
    ...options,
    ...{ hasClientProxies: false, hasNamespaces: true, hasPeerProxies: false },
  });
}

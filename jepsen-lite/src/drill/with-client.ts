import { HoldfastClient } from '@holdfast/client';
import type { ProcessCluster } from '../cluster/process-cluster.ts';

/** A client of the cluster, closed whatever happens. */
export async function withClient<Result>(
  cluster: ProcessCluster,
  run: (client: HoldfastClient) => Promise<Result>,
): Promise<Result> {
  const client = await HoldfastClient.connect({ nodes: [...cluster.addresses] });
  try {
    return await run(client);
  } finally {
    await client.close();
  }
}

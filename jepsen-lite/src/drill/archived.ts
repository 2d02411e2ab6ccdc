/** How far the archive of a running cluster is, as its nodes say. */
import { NodeFileSystem, readIdentity } from '@holdfast/storage';
import { readJson } from '../cluster/node-http.ts';
import type { ProcessCluster } from '../cluster/process-cluster.ts';
import { waitFor } from '../wait.ts';

const ARCHIVE_TIMEOUT_MS = 60_000;

interface ArchiveView {
  readonly archive: readonly { readonly archivedIndex: number | null }[];
}

/** Resolves when a node says that a store has everything up to there. @throws WaitExpired */
export async function untilArchived(cluster: ProcessCluster, index: number): Promise<void> {
  const what = `index ${index} to be archived`;
  await waitFor({ what, timeoutMs: ARCHIVE_TIMEOUT_MS }, async () => {
    for (const address of cluster.addresses) {
      const answer = await readJson(address, '/api/v1/admin/backup');
      const { archive = [] } = (answer?.body ?? {}) as Partial<ArchiveView>;
      if (archive.some(({ archivedIndex }) => (archivedIndex ?? 0) >= index)) return true;
    }
    return null;
  });
}

/** What the store knows the cluster by; written down before a disaster, as an operator does. */
export const clusterIdOf = (cluster: ProcessCluster): string =>
  readIdentity(new NodeFileSystem(), cluster.dataDirectoryOf('n1')).clusterId;

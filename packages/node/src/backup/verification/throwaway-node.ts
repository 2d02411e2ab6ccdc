/**
 * The node that a restore test starts: in this process, on ports of its own on loopback, with a
 * secret that nobody has, and without any store. It is asked over HTTP, as anybody would.
 */
import { randomBytes } from 'node:crypto';
import { HoldfastError } from '@holdfast/base';
import { joinPath } from '@holdfast/storage';
import { CLUSTER_SECRET_FILE_NAME, writeSecretFile } from '../../config/secrets.ts';
import { openEmbedded } from '../../embedded.ts';
import type { ClusterStatusBody } from '../../server/http-routes.ts';
import type { CollectionStates } from '../../state/collection-state.ts';
import type { ThrowawayNode } from './restore-test.ts';

/** It makes no checkpoint of its own: the directory is removed in a moment. */
const SETTINGS = {
  ...{ laneCount: '1', checkpointIntervalMs: '86400000', checkpointLogSizeBytes: '1073741824' },
  ...{ scrubIntervalMs: '0', digestVerifyIntervalMs: '0', logVerifyIntervalMs: '0' },
} as const;
const ANSWER_TIMEOUT_MS = 600_000;

/** Resolves once it serves. @throws HoldfastError whatever keeps a node from starting */
export async function openThrowaway(directory: string): Promise<ThrowawayNode> {
  writeSecretFile(joinPath(directory, CLUSTER_SECRET_FILE_NAME), randomBytes(24).toString('hex'));
  const client = await openEmbedded({ dataDir: directory, settings: SETTINGS });
  const ask = async (path: string): Promise<unknown> => {
    const response = await fetch(`http://${client.address}${path}`, {
      headers: { connection: 'close' },
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    });
    if (response.ok) return response.json();
    const message = `the restored node answered ${path} with status ${response.status}`;
    throw new HoldfastError('BACKUP_CORRUPT', `${message}: ${await response.text()}`);
  };
  return {
    collections: async () => (await ask('/api/v1/collections')) as CollectionStates,
    async stateDigest() {
      const status = (await ask('/api/v1/cluster/status')) as ClusterStatusBody;
      return status.stateDigest;
    },
    close: () => client.close(),
  };
}

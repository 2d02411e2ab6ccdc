/**
 * Makes a new node out of an empty directory, for a cluster that runs: asks nodes of the cluster
 * for its id, mints an incarnation, and writes an identity without any configuration. Such a node
 * votes for nobody and holds nothing until the cluster adds it.
 *
 * The secret is copied into the directory last but one, so that later starts need no flag for it.
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import type { ClusterId, NodeId } from '@holdfast/base';
import {
  clusterId,
  DEFAULT_GROUP_ID,
  HoldfastError,
  incarnation,
  toHoldfastError,
} from '@holdfast/base';
import {
  DATA_FORMAT_VERSION,
  type FileSystem,
  formatDataDirectory,
  identityPath,
  joinPath,
} from '@holdfast/storage';
import { CLUSTER_SECRET_FILE_NAME, writeSecretFile } from '../config/secrets.ts';

/** What is not known yet: no cluster has it, because ids are random. */
export const UNKNOWN_CLUSTER_ID: ClusterId = clusterId('0'.repeat(32));
/** A cluster that is starting itself answers within this; a supervisor may try again after it. */
const ATTEMPT_COUNT_MAX = 20;
const ATTEMPT_INTERVAL_MS = 1_000;

export interface JoinPlan {
  readonly nodeId: NodeId;
  readonly dataDirectory: string;
  readonly secret: string;
  /** Peer addresses of nodes of the cluster, host:port. */
  readonly addresses: readonly string[];
}

export interface JoinSeams {
  /** The cluster id that whoever listens at `address` proves to belong to. */
  readonly askClusterId: (address: string) => Promise<string>;
  readonly pause: (delayMs: number) => Promise<void>;
  readonly warn: (message: string) => void;
}

export const isFormatted = (fileSystem: FileSystem, dataDirectory: string): boolean =>
  fileSystem.exists(identityPath(dataDirectory));

/** @throws HoldfastError JOIN_FAILED, DATA_DIR_FOREIGN, FILE_IO */
export async function formatToJoin(
  fileSystem: FileSystem,
  plan: JoinPlan,
  seams: JoinSeams,
): Promise<void> {
  const { dataDirectory, nodeId, secret } = plan;
  const cluster = await findCluster(plan, seams);
  fileSystem.makeDirectory(dataDirectory);
  const secretPath = joinPath(dataDirectory, CLUSTER_SECRET_FILE_NAME);
  if (!existsSync(secretPath)) writeSecretFile(secretPath, secret);
  formatDataDirectory(fileSystem, dataDirectory, {
    clusterId: cluster,
    nodeId,
    incarnation: incarnation(randomBytes(16).toString('hex')),
    formatVersion: DATA_FORMAT_VERSION,
    group: DEFAULT_GROUP_ID,
    firstConfiguration: [],
  });
}

async function findCluster(plan: JoinPlan, seams: JoinSeams): Promise<ClusterId> {
  let failure: HoldfastError | null = null;
  for (let attempt = 0; attempt < ATTEMPT_COUNT_MAX; attempt++) {
    if (attempt > 0) await seams.pause(ATTEMPT_INTERVAL_MS);
    const found = new Set<string>();
    for (const address of plan.addresses) {
      try {
        found.add(await seams.askClusterId(address));
      } catch (thrown) {
        failure = toHoldfastError(thrown);
        if (attempt === 0) seams.warn(failure.message);
      }
    }
    found.delete(UNKNOWN_CLUSTER_ID);
    const [only] = found;
    if (found.size > 1) throw refuse('the addresses belong to different clusters');
    if (only !== undefined) return clusterId(only);
    // Asking again does not make the secret right.
    if (failure?.code === 'PEER_UNAUTHENTICATED' || failure?.code === 'PEER_PROTOCOL') break;
  }
  throw refuse(failure?.message ?? 'no node of the cluster answered', failure);
}

const refuse = (why: string, cause: unknown = undefined): HoldfastError =>
  new HoldfastError('JOIN_FAILED', `cannot join: ${why}`, { cause });

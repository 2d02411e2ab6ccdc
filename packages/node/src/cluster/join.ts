/**
 * Makes a new node out of an empty directory, for a cluster that runs: asks nodes of the cluster
 * for its id, mints an incarnation, and writes an identity without any configuration. Such a node
 * votes for nobody and holds nothing until the cluster adds it.
 *
 * The secret is copied into the directory last but one, so that later starts need no flag for it.
 */
import { randomBytes } from 'node:crypto';
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

export interface FoundCluster {
  readonly clusterId: string;
  readonly epoch: number;
}

export interface JoinSeams {
  /** The cluster, and its epoch, that whoever listens at `address` proves to belong to. */
  readonly askCluster: (address: string) => Promise<FoundCluster>;
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
  const { clusterId: cluster, epoch } = await findCluster(plan, seams);
  fileSystem.makeDirectory(dataDirectory);
  const secretPath = joinPath(dataDirectory, CLUSTER_SECRET_FILE_NAME);
  if (!fileSystem.exists(secretPath)) writeSecretFile(secretPath, secret);
  formatDataDirectory(fileSystem, dataDirectory, {
    clusterId: clusterId(cluster),
    epoch,
    nodeId,
    incarnation: incarnation(randomBytes(16).toString('hex')),
    formatVersion: DATA_FORMAT_VERSION,
    group: DEFAULT_GROUP_ID,
    firstConfiguration: [],
  });
}

/** The newest epoch wins: members of an older one were given up when the cluster was recovered. */
async function findCluster(plan: JoinPlan, seams: JoinSeams): Promise<FoundCluster> {
  let failure: HoldfastError | null = null;
  for (let attempt = 0; attempt < ATTEMPT_COUNT_MAX; attempt++) {
    if (attempt > 0) await seams.pause(ATTEMPT_INTERVAL_MS);
    const found = new Map<string, FoundCluster>();
    for (const address of plan.addresses) {
      try {
        const answer = await seams.askCluster(address);
        const known = found.get(answer.clusterId);
        if (known === undefined || known.epoch < answer.epoch) found.set(answer.clusterId, answer);
      } catch (thrown) {
        failure = toHoldfastError(thrown);
        if (attempt === 0) seams.warn(failure.message);
      }
    }
    found.delete(UNKNOWN_CLUSTER_ID);
    const [only] = found.values();
    if (found.size > 1) throw refuse('the addresses belong to different clusters');
    if (only !== undefined) return only;
    // Asking again does not make the secret right.
    if (failure?.code === 'PEER_UNAUTHENTICATED' || failure?.code === 'PEER_PROTOCOL') break;
  }
  throw refuse(failure?.message ?? 'no node of the cluster answered', failure);
}

const refuse = (why: string, cause: unknown = undefined): HoldfastError =>
  new HoldfastError('JOIN_FAILED', `cannot join: ${why}`, { cause });

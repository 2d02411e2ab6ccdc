/**
 * Forms a cluster: mints its id and one incarnation per node, and writes the complete first
 * configuration into every data directory before any node starts. It happens once. Nothing else
 * ever makes an identity, so an emptied directory can never vote.
 *
 * All directories are checked before the first is written. A crash on the way leaves directories
 * that are refused here and cannot start (no identity, or no secret): remove them and begin anew.
 */
import { randomBytes } from 'node:crypto';
import type { Member } from '@holdfast/base';
import { clusterId, DEFAULT_GROUP_ID, HoldfastError, incarnation } from '@holdfast/base';
import {
  DATA_FORMAT_VERSION,
  type FileSystem,
  formatDataDirectory,
  IDENTITY_FILE_NAME,
  joinPath,
  type NodeIdentity,
} from '@holdfast/storage';
import { CLUSTER_SECRET_FILE_NAME, writeSecretFile } from '../config/secrets.ts';
import type { PlannedNode } from './plan.ts';

const SECRET_SIZE_BYTES = 32;
const FIRST_EPOCH = 1;
/** At the root of every ext file system, so of a disk that was mounted for the node. */
const MKFS_LEFTOVER_NAME = 'lost+found';

export interface FormedCluster {
  readonly clusterId: string;
  readonly members: readonly Member[];
}

/**
 * @throws HoldfastError DATA_DIR_FOREIGN when a directory is formatted or not empty (nothing was
 * written then), CONFIG_INVALID when the plan contradicts itself, FILE_IO
 */
export function initCluster(fileSystem: FileSystem, nodes: readonly PlannedNode[]): FormedCluster {
  checkPlan(nodes);
  for (const node of nodes) checkDirectory(fileSystem, node);
  const members: readonly Member[] = nodes
    .map((node) => ({
      nodeId: node.nodeId,
      incarnation: incarnation(randomHexId()),
      address: node.peerAddress,
      clientAddress: node.publicAddress,
    }))
    .sort((left, right) => (left.nodeId < right.nodeId ? -1 : 1));
  const cluster = clusterId(randomHexId());
  const secret = randomBytes(SECRET_SIZE_BYTES).toString('base64url');
  for (const node of nodes) {
    const identity: NodeIdentity = {
      clusterId: cluster,
      nodeId: node.nodeId,
      incarnation: incarnationOf(members, node),
      formatVersion: DATA_FORMAT_VERSION,
      group: DEFAULT_GROUP_ID,
      epoch: FIRST_EPOCH,
      firstConfiguration: members,
    };
    formatDataDirectory(fileSystem, node.dataDirectory, identity);
    writeSecretFile(joinPath(node.dataDirectory, CLUSTER_SECRET_FILE_NAME), secret);
    fileSystem.syncDirectory(node.dataDirectory);
  }
  return { clusterId: cluster, members };
}

function checkPlan(nodes: readonly PlannedNode[]): void {
  if (nodes.length === 0) throw refusePlan('name at least one node');
  const unique = (what: string, values: readonly string[]): void => {
    const repeated = values.find((value, i) => values.indexOf(value) !== i);
    if (repeated !== undefined) throw refusePlan(`${what} ${repeated} is named twice`);
  };
  unique(
    'node',
    nodes.map((node) => node.nodeId),
  );
  unique(
    'directory',
    nodes.map((node) => node.dataDirectory),
  );
  unique(
    'address',
    nodes.flatMap((node) => [node.publicAddress, node.peerAddress]),
  );
}

function checkDirectory(fileSystem: FileSystem, { dataDirectory, nodeId }: PlannedNode): void {
  if (!fileSystem.exists(dataDirectory)) return;
  if (!fileSystem.isDirectory(dataDirectory)) {
    throw refuseDirectory(dataDirectory, 'it is not a directory; choose another path');
  }
  const names = fileSystem.list(dataDirectory).filter((name) => name !== MKFS_LEFTOVER_NAME);
  if (names.length === 0) return;
  throw names.includes(IDENTITY_FILE_NAME)
    ? refuseDirectory(
        dataDirectory,
        `it is formatted already; start ${nodeId} on it, or remove it to form a new cluster`,
      )
    : refuseDirectory(dataDirectory, 'it is not empty; choose an empty or new directory');
}

function incarnationOf(members: readonly Member[], node: PlannedNode) {
  const member = members.find((candidate) => candidate.nodeId === node.nodeId);
  if (member === undefined) throw refusePlan(`node ${node.nodeId} has no member`);
  return member.incarnation;
}

const randomHexId = (): string => randomBytes(16).toString('hex');

const refusePlan = (message: string): HoldfastError =>
  new HoldfastError('CONFIG_INVALID', `cluster init: ${message}`);

const refuseDirectory = (directory: string, message: string): HoldfastError =>
  new HoldfastError('DATA_DIR_FOREIGN', `cluster init refuses ${directory}: ${message}`, {
    details: { directory },
  });

/**
 * Who the owner of a data directory is. Written before a node first starts, and changed only by
 * `cluster recover`, which raises the epoch. A node that lost its directory comes back with a new
 * incarnation, as a new voter.
 */
import type { ClusterId, GroupId, Incarnation, Member, NodeId } from '@holdfast/base';
import {
  clusterId,
  groupId,
  HEX_ID_PATTERN,
  HoldfastError,
  incarnation,
  NODE_ID_PATTERN,
  nodeId,
} from '@holdfast/base';
import { readAtomicJson, writeAtomicJson } from './atomic-json.ts';
import type { FileSystem } from './fs.ts';
import { joinPath } from './fs.ts';
import { JsonFields } from './json-shape.ts';
import { memberFromJson } from './snapshot-json.ts';

export const IDENTITY_FILE_NAME = 'identity.json';
/** Version 2 has the epoch. */
const IDENTITY_FORMAT = { format: 'holdfast-identity', version: 2 } as const;

export interface NodeIdentity {
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  readonly incarnation: Incarnation;
  /** Version of the layout of the whole data directory. */
  readonly formatVersion: number;
  readonly group: GroupId;
  /**
   * 1 for a new cluster; raised when a cluster that lost its quorum is recovered. Nodes talk only
   * within one epoch and clients never go back, so members declared dead cannot come back.
   */
  readonly epoch: number;
  /** Complete: every node of the cluster when it was formed, this one included. */
  readonly firstConfiguration: readonly Member[];
}

export const DATA_FORMAT_VERSION = 1;

export const identityPath = (dataDirectory: string): string =>
  joinPath(dataDirectory, IDENTITY_FILE_NAME);

/**
 * @throws HoldfastError DATA_DIR_EMPTY (no identity), FILE_CORRUPT, FORMAT_UNKNOWN, FILE_IO
 */
export function readIdentity(fileSystem: FileSystem, dataDirectory: string): NodeIdentity {
  const path = identityPath(dataDirectory);
  if (!fileSystem.exists(path)) {
    const message = `${dataDirectory} has no identity: run "holdfast cluster init" first`;
    throw new HoldfastError('DATA_DIR_EMPTY', message, { details: { directory: dataDirectory } });
  }
  const identity = parseIdentity(path, readAtomicJson(fileSystem, path, IDENTITY_FORMAT));
  if (identity.formatVersion !== DATA_FORMAT_VERSION) {
    const { formatVersion } = identity;
    const message = `${path} has the unknown data format ${formatVersion}: upgrade this node`;
    throw new HoldfastError('FORMAT_UNKNOWN', message, { details: { file: path, formatVersion } });
  }
  return identity;
}

/** Replaces the identity file: formatting, recovery from a lost quorum, and tests. */
export function writeIdentity(
  fileSystem: FileSystem,
  dataDirectory: string,
  identity: NodeIdentity,
): void {
  writeAtomicJson(fileSystem, identityPath(dataDirectory), IDENTITY_FORMAT, identity);
}

/** True when both say the same, whatever the order of their fields. */
export function identitiesEqual(left: NodeIdentity, right: NodeIdentity): boolean {
  const canonical = (identity: NodeIdentity): string =>
    JSON.stringify(parseIdentity(IDENTITY_FILE_NAME, identity));
  return canonical(left) === canonical(right);
}

function parseIdentity(path: string, body: unknown): NodeIdentity {
  const fields = new JsonFields(path, body);
  const group = fields.integer('group');
  if (group > 0xffff_ffff) throw fields.wrong('group');
  return {
    clusterId: clusterId(fields.matching('clusterId', HEX_ID_PATTERN)),
    nodeId: nodeId(fields.matching('nodeId', NODE_ID_PATTERN)),
    incarnation: incarnation(fields.matching('incarnation', HEX_ID_PATTERN)),
    formatVersion: fields.integer('formatVersion', 1),
    group: groupId(group),
    epoch: fields.integer('epoch', 1),
    firstConfiguration: fields.objects('firstConfiguration').map(memberFromJson),
  };
}

/**
 * What a restore will make: decided once, before anything is written, and carried to every node of
 * the new cluster as a file. Ids are minted here and nowhere else; nodes compare the digest of the
 * plan, so that a cluster is never made of two.
 *
 * Invariant: a plan says where the restored log ends to the byte (index, term and chain sum), so
 * each node can tell by itself that it has laid the same as all others.
 */
import type { ClusterId, GroupId, LogIndex, Member } from '@holdfast/base';
import {
  assert,
  clusterId,
  groupId,
  HEX_ID_PATTERN,
  HoldfastError,
  incarnation,
  logIndex,
  MEMBER_COUNT_MAX,
  NODE_ID_PATTERN,
  nodeId,
  term,
} from '@holdfast/base';
import type { FileSystem, Timeline, TimelineParent } from '@holdfast/storage';
import {
  fromHex,
  isBackupId,
  isTimelineName,
  JsonFields,
  readAtomicJson,
  sha256,
  toHex,
  writeAtomicJson,
} from '@holdfast/storage';
import { type RestoreTarget, TARGET_KIND_PATTERN } from '../archive/archive-target.ts';

const PLAN_FORMAT = { format: 'holdfast-restore-plan', version: 1 } as const;
const SUM_PATTERN = /^[0-9a-f]{32}$/;

export interface RestorePlan {
  /** Of the cluster that is made. */
  readonly clusterId: ClusterId;
  readonly group: GroupId;
  /** Begins behind `parent.index`, in the archive of the new cluster. */
  readonly timeline: string;
  /** The history that is continued: where the restored log ends. */
  readonly parent: TimelineParent;
  readonly backupId: string;
  /** Of the checkpoint in the backup: entries behind it come from the archive. */
  readonly backupIndex: LogIndex;
  /** What was asked for; for people. */
  readonly target: RestoreTarget;
  /** Complete; sorted by node id. */
  readonly members: readonly Member[];
  /** For people. */
  readonly createdMs: number;
  /** The cluster that the new one is a standby of; null: it stands alone. */
  readonly follows: FollowedCluster | null;
}

export interface FollowedCluster {
  readonly clusterId: ClusterId;
  /** Its newest one. */
  readonly timeline: string;
}

/** A node of the cluster that is made, as an operator names it. */
export interface PlannedMember {
  readonly nodeId: string;
  readonly address: string;
  readonly clientAddress: string | null;
}

export interface RestorePlanFacts {
  readonly group: GroupId;
  readonly backup: { readonly backupId: string; readonly index: LogIndex };
  readonly target: RestoreTarget;
  /** Where the archive (or the backup itself) has the resolved target. */
  readonly parent: TimelineParent;
  readonly members: readonly PlannedMember[];
  readonly createdMs: number;
  /** Default: null. */
  readonly follows?: FollowedCluster | null;
  /** 32 hex digits, never the same twice. */
  readonly mintHexId: () => string;
}

/**
 * @throws HoldfastError RESTORE_TARGET when the backup is behind the target, CONFIG_INVALID when
 *   the members contradict each other
 */
export function planRestore(facts: RestorePlanFacts): RestorePlan {
  const { backup, createdMs, follows = null, group, mintHexId, parent, target } = facts;
  if (backup.index > parent.index) {
    throw new HoldfastError(
      'RESTORE_TARGET',
      `backup ${backup.backupId} is of index ${backup.index}, after the target ${parent.index}: ` +
        'choose an older backup',
      { details: { backupId: backup.backupId, backupIndex: backup.index, index: parent.index } },
    );
  }
  const members = facts.members
    .map(({ address, clientAddress, nodeId: name }) => {
      if (!NODE_ID_PATTERN.test(name)) throw refuse(`${name} is no name of a node`);
      const id = incarnation(mintHexId());
      return { nodeId: nodeId(name), incarnation: id, address, clientAddress };
    })
    .sort((left, right) => (left.nodeId < right.nodeId ? -1 : 1));
  checkMembers(members);
  const newId = clusterId(mintHexId());
  assert(newId !== parent.clusterId, 'a restored cluster has an id of its own');
  return {
    clusterId: newId,
    group,
    timeline: `r-${mintHexId()}`,
    parent,
    backupId: backup.backupId,
    backupIndex: backup.index,
    target,
    members,
    createdMs,
    follows,
  };
}

/** The timeline that the archiver of the restored cluster begins. */
export const timelineOfPlan = ({
  clusterId: id,
  createdMs,
  parent,
  timeline,
}: RestorePlan): Timeline => ({
  ...{ clusterId: id, timeline, parent, createdMs },
});

/** 64 hex digits; equal for equal plans and for no others. */
export const restorePlanDigest = (plan: RestorePlan): string =>
  toHex(sha256([Buffer.from(JSON.stringify(planToJson(plan)), 'utf8')]));

/** @throws HoldfastError FILE_IO */
export function writeRestorePlan(fileSystem: FileSystem, path: string, plan: RestorePlan): void {
  writeAtomicJson(fileSystem, path, PLAN_FORMAT, planToJson(plan));
}

/** @throws HoldfastError FILE_CORRUPT naming the field, FORMAT_UNKNOWN, FILE_IO */
export function readRestorePlan(fileSystem: FileSystem, path: string): RestorePlan {
  return parsePlan(path, readAtomicJson(fileSystem, path, PLAN_FORMAT));
}

/** Fields in one order, whatever object they come from: the digest is over this. */
function planToJson(plan: RestorePlan): Record<string, unknown> {
  const { parent, target } = plan;
  return {
    clusterId: plan.clusterId,
    group: plan.group,
    timeline: plan.timeline,
    parent: {
      clusterId: parent.clusterId,
      timeline: parent.timeline,
      index: parent.index,
      term: parent.term,
      sum: toHex(parent.sum),
      timestampMs: parent.timestampMs,
    },
    backupId: plan.backupId,
    backupIndex: plan.backupIndex,
    target: targetToJson(target),
    members: plan.members.map((member) => ({
      nodeId: member.nodeId,
      incarnation: member.incarnation,
      address: member.address,
      clientAddress: member.clientAddress,
    })),
    createdMs: plan.createdMs,
    // Left out otherwise: plans of earlier versions keep their digest.
    ...(plan.follows === null ? {} : { follows: followsToJson(plan.follows) }),
  };
}

function targetToJson(target: RestoreTarget): Record<string, unknown> {
  if (target.kind === 'index') return { kind: target.kind, index: target.index };
  if (target.kind === 'time') return { kind: target.kind, timestampMs: target.timestampMs };
  return { kind: target.kind };
}

function parsePlan(path: string, body: unknown): RestorePlan {
  const fields = new JsonFields(path, body);
  const parent = fields.object('parent');
  const timeline = fields.text('timeline');
  const parentTimeline = parent.text('timeline');
  const backupId = fields.text('backupId');
  if (!isTimelineName(timeline)) throw fields.wrong('timeline');
  if (!isTimelineName(parentTimeline)) throw parent.wrong('timeline');
  if (!isBackupId(backupId)) throw fields.wrong('backupId');
  const members = fields.objects('members').map(
    (member): Member => ({
      nodeId: nodeId(member.matching('nodeId', NODE_ID_PATTERN)),
      incarnation: incarnation(member.matching('incarnation', HEX_ID_PATTERN)),
      address: member.text('address'),
      clientAddress: member.textOrNull('clientAddress'),
    }),
  );
  checkMembers(members);
  const plan: RestorePlan = {
    clusterId: clusterId(fields.matching('clusterId', HEX_ID_PATTERN)),
    group: groupId(fields.integer('group')),
    timeline,
    parent: {
      clusterId: clusterId(parent.matching('clusterId', HEX_ID_PATTERN)),
      timeline: parentTimeline,
      index: logIndex(parent.integer('index')),
      term: term(parent.integer('term')),
      sum: fromHex(parent.matching('sum', SUM_PATTERN)),
      timestampMs: parent.integer('timestampMs'),
    },
    backupId,
    backupIndex: logIndex(fields.integer('backupIndex')),
    target: parseTarget(fields.object('target')),
    members,
    createdMs: fields.integer('createdMs'),
    follows: fields.has('follows') ? parseFollows(fields.object('follows')) : null,
  };
  if (plan.backupIndex > plan.parent.index) throw fields.wrong('backupIndex');
  return plan;
}

const followsToJson = ({ clusterId: id, timeline }: FollowedCluster) => ({
  ...{ clusterId: id, timeline },
});

function parseFollows(fields: JsonFields): FollowedCluster {
  const timeline = fields.text('timeline');
  if (!isTimelineName(timeline)) throw fields.wrong('timeline');
  return { clusterId: clusterId(fields.matching('clusterId', HEX_ID_PATTERN)), timeline };
}

function parseTarget(fields: JsonFields): RestoreTarget {
  const kind = fields.matching('kind', TARGET_KIND_PATTERN) as RestoreTarget['kind'];
  switch (kind) {
    case 'latest':
      return { kind };
    case 'index':
      return { kind, index: fields.integer('index') };
    case 'time':
      return { kind, timestampMs: fields.integer('timestampMs') };
  }
}

function checkMembers(members: readonly Member[]): void {
  if (members.length === 0) throw refuse('name at least one node');
  if (members.length > MEMBER_COUNT_MAX) throw refuse(`at most ${MEMBER_COUNT_MAX} nodes`);
  const unique = (what: string, values: readonly string[]): void => {
    const repeated = values.find((value, i) => values.indexOf(value) !== i);
    if (repeated !== undefined) throw refuse(`${what} ${repeated} is named twice`);
  };
  unique(
    'node',
    members.map((member) => member.nodeId),
  );
  unique(
    'address',
    members.flatMap(({ address, clientAddress }) =>
      clientAddress === null ? [address] : [address, clientAddress],
    ),
  );
}

const refuse = (what: string): HoldfastError =>
  new HoldfastError('CONFIG_INVALID', `restore plan: ${what}`);

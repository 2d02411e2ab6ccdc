/**
 * From what a person asks for to a plan: finds the history in the store, the entry where it is
 * left, and the backup to begin with. Reads only; the timeline of the new cluster is begun by
 * `beginRestoredTimeline`, once the plan is kept.
 */
import type { ClusterId, EntryHasher, GroupId, LogIndex } from '@holdfast/base';
import { clusterId as clusterIdOf, HoldfastError, logIndex } from '@holdfast/base';
import type { BackupManifest, TimelineParent } from '@holdfast/storage';
import { timelineKey } from '@holdfast/storage';
import type { TimelineSpan } from '../archive/archive-history.ts';
import { ArchiveReader } from '../archive/archive-reader.ts';
import type { ArchiveSealing } from '../archive/archive-store.ts';
import { ArchiveStore } from '../archive/archive-store.ts';
import type { RestoreTarget } from '../archive/archive-target.ts';
import { entryTimestampMs } from '../archive/entry-time.ts';
import { FIRST_TIMELINE, findTimeline } from '../archive/find-timeline.ts';
import type { BackupListing, BackupSummary } from '../backup-reader.ts';
import { BackupReader } from '../backup-reader.ts';
import { findClusters } from '../find-clusters.ts';
import type { BackupSink } from '../sinks/sink.ts';
import type { BackupCandidate } from './choose-backup.ts';
import { chooseBackup } from './choose-backup.ts';
import type { FollowedCluster, PlannedMember, RestorePlan } from './restore-plan.ts';
import { planRestore, timelineOfPlan } from './restore-plan.ts';

export interface RestoreStore {
  readonly sink: BackupSink;
  readonly sealing: ArchiveSealing;
  readonly hasher: EntryHasher;
}

export interface RestoreWish {
  /** Null: the only one in the store. */
  readonly clusterId: string | null;
  /** Null: the newest. */
  readonly timeline: string | null;
  readonly target: RestoreTarget;
  /** Null: the newest that leads to the target. */
  readonly backupId: string | null;
  readonly members: readonly PlannedMember[];
  readonly group: GroupId;
  readonly createdMs: number;
  /** The new cluster follows on from there. Default: false. */
  readonly isStandby?: boolean;
  /** 32 hex digits, never the same twice. */
  readonly mintHexId: () => string;
}

export interface FoundRestore {
  readonly plan: RestorePlan;
  readonly backup: BackupManifest;
  /** How many entries of the archive are replayed behind the backup. */
  readonly entryCount: number;
}

/**
 * @throws HoldfastError BACKUP_NOT_FOUND, RESTORE_TARGET, ARCHIVE_GAP, BACKUP_CORRUPT,
 *   BACKUP_KEY_WRONG, CONFIG_INVALID (members, or several clusters in the store), SINK_*
 */
export async function planFromStore(store: RestoreStore, wish: RestoreWish): Promise<FoundRestore> {
  const id = await chooseCluster(store.sink, wish.clusterId);
  const archive = await openHistory(store, id, wish.timeline);
  const { backup, parent } = await (archive === null
    ? withoutArchive(store, id, wish)
    : throughArchive(store, archive, wish));
  const { index } = backup.root.meta;
  const { createdMs, group, isStandby = false, members, mintHexId, target } = wish;
  const follows = isStandby ? await newestOf(archive, id) : null;
  const plan = planRestore({
    ...{ group, target, parent, members, createdMs, follows, mintHexId },
    backup: { backupId: backup.backupId, index },
  });
  return { plan, backup, entryCount: parent.index - index };
}

/** An ancestor may have the last entry: what is followed is the cluster that was named. */
async function newestOf(
  archive: ArchiveReader | null,
  clusterId: ClusterId,
): Promise<FollowedCluster> {
  const spans = archive === null ? [] : await archive.history();
  return { clusterId, timeline: spans.at(-1)?.timeline.timeline ?? FIRST_TIMELINE };
}

/**
 * So that the archive of the new cluster continues this history. Again is no failure. A standby
 * begins its timeline when it is promoted.
 */
export async function beginRestoredTimeline(store: RestoreStore, plan: RestorePlan): Promise<void> {
  if (plan.follows !== null) return;
  await storeOf(store, plan.clusterId, plan.timeline).beginTimeline(timelineOfPlan(plan));
}

/** The archive that a plan continues. */
export const archiveOfPlan = (store: RestoreStore, { parent }: RestorePlan): ArchiveReader =>
  new ArchiveReader(storeOf(store, parent.clusterId, parent.timeline));

/** The backup that a plan begins with: it may be of an ancestor of the continued cluster. */
export async function backupOfPlan(
  store: RestoreStore,
  plan: RestorePlan,
): Promise<{ readonly reader: BackupReader; readonly manifest: BackupManifest }> {
  const { clusterId, timeline } = plan.parent;
  const archive = storeOf(store, clusterId, timeline);
  const isArchived = (await archive.readTimeline()) !== null;
  if (!isArchived) await refuseLostTimeline(store.sink, clusterId);
  const spans = isArchived ? await new ArchiveReader(archive).history() : [];
  const ids = new Set([clusterId, ...spans.map((span) => span.timeline.clusterId)]);
  for (const id of ids) {
    const reader = readerOf(store, id);
    try {
      return { reader, manifest: await reader.read(plan.backupId) };
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.code !== 'BACKUP_NOT_FOUND') throw error;
    }
  }
  throw noBackup(store.sink, plan.backupId);
}

function storeOf(
  { hasher, sealing, sink }: RestoreStore,
  clusterId: ClusterId,
  timeline: string,
): ArchiveStore {
  const timestampOf = entryTimestampMs;
  return new ArchiveStore({ sink, clusterId, timeline, sealing, hasher, timestampOf });
}

async function chooseCluster(sink: BackupSink, wished: string | null): Promise<ClusterId> {
  if (wished !== null) return clusterIdOf(wished);
  const [only, ...others] = await findClusters(sink);
  if (only === undefined) {
    throw new HoldfastError('BACKUP_NOT_FOUND', `${sink.name} holds nothing of any cluster`);
  }
  if (others.length === 0) return clusterIdOf(only);
  const ids = [only, ...others].join(', ');
  const message = `${sink.name} holds ${others.length + 1} clusters: name one of ${ids}`;
  throw new HoldfastError('CONFIG_INVALID', message, { details: { clusterIds: ids } });
}

/** Null when the log of this cluster was never archived here. */
async function openHistory(
  store: RestoreStore,
  clusterId: ClusterId,
  wished: string | null,
): Promise<ArchiveReader | null> {
  const open = (timeline: string): ArchiveStore => storeOf(store, clusterId, timeline);
  const timeline = wished ?? (await findTimeline(store.sink, clusterId, open)).timeline;
  const archive = open(timeline);
  if ((await archive.readTimeline()) !== null) return new ArchiveReader(archive);
  await refuseLostTimeline(store.sink, clusterId);
  if (wished === null || wished === FIRST_TIMELINE) return null;
  const message = `${store.sink.name} has no timeline ${wished} of cluster ${clusterId}`;
  throw new HoldfastError('BACKUP_NOT_FOUND', message, { details: { clusterId, timeline } });
}

interface Found {
  readonly backup: BackupManifest;
  readonly parent: TimelineParent;
}

type Candidate = BackupSummary & BackupCandidate;

async function throughArchive(
  store: RestoreStore,
  archive: ArchiveReader,
  { backupId, target }: RestoreWish,
): Promise<Found> {
  const spans = await archive.history();
  const { backups, damaged } = await backupsOf(store, spans);
  const usable = backupId === null ? backups : backups.filter((one) => one.backupId === backupId);
  if (usable.length === 0) {
    // Damage is the better answer than absence.
    const unusable = damaged.find((one) => backupId === null || one.backupId === backupId);
    if (unusable !== undefined) throw unusable.error;
    if (backupId !== null) throw noBackup(store.sink, backupId);
  }
  const index = await targetIndex(archive, spans, backups, target);
  const chosen = chooseBackup(spans, usable, index);
  const backup = await readerOf(store, chosen.clusterId).read(chosen.backupId);
  const isItsOwn = backup.root.meta.index === index;
  return { backup, parent: isItsOwn ? stateOf(backup) : await archive.pointAt(index) };
}

/** A backup may be ahead of the archive: it is there while the log is still on its way. */
async function targetIndex(
  archive: ArchiveReader,
  spans: readonly TimelineSpan[],
  backups: readonly Candidate[],
  target: RestoreTarget,
): Promise<LogIndex> {
  const newest = spans.at(-1)?.timeline;
  const indexes = backups
    .filter(({ clusterId, timeline }) => {
      return clusterId === newest?.clusterId && timeline === newest.timeline;
    })
    .map(({ index }) => index);
  if (target.kind === 'index' && indexes.includes(target.index)) return logIndex(target.index);
  const { index } = await archive.resolve(target);
  return target.kind === 'latest' ? logIndex(Math.max(index, ...indexes)) : index;
}

async function backupsOf(
  store: RestoreStore,
  spans: readonly TimelineSpan[],
): Promise<{
  readonly backups: readonly Candidate[];
  readonly damaged: BackupListing['damaged'];
}> {
  const ids = [...new Set(spans.map(({ timeline }) => timeline.clusterId))];
  const listings = await Promise.all(
    ids.map(async (clusterId) => {
      const { backups, damaged } = await readerOf(store, clusterId).list();
      return { backups: backups.map((backup) => ({ ...backup, clusterId })), damaged };
    }),
  );
  return {
    backups: listings.flatMap(({ backups }) => backups),
    damaged: listings.flatMap(({ damaged }) => damaged),
  };
}

/**
 * A cluster whose log was never archived has no objects of a log. Where there are some without the
 * object of their timeline, that one was lost, and a backup alone would silently be an older state.
 */
async function refuseLostTimeline(sink: BackupSink, clusterId: ClusterId): Promise<void> {
  const prefix = `${clusterId}/`;
  let after: string | undefined;
  do {
    const from = after;
    after = undefined;
    for await (const { key } of sink.list(prefix, from)) {
      const name = key.slice(prefix.length);
      const timeline = LOG_OBJECT.exec(name)?.[1];
      if (timeline !== undefined) throw lostTimeline(sink, timelineKey(clusterId, timeline));
      after = FOLDERS_WITHOUT_LOG.find(({ begin }) => name.startsWith(begin))?.behind;
      if (after === undefined) continue;
      after = `${prefix}${after}`;
      break;
    }
  } while (after !== undefined);
}

/** They may be long; `behind` comes after all of their keys. */
const FOLDERS_WITHOUT_LOG = [
  { begin: 'backup_', behind: 'backup_g' },
  { begin: 'files/', behind: 'files0' },
] as const;
const LOG_OBJECT = /^([^/]+)\/log\//;

const lostTimeline = (sink: BackupSink, key: string): HoldfastError =>
  new HoldfastError(
    'BACKUP_CORRUPT',
    `${sink.name} has no object ${key}, but chunks of its log: bring it back from another copy ` +
      'of the store',
    { details: { key } },
  );

/** Without an archive a backup is all there is: its own state can be reached, and no other. */
async function withoutArchive(
  store: RestoreStore,
  clusterId: ClusterId,
  { backupId, target }: RestoreWish,
): Promise<Found> {
  const reader = readerOf(store, clusterId);
  const wanted = backupId === null ? target : ({ kind: 'id', backupId } as const);
  const found = await reader.find(
    wanted.kind === 'time'
      ? { kind: 'time', timeMs: wanted.timestampMs }
      : wanted.kind === 'index'
        ? { kind: 'index', timeline: FIRST_TIMELINE, index: wanted.index }
        : wanted,
  );
  const backup = await reader.read(found.backupId);
  const { index } = backup.root.meta;
  const isReached =
    target.kind === 'latest' ||
    (target.kind === 'index' ? target.index === index : target.timestampMs === backup.logTimeMs);
  if (isReached) return { backup, parent: stateOf(backup) };
  const time = new Date(backup.logTimeMs).toISOString();
  const message =
    `the log of this cluster was not archived in ${store.sink.name}, so only backups can be ` +
    `reached: the one before the target is ${backup.backupId}, of index ${index} and ${time}`;
  throw new HoldfastError('RESTORE_TARGET', message, { details: { backupId, index } });
}

const readerOf = ({ sealing, sink }: RestoreStore, clusterId: string): BackupReader =>
  new BackupReader({ sink, clusterId, keys: sealing.keys });

/** The entry that the checkpoint of a backup ends with. */
function stateOf(backup: BackupManifest): TimelineParent {
  const { clusterId, logTimeMs, root, timeline } = backup;
  const { index, sum, term } = root.meta;
  return { clusterId: clusterIdOf(clusterId), timeline, index, term, sum, timestampMs: logTimeMs };
}

function noBackup(sink: BackupSink, backupId: string): HoldfastError {
  const message = `${sink.name} has no backup ${backupId} that leads to the target`;
  return new HoldfastError('BACKUP_NOT_FOUND', message, { details: { backupId } });
}

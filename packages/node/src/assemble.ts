/**
 * Builds one replica and its service from parts: the same function for `serve`, the embedded node
 * and the simulator. Only clock, chance, file system, WAL host, lane host and transport differ.
 *
 * Start order matters: the log is recovered and re-synced (by whoever opened the WAL), the state of
 * the newest checkpoint is loaded, log and checkpoint are brought into line, and only then does
 * the core exist, vote and answer.
 */
import type { HardState, Logger, LogIndex, NodeId, Random } from '@holdfast/base';
import { assert, HoldfastError as HoldfastFailure, logIndex, memberOf, term } from '@holdfast/base';
import { RaftCore } from '@holdfast/raft';
import type { CheckpointRoot, FileSystem, GroupLog, NodeIdentity, Wal } from '@holdfast/storage';
import {
  CHECKPOINT_GENERATION_COUNT_MIN,
  readCheckpointRoots,
  recoverCheckpointRoot,
  WRITE_RETRY_DEFAULT,
} from '@holdfast/storage';
import { makeLogCheck, makeNodeBackup } from './assemble-backup.ts';
import type { AssembleOptions, AssembleParts } from './assemble-parts.ts';
import { gateOf, makeNodeSite } from './assemble-site.ts';
import type { NodeBackup } from './backup/node-backup.ts';
import type { NodeCache } from './heal/memory-watch.ts';
import { HEAL_LIMITS_DEFAULT, NodeCare } from './heal/node-care.ts';
import type { LogCheck } from './log-check/log-check.ts';
import { LogHealer, startConf } from './recovery/heal-log.ts';
import { LoadWatch } from './recovery/load-watch.ts';
import { StateOpener } from './recovery/open-state.ts';
import { loadStartState } from './recovery/start-state.ts';
import { GroupHost } from './replica/group-host.ts';
import { LaneReplayer } from './replica/lane-replayer.ts';
import type { RotListener } from './replica/log-store.ts';
import { LogStore } from './replica/log-store.ts';
import { Replica } from './replica/replica.ts';
import type { ReplicaOptions } from './replica/replica-parts.ts';
import { REPLICA_LIMITS_DEFAULT } from './replica/replica-parts.ts';
import { ReplicaService } from './replica/replica-service.ts';
import { pauseBy } from './replica/slices.ts';
import { RESULT_CACHE_OFF } from './routing/result-cache.ts';
import type { NodeSite } from './standby/node-site.ts';

export type { AssembleOptions, AssembleParts, BackupPlace } from './assemble-parts.ts';

export interface AssembledNode {
  readonly replica: Replica;
  readonly backup: NodeBackup | null;
  readonly logCheck: LogCheck;
  readonly site: NodeSite | null;
  readonly service: ReplicaService;
  readonly care: NodeCare;
  /** For checkers; only the replica's driver may change it. */
  readonly core: Pick<RaftCore, 'checkInvariants' | 'confAt'>;
}

/**
 * Resolves with a replica that has not started yet. A damaged log is repaired first, which takes
 * peers and as long as they need. Rejects when something cannot be mended.
 */
export async function assembleNode(
  options: AssembleOptions,
  parts: AssembleParts,
): Promise<AssembledNode> {
  const { identity, dataDirectory, electionTimeoutMs, searchCache = RESULT_CACHE_OFF } = options;
  const { fileSystem, wal, host, logger } = parts;
  const found = recoverRoots(fileSystem, dataDirectory, logger);
  const newest = found[0] ?? null;
  const log = wal.groupLog(identity.group);
  const care = makeCare(options, parts, found);
  const watch = new LoadWatch({ ...parts, identity, log });
  const pause = pauseBy(parts.defer);
  const opener = new StateOpener({
    ...{ ...parts, identity, dataDirectory, log, care },
    load: (root) => loadStartState({ fileSystem, dataDirectory, host, pause, watch }, root),
  });
  // The repair of a damaged log lets go of what the checkpoint holds: so that must be whole before.
  const early = log.damage().length === 0 ? null : await opener.open(found);
  const healer = new LogHealer({
    ...{ ...parts, identity, root: early === null ? newest : (early.roots[0] ?? null) },
    ...{ electionTimeoutMs, watched: care.watched },
    onEntryResponse: (message) => void care.entries.receive(message),
  });
  await healer.heal();
  const { meta, roots } = early ?? (await opener.open(found));
  const root = roots[0] ?? null;
  await alignLogWithCheckpoint(wal, identity, root);
  const logStore = new LogStore({
    ...{ log, ...startConf(identity, root), applied: meta.appliedIndex },
    snapshotMeta: () => replica.snapshots.offered(),
  });
  const core = makeCore(options, parts, logStore);
  const groups = new GroupHost(parts);
  const publicAddressOf = (nodeId: NodeId): string | null => {
    if (nodeId === identity.nodeId) return options.publicAddress();
    const known = memberOf(replica.membership.conf, nodeId);
    return parts.transport.publicAddressOf(nodeId) ?? known?.clientAddress ?? null;
  };
  const replica: Replica = new Replica(replicaOptions(options), {
    ...parts,
    groups,
    core,
    meta,
    ...{ roots, newestGeneration: newest?.generation ?? 0 },
    nextCheckpointId: checkpointNames(identity, parts.random),
    publicAddressOf,
    archivedIndex: () => backup?.archivedIndex ?? null,
  });
  const { backup, gate, site } = storeSide(options, parts, replica, () => service.contentDigest());
  const onRot: RotListener = (index, rot) => care.mendRead(index, rot);
  host.useReplay(replayerOf(replica, options, parts, onRot));
  healer.handOver({
    receive: (messages) => groups.receive(messages),
    leaderLastIndex: () => replica.leaderLastIndex(),
    confIndex: () => replica.confIndex(),
    onRot: (index, rot) => void onRot(index, rot),
  });
  care.attach(replica);
  logStore.onRot(orFail(onRot, replica));
  const logCheck = makeLogCheck(options, parts, { replica, backup, onRot });
  const service: ReplicaService = new ReplicaService({
    ...{ ...parts, replica, identity, publicAddressOf, searchCache },
    care: care.service(),
    ...{ backup, gate, logCheck, standby: site },
  });
  service.onGraphs(care.causes);
  care.onLook(() => service.look());
  care.watchMemory([service.searchCache, logCacheOf(log)], () => replica.handOver());
  return { replica, backup, site, logCheck, service, care, core };
}

const logCacheOf = (log: GroupLog): NodeCache => ({
  name: 'log',
  clear: () => ({ entryCount: log.clearCache() }),
});

/** What a replica itself cannot do without: its next start repairs the log first. */
function orFail(onRot: RotListener, replica: Pick<Replica, 'fail'>): RotListener {
  return async (index, rot) => {
    const left = await onRot(index, rot);
    if (left !== null && left.code !== 'SHUTTING_DOWN') replica.fail(left);
    return left;
  };
}

function makeCare(
  { dataDirectory, heal, identity }: AssembleOptions,
  parts: AssembleParts,
  roots: readonly CheckpointRoot[],
): NodeCare {
  const { members } = startConf(identity, roots[0] ?? null).conf;
  const limits = { ...HEAL_LIMITS_DEFAULT, ...heal };
  return new NodeCare({ identity, dataDirectory, roots, limits, members }, parts);
}

/** What has to do with stores, and with other clusters through them. */
function storeSide(
  options: AssembleOptions,
  parts: AssembleParts,
  replica: Replica,
  contentDigest: NodeSite['contentDigest'],
) {
  const { identity } = options;
  const backup = makeNodeBackup(options, parts, replica);
  const site = makeNodeSite({ identity, parts, replica, backup, contentDigest });
  return { backup, site, gate: site?.gate ?? gateOf(identity, replica) };
}

function replicaOptions(options: AssembleOptions): ReplicaOptions {
  const { identity } = options;
  return {
    clusterId: identity.clusterId,
    epoch: identity.epoch,
    nodeId: identity.nodeId,
    incarnation: identity.incarnation,
    group: identity.group,
    dataDirectory: options.dataDirectory,
    tickIntervalMs: options.tickIntervalMs,
    electionTimeoutMs: options.electionTimeoutMs,
    checkpointIntervalMs: options.checkpointIntervalMs,
    checkpointLogSizeBytes: options.checkpointLogSizeBytes,
    writeRetry: options.writeRetry ?? WRITE_RETRY_DEFAULT,
    retainedEntryCount: options.retainedEntryCount,
    checkpointGenerationCount: options.checkpointGenerationCount ?? CHECKPOINT_GENERATION_COUNT_MIN,
    sessionIdleTimeoutMs: options.sessionIdleTimeoutMs,
    dropRetentionMs: options.dropRetentionMs ?? 0,
    digestVerifyIntervalMs: options.digestVerifyIntervalMs ?? 0,
    limits: { ...REPLICA_LIMITS_DEFAULT, ...options.limits },
    joinAddresses: options.joinAddresses ?? [],
  };
}

function replayerOf(
  { applier, checkpointer }: Replica,
  { identity, dataDirectory }: AssembleOptions,
  { fileSystem, wal, host, defer }: AssembleParts,
  onRot: RotListener,
): LaneReplayer {
  const { votes } = applier;
  const place = { fileSystem, dataDirectory, wal, host, group: identity.group };
  return new LaneReplayer({
    ...{ ...place, checkpointer, votes, onRot, pause: pauseBy(defer) },
    appliedIndex: () => applier.appliedIndex,
  });
}

/** Unique per node and start. */
function checkpointNames(identity: NodeIdentity, random: Random): (index: LogIndex) => string {
  let count = 0;
  return (index) => {
    count += 1;
    const salt = random.nextU32().toString(16).padStart(8, '0');
    return `${identity.incarnation.slice(0, 8)}-${index}-${count}-${salt}`;
  };
}

/** Every generation, newest first; those that cannot be read are told. */
function recoverRoots(
  fileSystem: FileSystem,
  dataDirectory: string,
  logger: Logger,
): readonly CheckpointRoot[] {
  try {
    const found = recoverCheckpointRoot(fileSystem, dataDirectory);
    if (found !== null && found.damage !== null) {
      logger.error({ details: found.damage.details }, found.damage.message);
    }
  } catch (error) {
    // Every generation has rot: the log may still have everything, or the peers.
    const isRot = error instanceof HoldfastFailure && error.code === 'CHECKPOINT_CORRUPT';
    if (!isRot) throw error;
    logger.error({ details: error.details }, error.message);
  }
  return readCheckpointRoots(fileSystem, dataDirectory).roots;
}

function makeCore(options: AssembleOptions, parts: AssembleParts, log: LogStore): RaftCore {
  const { identity, tickIntervalMs } = options;
  return new RaftCore(
    {
      id: identity.nodeId,
      group: identity.group,
      incarnation: identity.incarnation,
      random: parts.random,
      hash: parts.hash,
      tickIntervalMs,
      electionTimeoutTicks: Math.round(options.electionTimeoutMs / tickIntervalMs),
      heartbeatIntervalTicks: Math.max(1, Math.round(options.heartbeatIntervalMs / tickIntervalMs)),
    },
    log,
  );
}

/**
 * A crash between "the snapshot is in place" and "the log restarts after it" leaves a log that
 * ends before the checkpoint, or disagrees with it there. The checkpoint is committed state, so
 * the log gives way. (A log that starts after the checkpoint is damage: open-state.ts.)
 */
async function alignLogWithCheckpoint(
  wal: Wal,
  identity: NodeIdentity,
  root: CheckpointRoot | null,
): Promise<void> {
  const log = wal.groupLog(identity.group);
  const index = root?.meta.index ?? logIndex(0);
  assert(log.base().index <= index, 'the log reaches back to the state', { index });
  if (root === null || log.term(index) === root.meta.term) return;
  const present = log.hardState();
  const hardState: HardState =
    present !== null && present.term >= root.meta.term
      ? { ...present, commit: logIndex(Math.max(present.commit, index)) }
      : { term: term(root.meta.term), vote: null, commit: index };
  const ticket = wal.append({
    group: identity.group,
    hardState,
    truncateFrom: null,
    entries: [],
    snapshot: root.meta,
    mustSync: true,
  });
  await new Promise<void>((resolve, reject) => {
    wal.onDurable((durable) => {
      if (durable >= ticket) resolve();
    });
    wal.onFailure(reject);
  });
  assert(wal.groupLog(identity.group).base().index === index, 'the log restarts at the checkpoint');
}

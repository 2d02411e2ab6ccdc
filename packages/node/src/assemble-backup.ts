/** What a node has beside its replica that looks at the log: backups, the check of its chain, its site. */
import type { Clock } from '@holdfast/base';
import type { NodeIdentity } from '@holdfast/storage';
import { toHex } from '@holdfast/storage';
import type { AssembleOptions, AssembleParts } from './assemble-parts.ts';
import { NodeBackup } from './backup/node-backup.ts';
import { LogCheck } from './log-check/log-check.ts';
import type { RotListener } from './replica/log-store.ts';
import type { Replica } from './replica/replica.ts';
import { pauseBy } from './replica/slices.ts';
import { NodeSite } from './standby/node-site.ts';
import { SITE_LIMITS_DEFAULT } from './standby/site-api.ts';
import type { SiteReplica } from './standby/site-replica.ts';
import { SiteStores } from './standby/site-stores.ts';
import { WriteGate } from './standby/write-gate.ts';
import { encodeCommand } from './state/command.ts';

/** Null where there is no place for backups. `makeNodeSite` tells it when to archive. */
export function makeNodeBackup(
  { dataDirectory, identity }: AssembleOptions,
  parts: AssembleParts,
  replica: Replica,
): NodeBackup | null {
  if (parts.backup === undefined) return null;
  const { hash, wal } = parts;
  const backup = new NodeBackup({
    ...{ ...parts, ...parts.backup, identity, dataDirectory, hasher: hash },
    ...{ log: wal.groupLog(identity.group), pause: pauseBy(parts.defer) },
    replica: {
      checkpoint: () => replica.checkpoint(),
      pin: (root) => replica.checkpointer.pin(root),
      commitIndex: () => replica.raftStatus().commit,
      site: () => replica.meta.site,
    },
  });
  return backup;
}

export function makeLogCheck(
  { identity, logVerifyIntervalMs = 0 }: AssembleOptions,
  parts: AssembleParts,
  others: {
    readonly replica: Replica;
    readonly backup: NodeBackup | null;
    readonly onRot: RotListener;
  },
): LogCheck {
  const { backup, onRot, replica } = others;
  const check = new LogCheck({
    ...{ ...parts, hasher: parts.hash, pause: pauseBy(parts.defer) },
    ...{ log: parts.wal.groupLog(identity.group), intervalMs: logVerifyIntervalMs },
    committedIndex: () => replica.raftStatus().commit,
    archive: () => backup?.status().archive ?? [],
    onRot: (index, rot) => void onRot(index, rot),
  });
  replica.onSoftState(({ role }) => check.setLeading(role === 'leader'));
  return check;
}

/** It tells the backups whether this node archives for its cluster: leading alone is not enough. */
export function makeNodeSite(
  { identity }: AssembleOptions,
  parts: AssembleParts,
  replica: Replica,
  backup: NodeBackup | null,
  contentDigest: NodeSite['contentDigest'],
): NodeSite | null {
  if (parts.backup === undefined || backup === null) return null;
  const { clock, hash, logger, timers, wal } = parts;
  const { randomBytes, site: limits, stores } = parts.backup;
  if (stores.sinks.length === 0) return null;
  const { compression, keys, sinks } = stores;
  const sealing = { compression, keys, random: randomBytes };
  const site = new NodeSite({
    ...{ identity, clock, timers, logger, contentDigest },
    stores: new SiteStores({ sinks, sealing, hasher: hash }),
    limits: { ...SITE_LIMITS_DEFAULT, ...limits },
    replica: siteReplicaOf(replica, clock),
    log: wal.groupLog(identity.group),
    commitIndex: () => replica.raftStatus().commit,
    nameOf: (uid) => replica.meta.catalogue.byUid(uid)?.name ?? null,
    mintHexId: () => toHex(randomBytes(16)),
    onArchiving: (isArchiving) => backup.setLeading(isArchiving),
  });
  replica.onSoftState(({ role }) => site.setLeading(role === 'leader'));
  return site;
}

const siteReplicaOf = (replica: Replica, clock: Clock): SiteReplica => ({
  site: () => replica.meta.site,
  appliedIndex: () => replica.applier.appliedIndex,
  whenLeaderReady: (timeoutMs) => replica.whenLeaderReady(clock.monotonicMs() + timeoutMs),
  async propose(command, timeoutMs) {
    const deadlineMs = clock.monotonicMs() + timeoutMs;
    await replica.whenLeaderReady(deadlineMs);
    const timestampMs = replica.nextStampMs();
    const envelope = { timestampMs, session: null, bodyHash: 0n, command };
    return replica.propose(encodeCommand(envelope), deadlineMs);
  },
});

/** Where there is no store nobody takes over; what the log says holds all the same. */
export const gateOf = ({ clusterId }: NodeIdentity, replica: Replica): WriteGate =>
  new WriteGate({ clusterId, site: () => replica.meta.site, watch: null });

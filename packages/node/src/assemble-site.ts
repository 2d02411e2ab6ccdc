/** The part of a node that knows other clusters: standby, takeover, fencing. */
import type { Clock } from '@holdfast/base';
import type { NodeIdentity } from '@holdfast/storage';
import { toHex } from '@holdfast/storage';
import type { AssembleParts } from './assemble-parts.ts';
import type { NodeBackup } from './backup/node-backup.ts';
import type { Replica } from './replica/replica.ts';
import { NodeSite } from './standby/node-site.ts';
import { SITE_LIMITS_DEFAULT } from './standby/site-api.ts';
import type { SiteReplica } from './standby/site-replica.ts';
import { SiteStores } from './standby/site-stores.ts';
import { WriteGate } from './standby/write-gate.ts';
import { encodeCommand } from './state/command.ts';

export interface NodeSiteMaking {
  readonly identity: NodeIdentity;
  readonly parts: AssembleParts;
  readonly replica: Replica;
  readonly backup: NodeBackup | null;
  readonly contentDigest: NodeSite['contentDigest'];
}

/** It tells the backups whether this node archives for its cluster: leading alone is not enough. */
export function makeNodeSite({
  backup,
  contentDigest,
  identity,
  parts,
  replica,
}: NodeSiteMaking): NodeSite | null {
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

/** Of a node without stores: what the log says counts all the same. */
export const gateOf = ({ clusterId }: NodeIdentity, replica: Replica): WriteGate =>
  new WriteGate({ clusterId, site: () => replica.meta.site, watch: null });

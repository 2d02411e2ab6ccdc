/**
 * An empty node that is told where backups are becomes a restored one before it starts: a cluster
 * of its own, with an id of its own, which others join later. A directory that holds a node is left
 * alone; a restore that was cut off goes on with its plan, which stays in the directory.
 *
 * Only a node that knows no others does this. One that lost its disk and has peers must join them
 * as a new life: laid anew it would have forgotten what it acknowledged.
 */
import { randomBytes } from 'node:crypto';
import type { Logger } from '@holdfast/base';
import { DEFAULT_GROUP_ID } from '@holdfast/base';
import { createEntryHasher, identityPath, joinPath, systemRandomBytes } from '@holdfast/storage';
import { backupSource } from './backup/restore/backup-source.ts';
import { layDirectory, RESTORE_PLAN_FILE_NAME } from './backup/restore/lay-directory.ts';
import {
  archiveOfPlan,
  backupOfPlan,
  beginRestoredTimeline,
  planFromStore,
  type RestoreStore,
} from './backup/restore/plan-from-store.ts';
import {
  type RestorePlan,
  readRestorePlan,
  writeRestorePlan,
} from './backup/restore/restore-plan.ts';
import { openSink } from './backup/sinks/open-sink.ts';
import { RETRY_POLICY_DEFAULT } from './backup/sinks/sink-retry.ts';
import { type BackupSeams, readBackupKeys } from './compose-backup.ts';
import { formatEndpoint } from './config/endpoint.ts';
import type { NodeConfig } from './config/options.ts';
import { CLUSTER_SECRET_FILE_NAME, writeSecretFile } from './config/secrets.ts';

/** @throws HoldfastError as planFromStore and layDirectory do: the node does not start then */
export async function restoreIfEmpty(
  config: NodeConfig,
  seams: BackupSeams,
  logger: Logger,
): Promise<void> {
  const { data, restoreFrom } = config;
  const { fileSystem } = seams;
  // Empty is how deployments switch it off.
  if (restoreFrom === undefined || restoreFrom === '') return;
  if (fileSystem.exists(identityPath(data))) return;
  if (config.join !== undefined || config.peers.length > 0) {
    logger.warn(
      { restoreFrom },
      'restoreFrom is for a node alone: this one knows others, and joins',
    );
    return;
  }
  const environment = { ...seams, retryPolicy: RETRY_POLICY_DEFAULT };
  const sink = await openSink(restoreFrom, process.env, environment);
  try {
    const keys = readBackupKeys(config, fileSystem);
    const sealing = { keys, compression: config.backupCompression, random: systemRandomBytes };
    const store: RestoreStore = { sink, sealing, hasher: createEntryHasher() };
    fileSystem.makeDirectory(data);
    const plan = await planOf(config, seams, store);
    // Who will not archive there only reads.
    if (config.backupSinks?.includes(restoreFrom) === true) {
      await beginRestoredTimeline(store, plan);
    }
    logger.info({ store: sink.name, backupId: plan.backupId }, 'the node is restored first');
    await lay(config, seams, store, plan);
  } finally {
    await sink.close();
  }
}

async function planOf(
  config: NodeConfig,
  { clock, fileSystem }: BackupSeams,
  store: RestoreStore,
): Promise<RestorePlan> {
  const path = joinPath(config.data, RESTORE_PLAN_FILE_NAME);
  if (fileSystem.exists(path)) return readRestorePlan(fileSystem, path);
  const address = formatEndpoint(config.peerAdvertiseAddress ?? config.peerListen);
  const { plan } = await planFromStore(store, {
    ...{ clusterId: null, timeline: null, backupId: null, target: { kind: 'latest' } },
    members: [{ nodeId: config.nodeId, address, clientAddress: null }],
    ...{ group: DEFAULT_GROUP_ID, createdMs: clock.wallMs() },
    mintHexId: () => randomBytes(16).toString('hex'),
  });
  writeRestorePlan(fileSystem, path, plan);
  return plan;
}

async function lay(
  { clusterSecretFile, data, nodeId }: NodeConfig,
  { clock, fileSystem }: BackupSeams,
  store: RestoreStore,
  plan: RestorePlan,
): Promise<void> {
  const { manifest, reader } = await backupOfPlan(store, plan);
  await layDirectory({
    ...{ fileSystem, clock, directory: data, plan, nodeId, hasher: store.hasher },
    source: backupSource(reader, manifest, fileSystem),
    archive: archiveOfPlan(store, plan),
  });
  const secretPath = joinPath(data, CLUSTER_SECRET_FILE_NAME);
  if (clusterSecretFile !== undefined || fileSystem.exists(secretPath)) return;
  writeSecretFile(secretPath, randomBytes(24).toString('hex'));
}

/**
 * Leaders are killed, one after the other, while the log is archived all the time and one full
 * backup follows the other. Afterwards the store is read whole.
 *
 * Promised: the archive is the log of the nodes, entry by entry, without gap, hole or overlap;
 * every backup that can be seen is complete, and all that were said to be good are there; every
 * acknowledged write is in the state of the nodes, whose log that is.
 */
import { join } from 'node:path';
import { logIndex, must } from '@holdfast/base';
import { type ArchiveAudit, auditArchive } from '@holdfast/node/testing';
import { NodeFileSystem, readLogs, toHex, WAL_DIRECTORY_NAME } from '@holdfast/storage';
import { expectEqualDigests } from '../cluster/agreement.ts';
import type { NodeName } from '../cluster/cluster.ts';
import type { ProcessCluster } from '../cluster/process-cluster.ts';
import { clusterIdOf, untilArchived } from './archived.ts';
import { BackupLoop, makeFullBackup } from './backup-loop.ts';
import type { WorkerStory } from './drill-writer.ts';
import { DrillWriter } from './drill-writer.ts';
import { judgeRestored } from './judge-restored.ts';
import { BACKUP_PLACES, LeaderHunter, type LeaderKill } from './leader-hunter.ts';
import { digestOfRows, readRestoredRows, rowsAt } from './restored-rows.ts';

export interface ArchiveProofOptions {
  /** Formed, of three nodes that archive into `store`; nobody runs. */
  readonly cluster: ProcessCluster;
  readonly store: string;
  readonly seed: number;
  readonly killCount: number;
  readonly onProgress: (line: string) => void;
}

export interface ArchiveProofReport {
  readonly kills: readonly LeaderKill[];
  readonly acknowledgedCount: number;
  readonly audit: ArchiveAudit;
  /** Said to be good by the node that made it. */
  readonly madeBackupCount: number;
  /** Begun, and the leader died, or it failed. */
  readonly brokenBackupCount: number;
  /** Entries of logs of nodes that were compared with the archive. */
  readonly comparedEntryCount: number;
  /** In words; empty when all is as promised. */
  readonly wrong: readonly string[];
}

/** Backups are asked for here, and nothing is ever pruned. */
export const PROOF_SETTINGS = {
  backupFullSchedule: 'off',
  backupIncrementalSchedule: 'off',
  backupVerifySchedule: 'off',
} as const;

const WORKER_COUNT = 3;
/** Some hundred writes a second: several entries in each chunk. */
const WRITE_PAUSE_MS = 15;
/** An operation outlives any number of elections. */
const WRITE_TIMEOUT_MS = 240_000;

export async function proveArchive(options: ArchiveProofOptions): Promise<ArchiveProofReport> {
  const { cluster, killCount, onProgress, seed, store } = options;
  const hunter = new LeaderHunter({
    ...{ cluster, seed, places: BACKUP_PLACES },
    onKill: ({ how, nodeName }, number) => onProgress(`kill ${number}: ${nodeName} ${how}`),
  });
  await hunter.launch();
  onProgress('the cluster is up; writing, archiving and backing up');
  const writer = await DrillWriter.start(cluster.addresses, {
    ...{ seed, workerCount: WORKER_COUNT, timeoutMs: WRITE_TIMEOUT_MS, pauseMs: WRITE_PAUSE_MS },
  });
  const backups = new BackupLoop(cluster);
  const kills = await hunter.run(killCount);
  await backups.stop();
  await hunter.callOff();
  const stories = await writer.finish();
  const [failure] = writer.failures;
  if (failure !== undefined) throw new Error('a write failed', { cause: failure });
  onProgress('all nodes run again; comparing');
  const { made, wrong } = await settle(options, stories);
  await cluster.stopNodes();
  const audit = await auditArchive(store, clusterIdOf(cluster));
  const logs = compareLogs(cluster, audit);
  const listed = new Set(audit.backups.map(({ backupId }) => backupId));
  const lost = [...backups.made, made].filter((id) => !listed.has(id));
  return {
    ...{ kills, audit },
    acknowledgedCount: stories.reduce((sum, { acknowledged }) => sum + acknowledged.length, 0),
    madeBackupCount: backups.made.length + 1,
    brokenBackupCount: backups.brokenCount,
    comparedEntryCount: logs.comparedEntryCount,
    wrong: [
      ...[...wrong, ...audit.wrong, ...logs.wrong],
      ...(audit.gapCount === 0 ? [] : [`the archive has ${audit.gapCount} gaps`]),
      ...lost.map((id) => `backup ${id} was said to be good and is not there`),
    ],
  };
}

/** One more backup, everything archived, and what the nodes have compared with what was told. */
async function settle(
  { cluster }: ArchiveProofOptions,
  stories: readonly WorkerStory[],
): Promise<{ readonly made: string; readonly wrong: readonly string[] }> {
  const leader = must(await cluster.leader(), 'all nodes know a leader');
  const made = await makeFullBackup(cluster.addressOf(leader.nodeName));
  if (made === null) throw new Error(`no backup at the end\n${cluster.describeLogs()}`);
  await expectEqualDigests(cluster);
  const rows = await readRestoredRows(cluster);
  const { appliedIndex: index } = must(await cluster.digest(leader.nodeName));
  await untilArchived(cluster, index);
  const verdict = judgeRestored(stories, rows, { index, lostAtMs: performance.now() });
  const isEqual = digestOfRows(rows) === digestOfRows(rowsAt(stories, index));
  return {
    made,
    wrong: [...verdict.wrong, ...(isEqual ? [] : ['rows are not those that were acknowledged'])],
  };
}

/** Chain sums: each stands for its entry and all before it, also those that are compacted. */
function compareLogs(
  cluster: ProcessCluster,
  audit: ArchiveAudit,
): { readonly comparedEntryCount: number; readonly wrong: readonly string[] } {
  const wrong: string[] = [];
  let comparedEntryCount = 0;
  for (const nodeName of cluster.nodeNames) {
    const differing = compareLog(cluster, nodeName, audit, () => {
      comparedEntryCount += 1;
    });
    if (differing !== null) wrong.push(`entry ${differing} of ${nodeName} is another one`);
  }
  if (comparedEntryCount === 0) wrong.push('no entry of any log could be compared');
  return { comparedEntryCount, wrong };
}

function compareLog(
  cluster: ProcessCluster,
  nodeName: NodeName,
  { lastIndex, sums }: ArchiveAudit,
  onCompared: () => void,
): number | null {
  const directory = join(cluster.dataDirectoryOf(nodeName), WAL_DIRECTORY_NAME);
  const logs = readLogs(new NodeFileSystem(), directory);
  try {
    for (const log of logs.groups.values()) {
      for (let index = log.base().index + 1; index <= lastIndex; index++) {
        // What a node missed before it was stopped it would get from the others.
        if (index > log.lastIndex()) return null;
        const sum = log.sum(logIndex(index));
        if (typeof sum === 'string' || toHex(sum) !== sums.get(index)) return index;
        onCompared();
      }
    }
    return null;
  } finally {
    logs.close();
  }
}

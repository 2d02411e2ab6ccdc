/**
 * A run that archives: full backups all the time beside the load. Afterwards what nobody needs is
 * removed from the store, and it is read whole and restored into a node of its own, through
 * commands that are killed on the way, to the state that all nodes have reached.
 */
import { pathToFileURL } from 'node:url';
import { must } from '@holdfast/base';
import { auditArchive } from '@holdfast/node/testing';
import { type CollectionView, judgeArchive } from '../checker/archive.ts';
import { invalid, type Verdict } from '../checker/verdict.ts';
import { readJson } from '../cluster/node-http.ts';
import { ProcessCluster } from '../cluster/process-cluster.ts';
import type { ServerSettings } from '../cluster/server-command.ts';
import { untilArchived } from '../drill/archived.ts';
import { BackupLoop, makeFullBackup } from '../drill/backup-loop.ts';
import { WaitExpired } from '../wait.ts';
import { restoreOnABadDay } from './bad-day-restore.ts';
import { removeGarbage } from './garbage-in-store.ts';

/** Work of the schedules too, as often as they can say; a prune has something to remove. */
export const ARCHIVE_SETTINGS: ServerSettings = {
  backupFullSchedule: '* * * * *',
  backupIncrementalSchedule: 'off',
  backupVerifySchedule: '* * * * *',
  backupKeepLast: 3,
  backupKeepHourly: 0,
  backupKeepDaily: 0,
  backupKeepWeekly: 0,
  backupKeepMonthly: 0,
};

/** A leader has other things to do as well. */
const BACKUP_PAUSE_MS = 3_000;

export interface ArchiveOutcome {
  readonly verdict: Verdict;
  /** Places that the commands and the restored node got to. */
  readonly failpoints: readonly string[];
}

export interface ArchiveWatchOptions {
  /** Runs, and archives into a folder of its own. */
  readonly cluster: ProcessCluster;
  /** Faults of the run keep the store away for longer than the log is held for it. */
  readonly isGapAllowed: boolean;
}

interface Reached {
  readonly clusterId: string;
  readonly index: number;
  readonly collections: readonly CollectionView[];
}

export class ArchiveWatch {
  readonly #options: ArchiveWatchOptions;
  readonly #store: string;
  readonly #backups: BackupLoop;

  constructor(options: ArchiveWatchOptions) {
    this.#options = options;
    this.#store = must(options.cluster.storeDirectory, 'the nodes have a store');
    this.#backups = new BackupLoop(options.cluster, BACKUP_PAUSE_MS);
  }

  /** No more backups are begun. Safe to call twice. */
  stop(): Promise<void> {
    return this.#backups.stop();
  }

  /**
   * When the load is over, all is healed, and the nodes agree; they are stopped in it.
   * @throws Error when the harness broke
   */
  async finish(): Promise<ArchiveOutcome> {
    const { cluster } = this.#options;
    await this.stop();
    const made = [...this.#backups.made];
    if (this.#options.isGapAllowed) made.push(...(await this.#lastBackup()));
    const reached = await readReached(cluster);
    try {
      await untilArchived(cluster, reached.index);
    } catch (thrown) {
      if (!(thrown instanceof WaitExpired)) throw thrown;
      return { verdict: invalid(`healed, and ${thrown.message}`, []), failpoints: [] };
    }
    const { clusterId } = reached;
    const removal = await removeGarbage(cluster, this.#url, { clusterId, seed: reached.index });
    await cluster.stopNodes();
    const audit = await auditArchive(this.#url, clusterId);
    const { failpoints, restored } = await this.#restore(reached);
    const verdict = judgeArchive({
      ...{ audit, removal, restored, index: reached.index, expected: reached.collections },
      isGapAllowed: this.#options.isGapAllowed,
      newestBackupId: made.at(-1) ?? null,
      ...{ madeBackupCount: made.length, brokenBackupCount: this.#backups.brokenCount },
    });
    return { verdict, failpoints };
  }

  get #url(): string {
    return pathToFileURL(this.#store).href;
  }

  /** Behind a gap nothing can be restored without one. */
  async #lastBackup(): Promise<readonly string[]> {
    const { cluster } = this.#options;
    const leader = await cluster.leader();
    if (leader === null) return [];
    const made = await makeFullBackup(cluster.addressOf(leader.nodeName));
    return made === null ? [] : [made];
  }

  async #restore({ clusterId, index }: Reached): Promise<{
    readonly failpoints: readonly string[];
    readonly restored: readonly CollectionView[] | string;
  }> {
    const past = await ProcessCluster.form({
      ...{ name: 'jepsen-restored', nodeCount: 1, isNotingFailpoints: true },
    });
    try {
      const store = this.#url;
      const seen = await restoreOnABadDay({ past, store, clusterId, index, seed: index });
      const { collections: restored } = await readReached(past);
      return { restored, failpoints: [...past.failpointsSeen(), ...seen] };
    } catch (thrown) {
      const why = thrown instanceof Error ? thrown.message : String(thrown);
      return { restored: `${why}\n${past.describeLogs()}`, failpoints: [] };
    } finally {
      await past.stop();
    }
  }
}

/** The state of one node: where the others are too, when nobody writes. */
async function readReached(cluster: ProcessCluster): Promise<Reached> {
  const address = must(cluster.addresses[0], 'a cluster has a node');
  const [status, states] = await Promise.all([
    readJson(address, '/api/v1/cluster/status'),
    readJson(address, '/api/v1/collections'),
  ]);
  if (status?.status !== 200 || states?.status !== 200) {
    throw new Error(`a healed node does not tell its state\n${cluster.describeLogs()}`);
  }
  const { clusterId } = status.body as { readonly clusterId: string };
  const { appliedIndex, collections } = states.body as {
    readonly appliedIndex: number;
    readonly collections: readonly CollectionView[];
  };
  return { clusterId, index: appliedIndex, collections };
}

/**
 * Full backups, one after the other, made by whoever leads: what an operator's cron job would do if
 * it never rested. A node that dies takes its backup with it; the next one is asked of the next.
 */
import { readText } from '../cluster/node-http.ts';
import type { ProcessCluster } from '../cluster/process-cluster.ts';
import { pause } from '../wait.ts';

/** A backup of a small state takes a second or two, also on a busy machine. */
const ANSWER_TIMEOUT_MS = 120_000;
const PAUSE_MS = 100;

interface RecordView {
  readonly backupId: string;
  readonly outcomes: readonly { readonly kind: 'success' | 'failure' }[];
}

export class BackupLoop {
  readonly #cluster: ProcessCluster;
  readonly #pauseMs: number;
  readonly #made: string[] = [];
  #brokenCount = 0;
  #isStopping = false;
  readonly #running: Promise<void>;

  constructor(cluster: ProcessCluster, pauseMs = PAUSE_MS) {
    this.#cluster = cluster;
    this.#pauseMs = pauseMs;
    this.#running = this.#run();
  }

  /** Ids of those that a node said were good. */
  get made(): readonly string[] {
    return this.#made;
  }

  /** Begun, and without an answer or with a failure. */
  get brokenCount(): number {
    return this.#brokenCount;
  }

  /** What is under way ends first. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#isStopping) {
      const leader = await this.#cluster.leader();
      if (leader !== null) {
        const backupId = await makeFullBackup(this.#cluster.addressOf(leader.nodeName));
        if (backupId === null) this.#brokenCount += 1;
        else this.#made.push(backupId);
      }
      await pause(this.#pauseMs);
    }
  }
}

/** Its id when all stores have it; null when it failed, or nobody knows. */
export async function makeFullBackup(address: string): Promise<string | null> {
  const answer = await readText(address, '/api/v1/admin/backup?mode=sync', {
    ...{ body: { type: 'full' }, timeoutMs: ANSWER_TIMEOUT_MS },
  });
  if (answer?.status !== 200) return null;
  const { backupId, outcomes } = JSON.parse(answer.text) as RecordView;
  const isGood = outcomes.length > 0 && outcomes.every(({ kind }) => kind === 'success');
  return isGood ? backupId : null;
}

/** Backups of a running cluster, asked for and watched over HTTP as an operator's tool would. */
import { must } from '@holdfast/base';
import { type ProcessCluster, readJson, waitFor } from '@holdfast/jepsen-lite';

const PATH = '/api/v1/admin/backup';
const BACKUP_TIMEOUT_MS = 1_800_000;

export interface MadeBackup {
  readonly durationMs: number;
  /** Of file content that had to be sent. */
  readonly sentSizeBytes: number;
  readonly sizeBytes: number;
  readonly storedSizeBytes: number;
  readonly vectorCount: number;
  readonly index: number;
}

interface RecordView {
  readonly backupId: string;
  readonly startedMs: number;
  readonly endedMs: number;
  readonly outcomes: readonly (Omit<MadeBackup, 'durationMs'> & {
    readonly kind: string;
    readonly error?: { readonly message: string };
  })[];
}

interface BackupView {
  readonly underWay: { readonly backupId: string } | null;
  readonly newest: readonly RecordView[];
  readonly archive: readonly { readonly lagMs: number; readonly archivedIndex: number | null }[];
}

export async function backupView(address: string): Promise<BackupView> {
  const answer = await readJson(address, PATH);
  const { body } = must(answer, `${address} answers`);
  const { archive = [], newest = [], underWay = null } = body as Partial<BackupView>;
  return { archive, newest, underWay };
}

/** A full backup of one node, from its begin to its end by the node. @throws Error when it fails */
export async function backUpNow(cluster: ProcessCluster, nodeName: string): Promise<MadeBackup> {
  const address = cluster.addressOf(nodeName);
  const answer = await fetch(`http://${address}${PATH}`, {
    ...{ method: 'POST', headers: { 'content-type': 'application/json' } },
    body: JSON.stringify({ type: 'full' }),
  });
  const { underWay } = (await answer.json()) as BackupView;
  const backupId = must(underWay, 'a backup was begun').backupId;
  const what = `backup ${backupId}`;
  const waiting = { what, timeoutMs: BACKUP_TIMEOUT_MS, pollIntervalMs: 50 };
  const record = await waitFor(waiting, async () => {
    const view = await backupView(address);
    if (view.underWay?.backupId === backupId) return null;
    return must(
      view.newest.find((one) => one.backupId === backupId),
      `${what} ended in a store`,
    );
  });
  const outcome = must(record.outcomes[0], 'a backup has an outcome');
  if (outcome.kind !== 'success') throw new Error(`${what}: ${outcome.error?.message}`);
  return { ...outcome, durationMs: record.endedMs - record.startedMs };
}

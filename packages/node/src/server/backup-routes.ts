/**
 * Backups and the archive over HTTP, behind the API key. Making one takes long: it is begun, and
 * watched.
 */
import type { HoldfastError } from '@holdfast/base';
import { HoldfastError as HoldfastFailure } from '@holdfast/base';
import type { Context, Hono } from 'hono';
import { z } from 'zod';
import type {
  BackupRecord,
  BackupService,
  PruneOutcome,
  SinkBackups,
} from '../backup/backup-api.ts';
import type { NodeService } from '../service-api.ts';
import { bodyOf } from './request-body.ts';

const wishesSchema = z.strictObject({
  type: z.enum(['full', 'incremental']),
  baseBackupId: z.uuid().exactOptional(),
  isVerifyingExisting: z.boolean().exactOptional(),
});

const pruneSchema = z.strictObject({
  retentionDays: z.int().min(1).max(36_500).exactOptional(),
  isDryRun: z.boolean().exactOptional(),
});

export function addBackupRoutes(app: Hono, service: NodeService): void {
  app.get('/api/v1/admin/backup', (context) => {
    const { newest, ...status } = backupOf(service).status();
    return context.json({ ...status, newest: newest.map(recordView) });
  });
  app.post('/api/v1/admin/backup', async (context) => begin(context, backupOf(service)));
  app.delete('/api/v1/admin/backup', (context) => {
    const backup = backupOf(service);
    backup.abort();
    return context.json({ underWay: backup.status().underWay }, 202);
  });
  app.get('/api/v1/admin/backups', async (context) => {
    const sinks = await backupOf(service).list();
    return context.json({ sinks: sinks.map(listingView) });
  });
  app.get('/api/v1/admin/backups/restore-tests', async (context) =>
    context.json({ tests: await backupOf(service).restoreTests() }),
  );
  app.post('/api/v1/admin/backups/prune', async (context) => {
    const backup = backupOf(service);
    const outcomes = await backup.prune(await bodyOf(context, pruneSchema));
    return context.json({ sinks: outcomes.map(pruneView) });
  });
  app.post('/api/v1/admin/backups/:id/verify', async (context) => {
    const reports = await backupOf(service).verify(context.req.param('id'));
    const views = reports.map((report) => ({
      ...report,
      bad: report.bad.map(({ error, key, status }) => ({ key, status, error: bodyOrNull(error) })),
    }));
    return context.json({ reports: views });
  });
}

/** `?mode=sync` waits for its end; by default the answer says that it was begun. */
async function begin(context: Context, backup: BackupService): Promise<Response> {
  const made = backup.create(await bodyOf(context, wishesSchema));
  if (context.req.query('mode') === 'sync') return context.json(recordView(await made));
  // What becomes of it is in the status.
  made.catch(() => undefined);
  return context.json({ underWay: backup.status().underWay }, 202);
}

/** Without the manifest, which names every file. */
const recordView = (record: BackupRecord) => ({
  ...record,
  outcomes: record.outcomes.map((one) =>
    one.kind === 'failure'
      ? { kind: one.kind, sink: one.sink, error: one.error.toBody() }
      : {
          ...{ kind: one.kind, sink: one.sink, sentSizeBytes: one.sentSizeBytes },
          ...(one.outcome.kind === 'written'
            ? {
                sizeBytes: one.outcome.manifest.sizeBytes,
                storedSizeBytes: one.outcome.manifest.storedSizeBytes,
                vectorCount: one.outcome.manifest.vectorCount,
                index: one.outcome.manifest.root.meta.index,
              }
            : { nothingNewSince: one.outcome.baseBackupId }),
        },
  ),
});

const listingView = ({ backups, damaged, sink }: SinkBackups) => ({
  ...{ sink, backups },
  damaged: damaged.map(({ backupId, error }) => ({ backupId, error: error.toBody() })),
});

const pruneView = (outcome: PruneOutcome) => {
  const { kind, sink } = outcome;
  if (outcome.kind === 'failure') return { kind, sink, error: outcome.error.toBody() };
  const { blockedBy, ...report } = outcome.report;
  const blocked = blockedBy.map(({ backupId, error }) => ({ backupId, error: error.toBody() }));
  return { kind, sink, ...report, blockedBy: blocked };
};

const bodyOrNull = (error: HoldfastError | null) => error?.toBody() ?? null;

function backupOf(service: NodeService): BackupService {
  const { backup, care } = service;
  if (backup !== null) return backup;
  if (care === null) {
    throw new HoldfastFailure(
      'REPAIRING',
      'this node has no replica yet; ask again when it serves',
    );
  }
  const message = 'this node has no store for backups: set backupSinks and start it again';
  throw new HoldfastFailure('REQUEST_INVALID', message);
}

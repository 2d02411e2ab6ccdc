/**
 * Snapshots and collections under the names that tools for Qdrant know. A snapshot is a full backup
 * in the stores of the settings; its name is that of a tar file, which the node gives. Unpacked it
 * is a store in a folder, and the shipped commands restore from it.
 */
import { type Clock, HoldfastError } from '@holdfast/base';
import { isBackupId } from '@holdfast/storage';
import type { Context, Hono } from 'hono';
import type { BackupRecord, BackupService } from '../backup/backup-api.ts';
import type { NodeService } from '../service-api.ts';
import type { CollectionState } from '../state/collection-state.ts';

export function addSnapshotRoutes(
  app: Hono,
  service: NodeService,
  clock: Pick<Clock, 'wallMs'>,
): void {
  const answer = async (context: Context, body: () => Promise<unknown>): Promise<Response> => {
    const startedMs = clock.wallMs();
    const result = await body();
    return context.json({ result, status: 'ok', time: (clock.wallMs() - startedMs) / 1_000 });
  };
  for (const base of ['/qdrant', '']) {
    app.post(`${base}/snapshots`, (context) => answer(context, () => make(backupOf(service))));
    app.get(`${base}/snapshots`, (context) => answer(context, () => list(backupOf(service))));
    app.get(`${base}/snapshots/:name`, (context) => download(context, backupOf(service)));
    app.post(`${base}/collections/:name/snapshots`, (context) =>
      answer(context, async () => {
        await collectionNamed(service, context.req.param('name') ?? '');
        return make(backupOf(service));
      }),
    );
    app.get(`${base}/collections`, (context) =>
      answer(context, async () => {
        const { collections } = await service.collectionStates();
        return { collections: collections.map(({ name }) => ({ name })) };
      }),
    );
    app.get(`${base}/collections/:name`, (context) =>
      answer(context, async () =>
        describe(await collectionNamed(service, context.req.param('name'))),
      ),
    );
  }
}

const TAR_SUFFIX = '.tar';

async function download(context: Context, backup: BackupService): Promise<Response> {
  const name = context.req.param('name') ?? '';
  const backupId = name.endsWith(TAR_SUFFIX) ? name.slice(0, -TAR_SUFFIX.length) : name;
  if (!isBackupId(backupId)) {
    throw new HoldfastError('BACKUP_NOT_FOUND', `${name} is no name of a snapshot`);
  }
  const pieces = await backup.download(backupId);
  const disposition = `attachment; filename="${backupId}${TAR_SUFFIX}"`;
  const headers = { 'content-type': 'application/x-tar', 'content-disposition': disposition };
  // A failure on the way breaks the connection: what came is no whole tar file.
  return new Response(ReadableStream.from(pieces), { headers });
}

/** Of one collection too: a backup is of everything, and a restore chooses. */
async function make(backup: BackupService): Promise<unknown> {
  const record = await backup.create({ type: 'full' });
  const good = record.outcomes.find((outcome) => outcome.kind === 'success');
  if (good === undefined || good.kind !== 'success') throw firstError(record);
  const written = good.outcome.kind === 'written' ? good.outcome.manifest : null;
  return {
    name: `${record.backupId}${TAR_SUFFIX}`,
    creation_time: new Date(record.startedMs).toISOString(),
    size: written?.sizeBytes ?? 0,
    store: good.sink,
    vectors_count: written?.vectorCount ?? 0,
  };
}

function firstError({ backupId, outcomes }: BackupRecord): HoldfastError {
  for (const outcome of outcomes) if (outcome.kind === 'failure') return outcome.error;
  return new HoldfastError('BACKUP_ABORTED', `backup ${backupId} went to no store`);
}

async function list(backup: BackupService): Promise<unknown> {
  const sinks = await backup.list();
  return sinks.flatMap(({ backups, sink }) =>
    backups.map(({ backupId, createdMs, sizeBytes, vectorCount }) => ({
      name: `${backupId}${TAR_SUFFIX}`,
      creation_time: new Date(createdMs).toISOString(),
      ...{ size: sizeBytes, store: sink, vectors_count: vectorCount },
    })),
  );
}

const describe = ({ dimension, metric, vectorCount }: CollectionState) => ({
  status: 'green',
  points_count: vectorCount,
  vectors_count: vectorCount,
  config: { params: { vectors: { size: dimension, distance: metric } } },
});

async function collectionNamed(service: NodeService, name: string): Promise<CollectionState> {
  const { collections } = await service.collectionStates();
  const found = collections.find((collection) => collection.name === name);
  if (found !== undefined) return found;
  throw new HoldfastError('COLLECTION_NOT_FOUND', `no collection is named '${name}'`);
}

function backupOf({ backup }: NodeService): BackupService {
  if (backup !== null) return backup;
  const message = 'this node has no store for backups: set backupSinks and start it again';
  throw new HoldfastError('REQUEST_INVALID', message);
}

/**
 * Restores over HTTP, behind the API key: what this node's directory was made of, and collections
 * of a past state beside live data. Such a restore takes long: it is begun, and watched.
 */
import { HoldfastError } from '@holdfast/base';
import type { Context, Hono } from 'hono';
import { z } from 'zod';
import { type RestoredRecord, restoreStateOf } from '../backup/restore/restored-record.ts';
import type { RestoresService } from '../backup/restore/restores-api.ts';
import { bodyOf } from './request-body.ts';

/** A node has no more of them. */
const COLLECTION_COUNT_MAX = 1_000;
const text = z.string().min(1).max(1_024);

const wishesSchema = z.strictObject({
  source: text.exactOptional(),
  collections: z.array(text).min(1).max(COLLECTION_COUNT_MAX),
  target_prefix: z.string().max(256),
  target: text.exactOptional(),
  cluster_id: text.exactOptional(),
  timeline: text.exactOptional(),
  publish: z.boolean().exactOptional(),
});

export interface RestorePages {
  /** What the data directory was restored from; null: it was not. */
  readonly restored: RestoredRecord | null;
  /** Null where no store is set. */
  readonly restores: RestoresService | null;
}

export function addRestoreRoutes(app: Hono, { restored, restores }: RestorePages): void {
  app.get('/api/v1/admin/restore/status', (context) => {
    const collections = restores?.status() ?? { underWay: null, newest: [] };
    return context.json({ ...restoreStateOf(restored), collections });
  });
  app.post('/api/v1/admin/restore', (context) => begin(context, serviceOf(restores)));
  app.delete('/api/v1/admin/restore', (context) => {
    const service = serviceOf(restores);
    service.abort();
    return context.json({ underWay: service.status().underWay }, 202);
  });
}

/** `?mode=sync` waits for its end; by default the answer says that it was begun. */
async function begin(context: Context, restores: RestoresService): Promise<Response> {
  const mode = context.req.query('mode') ?? 'async';
  if (mode !== 'sync' && mode !== 'async') {
    throw new HoldfastError('REQUEST_INVALID', 'mode: must be sync or async');
  }
  const wishes = await bodyOf(context, wishesSchema);
  const { done, restoreId } = await restores.begin({
    ...{ source: wishes.source ?? null, clusterId: wishes.cluster_id ?? null },
    ...{ timeline: wishes.timeline ?? null, target: wishes.target ?? 'latest' },
    ...{ collections: wishes.collections, prefix: wishes.target_prefix },
    isPublished: wishes.publish ?? true,
  });
  if (mode === 'sync') return context.json(await done);
  // What becomes of it is in the status.
  done.catch(() => undefined);
  return context.json({ restoreId, underWay: restores.status().underWay }, 202);
}

/** @throws HoldfastError REQUEST_INVALID: there is no store */
export function serviceOf(restores: RestoresService | null): RestoresService {
  if (restores !== null) return restores;
  const message = 'this node has no store to restore from: set backupSinks and start it again';
  throw new HoldfastError('REQUEST_INVALID', message);
}

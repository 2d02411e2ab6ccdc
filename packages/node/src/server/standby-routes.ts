/** Standbys over HTTP, behind the API key. Only the leader begins and promotes. */
import { HoldfastError } from '@holdfast/base';
import type { Hono } from 'hono';
import { z } from 'zod';
import type { NodeService } from '../service-api.ts';
import type { SiteService } from '../standby/site-api.ts';
import { bodyOf } from './request-body.ts';

const beginSchema = z.strictObject({ clusterId: z.string().min(1).max(64) });
const promoteSchema = z.strictObject({ isForced: z.boolean().exactOptional() });

const DIFFERENCE_COUNT = 1_000;
const DIFFERENCE_COUNT_MAX = 100_000;

export function addStandbyRoutes(app: Hono, service: NodeService): void {
  app.get('/api/v1/admin/standby', async (context) => {
    const standby = standbyOf(service);
    const status = standby.status();
    if (context.req.query('digest') === undefined) return context.json(status);
    return context.json({ ...status, content: await standby.contentDigest() });
  });
  app.post('/api/v1/admin/standby/begin', async (context) => {
    const { clusterId } = await bodyOf(context, beginSchema);
    const standby = standbyOf(service);
    await standby.begin(clusterId);
    return context.json(standby.status());
  });
  app.post('/api/v1/admin/standby/promote', async (context) => {
    const { isForced = false } = await bodyOf(context, promoteSchema);
    return context.json(await standbyOf(service).promote({ isForced }));
  });
  app.get('/api/v1/admin/standby/diff', async (context) => {
    const limit = Number(context.req.query('limit') ?? DIFFERENCE_COUNT);
    if (!Number.isSafeInteger(limit) || limit < 1 || limit > DIFFERENCE_COUNT_MAX) {
      const message = `limit: must be a whole number from 1 to ${DIFFERENCE_COUNT_MAX}`;
      throw new HoldfastError('REQUEST_INVALID', message);
    }
    return context.json(await standbyOf(service).differences(limit));
  });
}

function standbyOf({ care, standby }: NodeService): SiteService {
  if (standby !== null) return standby;
  if (care === null) {
    throw new HoldfastError('REPAIRING', 'this node has no replica yet; ask again when it serves');
  }
  const message =
    'this node has no store, so its cluster neither follows another nor is followed: set ' +
    'backupSinks and start it again';
  throw new HoldfastError('REQUEST_INVALID', message);
}

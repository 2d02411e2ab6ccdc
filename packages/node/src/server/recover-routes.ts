/**
 * Recovering from a snapshot, under the names that tools for Qdrant know. A collection that is gone
 * comes back under its name from a store of this node, as any restore beside live data does; one
 * that is there is never replaced, and neither is a whole running cluster.
 */
import type { Clock } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import { isBackupId } from '@holdfast/storage';
import type { Context, Hono } from 'hono';
import { z } from 'zod';
import type { RestoresService } from '../backup/restore/restores-api.ts';
import { bodyOf } from './request-body.ts';
import { serviceOf } from './restore-routes.ts';

const bodySchema = z.strictObject({
  location: z
    .string()
    .max(1_024)
    .regex(/^[a-z][a-z0-9+.-]*:\/\//, 'must be a URL such as s3://BUCKET/PREFIX or file:///FOLDER'),
  /** Which replica counts: all of them get the same entries here. */
  priority: z.enum(['no_sync', 'snapshot', 'replica']).exactOptional(),
});

export function addRecoverRoutes(
  app: Hono,
  restores: RestoresService | null,
  clock: Pick<Clock, 'wallMs'>,
): void {
  for (const base of ['/qdrant', '']) {
    app.on(['POST', 'PUT'], `${base}/snapshots/recover`, async (context) => {
      throw clusterRefusal((await bodyOf(context, bodySchema)).location);
    });
    app.on(['POST', 'PUT'], `${base}/collections/:name/snapshots/recover`, (context) =>
      recover(context, serviceOf(restores), clock),
    );
  }
}

/** `?wait=false` answers when it was begun; by default at its end. */
async function recover(
  context: Context,
  restores: RestoresService,
  clock: Pick<Clock, 'wallMs'>,
): Promise<Response> {
  const startedMs = clock.wallMs();
  const wait = context.req.query('wait') ?? 'true';
  if (wait !== 'true' && wait !== 'false') {
    throw new HoldfastError('REQUEST_INVALID', 'wait: must be true or false');
  }
  const { source, target } = snapshotAt((await bodyOf(context, bodySchema)).location);
  const { done } = await restores.begin({
    ...{ source, target, clusterId: null, timeline: null },
    ...{ collections: [context.req.param('name') ?? ''], prefix: '', isPublished: true },
  });
  const seconds = (): number => (clock.wallMs() - startedMs) / 1_000;
  if (wait === 'false') {
    // What becomes of it is in GET /api/v1/admin/restore/status.
    done.catch(() => undefined);
    return context.json({ result: true, status: 'accepted', time: seconds() }, 202);
  }
  await done;
  return context.json({ result: true, status: 'ok', time: seconds() });
}

/** The URL of a store alone means its newest state; behind it may be the name of a snapshot. */
export function snapshotAt(location: string): { readonly source: string; readonly target: string } {
  const [, url = '', query = ''] = /^([^?]*)(\?.*)?$/.exec(location) ?? [];
  const [, store, name] = /^(.*)\/([^/]+?)(?:\.tar)?$/.exec(url) ?? [];
  if (store !== undefined && name !== undefined && isBackupId(name)) {
    return { source: store + query, target: name };
  }
  return { source: url.replace(/(?<=[^/])\/$/, '') + query, target: 'latest' };
}

function clusterRefusal(location: string): HoldfastError {
  return new HoldfastError(
    'RESTORE_TARGET',
    'a running cluster is not overwritten: recover collections that are gone one by one, or stop ' +
      `it and use holdfast restore plan --from '${location}' and holdfast restore run on empty ` +
      'directories',
    { details: { location } },
  );
}

/** Collections with their counts and digests, for comparing with backups. Behind the API key. */
import { HoldfastError } from '@holdfast/base';
import type { Hono } from 'hono';
import type { NodeService } from '../service-api.ts';

export function addCollectionRoutes(app: Hono, service: NodeService): void {
  app.get('/api/v1/collections', async (context) => context.json(await service.collectionStates()));
  app.get('/api/v1/collections/:name', async (context) => {
    const { appliedIndex, collections } = await service.collectionStates();
    const name = context.req.param('name');
    const found = collections.find((collection) => collection.name === name);
    if (found !== undefined) return context.json({ appliedIndex, ...found });
    const message = `no collection is named '${name}': see GET /api/v1/collections`;
    throw new HoldfastError('COLLECTION_NOT_FOUND', message);
  });
}

/**
 * Collections over HTTP, behind the API key: those there are, with counts and digests of this node
 * for comparing with backups, and what becomes of them. Hidden ones and changes are for the leader:
 * another node answers 503 with its address in the details.
 */
import { type Clock, HoldfastError } from '@holdfast/base';
import type { HiddenCollectionDescription, ListCollectionsResult } from '@holdfast/protocol';
import { checkUp, REQUEST_TIMEOUT_MS_DEFAULT } from '@holdfast/protocol';
import type { Context, Hono } from 'hono';
import type { NodeService } from '../service-api.ts';

interface RouteParts {
  readonly service: NodeService;
  readonly clock: Pick<Clock, 'monotonicMs'>;
}

export function addCollectionRoutes(app: Hono, parts: RouteParts): void {
  app.get('/api/v1/collections', async (context) => {
    const isWide = context.req.query('include_deleted') === 'true';
    return context.json(isWide ? await list(parts) : await parts.service.collectionStates());
  });
  app.get('/api/v1/collections/:name', async (context) => {
    const { appliedIndex, collections } = await parts.service.collectionStates();
    const name = context.req.param('name');
    const found = collections.find((collection) => collection.name === name);
    if (found !== undefined) return context.json({ appliedIndex, ...found });
    const message = `no collection is named '${name}': see GET /api/v1/collections`;
    throw new HoldfastError('COLLECTION_NOT_FOUND', message);
  });
  app.post('/api/v1/collections/:name/rename', async (context) => {
    const { new_name: newName } = await bodyOf(context, ['new_name']);
    const name = context.req.param('name');
    return context.json(await ask(parts, { kind: 'renameCollection', name, newName }));
  });
  app.post('/api/v1/collections/:name/restore', async (context) => {
    const name = context.req.param('name');
    const { uid, new_name: newName } = await bodyOf(context, ['uid', 'new_name']);
    const found = uid ?? uidOfDropped(name, (await list(parts)).hidden ?? []);
    const asked = { uid: found, name: newName ?? name };
    return context.json(await ask(parts, { kind: 'undeleteCollection', ...asked }));
  });
  app.post('/api/v1/collections/purge', async (context) => {
    const { uid } = await bodyOf(context, ['uid']);
    return context.json(await ask(parts, { kind: 'purgeCollection', uid }));
  });
}

/** Hidden ones too. */
async function list(parts: RouteParts): Promise<ListCollectionsResult> {
  const message = { kind: 'listCollections', includeDeleted: true };
  return (await ask(parts, message)) as ListCollectionsResult;
}

/** The body is checked as a message of a client is. */
async function ask({ clock, service }: RouteParts, message: object): Promise<object> {
  const request = checkUp({ id: 0, ...message });
  if (request.kind === 'hello') throw new HoldfastError('REQUEST_INVALID', 'no such request');
  const deadlineMs = clock.monotonicMs() + REQUEST_TIMEOUT_MS_DEFAULT;
  return service.execute(request, { deadlineMs });
}

/** A name may have been dropped more than once: then only the uid says which one is meant. */
function uidOfDropped(name: string, hidden: readonly HiddenCollectionDescription[]): number {
  const dropped = hidden.filter(
    ({ collection, state }) => state === 'dropped' && collection.name === name,
  );
  const [only, ...others] = dropped.map(({ collection }) => collection.createdIndex);
  if (only !== undefined && others.length === 0) return only;
  if (only === undefined) {
    const message = `no dropped collection was named '${name}', or its time is over`;
    throw new HoldfastError('COLLECTION_NOT_FOUND', message, { details: { collection: name } });
  }
  const uids = [only, ...others];
  const message = `uid: '${name}' was dropped ${uids.length} times: give one of ${uids.join(', ')}`;
  throw new HoldfastError('REQUEST_INVALID', message, { details: { uids } });
}

/** Empty is an empty object. */
async function bodyOf(
  context: Context,
  known: readonly string[],
): Promise<Readonly<Record<string, unknown>>> {
  const text = await context.req.text();
  const body: unknown = text === '' ? {} : parseOr(text);
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new HoldfastError('REQUEST_INVALID', 'the body must be a JSON object');
  }
  const unknown = Object.keys(body).find((key) => !known.includes(key));
  if (unknown === undefined) return body as Readonly<Record<string, unknown>>;
  throw new HoldfastError('REQUEST_INVALID', `${unknown}: is not one of ${known.join(', ')}`);
}

function parseOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new HoldfastError('REQUEST_INVALID', 'the body must be JSON', { cause });
  }
}

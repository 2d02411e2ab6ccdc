/**
 * The HTTP face of a node: health, metrics, status. Everything but /health asks for the API key.
 */
import {
  type Clock,
  type ErrorCode,
  HoldfastError,
  type Logger,
  toHoldfastError,
} from '@holdfast/base';
import { Hono } from 'hono';
import type { RestoredRecord } from '../backup/restore/restored-record.ts';
import type { RestoresService } from '../backup/restore/restores-api.ts';
import type { NodeService } from '../service-api.ts';
import { addAdminRoutes } from './admin-routes.ts';
import type { ApiKeyGuard } from './api-key.ts';
import { addBackupRoutes } from './backup-routes.ts';
import { addCareRoutes } from './care-routes.ts';
import { addCollectionRoutes } from './collection-routes.ts';
import { healthOf } from './health.ts';
import { addLogCheckRoutes } from './log-check-routes.ts';
import type { Metrics } from './metrics.ts';
import { addRecoverRoutes } from './recover-routes.ts';
import { addRestoreRoutes } from './restore-routes.ts';
import { addSnapshotRoutes } from './snapshot-routes.ts';
import { addStandbyRoutes } from './standby-routes.ts';

export interface HttpRoutesOptions {
  readonly service: NodeService;
  readonly guard: ApiKeyGuard;
  readonly metrics: Metrics;
  readonly clock: Pick<Clock, 'monotonicMs' | 'wallMs'>;
  readonly logger: Logger;
  /** What the data directory was restored from; null: it was not. */
  readonly restored?: RestoredRecord | null;
  /** Restores of collections; null: no store is set. */
  readonly restores?: RestoresService | null;
}

/** Of what is not 503. */
const HTTP_STATUS: { readonly [Code in ErrorCode]?: 400 | 401 | 404 | 409 | 500 } = {
  ARGUMENT_INVALID: 400,
  COLLECTION_NOT_FOUND: 404,
  COLLECTION_EXISTS: 409,
  COLLECTION_NOT_READY: 409,
  INTERNAL: 500,
  REQUEST_INVALID: 400,
  UNAUTHENTICATED: 401,
  BACKUP_NOT_FOUND: 404,
  RESTORE_TARGET: 409,
};

const BEARER = /^Bearer (.+)$/i;

export function createHttpRoutes(options: HttpRoutesOptions): Hono {
  const { service, guard, metrics, logger, clock, restored = null, restores = null } = options;
  const app = new Hono();
  for (const path of ['/health', '/api/v1/health']) {
    app.get(path, (context) => {
      const { isHealthy, body } = healthOf(service.status());
      return context.json(body, isHealthy ? 200 : 503);
    });
  }
  app.use('*', async (context, next) => {
    const presented = BEARER.exec(context.req.header('authorization') ?? '')?.[1];
    guard.check(presented);
    await next();
  });
  app.get('/metrics', async (context) =>
    context.body(await metrics.text(), 200, { 'content-type': metrics.contentType }),
  );
  app.get('/api/v1/cluster/status', async (context) => context.json(await statusBody(service)));
  addBackupRoutes(app, service);
  addCareRoutes(app, service);
  addLogCheckRoutes(app, service);
  addStandbyRoutes(app, service);
  addCollectionRoutes(app, { service, clock });
  addAdminRoutes(app, service, clock);
  addSnapshotRoutes(app, service, clock);
  addRecoverRoutes(app, restores, clock);
  addRestoreRoutes(app, { restored, restores });
  app.notFound((context) => {
    const message =
      'no such path; GET /health, /metrics, /api/v1/cluster/status or connect a ' +
      `WebSocket to ${CLIENT_WEBSOCKET_PATH}`;
    return context.json({ error: new HoldfastError('REQUEST_INVALID', message).toBody() }, 404);
  });
  app.onError((thrown, context) => {
    const error = toHoldfastError(thrown);
    if (error.code === 'INTERNAL') {
      logger.error({ err: thrown, path: context.req.path }, 'an HTTP request failed');
    }
    const status = HTTP_STATUS[error.code] ?? 503;
    return context.json({ error: error.toBody() }, status);
  });
  return app;
}

export const CLIENT_WEBSOCKET_PATH = '/v1/ws';

/** What this node says about itself; asking the others is the caller's job. */
export interface ClusterStatusBody {
  readonly nodeId: string;
  readonly clusterId: string;
  readonly incarnation: string;
  readonly epoch: number;
  readonly role: string;
  readonly membership: string;
  readonly confIndex: number;
  readonly term: number;
  readonly leader: string | null;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly lastIndex: number;
  readonly durableIndex: number;
  readonly isReady: boolean;
  /** What the node does instead of serving; null when it has a replica. */
  readonly recovery: string | null;
  readonly failure: string | null;
  readonly collections: number;
  readonly sessions: number;
  /** `live` at the index of `stateDigest`; the others as of a look some seconds ago. */
  readonly rows: {
    readonly live: number;
    readonly tail: number;
    readonly graph: number;
    readonly deleted: number;
  };
  readonly stateDigest: { readonly digest: string; readonly appliedIndex: number };
  readonly peers: readonly {
    readonly nodeId: string;
    readonly matchIndex: number;
    readonly isRecentlyActive: boolean;
    readonly lagEntries: number;
  }[];
  readonly members: readonly {
    readonly nodeId: string;
    readonly incarnation: string;
    readonly role: string;
    readonly peerAddress: string;
    readonly publicAddress: string | null;
  }[];
}

async function statusBody(service: NodeService): Promise<ClusterStatusBody> {
  const { liveRowCount, ...stateDigest } = await service.stateDigest();
  const status = service.status();
  const { nodeId, clusterId, incarnation, epoch, role, term, leader, lanes } = status;
  const { membership, confIndex, recovery, failure } = status;
  const { commitIndex, appliedIndex, lastIndex, durableIndex, isReady } = status;
  const rows = { live: liveRowCount, tail: 0, graph: 0, deleted: 0 };
  for (const lane of lanes) {
    rows.tail += lane.tailRowCount;
    rows.graph += lane.graphRowCount;
    rows.deleted += lane.deletedRowCount;
  }
  return {
    ...{ nodeId, clusterId, incarnation, epoch, role, membership, confIndex, term, leader },
    ...{ commitIndex, appliedIndex, lastIndex, durableIndex, isReady, recovery, failure },
    collections: status.collections,
    sessions: status.sessions,
    rows,
    stateDigest,
    peers: status.peers,
    members: service.members(),
  };
}

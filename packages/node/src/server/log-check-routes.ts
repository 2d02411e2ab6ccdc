/** The log of a node over HTTP: its numbers, and a look at its chain. Behind the API key. */
import { HoldfastError } from '@holdfast/base';
import type { Context, Hono } from 'hono';
import type { LogCheckService, LogVerifyReport } from '../log-check/log-check-api.ts';
import type { NodeService } from '../service-api.ts';

export function addLogCheckRoutes(app: Hono, service: NodeService): void {
  app.get('/api/v1/admin/log', (context) => context.json(checkOf(service).stats()));
  app.post('/api/v1/admin/log/verify', async (context) => {
    const report = await checkOf(service).verify(fromOf(context));
    return context.json(reportView(report));
  });
}

/** What a page shows of a report: without what is for the node itself. */
export const reportView = ({ errors, ...report }: LogVerifyReport) => ({
  ...report,
  errors: errors.map(({ index, lastIndex, message }) => ({ index, lastIndex, message })),
});

export type LogVerifyView = ReturnType<typeof reportView>;

function fromOf(context: Context): number {
  const from = Number(context.req.query('from') ?? 0);
  if (Number.isSafeInteger(from) && from >= 0) return from;
  throw new HoldfastError('REQUEST_INVALID', 'from: must be an index of the log');
}

function checkOf({ logCheck }: NodeService): LogCheckService {
  if (logCheck !== null) return logCheck;
  throw new HoldfastError('REPAIRING', 'this node has no replica yet; ask again when it serves');
}

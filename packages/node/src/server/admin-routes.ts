/** What operators ask of a node beside backups and disks: tiers, failovers. Behind the API key. */
import { type Clock, HoldfastError } from '@holdfast/base';
import type { Hono } from 'hono';
import type { NodeService } from '../service-api.ts';
import { sloFactsOf, sloReport } from './slo.ts';

export function addAdminRoutes(
  app: Hono,
  service: NodeService,
  clock: Pick<Clock, 'wallMs'>,
): void {
  app.get('/api/v1/admin/slo', (context) => {
    const status = service.status();
    if (status.role !== 'leader') {
      const { leader, nodeId } = status;
      const whom = leader === null ? 'ask again when there is a leader' : `ask ${leader}`;
      throw new HoldfastError('NOT_LEADER', `${nodeId} does not lead: ${whom}`);
    }
    const backup = service.backup?.status() ?? null;
    return context.json(sloReport(sloFactsOf(status, backup, clock.wallMs())));
  });
  app.get('/api/v1/admin/failover/events', (context) =>
    context.json({ events: service.failovers() }),
  );
}

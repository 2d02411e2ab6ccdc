/**
 * Pages about the disk of a node: what scrubs and recoveries found and did, checks on demand, and
 * the settings that can be changed while it runs. Behind the API key, like every page but /health.
 */
import { HoldfastError } from '@holdfast/base';
import type { Context, Hono } from 'hono';
import { z } from 'zod';
import type { BreakerName, CareService } from '../heal/care-api.ts';
import type { RecoveryStats } from '../heal/recovery-stats.ts';
import type { NodeService, ReplicaActivity } from '../service-api.ts';
import { bodyOf } from './request-body.ts';

const DAY_MS = 86_400_000;
const settingsSchema = z.strictObject({
  scrubIntervalMs: z
    .int()
    .min(0)
    .max(30 * DAY_MS)
    .exactOptional(),
  scrubThrottleMbps: z.number().min(0).max(100_000).exactOptional(),
  isAutoRecoveryEnabled: z.boolean().exactOptional(),
  recoveryConcurrencyMax: z.int().min(1).max(64).exactOptional(),
  repairRetryCountMax: z.int().min(0).max(100).exactOptional(),
});

export function addCareRoutes(app: Hono, service: NodeService): void {
  app.get('/api/v1/admin/scrub', (context) => context.json(careOf(service).status()));
  app.post('/api/v1/admin/scrub', (context) => start(context, careOf(service)));
  app.put('/api/v1/admin/scrub', async (context) => {
    const care = careOf(service);
    care.configure(await bodyOf(context, settingsSchema));
    return context.json(care.status());
  });
  app.get('/api/v1/admin/recovery', (context) => {
    const since = Number(context.req.query('since') ?? 0);
    if (!Number.isSafeInteger(since)) {
      throw new HoldfastError('REQUEST_INVALID', 'since: must be the number of an event');
    }
    const care = careOf(service);
    const stats = care.status().recoveries;
    const { activity } = service.status();
    return context.json({ stats, groups: groupsOf(stats, activity), events: care.events(since) });
  });
  app.get('/api/v1/admin/workers', (context) =>
    context.json({ workers: careOf(service).workers() }),
  );
  app.get('/api/v1/admin/circuit-breakers', (context) =>
    context.json({ breakers: careOf(service).breakers() }),
  );
  app.post('/api/v1/admin/circuit-breakers/:name/reset', (context) => {
    const care = careOf(service);
    const before = care.probeBreaker(breakerNamed(context.req.param('name'), care));
    return context.json({ before, isProbed: before.state !== 'closed' }, 202);
  });
  app.get('/api/v1/admin/operations', (context) => context.json(careOf(service).operations()));
  app.post('/api/v1/admin/integrity-check', async (context) => {
    const care = careOf(service);
    const mode = context.req.query('mode') ?? 'sync';
    if (mode === 'async') return start(context, care);
    if (mode !== 'sync') throw new HoldfastError('REQUEST_INVALID', 'mode: must be sync or async');
    return context.json(await care.check());
  });
  app.get('/api/v1/admin/integrity-check', (context) => {
    const { isScrubbing, newest } = careOf(service).status();
    return context.json({ isRunning: isScrubbing, report: newest });
  });
}

/** The same counts by what they are about. */
function groupsOf(
  recoveries: RecoveryStats,
  { checkpoint, lanes, raft, snapshots }: ReplicaActivity,
) {
  const { actions, causes, ...recovery } = recoveries;
  const { outgoing: _outgoing, incoming: _incoming, ...sent } = snapshots;
  const isRepair = ({ name }: { readonly name: string }): boolean => REPAIR_ACTIONS.has(name);
  return {
    recovery,
    crash: lanes.map(({ lane, lost, restarts, state }) => ({ lane, state, restarts, lost })),
    rollback: { tailsReplaced: raft.logTruncations, stepDowns: raft.stepDowns },
    corruption: causes.filter(({ type }) => type === 'corruption' || type === 'divergence'),
    repair: actions.filter(isRepair),
    snapshot: { ...sent, checkpoint },
    healing: actions.filter((action) => !isRepair(action)),
  };
}

/** What makes files as they were; everything else heals what is not data. */
const REPAIR_ACTIONS: ReadonlySet<string> = new Set([
  ...['copyBlocks', 'newCheckpoint', 'rewriteRoot', 'rewriteIdentity', 'rewriteEpoch'],
  ...['rewriteTermAndVote', 'rewriteEntries', 'mendLogFile', 'resync'],
  ...['openDamagedState', 'fetchEntries'],
]);

function breakerNamed(text: string, care: CareService): BreakerName {
  const names = care.breakers().map(({ name }) => name);
  const name = names.find((known) => known === text);
  if (name !== undefined) return name;
  const message = `no breaker is named '${text}'; there are: ${names.join(', ')}`;
  throw new HoldfastError('REQUEST_INVALID', message);
}

/** Begins it and answers at once; the report is read with GET. */
function start(context: Context, care: CareService): Response {
  // A failure of the disk is in the log and in the next report.
  care.check().catch(() => undefined);
  return context.json(care.status(), 202);
}

function careOf(service: NodeService): CareService {
  const { care } = service;
  if (care !== null) return care;
  throw new HoldfastError('REPAIRING', 'this node has no replica yet; ask again when it serves');
}

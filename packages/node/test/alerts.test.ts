/**
 * Goal: every alert that is shipped names metrics that a node exposes, fires when it should, and is
 * quiet otherwise. Method: the page of metrics of a node over stores in memory, and made-up series.
 */
import { logIndex } from '@holdfast/base';
import t from 'tap';
import type { KeptSinkStatus } from '../src/backup/archive/archive-keeper.ts';
import type { BackupService } from '../src/backup/backup-api.ts';
import { SETTLE_MS } from '../src/backup/backup-scheduler.ts';
import type { NodeBackup } from '../src/backup/node-backup.ts';
import { Admission } from '../src/server/admission.ts';
import { Metrics } from '../src/server/metrics.ts';
import { fires, loadRules, parseExpression, type Series } from './support/alert-rules.ts';
import { openSite, pass } from './support/backup-node.ts';
import { FakeService } from './support/fake-service.ts';

const HOUR_S = 3_600;
const DAY_S = 24 * HOUR_S;
const START_S = 1_700_000_000;

const always =
  (value: number): Series =>
  () =>
    value;
/** One more every so many seconds. */
const every =
  (periodS: number): Series =>
  (atS) =>
    Math.floor(atS / periodS);
const madeBefore =
  (ageS: number): Series =>
  (_atS, nowS) =>
    nowS - ageS;
/** Not for long enough to be told. */
const during =
  (durationS: number): Series =>
  (atS) =>
    atS < durationS ? 1e6 : 0;

const CASES: Readonly<
  Record<string, { readonly fire: Series; readonly quiet: readonly Series[] }>
> = {
  BackupFailing: { fire: always(1), quiet: [always(0), during(HOUR_S - 60)] },
  BackupFailed: { fire: every(HOUR_S), quiet: [always(7)] },
  NoGoodBackup: { fire: madeBefore(2 * HOUR_S + 1), quiet: [madeBefore(2 * HOUR_S)] },
  RestoreTestFailed: { fire: always(1), quiet: [always(0)] },
  BackupTooOld: { fire: always(0), quiet: [madeBefore(DAY_S), always(START_S + DAY_S)] },
  ArchiveLagEarly: { fire: always(61), quiet: [always(60), during(45)] },
  ArchiveLag: { fire: always(301), quiet: [always(300)] },
  ArchiveStopped: { fire: always(1), quiet: [always(0)] },
  ArchiveGap: { fire: every(DAY_S), quiet: [always(3)] },
  BackupRetentionFailing: { fire: always(1), quiet: [during(DAY_S - 60)] },
  StandbyLag: { fire: always(1), quiet: [always(0), during(45)] },
  StandbyStopped: { fire: always(1), quiet: [always(0), during(45)] },
  PrimaryFenced: { fire: always(1), quiet: [always(0)] },
  FenceUnknown: { fire: always(1), quiet: [always(0)] },
  WalCircuitBreakerOpen: { fire: always(1), quiet: [always(0), during(45)] },
  LogCheckFailed: { fire: always(1), quiet: [always(0)] },
  HnswCorruptionDetected: { fire: every(HOUR_S), quiet: [always(2)] },
  CorruptionNotRepaired: { fire: always(2), quiet: [always(0), during(4 * 60)] },
  TrainingTaskRestartsHigh: { fire: every(5), quiet: [every(60), always(40)] },
  ReplicaLagEarly: { fire: always(10_001), quiet: [always(10_000), during(45)] },
  ReplicaLag: { fire: always(10_001), quiet: [always(10_000), during(4 * 60)] },
  Failover: { fire: every(HOUR_S), quiet: [always(4)] },
  NodeFailed: { fire: always(1), quiet: [always(0)] },
};

t.test('every alert fires when it should, and only then', async (t) => {
  const rules = loadRules();
  t.same(rules.map(({ alert }) => alert).sort(), Object.keys(CASES).sort());
  for (const rule of rules) {
    const { fire, quiet } = CASES[rule.alert] ?? { fire: always(0), quiet: [] };
    t.ok(fires(rule, fire, 2 * DAY_S, START_S), `${rule.alert} fires`);
    for (const [i, series] of quiet.entries()) {
      t.notOk(fires(rule, series, 2 * DAY_S, START_S), `${rule.alert} is quiet, case ${i}`);
    }
    t.ok(rule.annotations.summary.length > 0 && rule.annotations.action.length > 0, rule.alert);
    t.ok(['critical', 'warning'].includes(rule.labels.severity), rule.alert);
  }
});

t.test('every alert is about what a node exposes', async (t) => {
  const site = await openSite(['s1']);
  const backup = site.node('n1');
  backup.setLeading(true);
  const service = new FakeService();
  const admission = new Admission({ maxConnections: 1, inflightRequestCountMax: 1 } as never);
  const metrics = new Metrics({ service, admission, hasProcessMetrics: false });
  t.notMatch(await metrics.text(), /^holdfast_backup_success_total\{/m, 'without stores: nothing');
  service.backup = backup;
  t.notMatch(await metrics.text(), /^holdfast_last_backup_timestamp\{/m, 'not known yet');
  await pass(site, SETTLE_MS);
  const text = await metrics.text();
  const types = new Map(
    [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name, type]),
  );
  for (const { alert, expr } of loadRules()) {
    const { form, metric, selector } = parseExpression(expr);
    const isCounted = form === 'rate' || form === 'increase';
    t.equal(types.get(metric), isCounted ? 'counter' : 'gauge', `${alert}: ${metric}`);
    for (const [label, value] of Object.entries(selector)) {
      t.match(text, new RegExp(`^${metric}\\{[^}]*${label}="${value}"`, 'm'), alert);
    }
  }
  for (const line of [
    'holdfast_backup_success_total{type="full",sink="s1"} 1',
    'holdfast_backup_failure_total{type="full",sink="s1"} 0',
    'holdfast_backup_failures_in_row{type="verification",sink="s1"} 0',
    'holdfast_backup_prune_failed{sink="s1"} 0',
    'holdfast_backup_duration_seconds{type="full",sink="s1"} 0',
  ]) {
    t.ok(text.includes(`${line}\n`), line);
  }
  t.match(text, /^holdfast_backup_size_bytes\{type="full",sink="s1"\} [1-9]/m);
  const startedS = (site.maker.clock.wallMs() / 1_000).toString();
  t.ok(text.includes(`holdfast_last_backup_timestamp{sink="s1"} ${startedS}\n`));
  backup.setLeading(false);
  t.notMatch(
    await metrics.text(),
    /^holdfast_last_backup_timestamp\{/m,
    'the leader alone says it',
  );
  await backup.stop();
});

t.test('the lag of the archive is told per store, and what is not known is left out', async (t) => {
  const site = await openSite(['s1']);
  const backup = site.node('n1');
  const counts = { chunkCount: 1, entryCount: 2, storedSizeBytes: 3, lostRaceCount: 4 };
  const common = { ...counts, timeline: 'main', isRequired: true, lastError: null };
  const archive: readonly KeptSinkStatus[] = [
    {
      ...{ ...common, sink: 's1', state: 'waiting', archivedIndex: logIndex(41) },
      ...{ lagEntryCount: 5, lagMs: 2_500, failureCount: 6, gapCount: 7 },
    },
    {
      ...{ ...common, sink: 's2', state: 'alarmed', archivedIndex: null },
      ...{ lagEntryCount: 0, lagMs: 0, failureCount: 0, gapCount: 0 },
    },
  ];
  const service = new FakeService();
  const status = { ...backup.status(), archive };
  service.backup = { ...stubOf(backup), status: () => status };
  const admission = new Admission({ maxConnections: 1, inflightRequestCountMax: 1 } as never);
  const text = await new Metrics({ service, admission, hasProcessMetrics: false }).text();
  for (const line of [
    'holdfast_archive_lag_seconds{sink="s1"} 2.5',
    'holdfast_archive_lag_entries{sink="s1"} 5',
    'holdfast_archive_failures_total{sink="s1"} 6',
    'holdfast_archive_gaps_total{sink="s1"} 7',
    'holdfast_archived_index{sink="s1"} 41',
    'holdfast_archive_stopped{sink="s1"} 0',
    'holdfast_archive_stopped{sink="s2"} 1',
  ]) {
    t.ok(text.includes(`${line}\n`), line);
  }
  t.notOk(text.includes('holdfast_archived_index{sink="s2"}'));
  await backup.stop();
});

/** Calls beside `status` go to the node. */
const stubOf = (backup: NodeBackup): BackupService => ({
  status: () => backup.status(),
  create: (wishes) => backup.create(wishes),
  prune: (wishes) => backup.prune(wishes),
  abort: () => backup.abort(),
  list: () => backup.list(),
  restoreTests: () => backup.restoreTests(),
  download: (backupId) => backup.download(backupId),
  verify: (backupId) => backup.verify(backupId),
});

t.test('a rule that cannot be evaluated here is refused', async (t) => {
  for (const text of ['up == 0', 'sum(holdfast_term) > 1', 'holdfast_term > 1 and up > 0']) {
    t.throws(() => parseExpression(text), /cannot evaluate/, text);
  }
});

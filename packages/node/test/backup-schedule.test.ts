/**
 * Goal: backups are made when they are due, by whoever leads, and old ones go, whatever fails
 * meanwhile. Method: a node over stores in memory, on a clock that only the test moves; its first
 * moment is 2023-11-14T22:13:20Z.
 */
import { filePrefix } from '@holdfast/storage';
import t from 'tap';
import type { ScheduledTaskStatus } from '../src/backup/backup-api.ts';
import { SETTLE_MS } from '../src/backup/backup-scheduler.ts';
import type { NodeBackup } from '../src/backup/node-backup.ts';
import { parseSchedule } from '../src/backup/schedule.ts';
import { CLUSTER, errorOf } from './support/backup.ts';
import { openSite, pass, typesIn } from './support/backup-node.ts';
import { until } from './support/until.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const ONLY_LAST = {
  ...{ keepHourly: 0, keepDaily: 0, keepWeekly: 0, keepMonthly: 0, keepLast: 1 },
  ...{ keepWithinMs: null, logRetentionMs: null },
};

function taskOf(backup: NodeBackup, kind: string, sink = 'memory'): ScheduledTaskStatus {
  const found = backup.status().schedule.find((one) => one.kind === kind && one.sink === sink);
  if (found === undefined) throw new Error(`${kind} to ${sink} is scheduled`);
  return found;
}

const nextOf = (backup: NodeBackup, kind: string): string =>
  new Date(taskOf(backup, kind).nextMs ?? 0).toISOString();

t.test('a leader without any backup makes a full one, then follows the schedule', async (t) => {
  const site = await openSite();
  const backup = site.node('n1');
  await pass(site, HOUR_MS);
  t.same(await typesIn(backup), [], 'who does not lead makes none');
  t.equal(taskOf(backup, 'full').nextMs, null);
  backup.setLeading(true);
  await pass(site, SETTLE_MS);
  t.same(await typesIn(backup), ['full'], 'which is an incremental one too');
  t.equal(nextOf(backup, 'full'), '2023-11-15T02:00:00.000Z');
  t.equal(nextOf(backup, 'incremental'), '2023-11-15T00:00:00.000Z');
  await site.maker.write(5);
  await pass(site, HOUR_MS);
  t.same(await typesIn(backup), ['full', 'incremental']);
  await pass(site, HOUR_MS - MINUTE_MS);
  t.same(await typesIn(backup), ['full', 'incremental'], 'nothing was written, so nothing is new');
  t.equal(taskOf(backup, 'incremental').failedCount, 0);
  await pass(site, 2 * HOUR_MS);
  t.same(await typesIn(backup), ['full', 'incremental', 'full'], 'the one of the night');
  t.same(site.errors, []);
  await backup.stop();
  t.equal(site.maker.clock.nextDueMs(), undefined, 'no timer is left');
});

t.test('a store that fails is tried again alone, and everybody can see it', async (t) => {
  const site = await openSite(['good', 'bad']);
  const [, bad] = site.sinks;
  const backup = site.node('n1');
  const heal = bad?.fail({ operation: 'put', times: Number.POSITIVE_INFINITY });
  backup.setLeading(true);
  await pass(site, SETTLE_MS);
  t.same(await typesIn(backup, 'good'), ['full']);
  t.same(await typesIn(backup, 'bad'), []);
  const first = taskOf(backup, 'full', 'bad');
  t.match(first, { failuresInARow: 1, lastMs: null, lastError: { code: 'SINK_UNAVAILABLE' } });
  t.equal(first.nextMs, site.maker.clock.wallMs() + MINUTE_MS);
  t.ok(site.errors.some((message) => message.startsWith('the scheduled full failed')));
  t.same(backup.status().newestMs, { good: taskOf(backup, 'full', 'good').lastMs, bad: null });
  await pass(site, 3 * MINUTE_MS);
  t.equal(taskOf(backup, 'full', 'bad').failuresInARow, 3);
  t.same(await typesIn(backup, 'good'), ['full'], 'the other is left in peace');
  heal?.();
  await pass(site, 4 * MINUTE_MS);
  t.same(await typesIn(backup, 'bad'), ['full']);
  t.match(taskOf(backup, 'full', 'bad'), { failuresInARow: 0, lastError: null });
  const tallies = backup.status().tallies.filter(({ sink }) => sink === 'bad');
  // The incremental one failed beside the full one, for the same reason.
  t.ok(tallies.every(({ failedCount, type }) => type !== 'full' || failedCount === 3));
  bad?.fail({ operation: 'put', times: Number.POSITIVE_INFINITY });
  await site.maker.write(5);
  await pass(site, 2 * HOUR_MS);
  t.ok(taskOf(backup, 'incremental', 'bad').failuresInARow > 0);
  backup.setLeading(false);
  t.equal(taskOf(backup, 'incremental', 'bad').failuresInARow, 0, 'another leader tells its own');
  await backup.stop();
});

t.test('a store that cannot be asked gets no backup before it can', async (t) => {
  const site = await openSite();
  const [sink] = site.sinks;
  const backup = site.node('n1');
  const heal = sink?.fail({ operation: 'list', times: Number.POSITIVE_INFINITY });
  backup.setLeading(true);
  await pass(site, SETTLE_MS);
  t.match(taskOf(backup, 'full'), { failuresInARow: 1, lastError: { code: 'SINK_UNAVAILABLE' } });
  t.same(backup.status().newestMs, {}, 'unknown is not never');
  heal?.();
  await pass(site, MINUTE_MS);
  t.same(await typesIn(backup), ['full']);
  await backup.stop();
});

t.test('a new leader repeats nothing and skips nothing', async (t) => {
  const site = await openSite();
  const first = site.node('n1');
  const second = site.node('n2');
  first.setLeading(true);
  await pass(site, SETTLE_MS);
  first.setLeading(false);
  t.equal(site.maker.clock.nextDueMs(), undefined);
  second.setLeading(true);
  await pass(site, 10 * MINUTE_MS);
  t.same(await typesIn(second), ['full'], 'the one of the leader before is enough');
  t.equal(nextOf(second, 'full'), '2023-11-15T02:00:00.000Z');
  second.setLeading(false);
  await pass(site, 3 * DAY_MS);
  first.setLeading(true);
  await pass(site, SETTLE_MS);
  t.same(await typesIn(first), ['full', 'full'], 'one for all that were missed');
  await pass(site, 10 * MINUTE_MS);
  t.same(await typesIn(first), ['full', 'full']);
  await Promise.all([first.stop(), second.stop()]);
});

t.test('who loses the leadership breaks off what the schedule began', async (t) => {
  const site = await openSite();
  const backup = site.node('n1');
  let isHeld = true;
  const opened = site.node('n2');
  const held = holdPuts(site.sinks[0] as never, () => isHeld);
  backup.setLeading(true);
  site.maker.clock.advance(SETTLE_MS);
  await until(() => held.count > 0);
  backup.setLeading(false);
  isHeld = false;
  await until(() => backup.status().underWay === null);
  t.same(await typesIn(opened), [], 'of what was broken off nothing can be seen');
  t.equal(backup.status().lastError?.code, 'BACKUP_ABORTED');
  await Promise.all([backup.stop(), opened.stop()]);
});

t.test('old backups go after a good scheduled one', async (t) => {
  const site = await openSite();
  const backup = site.node('n1', { retention: ONLY_LAST });
  backup.setLeading(true);
  await pass(site, SETTLE_MS);
  const [before] = (await backup.list())[0]?.backups ?? [];
  await site.maker.write(5);
  await pass(site, 4 * HOUR_MS);
  const backups = (await backup.list())[0]?.backups ?? [];
  t.equal(backups.length, 1);
  t.not(backups[0]?.backupId, before?.backupId);
  t.match(backup.status().retention, [{ sink: 'memory', error: null }]);
  await backup.stop();
});

t.test('a retention that fails is no failure of the backup', async (t) => {
  const site = await openSite();
  const [sink] = site.sinks;
  const backup = site.node('n1', { retention: ONLY_LAST });
  const files = filePrefix(CLUSTER);
  // The backup itself looks once.
  sink?.fail({ operation: 'list', keyContains: files, skip: 1, times: Number.POSITIVE_INFINITY });
  backup.setLeading(true);
  await pass(site, SETTLE_MS);
  t.match(backup.status().retention, [{ error: { code: 'SINK_UNAVAILABLE' } }]);
  t.match(taskOf(backup, 'full'), { failuresInARow: 0 });
  t.same(await typesIn(backup), ['full']);
  await backup.stop();
});

t.test('backups and retention refuse each other', async (t) => {
  const site = await openSite();
  const backup = site.node('n1');
  const making = backup.create({ type: 'full' });
  const early = await errorOf(() => backup.prune({}));
  t.equal(early?.code, 'OVERLOADED');
  t.match(early?.message, /backup .* is under way/);
  await making;
  const pruning = backup.prune({ isDryRun: true, retentionDays: 1 });
  t.ok(backup.status().isPruning);
  t.equal((await errorOf(() => backup.create({ type: 'full' })))?.code, 'OVERLOADED');
  t.equal((await errorOf(() => backup.prune({})))?.code, 'OVERLOADED');
  t.match(await pruning, [{ kind: 'success', sink: 'memory', report: { removedBackups: [] } }]);
  t.notOk(backup.status().isPruning);
  t.same(backup.status().retention, [], 'a question leaves no trace');
  const error = await errorOf(() => backup.prune({ sinks: ['elsewhere'] }));
  t.equal(error?.code, 'REQUEST_INVALID');
  await backup.stop();
});

t.test('the schedule waits for a backup that somebody else began', async (t) => {
  const site = await openSite();
  let isHeld = true;
  const held = holdPuts(site.sinks[0] as never, () => isHeld);
  const backup = site.node('n1');
  backup.setLeading(true);
  const making = backup.create({ type: 'full' });
  await until(() => held.count > 0);
  await pass(site, SETTLE_MS);
  t.match(taskOf(backup, 'full'), { failuresInARow: 0, failedCount: 0 });
  isHeld = false;
  await making;
  await pass(site, MINUTE_MS);
  t.same(await typesIn(backup), ['full'], 'and counts it');
  await backup.stop();
});

t.test('days that are asked for replace the retention of the settings', async (t) => {
  const site = await openSite();
  const backup = site.node('n1');
  for (let day = 0; day < 6; day++) {
    await site.maker.write(5);
    await backup.create({ type: 'full' });
    site.maker.clock.advance(DAY_MS);
  }
  const [asked] = await backup.prune({ isDryRun: true, retentionDays: 4 });
  t.equal(asked?.kind === 'success' ? asked.report.removedBackups.length : null, 2);
  const [kept] = await backup.prune({});
  t.equal(kept?.kind === 'success' ? kept.report.removedBackups.length : null, 0);
  t.equal((await typesIn(backup)).length, 6);
  await backup.stop();
});

t.test('the newest backup is read back on its schedule, and damage is told', async (t) => {
  const site = await openSite();
  const [sink] = site.sinks;
  const verification = parseSchedule('0 4 * * *');
  const schedules = { full: null, incremental: null, verification };
  const backup = site.node('n1', { schedules });
  await backup.create({ type: 'full' });
  backup.setLeading(true);
  await pass(site, SETTLE_MS);
  t.equal(nextOf(backup, 'verification'), '2023-11-15T04:00:00.000Z');
  await pass(site, 8 * HOUR_MS);
  t.match(taskOf(backup, 'verification'), { failuresInARow: 0 });
  t.equal(nextOf(backup, 'verification'), '2023-11-16T04:00:00.000Z');
  for (const key of sink?.keys ?? []) {
    if (key.startsWith(filePrefix(CLUSTER))) sink?.tamper(key, new Uint8Array(9));
  }
  await pass(site, DAY_MS);
  const after = taskOf(backup, 'verification');
  t.ok(after.failuresInARow > 0, 'it fails, and is tried again');
  t.equal(after.lastError?.code, 'BACKUP_CORRUPT');
  await backup.stop();
});

/** Whatever puts waits until it may go on. */
function holdPuts(
  sink: { put: (...given: never[]) => Promise<unknown> },
  isHeld: () => boolean,
): { count: number } {
  const held = { count: 0 };
  const put = sink.put.bind(sink);
  sink.put = async (...given) => {
    held.count += 1;
    await until(() => !isHeld());
    return put(...given);
  };
  return held;
}

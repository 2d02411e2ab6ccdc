/**
 * Goal: a standby begins from a backup as well as from nothing, stops with a reason where it cannot
 * follow, and what it becomes has a history of its own that can be restored.
 * Method: as standby.test.ts, with the shipped code of backups and restores between the clusters.
 */
import { clusterId, DEFAULT_GROUP_ID, SeededRandom } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import { encodeLogGap, epochKey, NO_KEYS } from '@holdfast/storage';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import t from 'tap';
import { endOf } from '../src/backup/archive/archive-store.ts';
import type { RestoreTarget } from '../src/backup/archive/archive-target.ts';
import { backupSource } from '../src/backup/restore/backup-source.ts';
import { layDirectory } from '../src/backup/restore/lay-directory.ts';
import {
  archiveOfPlan,
  backupOfPlan,
  beginRestoredTimeline,
  planFromStore,
  type RestoreStore,
} from '../src/backup/restore/plan-from-store.ts';
import { readRestorePlan, writeRestorePlan } from '../src/backup/restore/restore-plan.ts';
import { MemorySink } from '../src/backup/testing/memory-sink.ts';
import { Admission } from '../src/server/admission.ts';
import { Metrics } from '../src/server/metrics.ts';
import { DATA_DIRECTORY } from '../src/testing/sim-node.ts';
import { hasher, storeOf } from './support/archive.ts';
import { FakeService } from './support/fake-service.ts';
import { createDocs, positionOf, TestSite } from './support/sites.ts';

const SEED = Number(process.env.HOLDFAST_TEST_SEED ?? 11);
const QUICK = { quietMs: 500, fenceLookIntervalMs: 1_000 };
t.comment(`HOLDFAST_TEST_SEED=${SEED}`);

async function startPrimary(sinks: readonly MemorySink[]): Promise<TestSite> {
  const primary = await TestSite.start(sinks, { seed: SEED, nodeCount: 1, site: QUICK });
  await primary.execute(createDocs);
  await primary.upsert([1, 2, 3], 1);
  await primary.archived();
  return primary;
}

async function startStandby(sinks: readonly MemorySink[], primary: TestSite): Promise<TestSite> {
  const standby = await TestSite.start(sinks, { seed: SEED + 1, nodeCount: 1, site: QUICK });
  await standby.begin(primary);
  await standby.following(await appliedBy(primary));
  return standby;
}

async function appliedBy(site: TestSite): Promise<number> {
  await site.archived();
  const { node } = await site.leader();
  return node.node.replica.applier.appliedIndex;
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'ok',
    (thrown: { readonly code?: string }) => thrown.code ?? String(thrown),
  );
}

const LATEST: RestoreTarget = { kind: 'latest' };

/** One node, laid by a plan and started. */
async function restored(
  sink: MemorySink,
  wish: { readonly of: string; readonly isStandby: boolean; readonly seed: number },
): Promise<TestSite> {
  const random = new SeededRandom(wish.seed);
  const mintHexId = () =>
    Array.from({ length: 4 }, () => random.nextU32().toString(16).padStart(8, '0')).join('');
  const store: RestoreStore = {
    ...{ sink, hasher },
    sealing: { compression: 'none', keys: NO_KEYS, random: (size) => new Uint8Array(size) },
  };
  const { plan: made } = await planFromStore(store, {
    ...{ clusterId: wish.of, timeline: null, target: LATEST, backupId: null, mintHexId },
    members: [{ nodeId: 'n1', address: 'n1:2', clientAddress: 'n1:1' }],
    ...{ group: DEFAULT_GROUP_ID, createdMs: 1_800_000_000_000, isStandby: wish.isStandby },
  });
  const fileSystem = new MemoryFileSystem();
  // Every node of a plan reads it from its file.
  writeRestorePlan(fileSystem, 'plan.json', made);
  const plan = readRestorePlan(fileSystem, 'plan.json');
  await beginRestoredTimeline(store, plan);
  const { manifest, reader } = await backupOfPlan(store, plan);
  await layDirectory({
    ...{
      fileSystem,
      directory: DATA_DIRECTORY,
      plan,
      nodeId: 'n1',
      hasher,
      clock: new VirtualClock(),
    },
    source: backupSource(reader, manifest, fileSystem),
    archive: archiveOfPlan(store, plan),
    wal: { fileSizeBytes: 256 * 1024 },
  });
  const site = TestSite.make([sink], { seed: wish.seed, nodeCount: 1, site: QUICK });
  site.cluster.node(0).fileSystem = fileSystem;
  await site.cluster.start();
  await site.cluster.leader();
  return site;
}

t.test(
  'a standby made of a backup follows on, and has a history of its own after it',
  async (t) => {
    const sink = new MemorySink();
    const primary = await startPrimary([sink]);
    const { backup } = await primary.leader();
    await primary.resolve(backup.create({ type: 'full' }));
    await primary.upsert([4], 2);
    await primary.archived();
    const standby = await restored(sink, {
      of: primary.clusterId,
      isStandby: true,
      seed: SEED + 5,
    });
    t.ok(positionOf(standby.cluster.node(0)) > 0, 'it begins where the laid log ends');
    t.equal(await codeOf(standby.upsert([5], 1)), 'READ_ONLY');
    const { backup: own } = await standby.leader();
    t.equal(await codeOf(standby.resolve(own.create({ type: 'full' }))), 'READ_ONLY', 'no backups');
    await primary.upsert([5], 3);
    await standby.following(await appliedBy(primary));
    t.same(await standby.contents(), await primary.contents());
    t.notOk(
      sink.keys.some((key) => key.startsWith(standby.clusterId)),
      'it archives nothing',
    );

    const { standby: site } = await standby.leader();
    const promoted = await standby.resolve(site.promote({ isForced: false }));
    await standby.upsert([6], 4);
    await standby.archived();
    // A full backup is made by itself: the new history begins with a gap.
    const isBackedUp = () => own.status().succeededCount > 0;
    await standby.cluster.scheduler.until(isBackedUp, 60_000);
    await standby.upsert([7], 5);
    await standby.archived();
    const timeline = `${standby.clusterId}/timelines/${promoted.timeline}`;
    t.ok(sink.keys.includes(timeline), 'its own timeline');
    t.equal(own.status().archive[0]?.gapCount, 1);
    t.notOk(sink.keys.some((key) => key.startsWith(`${standby.clusterId}/main/`)));
    // The history of its parent is whole, and its own is not: nobody can follow it from nothing.
    const late = await TestSite.start([sink], { seed: SEED + 9, nodeCount: 1, site: QUICK });
    const begun = late.begin(standby);
    await t.rejects(begun, {
      code: 'RESTORE_TARGET',
      message: /never reached it: make the standby/,
    });
    t.equal(late.cluster.node(0).node.replica.meta.site.kind, 'primary', 'and nothing was begun');

    // What was promoted can be restored, by its own id; what it was says nothing about the new one.
    const again = await restored(sink, { of: standby.clusterId, isStandby: false, seed: SEED + 6 });
    const rows = await again.rows();
    t.same([rows.size, rows.get(5), rows.get(6), rows.get(7)], [7, 3, 4, 5]);
    await again.advance(1_000);
    t.match(await again.upsert([8], 6), {});
    t.match(again.cluster.node(0).node.replica.meta.site, { kind: 'primary', promotion: null });
    // And so can what was before, from the history of the old primary.
    const before = await restored(sink, {
      of: primary.clusterId,
      isStandby: false,
      seed: SEED + 7,
    });
    t.same([...(await before.rows()).keys()].length, 5);
  },
);

t.test('a cluster restored from a fenced one takes writes', async (t) => {
  const sink = new MemorySink();
  const primary = await startPrimary([sink]);
  const standby = await startStandby([sink], primary);
  const { standby: site } = await standby.leader();
  await standby.resolve(site.promote({ isForced: false }));
  await primary.advance(2_000);
  t.equal(await codeOf(primary.upsert([9], 1)), 'FENCED');
  const { backup } = await primary.leader();
  await primary.resolve(backup.create({ type: 'full' }));
  const again = await restored(sink, { of: primary.clusterId, isStandby: false, seed: SEED + 8 });
  await again.advance(1_000);
  t.match(await again.upsert([9], 1), {});
});

t.test('a gap or damage stops a standby with the next step, and mended it goes on', async (t) => {
  const sink = new MemorySink();
  const primary = await startPrimary([sink]);
  const standby = await startStandby([sink], primary);
  const index = positionOf(standby.cluster.node(0));
  await primary.upsert([4], 2);
  await primary.archived();
  const key = storeOf(sink, 'main', clusterId(primary.clusterId)).logKey(index + 1);
  const bytes = sink.contentOf(key) ?? new Uint8Array(0);
  sink.tamper(
    key,
    bytes.map((byte, i) => (i === 100 ? byte ^ 1 : byte)),
  );
  await standby.advance(1_000);
  const { node, standby: site } = await standby.leader();
  const { follower } = site.status();
  t.match(follower, { state: 'alarmed', lastError: { code: 'BACKUP_CORRUPT' } });
  t.match(follower.lastError?.message, /make a new standby from a newer backup/);
  t.equal(positionOf(node), index, 'nothing of it was applied');
  t.equal(await codeOf(standby.resolve(site.promote({ isForced: false }))), 'BACKUP_CORRUPT');
  sink.tamper(key, bytes);
  await standby.following(await appliedBy(primary));
  t.match(site.status().follower, { state: 'following', lastError: null });

  // Somebody's log was compacted before it was archived.
  const store = storeOf(sink, 'main', clusterId(primary.clusterId));
  const last = await store.lastLogIndex(1);
  const object = await store.readLogObject(last ?? 0);
  if (object === null) throw new Error('the archive has an end');
  const before = endOf(object);
  const gap = encodeLogGap({
    ...{ clusterId: clusterId(primary.clusterId), timeline: 'main', before },
    end: { ...before, index: (before.index + 5) as typeof before.index },
    ...{ reason: 'compacted', createdMs: 0 },
  });
  await store.putLogObject((before.index + 1) as typeof before.index, gap.bytes);
  await standby.advance(1_000);
  t.match(site.status().follower, { state: 'alarmed', lastError: { code: 'ARCHIVE_GAP' } });
  const message = site.status().follower.lastError?.message ?? '';
  const what = `the archive cannot be followed from index ${before.index} to its end: `;
  t.ok(message.startsWith(what), message);
  t.equal(await codeOf(standby.resolve(site.promote({ isForced: false }))), 'ARCHIVE_GAP');
  const promoted = await standby.resolve(site.promote({ isForced: true }));
  t.equal(promoted.index, before.index, 'by force with what is there');
});

t.test('an old primary is fenced by any of its stores', async (t) => {
  const [first, second] = [new MemorySink({ name: 'a' }), new MemorySink({ name: 'b' })];
  const primary = await startPrimary([first, second]);
  const standby = await startStandby([first, second], primary);
  const { standby: site } = await standby.leader();
  const copy = epochKey(primary.clusterId, 2);
  await standby.resolve(site.promote({ isForced: false }));
  t.ok(first.keys.includes(copy) && second.keys.includes(copy), 'each store has the epoch');
  first.fail({ operation: 'list', keyContains: '/epochs/', times: 1_000 });
  await primary.advance(2_000);
  t.equal(await codeOf(primary.upsert([9], 1)), 'FENCED');
});

t.test('a standby that falls behind says so, in status and metrics', async (t) => {
  const sink = new MemorySink();
  const primary = await startPrimary([sink]);
  const standby = await startStandby([sink], primary);
  const { node, standby: site } = await standby.leader();
  const service = new FakeService();
  const admission = new Admission({ maxConnections: 1, inflightRequestCountMax: 1 } as never);
  const metrics = new Metrics({ service, admission, hasProcessMetrics: false });
  t.notMatch(await metrics.text(), /^holdfast_standby_lag_seconds [0-9]/m, 'without one: nothing');
  service.standby = site;
  const heal = sink.fail({ operation: 'list', times: 1_000 });
  await standby.advance(12_000);
  t.match(site.status().follower, { isLagExceeded: true, lastError: { code: 'SINK_UNAVAILABLE' } });
  const text = await metrics.text();
  for (const line of [
    'holdfast_standby 1',
    'holdfast_fenced 0',
    'holdfast_standby_lag_exceeded 1',
    'holdfast_standby_stopped 0',
    `holdfast_standby_position ${positionOf(node)}`,
  ]) {
    t.ok(text.includes(`${line}\n`), line);
  }
  t.match(text, /^holdfast_standby_lag_seconds 1[0-9]/m);
  heal();
  await standby.advance(31_000);
  t.ok((await metrics.text()).includes('holdfast_standby_lag_exceeded 0\n'));
});

t.test('only an empty cluster begins from nothing, and only where the archive does', async (t) => {
  const sink = new MemorySink();
  const primary = await startPrimary([sink]);
  const other = await TestSite.start([sink], { seed: SEED + 3, nodeCount: 1, site: QUICK });
  const { standby } = await other.leader();
  const begin = (id: string) => codeOf(other.resolve(standby.begin(id)));
  t.equal(await begin('nonsense'), 'REQUEST_INVALID');
  t.equal(await begin(other.clusterId), 'REQUEST_INVALID');
  t.equal(await begin('0123456789abcdef0123456789abcdef'), 'BACKUP_NOT_FOUND');
  await other.execute({ ...createDocs, name: 'own' } as never);
  t.equal(await begin(primary.clusterId), 'REQUEST_INVALID');
  t.equal(await codeOf(other.resolve(standby.promote({ isForced: true }))), 'PROMOTION_REFUSED');
  const { standby: site } = await primary.leader();
  t.equal(await codeOf(primary.resolve(site.differences(1))), 'REQUEST_INVALID');
  const third = await TestSite.start([sink], { seed: SEED + 4, nodeCount: 1, site: QUICK });
  // Retention has removed the beginning.
  await sink.remove([storeOf(sink, 'main', clusterId(primary.clusterId)).logKey(1)]);
  const { standby: late } = await third.leader();
  t.equal(await codeOf(third.resolve(late.begin(primary.clusterId))), 'RESTORE_TARGET');
});

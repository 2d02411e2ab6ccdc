/**
 * Goal: a cluster that is made of a backup and the archive has exactly the state of its target, on
 * every node, or is not made at all. Method: simulated clusters with a history, backed up with real
 * checkpoints; laid into disks that lose their power afterwards; started as whole nodes; every
 * operation of sink and disk failing in its turn.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HoldfastError, logIndex, must, SILENT_LOGGER } from '@holdfast/base';
import { NodeFileSystem, readIdentity, readLogs } from '@holdfast/storage';
import { CrashSignal, MemoryFileSystem } from '@holdfast/storage/testing';
import t, { type Test } from 'tap';
import { chooseBackup } from '../src/backup/restore/choose-backup.ts';
import type { LaidDirectory, LayOptions } from '../src/backup/restore/lay-directory.ts';
import { layDirectory } from '../src/backup/restore/lay-directory.ts';
import type { RestorePlan } from '../src/backup/restore/restore-plan.ts';
import {
  planRestore,
  readRestorePlan,
  restorePlanDigest,
  timelineOfPlan,
  writeRestorePlan,
} from '../src/backup/restore/restore-plan.ts';
import {
  knownRestore,
  RESTORED_FILE_NAME,
  readRestored,
} from '../src/backup/restore/restored-record.ts';
import {
  markRestoring,
  refuseRestoring,
  unmarkRestoring,
} from '../src/backup/restore/restoring-marker.ts';
import { swapDirectory } from '../src/backup/restore/swap-directory.ts';
import { CLUSTER_SECRET_FILE_NAME, writeSecretFile } from '../src/config/secrets.ts';
import { openEmbedded } from '../src/embedded.ts';
import { Admission } from '../src/server/admission.ts';
import { ApiKeyGuard } from '../src/server/api-key.ts';
import { createHttpRoutes } from '../src/server/http-routes.ts';
import { Metrics } from '../src/server/metrics.ts';
import { SYSTEM_CLOCK } from '../src/system-time.ts';
import { SimCluster } from '../src/testing/sim-cluster.ts';
import { DATA_DIRECTORY } from '../src/testing/sim-node.ts';
import { MAIN, readerOf } from './support/archive.ts';
import { FakeService } from './support/fake-service.ts';
import type { History } from './support/restored.ts';
import { layOptions, makeHistory, planFor, shardDigests, upsert } from './support/restored.ts';

const SEED = Number(process.env.HOLDFAST_TEST_SEED ?? 31);

/** Lays all nodes, cuts the power, and starts them as a cluster. */
async function restored(t: Test, history: History, plan: RestorePlan): Promise<SimCluster> {
  const cluster = new SimCluster({ nodeCount: 3, seed: SEED + 1 });
  const laid: LaidDirectory[] = [];
  for (const node of cluster.nodes) {
    const fileSystem = new MemoryFileSystem();
    laid.push(await layDirectory(layOptions(history, plan, node.id, fileSystem)));
    fileSystem.crash({ seed: SEED, keepUnsynced: 'none' });
    node.fileSystem = fileSystem;
  }
  t.strictSame(new Set(laid.map((one) => JSON.stringify(one))).size, 1, 'all nodes lay the same');
  t.equal(laid[0]?.lastIndex, plan.parent.index + 1);
  await cluster.start();
  return cluster;
}

t.test(
  'a cluster is brought back at an index, a time, the end and the backup itself',
  async (t) => {
    const history = await makeHistory(SEED);
    const { digestAt, lastIndex, manifest, reader } = history;
    const backupIndex = manifest.root.meta.index;
    const indexes = [...digestAt.keys()].filter((index) => index >= backupIndex);
    t.ok(indexes.length > 8, `${indexes.length} indexes behind the backup of ${backupIndex}`);
    const at = (index: number) => must(indexes[index]);
    const middle = at(Math.floor(indexes.length / 2));
    const { timestampMs } = await reader.pointAt(logIndex(middle));
    const targets = [
      [{ kind: 'index', index: at(0) }, at(0)],
      [{ kind: 'index', index: at(3) }, at(3)],
      [{ kind: 'time', timestampMs }, (await reader.resolve({ kind: 'time', timestampMs })).index],
      [{ kind: 'latest' }, lastIndex],
    ] as const;
    for (const [target, index] of targets) {
      const plan = await planFor(history, target);
      t.equal(plan.parent.index, index);
      const cluster = await restored(t, history, plan);
      const leader = await cluster.leader();
      const states = await cluster.digests();
      t.equal(new Set(states.map(({ digest }) => digest)).size, 1, 'replicas agree');
      const expected = must(digestAt.get(index), `a digest at ${index}`);
      for (const node of cluster.nodes) {
        t.equal(
          await shardDigests(cluster, node),
          expected,
          `${target.kind}: ${node.id} at ${index}`,
        );
      }
      const { clusterId } = readIdentity(leader.fileSystem, DATA_DIRECTORY);
      t.equal(clusterId, plan.clusterId);
      t.not(clusterId, manifest.clusterId, 'the old members cannot come back');
      const members = leader.node.replica.raftStatus().conf.members.map((member) => member.nodeId);
      t.same(members.sort(), ['n1', 'n2', 'n3']);
      await cluster.execute(leader, upsert([1, 2, 3], 99));
      t.not(await shardDigests(cluster, leader), expected, 'it takes writes');
      for (const node of cluster.nodes) node.kill();
    }
  },
);

t.test('a restored directory starts as any other, with the rows of its target', async (t) => {
  const parent = mkdtempSync(join(tmpdir(), 'holdfast-restore-'));
  t.teardown(() => rmSync(parent, { recursive: true, force: true }));
  const dataDir = join(parent, 'data');
  const history = await makeHistory(SEED + 1, 14);
  const index = must([...history.rowsAt.keys()].at(-3));
  const plan = await planFor(history, { kind: 'index', index }, 1, ['embedded']);
  const fileSystem = new NodeFileSystem();
  const options = { ...layOptions(history, plan, 'embedded', fileSystem), directory: dataDir };
  const settings = { laneCount: '1' };
  const heal = history.sink.fail({ operation: 'get', keyContains: '/log/' });
  await t.rejects(layDirectory(options), { code: 'SINK_UNAVAILABLE' });
  heal();
  await t.rejects(openEmbedded({ dataDir, settings }), { code: 'DATA_DIR_FOREIGN' });
  await layDirectory(options);
  writeSecretFile(join(dataDir, CLUSTER_SECRET_FILE_NAME), 'only-for-this-one-test');
  markRestoring(fileSystem, dataDir, {
    planDigest: restorePlanDigest(plan),
    nodeId: 'embedded',
    failedCount: 0,
  });
  await t.rejects(openEmbedded({ dataDir, settings }), { code: 'RECOVERY_UNFINISHED' });
  unmarkRestoring(fileSystem, dataDir);
  const client = await openEmbedded({ dataDir, settings });
  t.teardown(() => client.close());
  const ids = Array.from({ length: 40 }, (_row, id) => id);
  const found = await client.collection('docs').get(ids, { withVector: true });
  const rows = found.map(
    ({ id, vector }) => [Number(id), (vector?.[0] ?? 0) - Number(id)] as const,
  );
  t.strictSame(new Map(rows.sort(byId)), new Map([...must(history.rowsAt.get(index))].sort(byId)));
});

const byId = (left: readonly [number, number], right: readonly [number, number]): number =>
  left[0] - right[0];

t.test('each operation of the sink may fail, and the restore is run again', async (t) => {
  const history = await makeHistory(SEED + 2, 12);
  const plan = await planFor(history, { kind: 'latest' });
  const whole = await layDirectory(layOptions(history, plan, 'n1', new MemoryFileSystem()));
  for (let number = 1; ; number++) {
    const fileSystem = new MemoryFileSystem();
    // A reader of its own: what it has read of timelines is asked for again.
    const reader = readerOf(history.sink, MAIN, plan.parent.clusterId);
    const fresh = { ...history, reader };
    const options = layOptions(fresh, plan, 'n1', fileSystem);
    const heal = history.sink.failOperation(number);
    const failure = await layDirectory(options).then(
      () => null,
      (thrown: unknown) => thrown,
    );
    heal();
    if (failure === null) break;
    t.match(failure, { code: 'SINK_UNAVAILABLE' }, `operation ${number}`);
    t.throws(() => refuseRestoring(fileSystem, DATA_DIRECTORY), { code: 'RECOVERY_UNFINISHED' });
    t.strictSame(await layDirectory(options), whole, 'run again it ends as it should');
    refuseRestoring(fileSystem, DATA_DIRECTORY);
  }
});

t.test('a power cut at any moment leaves what is refused, or all of it', async (t) => {
  const history = await makeHistory(SEED + 3, 10);
  const plan = await planFor(history, { kind: 'latest' });
  const count = new MemoryFileSystem();
  const whole = await layDirectory(layOptions(history, plan, 'n2', count));
  const total = count.faults.operationCount;
  let [refused, complete] = [0, 0];
  // Each tenth or so in a run of its own, by seed; the last ones all, in every way: there it is
  // decided.
  const first = 1 + (SEED % 9);
  const ways = ['none', 'random', 'all'] as const;
  const cuts: [number, (typeof ways)[number]][] = [];
  for (let at = first; at <= total; at += Math.min(9, Math.max(1, total - 6 - at))) {
    const isLast = at > total - 3;
    for (const way of isLast ? ways : [ways[at % 3] ?? 'none']) cuts.push([at, way]);
  }
  for (const [at, keepUnsynced] of cuts) {
    const fileSystem = new MemoryFileSystem();
    fileSystem.faults.crashAtOperation(at);
    try {
      await layDirectory(layOptions(history, plan, 'n2', fileSystem));
    } catch (thrown) {
      if (!(thrown instanceof CrashSignal)) throw thrown;
    }
    fileSystem.crash({ seed: at, keepUnsynced });
    const isRefused = isNotStartable(fileSystem);
    if (isRefused) refused += 1;
    else {
      complete += 1;
      checkComplete(t, fileSystem, whole, `cut at operation ${at}`);
    }
    const again = isRefused
      ? await layDirectory(layOptions(history, plan, 'n2', fileSystem))
      : whole;
    if (JSON.stringify(again) !== JSON.stringify(whole)) t.fail(`cut at operation ${at}`);
  }
  t.comment(`${refused} refused, ${complete} complete of ${total}`);
  t.ok(refused > 12 && complete > 0);
});

function isNotStartable(fileSystem: MemoryFileSystem): boolean {
  try {
    refuseRestoring(fileSystem, DATA_DIRECTORY);
    readIdentity(fileSystem, DATA_DIRECTORY);
    return false;
  } catch (thrown) {
    if (thrown instanceof HoldfastError) return true;
    throw thrown;
  }
}

function checkComplete(t: Test, fileSystem: MemoryFileSystem, whole: LaidDirectory, what: string) {
  const { group } = readIdentity(fileSystem, DATA_DIRECTORY);
  const logs = readLogs(fileSystem, `${DATA_DIRECTORY}/wal`);
  const log = must(logs.groups.get(group));
  const sum = log.sum(whole.lastIndex);
  const isSame = typeof sum !== 'string' && Buffer.from(sum).toString('hex') === whole.lastSum;
  if (!isSame || log.damage().length > 0) t.fail(what);
  logs.close();
}

t.test('what is in a directory is never touched, and no other plan goes on in it', async (t) => {
  const history = await makeHistory(SEED + 4, 8);
  const plan = await planFor(history, { kind: 'latest' });
  const other = await planFor(history, { kind: 'latest' }, 2);
  t.not(restorePlanDigest(plan), restorePlanDigest(other));
  const fileSystem = new MemoryFileSystem();
  const options = layOptions(history, plan, 'n1', fileSystem);
  await layDirectory(options);
  await t.rejects(layDirectory(options), {
    code: 'DATA_DIR_FOREIGN',
    message: /holds "CHECKPOINT"/,
  });
  const half = new MemoryFileSystem();
  const heal = history.sink.fail({ operation: 'read' });
  await t.rejects(layDirectory(layOptions(history, plan, 'n1', half)));
  heal();
  await t.rejects(layDirectory(layOptions(history, other, 'n1', half)), {
    code: 'DATA_DIR_FOREIGN',
  });
  await t.rejects(layDirectory(layOptions(history, plan, 'n2', half)), {
    code: 'DATA_DIR_FOREIGN',
  });
  await t.rejects(layDirectory(layOptions(history, plan, 'n9', new MemoryFileSystem())), {
    code: 'CONFIG_INVALID',
  });
  await layDirectory(layOptions(history, plan, 'n1', half));
});

t.test('an archive or a backup that is not the planned one is refused', async (t) => {
  const history = await makeHistory(SEED + 5, 10);
  const plan = await planFor(history, { kind: 'latest' });
  const wrongEnd = { ...plan, parent: { ...plan.parent, sum: new Uint8Array(16) } };
  const lay = (changed: RestorePlan) =>
    layDirectory(layOptions(history, changed, 'n1', new MemoryFileSystem()));
  await t.rejects(lay(wrongEnd), { code: 'BACKUP_CORRUPT', message: /make a new plan/ });
  const beyond = { ...plan, parent: { ...plan.parent, index: logIndex(plan.parent.index + 9) } };
  await t.rejects(lay(beyond), { code: 'RESTORE_TARGET' });
  await t.rejects(lay({ ...plan, backupIndex: logIndex(1) }), { code: 'BACKUP_CORRUPT' });
  const { sink } = history;
  for (const key of sink.keys.filter((name) => /\/files\//.test(name))) {
    const bytes = must(sink.contentOf(key)).slice();
    const whole = bytes.slice();
    bytes[bytes.length - 20]! ^= 4;
    sink.tamper(key, bytes);
    await t.rejects(lay(plan), { code: 'BACKUP_CORRUPT' }, key);
    sink.tamper(key, whole);
  }
  await lay(plan);
});

t.test('a plan is one file, and its digest says whether two are the same', async (t) => {
  const history = await makeHistory(SEED + 6, 6);
  const plan = await planFor(history, { kind: 'time', timestampMs: 1_900_000_000_000 });
  const fileSystem = new MemoryFileSystem();
  fileSystem.makeDirectory('/plans');
  writeRestorePlan(fileSystem, '/plans/restore.json', plan);
  const read = readRestorePlan(fileSystem, '/plans/restore.json');
  t.strictSame(read, plan);
  t.equal(restorePlanDigest(read), restorePlanDigest(plan));
  t.same(
    plan.members.map(({ nodeId }) => nodeId),
    ['n1', 'n2', 'n3'],
  );
  t.equal(new Set(plan.members.map((member) => member.incarnation)).size, 3);
  t.match(timelineOfPlan(plan), {
    clusterId: plan.clusterId,
    parent: { index: plan.parent.index },
  });
  const members = [{ nodeId: 'n1', address: 'a:1', clientAddress: null }];
  const facts = {
    ...{ group: plan.group, target: plan.target, parent: plan.parent, createdMs: 1, members },
    backup: { backupId: plan.backupId, index: logIndex(plan.parent.index + 1) },
    mintHexId: () => 'e'.repeat(32),
  };
  t.throws(() => planRestore(facts), { code: 'RESTORE_TARGET' });
  const backup = { ...facts.backup, index: plan.backupIndex };
  const twice = [...members, { nodeId: 'n2', address: 'a:1', clientAddress: null }];
  t.throws(() => planRestore({ ...facts, backup, members: twice }), { code: 'CONFIG_INVALID' });
  t.throws(() => planRestore({ ...facts, backup, members: [] }), { code: 'CONFIG_INVALID' });
});

t.test('the newest backup on the way to the target is chosen', (t) => {
  const spans = [
    { timeline: { clusterId: 'a' as never, timeline: 'main' }, throughIndex: logIndex(50) },
    { timeline: { clusterId: 'b' as never, timeline: 'r-1' }, throughIndex: null },
  ];
  const backups = [
    { clusterId: 'a', backupId: 'one', timeline: 'main', index: 10 },
    { clusterId: 'a', backupId: 'two', timeline: 'main', index: 40 },
    { clusterId: 'a', backupId: 'left', timeline: 'main', index: 60 },
    { clusterId: 'b', backupId: 'three', timeline: 'r-1', index: 70 },
  ];
  const chosen = (index: number) => chooseBackup(spans, backups, index).backupId;
  t.same([10, 39, 40, 65, 70, 99].map(chosen), ['one', 'one', 'two', 'two', 'three', 'three']);
  t.throws(() => chosen(9), { code: 'RESTORE_TARGET', details: { backupId: 'one' } });
  t.throws(() => chooseBackup(spans, [], 9), { code: 'BACKUP_NOT_FOUND' });
  t.end();
});

t.test('a complete directory takes the place of another, which is kept', (t) => {
  const make = () => {
    const fileSystem = new MemoryFileSystem();
    for (const path of ['/new', '/data']) fileSystem.makeDirectory(path);
    for (const path of ['/new/file', '/data/file']) {
      const handle = fileSystem.open(path, 'createNew');
      handle.write([Buffer.from(path)], 0);
      handle.sync();
      handle.close();
      fileSystem.syncDirectory(path.slice(0, path.lastIndexOf('/')));
    }
    return fileSystem;
  };
  const paths = { restored: '/new', dataDirectory: '/data', aside: '/old' };
  const whole = make();
  const before = whole.faults.operationCount;
  swapDirectory({ fileSystem: whole, ...paths });
  t.same(
    [whole.exists('/data/file'), whole.exists('/old/file'), whole.exists('/new')],
    [...[true, true, false]],
  );
  const total = whole.faults.operationCount - before;
  for (let at = 1; at <= total; at++) {
    const fileSystem = make();
    fileSystem.faults.crashAtOperation(before + at);
    t.throws(() => swapDirectory({ fileSystem, ...paths }));
    fileSystem.crash({ seed: at, keepUnsynced: 'none' });
    const there = ['/new', '/data', '/old'].filter((path) => fileSystem.exists(`${path}/file`));
    t.equal(there.length, 2, `nothing is lost: ${there.join(' ')}`);
    swapDirectory({ fileSystem, ...paths });
    t.same([fileSystem.exists('/data/file'), fileSystem.exists('/old/file')], [true, true]);
  }
  t.end();
});

t.test('a directory says what it was restored from, and how often that had failed', async (t) => {
  const history = await makeHistory(SEED + 7, 8);
  const { index } = await history.reader.end();
  const plan = await planFor(history, { kind: 'index', index: index - 1 });
  const fileSystem = new MemoryFileSystem();
  const options = layOptions(history, plan, 'n1', fileSystem);
  for (let attempt = 0; attempt < 2; attempt++) {
    const heal = history.sink.fail({ operation: 'read' });
    await t.rejects(layDirectory(options));
    heal();
    t.equal(readRestored(fileSystem, DATA_DIRECTORY), null, 'nothing counts before the end');
  }
  const bytes: [number, number][] = [];
  const onStep: LayOptions['onStep'] = (step) => {
    if (step.kind === 'files') bytes.push([step.bytesDone, step.bytesTotal]);
  };
  const { entryCount, planDigest } = await layDirectory({ ...options, onStep });
  const sizeBytes = history.manifest.files.reduce((sum, file) => sum + file.sizeBytes, 0);
  t.same(bytes.at(-1), [sizeBytes, sizeBytes], 'progress counts bytes');
  const restored = must(readRestored(fileSystem, DATA_DIRECTORY));
  t.match(restored, { planDigest, entryCount, sizeBytes, failedCount: 2, targetKind: 'index' });
  t.match(restored, { backupId: plan.backupId, targetIndex: plan.parent.index, nodeId: 'n1' });
  const service = new FakeService();
  const admission = new Admission({ maxConnections: 1, inflightRequestCountMax: 1 } as never);
  const metrics = new Metrics({ service, admission, restored, hasProcessMetrics: false });
  const text = await metrics.text();
  for (const line of [
    'restore_success_total 1',
    'restore_failure_total 2',
    'pitr_success_total 1',
  ]) {
    t.ok(text.includes(`holdfast_${line}\n`), line);
  }
  const guard = new ApiKeyGuard(null);
  const app = createHttpRoutes({
    ...{ service, guard, metrics, logger: SILENT_LOGGER, clock: SYSTEM_CLOCK },
    restored,
  });
  const page = await app.request('/api/v1/admin/restore/status');
  t.match(await page.json(), { phase: 'done', progressPercent: 100, restored: { planDigest } });
  fileSystem.flipBit(`${DATA_DIRECTORY}/${RESTORED_FILE_NAME}`, 30);
  t.throws(() => readRestored(fileSystem, DATA_DIRECTORY), { code: 'FILE_CORRUPT' });
  const told: string[] = [];
  const logger = { ...SILENT_LOGGER, error: (_: unknown, line: string) => void told.push(line) };
  t.equal(knownRestore(fileSystem, DATA_DIRECTORY, logger), null, 'a node starts all the same');
  t.equal(told.length, 1);
});

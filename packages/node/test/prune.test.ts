/**
 * Goal: pruning never takes what a backup needs, whatever fails or happens meanwhile. Method: a
 * store with several real backups; every operation failing in turn; a backup that ends in between.
 */
import type { BackupManifest } from '@holdfast/storage';
import { backupManifestKey, fileKey, logChunkKey } from '@holdfast/storage';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import t from 'tap';
import { BackupReader } from '../src/backup/backup-reader.ts';
import type { PruneOptions } from '../src/backup/prune.ts';
import { prune } from '../src/backup/prune.ts';
import { RETENTION_DEFAULT } from '../src/backup/retention.ts';
import { MemorySink } from '../src/backup/testing/memory-sink.ts';
import {
  backUpWritten,
  CheckpointMaker,
  CLUSTER,
  DATA,
  errorOf,
  KEYS,
  sealing,
} from './support/backup.ts';

const DAY_MS = 86_400_000;
const ONLY_LAST = {
  ...{ keepHourly: 0, keepDaily: 0, keepWeekly: 0, keepMonthly: 0, keepLast: 1 },
  ...{ keepWithinMs: null, logRetentionMs: DAY_MS },
};

interface Store {
  readonly maker: CheckpointMaker;
  readonly sink: MemorySink;
  readonly manifests: readonly BackupManifest[];
}

/** One backup a day, each with rows of its own and some of the day before. */
async function storeOf(days: number): Promise<Store> {
  const fileSystem = new MemoryFileSystem();
  fileSystem.makeDirectory(DATA);
  const maker = await CheckpointMaker.open(fileSystem);
  const sink = new MemorySink({ wallMs: () => maker.clock.wallMs() });
  const manifests: BackupManifest[] = [];
  for (let day = 0; day < days; day++) {
    await maker.write(90);
    const pinned = await maker.pin(await maker.checkpoint());
    sink.tamper(logChunkKey(CLUSTER, 't1', maker.appliedIndex), new Uint8Array(3));
    manifests.push((await backUpWritten(maker, sink, pinned)).manifest);
    maker.clock.advance(DAY_MS);
  }
  return { maker, sink, manifests };
}

const pruning = ({ maker, sink }: Store, changes: Partial<PruneOptions> = {}): PruneOptions => ({
  ...{ sink, clusterId: CLUSTER, keys: KEYS, clock: maker.clock, policy: ONLY_LAST },
  ...{ timelines: [{ timeline: 't1', parent: null }], isDryRun: false },
  ...changes,
});

async function flawsOf(sink: MemorySink): Promise<readonly string[]> {
  const reader = new BackupReader({ sink, clusterId: CLUSTER, keys: KEYS });
  const { backups, damaged } = await reader.list();
  const flaws = damaged.map(({ backupId }) => backupId);
  for (const { backupId } of backups) {
    const { bad } = await reader.verify(await reader.read(backupId));
    flaws.push(...bad.map(({ key }) => key));
  }
  return flaws;
}

const filesOf = ({ files }: BackupManifest): readonly string[] =>
  files.map(({ sha256 }) => fileKey(CLUSTER, sha256));

t.test('what no kept backup names goes, and nothing else', async (t) => {
  const store = await storeOf(5);
  const { maker, sink, manifests } = store;
  maker.clock.advance(2 * DAY_MS);
  const dry = await prune(pruning(store, { isDryRun: true }));
  const before = sink.keys;
  const report = await prune(pruning(store));
  t.equal(before.length - sink.keys.length, 4 + report.removedFileCount + report.removedChunkCount);
  t.same(dry, report, 'a dry run says what will be done');
  t.same(report.removedBackups.length, 4);
  const last = manifests.at(-1) as BackupManifest;
  t.same(report.kept, [{ backupId: last.backupId, reasons: ['last', 'start of the log'] }]);
  const files = sink.keys.filter((key) => key.includes('/files/'));
  t.same(files, [...new Set(filesOf(last))].sort(), 'exactly its files are left');
  t.same(
    sink.keys.filter((key) => key.includes('/log/')),
    [logChunkKey(CLUSTER, 't1', 6)],
    'the newest chunk stays',
  );
  t.same(await flawsOf(sink), []);
  const again = await prune(pruning(store));
  t.equal(again.removedFileCount + again.removedChunkCount + again.removedBackups.length, 0);
});

t.test('files of a backup that is still under way are not garbage', async (t) => {
  const store = await storeOf(2);
  const { maker, sink, manifests } = store;
  const young = fileKey(CLUSTER, 'a'.repeat(64));
  const old = fileKey(CLUSTER, 'b'.repeat(64));
  sink.tamper(young, new Uint8Array(3), maker.clock.wallMs() - DAY_MS);
  sink.tamper(old, new Uint8Array(3), maker.clock.wallMs() - DAY_MS - 1);
  await prune(pruning(store, { policy: RETENTION_DEFAULT }));
  t.ok(sink.keys.includes(young));
  t.notOk(sink.keys.includes(old));
  for (const manifest of manifests) {
    for (const key of filesOf(manifest)) t.ok(sink.keys.includes(key), key);
  }
});

t.test('a backup that ends while old files are removed keeps what it names', async (t) => {
  const store = await storeOf(2);
  const { maker, sink, manifests } = store;
  const [first, last] = manifests as [BackupManifest, BackupManifest];
  maker.clock.advance(2 * DAY_MS);
  const manifestKey = backupManifestKey(CLUSTER, first.backupId);
  const bytes = sink.contentOf(manifestKey) ?? new Uint8Array(0);
  sink.lose(manifestKey);
  let listCount = 0;
  const raced = sink.clone({
    wallMs: () => maker.clock.wallMs(),
    beforeOperation: (operation, key) => {
      if (operation === 'list' && key.includes('/files/')) listCount += 1;
      // It appears once the garbage was listed.
      if (operation === 'head' && listCount === 1) raced.tamper(manifestKey, bytes);
    },
  });
  const report = await prune(pruning({ ...store, sink: raced }));
  t.equal(listCount, 1);
  t.equal(report.removedFileCount, 0, 'all that was garbage is named now');
  t.same(await flawsOf(raced), []);
  t.ok(raced.keys.includes(backupManifestKey(CLUSTER, last.backupId)));
});

t.test('an old file that is sent again meanwhile is not removed', async (t) => {
  const store = await storeOf(1);
  const { maker, sink } = store;
  const old = fileKey(CLUSTER, 'b'.repeat(64));
  sink.tamper(old, new Uint8Array(3), 0);
  const raced = sink.clone({
    wallMs: () => maker.clock.wallMs(),
    beforeOperation: (operation) => {
      if (operation === 'head') raced.touch(old, maker.clock.wallMs());
    },
  });
  const report = await prune(pruning({ ...store, sink: raced }));
  t.equal(report.removedFileCount, 0);
  t.ok(raced.keys.includes(old));
});

t.test('while a manifest cannot be read nothing is removed', async (t) => {
  const store = await storeOf(3);
  const { maker, sink, manifests } = store;
  maker.clock.advance(2 * DAY_MS);
  const { backupId } = manifests[0] as BackupManifest;
  sink.tamper(backupManifestKey(CLUSTER, backupId), new Uint8Array(80));
  const before = sink.keys;
  const report = await prune(pruning(store));
  t.same(sink.keys, before);
  t.same(
    report.blockedBy.map((blocked) => blocked.backupId),
    [backupId],
  );
});

t.test('a prune that fails at any operation leaves every visible backup whole', async (t) => {
  const store = await storeOf(4);
  const { maker, sink } = store;
  maker.clock.advance(2 * DAY_MS);
  const whole = sink.clone();
  await prune(pruning({ ...store, sink: whole }));
  const { operationCount } = whole;
  t.ok(operationCount > 10, `${operationCount} operations`);
  for (const when of ['before', 'after'] as const) {
    for (let n = 1; n <= operationCount; n++) {
      const trapped = sink.clone();
      trapped.failOperation(n, { when });
      const error = await errorOf(() => prune(pruning({ ...store, sink: trapped })));
      t.equal(error?.code, 'SINK_UNAVAILABLE', `${when} ${n}`);
      trapped.healAll();
      t.same(await flawsOf(trapped), [], `${when} ${n}`);
      await prune(pruning({ ...store, sink: trapped }));
      t.same(trapped.keys, whole.keys, `${when} ${n}: the next one ends it`);
    }
  }
});

t.test('with its key lost a store is left as it is', async (t) => {
  const store = await storeOf(2);
  const { sink } = store;
  const before = sink.keys;
  const keys = { ...sealing().keys, current: null, find: async () => null };
  const report = await prune(pruning(store, { keys }));
  t.equal(report.blockedBy[0]?.error.code, 'BACKUP_KEY_WRONG');
  t.same(sink.keys, before);
});

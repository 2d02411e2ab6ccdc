/**
 * Goal: whatever happened to a stored backup, a reader says which object is bad, and touches
 * nothing with it. Method: one real backup with a stretch of the log; each of its objects flipped,
 * cut, emptied, removed, and put in the place of another.
 */
import type { BackupManifest } from '@holdfast/storage';
import { backupManifestKey, fileKey, logChunkKey, sealBytes } from '@holdfast/storage';
import { CrashSignal, MemoryFileSystem } from '@holdfast/storage/testing';
import t from 'tap';
import { BackupReader } from '../src/backup/backup-reader.ts';
import { MemorySink } from '../src/backup/testing/memory-sink.ts';
import {
  backUpWritten,
  CheckpointMaker,
  CLUSTER,
  DATA,
  errorOf,
  KEYS,
  nextBackupId,
  sealing,
} from './support/backup.ts';

const readerOf = (sink: MemorySink): BackupReader =>
  new BackupReader({ sink, clusterId: CLUSTER, keys: KEYS });

async function storeOf(): Promise<{
  readonly maker: CheckpointMaker;
  readonly sink: MemorySink;
  readonly manifests: readonly BackupManifest[];
}> {
  const fileSystem = new MemoryFileSystem();
  fileSystem.makeDirectory(DATA);
  const maker = await CheckpointMaker.open(fileSystem);
  const sink = new MemorySink({ wallMs: () => maker.clock.wallMs() });
  const manifests: BackupManifest[] = [];
  for (const rowCount of [100, 7, 3]) {
    await maker.write(rowCount);
    const root = await maker.checkpoint();
    const chunks = [root.meta.index];
    const { compression, keys, random } = sealing();
    const context = logChunkKey(CLUSTER, 't1', root.meta.index);
    const body = new Uint8Array(500).fill(root.meta.index);
    const options = { kind: 'log-chunk', context, compression, key: keys.current, random } as const;
    sink.tamper(context, await sealBytes(body, options));
    const type = manifests.length === 0 ? 'full' : 'incremental';
    const archive = { cover: async () => chunks };
    const pinned = await maker.pin(root);
    maker.clock.advance(60_000);
    manifests.push((await backUpWritten(maker, sink, pinned, { type, archive })).manifest);
  }
  return { maker, sink, manifests };
}

t.test('every damage of every object is found and named, and the others are read on', async (t) => {
  const { sink, manifests } = await storeOf();
  const manifest = manifests.at(-1) as BackupManifest;
  const keys = [
    ...new Set(manifest.files.map(({ sha256 }) => fileKey(CLUSTER, sha256))),
    ...(manifest.log?.chunks ?? []).map((index) => logChunkKey(CLUSTER, 't1', index)),
  ];
  t.ok(keys.length >= 6, `${keys.length} objects`);
  const injuries: readonly (readonly [string, (store: MemorySink, key: string) => void])[] = [
    ['flipped in the header', (store, key) => flip(store, key, 20)],
    ['flipped in the first frame', (store, key) => flip(store, key, 90)],
    ['flipped at the end', (store, key) => flip(store, key, -1)],
    ['cut by a byte', (store, key) => cut(store, key, -1)],
    ['cut in half', (store, key) => cut(store, key, 100)],
    ['emptied', (store, key) => cut(store, key, 0)],
    ['longer by a byte', (store, key) => grow(store, key)],
    ['removed', (store, key) => store.lose(key)],
    ['another object', (store, key) => swap(store, key, keys)],
  ];
  let caseCount = 0;
  for (const [name, injure] of injuries) {
    for (const key of keys) {
      const injured = sink.clone();
      injure(injured, key);
      const seen: string[] = [];
      const report = await readerOf(injured).verify(manifest, (object) => seen.push(object.key));
      const isFound = report.bad.length === 1 && report.bad[0]?.key === key;
      const isNamed = report.bad[0]?.error?.message.includes(key) === true;
      const isWhole = report.bad[0]?.status === 'damaged' && seen.length === keys.length;
      if (!(isFound && isNamed && isWhole && !report.isGood)) t.fail(`${name}: ${key}`, report);
      const target = new MemoryFileSystem();
      const error = await errorOf(() => readerOf(injured).fetchAll(manifest, target, '/new'));
      const isFile = key.includes('/files/');
      if (isFile && error === null) t.fail(`${name}: ${key} was fetched`);
      caseCount += 1;
    }
  }
  t.pass(`${caseCount} cases`);
  t.ok((await readerOf(sink).verify(manifest)).isGood, 'without injuries it is good');
});

t.test(
  'an object that was sealed well, with another content than its name says, is bad',
  async (t) => {
    const { sink, manifests } = await storeOf();
    const manifest = manifests[0] as BackupManifest;
    const file = manifest.files[0];
    if (file === undefined) throw new Error('a backup has files');
    const context = fileKey(CLUSTER, file.sha256);
    const { compression, keys, random } = sealing();
    const options = { kind: 'file', context, compression, key: keys.current, random } as const;
    sink.tamper(context, await sealBytes(new Uint8Array(file.sizeBytes), options));
    const { bad } = await readerOf(sink).verify(manifest);
    t.same(
      bad.map(({ key }) => key),
      [context],
    );
  },
);

t.test('a store that does not answer is not taken for damage', async (t) => {
  const { sink, manifests } = await storeOf();
  const manifest = manifests[0] as BackupManifest;
  sink.fail({ operation: 'read', times: 2 });
  const report = await readerOf(sink).verify(manifest);
  t.same(
    report.bad.map(({ status }) => status),
    ['unreachable', 'unreachable'],
  );
  t.notOk(report.isGood);
});

t.test('a manifest that is damaged is listed as such and hides no other', async (t) => {
  const { sink, manifests } = await storeOf();
  const [first, second, third] = manifests as [BackupManifest, BackupManifest, BackupManifest];
  const keyOf = ({ backupId }: BackupManifest): string => backupManifestKey(CLUSTER, backupId);
  const good = (await readerOf(sink).list()).backups.map(({ backupId }) => backupId);
  t.same(good, [third.backupId, second.backupId, first.backupId], 'newest first');
  flip(sink, keyOf(second), 100);
  const { backups, damaged } = await readerOf(sink).list();
  t.same(
    backups.map(({ backupId }) => backupId),
    [third.backupId, first.backupId],
  );
  t.equal(damaged[0]?.backupId, second.backupId);
  t.equal(damaged[0]?.error.code, 'BACKUP_CORRUPT');
  t.match(damaged[0]?.error.message, keyOf(second));
  // The manifest of one backup under the name of another.
  sink.tamper(keyOf(first), sink.contentOf(keyOf(third)) ?? new Uint8Array(0));
  t.equal((await readerOf(sink).list()).damaged.length, 2);
  const error = await errorOf(() => readerOf(sink).read(nextBackupId()));
  t.equal(error?.code, 'BACKUP_NOT_FOUND');
});

t.test('a target finds the newest backup that it allows', async (t) => {
  const { sink, manifests } = await storeOf();
  const reader = readerOf(sink);
  const [first, second, third] = manifests as [BackupManifest, BackupManifest, BackupManifest];
  const found = async (target: Parameters<BackupReader['find']>[0]): Promise<string> =>
    (await reader.find(target)).backupId;
  t.equal(await found({ kind: 'latest' }), third.backupId);
  t.equal(await found({ kind: 'id', backupId: first.backupId }), first.backupId);
  t.equal(await found({ kind: 'time', timeMs: second.logTimeMs }), second.backupId);
  t.equal(await found({ kind: 'time', timeMs: second.logTimeMs - 1 }), first.backupId);
  t.equal(await found({ kind: 'index', timeline: 't1', index: 3 }), second.backupId);
  const early = await errorOf(() => reader.find({ kind: 'time', timeMs: 1 }));
  t.equal(early?.code, 'RESTORE_TARGET');
  t.match(early?.message, first.backupId, 'what can be reached is named');
  const other = await errorOf(() => reader.find({ kind: 'latest' }, () => false));
  t.equal(other?.code, 'BACKUP_NOT_FOUND');
  const empty = await errorOf(() => readerOf(new MemorySink()).find({ kind: 'latest' }));
  t.equal(empty?.code, 'BACKUP_NOT_FOUND');
});

t.test(
  'a fetch that ends at any operation of the disk leaves the old file or the new',
  async (t) => {
    const { sink, manifests } = await storeOf();
    const manifest = manifests[0] as BackupManifest;
    const file = manifest.files[0];
    if (file === undefined) throw new Error('a backup has files');
    const reader = readerOf(sink);
    const whole = new MemoryFileSystem();
    await reader.fetchFile(manifest, file, whole, '/new/file');
    const expected = Buffer.from(whole.contentOf('/new/file'));
    let count = 0;
    for (let point = 1; point <= whole.operationCount; point++) {
      const fileSystem = new MemoryFileSystem();
      fileSystem.makeDirectory('/new');
      const handle = fileSystem.open('/new/file', 'createNew');
      handle.write([Buffer.from('old')], 0);
      handle.sync();
      handle.close();
      fileSystem.syncDirectory('/new');
      fileSystem.faults.reset();
      fileSystem.crashAtOperation(point);
      try {
        await reader.fetchFile(manifest, file, fileSystem, '/new/file');
      } catch (error) {
        if (!(error instanceof CrashSignal)) throw error;
        count += 1;
      }
      fileSystem.crash({ seed: point, keepUnsynced: 'random' });
      const content = Buffer.from(fileSystem.contentOf('/new/file'));
      t.ok(content.equals(expected) || content.toString() === 'old', `operation ${point}`);
    }
    t.ok(count > 4, `${count} crashes`);
  },
);

t.test('a refused disk is an error and leaves no temporary file', async (t) => {
  const { sink, manifests } = await storeOf();
  const manifest = manifests[0] as BackupManifest;
  const file = manifest.files[0];
  if (file === undefined) throw new Error('a backup has files');
  for (const operation of ['write', 'sync', 'rename'] as const) {
    const fileSystem = new MemoryFileSystem();
    fileSystem.faults.add({ operation, fault: 'EIO' });
    const error = await errorOf(() =>
      readerOf(sink).fetchFile(manifest, file, fileSystem, '/new/file'),
    );
    t.equal(error?.code, 'FILE_IO', operation);
    t.same(fileSystem.list('/new'), [], operation);
  }
});

function flip(sink: MemorySink, key: string, at: number): void {
  const bytes = (sink.contentOf(key) ?? new Uint8Array(0)).slice();
  const position = at < 0 ? bytes.byteLength + at : at;
  bytes[position] = (bytes[position] as number) ^ 1;
  sink.tamper(key, bytes);
}

function cut(sink: MemorySink, key: string, end: number): void {
  sink.tamper(key, (sink.contentOf(key) ?? new Uint8Array(0)).slice(0, end));
}

function grow(sink: MemorySink, key: string): void {
  sink.tamper(key, Buffer.concat([sink.contentOf(key) ?? new Uint8Array(0), Buffer.from([0])]));
}

function swap(sink: MemorySink, key: string, keys: readonly string[]): void {
  const other = keys[(keys.indexOf(key) + 1) % keys.length] ?? '';
  sink.tamper(key, sink.contentOf(other) ?? new Uint8Array(0));
}

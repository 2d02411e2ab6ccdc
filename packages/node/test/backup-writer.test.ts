/**
 * Goal: a backup is complete or not there. Method: real checkpoints on a disk in memory, a sink in
 * memory, every operation of the sink failing, dying or being aborted in turn; after each, every
 * backup that can be seen is read whole and compared with the files it was made of.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { logIndex } from '@holdfast/base';
import type { CheckpointRoot, FileSystem } from '@holdfast/storage';
import { fileKey, joinPath, NodeFileSystem, readWholeFile } from '@holdfast/storage';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import t from 'tap';
import { backUpToAll, hasSucceeded } from '../src/backup/backup-fan-out.ts';
import { BackupReader } from '../src/backup/backup-reader.ts';
import type { PinnedCheckpoint } from '../src/backup/checkpoint-source.ts';
import { pinCheckpoint, removePins } from '../src/backup/checkpoint-source.ts';
import type { BackupProgress } from '../src/backup/progress.ts';
import { MemorySink } from '../src/backup/testing/memory-sink.ts';
import { loadMeta, loadMetaSummary, writeMeta } from '../src/replica/meta-file.ts';
import { Catalogue } from '../src/state/catalogue.ts';
import { MetaMachine } from '../src/state/meta-machine.ts';
import { SessionTable } from '../src/state/sessions.ts';
import {
  backUp,
  backUpWritten,
  CheckpointMaker,
  CLUSTER,
  DATA,
  errorOf,
  KEYS,
  nextBackupId,
  pause,
  sealing,
} from './support/backup.ts';

const readerOf = (sink: MemorySink): BackupReader =>
  new BackupReader({ sink, clusterId: CLUSTER, keys: KEYS });

interface Prepared {
  readonly maker: CheckpointMaker;
  readonly fileSystem: MemoryFileSystem;
  readonly root: CheckpointRoot;
  readonly checkpoint: PinnedCheckpoint;
}

async function prepare(rowCount = 100): Promise<Prepared> {
  const fileSystem = new MemoryFileSystem();
  fileSystem.makeDirectory(DATA);
  const maker = await CheckpointMaker.open(fileSystem);
  await maker.write(rowCount);
  // Not enough to be sealed.
  await maker.write(7);
  const root = await maker.checkpoint();
  return { maker, fileSystem, root, checkpoint: await maker.pin(root) };
}

const manifestKeys = (sink: MemorySink): readonly string[] =>
  sink.keys.filter((key) => key.endsWith('/manifest'));

/** What is wrong with the backups that can be seen; empty when each is complete. */
async function flawsOf(sink: MemorySink): Promise<readonly string[]> {
  const reader = readerOf(sink);
  const { backups, damaged } = await reader.list();
  const flaws = damaged.map(({ backupId, error }) => `${backupId}: ${error.message}`);
  for (const { backupId } of backups) {
    const { bad } = await reader.verify(await reader.read(backupId));
    flaws.push(...bad.map(({ key, error }) => `${backupId}: ${key}: ${error?.message}`));
  }
  return flaws;
}

function differences(
  fileSystem: FileSystem,
  checkpoint: PinnedCheckpoint,
  copy: FileSystem,
  directory: string,
): readonly string[] {
  return checkpoint.files.flatMap(({ path, fullPath }) => {
    const restored = `${directory}/${path}`;
    if (!copy.exists(restored)) return [`${path} is missing`];
    const isSame =
      Buffer.compare(readWholeFile(fileSystem, fullPath), readWholeFile(copy, restored)) === 0;
    return isSame ? [] : [`${path} has other bytes`];
  });
}

for (const compression of ['none', 'gzip', 'zstd'] as const) {
  t.test(`a backup comes back byte for byte (${compression})`, async (t) => {
    const { maker, fileSystem, root, checkpoint } = await prepare();
    const sink = new MemorySink();
    const seal = sealing({ compression });
    const { manifest } = await backUpWritten(maker, sink, checkpoint, { seal, concurrency: 3 });
    t.same(manifest.root, root);
    t.equal(manifest.vectorCount, 107);
    t.equal(manifest.logTimeMs, 3_000);
    t.equal(manifest.collections[0]?.name, 'docs');
    t.ok(
      manifest.files.some(({ kind }) => kind === 'segment'),
      'sealed rows are there',
    );
    t.ok(
      manifest.files.some(({ kind }) => kind === 'growing'),
      'growing rows are there',
    );
    t.ok(
      manifest.files.some(({ kind }) => kind === 'meta'),
      'the meta state is there',
    );
    const reader = readerOf(sink);
    const found = await reader.read(manifest.backupId);
    t.same(found, manifest);
    const copy = new MemoryFileSystem();
    await reader.fetchAll(found, copy, '/new');
    copy.crash({ seed: 1, keepUnsynced: 'none' });
    t.same(differences(fileSystem, checkpoint, copy, '/new'), []);
    t.ok((await reader.verify(found)).isGood);
  });
}

t.test('a second backup after a small change sends the new files and nothing else', async (t) => {
  const { maker, checkpoint } = await prepare(400);
  const sink = new MemorySink();
  const first = await backUpWritten(maker, sink, checkpoint);
  t.equal(first.sentSizeBytes, first.manifest.sizeBytes);
  await maker.write(3);
  const next = await maker.pin(await maker.checkpoint());
  const before = new Set(first.manifest.files.map(({ checksum }) => checksum));
  const fresh = next.files.filter(({ checksum }) => !before.has(checksum));
  sink.operations.length = 0;
  const second = await backUpWritten(maker, sink, next);
  t.equal(second.sentFileCount, fresh.length);
  t.equal(
    second.sentSizeBytes,
    fresh.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
  );
  t.ok(second.sentSizeBytes < first.sentSizeBytes / 2, 'segments are not sent again');
  const puts = sink.operations.filter(({ operation }) => operation === 'put');
  t.equal(puts.length, fresh.length + 1, 'the manifest is one more');
  const heads = sink.operations.filter(({ operation }) => operation === 'head');
  t.equal(heads.length, fresh.length, 'known files are found by one listing');
  t.same(await flawsOf(sink), []);
});

t.test('an incremental backup has a base, and nothing new is an answer', async (t) => {
  const { maker, checkpoint } = await prepare();
  const sink = new MemorySink();
  const full = await backUpWritten(maker, sink, checkpoint, { type: 'incremental' });
  t.equal(full.manifest.type, 'full', 'without a base it is a full one');
  const nothing = await backUp(maker, sink, checkpoint, { type: 'incremental' });
  t.same(nothing, { kind: 'nothing-new', baseBackupId: full.manifest.backupId, index: 3 });
  await maker.write(5);
  const next = await maker.pin(await maker.checkpoint());
  const asked: unknown[] = [];
  const archive = {
    cover: async (...range: readonly unknown[]) => {
      asked.push(range);
      return null;
    },
  };
  const second = await backUpWritten(maker, sink, next, { type: 'incremental', archive });
  t.same(asked, [['t1', 3, 4]]);
  t.equal(second.manifest.type, 'incremental');
  t.equal(second.manifest.baseBackupId, full.manifest.backupId);
  t.equal(second.manifest.log, null, 'the log is not archived that far');
  t.equal(manifestKeys(sink).length, 2);
  const error = await errorOf(() =>
    backUp(maker, sink, checkpoint, {
      ...{ type: 'incremental', baseBackupId: second.manifest.backupId },
    }),
  );
  t.equal(error?.code, 'BACKUP_ABORTED', 'a base of the future is refused');
});

t.test(
  'an incremental backup names its stretch of the log, and needs it to be there',
  async (t) => {
    const { maker, checkpoint } = await prepare();
    const sink = new MemorySink();
    await backUp(maker, sink, checkpoint);
    await maker.write(5);
    const next = await maker.pin(await maker.checkpoint());
    const archive = { cover: async () => [3, 4] };
    const order = { type: 'incremental', archive } as const;
    const error = await errorOf(() => backUp(maker, sink, next, order));
    t.equal(error?.code, 'BACKUP_ABORTED');
    t.match(error?.message, 't1/log/0000000000000003', 'the missing chunk is named');
    t.equal(manifestKeys(sink).length, 1);
    for (const index of [3, 4]) {
      sink.tamper(`${CLUSTER}/t1/log/${String(index).padStart(16, '0')}`, new Uint8Array(9));
    }
    const { manifest } = await backUpWritten(maker, sink, next, order);
    t.same(manifest.log, { firstIndex: 4, lastIndex: 4, chunks: [3, 4] });
  },
);

/** Runs a second backup over a store that has one already, after `arm` has set its trap. */
async function tryBackup(
  prepared: Prepared,
  base: MemorySink,
  arm: (sink: MemorySink, controller: AbortController) => void,
) {
  const controller = new AbortController();
  const holder: { sink: MemorySink | null } = { sink: null };
  const sink = base.clone({ wallMs: () => prepared.maker.clock.wallMs() });
  holder.sink = sink;
  arm(sink, controller);
  let failure: unknown = null;
  try {
    await backUp(prepared.maker, sink, prepared.checkpoint, { signal: controller.signal });
  } catch (error) {
    failure = error;
  }
  const operationCount = sink.operationCount;
  sink.healAll();
  return { sink, failure, operationCount };
}

/** A store with a backup of the checkpoint before, so that known and new files both occur. */
async function storeWithOne(): Promise<{ prepared: Prepared; base: MemorySink }> {
  const first = await prepare();
  const base = new MemorySink({ wallMs: () => first.maker.clock.wallMs() });
  await backUp(first.maker, base, first.checkpoint);
  await first.maker.write(5);
  const root = await first.maker.checkpoint();
  return { prepared: { ...first, root, checkpoint: await first.maker.pin(root) }, base };
}

for (const when of ['before', 'after'] as const) {
  for (const always of [false, true]) {
    const span = always ? 'from then on' : 'once';
    const title = `when operation n of the sink fails ${span} (${when}), no backup is incomplete`;
    t.test(`${title}, for all n`, async (t) => {
      const { prepared, base } = await storeWithOne();
      const { operationCount } = await tryBackup(prepared, base, () => undefined);
      t.ok(operationCount > 10, `${operationCount} operations`);
      for (let n = 1; n <= operationCount; n++) {
        const { sink, failure } = await tryBackup(prepared, base, (trapped) => {
          trapped.failOperation(n, { when }, always);
        });
        const visibleCount = manifestKeys(sink).length;
        t.same(await flawsOf(sink), [], `${n}: what can be seen is complete`);
        if (failure === null) t.equal(visibleCount, 2, `${n}: it succeeded all the same`);
        else if (visibleCount > 1) t.match(String(failure), 'may be left', `${n}: and says so`);
        const again = await backUpWritten(prepared.maker, sink, prepared.checkpoint);
        t.ok(again.sentFileCount <= 8, `${n}: the next one succeeds`);
        t.same(await flawsOf(sink), []);
      }
    });
  }
}

t.test('a process that dies at any operation leaves no incomplete backup', async (t) => {
  const { prepared, base } = await storeWithOne();
  const { operationCount } = await tryBackup(prepared, base, () => undefined);
  for (const when of ['before', 'after'] as const) {
    for (let n = 1; n <= operationCount; n++) {
      const { sink, failure } = await tryBackup(prepared, base, (trapped) => {
        trapped.failOperation(n, { when, error: new Error('the process is dead') }, true);
      });
      t.not(failure, null);
      t.same(await flawsOf(sink), [], `${when} operation ${n}`);
    }
  }
});

t.test('an abort at any operation ends the backup, and leaves no manifest', async (t) => {
  const { prepared, base } = await storeWithOne();
  const { operationCount } = await tryBackup(prepared, base, () => undefined);
  for (let n = 1; n <= operationCount; n++) {
    let count = 0;
    const controller = new AbortController();
    const sink = base.clone({
      beforeOperation: () => {
        count += 1;
        if (count === n) controller.abort(new Error('the operator'));
      },
    });
    const error = await errorOf(() =>
      backUp(prepared.maker, sink, prepared.checkpoint, { signal: controller.signal }),
    );
    t.equal(error?.code, 'BACKUP_ABORTED', `${n}`);
    t.equal(manifestKeys(sink).length, 1, `${n}`);
  }
});

t.test('an object that is gone at the end takes the backup with it', async (t) => {
  const { prepared, base } = await storeWithOne();
  const segment = prepared.checkpoint.files.find(({ kind }) => kind === 'segment');
  const { backups } = await readerOf(base).list();
  const first = await readerOf(base).read(backups[0]?.backupId ?? '');
  const sha256 = first.files.find(({ path }) => path === segment?.path)?.sha256 ?? '';
  const sink = base.clone({
    beforeOperation: (operation, key) => {
      if (operation === 'put' && key.endsWith('/manifest')) sink.lose(fileKey(CLUSTER, sha256));
    },
  });
  const error = await errorOf(() => backUp(prepared.maker, sink, prepared.checkpoint));
  t.equal(error?.code, 'BACKUP_ABORTED');
  t.match(error?.message, sha256, 'the message names the object');
  t.equal(manifestKeys(sink).length, 1, 'only the first backup can be seen');
});

t.test('a file that has rot is not backed up', async (t) => {
  const { maker, fileSystem, checkpoint } = await prepare();
  const segment = checkpoint.files.find(({ kind }) => kind === 'segment');
  fileSystem.flipBit(segment?.fullPath ?? '', 200);
  const sink = new MemorySink();
  const error = await errorOf(() => backUp(maker, sink, checkpoint));
  t.equal(error?.code, 'FILE_CORRUPT');
  t.match(error?.message, segment?.path ?? 'x');
  t.same(manifestKeys(sink), []);
});

t.test('what is there with another size, or another content when asked, is replaced', async (t) => {
  const { prepared, base } = await storeWithOne();
  const { maker, checkpoint } = prepared;
  const { backups } = await readerOf(base).list();
  const { files } = await readerOf(base).read(backups[0]?.backupId ?? '');
  const segment = files.find(({ kind }) => kind === 'segment');
  const key = fileKey(CLUSTER, segment?.sha256 ?? '');
  const good = base.contentOf(key) ?? new Uint8Array(0);
  base.tamper(key, good.subarray(0, 100));
  await backUp(maker, base, checkpoint);
  t.same(await flawsOf(base), [], 'another size is seen at once');
  const rotten = (base.contentOf(key) ?? good).slice();
  rotten[90] = (rotten[90] as number) ^ 1;
  base.tamper(key, rotten);
  await backUp(maker, base, checkpoint);
  t.not((await flawsOf(base)).length, 0, 'another content is not, by the size alone');
  await backUp(maker, base, checkpoint, { isVerifyingExisting: true });
  t.same(await flawsOf(base), [], 'it is when asked for, and mended for every backup');
});

t.test('an object that nobody names is used when young and good, and sent anew else', async (t) => {
  const { maker, checkpoint } = await prepare();
  const donor = new MemorySink();
  const { manifest } = await backUpWritten(maker, donor, checkpoint);
  const keys = new Set(manifest.files.map(({ sha256 }) => fileKey(CLUSTER, sha256)));
  const sinkAged = (ageMs: number, damage = false): MemorySink => {
    const sink = new MemorySink({ wallMs: () => maker.clock.wallMs() });
    for (const key of keys) {
      const bytes = (donor.contentOf(key) ?? new Uint8Array(0)).slice();
      if (damage) bytes[80] = (bytes[80] as number) ^ 4;
      sink.tamper(key, bytes, maker.clock.wallMs() - ageMs);
    }
    return sink;
  };
  const young = sinkAged(3_600_000);
  t.equal((await backUpWritten(maker, young, checkpoint)).sentFileCount, 0);
  const broken = sinkAged(3_600_000, true);
  t.equal((await backUpWritten(maker, broken, checkpoint)).sentFileCount, keys.size);
  t.same(await flawsOf(broken), []);
  const old = sinkAged(13 * 3_600_000);
  t.equal((await backUpWritten(maker, old, checkpoint)).sentFileCount, keys.size);
});

t.test('progress counts every byte once and ends with all of them', async (t) => {
  const { prepared, base } = await storeWithOne();
  const events: BackupProgress[] = [];
  const sink = base.clone({
    beforeOperation: () => prepared.maker.clock.advance(100),
  });
  await backUp(prepared.maker, sink, prepared.checkpoint, {
    onProgress: (progress) => events.push(progress),
  });
  const phases = [...new Set(events.map(({ phase }) => phase))];
  t.same(phases, ['prepare', 'files', 'manifest', 'check', 'done']);
  const done = events.map(({ bytesDone }) => bytesDone);
  t.same(
    done,
    [...done].sort((a, b) => a - b),
    'it never falls back here',
  );
  const last = events.at(-1);
  t.equal(last?.bytesDone, prepared.checkpoint.sizeBytes);
  t.equal(last?.bytesTotal, prepared.checkpoint.sizeBytes);
  t.ok((last?.bytesSent ?? 0) < (last?.bytesTotal ?? 0), 'reused files were not sent');
  t.equal(last?.etaMs, 0);
  t.ok(events.some(({ etaMs, ratePerS }) => (etaMs ?? 0) > 0 && ratePerS > 0));
});

t.test('one bad sink never fails the others', async (t) => {
  const { maker, checkpoint } = await prepare();
  const sinks = ['a', 'b', 'c'].map((name) => new MemorySink({ name }));
  sinks[1]?.failOperation(4, {}, true);
  const outcomes = await backUpToAll(sinks, (sink) => backUp(maker, sink, checkpoint));
  t.same(
    outcomes.map(({ sink, kind }) => `${sink} ${kind}`),
    ['a success', 'b failure', 'c success'],
  );
  t.ok(hasSucceeded(outcomes, 2));
  t.notOk(hasSucceeded(outcomes, 3));
  for (const outcome of outcomes) {
    if (outcome.kind === 'success') t.equal(outcome.sentSizeBytes, checkpoint.sizeBytes);
    else t.equal(outcome.error.code, 'SINK_UNAVAILABLE');
  }
  sinks[1]?.healAll();
  t.same(await Promise.all(sinks.map(async (sink) => (await flawsOf(sink)).length)), [0, 0, 0]);
});

t.test('a pinned checkpoint outlives the removal of its files, a crash too', async (t) => {
  const { maker, fileSystem, root } = await prepare();
  const pinned = await maker.pin(root, 'outlives');
  const copy = fileSystem.clone();
  for (const { path } of pinned.files) fileSystem.remove(`${DATA}/${path}`);
  const sink = new MemorySink();
  const outcome = await backUpWritten(maker, sink, pinned);
  t.same(await flawsOf(sink), []);
  const restored = new MemoryFileSystem();
  await readerOf(sink).fetchAll(outcome.manifest, restored, '/new');
  t.same(differences(copy, pinned, restored, '/new'), []);
  pinned.release();
  t.notOk(fileSystem.exists(pinned.directory));
  removePins(copy, DATA);
  t.notOk(copy.exists(`${DATA}/backup`), 'a start takes what a crash has left');
});

t.test('a checkpoint that cannot be pinned leaves nothing behind', async (t) => {
  const { fileSystem, root } = await prepare();
  const options = { fileSystem, dataDirectory: DATA, pause };
  for (const operation of ['link', 'makeDirectory'] as const) {
    for (let skip = 0; skip < 3; skip++) {
      const heal = fileSystem.faults.add({ operation, fault: 'EIO', skip });
      const error = await errorOf(() => pinCheckpoint(options, `x${operation}${skip}`, root));
      heal();
      t.equal(error?.code, 'FILE_IO', `${operation} ${skip}`);
      t.notOk(fileSystem.exists(`${DATA}/backup/x${operation}${skip}`));
    }
  }
});

t.test('an id that was used before is refused, and what has it is not touched', async (t) => {
  const { maker, checkpoint } = await prepare();
  const sink = new MemorySink();
  const backupId = nextBackupId();
  await backUp(maker, sink, checkpoint, { backupId });
  const error = await errorOf(() => backUp(maker, sink, checkpoint, { backupId }));
  t.equal(error?.code, 'BACKUP_ABORTED');
  t.equal(manifestKeys(sink).length, 1);
  t.same(await flawsOf(sink), []);
});

t.test('a manifest that an attempt of the sink has stored unseen counts as stored', async (t) => {
  const { maker, checkpoint } = await prepare();
  // As a sink that tries again by itself: the first attempt had its effect unseen.
  class RepeatingSink extends MemorySink {
    override async put(...given: Parameters<MemorySink['put']>) {
      if (given[0].endsWith('/manifest')) await super.put(...given);
      return super.put(...given);
    }
  }
  const sink = new RepeatingSink();
  const { manifest } = await backUpWritten(maker, sink, checkpoint);
  t.same(await readerOf(sink).read(manifest.backupId), manifest);
  const silent = new RepeatingSink();
  silent.fail({ operation: 'get', keyContains: '/manifest' });
  const error = await errorOf(() => backUp(maker, silent, checkpoint));
  t.equal(error?.code, 'BACKUP_ABORTED');
  t.match(error?.message, 'may be left');
  t.same(await flawsOf(silent), [], 'what is left is complete');
});

t.test('the summary of a meta file is that of the whole, and reads no sessions', async (t) => {
  const { fileSystem, root } = await prepare();
  const { catalogue } = await loadMeta(fileSystem, DATA, root, pause);
  const sessions = new SessionTable();
  for (let index = 1; index <= 9_000; index++) sessions.open(logIndex(index), index);
  const definitions = Catalogue.fromSnapshot(catalogue.records());
  const machine = new MetaMachine(definitions, sessions, root.meta.index, 7_000);
  const path = 'meta/large.meta';
  const facts = await writeMeta(fileSystem, `${DATA}/${path}`, machine, pause);
  const large = { ...root, metaFile: { path, ...facts } };
  const whole = await loadMeta(fileSystem, DATA, large, pause);
  let pauseCount = 0;
  const summary = await loadMetaSummary(fileSystem, DATA, large, async () => {
    pauseCount += 1;
  });
  t.equal(summary.logTimeMs, whole.logTimeMs);
  t.same(summary.definitions, whole.catalogue.all());
  t.equal(pauseCount, 0, 'it ends in the first frame');
  const other = { ...large, meta: { ...root.meta, index: logIndex(99) } };
  const error = await errorOf(() => loadMetaSummary(fileSystem, DATA, other, pause));
  t.equal(error?.code, 'CHECKPOINT_CORRUPT');
});

t.test('on a real disk the second names hold the files, and a backup comes back', async (t) => {
  const { fileSystem, root, checkpoint } = await prepare();
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-backup-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const disk = new NodeFileSystem();
  for (const { path, fullPath } of checkpoint.files) {
    const copy = joinPath(folder, path);
    disk.makeDirectory(copy.slice(0, copy.lastIndexOf('/')));
    const handle = disk.open(copy, 'createNew');
    handle.write([readWholeFile(fileSystem, fullPath)], 0);
    handle.close();
  }
  const options = { fileSystem: disk, dataDirectory: folder, pause };
  const pinned = await pinCheckpoint(options, 'real', root);
  disk.removeTree(joinPath(folder, 'collections'));
  const sink = new MemorySink();
  const maker = await CheckpointMaker.open(new MemoryFileSystem());
  const changes = { fileSystem: disk, seal: sealing({ compression: 'zstd' }), concurrency: 2 };
  const { manifest } = await backUpWritten(maker, sink, pinned, changes);
  await readerOf(sink).fetchAll(manifest, disk, joinPath(folder, 'restored'));
  t.same(differences(disk, pinned, disk, joinPath(folder, 'restored')), []);
  pinned.release();
  t.notOk(disk.exists(joinPath(folder, 'backup/real')));
});

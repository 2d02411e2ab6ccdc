/**
 * Checkpoints, crashes and reopening on the forgetful in-memory file system. Whatever happens
 * between, a reopened engine plus replay must equal one that never stopped.
 */
import { HoldfastError, must, SeededRandom } from '@holdfast/base';
import {
  ChecksummedFileReader,
  readWholeFile,
  sha256,
  toHex,
  writeChecksummedFile,
} from '@holdfast/storage';
import { CrashSignal, MemoryFileSystem } from '@holdfast/storage/testing';
import type { Test } from 'tap';
import tap from 'tap';
import { InlineHost } from '../src/host/inline-host.ts';
import type { PointId } from '../src/model.ts';
import type { PointOp } from '../src/point-op.ts';
import type { ShardManifest } from '../src/segment/manifest.ts';
import { readManifest, writeManifest } from '../src/segment/manifest.ts';
import { manifestFiles, removeUnreferenced } from '../src/segment/references.ts';
import type { ShardManifestReference } from '../src/tasks.ts';
import { BruteForceOracle } from '../src/testing/brute-force-oracle.ts';
import { at, definitionOf, HostDriver, randomOps } from './harness.ts';

const DATA = '/data';
const definition = definitionOf({ sealRowCount: 25 });

/** A seeded log: the batches of entries 2, 3, ... (entry 1 creates the collection). */
function seededLog(seed: number, entryCount: number): readonly (readonly PointOp[])[] {
  const random = new SeededRandom(seed);
  const oracle = new BruteForceOracle(definition);
  const versions = (id: PointId) => oracle.points.get(id)?.version ?? 0;
  return Array.from({ length: entryCount }, (_, i) => {
    const ops = randomOps(random, definition.dimension, versions);
    oracle.apply(ops, i + 2);
    return ops;
  });
}

function hostOn(fs: MemoryFileSystem, laneCount: number): InlineHost {
  return new InlineHost({ fs, dataDirectory: DATA, laneCount, graphFactory: null });
}

async function freshDriver(fs: MemoryFileSystem, laneCount: number): Promise<HostDriver> {
  if (!fs.exists(DATA)) fs.makeDirectory(DATA);
  const driver = new HostDriver(hostOn(fs, laneCount), definition);
  await driver.openEmpty();
  await driver.create();
  return driver;
}

async function reopen(
  fs: MemoryFileSystem,
  laneCount: number,
  checkpoint: { readonly index: number; readonly manifests: readonly ShardManifestReference[] },
): Promise<HostDriver> {
  const driver = new HostDriver(hostOn(fs, laneCount), definition, checkpoint.index);
  await driver.host.open({
    appliedIndex: at(checkpoint.index),
    definitions: [definition],
    manifests: checkpoint.manifests,
  });
  return driver;
}

/** Applies the entries after the driver's index, up to `toIndex`. */
async function replay(driver: HostDriver, log: readonly (readonly PointOp[])[], toIndex: number) {
  while (driver.appliedIndex < toIndex) await driver.write(log[driver.appliedIndex - 1] ?? []);
}

async function fingerprint(driver: HostDriver) {
  const vector = Float32Array.from([1, -2, 3, 0]);
  const search = await driver.search({ vector, k: 100, withPayload: true, withVector: true });
  return { index: driver.appliedIndex, digests: await driver.digests(), hits: search.hits };
}

function segmentSums(fs: MemoryFileSystem, manifests: readonly ShardManifestReference[]) {
  const paths = manifestFiles(fs, DATA, manifests).filter((path) => path.endsWith('.seg'));
  return paths.map((path) => [path, toHex(sha256([readWholeFile(fs, `${DATA}/${path}`)]))]);
}

tap.test('checkpoint, power cut, reopen and replay equal a run that never stopped', async (t) => {
  for (const seed of [1, 2, 3, 4, 5, 6]) {
    const random = new SeededRandom(seed);
    const log = seededLog(seed, 150);
    const calm = await freshDriver(new MemoryFileSystem(), 2);
    const fs = new MemoryFileSystem();
    let driver = await freshDriver(fs, 2);
    for (let crash = 0; crash < 4; crash++) {
      const index = Math.min(150, driver.appliedIndex + 10 + random.nextBelow(30));
      await replay(driver, log, index);
      const manifests = await driver.checkpoint(`c${crash}`);
      await replay(driver, log, Math.min(150, index + random.nextBelow(20)));
      fs.crash({ seed: seed * 100 + crash, keepUnsynced: 'none' });
      // The lane count is a local choice: it may change at every start.
      driver = await reopen(fs, 1 + random.nextBelow(4), { index, manifests });
      await replay(calm, log, index);
      t.same(await fingerprint(driver), await fingerprint(calm), `seed ${seed} crash ${crash}`);
    }
    await replay(driver, log, 150);
    await replay(calm, log, 150);
    t.same(await fingerprint(driver), await fingerprint(calm), `seed ${seed} at the end`);
  }
});

tap.test('sealed segments are byte-identical whenever checkpoints and restarts fall', async (t) => {
  const log = seededLog(11, 200);
  const once = new MemoryFileSystem();
  const calm = await freshDriver(once, 3);
  await replay(calm, log, 200);
  const expected = segmentSums(once, await calm.checkpoint());
  t.ok(expected.length >= 3, `${expected.length} segments are left of those that were sealed`);

  const often = new MemoryFileSystem();
  let driver = await freshDriver(often, 1);
  for (let index = 2; index <= 200; index += 7) {
    await replay(driver, log, index);
    const manifests = await driver.checkpoint(`c${index}`);
    if (index % 3 === 0) driver = await reopen(often, 1 + (index % 2), { index, manifests });
  }
  await replay(driver, log, 200);
  const found = segmentSums(often, await driver.checkpoint('last'));
  t.same(found, expected, 'same names, same bytes');
});

tap.test('sealing by size falls on the same rows as well', async (t) => {
  const bySize = definitionOf({ sealRowCount: 1_000_000, sealSizeBytes: 3000 });
  const log = seededLog(12, 120);
  const sums = [];
  for (const step of [13, 120]) {
    const fs = new MemoryFileSystem();
    fs.makeDirectory(DATA);
    const driver = new HostDriver(hostOn(fs, 2), bySize);
    await driver.openEmpty();
    await driver.create();
    for (let index = step; index < 120; index += step) {
      await replay(driver, log, index);
      const manifests = await driver.checkpoint();
      await driver.host.open({ appliedIndex: at(index), definitions: [bySize], manifests });
    }
    await replay(driver, log, 120);
    sums.push(segmentSums(fs, await driver.checkpoint('last')));
  }
  t.ok((sums[0]?.length ?? 0) >= 3, `${sums[0]?.length} segments`);
  t.same(sums[0], sums[1]);
});

tap.test('a crash at any operation of a checkpoint leaves the one before usable', async (t) => {
  const log = seededLog(21, 90);
  const base = new MemoryFileSystem();
  const first = await freshDriver(base, 1);
  await replay(first, log, 60);
  const manifests = await first.checkpoint('first');
  const expected = await fingerprint(first);
  let operation = 0;
  for (; ; operation++) {
    const fs = base.clone();
    const driver = await reopen(fs, 1, { index: 60, manifests });
    await replay(driver, log, 90);
    fs.crashAtOperation(fs.operationCount + operation);
    const isDone = await driver.checkpoint('second').then(
      () => true,
      (error: unknown) => {
        if (!(error instanceof CrashSignal)) throw error;
        return false;
      },
    );
    if (isDone) break;
    fs.crash({ seed: operation, keepUnsynced: 'random', tearsSectors: true });
    const again = await reopen(fs, 2, { index: 60, manifests });
    t.same(await fingerprint(again), expected, `crash at operation ${operation}`);
    // The repeated checkpoint overwrites what the crash left of the first try.
    await replay(again, log, 90);
    const repeated = await again.checkpoint('second');
    fs.crash({ seed: operation, keepUnsynced: 'none' });
    const last = await reopen(fs, 1, { index: 90, manifests: repeated });
    t.same(await fingerprint(last), await fingerprint(driver), `repeated after ${operation}`);
  }
  t.ok(operation > 15, `${operation} operations`);
});

tap.test('a first checkpoint that dies with its process is repeated durably', async (t) => {
  // kill -9 keeps folders in the page cache that no disk has; the next process must sync them.
  const log = seededLog(22, 30);
  let operation = 0;
  for (; ; operation++) {
    const fs = new MemoryFileSystem();
    fs.makeDirectory(DATA);
    const driver = await freshDriver(fs, 1);
    await replay(driver, log, 30);
    fs.crashAtOperation(fs.operationCount + operation);
    const isDone = await driver.checkpoint('first').then(
      () => true,
      (error: unknown) => {
        if (!(error instanceof CrashSignal)) throw error;
        return false;
      },
    );
    if (isDone) break;
    fs.crashProcess();
    const next = await freshDriver(fs, 1);
    await replay(next, log, 30);
    const manifests = await next.checkpoint('second');
    fs.crash({ seed: operation, keepUnsynced: 'none' });
    const last = await reopen(fs, 1, { index: 30, manifests });
    t.same(await last.digests(), await driver.digests(), `killed at operation ${operation}`);
  }
  t.ok(operation > 15, `${operation} operations`);
});

tap.test('files whose checksums hold but whose content disagrees are refused', async (t) => {
  const fs = new MemoryFileSystem();
  const driver = await freshDriver(fs, 1);
  await replay(driver, seededLog(32, 100), 100);
  const manifests = await driver.checkpoint();
  const [reference, ...others] = manifests;
  const loaded = readManifest(fs, DATA, must(reference));
  const forge = async (name: string, change: Partial<ShardManifest>) => {
    const copy = fs.clone();
    const manifest = { ...loaded.manifest, ...change };
    const path = must(reference).manifestPath;
    const { checksum } = writeManifest(copy, DATA, path, { ...loaded, manifest }, 'xxhash3');
    const forged = [{ ...must(reference), checksum }, ...others];
    await t.rejects(reopen(copy, 1, { index: 100, manifests: forged }), /digest|live rows/, name);
  };
  await forge('another digest', { digest: '0'.repeat(32) });
  await forge('another live row count', { liveRowCount: loaded.manifest.liveRowCount + 1 });

  const rowsFile = must(loaded.manifest.segments[0]).path;
  const reader = ChecksummedFileReader.open(fs, `${DATA}/${rowsFile}`, 'segment');
  const content = reader.readAll();
  reader.close();
  const random = new SeededRandom(32);
  for (let round = 0; round < 40; round++) {
    const damaged = content.slice();
    const position = random.nextBelow(damaged.byteLength);
    damaged[position]! ^= 1 << random.nextBelow(8);
    const copy = fs.clone();
    const options = { kind: 'segment', algorithm: 'xxhash3' } as const;
    writeChecksummedFile(copy, `${DATA}/${rowsFile}`, options, [damaged]);
    const outcome = await reopen(copy, 1, { index: 100, manifests }).catch((e: unknown) => e);
    const code = outcome instanceof HoldfastError ? outcome.code : 'served';
    t.match(code, /CORRUPT|FORMAT_UNKNOWN/, `byte ${position}`);
  }
});

tap.test('every flipped byte of every checkpoint file is noticed at open', async (t) => {
  const fs = new MemoryFileSystem();
  const driver = await freshDriver(fs, 1);
  await replay(driver, seededLog(31, 40), 40);
  const manifests = await driver.checkpoint();
  const random = new SeededRandom(31);
  for (const path of manifestFiles(fs, DATA, manifests)) {
    const sizeBytes = fs.sizeBytes(`${DATA}/${path}`);
    for (let round = 0; round < 25; round++) {
      const position = random.nextBelow(sizeBytes);
      const damaged = fs.clone();
      damaged.flipBit(`${DATA}/${path}`, position, random.nextBelow(8));
      const error = await reopen(damaged, 1, { index: 40, manifests }).catch((e: unknown) => e);
      const code = error instanceof HoldfastError ? error.code : `served ${path} at ${position}`;
      t.match(code, /^(SEGMENT_CORRUPT|CHECKPOINT_CORRUPT)$/);
    }
  }
});

tap.test('missing, swapped and foreign files are refused with a code', async (t) => {
  const fs = new MemoryFileSystem();
  const driver = await freshDriver(fs, 2);
  const log = seededLog(41, 60);
  await replay(driver, log, 30);
  const older = await driver.checkpoint();
  await replay(driver, log, 60);
  const manifests = await driver.checkpoint();
  const refused = async (
    name: string,
    code: string,
    change: (fs: MemoryFileSystem) => readonly ShardManifestReference[] | undefined,
  ) => {
    const copy = fs.clone();
    const changed = change(copy) ?? manifests;
    await t.rejects(reopen(copy, 2, { index: 60, manifests: changed }), { code }, name);
  };
  const files = manifestFiles(fs, DATA, manifests);
  const segments = files.filter((path) => path.endsWith('.seg'));
  const growing = files.filter((path) => path.endsWith('.grow'));
  await refused('no segment', 'SEGMENT_CORRUPT', (copy) => {
    copy.remove(`${DATA}/${segments[0]}`);
    return undefined;
  });
  await refused('a segment of another shard', 'SEGMENT_CORRUPT', (copy) => {
    copy.rename(`${DATA}/${segments[0]}`, `${DATA}/${segments.at(-1)}`);
    return undefined;
  });
  await refused('no growing file', 'SEGMENT_CORRUPT', (copy) => {
    copy.remove(`${DATA}/${growing[0]}`);
    return undefined;
  });
  await refused('no manifest', 'CHECKPOINT_CORRUPT', (copy) => {
    copy.remove(`${DATA}/${manifests[0]?.manifestPath}`);
    return undefined;
  });
  await refused('a manifest of an older checkpoint', 'CHECKPOINT_CORRUPT', () => [
    ...manifests.slice(1),
    ...older.slice(0, 1),
  ]);
  await refused('a shard named twice', 'CHECKPOINT_CORRUPT', () => [
    ...manifests,
    ...manifests.slice(0, 1),
  ]);
  await refused('a shard without manifest', 'CHECKPOINT_CORRUPT', () => manifests.slice(1));
  await refused('another checksum', 'CHECKPOINT_CORRUPT', () =>
    manifests.map((reference) => ({ ...reference, checksum: '00'.repeat(32) })),
  );
});

tap.test('a checkpoint moves to another directory by the files it names', async (t) => {
  const fs = new MemoryFileSystem();
  const driver = await freshDriver(fs, 2);
  await replay(driver, seededLog(51, 80), 80);
  const manifests = await driver.checkpoint();
  const copyDirectory = '/copy';
  for (const path of manifestFiles(fs, DATA, manifests)) {
    fs.makeDirectory(`${copyDirectory}/${path.slice(0, path.lastIndexOf('/'))}`);
    fs.link(`${DATA}/${path}`, `${copyDirectory}/${path}`);
  }
  const host = new InlineHost({
    fs,
    dataDirectory: copyDirectory,
    laneCount: 1,
    graphFactory: null,
  });
  await host.open({ appliedIndex: at(80), definitions: [definition], manifests });
  t.same(await fingerprint(new HostDriver(host, definition, 80)), await fingerprint(driver));
});

async function filesUnder(fs: MemoryFileSystem): Promise<string[]> {
  const found: string[] = [];
  const walk = (path: string) => {
    if (!fs.isDirectory(path)) found.push(path);
    else for (const name of fs.list(path)) walk(`${path}/${name}`);
  };
  walk(DATA);
  return found;
}

tap.test('only what no checkpoint reaches is removed', async (t) => {
  const fs = new MemoryFileSystem();
  const driver = await freshDriver(fs, 2);
  const log = seededLog(61, 100);
  const checkpoints: { index: number; manifests: readonly ShardManifestReference[] }[] = [];
  for (const index of [20, 60, 100]) {
    await replay(driver, log, index);
    checkpoints.push({ index, manifests: await driver.checkpoint() });
  }
  fs.makeDirectory(`${DATA}/collections/999/0`);
  const strangers = ['collections/5/0/notes.txt', 'collections/999/0/segment-00000001.seg'];
  for (const stranger of strangers) fs.open(`${DATA}/${stranger}`, 'createNew').close();
  const kept = checkpoints.slice(1);
  const references = kept.flatMap(({ manifests }) => manifests);
  const removed = removeUnreferenced(fs, DATA, references);
  t.ok(removed.length > 0 && removed.includes(strangers[1]!), 'files of dropped collections go');
  t.ok(fs.exists(`${DATA}/${strangers[0]}`), 'a file that is not ours stays');
  t.notOk(fs.exists(`${DATA}/collections/999`), 'empty folders go');
  const expected = new Set(manifestFiles(fs, DATA, references).map((path) => `${DATA}/${path}`));
  t.same(new Set(await filesUnder(fs)), expected.add(`${DATA}/${strangers[0]}`));
  t.same(removeUnreferenced(fs, DATA, references), [], 'nothing is left to remove');
  for (const checkpoint of kept) {
    const again = await reopen(fs, 1, checkpoint);
    t.equal(again.appliedIndex, checkpoint.index);
  }
  await checkUnreadableRemovesNothing(t, fs, references);
});

async function checkUnreadableRemovesNothing(
  t: Test,
  fs: MemoryFileSystem,
  references: readonly ShardManifestReference[],
) {
  const before = await filesUnder(fs);
  fs.flipBit(`${DATA}/${references[0]?.manifestPath}`, 70);
  t.throws(() => removeUnreferenced(fs, DATA, references), { code: 'CHECKPOINT_CORRUPT' });
  t.same(await filesUnder(fs), before, 'an unreadable manifest removes nothing');
}

tap.test('a full disk fails the checkpoint and not the engine', async (t) => {
  const fs = new MemoryFileSystem();
  const driver = await freshDriver(fs, 1);
  await replay(driver, seededLog(71, 50), 50);
  fs.capacityBytes = 2000;
  await t.rejects(driver.checkpoint('full'), { code: 'FILE_IO', details: { cause: 'disk-full' } });
  const before = await fingerprint(driver);
  fs.capacityBytes = Number.POSITIVE_INFINITY;
  const manifests = await driver.checkpoint('space');
  t.same(await fingerprint(await reopen(fs, 1, { index: 50, manifests })), before);
});

/**
 * Goal: whatever happened to an object of a store, a restore that needs it is refused, names it,
 * and leaves the data that are there as they were; damage to what it does not need changes nothing.
 * Method: a history in a folder with backups, a gap of the archive and a restored timeline; each
 * object cut, flipped, removed, swapped and put back in time: on the disk, where the folder's own
 * digest sees it, and as a store would hand it out, where only the seal can.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HoldfastError, logIndex, must, SeededRandom, term } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import type { BackupManifest } from '@holdfast/storage';
import {
  backupManifestKey,
  encodeLogChunk,
  fileKey,
  gapKey,
  logChunkPrefix,
  numberOfKey,
  timelineKey,
  toHex,
} from '@holdfast/storage';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import t from 'tap';
import { entryTimestampMs } from '../src/backup/archive/entry-time.ts';
import { BackupReader } from '../src/backup/backup-reader.ts';
import { backupSource } from '../src/backup/restore/backup-source.ts';
import type { LaidDirectory } from '../src/backup/restore/lay-directory.ts';
import { layDirectory } from '../src/backup/restore/lay-directory.ts';
import {
  archiveOfPlan,
  backupOfPlan,
  beginRestoredTimeline,
} from '../src/backup/restore/plan-from-store.ts';
import type { RestorePlan } from '../src/backup/restore/restore-plan.ts';
import { swapDirectory } from '../src/backup/restore/swap-directory.ts';
import { LocalSink } from '../src/backup/sinks/local-sink.ts';
import { encodeTrailer, TRAILER_SIZE_BYTES } from '../src/backup/sinks/local-trailer.ts';
import { MemorySink } from '../src/backup/testing/memory-sink.ts';
import { SimCluster } from '../src/testing/sim-cluster.ts';
import { DATA_DIRECTORY } from '../src/testing/sim-node.ts';
import { MAIN, storeOf } from './support/archive.ts';
import { PitrHistory, SMALL_WAL } from './support/pitr-history.ts';
import { TEST_ENVIRONMENT } from './support/sink-suite.ts';

const SEED = Number(process.env.HOLDFAST_TEST_SEED ?? 51);
const random = new SeededRandom(SEED);
const folder = mkdtempSync(join(tmpdir(), 'holdfast-damage-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));
const sink = new LocalSink({ folder, isMountRequired: false }, TEST_ENVIRONMENT);

interface World {
  /** Of the cluster that was restored and went on. */
  readonly child: PitrHistory;
  readonly parentId: PitrHistory['clusterId'];
  readonly backupIds: readonly string[];
  readonly manifest: BackupManifest;
  /** To the last index of the child, from the newest backup of the parent. */
  readonly plan: RestorePlan;
  readonly laid: LaidDirectory;
}

/** Backups before and behind a gap, an incremental one, and another cluster that goes on. */
async function makeWorld(): Promise<World> {
  const history = await PitrHistory.begin(sink, random, 1);
  await history.write(8);
  await history.archiveAll();
  const first = await history.backUp('full');
  await history.write(6);
  await history.archiveAll();
  await history.write(8);
  const second = await history.backUp('full');
  await history.write(2);
  // A log is kept from the checkpoint before the newest one: what lies before the second is lost.
  const third = await history.backUp('full');
  await history.archiveAll();
  await history.write(8);
  await history.archiveAll();
  const fourth = await history.backUp('incremental');
  for (let i = 0; i < 5; i++) {
    await history.write(2);
    await history.archiveAll();
  }
  const { backup, plan } = await history.plan({ kind: 'latest' });
  await beginRestoredTimeline(history.store, plan);
  const fileSystem = new MemoryFileSystem();
  await lay(history, plan, fileSystem, DATA_DIRECTORY);
  const cluster = new SimCluster({ nodeCount: 1, seed: SEED, wal: SMALL_WAL });
  cluster.node(0).fileSystem = fileSystem;
  await cluster.start();
  const child = history.branch(cluster, plan);
  for (let i = 0; i < 3; i++) {
    await child.write(3);
    await child.archiveAll();
  }
  history.close();
  child.close();
  const found = await child.plan({ kind: 'index', index: child.lastIndex }, fourth);
  const laid = await lay(child, found.plan, new MemoryFileSystem(), DATA_DIRECTORY);
  const backupIds = [first, second, third, fourth];
  const { clusterId: parentId } = history;
  return { child, parentId, backupIds, manifest: backup, plan: found.plan, laid };
}

async function lay(
  history: PitrHistory,
  plan: RestorePlan,
  fileSystem: MemoryFileSystem,
  directory: string,
): Promise<LaidDirectory> {
  const { store } = history;
  const { manifest, reader } = await backupOfPlan(store, plan);
  return layDirectory({
    ...{ fileSystem, directory, plan, nodeId: 'n1', hasher: store.hasher, wal: SMALL_WAL },
    source: backupSource(reader, manifest, fileSystem),
    ...{ archive: archiveOfPlan(store, plan), clock: new VirtualClock() },
  });
}

/** Someone's data, and where a restore would put others in their place. */
function liveDisk(): MemoryFileSystem {
  const fileSystem = new MemoryFileSystem();
  for (const directory of ['/data', '/data/wal']) fileSystem.makeDirectory(directory);
  for (const path of ['/data/CHECKPOINT', '/data/identity.json', '/data/wal/1.wal']) {
    const handle = fileSystem.open(path, 'createNew');
    handle.write([Buffer.from(`live ${path}`)], 0);
    handle.sync();
    handle.close();
  }
  return fileSystem;
}

function contentsOf(fileSystem: MemoryFileSystem, directory: string): string {
  const lines = fileSystem.list(directory).map((name) => {
    const path = `${directory}/${name}`;
    if (fileSystem.isDirectory(path)) return `${path}: ${contentsOf(fileSystem, path)}`;
    return `${path}: ${Buffer.from(fileSystem.contentOf(path)).toString('hex')}`;
  });
  return lines.sort().join('\n');
}

const LIVE = contentsOf(liveDisk(), '/data');

interface Outcome {
  readonly error: unknown;
  readonly laid: LaidDirectory | null;
  /** Sum of the log up to the target. */
  readonly sum: string | null;
  readonly isLiveUntouched: boolean;
}

/** As an operator puts a state back beside live data: plan, lay, and swap only what is complete. */
async function putBack({ child, plan: made }: World, backupId: string | null): Promise<Outcome> {
  const fileSystem = liveDisk();
  const untouched = (): boolean => contentsOf(fileSystem, '/data') === LIVE;
  try {
    const target = { kind: 'index', index: child.lastIndex } as const;
    // Every other time the plan was made while all was well.
    const isPlanned = backupId !== null && random.nextBelow(2) === 0;
    const plan = isPlanned ? made : (await child.plan(target, backupId)).plan;
    const laid = await lay(child, plan, fileSystem, '/new');
    const isLiveUntouched = untouched();
    swapDirectory({ fileSystem, restored: '/new', dataDirectory: '/data', aside: '/old' });
    return { error: null, laid, sum: toHex(plan.parent.sum), isLiveUntouched };
  } catch (error) {
    return { error, laid: null, sum: null, isLiveUntouched: untouched() };
  }
}

const pathOf = (key: string): string => join(folder, `${key}.object`);
const contentOf = (key: string): Buffer =>
  readFileSync(pathOf(key)).subarray(0, -TRAILER_SIZE_BYTES);

/** As the folder would have it, had it been given these bytes. */
function stored(content: Uint8Array): Buffer {
  const sha256 = createHash('sha256').update(content).digest('hex');
  return Buffer.concat([content, encodeTrailer({ sizeBytes: content.byteLength, sha256 })]);
}

function flipped(bytes: Uint8Array): Buffer {
  const copy = Buffer.from(bytes);
  const at = random.nextBelow(copy.byteLength);
  copy[at] = must(copy[at]) ^ (1 << random.nextBelow(8));
  return copy;
}

interface Damage {
  readonly name: string;
  /** What is then on the disk; null: nothing. */
  readonly raw: Buffer | null;
}

/** `others` are of the same kind. */
function damagesOf(key: string, others: readonly string[]): readonly Damage[] {
  const raw = readFileSync(pathOf(key));
  const content = contentOf(key);
  const half = Math.floor(content.byteLength / 2);
  const other = others.find((one) => one !== key && !contentOf(one).equals(content));
  return [
    { name: 'removed', raw: null },
    { name: 'flipped on disk', raw: flipped(raw) },
    { name: 'flipped on disk again', raw: flipped(raw) },
    { name: 'flipped in the store', raw: stored(flipped(content)) },
    { name: 'flipped in the store again', raw: stored(flipped(content)) },
    { name: 'cut on disk', raw: raw.subarray(0, random.nextBelow(raw.byteLength)) },
    { name: 'cut in the store', raw: stored(content.subarray(0, half)) },
    { name: 'cut by a byte', raw: stored(content.subarray(0, -1)) },
    { name: 'emptied', raw: stored(new Uint8Array(0)) },
    { name: 'zeros', raw: stored(new Uint8Array(content.byteLength)) },
    { name: 'longer by a byte', raw: stored(Buffer.concat([content, Buffer.of(0)])) },
    ...(other === undefined
      ? []
      : [{ name: `swapped with ${other}`, raw: stored(contentOf(other)) }]),
  ];
}

/** Runs with the damage, and mends it. */
async function damaged<T>(key: string, { raw }: Damage, body: () => Promise<T>): Promise<T> {
  const whole = readFileSync(pathOf(key));
  if (raw === null) rmSync(pathOf(key));
  else writeFileSync(pathOf(key), raw);
  try {
    return await body();
  } finally {
    writeFileSync(pathOf(key), whole);
  }
}

/** The key, or for a manifest the id of its backup. */
const isNamed = (error: unknown, key: string): boolean => {
  const id = /backup_([0-9a-f-]+)\/manifest$/.exec(key)?.[1];
  return (
    error instanceof HoldfastError &&
    ['BACKUP_CORRUPT', 'BACKUP_NOT_FOUND'].includes(error.code) &&
    (error.message.includes(key) || (id !== undefined && error.message.includes(id)))
  );
};

const isBeyondEnd = (error: unknown): boolean =>
  error instanceof HoldfastError && error.code === 'RESTORE_TARGET';

async function keysOf(prefix: string): Promise<readonly string[]> {
  const keys: string[] = [];
  for await (const { key } of sink.list(prefix)) keys.push(key);
  return keys;
}

/** Every object that the plan needs, by kind, and the others of that kind. */
async function neededKeys({ child, manifest, parentId, plan }: World) {
  const clusterId = parentId;
  const files = manifest.files.map(
    ({ kind, sha256 }) => [kind, fileKey(clusterId, sha256)] as const,
  );
  const chunks: string[] = [];
  const archive = archiveOfPlan(child.store, plan);
  for await (const { key } of archive.chunks(manifest.root.meta.index, plan.parent.index)) {
    chunks.push(key);
  }
  const { timeline } = plan.parent;
  const timelines = [timelineKey(clusterId, MAIN), timelineKey(child.clusterId, timeline)];
  return [
    ['manifest', [backupManifestKey(clusterId, manifest.backupId)]],
    ...[...new Set(files.map(([kind]) => kind))].map(
      (kind) =>
        [`file ${kind}`, files.filter((one) => one[0] === kind).map((one) => one[1])] as const,
    ),
    ['chunk', chunks],
    ['timeline', timelines],
  ] as const;
}

const world = await makeWorld();

t.test('every damage to what is needed is refused by name, and live data stay', async (t) => {
  const { backupIds, manifest, parentId, plan } = world;
  const manifests = backupIds.map((id) => backupManifestKey(parentId, id));
  const allFiles = await keysOf(`${parentId}/files/`);
  const needed = await neededKeys(world);
  const lastChunk = needed.find(([kind]) => kind === 'chunk')?.[1].at(-1);
  let caseCount = 0;
  for (const [kind, keys] of needed) {
    const others = kind === 'manifest' ? manifests : kind.startsWith('file') ? allFiles : keys;
    let kindCount = 0;
    for (const key of new Set(keys)) {
      for (const damage of damagesOf(key, others)) {
        await damaged(key, damage, async () => {
          const outcome = await putBack(world, manifest.backupId);
          // Without its end an archive is whole, and shorter.
          const isEnd = key === lastChunk;
          const isShorter = isEnd && damage.raw === null && isBeyondEnd(outcome.error);
          const isRight = outcome.laid === null && (isShorter || isNamed(outcome.error, key));
          if (!isRight) t.fail(`${kind} ${key}, ${damage.name}: ${outcome.error}`);
          if (!outcome.isLiveUntouched) t.fail(`${kind} ${key}, ${damage.name}: live data changed`);
          // It reads everything each time: for some of them.
          const isVerified = !isShorter && random.nextBelow(3) === 0;
          const problem = isVerified ? await verifyProblem(kind, key, world) : null;
          if (problem !== null) t.fail(`${kind} ${key}, ${damage.name}: ${problem}`);
        });
        kindCount += 1;
      }
    }
    t.comment(`${kind}: ${kindCount} cases`);
    caseCount += kindCount;
  }
  t.ok(caseCount >= 200, `${caseCount} cases`);
  const whole = await putBack(world, manifest.backupId);
  t.same([whole.error, whole.sum], [null, toHex(plan.parent.sum)], 'mended, it is restored');
});

/** Verification finds the same object; null when it does. */
async function verifyProblem(
  kind: string,
  key: string,
  { child, manifest, plan }: World,
): Promise<string | null> {
  const { sealing } = child.store;
  const { clusterId } = manifest;
  const reader = new BackupReader({ sink, clusterId, keys: sealing.keys });
  const told: unknown[] = [];
  const note = (thrown: unknown): void => void told.push(thrown);
  if (kind === 'manifest') await reader.read(manifest.backupId).catch(note);
  else if (kind.startsWith('file')) {
    const { bad } = await reader.verify(manifest);
    if (bad.length !== 1) return `${bad.length} objects are bad`;
    told.push(bad[0]?.error);
  } else {
    const report = await archiveOfPlan(child.store, plan)
      .verify(undefined, { allowsHoles: true })
      .catch(note);
    // A hole may be of retention; the restore itself is what refuses it.
    if (report instanceof Object && report.error === null && report.holes.length > 0) return null;
    if (report instanceof Object) told.push(report.error);
  }
  return told.some((error) => isNamed(error, key)) ? null : `verification says ${told}`;
}

t.test('a chunk that is put back in time is refused: it ends too early', async (t) => {
  const { child, manifest, plan } = world;
  const needed = await neededKeys(world);
  const chunks = needed.find(([kind]) => kind === 'chunk')?.[1] ?? [];
  let count = 0;
  for (const key of chunks) {
    const [clusterId, timeline] = key.split('/') as [typeof world.parentId, string];
    const object = await storeOf(sink, timeline, clusterId).readLogObject(must(numberOfKey(key)));
    if (object?.kind !== 'chunk' || object.entries.length < 2) continue;
    const { firstIndex, hashBefore, sumBefore, termBefore, timestampBeforeMs } = object.header;
    const older = encodeLogChunk({
      ...{
        clusterId,
        timeline,
        timestampOf: entryTimestampMs,
        entries: object.entries.slice(0, -1),
      },
      before: {
        ...{ index: logIndex(firstIndex - 1), term: term(termBefore), sum: sumBefore },
        ...{ hash: hashBefore, timestampMs: timestampBeforeMs },
      },
    });
    const scratch = new MemorySink();
    await storeOf(scratch, timeline, clusterId).putLogObject(firstIndex, older.bytes);
    const raw = stored(must(scratch.contentOf(key)));
    const outcome = await damaged(key, { name: 'older', raw }, () =>
      putBack(world, manifest.backupId),
    );
    const code = outcome.error instanceof HoldfastError ? outcome.error.code : null;
    t.match(code, /BACKUP_CORRUPT|RESTORE_TARGET/, `${key}: ${outcome.error}`);
    t.ok(outcome.isLiveUntouched);
    count += 1;
  }
  t.ok(count > 2, `${count} chunks; ${child.lastIndex} entries to ${plan.parent.index}`);
});

t.test('damage to what is not needed changes nothing', async (t) => {
  const { backupIds, child, laid, manifest, parentId, plan } = world;
  const needed = new Set((await neededKeys(world)).flatMap(([, keys]) => [...keys]));
  const gaps = await keysOf(gapKey(parentId, MAIN, 0).slice(0, -16));
  t.equal(gaps.length, 1, 'there is a gap');
  const gapChunk = `${logChunkPrefix(parentId, MAIN)}${must(gaps[0]).slice(-16)}`;
  const others = [...(await keysOf(`${parentId}/`)), ...(await keysOf(`${child.clusterId}/`))];
  const unneeded = others.filter((key) => !needed.has(key));
  t.ok([gapChunk, ...gaps].every((key) => unneeded.includes(key)));
  t.ok(unneeded.includes(backupManifestKey(parentId, must(backupIds[0]))));
  let count = 0;
  for (const key of unneeded) {
    // The newest chunks say where the archive ends: those of the target are needed anyway.
    for (const damage of damagesOf(key, []).slice(0, 2)) {
      const outcome = await damaged(key, damage, () => putBack(world, manifest.backupId));
      const isSame =
        outcome.laid?.lastIndex === laid.lastIndex && outcome.sum === toHex(plan.parent.sum);
      if (!isSame) t.fail(`${key}, ${damage.name}: ${outcome.error}`);
      count += 1;
    }
  }
  t.ok(count > 20, `${count} cases of ${unneeded.length} objects, to index ${plan.parent.index}`);
});

t.test(
  'what leads through a damaged gap is refused as what leads through a whole one',
  async (t) => {
    const { backupIds, child, parentId } = world;
    const [old] = backupIds;
    const target = { kind: 'index', index: child.lastIndex } as const;
    const through = async () => {
      const { plan } = await child.plan(target, must(old));
      return lay(child, plan, new MemoryFileSystem(), DATA_DIRECTORY);
    };
    await t.rejects(through(), { code: 'ARCHIVE_GAP' });
    const [gap] = await keysOf(gapKey(parentId, MAIN, 0).slice(0, -16));
    const key = `${logChunkPrefix(parentId, MAIN)}${must(gap).slice(-16)}`;
    for (const damage of damagesOf(key, await keysOf(logChunkPrefix(parentId, MAIN)))) {
      const error = await damaged(key, damage, () => through().catch((thrown: unknown) => thrown));
      t.ok(isNamed(error, key), `${damage.name}: ${error}`);
    }
  },
);

/**
 * A simulated cluster with a history: archived and backed up in a sink, with the digests of its
 * shards at every index that a request ended at.
 */
import type { LogIndex } from '@holdfast/base';
import { DEFAULT_GROUP_ID, logIndex, must, SeededRandom } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import type { Request } from '@holdfast/protocol';
import type { BackupManifest, FileSystem } from '@holdfast/storage';
import { createEntryHasher, NO_KEYS, readCheckpointRoot, readIdentity } from '@holdfast/storage';
import type { ArchiveReader } from '../../src/backup/archive/archive-reader.ts';
import type { RestoreTarget } from '../../src/backup/archive/archive-target.ts';
import { committedPartOf } from '../../src/backup/archive/committed-log.ts';
import { describeCheckpoint } from '../../src/backup/backup-facts.ts';
import { BackupReader } from '../../src/backup/backup-reader.ts';
import { writeBackup } from '../../src/backup/backup-writer.ts';
import { pinCheckpoint } from '../../src/backup/checkpoint-source.ts';
import { examineFile, FileFactsCache } from '../../src/backup/file-facts.ts';
import { backupSource } from '../../src/backup/restore/backup-source.ts';
import type { LayOptions } from '../../src/backup/restore/lay-directory.ts';
import type { RestorePlan } from '../../src/backup/restore/restore-plan.ts';
import { planRestore } from '../../src/backup/restore/restore-plan.ts';
import { MemorySink } from '../../src/backup/testing/memory-sink.ts';
import type { SimNode } from '../../src/testing/sim-cluster.ts';
import { SimCluster } from '../../src/testing/sim-cluster.ts';
import { DATA_DIRECTORY } from '../../src/testing/sim-node.ts';
import { catchUp, MAIN, makeArchiver, readerOf, storeOf } from './archive.ts';

const pause = async (): Promise<void> => undefined;
const DIMENSION = 8;
const COLLECTION = 'docs';

export interface History {
  readonly sink: MemorySink;
  readonly manifest: BackupManifest;
  readonly reader: ArchiveReader;
  /** Digests of the shards at the end of each request. */
  readonly digestAt: ReadonlyMap<number, string>;
  /** The rows at the end of each request, by id: the value that upsert was given. */
  readonly rowsAt: ReadonlyMap<number, ReadonlyMap<number, number>>;
  readonly lastIndex: LogIndex;
}

const createCollection: Request = {
  ...{ id: 1, kind: 'createCollection', name: COLLECTION, dimension: DIMENSION, metric: 'l2' },
  shardCount: 2,
};

export const upsert = (ids: readonly number[], value: number): Request => ({
  ...{ id: 1, kind: 'upsert', collection: COLLECTION },
  points: ids.map((id) => ({
    id,
    vector: Float32Array.from({ length: DIMENSION }, (_, i) => value + id / (i + 1)),
  })),
});

const remove = (ids: readonly number[]): Request => ({
  ...{ id: 1, kind: 'delete', collection: COLLECTION },
  points: ids.map((id) => ({ id })),
});

/** Of the rows; the state of sessions and configurations is not in it. */
export async function shardDigests(cluster: SimCluster, node: SimNode): Promise<string> {
  const { appliedIndex } = await cluster.scheduler.resolve(node.node.service.stateDigest());
  const digests = await cluster.scheduler.resolve(node.host.digests(logIndex(appliedIndex)));
  return digests
    .map(({ digest, shard, uid }) => `${uid}/${shard}/${digest}`)
    .sort()
    .join(' ');
}

export async function makeHistory(seed: number, requestCount = 24): Promise<History> {
  const random = new SeededRandom(seed);
  const cluster = new SimCluster({ nodeCount: 3, seed });
  await cluster.start();
  const sink = new MemorySink();
  const digestAt = new Map<number, string>();
  const rows = new Map<number, number>();
  const rowsAt = new Map<number, ReadonlyMap<number, number>>();
  let manifest: BackupManifest | null = null;
  const leader = await cluster.leader();
  const { clusterId } = readIdentity(leader.fileSystem, DATA_DIRECTORY);
  const log = committedPartOf(must(leader.log), () =>
    logIndex(leader.node.replica.raftStatus().commit),
  );
  const store = storeOf(sink, MAIN, clusterId);
  const archiver = makeArchiver(sink, log, { store, limits: { chunkSizeBytesMax: 900 } });
  for (let i = 0; i < requestCount; i++) {
    const request = i === 0 ? createCollection : someRequest(random, i);
    await cluster.execute(leader, request);
    applyTo(rows, request, i);
    await cluster.scheduler.advance(random.nextBelow(40));
    const { appliedIndex } = leader.node.replica.applier;
    digestAt.set(appliedIndex, await shardDigests(cluster, leader));
    rowsAt.set(appliedIndex, new Map(rows));
    if (i === Math.floor(requestCount / 3)) manifest = await backUp(cluster, leader, sink);
    if (random.nextBelow(3) === 0) await catchUp(archiver, log);
  }
  await catchUp(archiver, log);
  const reader = readerOf(sink, MAIN, clusterId);
  const { index: lastIndex } = await reader.end();
  return { sink, manifest: must(manifest), reader, digestAt, rowsAt, lastIndex };
}

function applyTo(rows: Map<number, number>, request: Request, value: number): void {
  if (request.kind === 'upsert') for (const { id } of request.points) rows.set(Number(id), value);
  if (request.kind === 'delete') for (const { id } of request.points) rows.delete(Number(id));
}

function someRequest(random: SeededRandom, value: number): Request {
  const ids = Array.from({ length: 1 + random.nextBelow(6) }, () => random.nextBelow(40));
  const unique = [...new Set(ids)];
  return random.nextBelow(4) === 0 ? remove(unique) : upsert(unique, value);
}

async function backUp(
  cluster: SimCluster,
  leader: SimNode,
  sink: MemorySink,
): Promise<BackupManifest> {
  await cluster.scheduler.resolve(leader.node.replica.checkpoint());
  const { fileSystem } = leader;
  const { root } = must(readCheckpointRoot(fileSystem, DATA_DIRECTORY));
  const { clusterId, nodeId } = readIdentity(fileSystem, DATA_DIRECTORY);
  const place = { fileSystem, dataDirectory: DATA_DIRECTORY, pause };
  const checkpoint = await pinCheckpoint(place, 'b1', root);
  let salt = 0;
  const outcome = await writeBackup(
    {
      ...{ sink, fileSystem, clock: new VirtualClock(), pause, budget: null, concurrency: 2 },
      seal: {
        compression: 'gzip',
        keys: NO_KEYS,
        random: (sizeBytes) => new Uint8Array(sizeBytes).fill(salt++),
      },
      isVerifyingExisting: false,
    },
    {
      backupId: '0b1c2d3e-0000-4000-8000-000000000001',
      type: 'full',
      checkpoint,
      facts: new FileFactsCache((file) => examineFile(fileSystem, file, pause)),
      description: {
        ...{ clusterId, timeline: MAIN, nodeId, productVersion: '0.1.0', dataFormatVersion: 1 },
        ...(await describeCheckpoint(fileSystem, checkpoint, pause)),
      },
      ...{ base: null, known: null, log: null },
    },
  );
  checkpoint.release();
  if (outcome.kind !== 'written') throw new Error('the backup was written');
  return outcome.manifest;
}

/** For three nodes with the names and addresses of simulated ones. */
export async function planFor(
  { manifest, reader }: History,
  target: RestoreTarget,
  seed = 1,
  nodeIds: readonly string[] = ['n3', 'n1', 'n2'],
): Promise<RestorePlan> {
  const random = new SeededRandom(seed);
  const { index } = await reader.resolve(target);
  return planRestore({
    ...{ group: DEFAULT_GROUP_ID, target, createdMs: 1_800_000_000_000 },
    backup: { backupId: manifest.backupId, index: manifest.root.meta.index },
    parent: await reader.pointAt(index),
    members: nodeIds.map((nodeId) => ({
      ...{ nodeId, address: `${nodeId}:2`, clientAddress: `${nodeId}:1` },
    })),
    mintHexId: () =>
      Array.from({ length: 4 }, () => random.nextU32().toString(16).padStart(8, '0')).join(''),
  });
}

const SMALL_WAL = { fileSizeBytes: 64 * 1024 };

/** What one node of the plan is made with, on the disk that is given. */
export function layOptions(
  history: History,
  plan: RestorePlan,
  nodeId: string,
  fileSystem: FileSystem,
): LayOptions {
  const { manifest, reader: archive, sink } = history;
  const reader = new BackupReader({ sink, clusterId: manifest.clusterId, keys: NO_KEYS });
  return {
    ...{ fileSystem, directory: DATA_DIRECTORY, plan, nodeId, archive, wal: SMALL_WAL },
    source: backupSource(reader, manifest, fileSystem),
    ...{ hasher: createEntryHasher(), clock: new VirtualClock() },
  };
}

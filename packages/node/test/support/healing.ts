/** A simulated cluster with sealed segments on every disk, and ways to damage the disks. */
import type { GetResult, Request, SearchResult } from '@holdfast/protocol';
import { GRAPH_DEFAULTS } from '@holdfast/protocol';
import type { Test } from 'tap';
import type { RecoveryEvent } from '../../src/heal/recovery-events.ts';
import { encodeCommand } from '../../src/state/command.ts';
import type { SimNode } from '../../src/testing/sim-cluster.ts';
import { SimCluster } from '../../src/testing/sim-cluster.ts';

export const DATA = '/data';
/** Two blocks of 64 KiB hold about 60 rows. */
const DIMENSION = 512;
const SEAL_ROW_COUNT = 80;
const BATCH = 40;
const ENVELOPE = { session: null, bodyHash: 0n };

export const vectorOf = (id: number): Float32Array =>
  Float32Array.from({ length: DIMENSION }, (_, i) => id + i / 1024);

/** `batchCount` batches of 40 points; every node has a checkpoint at the same index. */
export async function clusterWithSegments(
  batchCount: number,
  seed: number,
  settings: SimCluster['options']['settings'] = {},
  wal: SimCluster['options']['wal'] = {},
  nodeCount = 3,
): Promise<SimCluster> {
  const cluster = new SimCluster({ nodeCount, seed, settings, wal });
  await cluster.start();
  await createDocs(cluster);
  for (let batch = 0; batch < batchCount; batch++) await upsertBatch(cluster, batch);
  await cluster.digests();
  await checkpointAll(cluster);
  return cluster;
}

async function createDocs(cluster: SimCluster): Promise<void> {
  const leader = await cluster.leader();
  const { replica } = leader.node;
  const deadlineMs = leader.nowMs + 5_000;
  await cluster.scheduler.resolve(replica.whenLeaderReady(deadlineMs));
  const spec = {
    name: 'docs',
    dimension: DIMENSION,
    metric: 'l2' as const,
    shardCount: 1,
    hnsw: { m: 8, efConstruction: 32, efSearch: 32 },
    sealRowCount: SEAL_ROW_COUNT,
    sealSizeBytes: 1 << 30,
    checksumAlgorithm: 'xxhash3' as const,
    graph: GRAPH_DEFAULTS,
  };
  const command = { kind: 'createCollection' as const, spec, ifNotExists: false };
  const bytes = encodeCommand({ timestampMs: replica.nextStampMs(), ...ENVELOPE, command });
  await cluster.scheduler.resolve(replica.propose(bytes, deadlineMs));
}

export async function upsertBatch(cluster: SimCluster, batch: number): Promise<void> {
  const points = Array.from({ length: BATCH }, (_, i) => {
    const id = batch * BATCH + i + 1;
    return { id, vector: vectorOf(id) };
  });
  const request: Request = { id: 1, kind: 'upsert', collection: 'docs', points };
  await cluster.execute(await cluster.leader(), request, 20_000);
}

export async function checkpointAll(cluster: SimCluster): Promise<void> {
  for (const node of cluster.nodes) {
    if (node.isRunning) await cluster.scheduler.resolve(node.node.replica.checkpoint());
  }
}

/** Paths below the data directory that match, quarantine left out. */
export function filesOf(node: SimNode, pattern: RegExp): readonly string[] {
  return node.fileSystem
    .files(DATA)
    .map(({ path }) => path.slice(DATA.length + 1))
    .filter((path) => pattern.test(path) && !path.startsWith('quarantine/'));
}

export function bytesOf(node: SimNode, path: string): Buffer {
  const full = `${DATA}/${path}`;
  const bytes = Buffer.alloc(node.fileSystem.sizeBytes(full));
  const handle = node.fileSystem.open(full, 'read');
  handle.read(bytes, 0);
  handle.close();
  return bytes;
}

/** Replaces the content as rot and hands do: behind the back of the node. */
export function overwrite(node: SimNode, path: string, bytes: Uint8Array, at = 0): void {
  const handle = node.fileSystem.open(`${DATA}/${path}`, 'readWrite');
  handle.write([bytes], at);
  handle.sync();
  handle.close();
}

export function truncate(node: SimNode, path: string, sizeBytes: number): void {
  const handle = node.fileSystem.open(`${DATA}/${path}`, 'readWrite');
  handle.truncate(sizeBytes);
  handle.sync();
  handle.close();
}

/** One pass of the scrubber, and every recovery that follows from it. */
export async function scrub(cluster: SimCluster, node: SimNode): Promise<readonly RecoveryEvent[]> {
  const { recoveries, scrubber } = node.node.care;
  const before = recoveries.events().at(-1)?.number ?? 0;
  if (scrubber === null) throw new Error(`${node.id} has no scrubber`);
  await cluster.scheduler.resolve(scrubber.run());
  await cluster.scheduler.resolve(recoveries.idle());
  return recoveries.events().filter(({ number }) => number > before);
}

/** Ids of 1..count that cannot be read or have another vector, asked of the leader. */
export async function wrongPoints(cluster: SimCluster, count: number): Promise<readonly number[]> {
  const ids = Array.from({ length: count }, (_, i) => i + 1);
  const request: Request = { id: 1, kind: 'get', collection: 'docs', ids, withVector: true };
  const { points } = (await cluster.execute(await cluster.leader(), request, 20_000)) as GetResult;
  const byId = new Map(points.map((point) => [point.id, point.vector]));
  return ids.filter((id) => {
    const vector = byId.get(id);
    return vector === undefined || Buffer.compare(rawOf(vector), rawOf(vectorOf(id))) !== 0;
  });
}

export async function nearest(cluster: SimCluster, id: number): Promise<unknown> {
  const vector = vectorOf(id);
  const request: Request = { id: 1, kind: 'search', collection: 'docs', vector, k: 1 };
  const { hits } = (await cluster.execute(await cluster.leader(), request)) as SearchResult;
  return hits[0]?.id;
}

const rawOf = (vector: ArrayLike<number>): Buffer =>
  Buffer.from(new Uint8Array(Float32Array.from(vector).buffer));

/** Reads are right, and every running replica has one digest. */
export async function expectHealed(
  t: Test,
  cluster: SimCluster,
  pointCount: number,
): Promise<void> {
  t.same(await wrongPoints(cluster, pointCount), [], 'every point reads as it was written');
  const digests = await cluster.digests();
  t.equal(new Set(digests.map(({ digest }) => digest)).size, 1, 'every replica has one digest');
}

/**
 * A node whose lanes hang, leak and die while a client works: every answer is checked against a
 * model, and nothing that was acknowledged is missing afterwards. Real threads, real log.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HoldfastError, must, nodeId, SeededRandom, SILENT_LOGGER } from '@holdfast/base';
import { type Collection, HoldfastClient } from '@holdfast/client';
import { FAULTY_WORKER, LANE_FAULT_IDS } from '@holdfast/shard-worker/testing';
import { NodeFileSystem } from '@holdfast/storage';
import t from 'tap';
import { initCluster } from '../src/cluster/init.ts';
import { startNode } from '../src/compose.ts';
import { loadConfig } from '../src/config/load.ts';
import { scrape } from './support/metrics.ts';

const ID_COUNT = 300;

async function startFaulty() {
  const dataDirectory = mkdtempSync(join(tmpdir(), 'holdfast-lane-loss-'));
  t.teardown(() => rmSync(dataDirectory, { recursive: true }));
  const id = nodeId('one');
  const place = { nodeId: id, dataDirectory };
  initCluster(new NodeFileSystem(), [
    { ...place, publicAddress: '127.0.0.1:7101', peerAddress: '127.0.0.1:7201' },
  ]);
  const ports = { listen: '127.0.0.1:0', peerListen: '127.0.0.1:0' };
  const quick = { electionTimeoutMs: '100', heartbeatIntervalMs: '20', laneCount: '2' };
  const small = { checkpointIntervalMs: '1000', laneHeapSizeMbMax: '48' };
  // A checkpoint now and then, so that lanes come back from files and log.
  const flags = { data: dataDirectory, nodeId: id, ...ports, ...quick, ...small };
  const config = loadConfig({ environment: {}, flags });
  const overrides = { logger: SILENT_LOGGER, hasProcessMetrics: false, laneWorker: FAULTY_WORKER };
  const node = await startNode(config, overrides);
  t.teardown(() => node.stop());
  node.onFailure(({ message }) => t.fail(message));
  const client = await HoldfastClient.connect({ nodes: [node.addresses.public] });
  t.teardown(() => client.close());
  return { client, address: node.addresses.public };
}

/** One client, one request after the other, so that the model is exact. */
class Work {
  readonly problems: string[] = [];
  /** What every id was last written to. */
  readonly known = new Map<number, number>();
  answeredReads = 0;
  readonly #docs: Collection;
  readonly #random: SeededRandom;
  #value = 0;

  constructor(docs: Collection, seed: number) {
    this.#docs = docs;
    this.#random = new SeededRandom(seed);
  }

  async write(): Promise<void> {
    this.#value += 1;
    const value = this.#value;
    const ids = this.#ids(6);
    await this.#docs.upsert(ids.map((id) => ({ id, vector: new Float32Array([id, value, 0, 1]) })));
    for (const id of ids) this.known.set(id, value);
  }

  /** Points on all lanes, one condition of which cannot hold: all of it is refused, for good. */
  async writeRefused(): Promise<void> {
    const points = this.#ids(12).map((id) => ({ id, vector: new Float32Array([id, -1, 0, 1]) }));
    const [first, ...others] = points;
    const code = await this.#docs.upsert([{ ...must(first), ifVersion: 1 }, ...others]).then(
      () => 'OK',
      (error: unknown) => (error instanceof HoldfastError ? error.code : String(error)),
    );
    if (code !== 'VERSION_CONFLICT') this.problems.push(`a refused batch ended with ${code}`);
  }

  async read(ids: readonly number[] = this.#ids(8)): Promise<void> {
    const expected = new Map(ids.map((id) => [id, this.known.get(id)]));
    const points = await this.#docs.get(ids, { withVector: true });
    this.answeredReads += 1;
    const found = new Map(points.map((point) => [point.id, point.vector?.[1]]));
    for (const [id, wanted] of expected)
      if (found.get(id) !== wanted)
        this.problems.push(`${id}: ${found.get(id)} instead of ${wanted}`);
  }

  #ids(count: number): readonly number[] {
    return [...new Set(Array.from({ length: count }, () => this.#random.nextBelow(ID_COUNT)))];
  }
}

async function restartsOf(address: string): Promise<number> {
  const text = await scrape(address);
  const lines = [...text.matchAll(/^holdfast_task_restarts_total\{task="lane-\d"\} (\d+)$/gm)];
  return lines.reduce((sum, [, count]) => sum + Number(count), 0);
}

t.test('lanes that hang, leak and die cost time, never a wrong or lost answer', async (t) => {
  const { client, address } = await startFaulty();
  await client.createCollection({ name: 'docs', dimension: 4, metric: 'l2', shardCount: 4 });
  const docs = client.collection('docs');
  const seed = 20_261_121;
  const work = new Work(docs, seed);
  for (let i = 0; i < 60; i++) await work.write();
  const { exit, leak, hang, hangAtNextApply } = LANE_FAULT_IDS;
  for (const [i, fault] of [exit, hang, hangAtNextApply, leak].entries()) {
    const ordered = await docs.get([fault], { timeoutMs: 400 }).then(
      () => null,
      (error: unknown) => error,
    );
    // A lane that leaks goes on answering until its memory is full.
    const isSilent = fault === exit || fault === hang;
    if (isSilent) t.type(ordered, HoldfastError, 'the read itself is refused');
    // The client repeats what is refused until the lane is back.
    for (let round = 0; round < 20; round++) {
      await work.write();
      await work.writeRefused();
      await work.read();
    }
    while ((await restartsOf(address)) !== i + 1);
  }
  await work.read([...work.known.keys()]);
  t.same(work.problems, [], `seed ${seed}`);
  t.ok(work.answeredReads > 80, `${work.answeredReads} reads were answered`);
});

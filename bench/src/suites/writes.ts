/**
 * Single durable writes of 512 bytes, 64 in flight, against etcd in the same run: rounds alternate,
 * so that a slow moment of the machine hits both. Then a separate phase counts the durable system
 * calls of every node from outside.
 */
import { join } from 'node:path';
import { must, SeededRandom } from '@holdfast/base';
import type { Collection } from '@holdfast/client';
import { type ClosedLoopOptions, type ClosedLoopResult, runClosedLoop } from '../closed-loop.ts';
import { EtcdCluster } from '../peers/etcd-cluster.ts';
import { readProcessorMs, type SystemCallCounts, SystemCallTrace } from '../process-facts.ts';
import { atLeast, type Bench, type BenchContext, type Figure, figure } from '../result.ts';
import { median, medianOrNull, percentile, sum } from '../statistics.ts';
import { type ClusterUnderTest, withCluster } from './with-cluster.ts';

const DIMENSION = 128;
const VALUE_SIZE_BYTES = DIMENSION * 4;
const IN_FLIGHT = 64;
const RATIO_MIN = 1.5;
/** Different vectors, so that nothing along the way can profit from equal ones. */
const VECTOR_COUNT = 1_024;

interface Round {
  readonly holdfast: Side;
  readonly etcd: Side | null;
}

/** One system in one round. */
interface Side extends ClosedLoopResult {
  /** Processor time of all server processes, and of this one, per write. */
  readonly serverMicrosPerWrite: number;
  readonly clientMicrosPerWrite: number;
}

export const writesBench: Bench = {
  name: 'writes',
  description: 'single durable 512-byte upserts, 64 in flight, beside etcd puts',
  run: (context) =>
    withCluster('writes', {}, async (underTest) => {
      const { client, fileSystemType } = underTest;
      await client.createCollection({ name: 'writes', dimension: DIMENSION, metric: 'l2' });
      const collection = client.collection('writes');
      const etcd = await EtcdCluster.launch();
      try {
        const rounds = await runRounds(underTest, collection, etcd, context);
        const syncs = await countSyncs(underTest, collection, etcd, context);
        const notes = [`data on ${fileSystemType}`];
        if (etcd === null) notes.push('peer absent: install etcd-server for the ratio');
        if (syncs === null) notes.push('strace absent: durable calls were not counted');
        return {
          figures: figuresOf(rounds, syncs),
          notes,
          raw: { fileSystemType, inFlight: IN_FLIGHT, rounds: rounds.map(summaryOf), syncs },
        };
      } finally {
        await etcd?.stop();
      }
    }),
};

async function runRounds(
  { cluster }: ClusterUnderTest,
  collection: Collection,
  etcd: EtcdCluster | null,
  context: BenchContext,
): Promise<readonly Round[]> {
  const roundCount = context.isQuick ? 1 : 4;
  const loop = {
    inFlight: IN_FLIGHT,
    durationMs: context.isQuick ? 500 : 5_000,
    warmUpMs: context.isQuick ? 200 : 1_000,
  };
  const put = makeUpsert(collection);
  const putEtcd = makeEtcdPut(etcd);
  const rounds: Round[] = [];
  for (let round = 0; round < roundCount; round++) {
    const pids = cluster.nodeNames.map((nodeName) => must(cluster.pidOf(nodeName)));
    const holdfast = await runSide(loop, pids, put);
    const peer = etcd === null || putEtcd === null ? null : await runSide(loop, etcd.pids, putEtcd);
    rounds.push({ holdfast, etcd: peer });
    context.log(
      `writes round ${round + 1}: holdfast ${Math.round(holdfast.rate)}/s` +
        (peer === null ? '' : `, etcd ${Math.round(peer.rate)}/s`),
    );
  }
  return rounds;
}

/** Also counts processor time, which says what a write costs even on a busy machine. */
async function runSide(
  loop: ClosedLoopOptions,
  pids: readonly number[],
  write: () => Promise<void>,
): Promise<Side> {
  let writeCount = 0;
  const serverMs = () => sum(pids.map(readProcessorMs));
  const before = { serverMs: serverMs(), client: process.cpuUsage() };
  const result = await runClosedLoop(loop, async () => {
    await write();
    writeCount += 1;
  });
  const client = process.cpuUsage(before.client);
  return {
    ...result,
    serverMicrosPerWrite: ((serverMs() - before.serverMs) * 1_000) / writeCount,
    clientMicrosPerWrite: (client.user + client.system) / writeCount,
  };
}

let nextPointId = 1;

function makeUpsert(collection: Collection): () => Promise<void> {
  const random = new SeededRandom(1);
  const vectors = Array.from({ length: VECTOR_COUNT }, () =>
    new Float32Array(DIMENSION).map(() => random.nextFloat()),
  );
  return async () => {
    const id = nextPointId++;
    await collection.upsert([{ id, vector: must(vectors[id % VECTOR_COUNT]) }]);
  };
}

function makeEtcdPut(etcd: EtcdCluster | null): (() => Promise<void>) | null {
  if (etcd === null) return null;
  const random = new SeededRandom(1);
  const values = Array.from({ length: VECTOR_COUNT }, () =>
    Buffer.from(Uint8Array.from({ length: VALUE_SIZE_BYTES }, () => random.nextBelow(256))),
  );
  return async () => {
    const id = nextPointId++;
    await etcd.put(`point/${id}`, must(values[id % VECTOR_COUNT]));
  };
}

interface SyncCounts {
  readonly writeCount: number;
  readonly perNode: readonly SystemCallCounts[];
}

interface Syncs {
  readonly holdfast: SyncCounts;
  readonly etcd: SyncCounts | null;
}

/** Null when strace is not there. */
async function countSyncs(
  { cluster }: ClusterUnderTest,
  collection: Collection,
  etcd: EtcdCluster | null,
  context: BenchContext,
): Promise<Syncs | null> {
  const loop = { inFlight: IN_FLIGHT, durationMs: context.isQuick ? 300 : 2_000 };
  const pids = cluster.nodeNames.map((nodeName) => must(cluster.pidOf(nodeName)));
  const upsert = makeUpsert(collection);
  const holdfast = await traced(pids, cluster.directory, () => runClosedLoop(loop, upsert));
  if (holdfast === null) return null;
  const put = makeEtcdPut(etcd);
  const peer =
    etcd === null || put === null
      ? null
      : await traced(etcd.pids, etcd.directory, () => runClosedLoop(loop, put));
  return { holdfast, etcd: peer };
}

async function traced(
  pids: readonly number[],
  directory: string,
  run: () => Promise<ClosedLoopResult>,
): Promise<SyncCounts | null> {
  const traces: SystemCallTrace[] = [];
  for (const pid of pids) {
    const trace = await SystemCallTrace.attach(pid, join(directory, `strace-${pid}`));
    if (trace === null) {
      await Promise.all(traces.map((one) => one.finish()));
      return null;
    }
    traces.push(trace);
  }
  const { answeredCount } = await run();
  const perNode = await Promise.all(traces.map((trace) => trace.finish()));
  return { writeCount: answeredCount, perNode };
}

function figuresOf(rounds: readonly Round[], syncs: Syncs | null): readonly Figure[] {
  const holdfastRates = rounds.map((round) => round.holdfast.rate);
  const etcdRates = rounds.flatMap((round) => (round.etcd === null ? [] : [round.etcd.rate]));
  const ratios = rounds.flatMap((round) =>
    round.etcd === null ? [] : [round.holdfast.rate / round.etcd.rate],
  );
  const latencies = rounds.flatMap((round) => round.holdfast.latenciesMs);
  const etcdLatencies = rounds.flatMap((round) => round.etcd?.latenciesMs ?? []);
  return [
    figure('upserts', median(holdfastRates), '/s'),
    figure('etcd puts', medianOrNull(etcdRates), '/s'),
    atLeast('ratio (median of rounds)', medianOrNull(ratios), 'x', RATIO_MIN),
    figure('upsert p50', percentile(latencies, 0.5), 'ms'),
    figure('upsert p99', percentile(latencies, 0.99), 'ms'),
    figure('etcd put p50', medianOrNull(etcdLatencies), 'ms'),
    ...processorFigures(rounds),
    ...syncFigures('', syncs?.holdfast ?? null),
    ...syncFigures('etcd ', syncs?.etcd ?? null),
  ];
}

function processorFigures(rounds: readonly Round[]): readonly Figure[] {
  const own = rounds.map((round) => round.holdfast);
  const peers = rounds.flatMap((round) => (round.etcd === null ? [] : [round.etcd]));
  const server = (sides: readonly Side[]) =>
    medianOrNull(sides.map((side) => side.serverMicrosPerWrite));
  const client = (sides: readonly Side[]) =>
    medianOrNull(sides.map((side) => side.clientMicrosPerWrite));
  return [
    figure('processor time, three nodes', server(own), 'us per write'),
    figure('processor time, client', client(own), 'us per write'),
    figure('processor time, etcd nodes', server(peers), 'us per write'),
    figure('processor time, etcd client', client(peers), 'us per write'),
  ];
}

/** Traced writes are slow writes: only the ratio of calls to writes means something. */
function syncFigures(prefix: string, counts: SyncCounts | null): readonly Figure[] {
  if (counts === null) return [];
  return counts.perNode.map((calls, i) => {
    const callCount = (calls.fdatasync ?? 0) + (calls.fsync ?? 0);
    const name = `${prefix}fdatasync + fsync, node ${i + 1}`;
    return figure(name, callCount / Math.max(1, counts.writeCount), 'per write');
  });
}

const summaryOf = (round: Round) => ({
  holdfast: loopSummary(round.holdfast),
  etcd: round.etcd === null ? null : loopSummary(round.etcd),
});

const loopSummary = ({ rate, answeredCount, latenciesMs, ...cost }: Side) => ({
  rate,
  serverMicrosPerWrite: cost.serverMicrosPerWrite,
  clientMicrosPerWrite: cost.clientMicrosPerWrite,
  answeredCount,
  p50Ms: percentile(latenciesMs, 0.5),
  p99Ms: percentile(latenciesMs, 0.99),
  maxMs: percentile(latenciesMs, 1),
});

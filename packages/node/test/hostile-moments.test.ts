/**
 * Goal: the moments between two steps are safe too: a checkpoint that meets a snapshot, a read that
 * meets one, a stop that meets a failure, a repeat that meets a dropped collection.
 * Method: whole nodes on virtual time; the moment is hit by hooking the step before it.
 */
import type { Entry } from '@holdfast/base';
import { EMPTY_LOG_SUM, HoldfastError, logIndex, sessionId, term } from '@holdfast/base';
import type { GetResult, OpenSessionResult, Request, UpsertResult } from '@holdfast/protocol';
import type { ShardHost } from '@holdfast/shard-worker';
import { InlineHost } from '@holdfast/shard-worker';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import t from 'tap';
import { Applier } from '../src/replica/applier.ts';
import { Proposals } from '../src/replica/proposals.ts';
import { MetaMachine } from '../src/state/meta-machine.ts';
import { SessionTable } from '../src/state/sessions.ts';
import type { SimNode } from '../src/testing/sim-cluster.ts';
import { SimCluster } from '../src/testing/sim-cluster.ts';

// A slow machine is no failure.
t.setTimeout(0);

const COLLECTION = 'docs';
const create = (dimension = 1, shardCount = 4): Request => ({
  id: 1,
  kind: 'createCollection',
  name: COLLECTION,
  dimension,
  metric: 'l2',
  shardCount,
});
const upsert = (ids: readonly number[], value: number): Extract<Request, { kind: 'upsert' }> => ({
  id: 1,
  kind: 'upsert',
  collection: COLLECTION,
  points: ids.map((id) => ({ id, vector: new Float32Array([value]) })),
});
const get = (id: number): Request => ({ id: 1, kind: 'get', collection: COLLECTION, ids: [id] });

const range = (count: number): readonly number[] => Array.from({ length: count }, (_, i) => i);

/** A follower that is down and can only come back by snapshot. */
async function behindTheLog(
  seed: number,
  { isSlow = true, shardCount = 4 } = {},
): Promise<{ cluster: SimCluster; behind: SimNode }> {
  const cluster = new SimCluster({
    nodeCount: 3,
    seed,
    latency: isSlow ? { diskMsMax: 4, laneMsMax: 4, networkMsMax: 2 } : {},
    settings: { retainedEntryCount: 0 },
  });
  await cluster.start();
  const leader = await cluster.leader();
  await cluster.execute(leader, create(1, shardCount));
  await cluster.execute(leader, upsert(range(10), 1));
  await cluster.digests();
  const behind = cluster.nodes.find((node) => node !== leader);
  if (behind === undefined) throw new Error('three nodes have a follower');
  await cluster.scheduler.resolve(behind.node.replica.checkpoint());
  await cluster.execute(leader, upsert(range(10), 2));
  await cluster.digests();
  behind.kill();
  // A follower that was heard a moment ago holds the log.
  await cluster.scheduler.advance(2_000);
  for (let i = 0; i < 3; i++) {
    await cluster.execute(leader, upsert(range(20), 3 + i));
    await cluster.scheduler.resolve(leader.node.replica.checkpoint());
  }
  return { cluster, behind };
}

/** Calls `action` just before and after the follower makes a received checkpoint its own. */
function onAdopt(node: SimNode, before: () => void, after: () => void): void {
  const { checkpointer } = node.node.replica;
  const adopt = checkpointer.adopt.bind(checkpointer);
  checkpointer.adopt = (root) => {
    before();
    adopt(root);
    after();
  };
}

for (const moment of ['before', 'after'] as const) {
  t.test(`a checkpoint ${moment} a snapshot is adopted does not go back behind it`, async (t) => {
    const { cluster, behind } = await behindTheLog(1);
    await behind.start();
    const checkpoints: Promise<unknown>[] = [];
    const checkpoint = (): void => {
      checkpoints.push(behind.node.replica.checkpoint());
    };
    const nothing = (): void => {};
    onAdopt(
      behind,
      moment === 'before' ? checkpoint : nothing,
      moment === 'after' ? checkpoint : nothing,
    );
    const digests = await cluster.digests();
    t.equal(checkpoints.length, 1, 'the moment came');
    await cluster.scheduler.resolve(Promise.all(checkpoints));
    t.equal(behind.failure, null);
    t.equal(new Set(digests.map(({ digest }) => digest)).size, 1);
    behind.cutPower({ seed: 1, keepUnsynced: 'all' });
    await behind.start();
    const after = await cluster.digests();
    t.equal(new Set(after.map(({ digest }) => digest)).size, 1, 'and the node starts again');
  });
}

t.test('a checkpoint that waits while a snapshot restarts the log gives way', async (t) => {
  const { cluster, behind } = await behindTheLog(9);
  await behind.start();
  const { replica } = behind.node;
  let checkpoint: Promise<unknown> | null = null;
  const letGo: (() => void)[] = [];
  const hold = (): void => {
    replica.applier
      .barrier(
        () =>
          new Promise<void>((resolve) => {
            letGo.push(resolve);
          }),
      )
      .catch(() => undefined);
    // Queued before the snapshot is to be applied, reached after the log begins behind it.
    checkpoint = replica.checkpoint();
  };
  onAdopt(behind, hold, () => {});
  const isRestarted = (): boolean => {
    const { root } = replica.checkpointer;
    return letGo.length > 0 && replica.raftStatus().durable === root?.meta.index;
  };
  await cluster.scheduler.until(isRestarted, 20_000);
  for (const release of letGo) release();
  await cluster.scheduler.resolve(Promise.resolve(checkpoint));
  const digests = await cluster.digests();
  t.equal(behind.failure, null);
  t.equal(digests.length, 3);
  t.equal(new Set(digests.map(({ digest }) => digest)).size, 1);
});

t.test('the core hears of a snapshot only when a checkpoint under way let it in', async (t) => {
  const { cluster, behind } = await behindTheLog(10);
  await behind.start();
  const { replica } = behind.node;
  let release = (): void => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const barrier = replica.applier.barrier(() => held);
  const { root } = replica.checkpointer;
  const lastIndex = replica.raftStatus().lastIndex;
  // Waits behind the barrier, and the install waits for it.
  const checkpoint = replica.checkpoint();
  await cluster.scheduler.advance(1_000);
  t.equal(replica.checkpointer.root, root, 'not installed yet');
  t.equal(replica.raftStatus().lastIndex, lastIndex, 'so the log still ends where it did');
  release();
  await cluster.scheduler.resolve(Promise.all([barrier, checkpoint]));
  const digests = await cluster.digests();
  t.equal(behind.failure, null);
  t.equal(new Set(digests.map(({ digest }) => digest)).size, 1);
});

t.test('a checkpoint in the middle of a stream of writes is of one index', async (t) => {
  const cluster = new SimCluster({ nodeCount: 1, seed: 11, latency: { laneMsMax: 6 } });
  await cluster.start();
  const node = await cluster.leader();
  await cluster.execute(node, create());
  const deadlineMs = Number.MAX_SAFE_INTEGER;
  const checkpoints: Promise<unknown>[] = [];
  for (let i = 0; i < 200; i++) {
    // Their answers die with the process below.
    node.node.service.execute(upsert([i], i), { deadlineMs }).catch(() => undefined);
    if (i % 20 === 10) checkpoints.push(node.node.replica.checkpoint());
    await cluster.scheduler.advance(1);
  }
  await cluster.scheduler.resolve(Promise.all(checkpoints));
  node.kill();
  await node.start();
  t.equal(node.failure, null);
  await cluster.leader();
  const { root } = node.node.replica.checkpointer;
  t.ok(root !== null && root.generation > 3, `${root?.generation} checkpoints were made`);
});

t.test('a deposed leader says at once that it does not know', async (t) => {
  const cluster = new SimCluster({ nodeCount: 3, seed: 12 });
  await cluster.start();
  const old = await cluster.leader();
  await cluster.execute(old, create());
  const others = cluster.nodes.filter((node) => node !== old).map((node) => node.id);
  cluster.network.isolate(old.id, others);
  const write = cluster.execute(old, upsert([1], 1), 1_000_000);
  await t.rejects(write, { code: 'LEADERSHIP_LOST', definite: false });
});

t.test('reads while a snapshot is loaded are refused, never torn or a bug', async (t) => {
  const { cluster, behind } = await behindTheLog(2);
  await behind.start();
  const outcomes: Promise<unknown>[] = [];
  let isAdopted = false;
  onAdopt(
    behind,
    () => {},
    () => {
      isAdopted = true;
    },
  );
  await cluster.scheduler.until(() => isAdopted, 20_000);
  const { applier, host } = { applier: behind.node.replica.applier, host: 2 };
  const uid = behind.node.replica.meta.catalogue.byName(COLLECTION)?.uid ?? 0;
  let refusedCount = 0;
  for (let i = 0; i < 60; i++) {
    const reads = range(host).map(() => [{ kind: 'count', uid } as const]);
    const { results } = applier.read(reads);
    outcomes.push(
      results.catch((error: unknown) => {
        refusedCount += 1;
        return error;
      }),
    );
    await cluster.scheduler.advance(1);
  }
  for (const outcome of await cluster.scheduler.resolve(Promise.all(outcomes))) {
    if (Array.isArray(outcome)) continue;
    t.match(outcome, { code: 'SHARD_UNAVAILABLE', definite: true });
  }
  t.ok(refusedCount > 0, `${refusedCount} reads met the loading`);
  t.equal(behind.failure, null);
});

t.test('a second snapshot that is installed before the first is applied', async (t) => {
  const { cluster, behind } = await behindTheLog(3);
  await behind.start();
  const { checkpointer } = behind.node.replica;
  let isDone = false;
  onAdopt(
    behind,
    () => {},
    () => {
      // What another leader's transfer would leave here: a root of a later index, whose message
      // is still on its way.
      const { root } = checkpointer;
      if (isDone || root === null) return;
      isDone = true;
      const meta = { ...root.meta, index: logIndex(root.meta.index + 5) };
      checkpointer.adopt({ ...root, generation: root.generation + 1, meta });
    },
  );
  await cluster.scheduler.until(() => isDone, 20_000);
  await cluster.scheduler.advance(1_000);
  t.equal(behind.failure, null, 'each message loads the snapshot that it names');
});

t.test('a node that has stopped refuses everything at once and stops for good', async (t) => {
  const cluster = new SimCluster({ nodeCount: 1, seed: 4 });
  await cluster.start();
  const node = await cluster.leader();
  await cluster.execute(node, create());
  const { replica, service } = node.node;
  await cluster.scheduler.resolve(replica.stop());
  const deadlineMs = Number.MAX_SAFE_INTEGER;
  const stopped = { code: 'SHUTTING_DOWN', definite: true };
  await t.rejects(service.execute(get(1), { deadlineMs }), stopped);
  await t.rejects(service.execute(upsert([1], 1), { deadlineMs }), stopped);
  await t.rejects(replica.propose(new Uint8Array(64), deadlineMs), stopped);
});

function noopAt(index: number): Entry {
  const data = new Uint8Array(0);
  return { index: logIndex(index), term: term(1), type: 'noop', data, sum: EMPTY_LOG_SUM };
}

async function applierOver(host: ShardHost): Promise<{
  readonly applier: Applier;
  readonly failures: HoldfastError[];
}> {
  const failures: HoldfastError[] = [];
  const applier = new Applier({
    host,
    meta: MetaMachine.empty(),
    onDigests: () => {},
    onApplied: () => {},
    onFailure: (error) => failures.push(error),
  });
  await host.open({ appliedIndex: logIndex(0), definitions: [], manifests: [] });
  return { applier, failures };
}

const inlineHost = (): InlineHost =>
  new InlineHost({
    fs: new MemoryFileSystem(),
    dataDirectory: '/data',
    laneCount: 1,
    graphFactory: null,
  });

t.test('a barrier is reached however soon after an apply it is asked for', async (t) => {
  // The run of the applier ends in the very promise job before some of these barriers.
  const { applier } = await applierOver(inlineHost());
  let reachedCount = 0;
  const hopCounts = range(40);
  for (const hopCount of hopCounts) {
    applier.enqueue([noopAt(hopCount + 1)]);
    for (let i = 0; i < hopCount; i++) await Promise.resolve();
    applier
      .barrier(async () => {
        reachedCount += 1;
      })
      .catch(() => undefined);
    for (let i = 0; i < 100; i++) await Promise.resolve();
    t.equal(reachedCount, hopCount + 1, `after ${hopCount} promise jobs`);
  }
});

t.test('a lane that fails rejects the barriers that wait, and those that come later', async (t) => {
  const host = inlineHost();
  const lost = new HoldfastError('SHARD_UNAVAILABLE', 'the lane lost its thread');
  host.apply = () => Promise.reject(lost);
  const { applier, failures } = await applierOver(host);
  applier.enqueue([noopAt(1)]);
  const waiting = applier.barrier(async () => 1);
  await t.rejects(waiting, { code: 'SHARD_UNAVAILABLE' });
  await t.rejects(
    applier.barrier(async () => 1),
    { code: 'SHARD_UNAVAILABLE' },
  );
  t.equal(failures.length, 1);
});

t.test('an index that is proposed twice settles the first proposal', async (t) => {
  const proposals = new Proposals();
  const first = proposals.add(new Uint8Array(1), 1e9);
  proposals.flush(() => ({ ok: true, index: logIndex(5), term: term(1) }));
  const second = proposals.add(new Uint8Array(1), 1e9);
  proposals.flush(() => ({ ok: true, index: logIndex(5), term: term(3) }));
  await t.rejects(first, { code: 'LEADERSHIP_LOST', definite: false });
  proposals.refuseWaiting(new HoldfastError('NO_LEADER', 'none'));
  proposals.abandon();
  await t.rejects(second, { code: 'LEADERSHIP_LOST' });
  t.equal(proposals.pendingCount, 0);
});

t.test('a repeat gets its first answer also when the collection is gone or another', async (t) => {
  const cluster = new SimCluster({ nodeCount: 1, seed: 5 });
  await cluster.start();
  const node = await cluster.leader();
  await cluster.execute(node, create());
  const { sessionId } = (await cluster.execute(node, {
    id: 1,
    kind: 'openSession',
  })) as OpenSessionResult;
  const stamp = (sequence: number) => ({ id: sessionId, sequence, ackedThrough: 0 });
  const request = { ...upsert([1], 7), session: stamp(1) };
  const first = (await cluster.execute(node, request)) as UpsertResult;
  await cluster.execute(node, { id: 1, kind: 'dropCollection', name: COLLECTION });
  const afterDrop = (await cluster.execute(node, request)) as UpsertResult;
  t.equal(afterDrop.index, first.index, 'it did happen, whatever came after');
  const late = { ...upsert([2], 8), session: stamp(2) };
  const missing = { code: 'COLLECTION_NOT_FOUND', definite: true };
  await t.rejects(cluster.execute(node, late), missing);
  await cluster.execute(node, create(3));
  const afterAnew = (await cluster.execute(node, request)) as UpsertResult;
  t.equal(afterAnew.index, first.index, 'nor is it measured by another collection');
  await cluster.execute(node, { id: 1, kind: 'dropCollection', name: COLLECTION });
  await cluster.execute(node, create());
  await t.rejects(cluster.execute(node, late), missing, 'a definite refusal stays one');
  const { points } = (await cluster.execute(node, get(2))) as GetResult;
  t.strictSame(points, [], 'a late copy of what was refused is not executed');
});

t.test('an acknowledgement forgets what it names and nothing after it', async (t) => {
  const sessions = new SessionTable();
  sessions.open(logIndex(1), 0);
  const admit = (sequence: number, ackedThrough: number) =>
    sessions.admit({ id: sessionId(1), sequence, ackedThrough }, 0n, 0).kind;
  for (const sequence of [1, 2, 3, 4]) t.equal(admit(sequence, 0), 'execute');
  t.equal(admit(5, 2), 'execute', 'several are under way, the first two are acknowledged');
  for (const sequence of [3, 4, 5]) t.equal(admit(sequence, 0), 'repeat', `${sequence} is kept`);
  for (const sequence of [1, 2]) t.equal(admit(sequence, 0), 'refuse', `${sequence} never again`);
  t.equal(sessions.knows(1, 3), true);
  t.equal(sessions.knows(1, 2), false);
  t.equal(sessions.knows(2, 3), false);
});

t.test('conflicts are equal on every replica, however many lanes it has', async (t) => {
  const cluster = new SimCluster({ nodeCount: 3, seed: 6, laneCount: [1, 2, 4] });
  await cluster.start();
  const leader = await cluster.leader();
  await cluster.execute(leader, create());
  const { sessionId } = (await cluster.execute(leader, {
    id: 1,
    kind: 'openSession',
  })) as OpenSessionResult;
  await cluster.execute(leader, upsert(range(60), 1));
  const ids = [...range(60)].reverse();
  const batch: Request = {
    ...upsert(ids, 2),
    points: [...ids, 3, 3].map((id) => ({ id, vector: new Float32Array([2]), ifAbsent: true })),
    session: { id: sessionId, sequence: 1, ackedThrough: 0 },
  };
  const expected = ids.slice(0, 16).map((id) => ({ id }));
  await t.rejects(cluster.execute(leader, batch), {
    code: 'VERSION_CONFLICT',
    details: { conflicts: expected },
  });
  const digests = await cluster.digests();
  t.equal(new Set(digests.map(({ digest }) => digest)).size, 1, 'they are part of the state');
});

t.test('a damaged CHECKPOINT costs nothing: the generation before is whole', async (t) => {
  const cluster = new SimCluster({
    nodeCount: 1,
    seed: 7,
    wal: { fileSizeBytes: 4 * 1024 },
    settings: { retainedEntryCount: 0 },
  });
  await cluster.start();
  const node = await cluster.leader();
  await cluster.execute(node, create());
  for (let round = 0; round < 5; round++) {
    for (let id = 0; id < 20; id++) await cluster.execute(node, upsert([id], round * 100 + id));
    await cluster.scheduler.resolve(node.node.replica.checkpoint());
  }
  const before = await cluster.digests();
  node.kill();
  const file = node.fileSystem.open('/data/CHECKPOINT', 'readWrite');
  file.write([new Uint8Array(16)], 8);
  file.sync();
  file.close();
  await node.start();
  await cluster.leader();
  const { points } = (await cluster.execute(node, {
    id: 1,
    kind: 'get',
    collection: COLLECTION,
    ids: range(20),
    withVector: true,
  })) as GetResult;
  t.equal(before.length, 1);
  t.strictSame(
    points.map((point) => point.vector?.[0]),
    range(20).map((id) => 400 + id),
  );
});

t.test(
  'a crash at every file operation of a snapshot install leaves a node that starts',
  async (t) => {
    const policies = ['none', 'random', 'all'] as const;
    const options = { isSlow: false, shardCount: 1 };
    const dry = await behindTheLog(8, options);
    const firstOperation = dry.behind.fileSystem.operationCount;
    await dry.behind.start();
    await dry.cluster.digests();
    const operationCount = dry.behind.fileSystem.operationCount - firstOperation;
    t.ok(operationCount >= 30, `start and install are ${operationCount} file operations`);
    for (let operation = 1; operation <= operationCount; operation++) {
      const { cluster, behind } = await behindTheLog(8, options);
      const { fileSystem } = behind;
      fileSystem.crashAtOperation(fileSystem.operationCount + operation);
      const started = await behind.start().then(
        () => true,
        () => false,
      );
      if (started) await cluster.scheduler.until(() => !behind.isRunning, 2_000).catch(() => false);
      const keepUnsynced = policies[operation % policies.length] ?? 'none';
      behind.cutPower({ seed: operation, keepUnsynced, tearsSectors: true });
      await behind.start();
      const digests = await cluster.digests();
      const isWhole = new Set(digests.map(({ digest }) => digest)).size === 1;
      if (!isWhole || digests.length !== 3) t.fail(`operation ${operation}, ${keepUnsynced}`);
    }
  },
);

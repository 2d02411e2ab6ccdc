/**
 * Goal: a standby is what its primary was, whatever its leaders do; of several that take over one
 * does; and an old primary takes no write once it can know.
 * Method: simulated clusters with one store in memory between them, each on a clock of its own.
 */
import type { Request } from '@holdfast/protocol';
import { epochKey } from '@holdfast/storage';
import t from 'tap';
import { MemorySink } from '../src/backup/testing/memory-sink.ts';
import type { SimClusterOptions } from '../src/testing/sim-cluster.ts';
import {
  COLLECTION,
  createDocs,
  followedIn,
  positionOf,
  TestSite,
  upsertOf,
} from './support/sites.ts';

const SEED = Number(process.env.HOLDFAST_TEST_SEED ?? 7);
/** Nobody waits in tests that are about something else. */
const QUICK = { quietMs: 500, fenceLookIntervalMs: 1_000 };
t.comment(`HOLDFAST_TEST_SEED=${SEED}`);

interface Pair {
  readonly sink: MemorySink;
  readonly primary: TestSite;
  readonly standby: TestSite;
}

/** A primary with a collection and a few rows, and an empty cluster that has begun to follow it. */
async function pair(
  options: { readonly standbyNodes?: number; readonly cluster?: Partial<SimClusterOptions> } = {},
): Promise<Pair> {
  const sink = new MemorySink();
  const primary = await TestSite.start([sink], { seed: SEED, site: QUICK });
  await primary.execute(createDocs);
  await primary.upsert([1, 2, 3], 1);
  await primary.archived();
  const { cluster = {}, standbyNodes: nodeCount = 3 } = options;
  const standby = await TestSite.start([sink], {
    ...{ seed: SEED + 1, nodeCount, site: QUICK, cluster },
  });
  await standby.begin(primary);
  return { sink, primary, standby };
}

/** Archived by the primary, and applied on every node of the standby. */
async function synced({ primary, standby }: Pick<Pair, 'primary' | 'standby'>): Promise<number> {
  await primary.archived();
  const { node } = await primary.leader();
  const { appliedIndex } = node.node.replica.applier;
  await standby.following(appliedIndex);
  return appliedIndex;
}

async function promote(standby: TestSite, isForced = false) {
  const { standby: site } = await standby.leader();
  return standby.resolve(site.promote({ isForced }));
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'ok',
    (thrown: { readonly code?: string }) => thrown.code ?? String(thrown),
  );
}

t.test('a standby has the content of its primary at every index both stood at', async (t) => {
  const { primary, standby } = await pair();
  const session = (await primary.execute({ kind: 'openSession' } as Request)) as {
    readonly sessionId: number;
  };
  const stamp = (sequence: number) => ({
    session: { id: session.sessionId, sequence, ackedThrough: 0 },
  });
  const steps: (() => Promise<unknown>)[] = [
    () => primary.upsert([1, 5, 6, 7], 2, stamp(1)),
    () => primary.execute({ kind: 'delete', collection: COLLECTION, points: [{ id: 2 }] } as never),
    // Conditions on points of several lanes: voted on, and refused as a whole.
    () => codeOf(primary.execute(conditional([1, 3, 5, 6], 1))),
    () => primary.execute(conditional([30, 31, 32, 33], 0)),
    () =>
      primary.execute({
        ...{ kind: 'createPayloadIndex', collection: COLLECTION, key: 'a', type: 'integer' },
      } as never),
    () => primary.execute({ ...createDocs, name: 'other' } as never),
    () => primary.execute({ kind: 'dropCollection', name: 'other' } as never),
    () => primary.upsert([40], 3, stamp(2)),
  ];
  for (const step of steps) {
    await step();
    const index = await synced({ primary, standby });
    const [expected] = await primary.contents();
    t.match(expected, new RegExp(`^${index}/`));
    t.same(await standby.contents(), [expected, expected, expected], `at ${index}`);
  }
  const write = upsertOf([50], 1);
  for (const node of standby.running) {
    const refused = await codeOf(standby.cluster.execute(node, { id: 1, ...write } as Request));
    t.equal(refused, 'READ_ONLY', 'every node of a standby refuses writes');
  }
  t.equal((await standby.rows()).get(40), 3, 'and serves reads');
  const { standby: site } = await standby.leader();
  const { follower } = site.status();
  t.match(follower, { state: 'following', lagEntryCount: 0, isLagExceeded: false });
});

const WRITE_COUNT = 1_500;

const conditional = (ids: readonly number[], version: number) =>
  ({
    ...upsertOf(ids, 9),
    points: ids.map((id) => ({
      ...{ id, vector: new Float32Array(4).fill(9) },
      ...(version === 0 ? { ifAbsent: true } : { ifVersion: version }),
    })),
  }) as never;

t.test(
  'a leader that is lost in the middle of a chunk leaves neither gap nor repeat',
  async (t) => {
    // Slices take time, so that a leader can be lost between two of them.
    const latency = { networkMsMax: 2, diskMsMax: 2 };
    const { primary, standby } = await pair({ cluster: { latency } });
    await synced({ primary, standby });
    const before = positionOf(standby.cluster.node(0));
    const leader = await primary.cluster.leader();
    const nowMs = leader.nowMs;
    // One chunk of many slices: what is proposed before a leader is lost is applied after it.
    const writes = Array.from({ length: WRITE_COUNT }, (_, i) =>
      leader.node.service.execute({ id: 1, ...upsertOf([i % 50], i) } as Request, {
        deadlineMs: nowMs + 60_000,
      }),
    );
    await primary.resolve(Promise.all(writes));
    await primary.archived();
    let killCount = 0;
    for (let i = 0; i < 2; i++) {
      const { node } = await standby.leader();
      const from = positionOf(node);
      await standby.cluster.scheduler.until(() => positionOf(node) > from, 60_000);
      if (positionOf(node) < before + WRITE_COUNT) killCount += 1;
      node.kill();
      // Back before another one leads: nothing is followed meanwhile.
      await node.start();
    }
    t.equal(killCount, 2, 'both were in the middle of it');
    const index = await synced({ primary, standby });
    const [expected] = await primary.contents();
    t.same(await standby.contents(), [expected, expected, expected]);
    const followed = followedIn(standby.cluster.node(0));
    t.same(
      [...new Set(followed)].sort((a, b) => a - b),
      Array.from({ length: index }, (_, i) => i + 1),
    );
    t.comment(`${followed.length - index} repeats in the log had no effect`);
  },
);

t.test(
  'of two standbys that are promoted at once one takes over, and the other names it',
  async (t) => {
    const { primary, sink, standby } = await pair({ standbyNodes: 1 });
    const other = await TestSite.start([sink], { seed: SEED + 2, nodeCount: 1, site: QUICK });
    await other.begin(primary);
    await synced({ primary, standby });
    await synced({ primary, standby: other });
    // Both have looked and seen nobody before either puts its epoch.
    const results = await Promise.allSettled([promote(standby), promote(other)]);
    const won = results.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    const lost = results.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
    t.equal(won.length, 1);
    t.match(lost, [{ code: 'PROMOTION_REFUSED' }]);
    const [winner, loser] =
      results[0]?.status === 'fulfilled' ? [standby, other] : [other, standby];
    t.match(String(lost[0]), new RegExp(`${winner.clusterId} has taken over`));
    t.equal(sink.keys.filter((key) => key.includes('/epochs/')).length, 1);
    await winner.upsert([60], 6);
    t.equal((await winner.rows()).get(60), 6, 'the winner takes writes');
    await loser.advance(6_000);
    t.match(loser.running[0]?.node.replica.meta.site, { kind: 'standby', takeover: null });
    t.equal(await codeOf(loser.upsert([61], 1)), 'READ_ONLY');
    const { follower } = (await loser.leader()).standby.status();
    t.match(follower, { state: 'alarmed', lastError: { code: 'PROMOTION_REFUSED' } });
  },
);

t.test(
  'an old primary that sees the takeover refuses writes on every node, for good',
  async (t) => {
    const { primary, standby } = await pair({ standbyNodes: 1 });
    await synced({ primary, standby });
    const promoted = await promote(standby);
    const acknowledged: number[] = [];
    // It cannot know yet: what it acknowledges now is in no history but its own.
    for (const id of [70, 71, 72]) {
      const { index } = (await primary.upsert([id], 7)) as { readonly index: number };
      acknowledged.push(index);
    }
    await primary.advance(2_000);
    const refusals = async () => {
      const codes: string[] = [];
      for (const node of primary.running) {
        const write = { id: 1, ...upsertOf([80], 1) } as Request;
        codes.push(await codeOf(primary.cluster.execute(node, write)));
      }
      return codes;
    };
    t.same(await refusals(), ['FENCED', 'FENCED', 'FENCED']);
    t.equal((await primary.rows()).get(70), 7, 'reads go on');
    // What the cluster is stands in its checkpoints too.
    for (const node of primary.running) await primary.resolve(node.node.replica.checkpoint());
    for (const node of primary.cluster.nodes) node.kill();
    for (const node of primary.cluster.nodes) await node.start();
    await primary.cluster.leader();
    t.same(await refusals(), ['FENCED', 'FENCED', 'FENCED'], 'after a restart of all too');
    t.equal((await primary.rows()).has(80), false);

    const { standby: site } = await primary.leader();
    const report = await primary.resolve(site.differences(100));
    t.equal(report.cutIndex, promoted.index);
    t.same(
      report.differences.map(({ index }) => index),
      acknowledged,
      'the list of differences is exactly what was acknowledged behind the cut',
    );
    t.match(report.differences[0], {
      ...{ kind: 'upsert', collection: COLLECTION, pointCount: 1, ids: [70], isCommitted: true },
    });
    t.equal((await primary.resolve(site.differences(2))).isCut, true);
    t.equal((await standby.rows()).has(70), false, 'and nothing of it was merged');
  },
);

t.test('a write that was not answered gets its first answer from who took over', async (t) => {
  const { primary, standby } = await pair({ standbyNodes: 1 });
  const { sessionId } = (await primary.execute({ kind: 'openSession' } as Request)) as {
    readonly sessionId: number;
  };
  const stamp = { session: { id: sessionId, sequence: 1, ackedThrough: 0 } };
  const first = await primary.upsert([90], 4, stamp);
  await synced({ primary, standby });
  await promote(standby);
  t.same(await standby.upsert([90], 4, stamp), first, 'the same index and term');
  const next = { session: { id: sessionId, sequence: 2, ackedThrough: 1 } };
  const second = (await standby.upsert([90], 5, next)) as { readonly index: number };
  t.ok(second.index > (first as { readonly index: number }).index);
  const opened = (await standby.execute({ kind: 'openSession' } as Request)) as {
    readonly sessionId: number;
  };
  t.ok(opened.sessionId > sessionId, 'new sessions never collide with those taken over');
  t.match(await standby.execute({ ...createDocs, name: 'new' } as never), {
    collection: { name: 'new' },
  });
});

t.test('a takeover that was begun is carried on by the next leader', async (t) => {
  for (const when of ['before', 'after'] as const) {
    const { primary, sink, standby } = await pair();
    const index = await synced({ primary, standby });
    const heal = sink.fail({ operation: 'put', keyContains: '/epochs/', when, times: 1_000 });
    t.equal(await codeOf(promote(standby)), 'SINK_UNAVAILABLE');
    // The primary goes on: nothing of it is taken over any more.
    await primary.upsert([95], 1);
    await primary.archived();
    const { node } = await standby.leader();
    node.kill();
    await standby.cluster.leader();
    await standby.advance(3_000);
    t.match(standby.running[0]?.node.replica.meta.site.kind, 'standby');
    heal();
    await standby.cluster.scheduler.until(
      () => standby.running.every((one) => one.node.replica.meta.site.kind === 'primary'),
      60_000,
    );
    t.match(standby.running[0]?.node.replica.meta.site, { promotion: { source: { index } } });
    t.ok(sink.keys.includes(epochKey(primary.clusterId, 2)), when);
    t.match(await standby.upsert([96], 2), {});
    t.equal((await standby.rows()).has(95), false);
  }
});

t.test('a primary that lives is not taken over from, but by force', async (t) => {
  const { primary, standby } = await pair({ standbyNodes: 1 });
  await synced({ primary, standby });
  const { standby: site } = await standby.leader();
  const promotion = codeOf(site.promote({ isForced: false }));
  await standby.advance(200);
  await primary.upsert([97], 1);
  await primary.archived();
  t.equal(await standby.resolve(promotion), 'PROMOTION_REFUSED');
  t.match(standby.running[0]?.node.replica.meta.site, { kind: 'standby', takeover: null });
  const promoted = await promote(standby, true);
  t.match(promoted, { fromClusterId: primary.clusterId, epoch: 2 });
  t.equal((await standby.rows()).get(97), 1, 'what was archived until then is there');
});

t.test('a primary that requires its store takes no write while it cannot read it', async (t) => {
  const sink = new MemorySink();
  const limits = { ...QUICK, isSinkRequired: true, fenceAgeMaxMs: 4_000 };
  const primary = await TestSite.start([sink], { seed: SEED, site: limits });
  await primary.advance(500);
  await primary.execute(createDocs);
  await primary.upsert([1], 1);
  await primary.archived();
  const standby = await TestSite.start([sink], { seed: SEED + 1, nodeCount: 1, site: limits });
  await standby.begin(primary);
  await synced({ primary, standby });

  const heal = sink.fail({ operation: 'list', keyContains: '/epochs/', times: 1_000 });
  t.match(await primary.upsert([2], 1), {}, 'the last look still counts');
  await primary.advance(5_500);
  t.equal(await codeOf(primary.upsert([3], 1)), 'FENCE_UNKNOWN');
  t.equal((await primary.rows()).has(3), false);
  t.equal((await primary.rows()).get(2), 1, 'reads go on');
  heal();
  await primary.advance(1_500);
  t.match(await primary.upsert([3], 1), {});
  await synced({ primary, standby });

  const { standby: site } = await standby.leader();
  const promotion = site.promote({ isForced: false });
  const epochPut = () => sink.keys.includes(epochKey(primary.clusterId, 2));
  await standby.cluster.scheduler.until(epochPut, 60_000);
  await standby.advance(4_000);
  t.equal(
    standby.running[0]?.node.replica.meta.site.kind,
    'standby',
    'a promotion waits until the old primary takes nothing more',
  );
  await standby.advance(500);
  t.match(await promotion, { epoch: 2 });
  t.match(await standby.upsert([4], 1), {});
});

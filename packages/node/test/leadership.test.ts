/**
 * Who leads, and who must not: elections at once when the leader is gone and none when it is not,
 * leases, hand-over before a stop, wrong clocks. Whole nodes on virtual time; times are exact.
 */
import { HoldfastError, must, type NodeId } from '@holdfast/base';
import type { Request, ResultBody } from '@holdfast/protocol';
import t from 'tap';
import { SimCluster, type SimClusterOptions, type SimNode } from '../src/testing/sim-cluster.ts';

type Asked = Request extends infer Each ? (Each extends Request ? Omit<Each, 'id'> : never) : never;

const ELECTION_TIMEOUT_MS = 600;
const LEASE_COUNT: Asked = { kind: 'count', collection: 'docs', consistency: 'lease' };

class World {
  readonly cluster: SimCluster;
  #written = 0;

  private constructor(cluster: SimCluster) {
    this.cluster = cluster;
  }

  static async start(options: Partial<SimClusterOptions> = {}): Promise<World> {
    const latency = { networkMsMax: 2, diskMsMax: 2 };
    const cluster = new SimCluster({ nodeCount: 3, seed: 5, latency, ...options });
    await cluster.start();
    const world = new World(cluster);
    await world.ask({ kind: 'createCollection', name: 'docs', dimension: 2, metric: 'l2' });
    return world;
  }

  get nowMs(): number {
    return this.cluster.scheduler.clock.monotonicMs();
  }

  async ask(request: Asked, node?: SimNode): Promise<ResultBody> {
    const asked = node ?? (await this.cluster.leader());
    return this.cluster.execute(asked, { id: 1, ...request } as Request, 20_000);
  }

  async codeOf(request: Asked, node: SimNode): Promise<string> {
    try {
      await this.ask(request, node);
      return 'OK';
    } catch (thrown) {
      if (thrown instanceof HoldfastError) return thrown.code;
      throw thrown;
    }
  }

  async write(): Promise<void> {
    this.#written += 1;
    const points = [{ id: this.#written, vector: new Float32Array([1, 2]) }];
    await this.ask({ kind: 'upsert', collection: 'docs', points });
  }

  get written(): number {
    return this.#written;
  }

  async roles(): Promise<{ leader: SimNode; first: SimNode; second: SimNode }> {
    const leader = await this.cluster.leader();
    const [first, second] = this.cluster.nodes.filter((node) => node !== leader);
    return { leader, first: must(first), second: must(second) };
  }

  /** Virtual ms until another than `old` leads. */
  async electionMs(old: SimNode): Promise<number> {
    const startMs = this.nowMs;
    const others = this.cluster.nodes.filter((node) => node !== old && node.isRunning);
    const isLed = (): boolean => others.some((node) => node.node.replica.soft.role === 'leader');
    await this.cluster.scheduler.until(isLed, 20_000);
    return this.nowMs - startMs;
  }

  /** What the transport of `node` says when its link to `peer` is gone. */
  lose(node: SimNode, peer: NodeId): void {
    must(this.cluster.network.endpoint(node.id)).peerLost(peer);
  }

  isolate(node: SimNode): void {
    const others = this.cluster.nodes.filter((other) => other !== node).map(({ id }) => id);
    this.cluster.network.isolate(node.id, others);
  }
}

const termOf = (node: SimNode): number => node.node.replica.soft.term;

t.test(
  'a dead leader is replaced at once, also when it is noticed at different times',
  async (t) => {
    for (const delayMs of [0, 40, 150, 300]) {
      const world = await World.start();
      const { leader, first, second } = await world.roles();
      world.isolate(leader);
      const startMs = world.nowMs;
      world.lose(first, leader.id);
      world.cluster.scheduler.clock.after(delayMs, () => world.lose(second, leader.id));
      await world.electionMs(leader);
      const tookMs = world.nowMs - startMs;
      t.ok(tookMs < delayMs + 250, `noticed ${delayMs} ms apart: ${tookMs} ms`);
      t.ok(tookMs < ELECTION_TIMEOUT_MS, 'sooner than by the election timeout');
    }
  },
);

t.test('a lone broken link deposes nobody', async (t) => {
  const world = await World.start();
  const { leader, first } = await world.roles();
  const term = termOf(leader);
  world.cluster.network.cut(leader.id, first.id);
  world.cluster.network.cut(first.id, leader.id);
  world.lose(first, leader.id);
  for (let i = 0; i < 10; i++) {
    await world.cluster.scheduler.advance(300);
    await world.write();
    if (i % 3 === 0) world.lose(first, leader.id);
  }
  t.equal((await world.cluster.leader()).id, leader.id);
  t.equal(termOf(leader), term, 'the term did not move');
  world.cluster.network.heal();
  await world.cluster.scheduler.advance(1_000);
  t.equal(first.node.replica.soft.leader, leader.id, 'it follows again');
  t.equal(termOf(leader), term);
});

t.test(
  'a follower told that its link is gone while it hears the leader deposes nobody',
  async (t) => {
    const world = await World.start();
    const { leader, first, second } = await world.roles();
    const term = termOf(leader);
    for (let i = 0; i < 30; i++) {
      world.lose(i < 15 ? first : second, leader.id);
      await world.cluster.scheduler.advance(70);
    }
    await world.write();
    t.equal((await world.cluster.leader()).id, leader.id);
    t.equal(termOf(leader), term);
  },
);

t.test('with leases on a dead leader is replaced when its lease is over, not sooner', async (t) => {
  const world = await World.start();
  await world.ask({ kind: 'setLeases', isEnabled: true });
  await world.cluster.scheduler.advance(1_000);
  const { leader } = await world.roles();
  leader.kill();
  const tookMs = await world.electionMs(leader);
  t.ok(tookMs > ELECTION_TIMEOUT_MS - 150, `bound by the lease: ${tookMs} ms`);
  t.ok(tookMs < 2 * ELECTION_TIMEOUT_MS, `and quick after it: ${tookMs} ms`);
  await world.write();
});

t.test(
  'lease reads ask nobody, and are refused while the cluster does not allow them',
  async (t) => {
    const world = await World.start();
    await world.write();
    const { leader, first } = await world.roles();
    t.equal(await world.codeOf(LEASE_COUNT, leader), 'LEASE_DISABLED');
    t.equal(await world.codeOf(LEASE_COUNT, first), 'LEASE_DISABLED');
    await world.ask({ kind: 'setLeases', isEnabled: true });
    await world.cluster.scheduler.advance(1_000);
    const startMs = world.nowMs;
    t.match(await world.ask(LEASE_COUNT, leader), { count: 1 });
    t.equal(world.nowMs, startMs, 'answered in the same moment');
    t.match(await world.ask(LEASE_COUNT, first), { count: 1 }, 'a follower asks the leader');
    t.ok(world.nowMs > startMs);
    world.isolate(leader);
    await world.cluster.scheduler.advance(ELECTION_TIMEOUT_MS + 200);
    t.not(await world.codeOf(LEASE_COUNT, leader), 'OK', 'without a quorum the lease runs out');
    world.cluster.network.heal();
    await world.ask({ kind: 'setLeases', isEnabled: false });
    t.equal(await world.codeOf(LEASE_COUNT, await world.cluster.leader()), 'LEASE_DISABLED');
  },
);

t.test('a leader that stood still serves no lease read from before', async (t) => {
  for (const pauseMs of [700, 1_500, 30_000]) {
    const world = await World.start({ seed: pauseMs });
    await world.ask({ kind: 'setLeases', isEnabled: true });
    await world.write();
    await world.cluster.scheduler.advance(1_000);
    const { leader } = await world.roles();
    t.match(await world.ask(LEASE_COUNT, leader), { count: 1 });
    leader.pause();
    const { scheduler } = world.cluster;
    // The others elect one of them; questions to the frozen node wait for it to wake.
    const others = world.cluster.nodes.filter((node) => node !== leader);
    const startMs = world.nowMs;
    await scheduler.until(
      () => others.some((node) => node.node.replica.soft.role === 'leader'),
      20_000,
    );
    const successor = must(others.find((node) => node.node.replica.soft.role === 'leader'));
    const points = [{ id: 77, vector: new Float32Array([3, 3]) }];
    await world.ask({ kind: 'upsert', collection: 'docs', points }, successor);
    await scheduler.advance(Math.max(0, pauseMs - (world.nowMs - startMs)));
    leader.resume();
    // Its own clock knows nothing of the pause yet: the first question comes before any tick.
    const deadlineMs = world.nowMs + 5_000;
    const read = leader.node.service.execute({ id: 1, ...LEASE_COUNT } as Request, { deadlineMs });
    const answer = await scheduler.resolve(read.catch(() => null));
    t.ok(answer === null || (answer as { count: number }).count === 2, `after ${pauseMs} ms`);
  }
});

t.test(
  'a stop in order hands the leadership over: writes wait for less than an election',
  async (t) => {
    const world = await World.start();
    await world.write();
    const { leader } = await world.roles();
    const handed = leader.node.replica.handOver();
    const tookMs = await world.electionMs(leader);
    await world.cluster.scheduler.resolve(handed);
    t.ok(tookMs < 100, `${tookMs} ms until another leads`);
    leader.kill();
    await world.write();
    await leader.start();

    const follower = (await world.roles()).first;
    await world.cluster.scheduler.resolve(follower.node.replica.handOver());
    t.pass('a follower has nothing to hand over');
    const alone = (await world.roles()).leader;
    for (const node of world.cluster.nodes) if (node !== alone) node.kill();
    const startMs = world.nowMs;
    await world.cluster.scheduler.resolve(alone.node.replica.handOver());
    t.ok(world.nowMs - startMs <= 2 * ELECTION_TIMEOUT_MS + 100, 'and a stop never hangs on it');
  },
);

/** Virtual ms from the last start to the first leader that a majority has heard, and its term. */
async function wholeStart(
  nodeCount: number,
  seed: number,
  networkMsMax: number,
): Promise<{ readonly tookMs: number; readonly term: number }> {
  const latency = { networkMsMax, diskMsMax: networkMsMax };
  const { nodes, scheduler } = new SimCluster({ nodeCount, seed, latency });
  await scheduler.resolve(Promise.all(nodes.map((node) => node.start())));
  const startMs = scheduler.clock.monotonicMs();
  const isLed = (): boolean =>
    nodes.filter(({ node }) => node.replica.soft.leader !== null).length * 2 > nodeCount;
  await scheduler.until(isLed, 20_000);
  const term = Math.max(...nodes.map(termOf));
  return { tookMs: scheduler.clock.monotonicMs() - startMs, term };
}

t.test(
  'a cluster that starts as a whole elects somebody as soon as a majority is there',
  async (t) => {
    for (let seed = 1; seed <= 20; seed++) {
      const { term, tookMs } = await wholeStart(3, seed, 2);
      t.ok(tookMs < 400, `seed ${seed}: ${tookMs} ms`);
      t.equal(term, 1);
    }
  },
);

t.test('candidates of a slow start do not end the terms of each other', async (t) => {
  const starts = [];
  for (let seed = 1; seed <= 40; seed++) starts.push(await wholeStart(5, seed, 120));
  const terms = starts.map(({ term }) => term);
  const inFirst = terms.filter((term) => term === 1).length;
  t.ok(inFirst >= 32, `the first term has a leader in ${inFirst} of 40 starts`);
  t.ok(Math.max(...terms) <= 3, `terms: ${terms.join(' ')}`);
});

t.test('a node that comes back to a leader asks for no votes', async (t) => {
  const world = await World.start();
  const { leader, first } = await world.roles();
  const term = termOf(leader);
  first.kill();
  await world.write();
  await first.start();
  for (const { id } of world.cluster.nodes) {
    if (id !== first.id) must(world.cluster.network.endpoint(first.id)).peerFound(id);
  }
  await world.cluster.scheduler.advance(2_000);
  await world.write();
  t.equal((await world.cluster.leader()).id, leader.id);
  t.equal(termOf(leader), term);
  t.equal(first.node.replica.activity().raft.preVotes, 0);
});

t.test('a leader whose disk is slower than those of the others gives its place away', async (t) => {
  for (const syncMs of [300, 800]) {
    const world = await World.start();
    const { leader } = await world.roles();
    const startMs = world.nowMs;
    let nextMs = startMs;
    while (leader.node.replica.soft.role === 'leader' && world.nowMs - startMs < 5_000) {
      if (world.nowMs >= nextMs) {
        nextMs = world.nowMs + syncMs;
        leader.stallDisk(nextMs);
      }
      const points = [{ id: 1_000, vector: new Float32Array([1, 2]) }];
      const code = await world.codeOf({ kind: 'upsert', collection: 'docs', points }, leader);
      // The last one may be under way when the leadership goes: the client repeats it.
      if (code !== 'OK') t.match(code, /^(LEADERSHIP_LOST|NOT_LEADER)$/);
      await world.cluster.scheduler.advance(5);
    }
    const leftMs = world.nowMs - startMs;
    t.ok(leftMs < 2_000, `${syncMs} ms per sync: it led for ${leftMs} ms more`);
    t.equal(leader.node.replica.raftStatus().isDiskStalled, false, 'its disk never stood still');
    await world.write();
    t.not((await world.cluster.leader()).id, leader.id);
  }
});

t.test('where all disks are equally slow, or one was so for a moment, nobody goes', async (t) => {
  const world = await World.start();
  const { leader } = await world.roles();
  const term = termOf(leader);
  leader.stallDisk(world.nowMs + 500);
  for (let i = 0; i < 100; i++) await world.write();
  await world.cluster.scheduler.advance(3_000);
  for (let round = 0; round < 10; round++) {
    for (const node of world.cluster.nodes) node.stallDisk(world.nowMs + 400);
    await world.write();
    await world.cluster.scheduler.advance(100);
  }
  t.equal((await world.cluster.leader()).id, leader.id);
  t.equal(termOf(leader), term);
});

t.test('a node with a wrong clock says so, and leaves the leadership to the others', async (t) => {
  const world = await World.start();
  await world.write();
  const { leader, first } = await world.roles();
  leader.jumpWall(3_600_000);
  await world.cluster.scheduler.until(() => first.node.replica.soft.leader !== leader.id, 20_000);
  t.ok(must(leader.node.service.status().clockSkewMs) > 3_500_000);
  const next = await world.cluster.leader();
  t.not(next.id, leader.id);
  t.ok(Math.abs(must(next.node.service.status().clockSkewMs)) < 1_000, 'the others are right');
  next.kill();
  await world.cluster.scheduler.advance(20_000);
  await next.start();
  await world.cluster.scheduler.advance(20_000);
  t.not((await world.cluster.leader()).id, leader.id, 'and it does not keep it either');
  leader.jumpWall(-3_600_000);
  await world.cluster.scheduler.advance(3_000);
  t.ok(Math.abs(must(leader.node.service.status().clockSkewMs)) < 1_000);
});

t.test(
  'a leader with a wrong clock does not take log time, and with it the sessions, away',
  async (t) => {
    const world = await World.start({ settings: { sessionIdleTimeoutMs: 60_000 } });
    const { sessionId } = (await world.ask({ kind: 'openSession' })) as { sessionId: number };
    const { leader, first } = await world.roles();
    const before = leader.node.replica.meta.logTimeMs;
    first.jumpWall(365 * 86_400_000);
    await world.ask({ kind: 'transferLeadership', to: first.id });
    const points = [{ id: 5, vector: new Float32Array([1, 1]) }];
    const session = { id: sessionId, sequence: 1, ackedThrough: 0 };
    await world.ask({ kind: 'upsert', collection: 'docs', points, session }, first);
    await world.cluster.scheduler.advance(10_000);
    await world.ask({ kind: 'upsert', collection: 'docs', points, session });
    for (const node of world.cluster.nodes) {
      const logTimeMs = node.node.replica.meta.logTimeMs;
      t.ok(logTimeMs - before < 120_000, `${node.id}: ${logTimeMs - before} ms of log time passed`);
    }
  },
);

interface Step {
  readonly step: string;
  readonly leader: string;
  readonly sinceDetectedMs: number | null;
}

t.test(
  'every step of a failover is an event, with the time since the leader was missed',
  async (t) => {
    const world = await World.start();
    const { cluster } = world;
    const steps = new Map<NodeId, Step[]>(cluster.nodes.map(({ id }) => [id, []]));
    cluster.observer = {
      onLog: (node, { failover }) => {
        if (failover !== undefined) must(steps.get(node.id)).push(failover as unknown as Step);
      },
    };
    const old = await cluster.leader();
    old.kill();
    await world.write();
    const leader = await cluster.leader();
    const follower = must(cluster.nodes.find((node) => node !== old && node !== leader));
    const own = must(steps.get(leader.id));
    t.same(
      own.map(({ step }) => step),
      ['detected', 'elected', 'announced', 'quorum', 'resumed'],
    );
    t.same(own.map((each) => each.leader).slice(1), Array(4).fill(leader.id));
    t.equal(own[0]?.leader, old.id);
    const times = own.map(({ sinceDetectedMs }) => must(sinceDetectedMs));
    t.same(
      times,
      [...times].sort((left, right) => left - right),
    );
    t.same(
      must(steps.get(follower.id)).map(({ step, leader }) => [step, leader]),
      [
        ['detected', old.id],
        ['announced', leader.id],
      ],
    );
  },
);

t.test('a node that starts is not ready before it has applied what was committed', async (t) => {
  const world = await World.start({ latency: { networkMsMax: 5, diskMsMax: 20, laneMsMax: 20 } });
  const { cluster } = world;
  const leader = await cluster.leader();
  const late = must(cluster.nodes.find((node) => node !== leader));
  late.kill();
  for (let i = 0; i < 50; i++) await world.write();
  const { commitIndex } = leader.node.service.status();
  await late.start();
  const status = () => late.node.service.status();
  let sawLeaderUnready = false;
  await cluster.scheduler.until(() => {
    const { appliedIndex, isReady, leader: known } = status();
    if (appliedIndex < commitIndex && isReady) t.fail('ready too early');
    if (known !== null && !isReady) sawLeaderUnready = true;
    return isReady;
  }, 10_000);
  t.ok(sawLeaderUnready, 'a known leader is not enough');
  t.ok(status().appliedIndex >= commitIndex);
});

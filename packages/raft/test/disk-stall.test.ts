// A leader whose disk has stopped must not stay in office (etcd#13527, hashicorp/raft#614).
import t from 'tap';
import { CoreCluster } from '../src/testing/core-cluster.ts';
import { Bench, type BenchOptions } from './support.ts';

const STALL_TICKS = 20;
const THREE = ['a', 'b', 'c'];

/** A leader with everything durable so far; its peers hold its no-op. */
function readyLeader(options: BenchOptions = {}): Bench {
  const bench = new Bench({ ...options, raft: { diskStallTicks: STALL_TICKS, ...options.raft } });
  bench.lead();
  for (const { id } of bench.status.peers) bench.ack(id, bench.status.lastIndex);
  bench.flush();
  return bench;
}

/** Hands an append out that the disk does not answer. */
function stall(bench: Bench): void {
  bench.core.propose([new Uint8Array(1)]);
  bench.take();
  bench.sent = [];
}

t.test('a leader whose oldest append waits too long steps down and hands over', async (t) => {
  const bench = readyLeader();
  stall(bench);
  bench.tick(STALL_TICKS - 1);
  bench.ack('b', 1);
  bench.ack('c', 2);
  bench.take();
  t.match(bench.status, { role: 'leader', diskStalledTicks: STALL_TICKS - 1 });
  bench.tick(1);
  bench.take();
  t.match(bench.status, { role: 'follower', leader: null, isDiskStalled: true });
  const orders = bench.sent.filter(({ kind }) => kind === 'timeoutNow');
  t.match(orders, [{ to: 'c', term: 1, lastIndex: 0 }], 'leaves although the disk has stopped');
  t.match(
    bench.events.filter(({ kind }) => kind === 'diskStalled' || kind === 'steppedDown'),
    [
      { kind: 'diskStalled', ticks: STALL_TICKS },
      { kind: 'steppedDown', reason: 'disk-stalled' },
    ],
  );
});

t.test('the age of the oldest append counts, however many follow and are batched', async (t) => {
  const bench = readyLeader();
  for (let tick = 0; tick < STALL_TICKS; tick++) {
    t.equal(bench.status.role, 'leader');
    stall(bench);
    bench.tick(1);
  }
  t.equal(bench.status.role, 'follower');
});

t.test('a disk that is slow but answers deposes nobody', async (t) => {
  const bench = readyLeader();
  for (let tick = 0; tick < 10 * STALL_TICKS; tick++) {
    stall(bench);
    bench.tick(1);
    const oldest = bench.log.unsyncedSeqs()[0];
    if (bench.log.unsyncedSeqs().length >= STALL_TICKS - 1) bench.sync(oldest);
  }
  t.equal(bench.status.role, 'leader');
});

t.test('while stalled it neither campaigns nor takes proposals, and then recovers', async (t) => {
  const bench = readyLeader({ raft: { preVote: true } });
  stall(bench);
  bench.tick(STALL_TICKS);
  bench.take();
  t.match(bench.core.propose([new Uint8Array(1)]), { ok: false, drop: 'disk-stalled' });
  bench.sent = [];
  bench.tick(10 * STALL_TICKS);
  bench.core.campaign();
  bench.take();
  t.match(bench.status, { role: 'follower', term: 1 });
  t.same(bench.sent, [], 'not even a pre-vote');
  bench.sync();
  t.match(bench.status, { diskStalledTicks: 0, isDiskStalled: false });
  bench.take();
  t.match(bench.events.at(-1), { kind: 'diskRecovered' });
  bench.core.campaign();
  t.equal(bench.status.role, 'preCandidate');
});

t.test('a stalled replica sends proposals to the leader it knows', async (t) => {
  const bench = readyLeader();
  stall(bench);
  bench.tick(STALL_TICKS);
  bench.append('b', 2, [], { prevIndex: 0 });
  t.match(bench.core.propose([new Uint8Array(1)]), { drop: 'not-leader', leader: 'b' });
});

t.test('a stalled replica does not take over when it is asked to', async (t) => {
  const bench = readyLeader();
  stall(bench);
  bench.tick(STALL_TICKS);
  bench.append('b', 2, [], { prevIndex: 0 });
  const { lastIndex } = bench.status;
  bench.step('b', 2, { kind: 'timeoutNow', lastIndex, lastTerm: bench.status.term });
  t.match(bench.status, { role: 'follower', term: 2 });
});

t.test('a process that was stopped does not take its pause for a stall of the disk', async (t) => {
  const bench = readyLeader();
  stall(bench);
  bench.nowMs += 60_000;
  bench.tick(2);
  t.match(bench.status, { role: 'leader', diskStalledTicks: 2 });
});

t.test('by default an append may wait for two seconds', async (t) => {
  for (const [tickIntervalMs, ticks] of [
    [20, 100],
    [50, 40],
  ] as const) {
    const bench = new Bench({ raft: { tickIntervalMs } });
    bench.lead();
    stall(bench);
    bench.tick(ticks - 1);
    t.equal(bench.status.role, 'leader');
    bench.tick(1);
    t.equal(bench.status.role, 'follower');
  }
});

t.test('leadership leaves a server with a dead disk and does not come back', async (t) => {
  const raft = { diskStallTicks: STALL_TICKS };
  const cluster = new CoreCluster({ seed: 7, voters: THREE, raft });
  cluster.elect('a');
  const healthy = ['b', 'c'];
  const step = (): void => {
    for (const id of THREE) cluster.tick(id);
    for (let round = 0; round < 10; round++) {
      for (const id of healthy) cluster.sync(id);
      cluster.deliverAll();
    }
  };
  let proposedCount = 0;
  let ledByOtherTicks = 0;
  for (let tick = 0; tick < 300; tick++) {
    const leader = cluster.leader();
    if (leader !== null && cluster.propose(leader.id, `${tick}`) !== null) proposedCount += 1;
    step();
    const hasOtherLeader = leader !== null && leader.id !== 'a';
    if (tick > STALL_TICKS + 10) t.ok(hasOtherLeader, `tick ${tick}`);
    if (hasOtherLeader) ledByOtherTicks += 1;
  }
  t.ok(ledByOtherTicks >= 300 - STALL_TICKS - 10);
  t.ok(proposedCount > 250, 'the group takes proposals almost all of the time');
  cluster.settle();
  t.equal(cluster.replica('a').core.status().isDiskStalled, false, 'the disk answers again');
});

// Lease reads: who is bound by a grant and for how long, when the lease of a leader ends, and every
// known way to read stale with one.
import t from 'tap';
import { CoreCluster } from '../src/testing/core-cluster.ts';
import { at, Bench, type BenchOptions, termOf } from './support.ts';

const THREE = ['a', 'b', 'c'];
const TICK_MS = 20;
/** Ten ticks, as in `Bench` and `CoreCluster`. */
const ELECTION_TIMEOUT_MS = 200;
/** 90 % of it, shortened by the default drift of 1,000 ppm. */
const LEASE_MS = 180 / 1.001;

const heartbeat = {
  kind: 'heartbeat',
  commit: at(0),
  round: 0,
  beat: 1,
  isLeaseWanted: true,
} as const;

/** A leader that has committed its no-op; nobody has granted anything yet. */
function readyLeader(options: BenchOptions = {}): Bench {
  const bench = new Bench({ isLeaseEnabled: true, ...options });
  passBoot(bench);
  bench.lead();
  for (const { id } of bench.status.peers) bench.ack(id, bench.status.lastIndex);
  bench.flush();
  return bench;
}

/** A process that starts is bound for an election timeout; most tests are not about that. */
function passBoot(bench: Bench): void {
  bench.tick(1);
  bench.nowMs += ELECTION_TIMEOUT_MS;
  bench.tick(1);
}

/** Lets the next heartbeat out and returns its number. */
function beat(bench: Bench): number {
  for (;;) {
    bench.tick();
    const [sent] = bench.flushOf('heartbeat');
    if (sent !== undefined) return sent.beat;
  }
}

function answer(bench: Bench, from: string, beatNumber: number, isLeaseGranted = true): void {
  const { term } = bench.status;
  bench.step(from, term, { kind: 'heartbeatResponse', round: 0, beat: beatNumber, isLeaseGranted });
}

/** A follower of b at term 1 that has just granted b a lease. */
function boundFollower(options: BenchOptions = {}): Bench {
  const bench = new Bench({ isLeaseEnabled: true, term: 1, ...options });
  passBoot(bench);
  bench.step('b', 1, heartbeat);
  t.match(bench.flush(), [{ kind: 'heartbeatResponse', isLeaseGranted: true, beat: 1 }]);
  return bench;
}

const asksVote = (bench: Bench, kind: 'vote' | 'preVote', term = 2) =>
  bench.askVote('c', term, { index: 9, term: 1 }, { kind }).isGranted;

function leasedCluster(seed: number, voters = THREE): CoreCluster {
  const cluster = new CoreCluster({ seed, voters, isLeaseEnabled: true });
  for (const id of cluster.ids) {
    cluster.tick(id);
    cluster.tickAt(id, cluster.clockMs(id) + ELECTION_TIMEOUT_MS);
  }
  cluster.elect('a');
  for (const id of cluster.ids) cluster.tick(id, 2);
  cluster.settle();
  return cluster;
}

t.test('leases are off unless the configuration says so', async (t) => {
  const bench = readyLeader({ isLeaseEnabled: false });
  bench.tick(2);
  t.match(bench.flushOf('heartbeat')[0], { isLeaseWanted: false });
  t.match(bench.core.leaseRead(bench.nowMs), { ok: false, drop: 'lease-disabled' });
  const follower = new Bench({ term: 1 });
  follower.step('b', 1, heartbeat);
  t.match(follower.flush(), [{ isLeaseGranted: false }], 'asked for, but not allowed here');
  t.equal(asksVote(follower, 'vote'), true);
});

t.test('a leader reads at once while a quorum is bound, and not without one', async (t) => {
  const bench = readyLeader();
  t.match(bench.core.leaseRead(bench.nowMs), { ok: false, drop: 'no-lease' });
  const sent = beat(bench);
  answer(bench, 'b', sent, false);
  t.match(bench.core.leaseRead(bench.nowMs), { drop: 'no-lease' }, 'an answer is not a grant');
  answer(bench, 'c', sent);
  t.same(bench.core.leaseRead(bench.nowMs), { ok: true, index: 1 });
  bench.core.propose([new Uint8Array(1)]);
  bench.flush();
  bench.ack('b', 2);
  t.same(bench.core.leaseRead(bench.nowMs), { ok: true, index: 2 }, 'the newest commit');
});

t.test('the lease counts from when the heartbeat was sent, not from its answer', async (t) => {
  const bench = readyLeader();
  const sent = beat(bench);
  const sentAtMs = bench.nowMs;
  bench.tick(8);
  answer(bench, 'b', sent);
  t.equal(bench.status.leaseExpiryMs, sentAtMs + LEASE_MS);
  t.match(bench.core.leaseRead(sentAtMs + LEASE_MS - 1), { ok: true });
  t.match(bench.core.leaseRead(sentAtMs + LEASE_MS), { ok: false, drop: 'no-lease' });
});

t.test('the quorum-th newest grant decides, and old answers take nothing back', async (t) => {
  const bench = readyLeader({ voters: ['a', 'b', 'c', 'd', 'e'] });
  const first = beat(bench);
  const firstAtMs = bench.nowMs;
  const second = beat(bench);
  const secondAtMs = bench.nowMs;
  answer(bench, 'b', second);
  t.equal(bench.status.leaseExpiryMs, null, 'two of five are no quorum');
  answer(bench, 'c', first);
  t.equal(bench.status.leaseExpiryMs, firstAtMs + LEASE_MS);
  answer(bench, 'd', second);
  t.equal(bench.status.leaseExpiryMs, secondAtMs + LEASE_MS);
  answer(bench, 'b', first);
  answer(bench, 'd', first);
  t.equal(bench.status.leaseExpiryMs, secondAtMs + LEASE_MS);
});

t.test('learners, and beats that were never sent, give no lease', async (t) => {
  const bench = readyLeader({ learners: ['l', 'm'] });
  const sent = beat(bench);
  answer(bench, 'l', sent);
  answer(bench, 'm', sent);
  answer(bench, 'b', sent + 1);
  answer(bench, 'c', 0);
  t.match(bench.core.leaseRead(bench.nowMs), { drop: 'no-lease' });
  bench.flush();
  t.match(bench.events.at(-1), { kind: 'messageRefused', reason: 'beat-never-sent' });
});

t.test('a joint configuration needs the grants of both majorities', async (t) => {
  const log = new Bench({ voters: ['a', 'b', 'c', 'd', 'e'], isLeaseEnabled: true }).log;
  const { conf } = log.initialState();
  const voters = conf.voters.slice(0, 3);
  const joint = { ...conf, voters, votersOutgoing: [conf.voters[0]!, ...conf.voters.slice(3)] };
  const initial = { ...log.initialState(), conf: joint };
  log.initialState = () => initial;
  const bench = readyLeader({ log });
  const sent = beat(bench);
  answer(bench, 'b', sent);
  answer(bench, 'c', sent);
  t.match(bench.core.leaseRead(bench.nowMs), { drop: 'no-lease' });
  answer(bench, 'd', sent);
  t.match(bench.core.leaseRead(bench.nowMs), { ok: true });
});

t.test('a new leader serves no lease read before it committed an entry of its term', async (t) => {
  const bench = new Bench({ isLeaseEnabled: true, terms: [1], term: 1, commit: 1 });
  passBoot(bench);
  bench.lead();
  const sent = beat(bench);
  answer(bench, 'b', sent);
  t.match(bench.core.leaseRead(bench.nowMs), { ok: false, drop: 'no-lease' });
  bench.ack('b', 2);
  t.match(bench.core.leaseRead(bench.nowMs), { ok: true, index: 2 });
});

t.test('only a leader serves lease reads', async (t) => {
  const bench = boundFollower();
  t.match(bench.core.leaseRead(bench.nowMs), { ok: false, drop: 'not-leader', leader: 'b' });
  const alone = new Bench({ isLeaseEnabled: true });
  t.match(alone.core.leaseRead(0), { ok: false, drop: 'no-leader', leader: null });
});

t.test('a single voter holds its lease by itself', async (t) => {
  const bench = readyLeader({ voters: ['a'] });
  t.match(bench.core.leaseRead(bench.nowMs + 3_600_000), { ok: true, index: 1 });
});

t.test('a follower that granted neither votes, pre-votes, campaigns nor forgets', async (t) => {
  // Without quorum checks and with ticks standing still, nothing but the grant protects the leader.
  for (const checkQuorum of [false, true]) {
    const bench = boundFollower({ raft: { checkQuorum } });
    bench.tick(1);
    t.equal(bench.core.forgetLeader(), false);
    bench.core.campaign();
    t.match(bench.status, { role: 'follower', leader: 'b', term: 1 });
    bench.nowMs += ELECTION_TIMEOUT_MS - 1 - TICK_MS;
    bench.tick(1);
    t.equal(asksVote(bench, 'preVote'), false);
    t.equal(asksVote(bench, 'vote'), false);
    t.equal(bench.status.term, 1, 'not even the term is adopted');
    bench.nowMs += 1;
    bench.core.tick(bench.nowMs);
    t.equal(asksVote(bench, 'preVote'), true);
    t.equal(asksVote(bench, 'vote'), true);
  }
});

t.test('the own election timer waits for the bond to end', async (t) => {
  const bench = boundFollower();
  for (let tick = 0; tick < 40; tick++) bench.core.tick(bench.nowMs + 1);
  t.equal(bench.status.role, 'follower', 'ticks without time do not lift it');
  bench.core.tick(bench.nowMs + 1 + ELECTION_TIMEOUT_MS);
  t.equal(bench.status.role, 'candidate');
});

t.test('a bond counts from after the receipt, also in a process that was stopped', async (t) => {
  // The heartbeat waited in the socket of a stopped process: it is read before the first tick.
  const bench = new Bench({ isLeaseEnabled: true, term: 1 });
  passBoot(bench);
  const stoppedAtMs = bench.nowMs;
  bench.step('b', 1, heartbeat);
  t.match(bench.flush(), [{ isLeaseGranted: true }]);
  bench.core.tick(stoppedAtMs + 30_000);
  t.equal(asksVote(bench, 'vote'), false);
  bench.core.tick(stoppedAtMs + 30_000 + ELECTION_TIMEOUT_MS - 1);
  t.equal(asksVote(bench, 'vote'), false);
  bench.core.tick(stoppedAtMs + 30_000 + ELECTION_TIMEOUT_MS);
  t.equal(asksVote(bench, 'vote'), true);
});

t.test('granting a vote binds the voter, so that two elections are a timeout apart', async (t) => {
  const bench = new Bench({ isLeaseEnabled: true, term: 1 });
  passBoot(bench);
  t.equal(bench.askVote('b', 2, { index: 0, term: 0 }).isGranted, true);
  t.equal(asksVote(bench, 'vote', 3), false);
  bench.core.campaign();
  t.equal(bench.status.role, 'follower');
  bench.tick(1);
  bench.nowMs += ELECTION_TIMEOUT_MS;
  bench.tick(1);
  t.equal(asksVote(bench, 'vote', 3), true);
});

t.test('a restarted follower helps nobody to power for an election timeout', async (t) => {
  // It may have granted a lease in its former life and does not remember.
  const bench = boundFollower();
  const restarted = new Bench({ isLeaseEnabled: true, log: bench.log.crash(), seed: 2 });
  for (const kind of ['preVote', 'vote'] as const) t.equal(asksVote(restarted, kind), false);
  restarted.tick(1);
  restarted.nowMs += ELECTION_TIMEOUT_MS - 1;
  restarted.core.tick(restarted.nowMs);
  restarted.core.campaign();
  t.match(restarted.status, { role: 'follower', term: 1 });
  t.equal(asksVote(restarted, 'vote'), false);
  restarted.nowMs += 1;
  restarted.core.tick(restarted.nowMs);
  t.equal(asksVote(restarted, 'vote'), true);
});

t.test('with leases off a restarted follower may vote at once', async (t) => {
  t.equal(asksVote(new Bench({ term: 1 }), 'vote'), true);
});

t.test('restarting a follower under a lease does not make the lease lie', async (t) => {
  const cluster = leasedCluster(1);
  cluster.isolate('b');
  cluster.settle();
  for (const id of ['a', 'c']) cluster.tick(id, 2);
  cluster.settle();
  t.ok(cluster.leaseRead('a'), 'the lease of a rests on c');
  cluster.crash('c');
  cluster.restart('c');
  cluster.heal();
  cluster.isolate('a');
  cluster.tick('b');
  cluster.tickAt('b', cluster.clockMs('b') + ELECTION_TIMEOUT_MS);
  cluster.replica('b').core.campaign();
  cluster.after('b');
  cluster.settle();
  t.equal(cluster.replica('b').core.status().role, 'preCandidate', 'c refused');
  t.ok(cluster.leaseRead('a'), 'and this is what a relies on');
});

t.test('a leader stopped for 30 s serves no read from its old lease', async (t) => {
  const cluster = leasedCluster(2);
  t.ok(cluster.leaseRead('a'));
  const stoppedAtMs = cluster.clockMs('a');
  cluster.isolate('a');
  for (let tick = 0; tick < 60; tick++) {
    for (const id of ['b', 'c']) cluster.tick(id);
    cluster.settle();
  }
  const leader = ['b', 'c'].find((id) => cluster.replica(id).core.status().role === 'leader')!;
  t.ok(cluster.propose(leader, 'newer'));
  cluster.settle();
  t.equal(cluster.replica('a').core.status().role, 'leader', 'it does not know yet');
  t.equal(cluster.leaseRead('a', stoppedAtMs + 30_000), null, 'asked before its first tick');
  cluster.tickAt('a', stoppedAtMs + 30_000);
  t.equal(cluster.leaseRead('a'), null);
  t.match(cluster.replica('a').core.status(), { role: 'leader' }, 'one tick, none replayed');
});

t.test('a transfer drops the lease before the order to take over leaves', async (t) => {
  const cluster = leasedCluster(3);
  t.ok(cluster.leaseRead('a'));
  cluster.replica('a').core.transfer(cluster.ids[1]!);
  t.equal(cluster.leaseRead('a'), null, 'before anything was sent');
  t.match(cluster.replica('a').core.leaseRead(cluster.clockMs('a')), { drop: 'transferring' });
  cluster.after('a');
  t.equal(cluster.network.filter(({ kind }) => kind === 'timeoutNow').length, 1);
  cluster.cut('b', 'a');
  cluster.cut('c', 'a');
  cluster.settle();
  t.equal(cluster.replica('b').core.status().role, 'leader', 'voters overlooked their bonds');
  t.ok(cluster.propose('b', 'newer'));
  cluster.settle();
  for (let tick = 0; tick < 9; tick++) {
    cluster.tick('a');
    t.equal(cluster.leaseRead('a'), null);
  }
  cluster.tick('a');
  t.equal(cluster.replica('a').core.status().transferee, null, 'the transfer has ended');
  t.equal(cluster.leaseRead('a'), null, 'its no-op is not committed');
});

t.test(
  'after a transfer that failed the lease waits for the no-op and for new grants',
  async (t) => {
    const bench = readyLeader();
    answer(bench, 'b', beat(bench));
    t.match(bench.core.leaseRead(bench.nowMs), { ok: true });
    bench.core.transfer(bench.status.peers[0]!.id);
    bench.flush();
    const during = beat(bench);
    t.match(bench.status, { transferee: 'b' });
    bench.tick(10);
    const sent = bench.flushOf('heartbeat');
    t.ok(
      sent.every(({ isLeaseWanted }) => !isLeaseWanted),
      'nobody is asked during the transfer',
    );
    answer(bench, 'c', during);
    t.match(bench.core.leaseRead(bench.nowMs), { drop: 'no-lease' });
    bench.ack('c', bench.status.lastIndex);
    answer(bench, 'c', beat(bench));
    t.match(bench.core.leaseRead(bench.nowMs), { ok: true, index: 2 });
  },
);

t.test('grants from before a transfer count no more after it', async (t) => {
  const bench = readyLeader();
  const before = beat(bench);
  bench.core.transfer(bench.status.peers[0]!.id);
  answer(bench, 'b', before);
  bench.tick(10);
  bench.ack('c', bench.status.lastIndex);
  t.match(bench.status, { transferee: null, leaseExpiryMs: null });
  answer(bench, 'c', before);
  t.match(bench.core.leaseRead(bench.nowMs), { drop: 'no-lease' });
});

t.test('a leadership starts without the grants of the one before', async (t) => {
  const bench = readyLeader();
  answer(bench, 'b', beat(bench));
  bench.step('c', 2, heartbeat);
  t.equal(bench.status.leaseExpiryMs, null);
  bench.flush();
  bench.nowMs += ELECTION_TIMEOUT_MS;
  bench.tick(1);
  bench.nowMs += ELECTION_TIMEOUT_MS;
  bench.tick(1);
  bench.lead();
  bench.ack('b', bench.status.lastIndex);
  t.match(bench.core.leaseRead(bench.nowMs), { drop: 'no-lease' });
});

t.test('the vote of a transfer is granted past the bond, and takes the term along', async (t) => {
  const bench = boundFollower({ raft: { checkQuorum: true } });
  const transfer = bench.askVote('c', 2, { index: 9, term: 1 }, { isTransfer: true });
  t.equal(transfer.isGranted, true);
  t.equal(bench.status.term, 2);
});

t.test('the target of a transfer campaigns although it is bound', async (t) => {
  const bench = boundFollower();
  bench.step('b', 1, { kind: 'timeoutNow', lastIndex: at(0), lastTerm: termOf(0) });
  t.match(bench.status, { role: 'candidate', term: 2 });
});

t.test('an answer given under a grant waits for the configuration that allowed it', async (t) => {
  // The restart rule relies on it: whoever granted finds leases on when it starts again.
  const bench = boundFollower();
  bench.append('b', 1, [], { prevIndex: 0 });
  bench.flush();
  bench.step('b', 2, { ...heartbeat, beat: 7 });
  bench.take();
  t.same(bench.sent, [], 'the new term is not durable, so nothing is promised yet');
  bench.sync();
  t.match(bench.sent, [{ kind: 'heartbeatResponse', beat: 7, isLeaseGranted: true }]);
});

t.test('a clock going back is a bug of the host', async (t) => {
  const bench = readyLeader();
  t.throws(() => bench.core.leaseRead(bench.nowMs - 1), { name: 'InvariantViolation' });
});

t.test(
  'a follower that was stopped does not protect a leader it has not heard since',
  async (t) => {
    const bench = new Bench({ term: 1, raft: { checkQuorum: true } });
    bench.tick(1);
    bench.step('b', 1, { ...heartbeat, isLeaseWanted: false });
    bench.tick(1);
    t.equal(asksVote(bench, 'preVote'), false);
    bench.core.tick(bench.nowMs + 30_000);
    t.match(bench.status, { role: 'follower', leader: 'b' }, 'one tick does not campaign');
    t.equal(asksVote(bench, 'preVote'), true, 'but the silence is known');
  },
);

t.test('what waited in the inbox of a stopped follower still counts as contact', async (t) => {
  const bench = new Bench({ term: 1, raft: { checkQuorum: true } });
  bench.tick(1);
  bench.step('b', 1, { ...heartbeat, isLeaseWanted: false });
  bench.core.tick(bench.nowMs + 30_000);
  t.equal(asksVote(bench, 'preVote'), false);
});

t.test('two elections a timeout apart never leave two leases', async (t) => {
  const cluster = leasedCluster(5, ['a', 'b', 'c', 'd', 'e']);
  const isLeased = (id: string): boolean => cluster.leaseRead(id) !== null;
  let leasedCount = 0;
  for (let round = 0; round < 200; round++) {
    const cutOff = cluster.ids[round % 5]!;
    if (round % 9 === 0) cluster.isolate(cutOff);
    if (round % 9 === 5) cluster.heal();
    for (const id of cluster.ids) cluster.tick(id);
    cluster.settle();
    const holders = cluster.ids.filter(isLeased);
    t.ok(holders.length <= 1, `round ${round}: ${holders}`);
    leasedCount += holders.length;
    const leader = cluster.leader();
    if (leader !== null) cluster.propose(leader.id, `${round}`);
    cluster.settle();
  }
  t.ok(leasedCount > 100, 'there was a lease most of the time');
});

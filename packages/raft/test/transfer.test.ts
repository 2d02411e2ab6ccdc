// Giving the leadership away: to whom, how it ends, what a late order can still do (thesis 3.10).
import t from 'tap';
import type { RaftMessage } from '../src/messages.ts';
import { CoreCluster } from '../src/testing/core-cluster.ts';
import { at, Bench, type BenchOptions, termOf } from './support.ts';

const THREE = ['a', 'b', 'c'];
/** As in `Bench` and `CoreCluster`. */
const ELECTION_TIMEOUT_TICKS = 10;

const isTimeoutNow = (message: RaftMessage): boolean => message.kind === 'timeoutNow';

/** A leader whose no-op is committed and held by everyone. */
function readyLeader(options: BenchOptions = {}): Bench {
  const bench = new Bench(options);
  bench.lead();
  for (const { id } of bench.status.peers) bench.ack(id, bench.status.lastIndex);
  bench.flush();
  return bench;
}

function settledCluster(seed: number): CoreCluster {
  const cluster = new CoreCluster({ seed, voters: THREE });
  cluster.elect('a');
  cluster.propose('a', 'x');
  cluster.settle();
  return cluster;
}

function tickAll(cluster: CoreCluster, count = 1): void {
  for (let tick = 0; tick < count; tick++) {
    for (const id of cluster.up) cluster.tick(id);
    cluster.settle();
  }
}

const endsOf = (bench: { events: readonly { kind: string }[] }) =>
  bench.events.filter(({ kind }) => kind === 'transferEnded');

t.test('an up-to-date target is told at once; proposals are refused until it leads', async (t) => {
  const bench = readyLeader();
  t.same(bench.core.transfer(bench.status.peers[0]!.id), { ok: true });
  t.match(bench.flushOf('timeoutNow'), [{ to: 'b', lastIndex: 1, lastTerm: 1 }]);
  t.equal(bench.status.transferee, 'b');
  t.match(bench.core.propose([new Uint8Array(1)]), { ok: false, drop: 'transferring' });
  t.equal(bench.askVote('b', 2, { index: 1, term: 1 }, { isTransfer: true }).isGranted, true);
  t.match(bench.status, { role: 'follower', term: 2, transferee: null });
});

t.test('a target that lags is brought up to date first', async (t) => {
  const bench = readyLeader();
  bench.core.propose([new Uint8Array(3)]);
  bench.flush();
  bench.core.transfer(bench.status.peers[1]!.id);
  t.same(bench.flush().filter(isTimeoutNow), [], 'c does not hold the last entry yet');
  bench.ack('c', 2);
  t.match(bench.flushOf('timeoutNow'), [{ to: 'c', lastIndex: 2 }]);
});

t.test(
  'a transfer completes past pre-vote and live leaders, also to a slow follower',
  async (t) => {
    const cluster = settledCluster(1);
    cluster.isolate('b');
    for (let i = 0; i < 5; i++) cluster.propose('a', 'while b is away');
    cluster.settle();
    cluster.heal();
    cluster.replica('a').core.transfer(cluster.ids[1]!);
    cluster.after('a');
    tickAll(cluster, 3);
    t.match(cluster.replica('b').core.status(), { role: 'leader', term: 2 });
    t.match(endsOf(cluster.replica('a')), [{ to: 'b', outcome: 'completed' }]);
    t.ok(cluster.propose('b', 'goes on'));
  },
);

t.test('a transfer to a server behind the compacted log ends with it as leader', async (t) => {
  const cluster = settledCluster(2);
  cluster.isolate('b');
  for (let i = 0; i < 5; i++) cluster.propose('a', 'compacted');
  cluster.settle();
  cluster.replica('a').checkpoint(0);
  cluster.after('a');
  cluster.heal();
  tickAll(cluster, 4);
  cluster.replica('a').core.transfer(cluster.ids[1]!);
  cluster.after('a');
  tickAll(cluster, 4);
  t.equal(cluster.leader()?.id, 'b');
});

t.test('a transfer to a dead server ends after exactly one election timeout', async (t) => {
  const bench = readyLeader({ raft: { checkQuorum: true } });
  bench.core.transfer(bench.status.peers[0]!.id);
  bench.flush();
  bench.tick(ELECTION_TIMEOUT_TICKS - 1);
  t.equal(bench.status.transferee, 'b');
  t.match(bench.core.propose([new Uint8Array(1)]), { drop: 'transferring' });
  bench.tick(1);
  bench.flush();
  t.match(bench.status, { role: 'leader', transferee: null, lastIndex: 2 });
  t.match(endsOf(bench), [{ to: 'b', outcome: 'timed-out' }]);
  t.match(bench.core.propose([new Uint8Array(1)]), { ok: true, index: 3 }, 'after a no-op');
});

t.test('a transfer that never told its target ends without a trace in the log', async (t) => {
  const bench = readyLeader();
  bench.core.propose([new Uint8Array(3)]);
  bench.core.transfer(bench.status.peers[0]!.id);
  bench.flush();
  bench.tick(ELECTION_TIMEOUT_TICKS);
  bench.flush();
  t.match(bench.status, { transferee: null, lastIndex: 2 });
});

t.test('a lost order is repeated with the heartbeats', async (t) => {
  const bench = readyLeader();
  bench.core.transfer(bench.status.peers[0]!.id);
  bench.flush();
  bench.tick(1);
  t.same(bench.flush().filter(isTimeoutNow), []);
  bench.tick(1);
  t.equal(bench.flush().filter(isTimeoutNow).length, 1);
});

t.test('an order that arrives after the transfer ended is ignored by its target', async (t) => {
  const cluster = settledCluster(3);
  cluster.replica('a').core.transfer(cluster.ids[1]!);
  cluster.after('a');
  const late = cluster.network.filter(isTimeoutNow);
  t.equal(late.length, 1);
  const isOther = (message: RaftMessage): boolean => !isTimeoutNow(message);
  for (let tick = 0; tick < ELECTION_TIMEOUT_TICKS; tick++) {
    for (const id of THREE) cluster.tick(id);
    cluster.settle(isOther);
  }
  cluster.deliver(late[0]!);
  cluster.settle();
  t.match(cluster.replica('a').core.status(), { role: 'leader', term: 1 });
  t.match(cluster.replica('b').core.status(), { role: 'follower', leader: 'a', term: 1 });
  t.match(cluster.replica('b').events.at(-1), { reason: 'transfer-outdated' });
});

t.test('a late order to a target without the no-op disturbs nobody who has it', async (t) => {
  const cluster = settledCluster(4);
  cluster.replica('a').core.transfer(cluster.ids[1]!);
  cluster.after('a');
  const late = cluster.network.find(isTimeoutNow)!;
  cluster.isolate('b');
  for (let tick = 0; tick < ELECTION_TIMEOUT_TICKS; tick++) {
    for (const id of ['a', 'c']) cluster.tick(id);
    cluster.settle();
  }
  t.equal(cluster.replica('a').core.status().transferee, null);
  cluster.heal();
  cluster.cut('a', 'b');
  cluster.replica('b').core.step(late);
  cluster.after('b');
  t.equal(cluster.replica('b').core.status().role, 'candidate', 'it cannot know better');
  cluster.settle();
  t.match(cluster.replica('c').core.status(), { term: 1, leader: 'a' });
  t.equal(cluster.leader()?.id, 'a');
});

t.test('only a leader transfers, and only to another voter', async (t) => {
  const bench = readyLeader({ learners: ['l'] });
  const idOf = (name: string) => name as (typeof bench)['id'];
  t.match(bench.core.transfer(idOf('a')), { ok: false, drop: 'already-leader', leader: 'a' });
  t.match(bench.core.transfer(idOf('x')), { ok: false, drop: 'not-member' });
  t.match(bench.core.transfer(idOf('l')), { ok: false, drop: 'not-voter' });
  const follower = new Bench({ term: 1 });
  t.match(follower.core.transfer(idOf('b')), { ok: false, drop: 'no-leader', leader: null });
  follower.append('b', 1, [], { prevIndex: 0 });
  t.match(follower.core.transfer(idOf('c')), { ok: false, drop: 'not-leader', leader: 'b' });
  t.equal(bench.status.transferee, null);
});

t.test('a second transfer to the same target changes nothing, not even its end', async (t) => {
  const bench = readyLeader();
  const [b] = bench.status.peers;
  bench.core.transfer(b!.id);
  bench.flush();
  bench.tick(ELECTION_TIMEOUT_TICKS - 1);
  bench.flush();
  t.same(bench.core.transfer(b!.id), { ok: true });
  t.same(bench.flush().filter(isTimeoutNow), []);
  bench.tick(1);
  t.equal(bench.status.transferee, null);
});

t.test('a transfer to another target replaces the first, whose order is outdated', async (t) => {
  const bench = readyLeader();
  const [b, c] = bench.status.peers;
  bench.core.propose([new Uint8Array(1)]);
  bench.flush();
  bench.ack('b', 2);
  bench.core.transfer(b!.id);
  t.match(bench.flushOf('timeoutNow'), [{ to: 'b' }]);
  bench.tick(4);
  bench.core.transfer(c!.id);
  t.same(bench.flush().filter(isTimeoutNow), [], 'c lags, so nothing is sent to it');
  t.match(endsOf(bench), [{ to: 'b', outcome: 'replaced' }]);
  t.equal(bench.status.transferee, 'c');
  bench.tick(ELECTION_TIMEOUT_TICKS);
  t.match(bench.status, { transferee: null, lastIndex: 3 }, 'a no-op outdates what b was sent');
});

t.test('a higher term ends a transfer; who leads then says how', async (t) => {
  const bench = readyLeader();
  bench.core.transfer(bench.status.peers[0]!.id);
  bench.flush();
  t.equal(bench.askVote('c', 3, { index: 1, term: 1 }).isGranted, true);
  t.match(bench.status, { role: 'follower', transferee: null, term: 3 });
  t.same(endsOf(bench), []);
  bench.step('c', 3, { kind: 'heartbeat', commit: at(0), round: 0, beat: 1, isLeaseWanted: false });
  bench.flush();
  t.match(endsOf(bench), [{ to: 'b', outcome: 'superseded' }]);
});

t.test('losing the quorum during a transfer ends it', async (t) => {
  const bench = readyLeader({ raft: { checkQuorum: true } });
  bench.tick(5);
  bench.core.transfer(bench.status.peers[0]!.id);
  bench.tick(6);
  t.match(bench.status, { role: 'follower', transferee: null });
});

t.test('learners and strangers ignore the order to take over', async (t) => {
  for (const voters of [['b', 'c'], ['b']]) {
    const learners = voters.length === 2 ? ['a'] : [];
    const bench = new Bench({ voters, learners, term: 1 });
    bench.append('b', 1, [], { prevIndex: 0 });
    bench.step('b', 1, { kind: 'timeoutNow', lastIndex: at(0), lastTerm: termOf(0) });
    t.match(bench.status, { role: 'follower', term: 1 });
  }
});

t.test('targets are the voters heard from lately, those that hold most first', async (t) => {
  const bench = readyLeader({ voters: ['a', 'b', 'c', 'd'], learners: ['l'] });
  bench.core.propose([new Uint8Array(1)]);
  bench.flush();
  bench.ack('c', 2);
  bench.ack('l', 2);
  t.same(bench.core.transferTargets(), ['c', 'b', 'd']);
  bench.tick(8);
  bench.ack('b', 2);
  bench.tick(4);
  t.same(bench.core.transferTargets(), ['b'], 'the others have been silent');
  t.same(new Bench().core.transferTargets(), [], 'a follower has none to offer');
});

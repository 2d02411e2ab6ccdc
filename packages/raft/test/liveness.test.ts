// Groups that must not come to a stand-still, and leaders that must not be disturbed: broken links
// in one direction, unelectable servers that keep asking, mixed settings, slow followers.
import type { NodeId } from '@holdfast/base';
import t from 'tap';
import type { RaftMessage } from '../src/messages.ts';
import { CoreCluster } from '../src/testing/core-cluster.ts';
import { Bench, logOf } from './support.ts';

const THREE = ['a', 'b', 'c'];

type Wanted = (message: RaftMessage) => boolean;

function tickAll(cluster: CoreCluster, count: number, isWanted?: Wanted): void {
  for (let tick = 0; tick < count; tick++) {
    for (const id of cluster.up) cluster.tick(id);
    cluster.settle(isWanted);
  }
}

function ledBy(id: string, seed: number): CoreCluster {
  const cluster = new CoreCluster({ seed, voters: THREE });
  cluster.elect(id);
  tickAll(cluster, 2);
  return cluster;
}

t.test('a follower that hears nobody but is heard deposes nobody', async (t) => {
  const cluster = ledBy('a', 1);
  const { term } = cluster.leader()!.core.status();
  for (const other of ['a', 'b']) cluster.cut(other, 'c');
  tickAll(cluster, 100);
  t.match(cluster.replica('a').core.status(), { role: 'leader', term });
  cluster.heal();
  tickAll(cluster, 3);
  t.match(cluster.replica('c').core.status(), { role: 'follower', leader: 'a', term });
});

t.test('a follower that hears only the other follower deposes nobody', async (t) => {
  const cluster = ledBy('a', 2);
  const { term } = cluster.leader()!.core.status();
  cluster.cut('a', 'c');
  cluster.cut('c', 'a');
  tickAll(cluster, 100);
  t.match(cluster.replica('a').core.status(), { role: 'leader', term });
  t.ok(cluster.propose('a', 'goes on'));
});

t.test('a follower that hears the leader but is not heard deposes nobody', async (t) => {
  const cluster = ledBy('a', 3);
  const { term } = cluster.leader()!.core.status();
  for (const other of ['a', 'b']) cluster.cut('c', other);
  tickAll(cluster, 100);
  t.match(cluster.replica('a').core.status(), { role: 'leader', term });
  t.equal(cluster.replica('c').core.status().role, 'follower');
});

t.test('a leader that hears but is not heard is replaced, and follows', async (t) => {
  const cluster = ledBy('a', 4);
  for (const other of ['b', 'c']) cluster.cut('a', other);
  tickAll(cluster, 40);
  const leader = cluster.leader()!;
  t.not(leader.id, 'a');
  t.match(cluster.replica('a').core.status(), { role: 'follower', leader: leader.id });
});

t.test('a leader that hears one follower and is heard by the other steps down', async (t) => {
  const cluster = ledBy('a', 5);
  cluster.cut('a', 'b');
  cluster.cut('c', 'a');
  tickAll(cluster, 60);
  const leader = cluster.leader();
  t.ok(leader !== null && leader.id !== 'a', 'what it hears proves nothing of what it says');
  t.ok(cluster.propose(leader!.id, 'goes on'));
});

t.test('without pre-vote a returning server costs one election, not a stand-still', async (t) => {
  const cluster = new CoreCluster({ seed: 6, voters: THREE, raft: { preVote: false } });
  cluster.elect('a');
  cluster.isolate('c');
  tickAll(cluster, 60);
  const inflated = cluster.replica('c').core.status().term;
  cluster.heal();
  tickAll(cluster, 40);
  const leader = cluster.leader()!;
  t.ok(leader.core.status().term > inflated);
  for (const id of THREE) t.equal(cluster.replica(id).core.status().leader, leader.id);
});

t.test('an unelectable server that keeps asking does not starve the others', async (t) => {
  // c lacks what a and b committed, and campaigns all the time; a is gone, so b must win.
  const cluster = new CoreCluster({ seed: 7, voters: THREE, raft: { preVote: false } });
  cluster.elect('a');
  cluster.isolate('c');
  cluster.propose('a', 'c lacks this');
  cluster.settle();
  cluster.crash('a');
  cluster.heal();
  let ticks = 0;
  for (; cluster.leader()?.id !== 'b'; ticks++) {
    if (ticks % 4 === 0) cluster.replica('c').core.campaign();
    cluster.after('c');
    tickAll(cluster, 1);
    if (ticks === 100) break;
  }
  t.equal(cluster.leader()?.id, 'b');
});

t.test('a split pre-vote is followed by another, without inflating the term', async (t) => {
  const cluster = new CoreCluster({ seed: 8, voters: ['a', 'b', 'c', 'd'] });
  const inTwoHalves: Wanted = ({ from, to }) => from < 'c' === to < 'c';
  tickAll(cluster, 100, inTwoHalves);
  t.equal(cluster.leader(), null);
  for (const id of cluster.ids) t.equal(cluster.replica(id).core.status().term, 0);
  tickAll(cluster, 40);
  t.equal(cluster.leader()?.core.status().term, 1);
});

t.test('votes split evenly are cast again in a later term', async (t) => {
  const voters = ['a', 'b', 'c', 'd'];
  const cluster = new CoreCluster({ seed: 9, voters, raft: { preVote: false } });
  for (const id of ['a', 'd']) cluster.replica(id).core.campaign();
  const inTwoHalves: Wanted = ({ from, to }) => from < 'c' === to < 'c';
  for (const id of ['a', 'd']) cluster.after(id);
  cluster.settle(inTwoHalves);
  t.equal(cluster.leader(), null);
  tickAll(cluster, 60);
  t.ok(cluster.leader()!.core.status().term > 1);
});

t.test('servers with and without pre-vote elect a leader together', async (t) => {
  // A rolling change of the setting: a asks for pre-votes, c does not.
  const old = new Bench({ id: 'c', term: 4, raft: { preVote: false } });
  const fresh = new Bench({ id: 'a', term: 2, terms: [1, 2], raft: { preVote: true } });
  fresh.core.campaign();
  const [request] = fresh.flushOf('preVote').filter(({ to }) => to === 'c');
  old.core.step(request!);
  const [answer] = old.flushOf('preVoteResponse');
  t.equal(answer!.isGranted, false, 'the asked server is a term ahead');
  fresh.core.step(answer!);
  t.match(fresh.status, { role: 'follower', term: 4 });
  fresh.core.campaign();
  const [second] = fresh.flushOf('preVote').filter(({ to }) => to === 'c');
  old.core.step(second!);
  const [granted] = old.flushOf('preVoteResponse');
  fresh.core.step(granted!);
  const [vote] = fresh.flushOf('vote').filter(({ to }) => to === 'c');
  old.core.step(vote!);
  fresh.core.step(old.flushOf('voteResponse')[0]!);
  t.match(fresh.status, { role: 'leader', term: 5 });
});

t.test('a follower slower than the heartbeats catches up step by step', async (t) => {
  const raft = { appendSizeBytesMax: 60, inflightCountMax: 2 };
  const cluster = new CoreCluster({ seed: 10, voters: THREE, raft });
  cluster.elect('a');
  cluster.isolate('c');
  for (let i = 0; i < 30; i++) cluster.propose('a', `entry ${i}`);
  cluster.settle();
  cluster.heal();
  let match = 0;
  for (let tick = 0; tick < 400 && match < 31; tick++) {
    for (const id of THREE) cluster.tick(id);
    // One message to c per tick gets through, and its disk takes two ticks.
    let isTaken = false;
    for (const id of ['a', 'b']) cluster.sync(id);
    if (tick % 2 === 0) cluster.sync('c');
    cluster.deliverAll(({ to }) => {
      if (to !== 'c') return true;
      if (isTaken) return false;
      isTaken = true;
      return true;
    });
    const peer = cluster
      .leader()!
      .core.status()
      .peers.find(({ id }) => id === 'c')!;
    t.ok(peer.matchIndex >= match, 'never back');
    match = peer.matchIndex;
  }
  t.equal(match, 31);
});

t.test('a heartbeat names no commit its receiver is not known to hold', async (t) => {
  const bench = new Bench({ entries: logOf([1, 1, 1]), term: 1 });
  bench.lead();
  bench.ack('b', 4);
  bench.flush();
  t.equal(bench.status.commit, 4);
  bench.tick(2);
  const commits = bench.flushOf('heartbeat').map(({ to, commit }) => [to, commit]);
  t.same(commits, [
    ['b', 4],
    ['c', 0],
  ]);
});

t.test('the tail of a leader cut off is bounded, and gone when it returns', async (t) => {
  const raft = { uncommittedSizeBytesMax: 2_000, entrySizeBytesMax: 500, checkQuorum: false };
  const cluster = new CoreCluster({ seed: 11, voters: THREE, raft });
  cluster.elect('a');
  cluster.isolate('a');
  let takenCount = 0;
  while (cluster.propose('a', 'x'.repeat(100)) !== null) takenCount += 1;
  t.ok(takenCount > 5 && takenCount < 20);
  for (const id of ['b', 'c']) cluster.tick(id, 12);
  cluster.replica('b').core.campaign();
  cluster.after('b');
  cluster.settle();
  t.ok(cluster.propose('b', 'kept'));
  cluster.heal();
  tickAll(cluster, 30);
  const { commit, lastIndex, uncommittedSizeBytes } = cluster.replica('a').core.status();
  t.match({ lastIndex, uncommittedSizeBytes }, { lastIndex: commit, uncommittedSizeBytes: 0 });
  t.equal(lastIndex, cluster.replica('b').core.status().lastIndex);
});

t.test('members do not change while the leadership is on its way', async (t) => {
  const cluster = ledBy('a', 12);
  const { core } = cluster.replica('a');
  core.transfer('b' as NodeId);
  t.match(core.proposeConf({ steps: [{ kind: 'remove', nodeId: 'b' as NodeId }] }), {
    ok: false,
    drop: 'transferring',
  });
});

t.test('a voter on its way out is no target, nor one that has left', async (t) => {
  const cluster = ledBy('a', 13);
  const { core } = cluster.replica('a');
  const c = 'c' as NodeId;
  t.ok(core.proposeConf({ steps: [{ kind: 'demote', nodeId: c }], transition: 'joint' }).ok);
  t.match(core.transfer(c), { ok: false, drop: 'not-voter' });
  cluster.after('a');
  cluster.settle();
  t.ok(core.proposeConf({ steps: [] }).ok);
  cluster.after('a');
  cluster.settle();
  t.match(core.transfer(c), { ok: false, drop: 'not-voter' });
  t.ok(core.proposeConf({ steps: [{ kind: 'remove', nodeId: c }] }).ok);
  t.match(core.transfer(c), { ok: false, drop: 'not-member' });
});

t.test(
  'a read is not released by a voter removed between its answer and the release',
  async (t) => {
    const cluster = new CoreCluster({ seed: 14, voters: ['a', 'b', 'c', 'd'] });
    cluster.elect('a');
    tickAll(cluster, 2);
    const { core } = cluster.replica('a');
    cluster.readIndex('a');
    cluster.deliverAll();
    for (const id of ['b', 'c', 'd']) cluster.sync(id);
    // Of four voters two answers besides the leader's own are needed; that of d comes too late.
    cluster.deliverAll(({ from }) => from === 'd');
    t.equal(cluster.replica('a').reads.length, 0);
    t.ok(core.proposeConf({ steps: [{ kind: 'remove', nodeId: 'd' as NodeId }] }).ok);
    cluster.after('a');
    t.equal(cluster.replica('a').reads.length, 0, 'd counts no more, and nobody else has answered');
    cluster.settle();
    tickAll(cluster, 2);
    t.match(cluster.replica('a').reads, [{ outcome: { kind: 'ready' } }]);
  },
);

t.test('switching leases off and on again forgets every grant in between', async (t) => {
  const cluster = new CoreCluster({ seed: 15, voters: THREE, isLeaseEnabled: true });
  for (const id of THREE) {
    cluster.tick(id);
    cluster.tickAt(id, cluster.clockMs(id) + 200);
  }
  cluster.elect('a');
  tickAll(cluster, 2);
  t.ok(cluster.leaseRead('a'));
  const { core } = cluster.replica('a');
  for (const isEnabled of [false, true]) {
    t.ok(core.proposeConf({ steps: [{ kind: 'setLeases', isEnabled }] }).ok);
    t.equal(cluster.leaseRead('a'), null, `${isEnabled}`);
    cluster.after('a');
    cluster.settle();
    t.equal(cluster.leaseRead('a'), null, `${isEnabled}, committed`);
  }
  tickAll(cluster, 2);
  t.ok(cluster.leaseRead('a'), 'by new grants');
});

// One test per claim of the Raft paper (5.2 on) and of the thesis that paper.test.ts does not have:
// membership, snapshots, reads, transfer, pre-vote. Titles begin with the section.
import type { LogIndex, NodeId } from '@holdfast/base';
import { must, nodeId } from '@holdfast/base';
import t from 'tap';
import type { RaftMessage } from '../src/messages.ts';
import { CoreCluster } from '../src/testing/core-cluster.ts';
import { at, Bench, extend, logOf, termOf } from './support.ts';

const heartbeat = {
  kind: 'heartbeat',
  commit: at(0),
  round: 0,
  beat: 0,
  isLeaseWanted: false,
} as const;

const THREE = ['a', 'b', 'c'];

function group(seed: number, voters: readonly string[] = THREE): CoreCluster {
  const cluster = new CoreCluster({ seed, voters });
  cluster.elect('a');
  return cluster;
}

/** Everybody ticks and everything arrives, `count` times. */
function live(cluster: CoreCluster, count: number): void {
  for (let i = 0; i < count; i++) {
    for (const id of cluster.up) cluster.tick(id);
    cluster.settle();
  }
}

const logsOf = (cluster: CoreCluster, id: string): readonly string[] => {
  const { log } = cluster.replica(id);
  const first = log.firstIndex();
  const entries = log.entries(first, (log.lastIndex() + 1) as LogIndex, 1_000_000);
  return typeof entries === 'string' ? [] : entries.map(({ index, term }) => `${index}/${term}`);
};

t.test('5.2: a follower that hears from its leader in time stays a follower', async (t) => {
  const bench = new Bench({ term: 1 });
  for (let i = 0; i < 20; i++) {
    bench.tick(9);
    bench.step('b', 1, heartbeat);
    bench.flush();
  }
  t.match(bench.status, { role: 'follower', leader: 'b', term: 1 });
});

t.test('5.2: a candidate whose election ends without a winner starts another one', async (t) => {
  const bench = new Bench({ term: 1 });
  bench.core.campaign();
  bench.flush();
  bench.tick(20);
  bench.flush();
  t.match(bench.status, { role: 'candidate', term: 3 });
});

t.test(
  '5.2: a candidate that hears from a leader of an older term stays a candidate',
  async (t) => {
    const bench = new Bench({ term: 4 });
    bench.core.campaign();
    bench.flush();
    bench.step('b', 4, heartbeat);
    t.match(bench.status, { role: 'candidate', term: 5 });
  },
);

t.test('5.2: in each term there is at most one leader', async (t) => {
  const cluster = new CoreCluster({ seed: 52, voters: THREE, raft: { preVote: false } });
  for (let round = 0; round < 20; round++) {
    for (const id of cluster.ids) cluster.replica(id).core.forgetLeader();
    for (const id of cluster.ids) {
      cluster.replica(id).core.campaign();
      cluster.after(id);
    }
    // The checker fails as soon as a second leader of a term is seen.
    live(cluster, 25);
  }
  t.ok(cluster.checker.termsLed >= 10, `${cluster.checker.termsLed} terms were led`);
});

t.test('5.3: a leader never overwrites or deletes entries of its own log', async (t) => {
  const bench = new Bench({ terms: [1, 1], term: 1 });
  bench.lead();
  bench.core.propose([new Uint8Array([1])]);
  bench.flush();
  const before = [1, 2, 3, 4].map((index) => bench.log.term(at(index)));
  bench.append('b', 2, logOf([1, 2, 2, 2, 2]), { prevIndex: 1 });
  bench.flush();
  const after = [1, 2, 3, 4].map((index) => bench.log.term(at(index)));
  t.same(after, before, 'an append of its own term from somebody else changes nothing');
  t.equal(bench.status.role, 'leader');
});

t.test('5.3: two logs with an entry of one index and term agree up to it', async (t) => {
  const cluster = group(53);
  cluster.isolate('c');
  cluster.propose('a', 'one');
  cluster.settle();
  cluster.heal();
  live(cluster, 6);
  const last = cluster.replica('a').log.lastIndex();
  for (let index = 1; index <= last; index++)
    t.same(
      cluster.replica('c').log.sum(at(index)),
      cluster.replica('a').log.sum(at(index)),
      `the chain sum at ${index} stands for everything before it`,
    );
});

t.test('5.3: a new leader starts to send at the end of its own log', async (t) => {
  const bench = new Bench({ terms: [1, 1, 2], term: 2 });
  bench.lead();
  t.match(bench.status.peers, [
    { id: 'b', matchIndex: 0, nextIndex: 4 },
    { id: 'c', matchIndex: 0, nextIndex: 4 },
  ]);
});

t.test('5.4.3: whatever was committed is in the log of every later leader', async (t) => {
  const cluster = group(543, ['a', 'b', 'c', 'd', 'e']);
  for (const next of ['b', 'c', 'd', 'e', 'a', 'c']) {
    const leader = must(cluster.leader());
    const index = must(cluster.propose(leader.id, `before ${next}`));
    cluster.settle();
    t.ok(cluster.checker.committedIndex >= index);
    cluster.crash(leader.id);
    cluster.elect(leader.id === next ? 'b' : next);
    cluster.restart(leader.id);
    live(cluster, 4);
    const led = must(cluster.leader()).core.status();
    t.ok(led.lastIndex >= index, `the leader of term ${led.term} has index ${index}`);
  }
});

t.test('5.5: the same request delivered again does no harm', async (t) => {
  const bench = new Bench({ term: 1 });
  const log = logOf([1, 1, 1]);
  for (let i = 0; i < 3; i++) bench.append('b', 1, log, { prevIndex: 0, commit: 2 });
  bench.flush();
  t.match(bench.status, { lastIndex: 3, commit: 2 });
  const votes = [1, 2, 3].map(() => bench.askVote('c', 2, { index: 3, term: 1 }).isGranted);
  t.same(votes, [true, true, true]);
});

t.test('5.6: with timely messages a leader stays in office as long as it lives', async (t) => {
  const cluster = group(56);
  live(cluster, 200);
  t.match(cluster.replica('a').core.status(), { role: 'leader', term: 1 });
});

t.test('6, thesis 4.1: a configuration counts from when it is in the log', async (t) => {
  const cluster = group(41);
  const member = cluster.join('d');
  cluster.change('a', { kind: 'addVoter', member });
  t.same(cluster.replica('a').core.status().conf.voters, ['a', 'b', 'c', 'd']);
  t.equal(cluster.replica('a').core.status().commit, 1, 'although it is not committed');
});

t.test('thesis 4.1: one change at a time', async (t) => {
  const cluster = group(411);
  cluster.join('d');
  cluster.join('e');
  const learner = (id: string) =>
    ({ kind: 'addLearner', member: cluster.member(id), promotion: null }) as const;
  t.not(cluster.change('a', learner('d')), null);
  t.equal(cluster.change('a', learner('e')), null);
  cluster.settle();
  t.not(cluster.change('a', learner('e')), null);
});

t.test('thesis 4.2.1: a newcomer catches up without a vote before it gets one', async (t) => {
  const cluster = group(421);
  for (let i = 0; i < 10; i++) cluster.propose('a', `${i}`);
  const member = cluster.join('d');
  cluster.change('a', { kind: 'addLearner', member, promotion: { replaces: null } });
  t.same(cluster.replica('a').core.status().conf.learners, ['d'], 'first a learner');
  cluster.settle();
  live(cluster, 10);
  t.ok(cluster.checker.conf.conf.voters.includes(nodeId('d')), 'then a voter');
});

t.test('6, thesis 4.2.2: a leader outside the new configuration steps down', async (t) => {
  const cluster = group(422);
  cluster.change('a', { kind: 'remove', nodeId: nodeId('a') });
  t.equal(cluster.replica('a').core.status().role, 'leader', 'until that is committed');
  cluster.settle();
  t.equal(cluster.replica('a').core.status().role, 'follower');
  t.not(must(cluster.leader()).id, 'a');
});

t.test('6, thesis 4.2.3: a removed server cannot disturb the group', async (t) => {
  const cluster = group(423);
  // c misses its own removal, hears from nobody any more and asks for votes on and on.
  cluster.isolate('c');
  cluster.change('a', { kind: 'remove', nodeId: nodeId('c') });
  cluster.settle();
  cluster.heal();
  for (let i = 0; i < 40; i++) {
    cluster.tick('c');
    live(cluster, 1);
  }
  t.match(cluster.replica('a').core.status(), { role: 'leader', term: 1 });
});

t.test('6, thesis 4.3: between two configurations both majorities decide', async (t) => {
  const cluster = group(430);
  for (const name of ['d', 'e']) cluster.join(name);
  const learners = ['d', 'e'].map(
    (id) => ({ kind: 'addLearner', member: cluster.member(id), promotion: null }) as const,
  );
  cluster.change('a', ...learners);
  cluster.settle();
  live(cluster, 4);
  const promote = (id: string) => ({ kind: 'promote', nodeId: nodeId(id) }) as const;
  const steps = [promote('d'), promote('e'), { kind: 'remove', nodeId: nodeId('b') } as const];
  // Old voters: a b c. New voters: a c d e. Only a, d and e are reached.
  for (const from of ['b', 'c'])
    for (const to of ['a', 'd', 'e']) {
      cluster.cut(from, to);
      cluster.cut(to, from);
    }
  const index = must(cluster.change('a', ...steps));
  cluster.settle();
  t.ok(cluster.replica('a').core.status().commit < index, 'the old majority is missing');
  cluster.heal();
  live(cluster, 6);
  t.same(cluster.checker.conf.conf.voters, ['a', 'c', 'd', 'e'], 'with it the change goes through');
  t.same(cluster.checker.conf.conf.votersOutgoing, [], 'and is completed by itself');
});

t.test('7: a snapshot keeps index and term of its last entry for the next append', async (t) => {
  const cluster = group(7);
  for (const text of ['one', 'two']) cluster.propose('a', text);
  cluster.settle();
  cluster.replica('a').checkpoint(0);
  const { log } = cluster.replica('a');
  const meta = must(log.snapshotMeta());
  t.match(meta, { index: 3, term: 1 });
  t.equal(log.firstIndex(), 4, 'everything before is gone');
  cluster.propose('a', 'three');
  cluster.settle();
  t.equal(cluster.checker.committedIndex, 4, 'and what follows attaches to it');
});

t.test('7: a follower too far behind gets the snapshot and then the rest', async (t) => {
  const cluster = group(71);
  cluster.isolate('c');
  for (const text of ['one', 'two']) cluster.propose('a', text);
  cluster.settle();
  cluster.replica('a').checkpoint(0);
  cluster.propose('a', 'three');
  cluster.heal();
  live(cluster, 6);
  t.same(logsOf(cluster, 'c'), ['4/1'], 'its log starts after the snapshot');
  t.equal(cluster.replica('c').appliedIndex, 4);
});

t.test('7: a snapshot of a prefix leaves the entries after it in place', async (t) => {
  const log = logOf([1, 1, 1, 1]);
  const bench = new Bench({ entries: log, term: 1, commit: 1 });
  const { index, sum, term } = log[1]!;
  const conf = bench.status.conf;
  const meta = { index, term, sum, conf, confIndex: at(0), id: 'prefix' };
  bench.step('b', 1, { kind: 'snapshot', meta });
  bench.flush();
  t.match(bench.status, { firstIndex: 1, lastIndex: 4, commit: 2 });
});

t.test('8, thesis 6.4: a leader that was deposed cannot answer a read', async (t) => {
  const cluster = group(8);
  cluster.isolate('a');
  const requestId = must(cluster.readIndex('a'));
  live(cluster, 30);
  t.equal(must(cluster.leader()).id === 'a', false, 'somebody else leads');
  const answers = cluster.replica('a').reads.filter((read) => read.requestId === requestId);
  t.match(answers, [{ outcome: { kind: 'aborted' } }]);
});

t.test('thesis 6.4: a read waits until the state machine has what it needs', async (t) => {
  const bench = new Bench();
  bench.lead();
  bench.ack('b', 1);
  bench.core.propose([new Uint8Array([1])]);
  bench.flush();
  bench.ack('b', 2);
  bench.core.readIndex();
  for (const { round } of bench.flushOf('heartbeat'))
    bench.step('b', 1, { kind: 'heartbeatResponse', round, beat: 0, isLeaseGranted: false });
  bench.flush();
  t.match(bench.reads, [{ outcome: { kind: 'ready', index: 2 } }], 'the index is told');
  t.equal(bench.status.applied, 0, 'serving it is for the host, once that is applied');
});

t.test('thesis 3.8: term, vote and log survive a restart', async (t) => {
  const cluster = group(38);
  cluster.propose('a', 'kept');
  cluster.settle();
  const before = cluster.ids.map((id) => cluster.replica(id).core.status());
  for (const id of cluster.ids) cluster.crash(id);
  for (const id of cluster.ids) cluster.restart(id);
  for (const { id, lastIndex, term, vote } of before)
    t.match(cluster.replica(id).core.status(), { term, vote, lastIndex, role: 'follower' });
});

t.test('thesis 3.10: a leader hands over: no proposals, catch up, TimeoutNow', async (t) => {
  const cluster = group(310);
  cluster.isolate('b');
  cluster.propose('a', 'missed by b');
  cluster.settle();
  cluster.heal();
  cluster.replica('a').core.transfer(nodeId('b'));
  cluster.after('a');
  t.equal(cluster.propose('a', 'refused'), null);
  live(cluster, 3);
  t.equal(must(cluster.leader()).id, 'b');
  t.ok(cluster.replica('b').core.status().lastIndex >= 3, 'with everything');
});

t.test('thesis 3.10: a transfer that takes an election timeout is given up', async (t) => {
  const bench = new Bench();
  bench.lead();
  bench.ack('b', 1);
  bench.flush();
  bench.core.transfer('c' as NodeId);
  t.match(bench.core.propose([new Uint8Array([1])]), { ok: false, drop: 'transferring' });
  for (let i = 0; i < 10; i++) {
    bench.tick();
    bench.flush();
  }
  t.match(bench.core.propose([new Uint8Array([1])]), { ok: true });
});

t.test('thesis 9.6: who cannot win does not raise its term', async (t) => {
  const cluster = group(96);
  cluster.isolate('c');
  for (let i = 0; i < 100; i++) cluster.tick('c');
  t.equal(cluster.replica('c').core.status().term, 1);
  cluster.heal();
  live(cluster, 10);
  t.match(cluster.replica('a').core.status(), { role: 'leader', term: 1 });
});

t.test('thesis 10.2.1: the leader writes its disk while the followers write theirs', async (t) => {
  const cluster = group(1021);
  cluster.propose('a', 'x');
  const isAppend = ({ kind }: RaftMessage) => kind === 'append';
  t.equal(cluster.network.filter(isAppend).length, 2, 'sent before the own disk is done');
  cluster.deliverAll();
  for (const id of ['b', 'c']) cluster.sync(id);
  cluster.deliverAll();
  t.equal(cluster.replica('a').core.status().commit, 2, 'and committed without it');
  t.ok(cluster.replica('a').core.status().durable < 2);
});

t.test('Figure 2: a follower commits no further than its last new entry', async (t) => {
  const own = logOf([1]);
  const bench = new Bench({ entries: [...own, ...extend(own, [1, 1], 'old')], term: 2 });
  bench.step('b', 2, {
    kind: 'append',
    prevIndex: at(1),
    prevTerm: termOf(1),
    prevSum: own[0]!.sum,
    entries: [],
    commit: at(3),
  });
  t.equal(bench.status.commit, 1);
});

// Joint configurations and learners on their way to a vote, in a whole group.
import { nodeId } from '@holdfast/base';
import t from 'tap';
import type { RaftMessage } from '../src/messages.ts';
import { CoreCluster } from '../src/testing/core-cluster.ts';
import {
  addLearner,
  addVoter,
  ask,
  confEntries,
  dropOf,
  groupOf,
  pass,
  promote,
  remove,
  statusOf,
  THREE,
  untilLed,
  voters,
} from './membership-support.ts';
import { Bench } from './support.ts';

// Joint configurations.

t.test('a joint configuration is left by itself, exactly once', async (t) => {
  const cluster = groupOf(THREE);
  cluster.join('d');
  t.equal(ask(cluster, 'a', addVoter('d'), remove('c')), 'accepted');
  cluster.after('a');
  t.equal(voters(statusOf(cluster, 'a').conf), 'abd|abc');
  cluster.settle();
  pass(cluster, 30);
  t.equal(voters(statusOf(cluster, 'a').conf), 'abd');
  t.equal(confEntries(cluster, 'a').length, 2, 'in and out');
});

t.test('in a joint configuration both majorities must hold an entry', async (t) => {
  const bench = new Bench({ voters: THREE, learners: ['d', 'e'] });
  bench.lead();
  for (const peer of ['b', 'c', 'd', 'e']) bench.ack(peer, 1);
  bench.flush();
  const change = { steps: [promote('d'), promote('e'), remove('b'), remove('c')] };
  t.equal(bench.core.proposeConf(change).ok, true);
  bench.flush();
  t.equal(voters(bench.status.conf), 'ade|abc');
  bench.ack('d', 2);
  bench.ack('e', 2);
  t.equal(bench.status.commit, 1, 'all of the new voters, one of the old');
  bench.ack('b', 2);
  t.equal(bench.status.commit, 2);
  bench.flush();
  t.equal(voters(bench.status.conf), 'ade', 'and left at once');
  t.equal(bench.status.lastIndex, 3);
});

t.test('whoever leads next leaves the joint configuration, and only once', async (t) => {
  for (const isLeaveSent of [false, true]) {
    const cluster = groupOf(THREE);
    cluster.join('d');
    cluster.change('a', addVoter('d'), remove('c'));
    // Everybody holds the joint configuration; the old leader is gone before or after it proposed
    // to leave, which nobody has heard of.
    if (isLeaveSent) {
      const isOld = (message: RaftMessage): boolean =>
        message.kind !== 'append' || message.entries.every(({ index }) => index <= 2);
      cluster.settle(isOld);
      t.equal(voters(statusOf(cluster, 'a').conf), 'abd');
    } else {
      cluster.deliverAll();
      for (const id of ['b', 'c', 'd']) cluster.sync(id);
      t.equal(voters(statusOf(cluster, 'a').conf), 'abd|abc');
    }
    cluster.crash('a');
    t.equal(voters(statusOf(cluster, 'b').conf), 'abd|abc');
    untilLed(cluster);
    cluster.restart('a');
    pass(cluster, 40);
    t.equal(voters(cluster.checker.conf.conf), 'abd');
    const [leader] = [cluster.leader()!];
    t.equal(confEntries(cluster, leader.id).length, 2, 'in and out');
    t.same(statusOf(cluster, 'a').conf, leader.core.status().conf);
  }
});

t.test('a transfer that fails does not keep a joint configuration from being left', async (t) => {
  const bench = new Bench({ voters: THREE, learners: ['d'] });
  bench.lead();
  for (const peer of ['b', 'c', 'd']) bench.ack(peer, 1);
  bench.flush();
  bench.core.proposeConf({ steps: [promote('d'), remove('c')] });
  t.equal(bench.core.transfer(nodeId('d')).ok, true);
  bench.flush();
  // Committed while the leadership is on its way to a voter that never holds it all.
  bench.ack('b', 2);
  bench.flush();
  t.match(bench.status, { commit: 2, lastIndex: 2 });
  t.equal(voters(bench.status.conf), 'abd|abc');
  for (let i = 0; i < 12; i++) {
    bench.tick(1);
    bench.flush();
  }
  t.equal(voters(bench.status.conf), 'abd');
});

t.test('an explicit joint configuration stays until it is told to leave', async (t) => {
  const cluster = groupOf(THREE);
  cluster.join('d');
  const change = { steps: [addVoter('d')], transition: 'joint' } as const;
  t.equal(dropOf(cluster.replica('a').core.proposeConf(change)), 'accepted');
  cluster.after('a');
  cluster.settle();
  pass(cluster, 10);
  t.equal(voters(statusOf(cluster, 'a').conf), 'abcd|abc');
  t.equal(ask(cluster, 'a', remove('b')), 'conf-pending');
  t.equal(ask(cluster, 'a'), 'accepted', 'no steps: leave');
  cluster.after('a');
  cluster.settle();
  t.equal(voters(cluster.checker.conf.conf), 'abcd');
});

// Learners.

t.test('a learner is sent everything, counts for nothing and never campaigns', async (t) => {
  const cluster = groupOf(THREE);
  cluster.join('d');
  cluster.change('a', addLearner('d'));
  cluster.settle();
  cluster.propose('a', 'x');
  cluster.settle();
  t.equal(statusOf(cluster, 'd').lastIndex, 3);
  for (const id of THREE) cluster.crash(id);
  cluster.tick('d', 100);
  cluster.replica('d').core.campaign();
  cluster.after('d');
  t.match(statusOf(cluster, 'd'), { role: 'follower', term: statusOf(cluster, 'd').term });
});

t.test('a voter that does not know yet that it was promoted votes when asked', async (t) => {
  // c is promoted; only a and b know. Then b is gone: a and c are two of three, and c must vote.
  const cluster = new CoreCluster({ seed: 3, voters: ['a', 'b'], learners: ['c'] });
  cluster.elect('a');
  pass(cluster, 3);
  cluster.cut('a', 'c');
  cluster.change('a', promote('c'));
  cluster.settle();
  t.same(statusOf(cluster, 'a').conf.voters, ['a', 'b', 'c']);
  t.same(statusOf(cluster, 'c').conf.learners, ['c'], 'it does not know');
  cluster.crash('b');
  cluster.crash('a');
  cluster.restart('a');
  cluster.heal();
  t.equal(untilLed(cluster).id, 'a');
  t.same(statusOf(cluster, 'c').conf.voters, ['a', 'b', 'c']);
});

t.test('a candidate that a voter does not know is granted its vote', async (t) => {
  const bench = new Bench({ term: 1 });
  const answer = bench.askVote('x', 2, { index: 0, term: 0 });
  t.match(answer, { isGranted: true, to: 'x' });
  t.equal(bench.status.conf.voters.includes(nodeId('x')), false);
});

t.test('a learner is promoted only after a round shorter than an election timeout', async (t) => {
  const bench = new Bench({ voters: ['a'], raft: { learnerRoundsMax: 2 } });
  bench.lead();
  bench.core.proposeConf({ steps: [addLearner('d', { replaces: null })] });
  bench.flush();
  const slowRound = (): void => {
    bench.tick(15);
    bench.ack('d', bench.status.lastIndex);
    // More is written before the round can end with everything.
    bench.core.propose([new Uint8Array([1])]);
    bench.flush();
    bench.tick(1);
    bench.flush();
  };
  bench.tick(1);
  for (let i = 0; i < 4; i++) slowRound();
  const rounds = bench.events.filter(({ kind }) => kind === 'learnerRound');
  t.ok(rounds.length >= 3, 'rounds go on');
  t.match(
    bench.events.find(({ kind }) => kind === 'catchUpSlow'),
    { peer: 'd' },
  );
  t.same(bench.status.conf.learners, ['d'], 'slow rounds do not make a voter');
  t.match(bench.status.peers[0]!.catchUp, { isCaughtUp: false });
  bench.ack('d', bench.status.lastIndex);
  bench.tick(1);
  bench.flush();
  bench.ack('d', bench.status.lastIndex);
  bench.tick(1);
  bench.flush();
  t.match(
    bench.events.find(({ kind }) => kind === 'learnerCaughtUp'),
    { peer: 'd' },
  );
  t.same(bench.status.conf.voters, ['a', 'd']);
});

t.test('a learner that has caught up and is gone since is not promoted', async (t) => {
  const bench = new Bench({ voters: ['a', 'b'] });
  bench.lead();
  bench.ack('b', 1);
  bench.flush();
  bench.core.proposeConf({ steps: [addLearner('d', { replaces: null })] });
  bench.flush();
  bench.ack('b', 2);
  // Another change is under way, so d has to wait although it holds everything.
  bench.core.proposeConf({ steps: [addLearner('e')] });
  bench.flush();
  bench.ack('d', 3);
  bench.tick(2);
  t.match(bench.status.peers[1]!.catchUp, { isCaughtUp: true });
  bench.tick(15);
  bench.ack('b', 3);
  bench.tick(1);
  bench.flush();
  t.same(bench.status.conf.learners, ['d', 'e'], 'it was not heard from for too long');
  bench.ack('d', 3);
  bench.tick(1);
  t.same(bench.status.conf.voters, ['a', 'b', 'd']);
});

t.test('a promotion waits for another change, and says what blocks it', async (t) => {
  const cluster = groupOf(['a', 'b']);
  cluster.join('d');
  cluster.join('e');
  cluster.change('a', addLearner('d', { replaces: 'b' }), addLearner('e', { replaces: null }));
  cluster.settle();
  pass(cluster, 20);
  t.same(cluster.checker.conf.conf.voters, ['a', 'd', 'e'], 'one after the other');
  t.equal(confEntries(cluster, 'a').length, 4, 'the wish, joint, left, the other one');
});

t.test('a new leader continues promotions that an old one was asked for', async (t) => {
  const cluster = groupOf(THREE);
  cluster.join('d');
  cluster.cut('a', 'd');
  cluster.change('a', addLearner('d', { replaces: 'b' }));
  cluster.settle();
  cluster.crash('a');
  untilLed(cluster);
  pass(cluster, 30);
  t.equal(voters(cluster.checker.conf.conf), 'acd');
});

t.test('status shows how far a learner is on the way to a vote', async (t) => {
  const bench = new Bench({ voters: ['a'] });
  bench.lead();
  bench.core.proposeConf({ steps: [addLearner('d', { replaces: null }), addLearner('e')] });
  bench.flush();
  bench.tick(1);
  const [d, e] = bench.status.peers;
  t.match(d, { id: 'd', catchUp: { round: 1, targetIndex: 2, isCaughtUp: false } });
  t.match(e, { id: 'e', catchUp: null }, 'nobody asked for a vote for it');
});

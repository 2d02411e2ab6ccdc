// Leaders that lose their vote; nodes that are removed, wiped or moved.
import t from 'tap';
import type { RaftMessage } from '../src/messages.ts';
import { memberNamed } from '../src/testing/core-cluster.ts';
import {
  addLearner,
  ask,
  demote,
  eventsOf,
  groupOf,
  pass,
  remove,
  statusOf,
  THREE,
  untilLed,
  voters,
} from './membership-support.ts';
import { Bench } from './support.ts';

// Leaders that lose their vote.

t.test(
  'a removed leader leads until that is committed, tells everyone and hands over',
  async (t) => {
    for (const group of [['a', 'b'], THREE, ['a', 'b', 'c', 'd', 'e']]) {
      const cluster = groupOf(group);
      pass(cluster, 3);
      cluster.change('a', remove('a'));
      t.match(statusOf(cluster, 'a'), { role: 'leader', isConfPending: true });
      const index = cluster.propose('a', 'while it waits');
      t.not(index, null, 'it goes on taking proposals');
      cluster.settle();
      t.match(eventsOf(cluster, 'a', 'steppedDown'), [{ reason: 'removed' }]);
      t.match(statusOf(cluster, 'a'), { role: 'follower', isConfPending: false });
      const rest = group.slice(1);
      t.ok(rest.includes(cluster.leader()?.id ?? ''), 'somebody else leads without a timeout');
      for (const id of rest) t.ok(statusOf(cluster, id).commit >= index!, `${id} knows`);
      const { term } = cluster.leader()!.core.status();
      pass(cluster, 60);
      t.equal(cluster.leader()!.core.status().term, term, 'and is not disturbed');
      t.equal(statusOf(cluster, 'a').role, 'follower');
    }
  },
);

t.test('a removed leader does not count itself', async (t) => {
  const bench = new Bench();
  bench.lead();
  for (const peer of ['b', 'c']) bench.ack(peer, 1);
  bench.flush();
  bench.core.proposeConf({ steps: [remove('a')] });
  bench.flush();
  bench.ack('b', 2);
  t.equal(bench.status.commit, 1, 'a and b are not two of b and c');
  t.equal(bench.core.readIndex().ok, true);
  bench.flush();
  const round = 1;
  const beat = { kind: 'heartbeatResponse', round, beat: 0, isLeaseGranted: false } as const;
  bench.step('b', 1, beat);
  bench.flush();
  t.same(bench.reads, [], 'nor for reads');
  bench.step('c', 1, beat);
  bench.flush();
  t.match(bench.reads, [{ outcome: { kind: 'ready' } }]);
  bench.ack('c', 2);
  const sent = bench.flush();
  t.equal(bench.status.commit, 2);
  t.match(
    sent.filter(({ kind }) => kind === 'append' || kind === 'timeoutNow').map(({ kind }) => kind),
    ['append', 'append', 'timeoutNow'],
    'the commit goes out before the request to take over',
  );
});

t.test('a leader that is demoted hands over and goes on as a learner', async (t) => {
  const cluster = groupOf(THREE);
  cluster.change('a', demote('a'));
  cluster.settle();
  pass(cluster, 30);
  t.match(cluster.leader()!.id, /^[bc]$/);
  t.same(statusOf(cluster, 'a').conf.learners, ['a']);
  t.equal(statusOf(cluster, 'a').commit, cluster.leader()!.core.status().commit);
});

t.test('a leader that is replaced leads through the joint configuration, then goes', async (t) => {
  const cluster = groupOf(THREE);
  cluster.join('d');
  cluster.change('a', addLearner('d', { replaces: 'a' }));
  cluster.settle();
  pass(cluster, 20);
  t.equal(voters(cluster.checker.conf.conf), 'bcd');
  t.match(eventsOf(cluster, 'a', 'steppedDown'), [{ reason: 'removed' }]);
  t.match(cluster.leader()!.id, /^[bcd]$/);
});

t.test(
  'a leader that stops half-way through its own removal does not block the rest',
  async (t) => {
    // Two nodes; a removes itself, but the entry reaches nobody before a crashes. b alone has no
    // majority of the configuration it knows, and a's longer log keeps b from winning. Only a can
    // go on, though it has no vote in what it holds (thesis section 4.2.2).
    const cluster = groupOf(['a', 'b']);
    pass(cluster, 3);
    cluster.cut('a', 'b');
    cluster.change('a', remove('a'));
    cluster.sync('a');
    cluster.crash('a');
    cluster.heal();
    cluster.restart('a');
    const { id } = untilLed(cluster, 'b');
    t.equal(id, 'b');
    t.same(cluster.checker.conf.conf.voters, ['b']);
  },
);

t.test('two nodes, one lost: the leader may go on alone, a follower may not', async (t) => {
  const first = groupOf(['a', 'b']);
  first.crash('b');
  t.equal(ask(first, 'a', remove('b')), 'accepted', 'while it still leads');
  first.after('a');
  first.settle();
  t.same(first.checker.conf.conf.voters, ['a']);
  const second = groupOf(['a', 'b']);
  second.crash('a');
  pass(second, 100);
  t.equal(ask(second, 'b', remove('a')), 'no-leader', 'a typed refusal, not a hang');
});

// Nodes that were removed, wiped or moved.

t.test('a removed member is told, asks for no votes and disturbs nobody', async (t) => {
  const cluster = groupOf(THREE);
  pass(cluster, 3);
  cluster.change('a', remove('c'));
  cluster.settle();
  t.equal(statusOf(cluster, 'c').isConfPending, false);
  t.same(statusOf(cluster, 'c').conf.voters, ['a', 'b']);
  const { term } = statusOf(cluster, 'a');
  pass(cluster, 100);
  t.equal(statusOf(cluster, 'a').role, 'leader');
  t.match([statusOf(cluster, 'a').term, statusOf(cluster, 'c').term], [term, term]);
});

t.test('a removed member that was not told cannot disturb the group either', async (t) => {
  const cluster = groupOf(THREE);
  pass(cluster, 3);
  cluster.isolate('c');
  cluster.change('a', remove('c'));
  pass(cluster, 40);
  cluster.heal();
  const { term } = statusOf(cluster, 'a');
  pass(cluster, 100);
  t.match(statusOf(cluster, 'a'), { role: 'leader', term });
  t.same(statusOf(cluster, 'c').conf.voters, ['a', 'b', 'c'], 'it does not know');
});

t.test('a wiped node comes back as a learner of which nothing is believed', async (t) => {
  const cluster = groupOf(THREE);
  cluster.propose('a', 'x');
  cluster.settle();
  pass(cluster, 3);
  const old = cluster.replica('b').core.status();
  const acks: RaftMessage[] = [];
  cluster.propose('a', 'y');
  cluster.deliverAll();
  cluster.sync('b');
  cluster.deliverAll((message) => {
    if (message.from === 'b') acks.push(message);
    return message.from !== 'b';
  });
  t.ok(acks.some(({ kind }) => kind === 'appendResponse'));
  t.equal(old.lastIndex, 2);
  cluster.wipe('b');
  cluster.isolate('b');
  t.equal(ask(cluster, 'a', remove('b'), addLearner('b', { life: 2, replaces: null })), 'accepted');
  cluster.after('a');
  const matchOf = () => statusOf(cluster, 'a').peers.find(({ id }) => id === 'b')!.matchIndex;
  t.equal(matchOf(), 0, 'what the old disk acknowledged is lost');
  const refused = statusOf(cluster, 'a').refusedMessageCount;
  for (const ack of acks) cluster.replica('a').core.step(ack);
  cluster.after('a');
  t.equal(matchOf(), 0, 'an old acknowledgement does not count for the new disk');
  t.equal(statusOf(cluster, 'a').refusedMessageCount, refused + acks.length);
  cluster.settle();
  t.same(cluster.checker.conf.conf.voters, ['a', 'c']);
  cluster.heal();
  pass(cluster, 20);
  t.same(cluster.checker.conf.conf.voters, ['a', 'b', 'c']);
  t.equal(statusOf(cluster, 'b').commit, statusOf(cluster, 'a').commit);
});

t.test('a wiped node does not campaign with the votes of its former life', async (t) => {
  const cluster = groupOf(THREE);
  cluster.propose('a', 'x');
  cluster.settle();
  cluster.wipe('b');
  t.same(statusOf(cluster, 'b').conf.voters, ['a', 'b', 'c'], 'it stands in the first one');
  cluster.crash('a');
  cluster.tick('b', 100);
  t.equal(statusOf(cluster, 'b').role, 'follower');
  pass(cluster, 100);
  t.equal(cluster.leader(), null, 'and c alone is no majority of a, b and c');
});

t.test('a member moves to another address and keeps what is known of it', async (t) => {
  const cluster = groupOf(THREE);
  pass(cluster, 3);
  const match = statusOf(cluster, 'a').peers[0]!.matchIndex;
  const member = { ...memberNamed('b'), address: 'elsewhere:1' };
  cluster.change('a', { kind: 'updateMember', member });
  t.equal(statusOf(cluster, 'a').peers[0]!.matchIndex, match);
  cluster.settle();
  t.equal(statusOf(cluster, 'c').conf.members[1]!.address, 'elsewhere:1');
});

// Elections beyond the paper: pre-vote, quorum checks, nonces, who may campaign, and old messages.
import t from 'tap';
import type { RaftMessage } from '../src/messages.ts';
import { CoreCluster } from '../src/testing/core-cluster.ts';
import { at, Bench, logOf, termOf } from './support.ts';

const THREE = ['a', 'b', 'c'];
const heartbeat = {
  kind: 'heartbeat',
  commit: at(0),
  round: 0,
  beat: 0,
  isLeaseWanted: false,
} as const;

t.test('a pre-candidate keeps its term and vote and asks for the next term', async (t) => {
  const bench = new Bench({ term: 4, raft: { preVote: true } });
  bench.core.campaign();
  const requests = bench.flushOf('preVote');
  t.same(
    requests.map(({ term }) => term),
    [5, 5],
  );
  t.match(bench.status, { role: 'preCandidate', term: 4, vote: null });
  bench.grant(requests[0]!);
  t.match(bench.status, { role: 'candidate', term: 5, vote: 'a' });
});

t.test('a follower of a live leader refuses pre-votes and votes and keeps its term', async (t) => {
  const bench = new Bench({ term: 2, raft: { checkQuorum: true } });
  bench.step('b', 2, heartbeat);
  const last = { index: 9, term: 2 };
  t.match(bench.askVote('c', 3, last, { kind: 'preVote' }), { refusal: 'leader-alive' });
  t.match(bench.askVote('c', 3, last), { refusal: 'leader-alive', term: 2 });
  t.match(bench.status, { term: 2, leader: 'b', vote: null });
});

t.test('an expired leader no longer protects: votes are granted again', async (t) => {
  const bench = new Bench({
    term: 2,
    learners: ['a'],
    voters: ['b', 'c'],
    raft: { checkQuorum: true },
  });
  bench.step('b', 2, heartbeat);
  bench.tick(9);
  t.equal(bench.askVote('c', 3, { index: 0, term: 0 }).isGranted, false);
  bench.tick(1);
  t.equal(bench.askVote('c', 3, { index: 0, term: 0 }).isGranted, true);
});

t.test('a pre-vote request is no contact with a leader: it moves no timer', async (t) => {
  const spammed = new Bench({ term: 1, seed: 5, raft: { checkQuorum: true } });
  const quiet = new Bench({ term: 1, seed: 5, raft: { checkQuorum: true } });
  for (let tick = 1; tick < 30 && quiet.status.role === 'follower'; tick++) {
    spammed.askVote('x', 2, { index: 0, term: 0 }, { kind: 'preVote' });
    spammed.tick();
    quiet.tick();
  }
  t.equal(quiet.status.role, 'candidate');
  t.equal(spammed.status.role, 'candidate', 'campaigns in the same tick');
});

t.test('refusing a vote does not postpone the own campaign', async (t) => {
  const bench = new Bench({ terms: [5], term: 5 });
  let ticks = 0;
  for (; bench.status.role === 'follower' && ticks < 25; ticks++) {
    bench.tick();
    if (bench.status.role === 'follower')
      t.equal(bench.askVote('x', 10 + ticks, { index: 1, term: 1 }).isGranted, false);
  }
  t.ok(ticks < 25, 'an unelectable server that keeps asking cannot starve it');
});

t.test('granting a vote postpones the own campaign', async (t) => {
  const bench = new Bench({ term: 1 });
  bench.tick(9);
  t.equal(bench.askVote('b', 2, { index: 0, term: 0 }).isGranted, true);
  bench.tick(9);
  t.equal(bench.status.role, 'follower');
});

t.test('a grant of another campaign does not count', async (t) => {
  const bench = new Bench({ term: 1 });
  bench.core.campaign();
  const old = bench.flushOf('vote')[0]!;
  bench.core.campaign();
  bench.flush();
  const { term } = bench.status;
  const body = { kind: 'voteResponse', isGranted: true, nonce: old.nonce, refusal: null } as const;
  bench.step('b', term, body);
  t.equal(bench.status.role, 'candidate');
});

t.test('a pre-vote grant does not count as a vote', async (t) => {
  const bench = new Bench({ term: 1 });
  bench.core.campaign();
  const { nonce } = bench.flushOf('vote')[0]!;
  const body = { kind: 'preVoteResponse', isGranted: true, nonce, refusal: null } as const;
  bench.step('b', bench.status.term, body);
  t.equal(bench.status.role, 'candidate');
});

t.test('only the first answer of a voter counts, and only those of voters', async (t) => {
  const bench = new Bench({ voters: ['a', 'b', 'c', 'd', 'e'], learners: ['l'] });
  bench.core.campaign();
  const requests = bench.flushOf('vote');
  bench.grant(requests[0]!);
  bench.grant(requests[0]!);
  const { nonce } = requests[0]!;
  const body = { kind: 'voteResponse', isGranted: true, nonce, refusal: null } as const;
  bench.step('l', bench.status.term, body);
  t.equal(bench.status.role, 'candidate');
});

t.test('learners and strangers to the configuration never campaign but do vote', async (t) => {
  for (const options of [
    { id: 'l', learners: ['l'] },
    { id: 'x', learners: [] },
  ]) {
    const bench = new Bench({ voters: THREE, ...options });
    bench.tick(100);
    bench.core.campaign();
    t.match(bench.status, { role: 'follower', term: 0 });
    t.equal(bench.askVote('b', 1, { index: 0, term: 0 }).isGranted, true);
  }
});

t.test('a voter does not ask whether its configuration knows the candidate', async (t) => {
  const bench = new Bench({ voters: ['a', 'b'] });
  t.equal(bench.askVote('x', 1, { index: 0, term: 0 }).isGranted, true);
});

t.test('a leader that hears from no quorum steps down within an election timeout', async (t) => {
  const bench = new Bench({ raft: { checkQuorum: true } });
  bench.lead();
  bench.tick(10);
  t.equal(bench.status.role, 'leader');
  bench.tick(1);
  t.equal(bench.status.role, 'follower');
  bench.flush();
  t.match(
    bench.events.filter(({ kind }) => kind === 'steppedDown'),
    [{ reason: 'quorum-lost', term: 1 }],
  );
});

t.test('a leader that hears from a quorum stays', async (t) => {
  const bench = new Bench({ raft: { checkQuorum: true } });
  bench.lead();
  for (let tick = 0; tick < 60; tick++) {
    bench.tick();
    if (tick % 9 === 0)
      bench.step('b', 1, { kind: 'heartbeatResponse', round: 0, beat: 0, isLeaseGranted: false });
  }
  t.equal(bench.status.role, 'leader');
});

t.test('learners do not keep a leader in office', async (t) => {
  const bench = new Bench({ learners: ['l'], raft: { checkQuorum: true } });
  bench.lead();
  for (let tick = 0; tick < 20; tick++) {
    bench.tick();
    bench.step('l', 1, { kind: 'heartbeatResponse', round: 0, beat: 0, isLeaseGranted: false });
  }
  t.equal(bench.status.role, 'follower');
});

t.test('a leader that can send but not receive steps down and is replaced', async (t) => {
  const cluster = new CoreCluster({ seed: 1, voters: THREE });
  cluster.elect('a');
  for (const other of ['b', 'c']) cluster.cut(other, 'a');
  for (let tick = 0; tick < 60; tick++) {
    for (const id of THREE) cluster.tick(id);
    cluster.settle();
  }
  t.not(cluster.leader()?.id, 'a');
  t.ok(cluster.leader(), 'the others have a leader');
});

t.test('a server stuck at a higher term is freed by answering its lower-term leader', async (t) => {
  const raft = { preVote: false };
  const cluster = new CoreCluster({ seed: 2, voters: THREE, raft });
  cluster.elect('a');
  cluster.isolate('c');
  for (let round = 0; round < 3; round++) cluster.replica('c').core.campaign();
  cluster.after('c');
  cluster.settle();
  cluster.heal();
  const stuckTerm = cluster.replica('c').core.status().term;
  for (let tick = 0; tick < 40; tick++) {
    for (const id of THREE) cluster.tick(id);
    cluster.settle();
  }
  t.ok(cluster.leader()!.core.status().term >= stuckTerm);
  const { leader } = cluster.replica('c').core.status();
  t.equal(leader, cluster.leader()!.id, 'c takes part again');
});

t.test('with pre-vote a cut-off server does not disturb the group when it returns', async (t) => {
  const cluster = new CoreCluster({ seed: 2, voters: THREE });
  cluster.elect('a');
  const { term } = cluster.replica('a').core.status();
  cluster.isolate('c');
  for (let tick = 0; tick < 100; tick++)
    for (const id of THREE) {
      cluster.tick(id);
      cluster.settle();
    }
  cluster.heal();
  for (let tick = 0; tick < 30; tick++)
    for (const id of THREE) {
      cluster.tick(id);
      cluster.settle();
    }
  t.match(cluster.replica('a').core.status(), { role: 'leader', term });
  t.match(cluster.replica('c').core.status(), { leader: 'a', term });
});

t.test(
  'two candidates settle on one leader, and pre-vote keeps the loser from bumping',
  async (t) => {
    for (const preVote of [false, true]) {
      const cluster = new CoreCluster({ seed: 3, voters: THREE, raft: { preVote } });
      cluster.cut('a', 'c');
      cluster.cut('c', 'a');
      cluster.replica('a').core.campaign();
      cluster.replica('c').core.campaign();
      cluster.after('a');
      cluster.after('c');
      cluster.settle();
      t.equal(cluster.replica('a').core.status().role, 'leader', `preVote ${preVote}`);
      t.equal(cluster.replica('c').core.status().term, 1, 'both asked for term 1');
      cluster.replica('c').core.campaign();
      cluster.after('c');
      cluster.settle();
      t.match(cluster.replica('a').core.status(), { role: 'leader', term: 1 });
      t.equal(cluster.replica('c').core.status().term, preVote ? 1 : 2, 'the loser tries again');
    }
  },
);

t.test('a pre-candidate behind in term learns of it and can complete an election', async (t) => {
  const bench = new Bench({ term: 5, terms: [1] });
  const answer = bench.askVote('b', 3, { index: 9, term: 2 }, { kind: 'preVote' });
  t.match(answer, { isGranted: false, refusal: 'lower-term', term: 5 });
  const behind = new Bench({ term: 2, raft: { preVote: true } });
  behind.core.campaign();
  behind.grant(behind.flushOf('preVote')[0]!, false);
  behind.step('b', 5, {
    kind: 'preVoteResponse',
    isGranted: false,
    nonce: 0,
    refusal: 'lower-term',
  });
  t.match(behind.status, { role: 'follower', term: 5 });
});

t.test('forgetting the leader keeps the term and lets votes through at once', async (t) => {
  const bench = new Bench({ term: 2, raft: { checkQuorum: true, preVote: true } });
  bench.step('b', 2, heartbeat);
  t.equal(bench.askVote('c', 3, { index: 0, term: 0 }, { kind: 'preVote' }).isGranted, false);
  bench.core.forgetLeader();
  t.match(bench.status, { role: 'follower', term: 2, leader: null });
  t.equal(bench.askVote('c', 3, { index: 0, term: 0 }, { kind: 'preVote' }).isGranted, true);
  bench.step('b', 2, heartbeat);
  t.equal(bench.status.leader, 'b', 'a living leader is found again');
});

t.test('forgetting the leader does nothing on a leader', async (t) => {
  const bench = new Bench();
  bench.lead();
  bench.core.forgetLeader();
  t.match(bench.status, { role: 'leader', leader: 'a' });
});

t.test('timeoutNow campaigns at once, past pre-vote and past a live leader', async (t) => {
  const bench = new Bench({ terms: [1], term: 1, raft: { preVote: true, checkQuorum: true } });
  bench.step('b', 1, heartbeat);
  bench.step('b', 1, { kind: 'timeoutNow', lastIndex: at(1), lastTerm: termOf(1) });
  const requests = bench.flushOf('vote');
  t.match(requests, [
    { isTransfer: true, term: 2 },
    { isTransfer: true, term: 2 },
  ]);
  const voter = new Bench({ terms: [1], term: 1, raft: { checkQuorum: true } });
  voter.step('b', 1, heartbeat);
  const answer = voter.askVote('c', 2, { index: 1, term: 1 }, { isTransfer: true });
  t.equal(answer.isGranted, true);
});

t.test('timeoutNow from anyone but the leader, or ahead of the own log, is ignored', async (t) => {
  const bench = new Bench({ terms: [1], term: 1 });
  bench.step('b', 1, heartbeat);
  bench.step('c', 1, { kind: 'timeoutNow', lastIndex: at(1), lastTerm: termOf(1) });
  bench.step('b', 1, { kind: 'timeoutNow', lastIndex: at(2), lastTerm: termOf(1) });
  t.match(bench.status, { role: 'follower', term: 1 });
});

t.test('every role answers a vote of a higher term as a follower of it', async (t) => {
  for (const role of ['follower', 'candidate', 'leader']) {
    const bench = new Bench({ term: 1 });
    if (role === 'candidate') {
      bench.core.campaign();
      bench.flush();
    } else if (role === 'leader') bench.lead();
    const last = role === 'leader' ? { index: 1, term: 2 } : { index: 0, term: 0 };
    t.equal(bench.askVote('b', 8, last).isGranted, true, role);
    t.match(bench.status, { role: 'follower', term: 8, vote: 'b' }, role);
  }
});

t.test('a second leader of one term is refused with an alarm, and the first stays', async (t) => {
  const alarm = { kind: 'contradictionSeen', contradiction: 'second-leader' } as const;
  const bench = new Bench();
  bench.lead();
  bench.step('b', 1, heartbeat);
  t.same(bench.flush(), [], 'no answer');
  t.match(bench.events.at(-1), { ...alarm, from: 'b' });
  t.equal(bench.status.role, 'leader');
  const follower = new Bench({ term: 1 });
  follower.step('b', 1, heartbeat);
  follower.flush();
  follower.step('c', 1, heartbeat);
  t.same(follower.flush(), [], 'no answer');
  t.match(follower.events.at(-1), { ...alarm, from: 'c' });
  t.equal(follower.status.leader, 'b');
});

t.test('what is not for this replica, or from another life, is refused and counted', async (t) => {
  const bench = new Bench({ term: 1 });
  const good = bench.message('b', 5, heartbeat);
  const stranger = 'f'.repeat(32) as typeof good.fromIncarnation;
  const bad = {
    'wrong-group': { group: 9 as typeof good.group },
    'wrong-receiver': { to: 'z' as typeof good.to },
    'from-self': { from: 'a' as typeof good.from },
    'wrong-receiver-incarnation': { toIncarnation: stranger },
    'wrong-sender-incarnation': { fromIncarnation: stranger },
    'term-out-of-range': { term: -1 as typeof good.term },
  };
  for (const [reason, change] of Object.entries(bad)) {
    bench.core.step({ ...good, ...change });
    bench.flush();
    t.match(bench.events.at(-1), { kind: 'messageRefused', reason });
  }
  t.match(bench.status, { term: 1, leader: null, refusedMessageCount: 6 });
  bench.core.step(good);
  t.equal(bench.status.leader, 'b', 'the group goes on');
});

t.test('a wiped voter of the same name cannot help to lose what is committed', async (t) => {
  // a and b committed; b's disk is replaced, so b is another incarnation. c must not win with it.
  const candidate = new Bench({ id: 'c', term: 1 });
  candidate.core.campaign();
  const request = candidate.flushOf('vote').find(({ to }) => to === 'b')!;
  const wiped = candidate.message('b', request.term, {
    kind: 'voteResponse',
    isGranted: true,
    nonce: request.nonce,
    refusal: null,
  });
  candidate.core.step({
    ...wiped,
    fromIncarnation: '0'.repeat(32) as typeof wiped.fromIncarnation,
  });
  t.equal(candidate.status.role, 'candidate');
});

t.test('late vote answers after the election are harmless', async (t) => {
  const bench = new Bench({ term: 1 });
  bench.core.campaign();
  const requests = bench.flushOf('vote');
  bench.grant(requests[0]!);
  bench.flush();
  bench.grant(requests[1]!, false);
  t.equal(bench.status.role, 'leader');
  const loser = new Bench({ term: 1 });
  loser.core.campaign();
  const [late] = loser.flushOf('vote');
  loser.append('c', 2, logOf([2]), { prevIndex: 0 });
  loser.grant(late!);
  t.match(loser.status, { role: 'follower', leader: 'c' });
});

t.test('repeated campaigns on two servers settle down', async (t) => {
  const cluster = new CoreCluster({ seed: 9, voters: THREE });
  for (let round = 0; round < 6; round++) {
    cluster.replica(round % 2 === 0 ? 'a' : 'b').core.campaign();
    cluster.after(round % 2 === 0 ? 'a' : 'b');
  }
  for (let tick = 0; tick < 60; tick++) {
    for (const id of THREE) cluster.tick(id);
    cluster.settle();
  }
  t.ok(cluster.leader());
});

t.test('requests of strangers are heard, their answers are not counted', async (t) => {
  // The stranger was added by a configuration that this replica has not seen yet.
  const bench = new Bench({ term: 1 });
  t.match(bench.askVote('x', 2, { index: 0, term: 0 }), { isGranted: true, to: 'x' });
  bench.lead();
  bench.flush();
  bench.ack('x', 1);
  bench.flush();
  t.match(bench.events.at(-1), { kind: 'messageRefused', reason: 'unknown-sender' });
  t.equal(bench.status.commit, 0);
});

t.test('a member in another life is believed only with a newer configuration', async (t) => {
  const bench = new Bench({ term: 1 });
  const reborn = {
    ...bench.message('b', 5, heartbeat),
    fromIncarnation: 'f'.repeat(32) as RaftMessage['fromIncarnation'],
  };
  bench.core.step(reborn);
  t.match(bench.status, { term: 1, leader: null });
  bench.core.step({ ...reborn, confIndex: at(7) });
  t.match(bench.status, { term: 5, leader: 'b' });
  const [answer] = bench.flush();
  t.match(answer, { kind: 'heartbeatResponse', toIncarnation: reborn.fromIncarnation });
});

// One test per claim of the Raft paper (extended version) that applies here, with its section.
import t from 'tap';
import { CoreCluster } from '../src/testing/core-cluster.ts';
import { at, Bench, extend, logOf, termOf } from './support.ts';

const FIVE = ['a', 'b', 'c', 'd', 'e'];

t.test('5.1: a server of any role that sees a higher term becomes a follower of it', async (t) => {
  const makers = {
    follower: () => new Bench({ term: 2 }),
    candidate: () => {
      const bench = new Bench({ term: 1 });
      bench.core.campaign();
      bench.flush();
      return bench;
    },
    leader: () => {
      const bench = new Bench({ term: 1 });
      bench.lead();
      return bench;
    },
  };
  for (const [role, make] of Object.entries(makers)) {
    const bench = make();
    t.equal(bench.status.role, role);
    bench.step('b', 9, {
      kind: 'heartbeat',
      commit: at(0),
      round: 0,
      beat: 0,
      isLeaseWanted: false,
    });
    t.match(bench.status, { role: 'follower', term: 9, leader: 'b', vote: null }, role);
  }
});

t.test('5.1: an append of an older term changes nothing and is told the newer term', async (t) => {
  const bench = new Bench({ terms: [1, 2], term: 3 });
  const before = bench.status;
  bench.append('b', 2, logOf([1, 1, 1]), { prevIndex: 1 });
  const [answer] = bench.flush();
  t.match(answer, { kind: 'appendResponse', term: 3, matchIndex: 0 });
  t.same(bench.status, before);
});

t.test('5.2: a server starts as follower and campaigns when it hears of no leader', async (t) => {
  const bench = new Bench({ voters: FIVE });
  t.equal(bench.status.role, 'follower');
  bench.tick(20);
  t.match(bench.status, { role: 'candidate', term: 1, vote: 'a' });
  const requests = bench.flush();
  t.same(
    requests.map(({ kind, to }) => `${kind} ${to}`),
    ['vote b', 'vote c', 'vote d', 'vote e'],
  );
});

t.test('5.2: a leader sends heartbeats to everyone at its interval', async (t) => {
  const bench = new Bench();
  bench.lead();
  bench.tick(2);
  t.same(
    bench.flushOf('heartbeat').map(({ to }) => to),
    ['b', 'c'],
  );
});

t.test('5.2: a candidate wins with exactly a majority and falls back when it cannot', async (t) => {
  const cases = [
    { voters: 1, granted: 0, refused: 0, role: 'leader' },
    { voters: 2, granted: 1, refused: 0, role: 'leader' },
    { voters: 2, granted: 0, refused: 0, role: 'candidate' },
    { voters: 3, granted: 1, refused: 0, role: 'leader' },
    { voters: 3, granted: 0, refused: 1, role: 'candidate' },
    { voters: 3, granted: 0, refused: 2, role: 'follower' },
    { voters: 4, granted: 1, refused: 0, role: 'candidate' },
    { voters: 4, granted: 2, refused: 0, role: 'leader' },
    { voters: 4, granted: 0, refused: 2, role: 'follower' },
    { voters: 5, granted: 2, refused: 0, role: 'leader' },
    { voters: 5, granted: 1, refused: 2, role: 'candidate' },
    { voters: 5, granted: 0, refused: 3, role: 'follower' },
    { voters: 7, granted: 2, refused: 3, role: 'candidate' },
    { voters: 7, granted: 3, refused: 3, role: 'leader' },
  ];
  for (const { voters, granted, refused, role } of cases) {
    const bench = new Bench({ voters: ['a', 'b', 'c', 'd', 'e', 'f', 'g'].slice(0, voters) });
    bench.core.campaign();
    const requests = bench.flushOf('vote');
    for (const request of requests.slice(0, granted)) bench.grant(request);
    for (const request of requests.slice(granted, granted + refused)) bench.grant(request, false);
    t.equal(bench.status.role, role, `${granted} of ${voters} granted, ${refused} refused`);
  }
});

t.test('5.2: a server votes for at most one candidate in a term, first come', async (t) => {
  const bench = new Bench({ term: 1 });
  t.equal(bench.askVote('b', 2, { index: 0, term: 0 }).isGranted, true);
  t.match(bench.askVote('c', 2, { index: 0, term: 0 }), { refusal: 'already-voted' });
  t.equal(bench.askVote('b', 2, { index: 0, term: 0 }).isGranted, true, 'asking again is fine');
});

t.test('5.2: a candidate that hears from the leader of its term follows it', async (t) => {
  const bench = new Bench({ term: 1 });
  bench.core.campaign();
  bench.flush();
  bench.step('c', 2, { kind: 'heartbeat', commit: at(0), round: 0, beat: 0, isLeaseWanted: false });
  t.match(bench.status, { role: 'follower', leader: 'c', term: 2, vote: 'a' });
});

t.test('5.2: stepping down within a term does not give the vote back', async (t) => {
  const bench = new Bench({ term: 4 });
  bench.core.campaign();
  bench.flush();
  bench.append('c', 5, logOf([]), { prevIndex: 0 });
  t.equal(bench.askVote('b', 5, { index: 0, term: 0 }).isGranted, false);
});

t.test('5.2: election timeouts spread over [n, 2n)', async (t) => {
  const seen = new Set<number>();
  for (let seed = 0; seed < 300; seed++) {
    const bench = new Bench({ seed });
    let ticks = 0;
    for (; bench.status.role === 'follower'; ticks++) bench.tick();
    seen.add(ticks);
  }
  t.same(
    [...seen].sort((x, y) => x - y),
    [10, 11, 12, 13, 14, 15, 16, 17, 18, 19],
  );
});

t.test('5.2: five servers rarely share the shortest timeout', async (t) => {
  let clashes = 0;
  const rounds = 400;
  for (let round = 0; round < rounds; round++) {
    const waits = FIVE.map((_, member) => {
      const raft = { electionTimeoutTicks: 50 };
      const bench = new Bench({ seed: round * 5 + member, raft });
      let ticks = 0;
      for (; bench.status.role === 'follower'; ticks++) bench.tick();
      return ticks;
    });
    const shortest = Math.min(...waits);
    if (waits.filter((wait) => wait === shortest).length > 1) clashes += 1;
  }
  t.ok(clashes < 0.3 * rounds, `${clashes} of ${rounds}`);
});

t.test('5.3: a leader appends, replicates to all, and commits at a majority', async (t) => {
  for (let size = 1; size <= 5; size++) {
    const bench = new Bench({ voters: FIVE.slice(0, size) });
    bench.lead();
    for (const peer of FIVE.slice(1, size)) bench.ack(peer, 1);
    bench.flush();
    bench.core.propose([new Uint8Array([1])]);
    const receivers = bench.flushOf('append').map(({ to }) => to);
    t.same([...new Set(receivers)], size === 1 ? [] : FIVE.slice(1, size));
    const needed = Math.floor(size / 2);
    for (let acks = 1; acks <= needed; acks++) {
      t.ok(bench.status.commit < 2, `${acks} of ${size} is not a majority`);
      bench.ack(FIVE[acks]!, 2);
    }
    t.equal(bench.status.commit, 2, `committed with ${size}`);
  }
});

t.test('5.3: committing an entry commits everything before it, also of older terms', async (t) => {
  for (const terms of [[], [2], [1, 2], [1]]) {
    const bench = new Bench({ terms, term: 2 });
    bench.lead();
    bench.core.propose([new Uint8Array([1])]);
    bench.flush();
    bench.ack('b', terms.length + 2);
    t.equal(bench.status.commit, terms.length + 2);
    bench.flush();
    const applied = bench.applied.flatMap((batch) =>
      batch.kind === 'entries' ? batch.entries : [],
    );
    t.same(
      applied.map(({ term }) => term),
      [...terms, 3, 3],
    );
  }
});

t.test('5.3: a follower refuses an append whose predecessor it does not hold', async (t) => {
  const cases = [
    { prevIndex: 3, prevTerm: 3, hint: [2, 2] },
    { prevIndex: 2, prevTerm: 1, hint: [1, 1] },
    { prevIndex: 9, prevTerm: 9, hint: [2, 2] },
  ];
  for (const { prevIndex, prevTerm, hint } of cases) {
    const bench = new Bench({ terms: [1, 2], term: 9 });
    bench.step('b', 9, {
      kind: 'append',
      prevIndex: at(prevIndex),
      prevTerm: termOf(prevTerm),
      prevSum: new Uint8Array(16),
      entries: [],
      commit: at(0),
    });
    t.match(bench.flushOf('appendResponse'), [
      { rejection: { rejectedIndex: prevIndex, hintIndex: hint[0], hintTerm: hint[1] } },
    ]);
  }
});

t.test('5.3: a follower replaces what conflicts and keeps what does not', async (t) => {
  const own = logOf([1, 2]);
  const cases = [
    {
      name: 'extends',
      leader: [...own, ...extend(own, [3])],
      prev: 2,
      until: 3,
      expected: [1, 2, 3],
    },
    { name: 'replaces', leader: [...own.slice(0, 1), ...extend(own.slice(0, 1), [3, 4])], prev: 1 },
    { name: 'replaces all', leader: logOf([3, 4]), prev: 0, expected: [3, 4] },
    { name: 'repeats', leader: own, prev: 0, until: 1, expected: [1, 2] },
  ];
  for (const { name, leader, prev, until, expected = [1, 3, 4] } of cases) {
    const bench = new Bench({ entries: own, term: 4 });
    bench.append('b', 4, leader, { prevIndex: prev, until: until ?? leader.length });
    bench.flush();
    const terms = expected.map((_, i) => bench.log.term(at(i + 1)));
    t.same(terms, expected, name);
    t.equal(bench.status.lastIndex, expected.length, name);
  }
});

t.test('Figure 7: all six logs become the log of the new leader', async (t) => {
  const leader = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
  const followers = {
    a: [1, 1, 1, 4, 4, 5, 5, 6, 6],
    b: [1, 1, 1, 4],
    c: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    d: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    e: [1, 1, 1, 4, 4, 4, 4],
    f: [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
  };
  for (const [name, terms] of Object.entries(followers)) {
    // The third member votes; the log under test may not.
    const logs: Record<string, readonly number[]> = { l: leader, v: [], x: terms };
    const cluster = new CoreCluster({
      seed: 7,
      voters: ['l', 'v', 'x'],
      raft: { preVote: false, checkQuorum: false },
      start: (id) => ({
        entries: logOf(logs[id]!),
        hardState: { term: termOf(7), vote: null, commit: at(0) },
      }),
    });
    const led = cluster.elect('l');
    const { lastIndex, commit } = led.core.status();
    t.equal(lastIndex, leader.length + 1, `${name}: the leader only added its no-op`);
    t.equal(commit, lastIndex, `${name}: and committed it`);
    t.same(cluster.replica('x').log.sum(lastIndex), led.log.sum(lastIndex), `follower ${name}`);
    t.equal(cluster.replica('x').log.lastIndex(), lastIndex, `follower ${name} has no more`);
  }
});

t.test('5.4.1: a vote goes only to a log that is at least as up to date', async (t) => {
  const own = [1, 2, 2];
  const table = [
    { index: 3, term: 1, isGranted: false },
    { index: 9, term: 1, isGranted: false },
    { index: 2, term: 2, isGranted: false },
    { index: 3, term: 2, isGranted: true },
    { index: 4, term: 2, isGranted: true },
    { index: 1, term: 3, isGranted: true },
    { index: 3, term: 3, isGranted: true },
  ];
  for (const { index, term, isGranted } of table) {
    const bench = new Bench({ terms: own, term: 3 });
    const answer = bench.askVote('b', 4, { index, term });
    t.equal(answer.isGranted, isGranted, `last entry ${index} of term ${term}`);
    t.equal(bench.status.vote, isGranted ? 'b' : null);
  }
});

t.test('5.4.2, Figure 8: an entry of an older term is not committed by counting', async (t) => {
  const bench = new Bench({ terms: [1, 2], term: 2 });
  bench.lead();
  t.equal(bench.status.term, 3);
  bench.ack('b', 1);
  t.equal(bench.status.commit, 0, 'index 1 of term 1 is on a majority');
  bench.ack('b', 2);
  t.equal(bench.status.commit, 0, 'index 2 of term 2 is on a majority');
  bench.ack('b', 3);
  t.equal(bench.status.commit, 3, 'the no-op of term 3 takes both along');
});

t.test('5.4.3: a leader can replace uncommitted entries of a higher term elsewhere', async (t) => {
  // b led term 2 alone and wrote there; c and a never saw it and go on at term 3.
  const cluster = new CoreCluster({
    seed: 3,
    voters: ['a', 'b', 'c'],
    start: (id) => ({
      entries: logOf(id === 'b' ? [1, 2, 2] : [1]),
      hardState: { term: termOf(2), vote: null, commit: at(1) },
    }),
  });
  cluster.isolate('b');
  cluster.elect('a');
  cluster.heal();
  cluster.tick('a', 2);
  cluster.settle();
  t.same(cluster.replica('b').log.sum(at(2)), cluster.replica('a').log.sum(at(2)));
  t.match(cluster.replica('b').core.status(), { commit: 2, lastIndex: 2, term: 3 });
});

t.test('6.4 of the thesis, 8: a new leader opens its term with a no-op', async (t) => {
  const bench = new Bench({ terms: [1] });
  const appends = bench.lead();
  t.match(appends, [
    { kind: 'append', to: 'b', prevIndex: 1, entries: [{ index: 2, term: 2, type: 'noop' }] },
    { kind: 'append', to: 'c', prevIndex: 1, entries: [{ index: 2, term: 2, type: 'noop' }] },
  ]);
});

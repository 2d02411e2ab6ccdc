// Both sides of log replication: progress, flow control, back-off, commit rules, and bad input.
import type { LogIndex } from '@holdfast/base';
import t from 'tap';
import { CoreCluster, payload } from '../src/testing/core-cluster.ts';
import { Inflights } from '../src/tracker/inflights.ts';
import { at, Bench, extend, logOf, termOf } from './support.ts';

const THREE = ['a', 'b', 'c'];
const bytes = (size: number): Uint8Array => new Uint8Array(size);
const peerOf = (bench: Bench, id: string) => bench.status.peers.find((peer) => peer.id === id)!;

/** A leader to whom every peer has acknowledged the no-op. */
function settledLeader(options: ConstructorParameters<typeof Bench>[0] = {}): Bench {
  const bench = new Bench(options);
  bench.lead();
  for (const { id } of bench.status.peers) bench.ack(id, bench.status.lastIndex);
  bench.flush();
  return bench;
}

t.test('a probed peer gets one append until it answers or a heartbeat is answered', async (t) => {
  const bench = new Bench();
  bench.lead();
  bench.core.propose([bytes(1)]);
  t.same(bench.flushOf('append'), [], 'the probe is under way');
  bench.step('b', 1, { kind: 'heartbeatResponse', round: 0, beat: 0, isLeaseGranted: false });
  t.match(bench.flushOf('append'), [{ to: 'b', prevIndex: 0 }], 'it is repeated');
  bench.ack('b', 1);
  t.match(bench.flushOf('append'), [{ to: 'b', prevIndex: 1, entries: [{ index: 2 }] }]);
  t.equal(peerOf(bench, 'b').state, 'replicate');
});

t.test(
  'a replicating peer is sent to without waiting, and one turn makes one message',
  async (t) => {
    const bench = settledLeader();
    for (let i = 0; i < 10; i++) bench.core.propose([bytes(1)]);
    const first = bench.flushOf('append');
    t.match(first, [
      { to: 'b', prevIndex: 1, entries: { length: 10 } },
      { to: 'c', prevIndex: 1, entries: { length: 10 } },
    ]);
    bench.core.propose([bytes(1)]);
    t.match(bench.flushOf('append'), [{ prevIndex: 11 }, { prevIndex: 11 }], 'pipelined');
  },
);

t.test('appends are cut by size, and one entry larger than the limit still goes', async (t) => {
  const bench = settledLeader({ voters: ['a', 'b'], raft: { appendSizeBytesMax: 100 } });
  bench.core.propose([bytes(10), bytes(10), bytes(10), bytes(500), bytes(10)]);
  const sizes = bench.flushOf('append').map(({ entries }) => entries.length);
  t.same(sizes, [2, 1, 1, 1]);
});

t.test('the window is bounded by count and by bytes and opens with acknowledgements', async (t) => {
  const limits = [
    { inflightCountMax: 2, appendSizeBytesMax: 50 },
    { inflightSizeBytesMax: 100, appendSizeBytesMax: 50 },
  ];
  for (const raft of limits) {
    const bench = settledLeader({ voters: ['a', 'b'], raft });
    bench.core.propose(Array.from({ length: 6 }, () => bytes(10)));
    const sent = bench.flushOf('append').filter(({ entries }) => entries.length > 0);
    t.equal(sent.length, 2, JSON.stringify(raft));
    bench.ack('b', 2);
    t.match(bench.flushOf('append'), [{ prevIndex: 3, entries: [{ index: 4 }] }]);
    bench.ack('b', 4);
    const next = bench.flushOf('append').filter(({ entries }) => entries.length > 0);
    t.same(
      next.map(({ prevIndex }) => prevIndex),
      [4, 5],
      'one answer may open several slots',
    );
  }
});

t.test('the window is a ring that frees in order and refuses when full', async (t) => {
  const window = new Inflights(3, 1_000);
  for (let lap = 0; lap < 5; lap++) {
    window.add(lap * 3 + 1, 10);
    window.add(lap * 3 + 2, 10);
    window.freeUpTo(lap * 3 + 1);
    t.equal(window.count, 1);
    window.add(lap * 3 + 3, 10);
    window.freeUpTo(lap * 3 + 3);
    t.equal(window.count, 0);
  }
  for (let i = 1; i <= 3; i++) window.add(100 + i, 10);
  t.equal(window.isFull, true);
  t.throws(() => window.add(104, 10), { name: 'InvariantViolation' });
  const byBytes = new Inflights(10, 20);
  byBytes.add(1, 25);
  t.equal(byBytes.isFull, true);
  byBytes.freeUpTo(1);
  t.equal(byBytes.isFull, false);
});

t.test('a window of which everything was lost recovers by heartbeats', async (t) => {
  const raft = { inflightCountMax: 2, appendSizeBytesMax: 60, checkQuorum: false };
  const cluster = new CoreCluster({ seed: 4, voters: THREE, raft });
  cluster.elect('a');
  for (let i = 0; i < 8; i++) cluster.propose('a', `entry ${i}`);
  cluster.network = [];
  for (let tick = 0; tick < 30; tick++) {
    cluster.tick('a');
    cluster.settle();
  }
  const { lastIndex, commit } = cluster.replica('a').core.status();
  t.equal(commit, lastIndex);
  for (const id of THREE) t.equal(cluster.replica(id).appliedIndex, lastIndex, id);
});

t.test('a commit index reaches the followers without another proposal or heartbeat', async (t) => {
  const cluster = new CoreCluster({ seed: 5, voters: THREE });
  cluster.elect('a');
  const index = cluster.propose('a', 'x');
  cluster.settle();
  for (const id of THREE) t.equal(cluster.replica(id).core.status().commit, index, id);
});

t.test(
  'a lost commit index arrives with the next heartbeat, up to what the peer holds',
  async (t) => {
    const bench = settledLeader();
    bench.core.propose([bytes(1), bytes(1)]);
    bench.flush();
    bench.ack('b', 3);
    bench.flush();
    t.equal(bench.status.commit, 3);
    bench.tick(2);
    t.match(bench.flushOf('heartbeat'), [
      { to: 'b', commit: 3 },
      { to: 'c', commit: 1 },
    ]);
  },
);

t.test('a follower commits at most what the append itself covered', async (t) => {
  // Its own entries 2 and 3 are not known to be the leader's.
  const own = logOf([1, 1, 1]);
  const bench = new Bench({ entries: own, term: 2 });
  bench.append('b', 2, own, { prevIndex: 1, until: 1, commit: 3 });
  t.equal(bench.status.commit, 1);
  bench.append('b', 2, own, { prevIndex: 1, until: 2, commit: 3 });
  t.equal(bench.status.commit, 2);
  bench.append('b', 2, own, { prevIndex: 3, commit: 2 });
  t.equal(bench.status.commit, 2, 'and never goes back');
});

t.test('a heartbeat moves the commit index forward only', async (t) => {
  const bench = new Bench({ terms: [1, 1, 1], term: 1, commit: 2 });
  bench.step('b', 1, { kind: 'heartbeat', commit: at(1), round: 0, beat: 0, isLeaseWanted: false });
  t.equal(bench.status.commit, 2);
  bench.step('b', 1, { kind: 'heartbeat', commit: at(3), round: 0, beat: 0, isLeaseWanted: false });
  t.equal(bench.status.commit, 3);
});

t.test('who may have lost acknowledged entries neither votes nor campaigns', async (t) => {
  const log = logOf([1, 1, 1]);
  const bench = new Bench({ terms: [1], term: 1 });
  const claim = {
    kind: 'heartbeat',
    commit: at(2),
    round: 0,
    beat: 0,
    isLeaseWanted: false,
  } as const;
  bench.step('b', 1, claim);
  t.same(bench.flush(), [], 'the claim is not answered');
  t.match(bench.events.at(-1), {
    kind: 'contradictionSeen',
    from: 'b',
    contradiction: 'acknowledged-entries-missing',
  });
  t.match(bench.askVote('c', 2, { index: 9, term: 1 }), { refusal: 'not-ready' });
  bench.core.campaign();
  bench.tick(30);
  t.equal(bench.status.role, 'follower');
  // A later leader probes from the start and brings them back.
  bench.append('c', 2, log, { prevIndex: 1 });
  bench.flush();
  bench.core.forgetLeader();
  t.equal(bench.askVote('b', 3, { index: 9, term: 1 }).isGranted, true, 'and then it votes');
});

t.test('an old append, delivered again after a newer one, changes nothing', async (t) => {
  const log = logOf([1, 1, 1, 1]);
  const bench = new Bench({ term: 1 });
  bench.append('b', 1, log, { prevIndex: 0 });
  bench.flush();
  bench.append('b', 1, log, { prevIndex: 0, until: 2 });
  const [answer] = bench.flushOf('appendResponse');
  t.equal(answer!.matchIndex, 2);
  t.equal(bench.status.lastIndex, 4);
  t.same(
    bench.events.filter(({ kind }) => kind === 'logTruncated'),
    [],
  );
});

t.test('replacing a committed entry is refused with an alarm', async (t) => {
  const own = logOf([1, 1, 1]);
  const bench = new Bench({ entries: own, term: 2, commit: 3 });
  const base = own.slice(0, 1);
  bench.append('b', 2, [...base, ...extend(base, [2, 2])], { prevIndex: 1 });
  t.same(bench.flush(), [], 'no answer');
  t.match(bench.events.at(-1), { contradiction: 'committed-entry-replaced' });
  t.match(bench.status, { lastIndex: 3, commit: 3 });
});

t.test('one index and term with two contents is refused with an alarm', async (t) => {
  const own = logOf([1, 1]);
  const fork = extend(own.slice(0, 1), [1, 1], 'fork');
  const asEntry = new Bench({ entries: own, term: 1 });
  const log = [...own.slice(0, 1), ...fork];
  const asPrevious = new Bench({ entries: own, term: 1 });
  asEntry.append('b', 1, log, { prevIndex: 1 });
  asPrevious.append('b', 1, log, { prevIndex: 2 });
  for (const bench of [asEntry, asPrevious]) {
    t.same(bench.flush(), [], 'no answer');
    t.match(bench.events.at(-1), { kind: 'contradictionSeen', contradiction: 'log-forked' });
    t.equal(bench.status.lastIndex, 2);
  }
});

t.test('an append damaged on the way is refused and changes nothing', async (t) => {
  const bench = new Bench({ term: 1 });
  const log = logOf([1, 1]);
  const damaged = [log[0]!, { ...log[1]!, data: payload('damaged') }];
  bench.append('b', 1, damaged, { prevIndex: 0 });
  t.same(bench.flush(), [], 'no acknowledgement');
  t.match(bench.events.at(-1), { kind: 'messageRefused', reason: 'entry-chain-broken' });
  t.equal(bench.status.lastIndex, 0);
  bench.append('b', 1, log, { prevIndex: 0 });
  t.match(bench.flushOf('appendResponse'), [{ matchIndex: 2 }]);
});

t.test('appends that are inconsistent in themselves are refused', async (t) => {
  const log = logOf([1, 2, 2]);
  const good = {
    kind: 'append',
    prevIndex: at(0),
    prevTerm: termOf(0),
    prevSum: new Uint8Array(16),
    entries: log,
    commit: at(0),
  } as const;
  const bad = {
    'entries-not-gapless': { ...good, entries: [log[0]!, log[2]!] },
    'entry-term-out-of-order': { ...good, entries: [log[0]!, { ...log[1]!, term: termOf(9) }] },
    'bad-position': { ...good, prevIndex: at(4), prevTerm: termOf(0) },
    'bad-sum': { ...good, prevSum: new Uint8Array(3) },
  };
  for (const [reason, body] of Object.entries(bad)) {
    const bench = new Bench({ term: 2 });
    bench.step('b', 2, body);
    t.same(bench.flush(), [], reason);
    t.match(bench.events, [{ kind: 'messageRefused', reason }]);
    t.equal(bench.status.lastIndex, 0);
  }
});

t.test('back-off skips whole terms on both sides', async (t) => {
  const leaderTerms = [1, 3, 3, 3, 5, 5, 5, 5, 5];
  const tables = [
    { follower: [1, 1, 1, 1, 1, 2, 2, 2, 2], hint: [9, 2], next: 2 },
    { follower: [1, 3, 3, 3, 3, 3, 3], hint: [7, 3], next: 5 },
    { follower: [1, 3, 3, 3, 5, 5], hint: [6, 5], next: 7 },
    { follower: [1], hint: [1, 1], next: 2 },
    { follower: [], hint: [0, 0], next: 1 },
    { follower: [1, 3, 3, 3, 4, 4, 4, 4, 4], hint: [9, 4], next: 5 },
    { follower: [2, 2, 2], hint: [3, 2], next: 2 },
    { follower: [1, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5], hint: null, next: 10 },
    { follower: [1, 1, 1, 1, 6, 6, 6, 6, 6, 6], hint: [4, 1], next: 2 },
  ];
  for (const { follower, hint, next } of tables) {
    const name = JSON.stringify(follower);
    const bench = new Bench({ terms: leaderTerms, term: 6 });
    const [probe] = bench.lead().filter(({ kind, to }) => kind === 'append' && to === 'b');
    const peer = new Bench({ id: 'b', terms: follower, term: 6 });
    peer.core.step(probe!);
    const [answer] = peer.flushOf('appendResponse');
    const rejection = answer!.rejection;
    t.same(rejection === null ? null : [rejection.hintIndex, rejection.hintTerm], hint, name);
    bench.core.step(answer!);
    if (hint !== null) t.match(bench.flushOf('append'), [{ to: 'b', prevIndex: next - 1 }], name);
  }
});

t.test('late and repeated rejections move nothing back', async (t) => {
  const bench = settledLeader();
  bench.core.propose([bytes(1), bytes(1)]);
  bench.flush();
  bench.ack('b', 3);
  const late = {
    kind: 'appendResponse',
    matchIndex: at(0),
    rejection: { rejectedIndex: at(1), hintIndex: at(0), hintTerm: termOf(0) },
  } as const;
  bench.step('b', 1, late);
  t.match(peerOf(bench, 'b'), { matchIndex: 3, nextIndex: 4, state: 'replicate' });
});

t.test('a rejection past what matched goes back to probing after the match', async (t) => {
  const bench = settledLeader();
  bench.core.propose([bytes(1), bytes(1)]);
  bench.flush();
  bench.step('b', 1, {
    kind: 'appendResponse',
    matchIndex: at(0),
    rejection: { rejectedIndex: at(3), hintIndex: at(1), hintTerm: termOf(1) },
  });
  t.match(peerOf(bench, 'b'), { state: 'probe', matchIndex: 1, nextIndex: 2 });
  t.match(bench.flushOf('append'), [{ to: 'b', prevIndex: 1 }]);
});

t.test('a peer that claims more than the leader holds is refused', async (t) => {
  const bench = settledLeader();
  bench.ack('b', 99);
  bench.flush();
  t.match(bench.events.at(-1), { kind: 'messageRefused', reason: 'match-beyond-log' });
  t.equal(peerOf(bench, 'b').matchIndex, 1);
});

t.test('an unreachable peer is probed instead of flooded', async (t) => {
  const bench = settledLeader();
  bench.core.reportUnreachable('b' as never);
  t.equal(peerOf(bench, 'b').state, 'probe');
  bench.core.propose([bytes(1)]);
  bench.flush();
  bench.core.propose([bytes(1)]);
  t.same(
    bench.flushOf('append').map(({ to }) => to),
    ['c'],
    'b has one probe under way',
  );
});

t.test('proposals go to the leader only, and refusals say why', async (t) => {
  const bench = new Bench({
    term: 1,
    raft: { entrySizeBytesMax: 100, uncommittedSizeBytesMax: 200 },
  });
  t.match(bench.core.propose([bytes(1)]), { ok: false, drop: 'no-leader', leader: null });
  bench.step('b', 1, { kind: 'heartbeat', commit: at(0), round: 0, beat: 0, isLeaseWanted: false });
  t.match(bench.core.propose([bytes(1)]), { ok: false, drop: 'not-leader', leader: 'b' });
  bench.core.forgetLeader();
  bench.lead();
  t.match(bench.core.propose([bytes(61)]), { ok: false, drop: 'too-large', leader: 'a' });
  t.match(bench.core.propose([bytes(60), bytes(60), bytes(60)]), { drop: 'too-large' });
  t.match(bench.core.propose([bytes(60)]), { ok: true, index: 2 });
});

t.test('uncommitted bytes are bounded, and free again when committed', async (t) => {
  const raft = { entrySizeBytesMax: 100, uncommittedSizeBytesMax: 200 };
  const bench = new Bench({ raft });
  bench.lead();
  t.equal(bench.status.uncommittedSizeBytes, 0, 'the no-op is never refused');
  t.match(bench.core.propose([bytes(60)]), { ok: true });
  t.match(bench.core.propose([bytes(60)]), { ok: true });
  t.match(bench.core.propose([bytes(1)]), { ok: false, drop: 'over-uncommitted', leader: 'a' });
  t.equal(bench.status.lastIndex, 3, 'a refused proposal leaves nothing behind');
  bench.flush();
  bench.ack('b', 2);
  t.match(bench.core.propose([bytes(60)]), { ok: true });
  bench.flush();
  bench.ack('b', 4);
  t.equal(bench.status.uncommittedSizeBytes, 0);
});

t.test('a leader cut off from its group stops taking proposals', async (t) => {
  const raft = { uncommittedSizeBytesMax: 1_000, entrySizeBytesMax: 100, checkQuorum: false };
  const bench = new Bench({ raft });
  bench.lead();
  let taken = 0;
  for (let i = 0; i < 100; i++) if (bench.core.propose([bytes(60)]).ok) taken += 1;
  t.equal(taken, 10);
});

t.test('a follower whose disk falls behind stops taking entries, and goes on later', async (t) => {
  const raft = { uncommittedSizeBytesMax: 150, entrySizeBytesMax: 100 };
  const bench = new Bench({ term: 1, raft });
  const log = logOf(Array.from({ length: 12 }, () => 1));
  for (let prev = 0; prev < 12; prev += 2)
    bench.append('b', 1, log, { prevIndex: prev, until: prev + 2 });
  bench.take();
  t.ok(bench.status.lastIndex < 12, 'the tail is bounded');
  t.ok(bench.events.some((event) => event.kind === 'messageRefused'));
  const taken = bench.status.lastIndex;
  bench.sync();
  bench.append('b', 1, log, { prevIndex: taken });
  bench.flush();
  t.equal(bench.status.durable, 12);
});

t.test('proposals of one call get consecutive indexes and a chained sum', async (t) => {
  const bench = settledLeader();
  const outcome = bench.core.propose([payload('x'), payload('y'), payload('z')]);
  t.match(outcome, { ok: true, index: 2, term: 1 });
  bench.flush();
  const follower = new Bench({ id: 'b', term: 1 });
  const entries = bench.log.entries(at(1), at(5), Number.POSITIVE_INFINITY);
  t.ok(entries !== 'compacted');
  if (entries === 'compacted') return;
  follower.append('a', 1, entries, { prevIndex: 0 });
  t.match(
    follower.flushOf('appendResponse'),
    [{ matchIndex: 4 }],
    'the follower checked the chain',
  );
});

t.test('a learner is replicated to and never counted', async (t) => {
  const bench = settledLeader({ voters: ['a', 'b', 'c'], learners: ['l'] });
  bench.core.propose([bytes(1)]);
  t.same(
    bench.flushOf('append').map(({ to }) => to),
    ['b', 'c', 'l'],
  );
  bench.ack('l', 2);
  t.equal(bench.status.commit, 1);
  bench.ack('b', 2);
  t.equal(bench.status.commit, 2);
});

t.test('several acknowledgements of one turn become one message', async (t) => {
  const bench = new Bench({ term: 1 });
  const log = logOf([1, 1, 1]);
  for (let prev = 0; prev < 3; prev++)
    bench.append('b', 1, log, { prevIndex: prev, until: prev + 1 });
  t.match(bench.flushOf('appendResponse'), [{ matchIndex: 3 }]);
});

t.test('answers of an older term or to a former leader are ignored', async (t) => {
  const bench = new Bench({ terms: [1], term: 1 });
  bench.lead();
  bench.ack('b', 2, 1);
  t.equal(bench.status.commit, 0, 'an answer of term 1 proves nothing in term 2');
  const follower = new Bench({ term: 3 });
  follower.ack('b', 5 as LogIndex, 3);
  t.same(follower.flush(), []);
});

// Linearizable reads without log entries: what a read waits for, and when it is refused.
import t from 'tap';
import type { RaftMessage } from '../src/messages.ts';
import { CoreCluster } from '../src/testing/core-cluster.ts';
import { at, Bench } from './support.ts';

const THREE = ['a', 'b', 'c'];

/** A leader that has committed its no-op. */
function readyLeader(options: ConstructorParameters<typeof Bench>[0] = {}): Bench {
  const bench = new Bench(options);
  bench.lead();
  for (const { id } of bench.status.peers) bench.ack(id, bench.status.lastIndex);
  bench.flush();
  return bench;
}

const confirm = (bench: Bench, from: string, round: number): void =>
  bench.step(from, bench.status.term, {
    kind: 'heartbeatResponse',
    round,
    beat: 0,
    isLeaseGranted: false,
  });

t.test('a read is answered once a quorum confirmed the leader after it was asked', async (t) => {
  const bench = readyLeader();
  confirm(bench, 'b', 0);
  bench.core.readIndex();
  t.match(bench.flushOf('heartbeat'), [{ to: 'b', round: 1 }], 'at once, to enough for a quorum');
  confirm(bench, 'b', 0);
  bench.flush();
  t.same(bench.reads, [], 'a late answer to an older heartbeat confirms nothing');
  confirm(bench, 'b', 1);
  bench.flush();
  t.match(bench.reads, [{ requestId: 1, outcome: { kind: 'ready', index: 1 } }]);
});

t.test('a new leader answers no read before it committed an entry of its term', async (t) => {
  const bench = new Bench({ terms: [1, 1], term: 1, commit: 1 });
  bench.lead();
  bench.core.readIndex();
  t.same(bench.flushOf('heartbeat'), [], 'not even a round is started');
  bench.ack('b', 3);
  t.match(bench.flushOf('heartbeat'), [{ round: 1 }]);
  confirm(bench, 'c', 1);
  bench.flush();
  t.match(bench.reads, [{ outcome: { index: 3 } }]);
});

t.test('reads that arrive during a round share the next one', async (t) => {
  const bench = readyLeader();
  bench.core.readIndex();
  bench.flush();
  for (let i = 0; i < 5; i++) bench.core.readIndex();
  t.same(bench.flushOf('heartbeat'), []);
  confirm(bench, 'b', 1);
  t.match(bench.flushOf('heartbeat'), [{ round: 2 }]);
  t.equal(bench.reads.length, 1);
  confirm(bench, 'b', 1);
  confirm(bench, 'c', 1);
  bench.flush();
  t.equal(bench.reads.length, 1, 'neither a repeated nor a late answer to round 1 confirms 2');
  confirm(bench, 'c', 2);
  bench.flush();
  t.same(
    bench.reads.map(({ requestId }) => requestId),
    [1, 2, 3, 4, 5, 6],
  );
});

t.test(
  'a round not answered within a tick is sent to all; the next asks who answered',
  async (t) => {
    const bench = readyLeader();
    bench.core.readIndex();
    t.match(bench.flushOf('heartbeat'), [{ to: 'b' }]);
    bench.tick(1);
    t.match(bench.flushOf('heartbeat'), [
      { to: 'b', round: 1 },
      { to: 'c', round: 1 },
    ]);
    confirm(bench, 'c', 1);
    bench.flush();
    t.equal(bench.reads.length, 1, 'b is not needed');
    bench.core.readIndex();
    t.match(bench.flushOf('heartbeat'), [{ to: 'c', round: 2 }]);
  },
);

t.test('a lost round is repeated by the next heartbeat', async (t) => {
  const bench = readyLeader();
  bench.core.readIndex();
  bench.flush();
  bench.tick(2);
  t.match(bench.flushOf('heartbeat'), [{ round: 1 }, { round: 1 }]);
});

t.test('a round nobody started confirms nothing and is refused', async (t) => {
  const bench = readyLeader();
  bench.core.readIndex();
  bench.flush();
  confirm(bench, 'b', 5);
  bench.flush();
  t.same(bench.reads, []);
  t.match(bench.events.at(-1), { kind: 'messageRefused', reason: 'round-never-started' });
});

t.test('confirmations of a former leadership do not count', async (t) => {
  const bench = readyLeader();
  bench.core.readIndex();
  bench.flush();
  confirm(bench, 'b', 1);
  bench.step('b', 5, { kind: 'heartbeat', commit: at(0), round: 0, beat: 0, isLeaseWanted: false });
  bench.core.forgetLeader();
  bench.lead();
  bench.ack('b', bench.status.lastIndex);
  bench.flush();
  bench.reads = [];
  bench.core.readIndex();
  bench.flush();
  bench.step('b', 1, { kind: 'heartbeatResponse', round: 1, beat: 0, isLeaseGranted: false });
  bench.flush();
  t.same(bench.reads, [], 'an answer of the old term is ignored');
  confirm(bench, 'c', 1);
  bench.flush();
  t.equal(bench.reads.length, 1);
});

t.test('learners do not confirm reads', async (t) => {
  const bench = readyLeader({ learners: ['l'] });
  bench.core.readIndex();
  bench.flush();
  confirm(bench, 'l', 1);
  bench.flush();
  t.same(bench.reads, []);
});

t.test('losing leadership aborts every waiting read', async (t) => {
  const bench = readyLeader();
  bench.core.readIndex();
  bench.flush();
  bench.core.readIndex();
  bench.step('b', 9, { kind: 'heartbeat', commit: at(0), round: 0, beat: 0, isLeaseWanted: false });
  bench.flush();
  t.match(bench.reads, [
    { requestId: 1, outcome: { kind: 'aborted' } },
    { requestId: 2, outcome: { kind: 'aborted' } },
  ]);
});

t.test('waiting reads are bounded', async (t) => {
  const raft = { pendingReadCountMax: 3 };
  const bench = new Bench({ raft });
  bench.lead();
  for (let i = 0; i < 3; i++) t.equal(bench.core.readIndex().ok, true);
  t.match(bench.core.readIndex(), { ok: false, drop: 'too-many-reads' });
  const follower = new Bench({ term: 1, raft });
  t.match(follower.core.readIndex(), { ok: false, drop: 'no-leader' });
  follower.step('b', 1, {
    kind: 'heartbeat',
    commit: at(0),
    round: 0,
    beat: 0,
    isLeaseWanted: false,
  });
  for (let i = 0; i < 3; i++) t.equal(follower.core.readIndex().ok, true);
  t.match(follower.core.readIndex(), { ok: false, drop: 'too-many-reads' });
});

t.test('a follower reads through the leader, one question for all of a turn', async (t) => {
  const cluster = new CoreCluster({ seed: 6, voters: THREE, learners: ['l'] });
  cluster.elect('a');
  const index = cluster.propose('a', 'x');
  cluster.settle();
  for (const id of ['b', 'l']) {
    cluster.readIndex(id);
    cluster.settle();
    const { reads } = cluster.replica(id);
    t.match(reads, [{ outcome: { kind: 'ready', index } }], id);
  }
  const follower = new Bench({ term: 1 });
  follower.step('b', 1, {
    kind: 'heartbeat',
    commit: at(0),
    round: 0,
    beat: 0,
    isLeaseWanted: false,
  });
  for (let i = 0; i < 4; i++) follower.core.readIndex();
  t.equal(follower.flushOf('readIndex').length, 1);
});

t.test(
  'a follower gives its reads up when the leader changes, is forgotten or stays silent',
  async (t) => {
    const lose = {
      'another leader': (bench: Bench) =>
        bench.step('c', 2, {
          kind: 'heartbeat',
          commit: at(0),
          round: 0,
          beat: 0,
          isLeaseWanted: false,
        }),
      forgotten: (bench: Bench) => bench.core.forgetLeader(),
      campaign: (bench: Bench) => bench.core.campaign(),
      silence: (bench: Bench) => {
        for (let tick = 0; tick < 10; tick++) {
          bench.step('b', 1, {
            kind: 'heartbeat',
            commit: at(0),
            round: 0,
            beat: 0,
            isLeaseWanted: false,
          });
          bench.tick();
        }
      },
    };
    for (const [name, act] of Object.entries(lose)) {
      const bench = new Bench({ term: 1 });
      bench.step('b', 1, {
        kind: 'heartbeat',
        commit: at(0),
        round: 0,
        beat: 0,
        isLeaseWanted: false,
      });
      bench.core.readIndex();
      bench.flush();
      act(bench);
      bench.flush();
      t.match(bench.reads, [{ requestId: 1, outcome: { kind: 'aborted' } }], name);
      t.equal(bench.status.pendingReadCount, 0, name);
    }
  },
);

t.test('a replica that is not leader refuses to answer for others', async (t) => {
  const bench = new Bench({ term: 1 });
  bench.step('c', 1, { kind: 'readIndex', requestId: 12 });
  t.match(bench.flush(), [{ kind: 'readIndexResponse', to: 'c', requestId: 12, index: null }]);
  const leader = readyLeader({ term: 4 });
  leader.step('c', 4, { kind: 'readIndex', requestId: 13 });
  t.match(leader.flush(), [{ requestId: 13, index: null, term: 5 }], 'asked at an older term');
});

t.test('an answer meant for an earlier life of the follower matches nothing', async (t) => {
  const ask = (seed: number): { readonly bench: Bench; readonly wireId: number } => {
    const bench = new Bench({ term: 1, seed });
    bench.step('b', 1, {
      kind: 'heartbeat',
      commit: at(0),
      round: 0,
      beat: 0,
      isLeaseWanted: false,
    });
    bench.core.readIndex();
    return { bench, wireId: bench.flushOf('readIndex')[0]!.requestId };
  };
  const old = ask(1);
  const reborn = ask(2);
  t.not(reborn.wireId, old.wireId);
  reborn.bench.step('b', 1, { kind: 'readIndexResponse', requestId: old.wireId, index: at(5) });
  reborn.bench.flush();
  t.same(reborn.bench.reads, []);
});

t.test('a deposed leader cannot answer a read that missed a newer commit', async (t) => {
  const cluster = new CoreCluster({ seed: 8, voters: THREE, raft: { checkQuorum: false } });
  cluster.elect('a');
  cluster.isolate('a');
  cluster.elect('b');
  cluster.propose('b', 'newer');
  cluster.settle();
  t.equal(cluster.replica('a').core.status().role, 'leader', 'a does not know yet');
  cluster.readIndex('a');
  cluster.settle();
  t.same(cluster.replica('a').reads, []);
  cluster.heal();
  cluster.tick('b', 2);
  cluster.settle();
  t.match(cluster.replica('a').reads, [{ outcome: { kind: 'aborted' } }]);
});

t.test('duplicated and delayed confirmations never make a read stale', async (t) => {
  // The confirmation of the first read is replayed while the leader is already cut off.
  const cluster = new CoreCluster({ seed: 8, voters: THREE, raft: { checkQuorum: false } });
  cluster.elect('a');
  cluster.readIndex('a');
  const confirmations: RaftMessage[] = [];
  cluster.settle((message) => {
    if (message.kind === 'heartbeatResponse' && message.to === 'a') confirmations.push(message);
    return true;
  });
  t.ok(confirmations.length > 0);
  cluster.isolate('a');
  cluster.elect('b');
  cluster.propose('b', 'newer');
  cluster.settle();
  cluster.readIndex('a');
  for (const message of confirmations) cluster.replica('a').core.step(message);
  cluster.after('a');
  t.equal(cluster.replica('a').reads.length, 1, 'only the first read was answered');
});

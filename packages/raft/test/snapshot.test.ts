// A peer behind the compacted log: who sends what, and what a snapshot may and may not replace.
import type { SnapshotMeta } from '@holdfast/base';
import { nodeId } from '@holdfast/base';
import t from 'tap';
import { CoreCluster, confOf } from '../src/testing/core-cluster.ts';
import { at, Bench, extend, logOf, termOf } from './support.ts';

const THREE = ['a', 'b', 'c'];
const B = nodeId('b');
const peerOf = (bench: Bench, id: string) => bench.status.peers.find((peer) => peer.id === id)!;

function metaAt(terms: readonly number[], id = 'snapshot-1'): SnapshotMeta {
  const last = logOf(terms).at(-1)!;
  const { index, term, sum } = last;
  return { index, term, sum, conf: confOf(THREE), confIndex: at(0), id };
}

/** A leader whose log starts after index 5 of 1,1,1,1,1,1 and that hears from b. */
function compactedLeader(): Bench {
  const entries = logOf([1, 1, 1, 1, 1, 1]);
  const bench = new Bench({
    entries: entries.slice(5),
    snapshot: metaAt([1, 1, 1, 1, 1]),
    term: 1,
    commit: 6,
  });
  bench.lead();
  return bench;
}

/** b says that its log ends at `index`. */
const lagAt = (bench: Bench, index: number): void =>
  bench.step('b', bench.status.term, {
    kind: 'appendResponse',
    matchIndex: at(0),
    rejection: {
      rejectedIndex: at(6),
      hintIndex: at(index),
      hintTerm: termOf(index === 0 ? 0 : 1),
    },
  });

t.test('a peer behind the log is sent the snapshot and nothing else', async (t) => {
  const bench = compactedLeader();
  lagAt(bench, 2);
  const sent = bench.flush().filter(({ to }) => to === 'b');
  t.match(sent, [{ kind: 'snapshot', meta: { index: 5, id: 'snapshot-1' } }]);
  t.match(
    bench.events.filter(({ kind }) => kind === 'snapshotNeeded'),
    [{ peer: 'b', nextIndex: 3 }],
  );
  t.equal(peerOf(bench, 'b').state, 'snapshot');
  bench.core.propose([new Uint8Array([1])]);
  t.same(
    bench.flush().filter(({ to }) => to === 'b'),
    [],
    'replication to it is paused',
  );
});

t.test('acknowledging the snapshot resumes replication right after it', async (t) => {
  const bench = compactedLeader();
  lagAt(bench, 2);
  bench.flush();
  bench.ack('b', 5);
  t.match(
    bench.flushOf('append').filter(({ to }) => to === 'b'),
    [{ prevIndex: 5 }],
  );
  t.equal(peerOf(bench, 'b').state, 'replicate');
});

t.test('a failed transfer goes back to probing and is tried again', async (t) => {
  const bench = compactedLeader();
  lagAt(bench, 2);
  bench.flush();
  bench.core.reportSnapshot(B, 'another', false);
  t.equal(peerOf(bench, 'b').state, 'snapshot', 'the report of another transfer is ignored');
  bench.core.reportSnapshot(B, 'snapshot-1', false);
  t.match(peerOf(bench, 'b'), { state: 'probe', nextIndex: 1 });
  t.same(
    bench.flush().filter(({ to }) => to === 'b'),
    [],
    'not before its next sign of life',
  );
  bench.step('b', bench.status.term, {
    kind: 'heartbeatResponse',
    round: 0,
    beat: 0,
    isLeaseGranted: false,
  });
  t.match(
    bench.flush().filter(({ to }) => to === 'b'),
    [{ kind: 'snapshot' }],
  );
});

t.test('a reported success probes after the snapshot', async (t) => {
  const bench = compactedLeader();
  lagAt(bench, 2);
  bench.flush();
  bench.core.reportSnapshot(B, 'snapshot-1', true);
  t.match(peerOf(bench, 'b'), { state: 'probe', nextIndex: 6 });
  bench.step('b', bench.status.term, {
    kind: 'heartbeatResponse',
    round: 0,
    beat: 0,
    isLeaseGranted: false,
  });
  t.match(
    bench.flushOf('append').filter(({ to }) => to === 'b'),
    [{ prevIndex: 5 }],
  );
});

t.test('a lost snapshot message is repeated, the same one, while the peer lives', async (t) => {
  const bench = compactedLeader();
  lagAt(bench, 2);
  bench.flush();
  const beat = () =>
    bench.step('b', bench.status.term, {
      kind: 'heartbeatResponse',
      round: 0,
      beat: 0,
      isLeaseGranted: false,
    });
  beat();
  t.same(bench.flushOf('snapshot'), [], 'not at every heartbeat');
  bench.tick(10);
  bench.flush();
  bench.log.setSnapshot(metaAt([1, 1, 1, 1, 1, 1], 'snapshot-2'));
  beat();
  t.match(bench.flushOf('snapshot'), [{ to: 'b', meta: { id: 'snapshot-1' } }]);
});

t.test(
  'a snapshot that is acknowledged but already behind the log is followed by a newer',
  async (t) => {
    const bench = compactedLeader();
    lagAt(bench, 2);
    bench.flush();
    bench.ack('c', 7);
    bench.flush();
    bench.log.setSnapshot(metaAt([1, 1, 1, 1, 1, 1], 'snapshot-2'));
    bench.log.compact(at(6));
    bench.ack('b', 5);
    t.match(
      bench.flush().filter(({ to }) => to === 'b'),
      [{ kind: 'snapshot', meta: { id: 'snapshot-2' } }],
    );
  },
);

t.test('without a usable snapshot the need is announced and asked again later', async (t) => {
  const bench = new Bench({
    entries: logOf([1, 1, 1, 1, 1, 1]).slice(5),
    snapshot: metaAt([1, 1, 1, 1, 1]),
    term: 1,
    commit: 6,
  });
  bench.log.setSnapshot(metaAt([1, 1], 'old'));
  bench.lead();
  lagAt(bench, 2);
  t.same(bench.flushOf('snapshot'), []);
  t.ok(bench.events.some(({ kind }) => kind === 'snapshotNeeded'));
  bench.log.setSnapshot(metaAt([1, 1, 1, 1, 1]));
  bench.step('b', bench.status.term, {
    kind: 'heartbeatResponse',
    round: 0,
    beat: 0,
    isLeaseGranted: false,
  });
  t.match(bench.flushOf('snapshot'), [{ to: 'b' }]);
});

t.test('a peer not heard from for long is not sent a snapshot', async (t) => {
  const bench = compactedLeader();
  bench.tick(11);
  bench.core.reportUnreachable(B);
  bench.flush();
  t.same(bench.flushOf('snapshot'), []);
  t.equal(peerOf(bench, 'b').isRecentlyActive, false);
});

t.test(
  'a snapshot at or behind the commit index changes nothing and is acknowledged',
  async (t) => {
    const bench = new Bench({ terms: [1, 1, 1, 1], term: 1, commit: 3 });
    bench.step('b', 1, { kind: 'snapshot', meta: metaAt([1, 1]) });
    t.match(bench.flush(), [{ kind: 'appendResponse', matchIndex: 3 }]);
    t.match(bench.status, { firstIndex: 1, lastIndex: 4, commit: 3 });
  },
);

t.test('a snapshot the log agrees with keeps the log and commits up to it', async (t) => {
  const bench = new Bench({ terms: [1, 1, 1, 1], term: 1, commit: 1 });
  bench.step('b', 1, { kind: 'snapshot', meta: metaAt([1, 1, 1]) });
  t.match(bench.flush(), [{ kind: 'appendResponse', matchIndex: 3 }]);
  t.match(bench.status, { firstIndex: 1, lastIndex: 4, commit: 3 });
  t.equal(
    bench.applied.every(({ kind }) => kind === 'entries'),
    true,
  );
});

t.test(
  'a snapshot with the position but not the sum of an own entry is refused with an alarm',
  async (t) => {
    const bench = new Bench({ terms: [1, 1, 1], term: 1 });
    const meta = { ...metaAt([1, 1]), sum: new Uint8Array(16).fill(7) };
    bench.step('b', 1, { kind: 'snapshot', meta });
    t.same(bench.flush(), [], 'no answer');
    t.match(bench.events.at(-1), { kind: 'contradictionSeen', contradiction: 'log-forked' });
    t.match(bench.status, { firstIndex: 1, lastIndex: 3 });
  },
);

t.test('a snapshot past a shorter or other log replaces it, in one durable step', async (t) => {
  const starts = { shorter: [1, 1], conflicting: [1, 1, 1, 1, 1, 1] };
  for (const [name, terms] of Object.entries(starts)) {
    const bench = new Bench({ terms, term: 2, commit: 2 });
    const meta = metaAt([1, 1, 2, 2, 2]);
    bench.step('b', 2, { kind: 'snapshot', meta });
    const [ready] = bench.take();
    t.match(ready!.append, { snapshot: { index: 5 }, entries: [], truncateFrom: null }, name);
    t.match(ready!.sendAfter, [{ messages: [{ kind: 'appendResponse', matchIndex: 5 }] }], name);
    t.equal(ready!.apply, null, 'the state machine waits until the log is reset durably');
    t.match(bench.status, { firstIndex: 6, lastIndex: 5, commit: 5 }, name);
    bench.flush();
    t.match(bench.applied, [{ kind: 'snapshot', meta: { index: 5 } }], name);
    t.match(bench.events.at(-1), { kind: 'snapshotRestored', index: 5 });
    bench.core.applied(at(5));
    bench.core.checkInvariants();
  }
});

t.test('entries that follow a snapshot are taken, and applied after it', async (t) => {
  const bench = new Bench({ terms: [1], term: 2, commit: 1, applied: 1 });
  const base = logOf([1, 1, 2]);
  const log = [...base, ...extend(base, [2, 2])];
  bench.step('b', 2, { kind: 'snapshot', meta: metaAt([1, 1, 2]) });
  bench.append('b', 2, log, { prevIndex: 3, commit: 5 });
  const [ready] = bench.take();
  t.match(ready!.append, { snapshot: { index: 3 }, entries: [{ index: 4 }, { index: 5 }] });
  bench.flush();
  t.match(bench.applied, [
    { kind: 'snapshot', meta: { index: 3 } },
    { kind: 'entries', entries: [{ index: 4 }, { index: 5 }] },
  ]);
});

t.test('no entry of the old log is applied once a snapshot has replaced it', async (t) => {
  const raft = { applyingSizeBytesMax: 60 };
  const bench = new Bench({ terms: [1, 1, 1, 1], term: 2, commit: 4, raft });
  bench.take();
  const before = bench.applied.splice(0);
  t.ok(before.length > 0, 'the state machine is busy with the first entries');
  const meta = metaAt([1, 1, 1, 1, 2, 2]);
  bench.step('b', 2, { kind: 'snapshot', meta });
  bench.core.applied(at(1));
  bench.flush();
  t.match(bench.applied, [{ kind: 'snapshot' }]);
});

t.test(
  'an old acknowledgement of the disk does not make the new start of the log durable',
  async (t) => {
    const bench = new Bench({ term: 2 });
    bench.append('b', 2, logOf([1, 1]), { prevIndex: 0 });
    bench.take();
    bench.step('b', 2, { kind: 'snapshot', meta: metaAt([2, 2, 2]) });
    bench.take();
    bench.sync(1);
    t.equal(bench.status.durable, 0);
    bench.take();
    t.same(bench.applied, []);
    bench.sync(2);
    t.equal(bench.status.durable, 3);
  },
);

t.test('after a crash between log reset and install, the install is asked for again', async (t) => {
  const meta = metaAt([1, 1, 1, 1, 1]);
  const bench = new Bench({ snapshot: meta, entries: [], term: 1, applied: 2 });
  bench.take();
  t.match(bench.applied, [{ kind: 'snapshot', meta: { index: 5 } }]);
});

t.test('a state machine behind the log without a snapshot is a clear error', async (t) => {
  const build = () => {
    const bench = new Bench({ snapshot: metaAt([1, 1, 1]), entries: [], term: 1, applied: 3 });
    bench.log.setApplied(at(1));
    bench.log.setSnapshot(metaAt([1, 1], 'older'));
    return bench.log.crash();
  };
  const log = build();
  t.equal(log.firstIndex(), 4);
  t.throws(() => new Bench({ log }), { code: 'LOG_COMPACTED' });
});

t.test('a follower behind the compacted log catches up, also an empty one', async (t) => {
  const cluster = new CoreCluster({ seed: 11, voters: THREE, raft: { checkQuorum: false } });
  cluster.elect('a');
  cluster.isolate('c');
  for (let i = 0; i < 20; i++) cluster.propose('a', `entry ${i}`);
  cluster.settle();
  cluster.replica('a').checkpoint(0);
  cluster.after('a');
  t.equal(cluster.replica('a').core.status().firstIndex, 22);
  cluster.heal();
  for (let tick = 0; tick < 6; tick++) {
    cluster.tick('a');
    cluster.settle();
  }
  t.equal(cluster.replica('c').appliedIndex, 21);
  t.same(cluster.replica('c').appliedSum, cluster.replica('a').appliedSum);
  t.ok(cluster.replica('c').events.some(({ kind }) => kind === 'snapshotRestored'));
  const index = cluster.propose('a', 'after');
  cluster.settle();
  t.equal(cluster.replica('c').appliedIndex, index);
});

// Membership changes: when they may be proposed, when they count, what takes them back.

import type { ConfState } from '@holdfast/base';
import { encodeConf, nodeId } from '@holdfast/base';
import t from 'tap';
import { confOf } from '../src/testing/core-cluster.ts';
import { InMemoryLog } from '../src/testing/memory-log.ts';
import { testHash } from '../src/testing/test-hash.ts';
import {
  addLearner,
  addVoter,
  ask,
  demote,
  eventsOf,
  groupOf,
  pass,
  promote,
  remove,
  statusOf,
  THREE,
  voters,
} from './membership-support.ts';
import { at, Bench, extend, logOf, type MessageOf, termOf } from './support.ts';

// When a change may be proposed.

t.test('a leader changes nothing before it has committed an entry of its own term', async (t) => {
  const bench = new Bench({ terms: [1], term: 1 });
  bench.lead();
  const change = { steps: [addVoter('d')] };
  t.match(bench.core.proposeConf(change), { ok: false, drop: 'conf-pending', reason: /is new/ });
  for (const peer of ['b', 'c']) bench.ack(peer, 2);
  bench.flush();
  t.match(bench.core.proposeConf(change), { ok: true, index: 3, term: 2 });
});

t.test('one change at a time: the next one waits until the last one is committed', async (t) => {
  const bench = new Bench();
  bench.lead();
  bench.ack('b', 1);
  bench.ack('c', 1);
  bench.flush();
  t.equal(bench.core.proposeConf({ steps: [addLearner('d')] }).ok, true);
  const second = { steps: [addLearner('e')] };
  t.match(bench.core.proposeConf(second), { drop: 'conf-pending', reason: /not committed/ });
  bench.flush();
  t.match(bench.core.proposeConf(second), { drop: 'conf-pending' }, 'one disk is no quorum');
  bench.ack('b', 2);
  t.equal(bench.core.proposeConf(second).ok, true);
});

t.test(
  'a new leader treats an inherited change as pending until it has committed it',
  async (t) => {
    const base = logOf([1]);
    const conf = { ...confOf([...THREE, 'd']) };
    const data = encodeConf(conf);
    const sum = testHash(base[0]!.sum, termOf(1), at(2), 'conf', data);
    const entries = [...base, { index: at(2), term: termOf(1), type: 'conf' as const, data, sum }];
    const bench = new Bench({ entries, term: 1, commit: 1 });
    t.same(bench.status.conf.voters, ['a', 'b', 'c', 'd'], 'read from the log at the start');
    t.same(bench.take()[0]?.conf, { conf, confIndex: 2 }, 'and told to the host');
    bench.lead();
    t.match(bench.core.proposeConf({ steps: [addLearner('e')] }), { drop: 'conf-pending' });
    for (const peer of ['b', 'c']) bench.ack(peer, 3);
    bench.flush();
    t.match(bench.core.proposeConf({ steps: [addLearner('e')] }), { ok: true });
  },
);

t.test('only a leader changes members, and says who leads', async (t) => {
  const cluster = groupOf(THREE);
  t.match(cluster.replica('b').core.proposeConf({ steps: [remove('c')] }), {
    drop: 'not-leader',
    leader: 'a',
  });
  const alone = new Bench();
  t.match(alone.core.proposeConf({ steps: [remove('c')] }), { drop: 'no-leader', leader: null });
});

t.test('a change that names the wrong one is refused with a reason', async (t) => {
  const cluster = groupOf(THREE);
  const { core } = cluster.replica('a');
  t.match(core.proposeConf({ steps: [remove('x')] }), { drop: 'conf-invalid', reason: /x is not/ });
  t.match(core.proposeConf({ steps: [] }), { drop: 'conf-invalid', reason: /nothing to leave/ });
  const itself = { steps: [remove('a'), addLearner('a', { life: 2 })] };
  t.match(core.proposeConf(itself), { drop: 'conf-invalid', reason: /a leads the group/ });
  t.equal(statusOf(cluster, 'a').confIndex, 0, 'nothing happened');
});

t.test('a change is refused when the voters that answer could not decide any more', async (t) => {
  const cluster = groupOf(THREE);
  pass(cluster, 4);
  cluster.crash('c');
  pass(cluster, 15);
  t.equal(ask(cluster, 'a', remove('b')), 'would-lose-quorum');
  t.equal(ask(cluster, 'a', demote('b')), 'would-lose-quorum');
  t.equal(ask(cluster, 'a', addVoter('d')), 'would-lose-quorum', 'a newcomer has not answered yet');
  t.equal(ask(cluster, 'a', addVoter('d'), remove('b')), 'would-lose-quorum', 'jointly neither');
  t.equal(ask(cluster, 'a', addLearner('d')), 'accepted', 'a learner is needed for nothing');
  cluster.settle();
  t.equal(ask(cluster, 'a', remove('c')), 'accepted', 'the dead one may go');
});

t.test('a single node does not tie itself to a voter that was never heard from', async (t) => {
  const cluster = groupOf(['a']);
  t.equal(ask(cluster, 'a', addVoter('b')), 'would-lose-quorum');
  t.equal(ask(cluster, 'a', remove('a')), 'conf-invalid');
});

// When a change counts.

t.test(
  'a configuration counts from when it is appended, on the leader and on followers',
  async (t) => {
    const cluster = groupOf(THREE);
    cluster.join('d');
    const index = cluster.change('a', addVoter('d'));
    t.equal(index, 2);
    t.same(statusOf(cluster, 'a').conf.voters, ['a', 'b', 'c', 'd']);
    t.equal(statusOf(cluster, 'a').isConfPending, true);
    cluster.deliverAll(({ to }) => to === 'b');
    t.same(statusOf(cluster, 'b').conf.voters, ['a', 'b', 'c', 'd'], 'before it is even durable');
    t.match(statusOf(cluster, 'b'), { commit: 1, confIndex: 2, isConfPending: true });
    cluster.settle();
    pass(cluster, 3);
    for (const id of [...THREE, 'd'])
      t.match(statusOf(cluster, id), { confIndex: 2, isConfPending: false, commit: 2 });
  },
);

t.test('the entry of a change needs the quorum of the configuration it makes', async (t) => {
  const bench = new Bench();
  bench.lead();
  for (const peer of ['b', 'c']) bench.ack(peer, 1);
  bench.flush();
  bench.core.proposeConf({ steps: [addVoter('d')] });
  bench.flush();
  bench.ack('b', 2);
  t.equal(bench.status.commit, 1, 'two of four');
  bench.ack('d', 2);
  t.equal(bench.status.commit, 2, 'three of four');
});

t.test('a truncated configuration is taken back, and the host is told', async (t) => {
  // a appends a change that reaches nobody, is cut off, and meets the next leader's log.
  const cluster = groupOf(THREE);
  cluster.settle();
  cluster.isolate('a');
  cluster.change('a', addLearner('d', { replaces: null }));
  cluster.settle();
  t.match(statusOf(cluster, 'a'), { confIndex: 2, isConfPending: true });
  cluster.elect('b');
  cluster.propose('b', 'x');
  cluster.settle();
  cluster.heal();
  pass(cluster, 5);
  t.match(statusOf(cluster, 'a'), { role: 'follower', confIndex: 0 });
  t.same(statusOf(cluster, 'a').conf, cluster.conf);
  t.match(eventsOf(cluster, 'a', 'confChanged'), [{ cause: 'appended' }, { cause: 'reverted' }]);
});

t.test('Ready names the configuration exactly when another one is in force', async (t) => {
  const bench = new Bench({ term: 1 });
  const leader = { ...confOf([...THREE, 'd']) };
  const data = encodeConf(leader);
  const log = logOf([1]);
  const sum = testHash(log[0]!.sum, termOf(1), at(2), 'conf', data);
  const withConf = [...log, { index: at(2), term: termOf(1), type: 'conf' as const, data, sum }];
  bench.append('b', 1, log, { prevIndex: 0 });
  t.equal(bench.take()[0]!.conf, null);
  bench.append('b', 1, withConf, { prevIndex: 1 });
  t.same(bench.take()[0]!.conf, { conf: leader, confIndex: 2 });
  bench.append('b', 1, withConf, { prevIndex: 1 });
  t.ok(
    bench.take().every(({ conf }) => conf === null),
    'told once',
  );
  bench.append('c', 2, [...log, ...extend(log, [2])], { prevIndex: 1 });
  t.same(bench.take()[0]!.conf, { conf: confOf(THREE), confIndex: 0 }, 'taken back');
  t.same(bench.core.confAt(at(2)).confIndex, 0);
});

t.test('an unreadable configuration of an intact entry is refused, not stored', async (t) => {
  const bench = new Bench({ term: 1 });
  for (const data of [new Uint8Array([9]), encodeConf(confOf([])), new Uint8Array(0)]) {
    const sum = testHash(new Uint8Array(16), termOf(1), at(1), 'conf', data);
    const entries = [{ index: at(1), term: termOf(1), type: 'conf' as const, data, sum }];
    bench.append('b', 1, entries, { prevIndex: 0 });
    bench.flush();
    t.match(bench.events.at(-1), { kind: 'messageRefused', reason: 'conf-malformed' });
  }
  t.equal(bench.status.lastIndex, 0);
});

t.test('a restart before the change is applied keeps it; confAt knows both', async (t) => {
  const cluster = groupOf(THREE);
  cluster.change('a', addLearner('d'));
  cluster.deliverAll(({ to }) => to === 'b');
  cluster.sync('b');
  cluster.crash('b');
  cluster.restart('b');
  t.match(statusOf(cluster, 'b'), { confIndex: 2, applied: 0, isConfPending: true });
  const { core } = cluster.replica('b');
  t.equal(core.confAt(at(1)).confIndex, 0);
  t.equal(core.confAt(at(2)).confIndex, 2);
  t.same(core.confAt(at(2)).conf.learners, ['d']);
});

t.test(
  'configurations are found in a long log piece by piece, never the whole in memory',
  async (t) => {
    const entryCount = 4_000;
    const confIndexes = [2, 1_500, 3_999];
    const confs = confIndexes.map((_, i) => confOf(THREE, ['d', 'e', 'f'].slice(0, i + 1)));
    let sum: Uint8Array = new Uint8Array(16);
    const entries = Array.from({ length: entryCount }, (_, i) => {
      const position = confIndexes.indexOf(i + 1);
      const type = position === -1 ? ('normal' as const) : ('conf' as const);
      const data = position === -1 ? new Uint8Array(2_000) : encodeConf(confs[position]!);
      sum = testHash(sum, termOf(1), at(i + 1), type, data);
      return { index: at(i + 1), term: termOf(1), type, data, sum };
    });
    const log = new InMemoryLog({ conf: confOf(THREE), entries, applied: at(2_000) });
    const asked: number[] = [];
    const read = log.entries.bind(log);
    log.entries = (low, high, sizeBytesMax) => {
      asked.push(sizeBytesMax);
      return read(low, high, sizeBytesMax);
    };
    const bench = new Bench({ log });
    t.same(bench.status.conf, confs[2]);
    t.equal(
      bench.core.confAt(at(2_000)).confIndex,
      1_500,
      'a snapshot of what is applied needs it',
    );
    t.ok(asked.length >= 8, 'eight megabytes are not read at once');
    t.ok(Math.max(...asked) <= 1024 * 1024);
    t.throws(() => bench.core.confAt(at(1)), { name: 'InvariantViolation' }, 'nobody can ask');
  },
);

t.test(
  'the host is told of a configuration that the log held and the reader did not',
  async (t) => {
    // The checkpoint is from before the change, the state machine has applied it since.
    const conf = confOf([...THREE, 'd']);
    const data = encodeConf(conf);
    const sum = testHash(new Uint8Array(16), termOf(1), at(1), 'conf', data);
    const entries = [{ index: at(1), term: termOf(1), type: 'conf' as const, data, sum }];
    const bench = new Bench({ entries, term: 1, commit: 1, applied: 1 });
    t.same(bench.take()[0]?.conf, { conf, confIndex: 1 });
  },
);

// Snapshots.

t.test('a snapshot carries the configuration of its index, not a newer one', async (t) => {
  const cluster = groupOf(THREE);
  cluster.propose('a', 'x');
  cluster.settle();
  cluster.change('a', addLearner('d'));
  cluster.sync('a');
  cluster.replica('a').checkpoint(0);
  t.match(cluster.replica('a').log.snapshotMeta(), { index: 2, confIndex: 0 });
  cluster.settle();
  cluster.replica('a').checkpoint(0);
  const meta = cluster.replica('a').log.snapshotMeta();
  t.match(meta, { index: 3, confIndex: 3, conf: { learners: ['d'] } });
});

t.test('a snapshot behind, at or after a change leaves the right configuration', async (t) => {
  // The log of the follower holds: 1 no-op, 2 change, 3 normal, uncommitted from 2 on.
  const changed = confOf(THREE, ['d']);
  const data = encodeConf(changed);
  const [first] = logOf([1]);
  const sum = testHash(first!.sum, termOf(1), at(2), 'conf', data);
  const conf = { index: at(2), term: termOf(1), type: 'conf' as const, data, sum };
  const log = [first!, conf, ...extend([first!, conf], [1])];
  const foreign = extend(log.slice(0, 2), [2, 2, 2]);
  const cases = [
    // The log agrees with these: nothing is replaced, an old configuration overrides nothing.
    { meta: { ...log[0]!, conf: confOf(THREE), confIndex: at(0) }, learners: ['d'], confIndex: 2 },
    { meta: { ...log[1]!, conf: changed, confIndex: at(2) }, learners: ['d'], confIndex: 2 },
    // The log does not reach this one: the configuration comes with it.
    {
      meta: { ...foreign.at(-1)!, conf: confOf(THREE, ['e']), confIndex: at(4) },
      learners: ['e'],
      confIndex: 4,
    },
  ];
  for (const { meta, learners, confIndex } of cases) {
    const bench = new Bench({ entries: log, term: 2, commit: 0 });
    bench.step('b', 2, { kind: 'snapshot', meta: { ...meta, id: 's' } });
    bench.take();
    t.match(bench.status, { confIndex, conf: { learners } });
  }
});

t.test('until a snapshot is applied, the configuration before it is still known', async (t) => {
  const bench = new Bench({ terms: [1, 1], term: 1, commit: 2, applied: 2 });
  const meta = { ...logOf([1, 1, 1, 1, 1]).at(-1)!, conf: confOf(['a', 'd']), confIndex: at(4) };
  bench.step('b', 1, { kind: 'snapshot', meta: { ...meta, id: 's' } });
  bench.take();
  t.equal(bench.core.confAt(at(2)).confIndex, 0);
  t.equal(bench.core.confAt(at(5)).confIndex, 4);
  t.same(bench.status.conf.voters, ['a', 'd']);
});

t.test('a snapshot that lacks a committed configuration is refused', async (t) => {
  const data = encodeConf(confOf([...THREE, 'd']));
  const sum = testHash(new Uint8Array(16), termOf(1), at(1), 'conf', data);
  const entries = [{ index: at(1), term: termOf(1), type: 'conf' as const, data, sum }];
  const bench = new Bench({ entries, term: 1, commit: 1 });
  const meta = { ...logOf([1, 1, 1]).at(-1)!, conf: confOf(THREE), confIndex: at(0) };
  bench.step('b', 1, { kind: 'snapshot', meta: { ...meta, id: 's' } });
  bench.take();
  t.match(bench.status, { confIndex: 1, lastIndex: 1 });
  t.match(bench.events.at(-1), { kind: 'contradictionSeen' });
});

t.test('a learner far behind joins by a snapshot and is promoted all the same', async (t) => {
  const cluster = groupOf(THREE);
  for (let i = 0; i < 30; i++) cluster.propose('a', `${i}`);
  cluster.settle();
  cluster.replica('a').checkpoint(2);
  cluster.join('d');
  cluster.change('a', addLearner('d', { replaces: null }));
  cluster.settle();
  for (let i = 0; i < 20; i++) {
    pass(cluster, 1);
    const { core, log } = cluster.replica('a');
    const peer = core.status().peers.find(({ id }) => id === 'd');
    if (peer?.state === 'snapshot') core.reportSnapshot(nodeId('d'), log.snapshotMeta()!.id, true);
  }
  t.ok(eventsOf(cluster, 'd', 'snapshotRestored').length > 0);
  t.same(cluster.checker.conf.conf.voters, ['a', 'b', 'c', 'd']);
});

// Reads across a change.

t.test('reads under way when a voter is removed are answered in order and not early', async (t) => {
  const bench = new Bench({ voters: ['a', 'b', 'c', 'd', 'e'] });
  bench.lead();
  for (const peer of ['b', 'c', 'd', 'e']) bench.ack(peer, 1);
  bench.flush();
  const beat = (from: string, round: number): void => {
    bench.step(from, 1, { kind: 'heartbeatResponse', round, beat: 0, isLeaseGranted: false });
    bench.flush();
  };
  bench.core.readIndex();
  bench.flush();
  beat('b', 1);
  bench.core.readIndex();
  bench.flush();
  t.same(bench.reads, [], 'two of five');
  // The one that confirmed is removed: now nobody of a, c, d, e but a has.
  bench.core.proposeConf({ steps: [remove('b')] });
  bench.flush();
  beat('c', 1);
  t.same(bench.reads, [], 'two of four');
  beat('d', 1);
  t.match(bench.reads, [{ requestId: 1, outcome: { kind: 'ready' } }]);
  for (const peer of ['c', 'd']) beat(peer, 2);
  t.match(
    bench.reads.map(({ requestId }) => requestId),
    [1, 2],
  );
});

t.test('a leader that lost touch with the new voters steps down', async (t) => {
  const bench = new Bench({ voters: THREE, learners: ['d'], raft: { checkQuorum: true } });
  bench.core.campaign();
  for (const request of bench.flushOf('vote')) bench.grant(request);
  for (const peer of ['b', 'c', 'd']) bench.ack(peer, 1);
  bench.flush();
  bench.core.proposeConf({ steps: [promote('d'), remove('b')] });
  bench.flush();
  t.equal(voters(bench.status.conf), 'acd|abc');
  for (let i = 0; i < 12; i++) {
    bench.tick(1);
    bench.step('b', 1, { kind: 'heartbeatResponse', round: 0, beat: 0, isLeaseGranted: false });
    bench.flush();
  }
  t.match(bench.status, { role: 'follower' }, 'a and b are a majority of the old voters only');
});

t.test('a campaign goes by a change that is appended and not applied yet', async (t) => {
  const conf = confOf([...THREE, 'd']);
  const data = encodeConf(conf);
  const sum = testHash(new Uint8Array(16), termOf(1), at(1), 'conf', data);
  const entries = [{ index: at(1), term: termOf(1), type: 'conf' as const, data, sum }];
  const bench = new Bench({ entries, term: 1 });
  bench.core.campaign();
  const requests = bench.flushOf('vote');
  t.same(
    requests.map(({ to }) => to),
    ['b', 'c', 'd'],
  );
  bench.grant(requests[0]!);
  t.equal(bench.status.role, 'candidate', 'two of four');
  bench.grant(requests[2]!);
  t.equal(bench.status.role, 'leader');
});

t.test('a candidate in a joint configuration asks both sides and needs both', async (t) => {
  const joint: ConfState = {
    ...confOf(['a', 'b', 'c', 'd', 'e']),
    voters: [nodeId('a'), nodeId('d'), nodeId('e')],
    votersOutgoing: [nodeId('a'), nodeId('b'), nodeId('c')],
  };
  const bench = new Bench({ log: new InMemoryLog({ conf: joint }) });
  bench.core.campaign();
  const requests = bench.flushOf('vote');
  t.same(
    requests.map(({ to }) => to),
    ['b', 'c', 'd', 'e'],
  );
  const grant = (to: string): void =>
    bench.grant(requests.find((one) => one.to === to) as MessageOf<'vote'>);
  grant('d');
  grant('e');
  t.equal(bench.status.role, 'candidate', 'all new voters and one old');
  grant('b');
  t.equal(bench.status.role, 'leader');
});

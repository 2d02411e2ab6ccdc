// Membership changes in a whole group: when they take effect, what takes them back, who leads on.
import type { ConfState } from '@holdfast/base';
import { encodeConf, nodeId } from '@holdfast/base';
import t from 'tap';
import { type ConfChangeStep, isJoint } from '../src/membership/change.ts';
import type { RaftMessage } from '../src/messages.ts';
import type { ProposeConfOutcome, RaftEvent } from '../src/ready.ts';
import { CoreCluster, confOf, memberNamed } from '../src/testing/core-cluster.ts';
import { InMemoryLog } from '../src/testing/memory-log.ts';
import { testHash } from '../src/testing/test-hash.ts';
import { addLearner, addVoter, demote, promote, remove } from './membership-support.ts';
import { at, Bench, extend, logOf, type MessageOf, termOf } from './support.ts';

const THREE = ['a', 'b', 'c'];

function groupOf(voters: readonly string[], learners: readonly string[] = []): CoreCluster {
  const cluster = new CoreCluster({ seed: 7, voters, learners });
  cluster.elect(voters[0]!);
  cluster.settle();
  return cluster;
}

const statusOf = (cluster: CoreCluster, id: string) => cluster.replica(id).core.status();

/** Ticks everybody and lets everything arrive, `count` times. */
function pass(cluster: CoreCluster, count: number): void {
  for (let i = 0; i < count; i++) {
    for (const id of cluster.up) cluster.tick(id);
    cluster.settle();
  }
}

/** Ticks until somebody leads; returns who and after how many ticks. */
function untilLed(
  cluster: CoreCluster,
  by?: string,
): { readonly id: string; readonly ticks: number } {
  for (let ticks = 1; ticks <= 200; ticks++) {
    pass(cluster, 1);
    const leader = cluster.leader();
    if (leader !== null && (by === undefined || leader.id === by)) return { id: leader.id, ticks };
  }
  throw new Error('nobody leads');
}

const dropOf = (outcome: ProposeConfOutcome) => (outcome.ok ? 'accepted' : outcome.drop);

const ask = (cluster: CoreCluster, id: string, ...steps: readonly ConfChangeStep[]) =>
  dropOf(cluster.replica(id).core.proposeConf({ steps }));

const voters = (conf: ConfState): string =>
  isJoint(conf) ? `${conf.voters.join('')}|${conf.votersOutgoing.join('')}` : conf.voters.join('');

const confEntries = (cluster: CoreCluster, id: string) => {
  const { log } = cluster.replica(id);
  const entries = log.entries(log.firstIndex(), at(log.lastIndex() + 1), 1_000_000);
  return entries === 'compacted' ? [] : entries.filter(({ type }) => type === 'conf');
};

const eventsOf = <Kind extends RaftEvent['kind']>(cluster: CoreCluster, id: string, kind: Kind) =>
  cluster
    .replica(id)
    .events.filter((event): event is RaftEvent & { kind: Kind } => event.kind === kind);

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
    // majority of the configuration it knows, and a's longer log keeps b from winning. Only a can go
    // on, though it has no vote in what it holds (thesis section 4.2.2).
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

t.test('two nodes, one of them lost: the leader may go on alone, a follower may not', async (t) => {
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

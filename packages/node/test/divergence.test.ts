/**
 * Goal: a replica whose state differs from the majority's is noticed, stops serving and comes back
 * with the state of the majority; without a majority nothing is given up.
 * Method: the comparison by itself; then whole nodes, one of whose lanes tells another digest.
 */
import { nodeId } from '@holdfast/base';
import t from 'tap';
import { DigestVote } from '../src/heal/digest-vote.ts';
import type { SimCluster } from '../src/testing/sim-cluster.ts';
import { clusterWithSegments, expectHealed, upsertBatch } from './support/healing.ts';

const [n1, n2, n3] = [nodeId('n1'), nodeId('n2'), nodeId('n3')];
const VOTERS = [n1, n2, n3];
const shard = (digest: string, number = 0) => [{ uid: 1, shard: number, digest }];

t.test('a strict majority of all voters decides, whoever else has reported', async (t) => {
  const vote = new DigestVote(n1);
  vote.add(n1, 5, shard('a'));
  vote.add(n2, 5, shard('b'));
  t.same(vote.verdict(5, VOTERS), { kind: 'pending' }, 'one against one is no majority');
  vote.add(nodeId('learner'), 5, shard('b'));
  t.same(vote.verdict(5, VOTERS), { kind: 'pending' }, 'a learner does not count');
  vote.add(n3, 5, shard('b'));
  t.same(vote.verdict(5, VOTERS), {
    kind: 'diverged',
    shards: [{ key: '1/0', own: 'a', majority: 'b' }],
  });
});

t.test('a majority of those who have reported is none of all voters', async (t) => {
  const five = [...VOTERS, nodeId('n4'), nodeId('n5')];
  const vote = new DigestVote(n1);
  vote.add(n1, 5, shard('a'));
  vote.add(n2, 5, shard('b'));
  vote.add(n3, 5, shard('b'));
  t.same(vote.verdict(5, five), { kind: 'pending' }, 'two of five');
  vote.add(nodeId('n4'), 5, shard('b'));
  t.match(vote.verdict(5, five), { kind: 'diverged' }, 'three of five');
});

t.test('who is with the majority learns who is not', async (t) => {
  const vote = new DigestVote(n1);
  vote.add(n1, 5, shard('a'));
  vote.add(n2, 5, shard('a'));
  t.same(vote.verdict(5, VOTERS), { kind: 'pending' });
  vote.add(n3, 5, shard('c'));
  t.same(vote.verdict(5, VOTERS), { kind: 'othersDiverged', nodes: [n3] });
});

t.test('three different digests are an alarm and nobody is right', async (t) => {
  const vote = new DigestVote(n1);
  for (const [i, voter] of VOTERS.entries()) vote.add(voter, 5, shard(`d${i}`));
  t.same(vote.verdict(5, VOTERS), { kind: 'noMajority', shards: ['1/0'] });
});

t.test('of two voters neither can be in the minority', async (t) => {
  const vote = new DigestVote(n1);
  vote.add(n1, 5, shard('a'));
  vote.add(n2, 5, shard('b'));
  t.same(vote.verdict(5, [n1, n2]), { kind: 'noMajority', shards: ['1/0'] });
});

t.test('a shard that is missing here, or only here, is a difference too', async (t) => {
  const vote = new DigestVote(n1);
  vote.add(n1, 5, []);
  vote.add(n2, 5, shard('a'));
  vote.add(n3, 5, shard('a'));
  t.match(vote.verdict(5, VOTERS), { kind: 'diverged', shards: [{ own: '', majority: 'a' }] });
});

t.test('digests of different entries are never compared', async (t) => {
  const vote = new DigestVote(n1);
  vote.add(n1, 5, shard('a'));
  vote.add(n2, 6, shard('b'));
  vote.add(n3, 6, shard('b'));
  t.same(vote.verdict(5, VOTERS), { kind: 'pending' });
  t.same(vote.verdict(6, VOTERS), { kind: 'pending' }, 'without an own report there is no verdict');
});

async function verify(cluster: SimCluster): Promise<void> {
  const leader = await cluster.leader();
  await cluster.scheduler.resolve(leader.node.replica.verify(leader.nowMs + 5_000));
  await cluster.scheduler.advance(3_000);
}

t.test('equal replicas go on after a comparison', async (t) => {
  const cluster = await clusterWithSegments(2, 1);
  await verify(cluster);
  t.ok(cluster.nodes.every(({ isRunning }) => isRunning));
  for (const { node } of cluster.nodes) t.same(node.care.recoveries.events(), []);
});

for (const who of ['follower', 'leader'] as const) {
  t.test(
    `a ${who} that differs from the majority stops and comes back with its state`,
    async (t) => {
      const cluster = await clusterWithSegments(2, 2);
      const leader = await cluster.leader();
      const odd = who === 'leader' ? leader : cluster.nodes.find((one) => one !== leader)!;
      const { incarnation } = odd;
      odd.tellOtherDigests();
      await verify(cluster);
      t.equal(odd.failure?.code, 'NEW_LIFE_NEEDED', 'it serves nobody any more');
      const { transfersCompleted } = odd.node.replica.activity().raft;
      t.equal(transfersCompleted, who === 'leader' ? 1 : 0, 'it gave the leadership away before');
      t.equal(cluster.nodes.filter(({ isRunning }) => isRunning).length, 2, 'the others go on');
      await upsertBatch(cluster, 2);
      odd.kill();
      await odd.start();
      t.not(odd.incarnation, incarnation, 'it is another life');
      await cluster.scheduler.advance(10_000);
      await expectHealed(t, cluster, 120);
      await verify(cluster);
      t.ok(
        cluster.nodes.every(({ isRunning }) => isRunning),
        'and all are equal now',
      );
    },
  );
}

t.test('without a majority nobody gives anything up', async (t) => {
  const cluster = await clusterWithSegments(2, 3);
  const lines: string[] = [];
  cluster.observer = { onLog: (_node, _fields, message) => void lines.push(message) };
  cluster.node(0).tellOtherDigests();
  const { host } = cluster.node(1);
  host.digests = async () => [];
  await verify(cluster);
  t.ok(cluster.nodes.every(({ isRunning }) => isRunning));
  t.ok(lines.some((line) => line.includes('no digest has a majority')));
});

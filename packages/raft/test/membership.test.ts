// Membership changes in a whole group: when they take effect, what takes them back, who leads on.
import t from 'tap';
import type { ConfChangeStep } from '../src/membership/change.ts';
import { CoreCluster } from '../src/testing/core-cluster.ts';

const remove = (id: string) => ({ kind: 'remove', nodeId: id as never }) satisfies ConfChangeStep;

t.test('a learner with a promotion catches up and becomes a voter by itself', async (t) => {
  const cluster = new CoreCluster({ seed: 1, voters: ['a', 'b', 'c'] });
  cluster.elect('a');
  for (let i = 0; i < 20; i++) cluster.propose('a', `${i}`);
  const member = cluster.join('d');
  cluster.change('a', { kind: 'addLearner', member, promotion: { replaces: null } });
  cluster.settle();
  t.same(cluster.replica('d').core.status().conf.learners, ['d']);
  for (let i = 0; i < 10; i++) {
    for (const id of cluster.ids) cluster.tick(id);
    cluster.settle();
  }
  t.same(cluster.checker.conf.conf.voters, ['a', 'b', 'c', 'd']);
});

t.test('a leader that is removed leads until that is committed, then hands over', async (t) => {
  const cluster = new CoreCluster({ seed: 1, voters: ['a', 'b', 'c'] });
  cluster.elect('a');
  cluster.change('a', remove('a'));
  t.equal(cluster.replica('a').core.status().role, 'leader');
  cluster.settle();
  t.equal(cluster.replica('a').core.status().role, 'follower');
  t.not(cluster.leader(), null);
  t.same(cluster.checker.conf.conf.voters, ['b', 'c']);
});

// What is noted of nodes while a run goes on, and what is not because nobody knows whose it is.
import { spawnSync } from 'node:child_process';
import t from 'tap';
import { judgeResources } from '../src/checker/resources.ts';
import type { Cluster, NodeStatus } from '../src/cluster/cluster.ts';
import { Sampler } from '../src/sampler.ts';

const STATUS: NodeStatus = {
  ...{ incarnation: 'a', role: 'leader', term: 3, leader: 'n1', commitIndex: 9, appliedIndex: 8 },
  digest: { nodeName: 'n1', appliedIndex: 7, digest: 'd' },
};

/** A process that has certainly ended. */
const goneProcess = (): number => spawnSync(process.execPath, ['--version']).pid;

interface FakeNode {
  readonly pids: readonly (number | undefined)[];
  readonly status: NodeStatus | null;
}

/** Each question for the process of a node takes the next of its ids; the last one stays. */
function clusterOf(nodes: Readonly<Record<string, FakeNode>>): Cluster {
  const asked = new Map<string, number>();
  const fake: Partial<Cluster> = {
    nodeNames: Object.keys(nodes),
    pidOf: (name) => {
      const turn = asked.get(name) ?? 0;
      asked.set(name, turn + 1);
      const pids = nodes[name]?.pids ?? [];
      return pids[Math.min(turn, pids.length - 1)];
    },
    status: async (name) => nodes[name]?.status ?? null,
    metric: async () => 0.25,
  };
  return fake as Cluster;
}

t.test('a node is noted with what it says and what it costs', async (t) => {
  const cluster = clusterOf({ n1: { pids: [process.pid], status: STATUS } });
  const sampler = new Sampler(cluster, () => 1_234);
  sampler.start();
  const { series, statuses } = await sampler.stop();
  t.match(statuses, [{ nodeName: 'n1', timeMs: 1_234, life: 1, term: 3, digestIndex: 7 }]);
  t.same(series.map(({ name }) => name).sort(), ['descriptors', 'event loop lag', 'rss']);
  for (const { owner, points } of series) {
    t.equal(owner, 'n1');
    t.equal(points.length, 1);
    t.ok((points[0]?.[1] ?? 0) > 0);
  }
  t.match(series, [{}, {}, { name: 'event loop lag', unit: 'ms', points: [[1_234, 250]] }]);
  t.match(judgeResources(series), { kind: 'unknown', reason: /only 1 samples/ });
});

t.test('a node that is down, recovers, ended or was replaced gives no status', async (t) => {
  const cluster = clusterOf({
    down: { pids: [undefined], status: STATUS },
    recovering: { pids: [process.pid], status: null },
    replaced: { pids: [process.pid, process.pid + 1], status: STATUS },
    ended: { pids: [goneProcess()], status: null },
  });
  const sampler = new Sampler(cluster, () => 0);
  sampler.start();
  const { series, statuses } = await sampler.stop();
  t.same(statuses, []);
  const owners = new Set(series.filter(({ name }) => name === 'rss').map(({ owner }) => owner));
  t.same([...owners], ['recovering'], 'only that process is there all the time');
});

t.test('a node that answers in a foreign shape ends the run', async (t) => {
  const cluster = clusterOf({ n1: { pids: [process.pid], status: STATUS } });
  cluster.status = async () => {
    throw new Error("field 'term' of the answer is null, not a number");
  };
  const sampler = new Sampler(cluster, () => 0);
  sampler.start();
  await t.rejects(sampler.stop(), /field 'term'/);
});

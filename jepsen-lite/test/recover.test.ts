// Goal: what an operator does after disks or a whole quorum are gone, on real processes: an emptied
// node comes back by itself; two of three lost for good are survived with what the third holds.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { HoldfastClient } from '@holdfast/client';
import t from 'tap';
import { expectEqualDigests } from '../src/cluster/agreement.ts';
import { ProcessCluster } from '../src/cluster/process-cluster.ts';
import { serverEntryPath } from '../src/cluster/server-command.ts';
import { waitFor } from '../src/wait.ts';

// Real processes take as long as the machine lets them: no time limit of the test runner.
t.setTimeout(0);

const POINT_COUNT = 30;

async function clusterWithPoints(name: string): Promise<ProcessCluster> {
  const cluster = await ProcessCluster.launch({ name });
  const client = await HoldfastClient.connect({ nodes: cluster.addresses });
  await client.createCollection({ name: 'docs', dimension: 2, metric: 'l2' });
  const docs = client.collection('docs');
  for (let id = 1; id <= POINT_COUNT; id++) await docs.upsert({ id, vector: [id, 1] });
  await client.close();
  await expectEqualDigests(cluster);
  return cluster;
}

async function countPoints(addresses: readonly string[]): Promise<number> {
  const client = await HoldfastClient.connect({ nodes: addresses, followsMembers: false });
  const ids = Array.from({ length: POINT_COUNT }, (_, i) => i + 1);
  const points = await client.collection('docs').get(ids);
  await client.close();
  return points.filter((point) => point !== null).length;
}

/** Runs the command line and answers what it printed; `code` is its exit code. */
function holdfast(...argv: readonly string[]): { readonly code: number; readonly out: string } {
  try {
    const out = execFileSync(process.execPath, [serverEntryPath(), ...argv], { encoding: 'utf8' });
    return { code: 0, out };
  } catch (thrown) {
    const { status, stdout, stderr } = thrown as { status: number; stdout: string; stderr: string };
    return { code: status, out: `${stdout}${stderr}` };
  }
}

t.test('a node whose data directory was emptied joins again and gets its vote back', async (t) => {
  const cluster = await clusterWithPoints('test-wiped');
  t.teardown(() => cluster.stop());
  const leader = (await cluster.leader())?.nodeName;
  const wiped = cluster.nodeNames.find((nodeName) => nodeName !== leader)!;
  const other = cluster.nodeNames.find((each) => each !== leader && each !== wiped)!;
  await cluster.signal(wiped, 'SIGKILL');
  const secret = join(cluster.dataDirectoryOf(other), 'cluster.secret');
  rmSync(cluster.dataDirectoryOf(wiped), { recursive: true });
  cluster.configure(wiped, { clusterSecretFile: secret });
  await cluster.start(wiped);
  await cluster.waitUntilReady();
  await waitFor({ what: 'the new life to have a vote', timeoutMs: 60_000 }, () => {
    const { out } = holdfast('member', 'list', '--nodes', cluster.addresses.join(','));
    const line = out.split('\n').find((each) => each.startsWith(wiped));
    return line !== undefined && / voter /.test(line) ? true : null;
  });
  await expectEqualDigests(cluster);
  t.equal(await countPoints(cluster.addresses), POINT_COUNT);
});

t.test('two of three nodes lost for good: the third goes on, and they stay dead', async (t) => {
  const cluster = await clusterWithPoints('test-quorum-loss');
  t.teardown(() => cluster.stop());
  const directory = cluster.dataDirectoryOf('n1');
  const command = ['cluster', 'recover', '--survivor', directory, '--dead', 'n2,n3'];
  t.match(holdfast(...command, '--plan').out, /DATA_DIR_LOCKED/, 'not while the node runs');
  await cluster.signal('n1', 'SIGTERM');
  t.match(holdfast(...command, '--plan').out, /n2, n3 was declared dead and answers/);
  await cluster.killAll();
  t.match(
    holdfast('cluster', 'recover', '--survivor', directory, '--dead', 'n2', '--plan').out,
    /RECOVERY_REFUSED.*n3: neither given as survivor nor declared dead/,
  );
  const plan = holdfast(...command, '--plan');
  t.equal(plan.code, 0, plan.out);
  t.match(plan.out, /keep: +n1, whose log is the most up to date; through index \d+/);
  t.match(plan.out, /may be lost: writes acknowledged after index \d+ that only n2, n3 held/);
  const dryRun = holdfast(...command, '--dry-run');
  t.match(
    dryRun.out,
    /log entries after the checkpoint were read and verified; nothing was written/,
  );
  t.notOk(existsSync(join(directory, 'recovery-2.json')));
  const done = holdfast(...command, '--do');
  t.equal(done.code, 0, done.out);
  for (const line of done.out.trimEnd().split('\n')) t.comment(line);
  t.match(JSON.parse(readFileSync(join(directory, 'recovery-2.json'), 'utf8')), {
    body: { epoch: 2, keeper: 'n1', dead: ['n2', 'n3'] },
  });
  await cluster.start('n1');
  await waitFor({ what: 'n1 to lead alone', timeoutMs: 30_000 }, async () =>
    (await cluster.health('n1'))?.role === 'leader' ? true : null,
  );
  t.equal(await countPoints([cluster.addressOf('n1')]), POINT_COUNT);
  // The dead rise. They may elect among themselves, but nobody who knows n1 believes them.
  const client = await HoldfastClient.connect({ nodes: [cluster.addressOf('n1')] });
  t.equal(client.epoch, 2);
  await cluster.start('n2');
  await cluster.start('n3');
  await waitFor({ what: 'the old members to lead themselves', timeoutMs: 30_000 }, async () => {
    const healths = await Promise.all(['n2', 'n3'].map((nodeName) => cluster.health(nodeName)));
    return healths.some((health) => health?.role === 'leader') ? true : null;
  });
  t.equal((await cluster.health('n1'))?.role, 'leader', 'nobody deposes it');
  const late = HoldfastClient.connect({
    nodes: [cluster.addressOf('n2'), cluster.addressOf('n3')],
    epochMin: client.epoch,
    timeoutMs: 3_000,
  });
  await t.rejects(late, { code: 'NO_NODE_REACHABLE' });
  await client.close();
});

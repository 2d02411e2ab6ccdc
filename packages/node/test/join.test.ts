/**
 * A new node from an empty directory to a vote, with real processes and the command line; and what
 * an empty directory is refused for.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HoldfastError, nodeId } from '@holdfast/base';
import { NodeFileSystem, readIdentity } from '@holdfast/storage';
import t, { type Test } from 'tap';
import { formatToJoin, type JoinSeams } from '../src/cluster/join.ts';
import { progressLine, renderMembers } from '../src/cluster/member-table.ts';
import { run } from './support/run-cli.ts';
import { until } from './support/until.ts';

const MAIN = fileURLToPath(new URL('../src/main.js', import.meta.url));
/** Below the range the system hands out, and another for each run of this file. */
const BASE_PORT = 12_000 + ((process.pid * 17) % 18_000);

function temporaryDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-join-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A `holdfast` process and what it has printed so far. */
function start(t: Test, argv: readonly string[]): { child: ChildProcess; text: () => string } {
  const child = spawn(process.execPath, [MAIN, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
  }
  t.teardown(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'close');
  });
  return { child, text: () => text };
}

t.test(
  'an empty directory becomes a member with a vote, and stays one after a restart',
  async (t) => {
    const directory = temporaryDirectory(t);
    const local = ['--directory', directory];
    const cluster = start(t, ['cluster', 'start', ...local, '--base-port', String(BASE_PORT)]);
    await until(() => /leader n\d term/.test(cluster.text()));
    const home = join(directory, 'n4');
    const serve = [
      ...['serve', '--data', home, '--node-id', 'n4'],
      ...[
        '--listen',
        `127.0.0.1:${BASE_PORT + 4}`,
        '--peer-listen',
        `127.0.0.1:${BASE_PORT + 104}`,
      ],
      ...['--log-level', 'warn'],
    ];
    const secret = ['--cluster-secret-file', join(directory, 'n1', 'cluster.secret')];
    const joining = ['--join', `127.0.0.1:${BASE_PORT + 101}`];

    const wrong = join(directory, 'wrong.secret');
    writeFileSync(wrong, 'not-the-secret-of-this-cluster\n');
    const refused = start(t, [...serve, ...joining, '--cluster-secret-file', wrong]);
    await until(() => refused.text().includes('JOIN_FAILED'));
    t.match(refused.text(), /does not know the cluster secret/);
    t.notOk(existsSync(join(home, 'identity.json')), 'nothing was formatted');

    const first = start(t, [...serve, ...joining, ...secret]);
    await until(() => first.text().includes('waits to be added: holdfast member add n4'));
    const identity = readIdentity(new NodeFileSystem(), home);
    t.same(identity.firstConfiguration, []);
    // Bounded by the test's own time: the node announces itself every second.
    while (!/n4 +joining/.test((await run('member', 'list', ...local)).out));
    const added = await run('member', 'add', 'n4', ...local);
    t.equal(added.code, 0, added.err);
    t.match(added.out, /^n4 is a member \(configuration \d+, term \d+\)\n/);
    t.match(added.out, /n4 voter \[#{24}\] 100 % has its vote\nn4 is a voter\n$/);
    t.match((await run('member', 'add', 'n4', ...local)).out, /as it was already/);

    // The secret was kept, and the configuration is in the log: no flag is needed any more.
    first.child.kill('SIGTERM');
    await once(first.child, 'close');
    const second = start(t, serve);
    await until(() => second.text().includes('serves clients'));
    t.notMatch(second.text(), /waits to be added/);
    t.equal(readIdentity(new NodeFileSystem(), home).incarnation, identity.incarnation);
    const moved = await run('member', 'transfer', 'n4', ...local);
    t.match(moved.out, /^n4 leads \(term \d+\)\n$/, moved.err);
    t.match((await run('member', 'remove', 'n1', ...local)).out, /^n1 is removed/);
    t.match((await run('member', 'list', ...local)).out, /n4 +leader/);
    const unknown = await run('member', 'remove', 'n1', ...local);
    t.equal(unknown.code, 1);
    t.match(unknown.err, /MEMBER_UNKNOWN: no member.* is named n1/);
    t.match((await run('cluster', 'leases', 'on', ...local)).out, /^lease reads are on/);
    const status = await run('cluster', 'status', ...local);
    t.match(status.out, /n1 .* removed\n/);
    t.match(status.out, /n4 .* leader .* ready\n/, 'a node the cluster file does not know');
    cluster.child.kill('SIGTERM');
    await once(cluster.child, 'close');
  },
);

const seams = (answers: readonly (string | HoldfastError)[]): JoinSeams & { asked: string[] } => {
  const asked: string[] = [];
  return {
    asked,
    askCluster: async (address) => {
      const answer = answers[Math.min(asked.length, answers.length - 1)];
      asked.push(address);
      if (answer instanceof HoldfastError) throw answer;
      return { clusterId: answer ?? '', epoch: 3 };
    },
    pause: async () => {},
    warn: () => {},
  };
};
const lost = new HoldfastError('CONNECTION_LOST', 'nobody answers');
const CLUSTER = 'a'.repeat(32);

t.test('joining waits for a cluster that is starting, and not for ever', async (t) => {
  const fileSystem = new NodeFileSystem();
  const plan = (name: string) => ({
    nodeId: nodeId('n4'),
    dataDirectory: join(temporaryDirectory(t), name),
    secret: 'a-secret-of-the-cluster',
    addresses: ['a:1', 'b:1'],
  });
  const late = plan('late');
  await formatToJoin(fileSystem, late, seams([lost, lost, lost, CLUSTER]));
  t.match(readIdentity(fileSystem, late.dataDirectory), { clusterId: CLUSTER, epoch: 3 });
  await t.rejects(formatToJoin(fileSystem, plan('never'), seams([lost])), { code: 'JOIN_FAILED' });
  const two = seams([CLUSTER, 'b'.repeat(32)]);
  await t.rejects(formatToJoin(fileSystem, plan('two'), two), { message: /different clusters/ });
  const wrong = seams([new HoldfastError('PEER_UNAUTHENTICATED', 'a wrong secret')]);
  await t.rejects(formatToJoin(fileSystem, plan('wrong'), wrong), { message: /a wrong secret/ });
  t.equal(wrong.asked.length, 2, 'asking again does not make the secret right');
  const foreign = plan('foreign');
  mkdirSync(foreign.dataDirectory, { recursive: true });
  writeFileSync(join(foreign.dataDirectory, 'photo.jpg'), 'x');
  await t.rejects(formatToJoin(fileSystem, foreign, seams([CLUSTER])), {
    code: 'DATA_DIR_FOREIGN',
  });
});

t.test('members are shown with what they wait for', (t) => {
  const member = {
    nodeId: 'n4',
    incarnation: 'c'.repeat(32),
    role: 'learner',
    isLeader: false,
    address: 'h:2',
    clientAddress: null,
    isToBePromoted: true,
    replaces: 'n2',
    progress: {
      matchIndex: 250,
      lagEntries: 750,
      isRecentlyActive: true,
      round: 2,
      isCaughtUp: false,
      blockedBy: null,
    },
  } as const;
  const progress = member.progress;
  t.equal(
    progressLine(member, 1_000),
    'n4 learner [######------------------]  25 % 750 entries behind, round 2',
  );
  const silent = { ...member, progress: { ...progress, isRecentlyActive: false } };
  t.match(progressLine(silent, 1_000), /does not answer$/);
  const blocked = { ...member, progress: { ...progress, blockedBy: 'another change' } };
  t.match(progressLine(blocked, 1_000), /round 2; another change$/);
  t.match(progressLine({ ...member, role: 'voter', progress: null }, 0), /100 % has its vote$/);
  const behind = { ...member, role: 'voter' } as const;
  t.match(progressLine(behind, 1_000), /\[#{24}\] 100 % has its vote$/, 'the way is at its end');
  const text = renderMembers({
    leader: { nodeId: 'n1', address: '' },
    term: 3,
    confIndex: 9,
    isPending: false,
    isJoint: true,
    isLeaseEnabled: false,
    lastIndex: 1_000,
    members: [member, silent, blocked],
    joining: [],
  }).join('\n');
  t.match(text, /ok; takes the place of n2, round 2\n/);
  t.match(text, /silent; takes the place of n2/);
  t.match(text, /waits: another change/);
  t.match(text, /configuration 9 \(between two configurations\), term 3, lease reads off$/);
  t.end();
});

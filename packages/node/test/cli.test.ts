/** The command line, run in this process with its output kept; and the pure parts under it. */
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { logIndex } from '@holdfast/base';
import type { CollectionDefinition, LaneCommand } from '@holdfast/shard-worker';
import { encodePointOps, GRAPH_CACHE_LIMITS, InlineHost } from '@holdfast/shard-worker';
import { NodeFileSystem, readIdentity, writeChecksummedFile } from '@holdfast/storage';
import t, { type Test } from 'tap';
import {
  isRunning,
  processStartTime,
  readClusterFile,
  runningProcess,
  writeClusterFile,
  writeProcessMark,
} from '../src/cli/cluster-file.ts';
import { openPointFile } from '../src/cli/point-file.ts';
import { ClosingStack } from '../src/closing-stack.ts';
import { initCluster } from '../src/cluster/init.ts';
import { LeaderWatch } from '../src/cluster/leader-watch.ts';
import { planLocalCluster } from '../src/cluster/plan.ts';
import { renderTable } from '../src/cluster/table.ts';
import { nearestName } from '../src/config/suggest.ts';
import { run } from './support/run-cli.ts';

function temporaryDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-cli-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

t.test('a wrong command line exits 2 and says where to look', async (t) => {
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [['serv'], /unknown command 'serv'[\s\S]*Did you mean serve/],
    [['serve', '--elction-timeout-ms', '5'], /unknown option[\s\S]*--election-timeout-ms/],
    [['collection', 'create', 'docs'], /--dimension/],
    [
      ['collection', 'create', 'docs', '--dimension', 'wide'],
      /--dimension: must be an integer from 1/,
    ],
    [
      ['collection', 'create', 'docs', '--dimension', '3', '--metric', 'taxi'],
      /--metric: must be l2, cosine/,
    ],
    [['get', 'docs'], /missing required argument/],
    [['search', 'docs'], /one of --vector, --vector-file, --like/],
    [['search', 'docs', '--vector', '[1,"a"]'], /list of finite numbers/],
    [['cluster', 'init'], /--node: name at least one node/],
    [['cluster', 'init', '--node', 'n1'], /--node: must be ID=DIR,HOST:PORT,HOST:PORT/],
    [['cluster', 'start', '--nodes', '0'], /--nodes: must be an integer from 1 to 9/],
    [['cluster', 'start', '--set', 'x'], /--set: must be KEY=VALUE/],
    [['cluster', 'status', '--nodes', 'here'], /--nodes: must be HOST:PORT/],
  ];
  for (const [argv, expected] of cases) {
    const { code, err } = await run(...argv);
    t.equal(code, 2, argv.join(' '));
    t.match(err, expected);
  }
});

t.test('help exits 0 and names every command and setting', async (t) => {
  const help = await run('--help');
  t.equal(help.code, 0);
  for (const name of [
    'serve',
    'cluster',
    'collection',
    'import',
    'get',
    'search',
    'inspect',
    'fsck',
  ]) {
    t.match(help.out, name);
  }
  const serve = await run('serve', '--help');
  t.match(serve.out, /--election-timeout-ms <MS>\s+.*default: 600/);
});

t.test('an operating error exits 1 with its code on the last line', async (t) => {
  const missing = await run('serve', '--data', '/nowhere');
  t.equal(missing.code, 1);
  t.match(missing.err, /^holdfast: CONFIG_INVALID: nodeId: is required/m);
  const config = await run('serve', '--config', '/nowhere.yaml');
  t.match(config, { code: 1, err: /^holdfast: CONFIG_INVALID: cannot read the configuration/m });
  const unreachable = await run('get', 'docs', '1', '--nodes', '127.0.0.1:1', '--timeout', '50');
  t.match(unreachable, { code: 1, err: /^holdfast: NO_NODE_REACHABLE: /m });
});

t.test('a node on an unformatted directory refuses and names the next step', async (t) => {
  const directory = temporaryDirectory(t);
  const { code, err } = await run('serve', '--data', directory, '--node-id', 'n1');
  t.equal(code, 1);
  t.match(err, /holdfast: DATA_DIR_EMPTY: .*cluster init/);
});

t.test('cluster init formats every directory with the complete configuration', async (t) => {
  const directory = temporaryDirectory(t);
  const flags = ['n1', 'n2', 'n3'].flatMap((id, i) => [
    '--node',
    `${id}=${directory}/${id},10.0.0.${i + 1}:7101,10.0.0.${i + 1}:7201`,
  ]);
  const { code, out } = await run('cluster', 'init', ...flags);
  t.equal(code, 0);
  t.match(out, /formed cluster [0-9a-f]{32}/);
  const fileSystem = new NodeFileSystem();
  const identities = ['n1', 'n2', 'n3'].map((id) => readIdentity(fileSystem, `${directory}/${id}`));
  const [first] = identities;
  for (const [i, identity] of identities.entries()) {
    t.equal(identity.nodeId, `n${i + 1}`);
    t.equal(identity.clusterId, first?.clusterId);
    t.same(identity.firstConfiguration, first?.firstConfiguration, 'the same complete list');
    t.equal(identity.incarnation, identity.firstConfiguration[i]?.incarnation);
    const secretPath = join(directory, identity.nodeId, 'cluster.secret');
    t.equal(statSync(secretPath).mode & 0o777, 0o600);
    t.equal(
      readFileSync(secretPath, 'utf8'),
      readFileSync(join(directory, 'n1/cluster.secret'), 'utf8'),
    );
  }
  t.equal(new Set(identities.map((identity) => identity.incarnation)).size, 3);
  t.same(first?.firstConfiguration[1], {
    nodeId: 'n2',
    incarnation: identities[1]?.incarnation,
    address: '10.0.0.2:7201',
    clientAddress: '10.0.0.2:7101',
  });
  const before = readFileSync(join(directory, 'n1/identity.json'), 'utf8');
  const again = await run('cluster', 'init', ...flags);
  t.match(again, { code: 1, err: /DATA_DIR_FOREIGN: .*formatted already/ });
  t.equal(readFileSync(join(directory, 'n1/identity.json'), 'utf8'), before, 'untouched');
});

t.test('cluster init writes nothing when one of the directories is in use', (t) => {
  const directory = temporaryDirectory(t);
  const fileSystem = new NodeFileSystem();
  mkdirSync(join(directory, 'n3'));
  writeFileSync(join(directory, 'n3/notes.txt'), 'mine');
  const nodes = planLocalCluster({ directory, nodeCount: 3, basePort: 7100 });
  t.throws(() => initCluster(fileSystem, nodes), {
    code: 'DATA_DIR_FOREIGN',
    message: /not empty/,
  });
  t.equal(fileSystem.exists(join(directory, 'n1')), false);
  writeFileSync(join(directory, 'n1'), 'a file');
  t.throws(() => initCluster(fileSystem, nodes), { message: /not a directory/ });
  const twice = [nodes[0]!, nodes[0]!];
  t.throws(() => initCluster(fileSystem, twice), {
    code: 'CONFIG_INVALID',
    message: /named twice/,
  });
  t.end();
});

t.test('a local plan gives every node its own two ports', (t) => {
  const plan = planLocalCluster({ directory: 'd', nodeCount: 3, basePort: 7100 });
  t.same(
    plan.map((node) => [node.nodeId, node.publicAddress, node.peerAddress, node.dataDirectory]),
    [
      ['n1', '127.0.0.1:7101', '127.0.0.1:7201', 'd/n1'],
      ['n2', '127.0.0.1:7102', '127.0.0.1:7202', 'd/n2'],
      ['n3', '127.0.0.1:7103', '127.0.0.1:7203', 'd/n3'],
    ],
  );
  t.throws(() => planLocalCluster({ directory: 'd', nodeCount: 10, basePort: 7100 }), {
    code: 'CONFIG_INVALID',
  });
  t.end();
});

t.test('the local cluster file survives a move and refuses what it is not', (t) => {
  const directory = temporaryDirectory(t);
  const from = join(directory, 'from');
  const nodes = planLocalCluster({ directory: from, nodeCount: 2, basePort: 7100 });
  t.equal(readClusterFile(from), null);
  writeClusterFile(from, { clusterId: 'c', nodes });
  t.same(readClusterFile(from), { clusterId: 'c', nodes });
  writeFileSync(join(from, 'cluster.json'), '{"format":"else"}');
  t.throws(() => readClusterFile(from), { code: 'FILE_CORRUPT' });
  t.end();
});

t.test('a pid that now belongs to another process is not taken for the node', (t) => {
  const directory = temporaryDirectory(t);
  t.equal(runningProcess(directory, 'n1'), null);
  writeProcessMark(directory, 'n1', process.pid);
  t.match(runningProcess(directory, 'n1'), { pid: process.pid });
  const startTime = processStartTime(process.pid);
  t.match(startTime, /^\d+$/);
  t.equal(isRunning({ pid: process.pid, startTime: `${Number(startTime) - 1}` }), false);
  writeFileSync(join(directory, 'n2.pid'), 'garbage');
  t.equal(runningProcess(directory, 'n2'), null);
  t.end();
});

t.test(
  'cluster status shows every node, also the one that is down, and says so in its exit code',
  async (t) => {
    const body = {
      nodeId: 'n1',
      role: 'leader',
      term: 4,
      commitIndex: 12,
      appliedIndex: 12,
      rows: { live: 1_000 },
      members: [],
      stateDigest: { digest: '0123456789abcdef', appliedIndex: 12 },
      failure: null,
      isReady: true,
    };
    const server = createServer((request, response) => {
      const isKnown = request.headers.authorization === 'Bearer key-key-key-key-key';
      response.writeHead(isKnown ? 200 : 401, { 'content-type': 'application/json' });
      response.end(
        JSON.stringify(isKnown ? body : { error: { message: 'an API key is required' } }),
      );
    });
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const directory = temporaryDirectory(t);
    const keyFile = join(directory, 'key');
    writeFileSync(keyFile, 'key-key-key-key-key');
    const up = await run('cluster', 'status', '--nodes', address, '--api-key-file', keyFile);
    t.equal(up.code, 0);
    const [head, row] = up.out.split('\n');
    t.match(head, /^NODE +ADDRESS +ROLE +TERM/);
    t.match(row, /^n1 +127\.0\.0\.1:\d+ +leader +4 +12 +12 +1000 +0123456789ab +12 +ready$/);
    const withoutKey = await run('cluster', 'status', '--nodes', address);
    t.match(withoutKey, { code: 1, out: /down: an API key is required/ });
    await new Promise((resolve) => {
      server.close(resolve);
    });
    const gone = await run('cluster', 'status', '--nodes', address, '--api-key-file', keyFile);
    t.match(gone, { code: 1, out: /down: ECONNREFUSED/ });
  },
);

t.test('stopping where no cluster is says which directory was looked at', async (t) => {
  const directory = temporaryDirectory(t);
  const none = await run('cluster', 'stop', '--directory', directory);
  t.match(none, { code: 1, err: /CONFIG_INVALID: .* holds no local cluster/ });
  const nodes = planLocalCluster({ directory, nodeCount: 1, basePort: 7100 });
  writeClusterFile(directory, { clusterId: 'c', nodes });
  t.match(await run('cluster', 'stop', '--directory', directory), {
    code: 0,
    out: 'node n1 does not run\n',
  });
});

t.test('the leader watch reports each change once and believes the higher term', (t) => {
  const watch = new LeaderWatch();
  const view = (nodeId: string, role: string, term: number) => ({ nodeId, role, term });
  t.equal(watch.observe([view('n1', 'follower', 1)]), null);
  t.same(watch.observe([view('n1', 'leader', 2), view('n2', 'follower', 2)]), {
    nodeId: 'n1',
    term: 2,
  });
  t.equal(watch.observe([view('n1', 'leader', 2)]), null, 'no news');
  t.same(watch.observe([view('n1', 'leader', 2), view('n2', 'leader', 3)]), {
    nodeId: 'n2',
    term: 3,
  });
  t.equal(watch.observe([view('n1', 'follower', 3)]), 'lost');
  t.equal(watch.observe([]), null);
  t.same(watch.observe([view('n2', 'leader', 5)]), { nodeId: 'n2', term: 5 });
  t.end();
});

t.test('tables are padded, aligned and without trailing blanks', (t) => {
  const columns = [{ title: 'NAME' }, { title: 'N', align: 'right' }, { title: 'LAST' }] as const;
  t.same(
    renderTable(columns, [
      ['a', '1', 'x'],
      ['long-name', '1000', ''],
    ]),
    ['NAME          N  LAST', 'a             1  x', 'long-name  1000'],
  );
  t.same(renderTable(columns, []), ['NAME  N  LAST']);
  t.end();
});

t.test('a mistyped name finds its neighbour, a strange one none', (t) => {
  const known = ['electionTimeoutMs', 'heartbeatIntervalMs', 'data'];
  t.equal(nearestName('election_timeout', known), 'electionTimeoutMs');
  t.equal(nearestName('heartbeat-interval-ms', known), 'heartbeatIntervalMs');
  t.equal(nearestName('dta', known), 'data');
  t.equal(nearestName('zzzzzzzz', known), null);
  t.end();
});

async function readAll(path: string): Promise<{ points: unknown[]; error: unknown }> {
  const points: unknown[] = [];
  try {
    for await (const point of openPointFile(path, { firstId: 100 }).points) points.push(point);
  } catch (error) {
    return { points, error };
  }
  return { points, error: null };
}

t.test(
  'JSONL points are read line by line; a bad line is named and nothing is skipped',
  async (t) => {
    const directory = temporaryDirectory(t);
    const path = join(directory, 'points.jsonl');
    const good = '{"id":1,"vector":[1,2],"payload":{"a":1}}\n\n{"id":"x","vector":[0.5]}\r\n';
    writeFileSync(path, good);
    t.same(await readAll(path), {
      points: [
        { id: 1, vector: Float32Array.of(1, 2), payload: { a: 1 } },
        { id: 'x', vector: Float32Array.of(0.5) },
      ],
      error: null,
    });
    const bad: readonly (readonly [string, RegExp])[] = [
      ['{"id":', /points\.jsonl:4: not JSON/],
      ['[1]', /:4: must be an object/],
      ['{"vector":[1]}', /:4: id must be/],
      ['{"id":1,"vector":[1,null]}', /:4: vector must be a list of finite numbers/],
      ['{"id":1,"vector":[]}', /:4: vector must be/],
      ['{"id":1,"vector":[1],"payload":[]}', /:4: payload must be an object/],
      ['{"id":1,"vector":[1],"colour":1}', /:4: unknown key 'colour'/],
    ];
    for (const [line, expected] of bad) {
      writeFileSync(path, `${good}${line}\n{"id":9,"vector":[1]}\n`);
      const { points, error } = await readAll(path);
      t.equal(points.length, 2, 'what came before was given out');
      t.match(error, { code: 'ARGUMENT_INVALID', message: expected });
    }
    t.throws(() => openPointFile(join(directory, 'none'), { firstId: 0 }), {
      code: 'ARGUMENT_INVALID',
    });
  },
);

t.test('fvecs vectors are read across chunk borders; a cut file is an error', async (t) => {
  const directory = temporaryDirectory(t);
  const path = join(directory, 'vectors.fvecs');
  const dimension = 100;
  const count = 500;
  const bytes = Buffer.alloc(count * (4 + 4 * dimension));
  for (let i = 0; i < count; i++) {
    const start = i * (4 + 4 * dimension);
    bytes.writeInt32LE(dimension, start);
    for (let j = 0; j < dimension; j++) bytes.writeFloatLE(i + j, start + 4 + 4 * j);
  }
  writeFileSync(path, bytes);
  const { points, error } = await readAll(path);
  t.equal(error, null);
  t.equal(points.length, count);
  const expected = Float32Array.from({ length: dimension }, (_, j) => 499 + j);
  t.same(points[499], { id: 599, vector: expected });
  writeFileSync(path, bytes.subarray(0, bytes.byteLength - 1));
  t.match((await readAll(path)).error, {
    code: 'ARGUMENT_INVALID',
    message: /vector 499: the file is cut off/,
  });
  writeFileSync(path, Buffer.from([0, 0, 0, 0]));
  t.match((await readAll(path)).error, { message: /dimension 0 is not/ });
});

t.test('what was opened is closed in the opposite order, once, even if one sticks', async (t) => {
  const events: string[] = [];
  const stack = new ClosingStack();
  const close = (name: string) => async () => {
    events.push(name);
    if (name === 'b') throw new Error('b sticks');
  };
  for (const name of ['a', 'b', 'c']) stack.push(name, close(name));
  stack.pushBelow('c', 'just after c', close('just after c'));
  await t.rejects(stack.close(), /b sticks/);
  t.same(events, ['c', 'just after c', 'b', 'a']);
  await t.rejects(stack.close(), /b sticks/);
  t.equal(events.length, 4, 'a second close closes nothing again');
});

t.test(
  'fsck and inspect find nothing on a fresh directory and name the damaged place',
  async (t) => {
    const directory = temporaryDirectory(t);
    const nodes = planLocalCluster({ directory, nodeCount: 1, basePort: 7100 });
    initCluster(new NodeFileSystem(), nodes);
    const data = join(directory, 'n1');
    t.match(await run('fsck', data), { code: 0, out: 'no damage found\n' });
    const segment = join(data, 'meta/one.meta');
    const chunks = [Buffer.alloc(200_000, 7)];
    writeChecksummedFile(
      new NodeFileSystem(),
      segment,
      { kind: 'meta', algorithm: 'xxhash3' },
      chunks,
    );
    t.match(await run('inspect', 'blocks', segment), { code: 0, out: /no damage found/ });
    const bytes = readFileSync(segment);
    bytes[150_000]! ^= 1;
    writeFileSync(segment, bytes);
    const damaged = await run('fsck', data);
    t.match(damaged, { code: 1, out: /damage: .*one\.meta at \d+: .*\n1 damaged place found/ });
    t.match(await run('inspect', 'blocks', segment), { code: 1, out: /at \d+/ });
    t.match(await run('fsck', join(directory, 'n7')), { code: 1, err: /does not exist/ });
    writeFileSync(join(data, 'identity.json'), '{}');
    t.match(await run('fsck', data), { code: 1, out: /identity\.json/ });
  },
);

const FIXTURES = fileURLToPath(
  new URL('../../../shard-worker/test/fixtures/format-v2/collections/5/0', import.meta.url),
);

t.test('inspect prints rows and tombstones, and verifies what a manifest names', async (t) => {
  const segment = await run('inspect', 'segment', join(FIXTURES, 'segment-00000001.seg'));
  t.match(segment, { code: 0, out: /id=1 version=3 time=2023-11-14T22:13:20.030Z hash=fda2a7/ });
  t.match(segment, { out: /5 rows of dimension 3, 600 bytes\nno damage found/ });
  const json = await run('inspect', 'segment', '--json', join(FIXTURES, 'segment-00000001.seg'));
  const [first] = json.out.split('\n').map((line) => (line === '' ? null : JSON.parse(line)));
  t.match(first, {
    id: 2 ** 53 - 1,
    version: 2,
    vector: [2, -1, Math.fround(1e-3)],
    payload: null,
  });
  const manifest = await run('inspect', 'manifest', join(FIXTURES, 'manifest-golden.man'));
  t.match(manifest, { code: 0, out: /segment 1: 5 rows, 1 dead, 600 bytes, xxhash3/ });

  const copy = join(temporaryDirectory(t), 'collections/5/0');
  cpSync(FIXTURES, copy, { recursive: true });
  const path = join(copy, 'segment-00000001.seg');
  const bytes = readFileSync(path);
  bytes[300]! ^= 1;
  writeFileSync(path, bytes);
  t.match(await run('inspect', 'segment', path), { code: 1, out: /at 64/ });
  const damaged = await run('inspect', 'manifest', join(copy, 'manifest-golden.man'));
  t.match(damaged, { code: 1, out: /damage: collections\/5\/0\/segment-00000001.seg at 64/ });
});

t.test('inspect says what a saved graph is of, and where it is damaged', async (t) => {
  const dataDirectory = temporaryDirectory(t);
  const host = new InlineHost({
    fs: new NodeFileSystem(),
    dataDirectory,
    laneCount: 1,
    graphCache: { ...GRAPH_CACHE_LIMITS, wallMs: () => 1_000 },
  });
  await host.open({ appliedIndex: logIndex(0), definitions: [], manifests: [] });
  const definition: CollectionDefinition = {
    uid: 1,
    name: 'docs',
    dimension: 4,
    metric: 'l2',
    shardCount: 1,
    hnsw: { m: 8, efConstruction: 16, efSearch: 16 },
    graph: { engine: 'auto', precision: 'f32' },
    sealRowCount: 10_000,
    sealSizeBytes: 1 << 20,
    checksumAlgorithm: 'xxhash3',
  };
  const ops = encodePointOps(
    Array.from({ length: 1_000 }, (_, id) => ({
      type: 'upsert',
      id,
      vector: Float32Array.of(id, id % 7, id % 11, 1),
      payload: null,
      condition: { kind: 'none' },
    })),
  );
  const commands: LaneCommand[] = [
    { kind: 'createCollection', index: logIndex(1), definition },
    { kind: 'write', index: logIndex(2), timestampMs: 1, uid: 1, mode: 'always', ops },
  ];
  await host.apply({ fromIndex: logIndex(1), toIndex: logIndex(2), perLane: [commands] });
  await host.settle();
  await host.checkpoint(logIndex(2), 'one');
  await host.settle();
  const path = join(dataDirectory, 'collections', '1', '0', 'graph-00000001');
  t.match(await run('inspect', 'graph', `${path}.json`), {
    code: 0,
    out: /logIndex +2\n[\s\S]*vectorCount +1000\n[\s\S]*no damage found/,
  });
  const bytes = readFileSync(`${path}.graph`);
  bytes[70_000]! ^= 1;
  writeFileSync(`${path}.graph`, bytes);
  const damaged = await run('inspect', 'graph', `${path}.graph`);
  t.match(damaged, { code: 1, out: /damage: .*graph-00000001\.graph at 65\d+: / });
  t.match(await run('fsck', dataDirectory), { code: 1, out: /graph-00000001\.graph at 65\d+/ });
});

t.test('inspect prints the records of a log file and where it is damaged', async (t) => {
  const directory = temporaryDirectory(t);
  const missing = await run('inspect', 'wal', join(directory, 'none.wal'));
  t.match(missing, { code: 1, err: /ARGUMENT_INVALID: .* does not exist/ });
  const path = join(directory, 'notes.txt');
  writeFileSync(path, 'no log');
  t.match(await run('inspect', 'wal', path), {
    code: 1,
    out: /DAMAGE the name is not that of a log file/,
  });
});

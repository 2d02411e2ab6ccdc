/** Settings: precedence of sources, refusals that name key and source, relations, documentation. */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { HoldfastError } from '@holdfast/base';
import t from 'tap';
import { describeOptions } from '../src/config/describe.ts';
import { formatEndpoint, isLoopbackHost, parseEndpoint } from '../src/config/endpoint.ts';
import { type ConfigSources, loadConfig } from '../src/config/load.ts';
import { OPTION_KEYS } from '../src/config/options.ts';
import { readApiKey, readClusterSecret, writeSecretFile } from '../src/config/secrets.ts';

const REQUIRED = { data: '/d', nodeId: 'n1' };

const refusal = (sources: ConfigSources): string => {
  try {
    loadConfig(sources);
  } catch (error) {
    const { code, message } = error as HoldfastError;
    return `${code} ${message}`;
  }
  return 'accepted';
};

t.test('defaults stand where nothing is given, and the result is frozen', (t) => {
  const config = loadConfig({ flags: REQUIRED });
  t.match(config, {
    data: '/d',
    nodeId: 'n1',
    listen: { host: '127.0.0.1', port: 7101 },
    peerListen: { host: '127.0.0.1', port: 7201 },
    peers: [],
    allowRemote: false,
    maxConnections: 1_000,
    electionTimeoutMs: 600,
    logLevel: 'info',
  });
  t.equal(config.apiKeyFile, undefined);
  t.ok(Object.isFrozen(config));
  t.end();
});

t.test('the file is overruled by the environment and both by flags', (t) => {
  const file = {
    name: 'h.yaml',
    text: 'data: /file\nnodeId: n1\nmaxConnections: 10\nelectionTimeoutMs: 900\nlogLevel: warn\n',
  };
  const environment = {
    HOLDFAST_MAX_CONNECTIONS: '20',
    HOLDFAST_ELECTION_TIMEOUT_MS: '1_000',
    PATH: '/bin',
    HOLDFAST_NODES: 'not a setting of a node',
  };
  const flags = { maxConnections: '30', allowRemote: true };
  t.match(loadConfig({ file, environment, flags }), {
    data: '/file',
    maxConnections: 30,
    electionTimeoutMs: 1_000,
    logLevel: 'warn',
    allowRemote: true,
  });
  t.end();
});

t.test('peers are a map in a file and a list in a flag', (t) => {
  const expected = [
    { nodeId: 'n1', address: { host: '127.0.0.1', port: 7201 } },
    { nodeId: 'n2', address: { host: '::1', port: 7202 } },
  ];
  const text = '{"data":"/d","nodeId":"n1","peers":{"n2":"[::1]:7202","n1":"127.0.0.1:7201"}}';
  t.same(loadConfig({ file: { name: 'h.json', text } }).peers, expected);
  const flags = { ...REQUIRED, peers: 'n2=[::1]:7202,n1=127.0.0.1:7201' };
  t.same(loadConfig({ flags }).peers, expected);
  t.end();
});

t.test('every refusal names the code, the source and what to do', (t) => {
  const flag = (flags: Record<string, string | boolean>) => ({ flags: { ...REQUIRED, ...flags } });
  const file = (text: string) => ({ file: { name: 'h.yaml', text }, flags: REQUIRED });
  const cases: readonly (readonly [ConfigSources, RegExp])[] = [
    [
      { flags: { data: '/d' } },
      /^CONFIG_INVALID nodeId: is required; pass --node-id or set HOLDFAST_NODE_ID/,
    ],
    [flag({ nodeId: 'a b' }), /--node-id: 1 to 64 of/],
    [flag({ listen: 'nowhere' }), /--listen: must be HOST:PORT/],
    [flag({ listen: '1.2.3.4:70000' }), /--listen: must be HOST:PORT/],
    [flag({ maxConnections: 'many' }), /--max-connections: .*got "many"/],
    [flag({ maxConnections: '0' }), /--max-connections/],
    [flag({ maxConnections: '1.5' }), /--max-connections/],
    [flag({ peers: 'n1' }), /--peers: must be ID=HOST:PORT/],
    [flag({ peers: 'n1=127.0.0.1:1,n1=127.0.0.1:2' }), /each id once/],
    [flag({ peers: 'n1=nowhere' }), /--peers: n1: must be HOST:PORT/],
    [flag({ allowRemote: 'perhaps' }), /--allow-remote/],
    [flag({ logLevel: 'loud' }), /--log-level/],
    [
      file('election_timeout: 5'),
      /h\.yaml: election_timeout: unknown setting; did you mean electionTimeoutMs\?/,
    ],
    [file('zzzzqqqq: 5'), /unknown setting; see holdfast serve --help/],
    [file('- a\n- b'), /h\.yaml: must be a map/],
    [file('a: [1'), /h\.yaml: not YAML or JSON/],
    [file('maxConnections: "10"'), /h\.yaml: maxConnections/],
    [
      { flags: REQUIRED, environment: { HOLDFAST_ELECTION_TIMEOUT: '5' } },
      /HOLDFAST_ELECTION_TIMEOUT: unknown setting; did you mean HOLDFAST_ELECTION_TIMEOUT_MS\?/,
    ],
  ];
  for (const [sources, expected] of cases) {
    const text = refusal(sources);
    t.match(text, /^CONFIG_INVALID /);
    t.match(text, expected);
  }
  t.end();
});

t.test('settings that contradict each other are refused', (t) => {
  const relations: readonly (readonly [Record<string, string>, RegExp])[] = [
    [
      { heartbeatIntervalMs: '200' },
      /electionTimeoutMs: must be more than 3 x heartbeatIntervalMs/,
    ],
    [{ electionTimeoutMs: '300' }, /--election-timeout-ms: must be more than 3 x/],
    [{ heartbeatIntervalMs: '10' }, /--heartbeat-interval-ms: must be at least tickIntervalMs/],
    [{ inflightRequestCountMax: '10' }, /must not exceed inflightRequestCountMax \(10\)/],
    [{ walFileSizeBytes: '134217728' }, /must be at least walFileSizeBytes/],
    [{ peerListen: '127.0.0.1:7101' }, /--peer-listen: must differ from listen/],
    [{ walSyncMode: 'batch' }, /--wal-sync-mode: batch may lose acknowledged writes/],
    [{ walSyncMode: 'none' }, /it needs unsafeDurability/],
  ];
  for (const [flags, expected] of relations) {
    t.match(refusal({ flags: { ...REQUIRED, ...flags } }), expected);
  }
  t.equal(refusal({ flags: { ...REQUIRED, electionTimeoutMs: '301' } }), 'accepted');
  const unsafe = { walSyncMode: 'none', unsafeDurability: 'true' };
  t.equal(refusal({ flags: { ...REQUIRED, ...unsafe } }), 'accepted');
  t.end();
});

t.test('the documentation has every setting with its flag, environment name and help', (t) => {
  const rows = describeOptions();
  t.same(
    rows.map((row) => row.key),
    OPTION_KEYS,
  );
  t.match(
    rows.find((row) => row.key === 'walFileSizeBytes'),
    {
      flag: '--wal-file-size-bytes',
      environmentName: 'HOLDFAST_WAL_FILE_SIZE_BYTES',
      placeholder: 'BYTES',
      defaultText: '16777216',
      isRequired: false,
    },
  );
  t.match(
    rows.find((row) => row.key === 'listen'),
    { defaultText: '127.0.0.1:7101' },
  );
  for (const row of rows) t.ok(row.help.length > 5, row.key);
  t.end();
});

t.test('endpoints: what is one, and what is loopback', (t) => {
  for (const text of ['127.0.0.1:1', '[::1]:7101', 'db-1.example.org:65535', 'localhost:0']) {
    t.equal(formatEndpoint(parseEndpoint(text)!), text);
  }
  for (const text of ['', 'host', ':1', 'host:', 'host:99999', '::1:7101', '[zz]:1', 'a b:1']) {
    t.equal(parseEndpoint(text), null, `'${text}'`);
  }
  t.same(['127.0.0.1', '127.9.9.9', '::1', 'localhost'].map(isLoopbackHost), [
    true,
    true,
    true,
    true,
  ]);
  t.same(['0.0.0.0', '::', '10.0.0.1', 'db.local', '127.0.0.1.evil.org'].map(isLoopbackHost), [
    ...[false, false, false, false, false],
  ]);
  t.end();
});

t.test('secrets are read from files, checked, and written for their owner only', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-config-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'key');
  const config = (key: string) =>
    loadConfig({ flags: { ...REQUIRED, data: directory, [key]: path } });
  t.equal(readApiKey(loadConfig({ flags: REQUIRED })), null);
  t.throws(() => readApiKey(config('apiKeyFile')), {
    code: 'CONFIG_INVALID',
    message: /cannot read/,
  });
  writeFileSync(path, 'short\n');
  t.throws(() => readApiKey(config('apiKeyFile')), { message: /one word of 16 to 256 characters/ });
  writeFileSync(path, '  a-key-of-enough-length \n');
  t.equal(readApiKey(config('apiKeyFile')), 'a-key-of-enough-length');
  writeSecretFile(join(directory, 'cluster.secret'), 'the-secret-of-this-cluster');
  t.equal(
    readClusterSecret(loadConfig({ flags: { ...REQUIRED, data: directory } })),
    'the-secret-of-this-cluster',
  );
  t.equal(statSync(join(directory, 'cluster.secret')).mode & 0o777, 0o600);
  t.throws(() => writeSecretFile(join(directory, 'cluster.secret'), 'another-secret-entirely'), {
    code: 'FILE_IO',
  });
  t.end();
});

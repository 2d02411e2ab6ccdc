/** Azure Blob Storage against Microsoft's emulator: the suite of all sinks, then its refusals. */
import type { ContainerClient } from '@azure/storage-blob';
import { must } from '@holdfast/base';
import t, { type Test } from 'tap';
import type { AzureSinkOptions } from '../src/backup/sinks/azure-client.ts';
import { connectAzure } from '../src/backup/sinks/azure-client.ts';
import { type AzureSink, openAzureSink } from '../src/backup/sinks/azure-sink.ts';
import { bytesSource } from '../src/backup/sinks/sink.ts';
import {
  AZURITE_ACCOUNT,
  AZURITE_KEY,
  AzuriteServer,
} from '../src/backup/testing/azurite-server.ts';
import { FaultProxy, type ProxiedRequest } from '../src/backup/testing/fault-proxy.ts';
import { PatternSource } from '../src/backup/testing/pattern-source.ts';
import { isEqual, keysOf, readAll } from '../src/backup/testing/sink-conformance.ts';
import { runSinkSuite, type Store, TEST_ENVIRONMENT } from './support/sink-suite.ts';

const MIB = 1024 * 1024;
/** The emulator takes ten milliseconds for each; pages are small, so there are many. */
const OBJECT_COUNT = 300;
const PAGE_COUNT = 100;
const text = (content: string) => bytesSource(Buffer.from(content));

const azureOptions = (
  endpoint: string,
  over: Partial<AzureSinkOptions> = {},
): AzureSinkOptions => ({
  ...{ container: 'backups', prefix: 'p/q', endpoint, name: 'azure://backups/p/q' },
  credentials: { kind: 'accountKey', account: AZURITE_ACCOUNT, key: AZURITE_KEY },
  listPageCountMax: PAGE_COUNT,
  ...over,
});

const isBlock = ({ path }: ProxiedRequest) => path.includes('comp=block&');
const isCommit = ({ path }: ProxiedRequest) => path.includes('comp=blocklist');
const isPut = ({ method }: ProxiedRequest) => method === 'PUT';
const isGet = ({ method, path }: ProxiedRequest) => method === 'GET' && !path.includes('comp=');

let server: AzuriteServer;
let container: ContainerClient;
let direct: AzureSink;

t.before(async () => {
  server = await AzuriteServer.start();
  t.teardown(() => server.stop());
  ({ container } = await connectAzure(azureOptions(server.endpoint)));
  await container.create();
  direct = await openAzureSink(azureOptions(server.endpoint), TEST_ENVIRONMENT);
});

async function proxied(t: Test) {
  const proxy = new FaultProxy(Number(new URL(server.endpoint).port));
  const endpoint = `${await proxy.start()}/${AZURITE_ACCOUNT}`;
  const sink = await openAzureSink(azureOptions(endpoint), TEST_ENVIRONMENT);
  t.teardown(() => proxy.stop());
  return { proxy, sink };
}

t.test('the suite of sinks', async (t) => {
  const store: Store = {
    ...{ sink: direct, largeWriterCount: 3, objectCount: OBJECT_COUNT },
    // blocks that nobody commits cannot be listed; the store drops them
    leftovers: async () => [],
    damage: async (key, how) => {
      const blob = container.getBlockBlobClient(`p/q/${key}`);
      const bytes = await blob.downloadToBuffer();
      const { metadata } = await blob.getProperties();
      bytes[100_000] = (bytes[100_000] ?? 0) ^ 4;
      const body = how === 'cut' ? bytes.subarray(0, bytes.byteLength - 1_000) : bytes;
      await blob.upload(body, body.byteLength, { metadata: must(metadata) });
    },
  };
  runSinkSuite(t, () => store);
});

t.test('faults on the way are tried again', async (t) => {
  const { proxy, sink } = await proxied(t);
  const source = new PatternSource(1, 17 * MIB);
  proxy.failFirst(3, () => true, { kind: 'answer', status: 503, code: 'ServerBusy' });
  t.equal(await sink.put('busy', text('x'), { ifAbsent: true }), 'stored');
  proxy.failFirst(2, isBlock, { kind: 'cutRequest', afterSizeBytes: 2 * MIB });
  t.equal(await sink.put('cut', source, { ifAbsent: true }), 'stored');
  proxy.failFirst(2, isGet, { kind: 'cutAnswer', afterSizeBytes: 3 * MIB });
  t.ok(isEqual(await readAll(sink, 'cut'), source.all()), 'the read went on');
  t.equal(proxy.requests.filter(isGet).length, 3, 'two breaks');
});

t.test('a put whose answer was lost is known as our own', async (t) => {
  const { proxy, sink } = await proxied(t);
  proxy.failFirst(1, isPut, { kind: 'loseAnswer' });
  t.equal(await sink.put('lost', text('ours'), { ifAbsent: true }), 'stored');
  proxy.failFirst(1, isPut, { kind: 'loseAnswer' });
  t.equal(await sink.put('lost', text('ours'), { ifAbsent: true }), 'exists', 'equal bytes');
  const source = new PatternSource(2, 17 * MIB);
  for (const ifAbsent of [true, false]) {
    proxy.failFirst(1, isCommit, { kind: 'loseAnswer' });
    t.equal(await sink.put('lost-large', source, { ifAbsent }), 'stored');
  }
  t.ok(isEqual(await readAll(sink, 'lost-large'), source.all()));
});

t.test('what can be mended is refused at once, and the message says how', async (t) => {
  const wrongKey = Buffer.from('wrong').toString('base64');
  const refusals = [
    [{ container: 'nowhere' }, /no such container; create it/],
    [
      { credentials: { kind: 'accountKey', account: AZURITE_ACCOUNT, key: wrongKey } },
      /credentials|account key/,
    ],
  ] as const;
  for (const [over, message] of refusals) {
    const sink = await openAzureSink(azureOptions(server.endpoint, over), TEST_ENVIRONMENT);
    const expected = { code: 'SINK_REFUSED', message };
    await t.rejects(sink.check(), expected);
    await t.rejects(sink.put('a', text('x'), { ifAbsent: true }), expected, 'put');
    await t.rejects(sink.get('a', 10), expected, 'get');
    await t.rejects(keysOf(sink, ''), expected, 'list');
    await t.rejects(sink.head('a'), { code: 'SINK_REFUSED' }, 'head');
  }
});

t.test('a SAS token opens the store, and makes no links', async (t) => {
  const { library } = await connectAzure(azureOptions(server.endpoint));
  const url = await container.generateSasUrl({
    permissions: library.ContainerSASPermissions.parse('racwdl'),
    expiresOn: new Date(Date.now() + 3_600_000),
  });
  const token = new URL(url).search;
  const credentials = { kind: 'sasToken', account: AZURITE_ACCOUNT, token } as const;
  const options = azureOptions(server.endpoint, { credentials });
  const sink = await openAzureSink(options, TEST_ENVIRONMENT);
  await sink.check();
  await sink.put('by-token', text('x'), { ifAbsent: true });
  t.equal(await sink.presign('by-token', 60), null);
});

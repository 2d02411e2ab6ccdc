/**
 * S3 against a real server, Ceph's gateway: the suite of all sinks, then what networks and servers
 * do to large transfers. Skipped where the server is not installed.
 */
import { createHash } from 'node:crypto';
import type { S3Client } from '@aws-sdk/client-s3';
import { must } from '@holdfast/base';
import t, { type Test } from 'tap';
import type { S3Library, S3SinkOptions } from '../src/backup/sinks/s3-client.ts';
import { connectS3 } from '../src/backup/sinks/s3-client.ts';
import { openS3Sink, type S3Sink } from '../src/backup/sinks/s3-sink.ts';
import { bytesSource } from '../src/backup/sinks/sink.ts';
import {
  CEPH_ACCESS_KEY_ID,
  CEPH_SECRET_ACCESS_KEY,
  CephServer,
  cephMissing,
} from '../src/backup/testing/ceph-server.ts';
import { FaultProxy, type ProxiedRequest } from '../src/backup/testing/fault-proxy.ts';
import { PatternSource } from '../src/backup/testing/pattern-source.ts';
import { keysOf, readAll } from '../src/backup/testing/sink-conformance.ts';
import { CLUSTER, catchUp, LogView, makeArchiver, readerOf, TestLog } from './support/archive.ts';
import { runSinkSuite, type Store, TEST_ENVIRONMENT } from './support/sink-suite.ts';

const MIB = 1024 * 1024;
const BUCKET = 'backups';
const CREDENTIALS = {
  accessKeyId: CEPH_ACCESS_KEY_ID,
  secretAccessKey: CEPH_SECRET_ACCESS_KEY,
};
/** More than one page of a listing, and two requests of removal. */
const OBJECT_COUNT = 1_250;
const text = (content: string) => bytesSource(Buffer.from(content));

const s3Options = (endpoint: string, over: Partial<S3SinkOptions> = {}): S3SinkOptions => ({
  ...{ bucket: BUCKET, prefix: 'p/q', endpoint, region: null, usesPathStyle: true },
  ...{ credentials: CREDENTIALS, hasBatchRemove: true, name: 's3://backups/p/q' },
  ...over,
});

const isPart = ({ method, path }: ProxiedRequest) =>
  method === 'PUT' && path.includes('partNumber=');
const isEnd = ({ method, path }: ProxiedRequest) => method === 'POST' && path.includes('uploadId=');
const isBegin = ({ method, path }: ProxiedRequest) => method === 'POST' && /[?&]uploads/.test(path);
const isWholePut = (request: ProxiedRequest) => request.method === 'PUT' && !isPart(request);
const isGet = ({ method, path }: ProxiedRequest) => method === 'GET' && !path.includes('list-type');

async function digestOfRead(sink: S3Sink, key: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of sink.read(key)) hash.update(piece);
  return hash.digest('hex');
}

const digestOf = (source: PatternSource) => createHash('sha256').update(source.all()).digest('hex');

const skip = cephMissing();
let server: CephServer;
let client: S3Client;
let library: S3Library;
let direct: S3Sink;

t.before(async () => {
  if (skip !== false) return;
  server = await CephServer.start();
  t.teardown(() => server.stop());
  ({ client, library } = await connectS3(s3Options(server.endpoint)));
  t.teardown(() => client.destroy());
  await client.send(new library.CreateBucketCommand({ Bucket: BUCKET }));
  direct = await openS3Sink(s3Options(server.endpoint), TEST_ENVIRONMENT);
  t.teardown(() => direct.close());
});

/** A sink behind a proxy that does what the test says. */
async function proxied(t: Test) {
  const proxy = new FaultProxy(server.port);
  const sink = await openS3Sink(s3Options(await proxy.start()), TEST_ENVIRONMENT);
  t.teardown(async () => {
    await sink.close();
    await proxy.stop();
  });
  return { proxy, sink };
}

async function uploads(): Promise<string[]> {
  const command = new library.ListMultipartUploadsCommand({ Bucket: BUCKET });
  const { Uploads = [] } = await client.send(command);
  return Uploads.map((upload) => upload.Key ?? '');
}

t.test('the suite of sinks', { skip }, async (t) => {
  const store: Store = {
    ...{ sink: direct, largeWriterCount: 4, objectCount: OBJECT_COUNT, leftovers: uploads },
    damage: async (key, how) => {
      const place = { Bucket: BUCKET, Key: `p/q/${key}` };
      const found = await client.send(new library.GetObjectCommand(place));
      const bytes = await must(found.Body).transformToByteArray();
      bytes[100_000] = (bytes[100_000] ?? 0) ^ 4;
      const Body = how === 'cut' ? bytes.subarray(0, bytes.byteLength - 1_000) : bytes;
      const input = { ...place, Body, Metadata: found.Metadata };
      await client.send(new library.PutObjectCommand(input));
    },
  };
  runSinkSuite(t, () => store);
});

t.test('503 and 500 are tried again until the store is itself', { skip }, async (t) => {
  const { proxy, sink } = await proxied(t);
  for (const [status, code] of [
    [503, 'SlowDown'],
    [500, 'InternalError'],
  ] as const) {
    proxy.failFirst(4, () => true, { kind: 'answer', status, code });
    const key = `busy-${status}`;
    t.equal(await sink.put(key, text('once'), { ifAbsent: true }), 'stored');
    proxy.failFirst(3, () => true, { kind: 'answer', status, code });
    t.same(Buffer.from((await sink.get(key, 10)) ?? []).toString(), 'once');
    proxy.failFirst(3, () => true, { kind: 'answer', status, code });
    t.same(await keysOf(sink, key), [key]);
    proxy.failFirst(3, () => true, { kind: 'answer', status, code });
    await sink.remove([key]);
  }
  proxy.decide = () => ({ kind: 'answer', status: 503, code: 'SlowDown' });
  const put = sink.put('never', text('x'), { ifAbsent: true });
  await t.rejects(put, { code: 'SINK_UNAVAILABLE', message: /8 attempts.*slow down/ });
});

t.test(
  'a put whose answer was lost is known as our own, not as somebody’s',
  { skip },
  async (t) => {
    const { proxy, sink } = await proxied(t);
    proxy.failFirst(1, isWholePut, { kind: 'loseAnswer' });
    t.equal(await sink.put('lost', text('ours'), { ifAbsent: true }), 'stored');
    proxy.failFirst(1, isWholePut, { kind: 'loseAnswer' });
    t.equal(await sink.put('lost', text('ours'), { ifAbsent: true }), 'exists', 'equal bytes');
    proxy.failFirst(1, isWholePut, { kind: 'loseAnswer' });
    const large = new PatternSource(1, 17 * MIB);
    t.equal(await sink.put('lost-large', large, { ifAbsent: true }), 'stored');
    proxy.failFirst(1, isEnd, { kind: 'loseAnswer' });
    const again = new PatternSource(2, 17 * MIB);
    t.equal(await sink.put('lost-large', again, { ifAbsent: false }), 'stored');
    t.equal(await digestOfRead(sink, 'lost-large'), digestOf(again));
    t.same(await uploads(), []);
    await sink.remove(['lost', 'lost-large']);
  },
);

t.test('bytes that were damaged on their way are refused and sent again', { skip }, async (t) => {
  const { proxy, sink } = await proxied(t);
  const isSecondPart = ({ method, path }: ProxiedRequest): boolean =>
    method === 'PUT' && path.includes('partNumber=2');
  const small = new PatternSource(4, 70_000);
  const large = new PatternSource(3, 20 * MIB);
  for (const [key, source, ifAbsent, isDamaged] of [
    ['hurt-whole', small, true, isWholePut],
    ['hurt-stream', large, true, isWholePut],
    ['hurt-parts', large, false, isSecondPart],
  ] as const) {
    let damagedCount = 0;
    proxy.decide = (request) => {
      if (damagedCount > 0 || !isDamaged(request)) return { kind: 'pass' };
      damagedCount += 1;
      return { kind: 'flipRequest' };
    };
    t.equal(await sink.put(key, source, { ifAbsent }), 'stored', key);
    t.equal(damagedCount, 1, 'something was damaged');
    t.equal(await digestOfRead(sink, key), digestOf(source), 'and it is as it was');
  }
  await sink.remove(['hurt-whole', 'hurt-stream', 'hurt-parts']);
});

/** Many objects: the first archiver is not done before the others have found where to begin. */
const RACED_ENTRY_COUNT = 240;

t.test('archivers that race on the server leave one history', { skip }, async (t) => {
  const log = new TestLog().append(RACED_ENTRY_COUNT);
  const view = new LogView(log);
  const { proxy, sink: flaky } = await proxied(t);
  const other = await openS3Sink(s3Options(server.endpoint), TEST_ENVIRONMENT);
  t.teardown(() => other.close());
  // Every other conditional put of one of them is carried out, and nobody hears of it.
  let putCount = 0;
  proxy.decide = (request) => {
    if (!isWholePut(request) || !request.path.includes('/log/')) return { kind: 'pass' };
    putCount += 1;
    return { kind: putCount % 2 === 1 ? 'loseAnswer' : 'pass' };
  };
  const limits = [300, 420, 560].map((chunkSizeBytesMax) => ({ chunkSizeBytesMax, retryMsMin: 1 }));
  const made = [direct, other, flaky].map((sink, i) =>
    makeArchiver(sink, view, { limits: limits[i] ?? {} }),
  );
  t.same(await Promise.all(made.map((one) => catchUp(one, view))), [true, true, true]);
  for (const { alarms } of made) t.same(alarms, []);
  const statuses = made.map(({ archiver }) => archiver.status());
  const sumOf = (pick: (status: (typeof statuses)[number]) => number): number =>
    statuses.reduce((sum, status) => sum + pick(status), 0);
  t.ok(sumOf(({ lostRaceCount }) => lostRaceCount) > 0, 'they raced');
  t.equal(
    sumOf(({ entryCount }) => entryCount),
    RACED_ENTRY_COUNT,
    'each entry was put by one of them',
  );
  const report = await readerOf(direct).verify();
  t.match(report, { error: null, gaps: [], entryCount: RACED_ENTRY_COUNT });
  const keys = await keysOf(direct, `${CLUSTER}/`);
  t.equal(keys.filter((key) => key.includes('/log/')).length, report.chunkCount, 'no other object');
  await direct.remove(keys);
});

t.test('an upload whose beginning got no answer is found and aborted', { skip }, async (t) => {
  const { proxy, sink } = await proxied(t);
  proxy.failFirst(2, isBegin, { kind: 'loseAnswer' });
  const source = new PatternSource(1, 17 * MIB);
  t.equal(await sink.put('begun', source, { ifAbsent: false }), 'stored');
  t.equal(proxy.requests.filter(isBegin).length, 3, 'it was begun three times');
  t.same(await uploads(), [], 'none of them is left');
  proxy.decide = (request) => (isBegin(request) ? { kind: 'loseAnswer' } : { kind: 'pass' });
  await t.rejects(sink.put('begun', source, { ifAbsent: false }), { code: 'SINK_UNAVAILABLE' });
  t.same(await uploads(), [], 'nor after a failure');
  await sink.remove(['begun']);
});

t.test('connections that break while a part is sent cost only that part', { skip }, async (t) => {
  const { proxy, sink } = await proxied(t);
  proxy.failFirst(3, isPart, { kind: 'cutRequest', afterSizeBytes: 3 * MIB });
  const source = new PatternSource(4, 20 * MIB);
  t.equal(await sink.put('cut', source, { ifAbsent: false }), 'stored');
  t.equal(proxy.requests.filter(isPart).length, 6, 'three parts, three more attempts');
  t.equal(await digestOfRead(sink, 'cut'), digestOf(source));
  proxy.failFirst(2, isWholePut, { kind: 'cutRequest', afterSizeBytes: 9 * MIB });
  t.equal(await sink.put('cut-stream', source, { ifAbsent: true }), 'stored');
  t.equal(await digestOfRead(sink, 'cut-stream'), digestOf(source));
  await sink.remove(['cut', 'cut-stream']);
});

t.test('a read goes on where its connection broke, from the same object', { skip }, async (t) => {
  const { proxy, sink } = await proxied(t);
  const source = new PatternSource(5, 12 * MIB);
  await direct.put('broken', source, { ifAbsent: false });
  proxy.failFirst(3, isGet, { kind: 'cutAnswer', afterSizeBytes: 3 * MIB });
  t.equal(await digestOfRead(sink, 'broken'), digestOf(source));
  t.equal(proxy.requests.filter(isGet).length, 4, 'three breaks');

  const pieces: number[] = [];
  proxy.failFirst(1, isGet, { kind: 'cutAnswer', afterSizeBytes: 5 * MIB });
  const read = async () => {
    for await (const piece of sink.read('broken')) {
      if (pieces.length === 0)
        await direct.put('broken', new PatternSource(6, 12 * MIB), { ifAbsent: false });
      pieces.push(piece.byteLength);
    }
  };
  await t.rejects(read(), { code: 'BACKUP_CORRUPT', message: /replaced while it was read/ });
  t.ok(pieces.reduce((sum, size) => sum + size, 0) < 12 * MIB, 'nobody got the whole');
  await sink.remove(['broken']);
});

t.test('a server that is killed in the middle of an upload is waited for', { skip }, async (t) => {
  // however long this machine takes to start it again
  const retryPolicy = { ...TEST_ENVIRONMENT.retryPolicy, attemptCountMax: 10_000 };
  const patient = { ...TEST_ENVIRONMENT, retryPolicy };
  const sink = await openS3Sink(s3Options(server.endpoint), patient);
  t.teardown(() => sink.close());
  for (const ifAbsent of [false, true]) {
    const key = `killed-${ifAbsent}`;
    const source = new PatternSource(8, 24 * MIB);
    let restarted: Promise<void> | null = null;
    const restart = async () => {
      await server.killGateway();
      await server.startGateway();
    };
    const onProgress = () => {
      restarted ??= restart();
    };
    t.equal(await sink.put(key, source, { ifAbsent, onProgress }), 'stored', key);
    await restarted;
    t.ok(restarted !== null, 'it was killed');
    t.equal(await digestOfRead(sink, key), digestOf(source));
    await sink.remove([key]);
  }
  t.same(await uploads(), []);
});

t.test('a slow store is waited for', { skip }, async (t) => {
  const { proxy, sink } = await proxied(t);
  proxy.decide = () => ({ kind: 'slow', bytesPerMs: 20_000 });
  const source = new PatternSource(9, 17 * MIB);
  t.equal(await sink.put('slow', source, { ifAbsent: false }), 'stored');
  await sink.remove(['slow']);
});

t.test('what can be mended is refused at once, and the message says how', { skip }, async (t) => {
  const refusals = [
    [{ bucket: 'nowhere' }, /no such bucket; create it/],
    [{ credentials: { ...CREDENTIALS, secretAccessKey: 'wrong' } }, /secret key is wrong/],
    [{ credentials: { ...CREDENTIALS, accessKeyId: 'who' } }, /does not know this access key/],
  ] as const;
  for (const [over, message] of refusals) {
    const sink = await openS3Sink(s3Options(server.endpoint, over), TEST_ENVIRONMENT);
    t.teardown(() => sink.close());
    const expected = { code: 'SINK_REFUSED', message };
    await t.rejects(sink.check(), expected);
    await t.rejects(sink.put('a', text('x'), { ifAbsent: true }), expected, 'put');
    await t.rejects(sink.get('a', 10), expected, 'get');
    await t.rejects(keysOf(sink, ''), expected, 'list');
    await t.rejects(sink.head('a'), { code: 'SINK_REFUSED' }, 'head');
    const thrown: unknown = await sink.put('a', text('x'), { ifAbsent: true }).catch((e) => e);
    const shown = JSON.stringify([String(thrown), String((thrown as Error).cause)]);
    t.notMatch(shown, /wrong-secret|Signature=/, 'no secret is told');
  }
});

t.test('a store that nobody can reach is unavailable', { skip }, async (t) => {
  const proxy = new FaultProxy(server.port);
  const endpoint = await proxy.start();
  await proxy.stop();
  const sink = await openS3Sink(s3Options(endpoint), TEST_ENVIRONMENT);
  t.teardown(() => sink.close());
  const expected = { code: 'SINK_UNAVAILABLE', message: /ECONNREFUSED/ };
  await t.rejects(sink.put('a', text('x'), { ifAbsent: true }), expected);
  await t.rejects(readAll(sink, 'a'), expected);
});

t.test('abandoned uploads are aborted once they are old, others are not', { skip }, async (t) => {
  const begin = new library.CreateMultipartUploadCommand({ Bucket: BUCKET, Key: 'p/q/crashed' });
  await client.send(begin);
  const other = new library.CreateMultipartUploadCommand({ Bucket: BUCKET, Key: 'other/one' });
  const { UploadId } = await client.send(other);
  t.equal(await direct.removeAbandoned(3_600_000), 0, 'an hour old: none');
  t.equal(await direct.removeAbandoned(-60_000), 1);
  t.same(await uploads(), ['other/one'], 'not ours');
  const abort = { Bucket: BUCKET, Key: 'other/one', UploadId };
  await client.send(new library.AbortMultipartUploadCommand(abort));
});

t.test('objects of others below the prefix are not listed', { skip }, async (t) => {
  const foreign = { Bucket: BUCKET, Key: 'p/q/Not ours.txt', Body: 'x' };
  await client.send(new library.PutObjectCommand(foreign));
  const bare = { Bucket: BUCKET, Key: 'p/q/bare', Body: 'x' };
  await client.send(new library.PutObjectCommand(bare));
  t.same(await keysOf(direct, 'b'), ['bare']);
  t.notOk((await keysOf(direct, '')).some((key) => key.includes('Not ours')));
  const expected = { code: 'BACKUP_CORRUPT', message: /no digest/ };
  await t.rejects(direct.get('bare', 10), expected, 'and nothing without a digest is given out');
  await direct.remove(['bare']);
});

/** URLs of stores: what each form means, what is refused, and that no secret is ever repeated. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/base';
import t from 'tap';
import { openSink } from '../src/backup/sinks/open-sink.ts';
import { isSinkKey } from '../src/backup/sinks/sink-keys.ts';
import { parseSinkUrl } from '../src/backup/sinks/sink-url.ts';
import { TEST_ENVIRONMENT } from './support/sink-suite.ts';

t.test('a folder is an absolute path', async (t) => {
  t.same(parseSinkUrl('file:///backups/site%20a/', {}), {
    kind: 'folder',
    options: { folder: '/backups/site a', isMountRequired: false },
  });
  t.match(parseSinkUrl('file:///backups?mounted=true', {}), {
    options: { isMountRequired: true },
  });
});

t.test('S3 has a bucket, and what a store needs that is not Amazon’s', async (t) => {
  t.same(parseSinkUrl('s3://bucket', {}), {
    kind: 's3',
    options: {
      ...{ bucket: 'bucket', prefix: '', endpoint: null, region: null, credentials: null },
      ...{ name: 's3://bucket', usesPathStyle: false, hasBatchRemove: true },
    },
  });
  const url = 's3://bucket/a/b/?endpoint=http://127.0.0.1:7480/&region=eu-1&credentials=site2';
  const variables = { HOLDFAST_SINK_SITE2_KEY_ID: 'id', HOLDFAST_SINK_SITE2_SECRET: 'secret' };
  t.same(parseSinkUrl(url, variables), {
    kind: 's3',
    options: {
      ...{ bucket: 'bucket', prefix: 'a/b', endpoint: 'http://127.0.0.1:7480', region: 'eu-1' },
      ...{ name: 's3://bucket/a/b', usesPathStyle: true, hasBatchRemove: true },
      credentials: { accessKeyId: 'id', secretAccessKey: 'secret' },
    },
  });
  const hosted = 's3://bucket?endpoint=https://s3.example.org&pathStyle=false';
  t.match(parseSinkUrl(hosted, {}), { options: { usesPathStyle: false } });
});

t.test('Google’s store is S3 at its endpoint, with keys of its own', async (t) => {
  t.match(parseSinkUrl('gs://bucket/p', { GS_KEY_ID: 'id', GS_SECRET: 'secret' }), {
    kind: 's3',
    options: {
      ...{ endpoint: 'https://storage.googleapis.com', region: 'auto', hasBatchRemove: false },
      ...{ name: 'gs://bucket/p', credentials: { accessKeyId: 'id' } },
    },
  });
});

t.test('Azure has an account and one of three ways in', async (t) => {
  const url = 'azure://box/p?account=acct&endpoint=http://127.0.0.1:10000/acct';
  t.match(parseSinkUrl(url, { AZURE_STORAGE_KEY: 'k' }), {
    kind: 'azure',
    options: {
      ...{ container: 'box', prefix: 'p', endpoint: 'http://127.0.0.1:10000/acct' },
      credentials: { kind: 'accountKey', account: 'acct', key: 'k' },
    },
  });
  t.match(parseSinkUrl(url, { AZURE_STORAGE_SAS_TOKEN: '?sv=1' }), {
    options: { credentials: { kind: 'sasToken', token: '?sv=1' } },
  });
  t.match(parseSinkUrl('azure://box', { AZURE_STORAGE_CONNECTION_STRING: 'text' }), {
    options: { credentials: { kind: 'connectionString', text: 'text' } },
  });
});

t.test('what is wrong is refused by name, and a secret is never repeated', async (t) => {
  const refused: readonly (readonly [string, RegExp])[] = [
    ['', /must be a URL/],
    ['/backups', /must be a URL/],
    ['ftp://host/x', /ftp:.*not known/],
    ['file://backups', /three slashes/],
    ['file:///', /root of the file system/],
    ['file:///a%zz', /percent sign/],
    ['s3://b', /3 to 63/],
    ['s3://bucket/a//b', /prefix/],
    ['s3://bucket/../x?mounted=true', /not known/],
    ['s3://id:SECRET@bucket/p', /credentials do not belong/],
    ['s3://bucket?secretAccessKey=SECRET', /not known/],
    ['s3://bucket?endpoint=http://id:SECRET@host', /without credentials/],
    ['s3://bucket?endpoint=nonsense', /endpoint=/],
    ['s3://bucket?pathStyle=yes', /true or false/],
    ['s3://bucket?region=a&region=b', /twice/],
    ['s3://bucket?credentials=a-b', /letters, digits/],
    ['s3://bucket?credentials=x', /HOLDFAST_SINK_X_KEY_ID/],
    ['s3://bucket#x', /after #/],
    ['gs://bucket', /GS_KEY_ID/],
    ['azure://Box', /lower-case/],
    ['azure://box', /AZURE_STORAGE_ACCOUNT/],
    ['azure://box?account=acct', /AZURE_STORAGE_KEY/],
  ];
  for (const [url, message] of refused) {
    let thrown: unknown = null;
    try {
      parseSinkUrl(url, {});
    } catch (error) {
      thrown = error;
    }
    t.match(thrown, { code: 'CONFIG_INVALID', message }, url);
    const told = thrown instanceof HoldfastError ? `${thrown.stack} ${thrown.cause}` : '';
    t.notMatch(told.slice(0, told.indexOf(' at ')), /SECRET@|=SECRET/, `${url}: nothing is told`);
  }
});

t.test('a sink is opened from its URL', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-url-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const sink = await openSink(`file://${folder}`, {}, TEST_ENVIRONMENT);
  t.equal(sink.name, `file://${folder}`);
  await sink.check();
  await sink.close();
  const names = ['s3://bucket/p', 'gs://bucket/p', 'azure://box/p'];
  const variables = { ...{ GS_KEY_ID: 'i', GS_SECRET: 's' }, AZURE_STORAGE_KEY: 'aGVsbG8=' };
  for (const name of names) {
    const opened = await openSink(
      name,
      { ...variables, AZURE_STORAGE_ACCOUNT: 'acct' },
      TEST_ENVIRONMENT,
    );
    t.equal(opened.name, name);
    await opened.close();
  }
});

t.test('keys of the archive are allowed, and keys that a store would change are not', async (t) => {
  const good = ['c/main/log/0000000000000001', 'c/files/00ff', 'c/backup_1-2/manifest', 'a=b/c.d'];
  for (const key of good) t.ok(isSinkKey(key), key);
  for (const key of ['', '/a', 'a/', 'a//b', '..', 'a/.b', 'a.', 'a b', 'a.object', 'Ä', 'a\0'])
    t.notOk(isSinkKey(key), JSON.stringify(key));
});

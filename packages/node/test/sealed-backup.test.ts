/**
 * Goal: a backup sends again only what has changed since the one before, also where rows have been
 * written that fill no segment yet. Method: a simulated cluster with a store in memory.
 */
import { must } from '@holdfast/base';
import { canonicalPayload } from '@holdfast/protocol';
import t from 'tap';
import type { BackupRecord } from '../src/backup/backup-api.ts';
import { MemorySink } from '../src/backup/testing/memory-sink.ts';
import { bytesOf, checkpointAll, filesOf } from './support/healing.ts';
import { COLLECTION, createDocs, DIMENSION, TestSite } from './support/sites.ts';

const SEED = Number(process.env.HOLDFAST_TEST_SEED ?? 61);
const SEAL_ROW_COUNT = 320;
const ROW_COUNT = 200;
/** Of each row, so that rows are what is sent. */
const PAYLOAD_SIZE_BYTES = 2_000;

function open(sink: MemorySink): Promise<TestSite> {
  const settings = { limits: { sealRowCount: SEAL_ROW_COUNT } };
  return TestSite.start([sink], { seed: SEED, cluster: { settings } });
}

async function write(site: TestSite, from: number, count: number): Promise<void> {
  const points = Array.from({ length: count }, (_unused, i) => ({
    id: from + i,
    vector: new Float32Array(DIMENSION).fill(from + i),
    payload: canonicalPayload({ text: 'x'.repeat(PAYLOAD_SIZE_BYTES) }),
  }));
  await site.execute({ kind: 'upsert', collection: COLLECTION, points } as never);
}

async function backUp(site: TestSite): Promise<number> {
  const { backup } = await site.leader();
  const { outcomes } = (await site.resolve(backup.create({ type: 'full' }))) as BackupRecord;
  const [outcome] = outcomes;
  if (outcome?.kind !== 'success') throw new Error('the backup failed');
  return outcome.sentSizeBytes;
}

/** Every segment of every shard, by path. */
function segmentsOf(site: TestSite): readonly (readonly string[])[] {
  return site.cluster.nodes.map((node) =>
    filesOf(node, /segment/).map((path) => `${path} ${bytesOf(node, path).toString('base64')}`),
  );
}

t.test('a second backup sends rows again only if they were written since', async (t) => {
  const sink = new MemorySink();
  const site = await open(sink);
  await site.execute(createDocs);
  await write(site, 1, ROW_COUNT);
  const first = await backUp(site);
  t.ok(first > ROW_COUNT * PAYLOAD_SIZE_BYTES, `${first} bytes`);
  await write(site, 2, 2);
  const second = await backUp(site);
  t.ok(second < 0.05 * first, `${second} bytes of ${first}`);
  await checkpointAll(site.cluster);
  const [expected, ...others] = segmentsOf(site);
  t.ok(must(expected).length > 0, 'there are segments');
  for (const segments of others) t.same(segments, expected, 'the same on every node');
});

t.test('a node that has nothing yet refuses a backup, and goes on', async (t) => {
  const sink = new MemorySink();
  const site = TestSite.make([sink], { seed: SEED });
  await site.cluster.start();
  const empty = site.cluster.node(0);
  const asked = must(empty.node.backup).create({ type: 'full' });
  await t.rejects(site.resolve(asked), { code: 'REPAIRING', message: /no entry of the log yet/ });
  await site.execute(createDocs);
  await write(site, 1, 5);
  await site.advance(1_000);
  t.equal(empty.isRunning, true, 'it did not stop');
  const made = await site.resolve(must(empty.node.backup).create({ type: 'full' }));
  t.match(made, { outcomes: [{ kind: 'success' }] });
});

t.test('a node that does not lead backs up what grows as it is', async (t) => {
  const sink = new MemorySink();
  const site = await open(sink);
  await site.execute(createDocs);
  await write(site, 1, ROW_COUNT);
  const { node: leader } = await site.leader();
  const follower = must(site.running.find((node) => node !== leader));
  await site.cluster.scheduler.advance(1_000);
  const made = await site.resolve(must(follower.node.backup).create({ type: 'full' }));
  t.match(made, { outcomes: [{ kind: 'success' }] });
  t.same(
    segmentsOf(site).map((segments) => segments.length),
    [0, 0, 0],
    'nothing was sealed for it',
  );
});

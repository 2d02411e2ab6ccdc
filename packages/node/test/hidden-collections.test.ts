/**
 * Goal: a drop can be taken back, names move at one moment, and what is restored is seen by nobody
 * before it is whole; all of it a function of the log. Method: entries by hand on the meta state;
 * then the same through simulated nodes that crash, load checkpoints and hand over.
 */
import { must } from '@holdfast/base';
import type {
  CanonicalPayload,
  DropCollectionResult,
  Request,
  ResultBody,
} from '@holdfast/protocol';
import t from 'tap';
import { digestContent } from '../src/replica/content-digest.ts';
import { COLLECTION_COUNT_MAX } from '../src/state/catalogue.ts';
import type { Command } from '../src/state/command.ts';
import { decodeCommand } from '../src/state/command.ts';
import { SimCluster, type SimNode } from '../src/testing/sim-cluster.ts';
import { create, Log, load, SPEC, save } from './support/state-log.ts';

const hide = (name: string, retentionMs = 1_000): Command => ({
  ...{ kind: 'hideCollection', name, retentionMs },
});
const undelete = (uid: number, name: string | null = null): Command => ({
  ...{ kind: 'undeleteCollection', uid, name },
});
const purge = (uid: number, cutoffMs: number | null = null): Command => ({
  ...{ kind: 'purgeCollection', uid, cutoffMs },
});
const write = (uid: number): Command => ({ kind: 'write', uid, ops: new Uint8Array(0) });
const createHidden = (name: string): Command => ({
  ...{ kind: 'createHiddenCollection', spec: { ...SPEC, name }, retentionMs: 1_000 },
});

t.test('a dropped collection frees its name at once and comes back with its uid', async (t) => {
  const log = new Log();
  const { index: uid } = log.apply(create('docs'));
  const dropped = log.apply(hide('docs'), null, { timestampMs: 500 });
  const hidden = { uid, purgeAtMs: 1_500 };
  t.match(dropped.result, { ok: true, value: { isDropped: true, hidden } });
  t.equal(log.machine.catalogue.byName('docs'), undefined);
  t.match(log.apply(hide('docs')).result, { value: { isDropped: false } }, 'it is not there');
  const { index: other } = log.apply(create('docs'));
  t.match(log.apply(undelete(uid)).result, { ok: false, code: 'COLLECTION_EXISTS' });
  t.match(log.apply(undelete(uid, 'old')).result, { ok: true, value: { definition: { uid } } });
  t.equal(log.machine.catalogue.byName('old')?.uid, uid);
  t.equal(log.machine.catalogue.byName('docs')?.uid, other);
  t.match(log.apply(undelete(uid)).result, { ok: false, code: 'COLLECTION_NOT_FOUND' }, 'once');
});

t.test('a dropped collection takes no writes, and none of them comes back with it', async (t) => {
  const log = new Log();
  const { index: uid } = log.apply(create('docs'));
  log.apply(hide('docs'));
  const refused = { ok: false, code: 'COLLECTION_NOT_FOUND' };
  t.match(log.apply(write(uid)).result, refused, 'a write that was under way');
  const payloadIndex = { key: 'a', type: 'keyword' } as const;
  t.match(log.apply({ kind: 'createPayloadIndex', uid, payloadIndex }).result, refused);
  t.match(log.apply({ kind: 'dropPayloadIndex', uid, key: 'a' }).result, refused);
  log.apply(undelete(uid));
  t.match(log.apply(write(uid)).result, { ok: true });
});

t.test('a collection is purged by log time only, and never one that came back', async (t) => {
  const log = new Log();
  const { index: uid } = log.apply(create('docs'));
  log.apply(hide('docs', 1_000), null, { timestampMs: 500 });
  const purged = (isPurged: boolean) => ({ ok: true, value: { isPurged } });
  t.match(log.apply(purge(uid, 1_499)).result, purged(false), 'its time is not over');
  log.apply(undelete(uid));
  t.match(log.apply(purge(uid, 9_000)).result, purged(false), 'it is not hidden');
  t.match(log.apply(purge(uid)).result, purged(false), 'nor does an operator purge it');
  log.apply(hide('docs', 1_000), null, { timestampMs: 2_000 });
  t.match(log.apply(purge(uid, 3_000)).result, purged(true));
  t.match(log.apply(undelete(uid)).result, { ok: false, code: 'COLLECTION_NOT_FOUND' });
  t.match(log.apply(purge(uid, 3_000)).result, purged(false), 'a repeat is no failure');
  t.equal(log.machine.catalogue.hasHidden, false);
});

t.test('hidden collections count to the limit of collections', async (t) => {
  const log = new Log();
  for (let i = 0; i < COLLECTION_COUNT_MAX; i++) log.apply(create(`c${i}`));
  log.apply(hide('c0'));
  t.match(log.apply(create('more')).result, { ok: false, code: 'COLLECTION_LIMIT' });
  t.match(log.apply(createHidden('more')).result, { ok: false, code: 'COLLECTION_LIMIT' });
  log.apply(purge(1));
  t.match(log.apply(create('more')).result, { ok: true });
});

t.test('a rename moves the name in one entry, and never onto another collection', async (t) => {
  const log = new Log();
  const { index: uid } = log.apply(create('blue'));
  log.apply(create('green'));
  const rename = (name: string, newName: string): Command => ({
    ...{ kind: 'renameCollection', name, newName },
  });
  t.match(log.apply(rename('blue', 'green')).result, { code: 'COLLECTION_EXISTS' });
  t.match(log.apply(rename('blue', 'blue')).result, { code: 'COLLECTION_EXISTS' });
  t.match(log.apply(rename('red', 'pink')).result, { code: 'COLLECTION_NOT_FOUND' });
  const renamed = log.apply(rename('blue', 'red'));
  t.match(renamed.result, { ok: true, value: { definition: { uid, name: 'red' } } });
  t.equal(log.machine.catalogue.byName('blue'), undefined);
  t.match(log.apply(write(uid)).result, { ok: true }, 'a write that was under way goes on');
  t.same(
    log.machine.catalogue.all().map(({ name }) => name),
    ['red', 'green'],
    'the order of creation stays',
  );
  t.match(log.apply(create('blue')).result, { ok: true }, 'the old name is free');
});

t.test('what is restored is seen by nobody until it is finished and published', async (t) => {
  const log = new Log();
  const { catalogue } = log.machine;
  log.apply(create('docs'));
  const { index: uid } = log.apply(createHidden('p_docs'));
  const { index: other } = log.apply(createHidden('p_more'));
  t.equal(catalogue.byName('p_docs'), undefined);
  t.equal(catalogue.all().length, 1);
  t.match(log.apply(write(uid)).result, { ok: true });
  const publish = (...uids: readonly number[]): Command => ({ kind: 'publishCollections', uids });
  t.match(log.apply(publish(uid)).result, { ok: false, code: 'COLLECTION_NOT_READY' });
  t.match(log.apply(undelete(uid)).result, { ok: false, code: 'COLLECTION_NOT_FOUND' });
  t.match(log.apply({ kind: 'finishCollection', uid }).result, { ok: true });
  const late = log.apply(write(uid));
  t.match(late.result, { ok: false, code: 'COLLECTION_NOT_FOUND' }, 'what was compared stays so');
  t.match(log.apply(publish(uid, other)).result, { code: 'COLLECTION_NOT_READY' });
  t.equal(catalogue.byName('p_docs'), undefined, 'all or none');
  log.apply({ kind: 'finishCollection', uid: other });
  log.apply(create('p_more'));
  t.match(log.apply(publish(uid, other)).result, { ok: false, code: 'COLLECTION_EXISTS' });
  t.equal(catalogue.byName('p_docs'), undefined, 'all or none');
  log.apply({ kind: 'dropCollection', name: 'p_more' });
  t.match(log.apply(publish(uid, other)).result, { ok: true });
  t.same(
    catalogue.all().map(({ name }) => name),
    ['docs', 'p_docs', 'p_more'],
  );
  t.match(log.apply(write(uid)).result, { ok: true }, 'it is a collection like any other');
});

t.test('two hidden collections of one name are never published together', async (t) => {
  const log = new Log();
  const uids = [log.apply(createHidden('same')).index, log.apply(createHidden('same')).index];
  for (const uid of uids) log.apply({ kind: 'finishCollection', uid });
  t.match(log.apply({ kind: 'publishCollections', uids }).result, { code: 'COLLECTION_EXISTS' });
  t.equal(log.machine.catalogue.count, 0);
});

t.test('a state without hidden collections is written as older nodes read it', async (t) => {
  const log = new Log();
  const { index: uid } = log.apply(create('docs'));
  const versionOf = ([head]: readonly Uint8Array[]): number => head?.[4] ?? 0;
  const before = save(log.machine);
  t.equal(versionOf(before), 2);
  log.apply(hide('docs'));
  t.equal(versionOf(save(log.machine)), 3);
  const loaded = load(save(log.machine));
  t.same(loaded.catalogue.allHidden(), log.machine.catalogue.allHidden());
  t.same(loaded.catalogue.stored(), log.machine.catalogue.stored());
  log.apply(purge(uid));
  t.equal(versionOf(save(log.machine)), 2);
});

t.test('a log of before drops could be taken back means what it meant', async (t) => {
  const log = new Log();
  const { index: uid } = log.apply(create('docs'));
  const name = '{"name":"docs"}';
  const bytes = new Uint8Array(48 + name.length);
  bytes.set([1, 5]);
  bytes.set(new TextEncoder().encode(name), 48);
  const { command } = decodeCommand(bytes);
  t.strictSame(command, { kind: 'dropCollection', name: 'docs' });
  const { result } = log.apply(command);
  t.strictSame(result.ok && result.value, { kind: 'collectionDropped', isDropped: true });
  t.match(log.apply(undelete(uid)).result, { ok: false, code: 'COLLECTION_NOT_FOUND' });
});

const RETENTION_MS = 60_000;
const POINT_COUNT = 30;

async function started(seed: number): Promise<SimCluster> {
  const settings = { dropRetentionMs: RETENTION_MS, retainedEntryCount: 0 };
  const limits = { followerLogHoldSizeBytesMax: 0 };
  const cluster = new SimCluster({ nodeCount: 3, seed, settings: { ...settings, limits } });
  await cluster.start();
  await ask(cluster, { kind: 'createCollection', ...SHAPE, name: 'docs' });
  await ask(cluster, { kind: 'upsert', collection: 'docs', points: pointsOf(POINT_COUNT) });
  return cluster;
}

const SHAPE = { dimension: 2, metric: 'l2', shardCount: 2 } as const;

const pointsOf = (count: number) =>
  Array.from({ length: count }, (_, id) => ({ id, vector: new Float32Array([id, 1]) }));

const payloadOf = (value: object) =>
  new TextEncoder().encode(JSON.stringify(value)) as CanonicalPayload;

type Asked<Kind> = Kind extends Request['kind']
  ? Omit<Extract<Request, { readonly kind: Kind }>, 'id'>
  : never;

async function ask(cluster: SimCluster, request: Asked<Request['kind']>): Promise<ResultBody> {
  const leader = await cluster.leader();
  await cluster.scheduler.resolve(leader.node.replica.whenLeaderReady(Number.MAX_SAFE_INTEGER));
  return cluster.execute(leader, { id: 1, ...request } as Request);
}

const hiddenOn = (node: SimNode) =>
  node.node.replica.meta.catalogue
    .allHidden()
    .map(({ definition, hiding }) => `${definition.name} ${hiding.state}`);

const rowsOf = async (cluster: SimCluster, node: SimNode): Promise<number> => {
  const lanes = await cluster.scheduler.resolve(node.host.stats());
  return lanes.reduce((sum, { liveRowCount }) => sum + liveRowCount, 0);
};

t.test('a drop is taken back after power cuts, snapshots and changes of the leader', async (t) => {
  const cluster = await started(51);
  const [behind] = cluster.nodes.filter(({ node }) => node.replica.soft.role !== 'leader');
  must(behind).kill();
  await cluster.scheduler.advance(2_000);
  const dropped = await ask(cluster, { kind: 'dropCollection', name: 'docs' });
  const { uid } = must((dropped as DropCollectionResult).hidden);
  const gone = ask(cluster, { kind: 'count', collection: 'docs' });
  await t.rejects(gone, { code: 'COLLECTION_NOT_FOUND' });
  const blind = ask(cluster, { kind: 'upsert', collection: 'docs', points: pointsOf(1) });
  await t.rejects(blind, { code: 'COLLECTION_NOT_FOUND' });
  const late = { kind: 'upsert', collection: 'docs', uid, points: pointsOf(1) } as const;
  await t.rejects(ask(cluster, late), { code: 'COLLECTION_NOT_FOUND' }, 'by uid neither');
  for (const node of cluster.nodes)
    if (node !== behind) await cluster.scheduler.resolve(node.node.replica.checkpoint());
  for (const node of cluster.nodes) {
    if (node === behind) continue;
    node.cutPower({ seed: 1, keepUnsynced: 'none' });
    await node.start();
  }
  await must(behind).start();
  await cluster.leader();
  await cluster.scheduler.advance(5_000);
  t.same(new Set((await cluster.digests()).map(({ digest }) => digest)).size, 1);
  for (const node of cluster.nodes) t.same(hiddenOn(node), ['docs dropped'], node.id);
  const listed = await ask(cluster, { kind: 'listCollections', includeDeleted: true });
  t.match(listed, { collections: [], hidden: [{ state: 'dropped' }] });
  await ask(cluster, { kind: 'undeleteCollection', uid, name: 'back' });
  t.match(await ask(cluster, { kind: 'count', collection: 'back' }), { count: POINT_COUNT });
  await ask(cluster, { kind: 'renameCollection', name: 'back', newName: 'docs' });
  t.match(await ask(cluster, { kind: 'count', collection: 'docs' }), { count: POINT_COUNT });
  await t.rejects(ask(cluster, { kind: 'count', collection: 'back' }), {
    code: 'COLLECTION_NOT_FOUND',
  });
  t.same(new Set((await cluster.digests()).map(({ digest }) => digest)).size, 1);
});

t.test('the leader lets a dropped collection go when its time is over, on all nodes', async (t) => {
  const cluster = await started(52);
  await ask(cluster, { kind: 'dropCollection', name: 'docs' });
  await cluster.scheduler.advance(RETENTION_MS - 10_000);
  const [node] = cluster.nodes;
  t.same(hiddenOn(must(node)), ['docs dropped']);
  t.equal(await rowsOf(cluster, must(node)), POINT_COUNT, 'its rows take memory');
  const leader = await cluster.leader();
  leader.kill();
  await cluster.scheduler.advance(25_000);
  await leader.start();
  await cluster.digests();
  for (const each of cluster.nodes) {
    t.same(hiddenOn(each), [], each.id);
    t.equal(await rowsOf(cluster, each), 0, each.id);
  }
});

t.test('a drop that says so is gone at once', async (t) => {
  const cluster = await started(53);
  const drop = { kind: 'dropCollection', name: 'docs', retentionMs: 0 } as const;
  const dropped = await ask(cluster, drop);
  t.notMatch(dropped, { hidden: {} });
  const leader = await cluster.leader();
  t.same(hiddenOn(leader), []);
  t.equal(await rowsOf(cluster, leader), 0);
});

t.test('a digest of content tells points, and not when they were written', async (t) => {
  const cluster = await started(54);
  const points = pointsOf(POINT_COUNT);
  await ask(cluster, { kind: 'createCollection', ...SHAPE, name: 'twin', shardCount: 5 });
  for (const point of points.toReversed())
    await ask(cluster, { kind: 'upsert', collection: 'twin', points: [point] });
  const digestOf = async (collection: string) => {
    const found = await ask(cluster, { kind: 'digestCollection', collection });
    return 'digest' in found ? `${found.pointCount} ${found.digest}` : '';
  };
  t.equal(await digestOf('twin'), await digestOf('docs'));
  const other = [{ id: 3, vector: new Float32Array([3, 1]), payload: payloadOf({ a: 1 }) }];
  await ask(cluster, { kind: 'upsert', collection: 'twin', points: other });
  t.not(await digestOf('twin'), await digestOf('docs'), 'a payload');
  await ask(cluster, { kind: 'upsert', collection: 'twin', points: points.slice(3, 4) });
  t.equal(await digestOf('twin'), await digestOf('docs'), 'written again');
  await ask(cluster, { kind: 'delete', collection: 'twin', points: [{ id: 0 }] });
  t.not(await digestOf('twin'), await digestOf('docs'), 'a point less');
});

t.test('a collection that is written has no digest', async (t) => {
  const cluster = await started(55);
  const leader = await cluster.leader();
  const { lanes } = leader.node.replica;
  const definition = must(leader.node.replica.meta.catalogue.byName('docs'));
  let id = 1_000;
  const written = digestContent(
    {
      host: leader.host,
      lanes: {
        read: async (...given: Parameters<typeof lanes.read>) => {
          const answers = await cluster.scheduler.resolve(lanes.read(...given));
          id += 1;
          const point = { id, vector: new Float32Array([1, 1]) };
          await ask(cluster, { kind: 'upsert', collection: 'docs', points: [point] });
          return answers;
        },
      } as typeof lanes,
    },
    definition,
    Number.MAX_SAFE_INTEGER,
  );
  await t.rejects(written, { code: 'OVERLOADED' });
});

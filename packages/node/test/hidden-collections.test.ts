/**
 * Goal: a drop can be taken back, names move at one moment, and what is restored is seen by nobody
 * before it is whole; all of it a function of the log. Method: entries by hand on the meta state;
 * then the same through simulated nodes that crash, load checkpoints and hand over.
 */
import t from 'tap';
import { COLLECTION_COUNT_MAX } from '../src/state/catalogue.ts';
import type { Command } from '../src/state/command.ts';
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
  // The bytes of such an entry: kind 5, with nothing but the name.
  t.strictSame(log.apply({ kind: 'dropCollection', name: 'docs' }).result, {
    ...{ ok: true, index: 2, term: 1, value: { kind: 'collectionDropped', isDropped: true } },
  });
  t.match(log.apply(undelete(uid)).result, { ok: false, code: 'COLLECTION_NOT_FOUND' });
});

// Runs that archive: what is asked of a store, on evidence made by hand, and a store that goes away
// and comes back with all that it held.
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { meaningOf } from '../src/archive/garbage-in-store.ts';
import { type ArchiveEvidence, judgeArchive } from '../src/checker/archive.ts';
import type { Cluster } from '../src/cluster/cluster.ts';
import { nemesisNamed } from '../src/nemesis/catalogue.ts';

const USERS = { uid: 3, name: 'users', vectorCount: 2, digest: 'ab' };
const ITEMS = { uid: 9, name: 'items', vectorCount: 5, digest: 'cd' };

const GOOD: ArchiveEvidence = {
  isGapAllowed: false,
  newestBackupId: 'b2',
  madeBackupCount: 2,
  brokenBackupCount: 1,
  audit: {
    ...{ chunkCount: 4, entryCount: 90, gapCount: 0, wrong: [] },
    backups: [{ backupId: 'b1' }, { backupId: 'b2' }],
  },
  removal: { answer: 'done', isGarbageLeft: false },
  index: 88,
  expected: [USERS, ITEMS],
  restored: [ITEMS, USERS],
};

t.test('a store from which the state of the cluster comes back is valid', async (t) => {
  const verdict = judgeArchive(GOOD);
  t.equal(verdict.kind, 'valid');
  t.match(verdict, { summary: { collectionCount: 2, rowCount: 7, gapCount: 0, index: 88 } });
  const refused = judgeArchive({ ...GOOD, removal: { answer: 'refused', isGarbageLeft: true } });
  t.match(refused, { kind: 'valid', summary: { isGarbageRemoved: false } });
});

t.test('a removal whose answer was lost may have happened, or not', async (t) => {
  for (const isGarbageLeft of [true, false]) {
    const verdict = judgeArchive({ ...GOOD, removal: { answer: 'unknown', isGarbageLeft } });
    t.match(verdict, { kind: 'valid', summary: { isGarbageRemoved: !isGarbageLeft } });
  }
});

t.test('what an answer to a removal means is told from its words', async (t) => {
  const said = (status: number, body: unknown) => meaningOf({ status, text: JSON.stringify(body) });
  const success = { kind: 'success', blockedBy: [] };
  t.equal(said(200, { sinks: [success, success] }), 'done');
  t.equal(said(200, { sinks: [success, { kind: 'failure' }] }), 'unknown');
  const blocked = { kind: 'success', blockedBy: [{ backupId: 'b1' }] };
  t.equal(said(200, { sinks: [success, blocked] }), 'unknown');
  t.equal(said(503, { error: { definite: true } }), 'refused');
  t.equal(said(503, { error: { definite: false } }), 'unknown');
  t.equal(meaningOf(null), 'unknown', 'none came');
});

t.test('whatever the store lacks is named', async (t) => {
  const bad: readonly (readonly [RegExp, Partial<ArchiveEvidence>])[] = [
    [/not whole: chunk 7 begins/, { audit: { ...GOOD.audit, wrong: ['chunk 7 begins late'] } }],
    [/1 gaps, although/, { audit: { ...GOOD.audit, gapCount: 1 } }],
    [/was said to be removed and is there/, { removal: { answer: 'done', isGarbageLeft: true } }],
    [/refused, and something is gone/, { removal: { answer: 'refused', isGarbageLeft: false } }],
    [/b9 was said to be good and is not there/, { newestBackupId: 'b9' }],
    [/to index 88: no backup fits/, { restored: 'no backup fits' }],
    [/1 collections differ/, { restored: [USERS] }],
    [/1 collections differ/, { restored: [USERS, ITEMS, { ...ITEMS, uid: 10 }] }],
    [/1 collections differ/, { restored: [USERS, { ...ITEMS, digest: 'ce' }] }],
    [/1 collections differ/, { restored: [USERS, { ...ITEMS, vectorCount: 4 }] }],
    [
      /2 collections differ/,
      {
        restored: [
          { ...USERS, name: 'u' },
          { ...ITEMS, name: 'i' },
        ],
      },
    ],
  ];
  for (const [reason, change] of bad) {
    const verdict = judgeArchive({ ...GOOD, ...change });
    t.equal(verdict.kind, 'invalid', String(reason));
    t.match(verdict, { reason });
  }
});

t.test(
  'a gap is no fault where the store was away, and no backup at all shows nothing',
  async (t) => {
    const audit = { ...GOOD.audit, gapCount: 1 };
    t.equal(judgeArchive({ ...GOOD, audit, isGapAllowed: true }).kind, 'valid');
    const none = judgeArchive({ ...GOOD, newestBackupId: null });
    t.match(none, { kind: 'unknown', reason: 'no backup was made' });
  },
);

t.test('a store that was away has all it held when it is back', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-store-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, 'object'), 'kept');
  const nemesis = nemesisNamed('store-away');
  const cluster = { storeDirectory: folder } as unknown as Cluster;
  const perform = (action: string) => nemesis.perform(action, 0, cluster);

  t.match(await perform('store-back'), { kind: 'installed', detail: 'it was there' });
  t.equal((await perform('store-away')).kind, 'installed');
  t.notOk(statSync(folder).isDirectory(), 'nothing can be written to it');
  t.equal((await perform('store-away')).kind, 'skipped');
  t.equal((await perform('store-back')).kind, 'installed');
  t.equal(readFileSync(join(folder, 'object'), 'utf8'), 'kept');
  t.notOk(existsSync(`${folder}-away`));

  const without = { storeDirectory: null } as unknown as Cluster;
  t.match(await nemesis.perform('store-away', 0, without), { kind: 'skipped' });
});

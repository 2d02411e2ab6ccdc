/**
 * Goal: the audit that the proofs end with sees what would make them false: holes, overlaps whose
 * content agrees, gaps, damage, and backups that can be seen and are not complete. Method: a folder
 * with an archive, changed in one way each.
 */
import { pathToFileURL } from 'node:url';
import { must } from '@holdfast/base';
import { backupManifestKey } from '@holdfast/storage';
import t, { type Test } from 'tap';
import { LocalSink } from '../src/backup/sinks/local-sink.ts';
import { bytesSource } from '../src/backup/sinks/sink.ts';
import { auditArchive } from '../src/backup/testing/archive-audit.ts';
import { MemorySink } from '../src/backup/testing/memory-sink.ts';
import { CLUSTER, catchUp, LogView, makeArchiver, TestLog } from './support/archive.ts';
import { TEST_ENVIRONMENT } from './support/sink-suite.ts';

const BACKUP_ID = '0b1c2d3e-0000-4000-8000-000000000001';

/** Chunks that end at these indexes, in memory; the log is the same for all. */
async function archived(log: TestLog, ends: readonly number[], baseIndex = 0) {
  const sink = new MemorySink();
  const view = new LogView(log, 0);
  const one = makeArchiver(sink, view);
  for (const end of ends) {
    view.committed = end;
    if (end > baseIndex) view.baseIndex = baseIndex;
    await catchUp(one, view);
  }
  return sink;
}

/** The objects that are wanted, in a folder that is audited. */
async function auditOf(t: Test, objects: ReadonlyMap<string, Uint8Array>) {
  const folder = t.testdir();
  const sink = new LocalSink({ folder, isMountRequired: false }, TEST_ENVIRONMENT);
  for (const [key, bytes] of objects) await sink.put(key, bytesSource(bytes), { ifAbsent: true });
  await sink.close();
  return auditArchive(pathToFileURL(folder).href, CLUSTER);
}

const objectsOf = (sink: MemorySink): Map<string, Uint8Array> =>
  new Map(sink.keys.map((key) => [key, must(sink.contentOf(key))]));

t.test('an archive that is whole is told with all its entries', async (t) => {
  const log = new TestLog().append(12);
  const audit = await auditOf(t, objectsOf(await archived(log, [4, 8, 12])));
  t.match(audit, { chunkCount: 3, entryCount: 12, gapCount: 0, lastIndex: 12, wrong: [] });
  const sums = log.entries.map(({ sum }) => Buffer.from(sum).toString('hex'));
  t.strictSame([...audit.sums.values()], sums);
});

t.test('a hole, an overlap and damage are named, and a gap is counted', async (t) => {
  const log = new TestLog().append(12);
  const whole = objectsOf(await archived(log, [4, 8, 12]));
  const keyOf = (index: number): string =>
    must([...whole.keys()].find((key) => key.endsWith(`/log/${String(index).padStart(16, '0')}`)));
  const hole = new Map(whole);
  hole.delete(keyOf(5));
  t.match((await auditOf(t, hole)).wrong, [/begins behind 4: a hole or an overlap/, /./]);

  const overlap = objectsOf(await archived(log, [6]));
  overlap.set(keyOf(5), must(whole.get(keyOf(5))));
  const overlapping = await auditOf(t, overlap);
  t.match(overlapping.wrong, [/log\/0*5 begins behind 6: a hole or an overlap/]);

  const damaged = new Map(whole);
  const bytes = must(whole.get(keyOf(5))).slice();
  bytes[bytes.length - 9]! ^= 4;
  damaged.set(keyOf(5), bytes);
  const [first] = (await auditOf(t, damaged)).wrong;
  t.match(first, /log\/0*5/, 'the object that is damaged');

  const gap = await auditOf(t, objectsOf(await archived(log, [4, 12], 8)));
  t.match(gap, { gapCount: 1, lastIndex: 12, entryCount: 8 });
});

t.test('a backup that can be seen and is not one is named', async (t) => {
  const log = new TestLog().append(4);
  const objects = objectsOf(await archived(log, [4]));
  objects.set(backupManifestKey(CLUSTER, BACKUP_ID), Buffer.alloc(200, 7));
  const { backups, wrong } = await auditOf(t, objects);
  t.same(backups, []);
  t.match(wrong, [new RegExp(`^backup ${BACKUP_ID}: `)]);
});

/**
 * Goal: an archiver that met something wrong puts nothing more, and goes on by itself once somebody
 * has mended the store; never because what showed the fault is gone. Method: archives that another
 * history, damage or a second timeline spoiled, and an operator's hand that takes it away.
 */
import { type HoldfastError, SeededRandom } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import { NO_KEYS } from '@holdfast/storage';
import t, { type Test } from 'tap';
import type { ArchiverLimits } from '../src/backup/archive/log-archiver.ts';
import { SinkArchive } from '../src/backup/archive/sink-archive.ts';
import type { BackupSink } from '../src/backup/sinks/sink.ts';
import { checkSink } from '../src/backup/sinks/sink-check.ts';
import { MemorySink } from '../src/backup/testing/memory-sink.ts';
import {
  CLUSTER,
  catchUp,
  hasher,
  LogView,
  makeArchiver,
  readAll,
  readerOf,
  settle,
  storeOf,
  TestLog,
} from './support/archive.ts';

const SMALL = { chunkSizeBytesMax: 400 };
const MINUTE_MS = 60_000;

const logKeys = (sink: MemorySink): readonly string[] =>
  sink.keys.filter((key) => key.includes('/log/'));

const contents = (sink: MemorySink) => sink.keys.map((key) => [key, sink.contentOf(key)]);

/** The first six entries are of the log; what follows in the store is of another one. */
async function spoiled() {
  const sink = new MemorySink();
  const log = new TestLog().append(10);
  const shared = new LogView(log, 6);
  await catchUp(makeArchiver(sink, shared, { limits: SMALL }), shared);
  const goodKeys = logKeys(sink);
  const other = new LogView(log.fork(6).append(4, { mark: 1 }));
  await catchUp(makeArchiver(sink, other, { limits: SMALL }), other);
  const badKeys = logKeys(sink).filter((key) => !goodKeys.includes(key));
  return { sink, log, badKeys };
}

async function checkWhole(t: Test, sink: MemorySink, log: TestLog) {
  t.strictSame(await readAll(readerOf(sink), log.lastIndex), log.entries);
  t.match(await readerOf(sink).verify(), { error: null, gaps: [], entryCount: log.lastIndex });
}

t.test('an alarmed archiver goes on once what contradicts is removed', async (t) => {
  const { badKeys, log, sink } = await spoiled();
  const view = new LogView(log);
  const own = makeArchiver(sink, view, { limits: SMALL });
  const before = contents(sink);
  t.equal(await catchUp(own, view, 300), false);
  t.match(own.archiver.status(), { state: 'alarmed', lastError: { code: 'BACKUP_CORRUPT' } });
  t.equal(own.alarms.length, 1, 'it is told once, however often it looks');
  t.strictSame(contents(sink), before, 'nothing is put');
  const [first = '', ...rest] = badKeys;
  for (const key of rest) sink.lose(key);
  t.equal(await catchUp(own, view, 200), false, 'one of them is left');
  sink.lose(first);
  t.equal(await catchUp(own, view, 100), true);
  t.equal(own.endedAlarms.length, 1);
  t.equal(own.archiver.status().state, 'archiving');
  await checkWhole(t, sink, log);
});

t.test('a race that was lost against another history ends as well', async (t) => {
  const sink = new MemorySink();
  const log = new TestLog().append(4);
  const view = new LogView(log);
  const own = makeArchiver(sink, view);
  await catchUp(own, view);
  const [shared = ''] = logKeys(sink);
  const other = new LogView(log.fork(4).append(3, { mark: 1 }));
  await catchUp(makeArchiver(sink, other), other);
  log.append(5);
  view.committed = log.lastIndex;
  t.equal(await catchUp(own, view, 20), false);
  t.match(own.archiver.status(), { state: 'alarmed', archivedIndex: 4 });
  for (const key of logKeys(sink)) if (key !== shared) sink.lose(key);
  t.equal(await catchUp(own, view, 100), true);
  await checkWhole(t, sink, log);
});

t.test('a chunk that does not continue the archive stays an alarm while it is there', async (t) => {
  const sink = new MemorySink();
  const log = new TestLog().append(4);
  const view = new LogView(log);
  const own = makeArchiver(sink, view);
  await catchUp(own, view);
  // The same entries, but behind chunks of other lengths: the chain of hashes is another one.
  const elsewhere = new MemorySink();
  const early = new LogView(log, 2);
  const copy = makeArchiver(elsewhere, early);
  await catchUp(copy, early);
  early.committed = 4;
  await catchUp(copy, early);
  log.append(3);
  early.committed = 7;
  await catchUp(copy, early);
  const foreign = logKeys(elsewhere).at(-1) ?? '';
  sink.tamper(foreign, elsewhere.contentOf(foreign) ?? new Uint8Array());
  view.committed = 7;
  t.equal(await catchUp(own, view, 200), false);
  t.match(own.alarms, [{ code: 'BACKUP_CORRUPT', details: { key: foreign } }]);
  t.equal(own.archiver.status().state, 'alarmed', 'its entries agree, its place in the chain not');
  sink.lose(foreign);
  t.equal(await catchUp(own, view, 100), true);
  await checkWhole(t, sink, log);
});

t.test('an alarm does not end because the log that showed it was compacted', async (t) => {
  const { badKeys, log, sink } = await spoiled();
  const view = new LogView(log);
  const own = makeArchiver(sink, view, { limits: SMALL });
  await catchUp(own, view, 5);
  const before = contents(sink);
  log.append(10);
  view.committed = log.lastIndex;
  view.baseIndex = 15;
  t.equal(await catchUp(own, view, 300), false);
  t.equal(own.archiver.status().state, 'alarmed');
  t.equal(own.alarms.length, 1);
  t.strictSame(contents(sink), before, 'no gap is put behind another history');
  for (const key of badKeys) sink.lose(key);
  t.equal(await catchUp(own, view, 100), true);
  t.match(own.gaps, [{ firstIndex: 7, lastIndex: 15 }], 'what is lost is said');
  t.equal((await readerOf(sink).verify()).error, null);
});

t.test('a damaged end of the archive is looked at again until it is whole', async (t) => {
  const sink = new MemorySink();
  const log = new TestLog().append(9);
  const view = new LogView(log);
  await catchUp(makeArchiver(sink, view, { limits: SMALL }), view);
  const key = logKeys(sink).at(-1) ?? '';
  const whole = sink.contentOf(key) ?? new Uint8Array();
  const bad = whole.slice();
  bad[bad.length - 9]! ^= 4;
  sink.tamper(key, bad);
  log.append(6, { newTerm: true });
  view.committed = log.lastIndex;
  const next = makeArchiver(sink, view, { limits: SMALL });
  t.equal(await catchUp(next, view, 100), false);
  t.match(next.alarms, [{ code: 'BACKUP_CORRUPT' }]);
  sink.tamper(key, whole);
  t.equal(await catchUp(next, view, 100), true);
  await checkWhole(t, sink, log);
});

t.test('an alarmed archiver looks again ever more rarely, at least once a minute', async (t) => {
  const { log, sink } = await spoiled();
  const view = new LogView(log);
  const own = makeArchiver(sink, view, { limits: SMALL });
  const looksAtMs: number[] = [];
  for (let ms = 0; ms < 10 * MINUTE_MS; ms += 100) {
    const before = sink.operationCount;
    own.archiver.tick();
    await own.archiver.idle();
    if (sink.operationCount > before) looksAtMs.push(ms);
    own.clock.advance(100);
  }
  const pauses = looksAtMs.slice(1).map((at, i) => at - (looksAtMs[i] ?? 0));
  t.ok(pauses[0]! >= 5_000 && pauses[0]! <= 5_100, `first after ${pauses[0]} ms`);
  t.ok(pauses.every((pause) => pause <= MINUTE_MS + 100));
  t.ok(pauses.length > 9 && pauses.length < 30, `${pauses.length + 1} looks in ten minutes`);
});

function makeSinkArchive(sink: BackupSink, log: LogView, limits: Partial<ArchiverLimits> = {}) {
  const clock = new VirtualClock();
  const alarms: HoldfastError[] = [];
  let endedCount = 0;
  const archive = new SinkArchive({
    ...{ sink, log, hasher, clock, limits, clusterId: CLUSTER, random: new SeededRandom(1) },
    sealing: { compression: 'none', keys: NO_KEYS, random: (size) => new Uint8Array(size) },
    onGap: () => undefined,
    onAlarm: (error) => alarms.push(error),
    onAlarmEnded: () => {
      endedCount += 1;
    },
  });
  const pass = async (ms: number): Promise<void> => {
    for (let at = 0; at < ms; at += 500) {
      archive.tick();
      await settle();
      clock.advance(500);
    }
  };
  return { archive, alarms, pass, endedCount: () => endedCount };
}

t.test('two newest timelines are an alarm until one of them is gone', async (t) => {
  const sink = new MemorySink();
  for (const timeline of ['one', 'two']) {
    const about = { clusterId: CLUSTER, timeline, parent: null, createdMs: 1 };
    await storeOf(sink, timeline).beginTimeline(about);
  }
  const log = new TestLog().append(8);
  const own = makeSinkArchive(sink, new LogView(log));
  own.archive.lead();
  await own.pass(MINUTE_MS);
  t.match(own.archive.status(), { state: 'alarmed', lastError: { code: 'BACKUP_CORRUPT' } });
  t.equal(own.alarms.length, 1);
  t.same(logKeys(sink), []);
  own.archive.follow();
  t.equal(own.archive.status().state, 'backingOff', 'the alarm is of who leads');
  own.archive.lead();
  await own.pass(MINUTE_MS);
  t.equal(own.archive.status().state, 'alarmed');
  for (const key of sink.keys.filter((name) => name.endsWith('two'))) sink.lose(key);
  await own.pass(2 * MINUTE_MS);
  t.match(own.archive.status(), { state: 'archiving', archivedIndex: 8, timeline: 'one' });
  t.equal(own.endedCount(), 1);
  await own.archive.stop();
});

t.test('a store that cannot keep two leaders apart gets nothing of the log', async (t) => {
  const sink = new MemorySink();
  let isCareless = true;
  const put: BackupSink['put'] = (key, source, options) =>
    sink.put(key, source, { ...options, ifAbsent: options.ifAbsent && !isCareless });
  const random = new SeededRandom(2);
  const store: BackupSink = {
    ...{ name: sink.name, put, close: () => sink.close() },
    check: async (options) => {
      await sink.check(options);
      await checkSink(store, random, options?.signal);
    },
    get: (key, size, options) => sink.get(key, size, options),
    read: (key, options) => sink.read(key, options),
    head: (key, options) => sink.head(key, options),
    list: (prefix, after, options) => sink.list(prefix, after, options),
    remove: (keys, options) => sink.remove(keys, options),
    presign: (key, expiresInS) => sink.presign(key, expiresInS),
  };
  const log = new TestLog().append(8);
  const own = makeSinkArchive(store, new LogView(log));
  own.archive.lead();
  await own.pass(MINUTE_MS);
  t.match(own.archive.status(), { state: 'backingOff', lastError: { code: 'SINK_REFUSED' } });
  t.same(sink.keys, []);
  t.match(own.archive.status().lastError?.message, /ignores If-None-Match/);
  isCareless = false;
  await own.pass(MINUTE_MS);
  t.match(own.archive.status(), { state: 'archiving', archivedIndex: 8 });
  const checks = sink.operations.filter(({ operation }) => operation === 'check').length;
  own.archive.follow();
  own.archive.lead();
  await own.pass(MINUTE_MS);
  const after = sink.operations.filter(({ operation }) => operation === 'check').length;
  t.equal(after, checks, 'once it is known, it is not asked again');
  await own.archive.stop();
});

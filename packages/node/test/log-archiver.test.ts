/**
 * Goal: whatever leaders do at once, and wherever one of them dies, the archive is the committed
 * log: no gap, no overlap, nothing else. Method: every interleaving of two archivers over a few
 * chunks, every sink operation failing in its turn, random schedules with crashes; in the end the
 * archive is read back and compared entry by entry.
 */
import type { HoldfastError } from '@holdfast/base';
import { DEFAULT_GROUP_ID, logIndex, SeededRandom, term } from '@holdfast/base';
import { InlineWal } from '@holdfast/storage';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import t, { type Test } from 'tap';
import { ArchiveLag } from '../src/backup/archive/archive-lag.ts';
import { backOffMs } from '../src/backup/archive/archive-progress.ts';
import { ArchiverSet } from '../src/backup/archive/archiver-set.ts';
import { committedPartOf } from '../src/backup/archive/committed-log.ts';
import { MemorySink } from '../src/backup/testing/memory-sink.ts';
import type { TestArchiver } from './support/archive.ts';
import {
  CLUSTER,
  catchUp,
  gated,
  LogView,
  MAIN,
  makeArchiver,
  readAll,
  readerOf,
  settle,
  storeOf,
  TestLog,
  Turns,
} from './support/archive.ts';

/** Three or four small entries. */
const SMALL = { chunkSizeBytesMax: 400 };
const SEED = Number(process.env.HOLDFAST_TEST_SEED ?? 20_261);

const chunkIndexes = (sink: MemorySink, timeline = MAIN): readonly number[] =>
  sink.keys
    .filter((key) => key.startsWith(`${CLUSTER}/${timeline}/log/`))
    .map((key) => Number(key.slice(-16)));

async function checkEqual(t: Test, sink: MemorySink, log: TestLog, message: string) {
  t.strictSame(await readAll(readerOf(sink), log.lastIndex), log.entries, message);
  const report = await readerOf(sink).verify();
  t.match(report, { firstIndex: 1, lastIndex: log.lastIndex, error: null, gaps: [] }, message);
  t.equal(report.entryCount, log.lastIndex, `${message}: no overlap`);
}

t.test('what is committed reaches the archive in order, and nothing else does', async (t) => {
  const sink = new MemorySink();
  const log = new TestLog().append(20);
  const view = new LogView(log, 13);
  const one = makeArchiver(sink, view, { limits: SMALL });
  t.equal(one.archiver.status().state, 'locating');
  t.equal(await catchUp(one, view), true);
  t.equal((await readerOf(sink).end()).index, 13);
  view.committed = 20;
  await catchUp(one, view);
  await checkEqual(t, sink, log, 'all of it');
  const status = one.archiver.status();
  t.match(status, { state: 'archiving', archivedIndex: 20, lagEntryCount: 0, lagMs: 0 });
  t.equal(status.entryCount, 20);
  t.equal(status.chunkCount, chunkIndexes(sink).length);
  t.ok(status.storedSizeBytes > 20 * 40);
});

t.test('a chunk is put when it is full, or when its oldest entry is old', async (t) => {
  const sink = new MemorySink();
  const log = new TestLog().append(1);
  const view = new LogView(log);
  const one = makeArchiver(sink, view, { limits: SMALL });
  await catchUp(one, view);
  const tick = async (advanceMs: number): Promise<number> => {
    one.clock.advance(advanceMs);
    one.archiver.tick();
    await one.archiver.idle();
    return chunkIndexes(sink).length;
  };
  t.equal(await tick(0), 1);
  log.append(2);
  view.committed = log.lastIndex;
  t.equal(await tick(0), 1, 'two small entries wait');
  t.equal(await tick(199), 1);
  t.equal(one.archiver.status().lagMs, 199);
  t.equal(await tick(1), 2, 'for 200 ms');
  log.append(10);
  view.committed = log.lastIndex;
  t.ok((await tick(0)) > 2, 'ten entries are more than a chunk');
  const left = one.archiver.status().lagEntryCount;
  t.ok(left > 0 && left < 5, 'what does not fill another one waits again');
});

t.test('every interleaving of two leaders leaves one history', async (t) => {
  let schedules = 0;
  // The choices of one run; the next one differs in the last choice that has an alternative.
  let choices: number[] = [];
  for (;;) {
    const options = await race(t, choices);
    schedules += 1;
    let last = options.length - 1;
    while (last >= 0 && (choices[last] ?? 0) + 1 >= options[last]!) last -= 1;
    if (last < 0 || !t.passing()) break;
    choices = [
      ...Array.from({ length: last }, (_, i) => choices[i] ?? 0),
      (choices[last] ?? 0) + 1,
    ];
  }
  t.comment(`${schedules} schedules`);
  t.ok(schedules > 100);
});

/** Two archivers with chunks of different length; how many could go on at each choice. */
async function race(t: Test, choices: readonly number[]): Promise<readonly number[]> {
  const sink = new MemorySink();
  const log = new TestLog().append(6);
  const turns = new Turns();
  const made = [300, 500].map((chunkSizeBytesMax, i) => {
    const own = gated(sink, () => turns.wait(`leader ${i}`));
    return makeArchiver(own, new LogView(log), { limits: { chunkSizeBytesMax, retryMsMin: 1 } });
  });
  const options: number[] = [];
  for (let step = 0; step < 200; step++) {
    for (const { archiver, clock } of made) {
      clock.advance(1_000);
      archiver.tick();
    }
    await settle();
    if (turns.count === 0) break;
    const choice = choices[options.length] ?? 0;
    options.push(turns.count);
    await turns.release(choice);
  }
  const label = `choices ${options.map((_, i) => choices[i] ?? 0).join('')}`;
  for (const { alarms, archiver } of made) {
    if (alarms.length > 0) t.fail(`${label}: ${alarms[0]?.message}`);
    if (archiver.archivedIndex !== 6) t.fail(`${label}: ends at ${archiver.archivedIndex}`);
  }
  const report = await readerOf(sink).verify();
  if (report.error !== null || report.entryCount !== 6) {
    t.fail(`${label}: ${report.error?.message ?? report.entryCount}`);
  }
  return options;
}

t.test('each operation of the sink may fail, before or after its effect', async (t) => {
  for (const when of ['before', 'after'] as const) {
    for (let number = 1; ; number++) {
      const sink = new MemorySink();
      const log = new TestLog().append(12);
      const view = new LogView(log);
      const heal = sink.failOperation(number, { when });
      const one = makeArchiver(sink, view, { limits: SMALL });
      t.equal(await catchUp(one, view), true, `operation ${number} fails ${when}`);
      heal();
      await checkEqual(t, sink, log, `operation ${number} fails ${when}`);
      const { failureCount, lastError } = one.archiver.status();
      if (failureCount === 0) break;
      t.same([failureCount, lastError?.code], [1, 'SINK_UNAVAILABLE']);
    }
  }
});

t.test('a leader that dies in a put is followed without a gap or an overlap', async (t) => {
  for (let releases = 0; releases < 12; releases++) {
    const sink = new MemorySink();
    const log = new TestLog().append(12);
    const view = new LogView(log);
    const turns = new Turns();
    const old = makeArchiver(
      gated(sink, () => turns.wait('old')),
      view,
      { limits: SMALL },
    );
    old.clock.advance(1_000);
    old.archiver.tick();
    await settle();
    for (let i = 0; i < releases && turns.count > 0; i++) await turns.release(0);
    turns.forget('old');
    log.append(5, { newTerm: true });
    const next = makeArchiver(sink, view, { limits: { chunkSizeBytesMax: 700 } });
    view.committed = log.lastIndex;
    t.equal(await catchUp(next, view), true);
    await checkEqual(t, sink, log, `the old leader died after ${releases} turns`);
  }
});

t.test('a failing sink is left alone for longer and longer, and costs no memory', async (t) => {
  const sink = new MemorySink();
  const log = new TestLog().append(5);
  const view = new LogView(log);
  const one = makeArchiver(sink, view, { limits: { retryMsMin: 1_000, retryMsMax: 8_000 } });
  await catchUp(one, view);
  const heal = sink.fail({ operation: 'put', times: Number.POSITIVE_INFINITY });
  log.append(5);
  view.committed = log.lastIndex;
  one.archiver.tick();
  one.clock.advance(200);
  const attemptsAtMs: number[] = [];
  for (let ms = 0; ms < 60_000; ms += 100) {
    const before = sink.operationCount;
    one.archiver.tick();
    await one.archiver.idle();
    if (sink.operationCount > before) attemptsAtMs.push(one.clock.monotonicMs());
    one.clock.advance(100);
  }
  const pauses = attemptsAtMs.slice(1).map((at, i) => at - attemptsAtMs[i]!);
  t.ok(pauses[0]! >= 1_000 && pauses[0]! <= 1_100, `first after ${pauses[0]} ms`);
  t.ok(pauses.every((pause) => pause <= 8_100));
  t.ok(pauses.length >= 6 && pauses.length < 20, `${pauses.length + 1} attempts in a minute`);
  t.equal(one.archiver.status().state, 'backingOff');
  t.ok(one.archiver.status().lagMs >= 60_000);
  heal();
  await catchUp(one, view);
  await checkEqual(t, sink, log, 'afterwards');
  t.equal(one.archiver.status().lagMs, 0);
});

t.test(
  'another content for a committed index is an alarm, and nothing is overwritten',
  async (t) => {
    const sink = new MemorySink();
    const log = new TestLog().append(10);
    const view = new LogView(log);
    const other = log.fork(6).append(4, { mark: 1 });
    const otherView = new LogView(other, 8);
    await catchUp(makeArchiver(sink, otherView), otherView);
    const own = makeArchiver(sink, view);
    const before = sink.keys.map((key) => [key, sink.contentOf(key)]);
    await catchUp(own, view, 5);
    t.equal(own.archiver.status().state, 'alarmed');
    t.match(own.alarms, [{ code: 'BACKUP_CORRUPT', details: { index: 7 } }]);
    await catchUp(own, view, 5);
    t.equal(own.alarms.length, 1, 'it is told once');
    t.strictSame(
      sink.keys.map((key) => [key, sink.contentOf(key)]),
      before,
    );
  },
);

t.test('a leader that loses a race against another history stops as well', async (t) => {
  const sink = new MemorySink();
  const log = new TestLog().append(4);
  const view = new LogView(log);
  const own = makeArchiver(sink, view, { limits: { chunkSizeBytesMax: 1e6 } });
  await catchUp(own, view);
  const other = log.fork(4).append(3, { mark: 1 });
  const otherView = new LogView(other);
  await catchUp(makeArchiver(sink, otherView, { limits: { chunkSizeBytesMax: 1e6 } }), otherView);
  log.append(5);
  view.committed = log.lastIndex;
  await catchUp(own, view, 5);
  t.match(own.alarms, [{ code: 'BACKUP_CORRUPT', details: { index: 5 } }]);
  t.same(chunkIndexes(sink), [1, 5]);
});

t.test('a leader waits while the archive is ahead of what it knows', async (t) => {
  const sink = new MemorySink();
  const log = new TestLog().append(10);
  const ahead = new LogView(log);
  await catchUp(makeArchiver(sink, ahead, { limits: SMALL }), ahead);
  const view = new LogView(log, 7);
  const late = makeArchiver(sink, view);
  await catchUp(late, view, 3);
  t.match(late.archiver.status(), { state: 'waiting', archivedIndex: null, failureCount: 0 });
  t.same(late.alarms, []);
  view.committed = 10;
  t.equal(await catchUp(late, view), true);
  log.append(3, { newTerm: true });
  view.committed = 13;
  await catchUp(late, view);
  await checkEqual(t, sink, log, 'it goes on');
});

t.test('entries that were compacted away become a gap, and a backup is asked for', async (t) => {
  for (const number of [0, 1, 2, 3, 4, 5]) {
    const sink = new MemorySink();
    const log = new TestLog().append(20);
    const view = new LogView(log, 5);
    const one = makeArchiver(sink, view, { limits: SMALL });
    await catchUp(one, view);
    view.committed = 20;
    view.baseIndex = 12;
    if (number > 0) sink.failOperation(number, { when: number % 2 === 0 ? 'before' : 'after' });
    t.equal(await catchUp(one, view), true);
    sink.healAll();
    t.ok(one.gaps.length >= 1);
    t.match(one.gaps[0], { firstIndex: 6, lastIndex: 12, reason: 'compacted', timeline: MAIN });
    const report = await readerOf(sink).verify();
    t.match(report, { error: null, lastIndex: 20, entryCount: 13 });
    t.match(report.gaps, [{ firstIndex: 6, lastIndex: 12 }]);
    t.match(await readerOf(sink).gaps(), [{ firstIndex: 6, lastIndex: 12 }], 'found by listing');
  }
});

t.test('a log that is older than its archive says so', async (t) => {
  const sink = new MemorySink();
  const log = new TestLog().append(9);
  const view = new LogView(log);
  view.baseIndex = 4;
  const one = makeArchiver(sink, view, { limits: SMALL });
  await catchUp(one, view);
  t.match(one.gaps, [{ firstIndex: 1, lastIndex: 4, reason: 'archive-began-later' }]);
});

t.test('a real log is archived while it is written, rolled and compacted', async (t) => {
  const fileSystem = new MemoryFileSystem();
  const options = { fileSizeBytes: 16 * 1024, cacheSizeBytesMax: 2 * 1024 };
  const wal = InlineWal.open({ fileSystem, directory: '/data/wal', options });
  const durable = wal.groupLog(DEFAULT_GROUP_ID);
  const log = new TestLog();
  let committed = 0;
  const view = committedPartOf(durable, () => logIndex(committed));
  const sink = new MemorySink();
  const one = makeArchiver(sink, view, { limits: { chunkSizeBytesMax: 2_000 } });
  const write = (count: number): void => {
    const entries = log.append(count).entries.slice(-count);
    const base = { group: DEFAULT_GROUP_ID, hardState: null, truncateFrom: null, snapshot: null };
    wal.append({ ...base, entries, mustSync: true });
    wal.pump();
  };
  const compact = (index: number): void => {
    const sum = log.sumOf(index);
    wal.compact(DEFAULT_GROUP_ID, { index: logIndex(index), term: term(1), sum });
    wal.pump();
  };
  write(300);
  t.equal(view.isLongerThan(logIndex(1), 2_000), true);
  t.equal(view.isLongerThan(logIndex(300), 2_000), false);
  committed = 1_000_000;
  t.equal(view.committedIndex(), 300, 'what is not durable here is not read');
  committed = 250;
  await catchUp(one, view);
  t.equal(one.archiver.archivedIndex, 250);
  compact(200);
  committed = 300;
  await catchUp(one, view);
  await checkEqual(t, sink, log, 'from files, behind a base');
  write(200);
  compact(450);
  committed = 500;
  await catchUp(one, view);
  t.match(one.gaps, [{ firstIndex: 301, lastIndex: 450, lastSum: log.sumOf(450) }]);
  const report = await readerOf(sink).verify();
  t.match(report, { error: null, lastIndex: 500, entryCount: 350 });
  const next = makeArchiver(sink, view);
  write(20);
  compact(505);
  committed = 520;
  await catchUp(next, view);
  t.match(next.gaps, [{ firstIndex: 501, lastIndex: 505 }], 'a leader that never saw the end');
  await wal.close();
});

t.test('who has the entries and who has not agree on which of the two counts', async (t) => {
  for (let first = 0; first < 2; first++) {
    const sink = new MemorySink();
    const log = new TestLog().append(4);
    const shared = new LogView(log);
    await catchUp(makeArchiver(sink, shared), shared);
    log.append(8);
    const turns = new Turns();
    const views = [0, 6].map((baseIndex) => {
      const view = new LogView(log);
      view.baseIndex = baseIndex;
      return view;
    });
    const made = views.map((view, i) =>
      makeArchiver(
        gated(sink, () => turns.wait(`${i}`)),
        view,
        { limits: { chunkSizeBytesMax: 1e6, retryMsMin: 1 } },
      ),
    );
    for (let step = 0; step < 60; step++) {
      for (const { archiver, clock } of made) {
        clock.advance(1_000);
        archiver.tick();
      }
      await settle();
      if (turns.count === 0) break;
      await turns.release(first === 0 ? 0 : turns.count - 1);
    }
    for (const { alarms, archiver } of made) {
      t.same(alarms, []);
      t.equal(archiver.archivedIndex, 12);
    }
    t.equal((await readerOf(sink).verify()).error, null);
  }
});

t.test('a new timeline begins where it leaves its parent', async (t) => {
  const sink = new MemorySink();
  const log = new TestLog().append(10);
  const view = new LogView(log);
  await catchUp(makeArchiver(sink, view, { limits: SMALL }), view);
  const branch = log.fork(6).append(7, { newTerm: true, mark: 2 });
  const branchView = new LogView(branch);
  const parent = {
    ...{ clusterId: CLUSTER, timeline: MAIN, index: logIndex(6), term: term(log.termOf(6)) },
    ...{ sum: log.sumOf(6), timestampMs: (await readerOf(sink).resolve(INDEX_6)).timestampMs ?? 0 },
  };
  const options = { store: storeOf(sink, 'branch'), parent, limits: SMALL };
  const one = makeArchiver(sink, branchView, options);
  t.equal(await catchUp(one, branchView), true);
  const reader = readerOf(sink, 'branch');
  t.strictSame(await readAll(reader, 13), branch.entries);
  t.match(await reader.verify(), { error: null, entryCount: 13, lastIndex: 13 });
  const stranger = makeArchiver(sink, branchView, {
    ...options,
    parent: { ...parent, index: logIndex(5) },
  });
  await catchUp(stranger, branchView, 3);
  t.match(stranger.alarms, [{ code: 'BACKUP_CORRUPT', message: /another origin/ }]);
});
const INDEX_6 = { kind: 'index', index: 6 } as const;

t.test('a log that is not what the timeline left is an alarm', async (t) => {
  const sink = new MemorySink();
  const log = new TestLog().append(10);
  const view = new LogView(log);
  await catchUp(makeArchiver(sink, view), view);
  const other = new LogView(new TestLog().append(12, { mark: 9 }));
  const parent = {
    ...{ clusterId: CLUSTER, timeline: MAIN, index: logIndex(6), term: term(1) },
    ...{ sum: log.sumOf(6), timestampMs: 0 },
  };
  const one = makeArchiver(sink, other, { store: storeOf(sink, 'branch'), parent });
  await catchUp(one, other, 3);
  t.match(one.alarms, [{ code: 'BACKUP_CORRUPT', details: { index: 6 } }]);
});

t.test('random schedules of leaders, crashes and failures end in the log itself', async (t) => {
  for (let seed = SEED; seed < SEED + 15 && t.passing(); seed++) await storm(t, seed);
});

async function storm(t: Test, seed: number): Promise<void> {
  const random = new SeededRandom(seed);
  const sink = new MemorySink();
  const log = new TestLog().append(2);
  const turns = new Turns();
  const views = [0, 1, 2].map(() => new LogView(log));
  let leaders: (TestArchiver & { name: string; view: LogView })[] = [];
  let made = 0;
  for (let step = 0; step < 150; step++) {
    const dice = random.nextBelow(20);
    if (dice < 3) log.append(1 + random.nextBelow(6), { newTerm: dice === 0 });
    for (const view of views) {
      const lag = random.nextBelow(4);
      view.committed = Math.max(view.committed, log.lastIndex - lag);
    }
    if (dice === 4 || leaders.length === 0) {
      const name = `leader ${made++}`;
      const view = views[random.nextBelow(views.length)] as LogView;
      const chunkSizeBytesMax = 100 + random.nextBelow(600);
      const own = gated(sink, () => turns.wait(name));
      const limits = { chunkSizeBytesMax, retryMsMin: 1 };
      leaders.push({ ...makeArchiver(own, view, { limits, seed }), name, view });
    }
    if (dice === 5) {
      const victim = leaders.splice(random.nextBelow(leaders.length), 1)[0];
      if (victim !== undefined) turns.forget(victim.name);
    }
    if (dice === 6) sink.fail({ when: random.nextBelow(2) === 0 ? 'before' : 'after' });
    for (const { archiver, clock } of leaders) {
      clock.advance(random.nextBelow(300));
      archiver.tick();
    }
    await settle();
    if (turns.count > 0) await turns.release(random.nextBelow(turns.count));
  }
  const alarm = leaders.flatMap(({ alarms }) => alarms)[0] as HoldfastError | undefined;
  leaders = [];
  sink.healAll();
  const view = new LogView(log);
  const last = makeArchiver(sink, view, { seed });
  const isDone = await catchUp(last, view);
  const report = await readerOf(sink).verify();
  const entries = await readAll(readerOf(sink), log.lastIndex);
  const isSame =
    entries.length === log.lastIndex &&
    entries.every((entry, i) => Buffer.compare(entry.sum, log.entries[i]!.sum) === 0);
  const isFine = isDone && isSame && report.error === null && report.entryCount === log.lastIndex;
  const what = alarm?.message ?? report.error?.message ?? `${report.entryCount} entries`;
  t.ok(isFine && alarm === undefined, `seed ${seed}: ${what} of ${log.lastIndex}`);
}

t.test('the age of what waits is never told too small', (t) => {
  const random = new SeededRandom(SEED);
  const lag = new ArchiveLag();
  const committedAtMs: number[] = [0];
  let archived = 0;
  for (let nowMs = 0; nowMs < 4_000; nowMs++) {
    for (let i = random.nextBelow(3); i > 0; i--) committedAtMs.push(nowMs);
    lag.noteCommitted(committedAtMs.length - 1, nowMs);
    if (random.nextBelow(900) === 0) {
      archived += random.nextBelow(committedAtMs.length - archived);
      lag.noteArchived(archived);
    }
    const oldest = committedAtMs[archived + 1];
    const ageMs = lag.ageMs(nowMs);
    const trueMs = oldest === undefined ? 0 : nowMs - oldest;
    if (ageMs < trueMs || ageMs > trueMs + 40) t.fail(`${ageMs} for ${trueMs} at ${nowMs}`);
    if (lag.entryCount !== committedAtMs.length - 1 - archived) t.fail(`count at ${nowMs}`);
  }
  lag.backdate(10_000, 4_000);
  t.equal(lag.ageMs(4_000), lag.entryCount === 0 ? 0 : 10_000);
  t.equal(backOffMs(1, 0.9, { firstMs: 100, mostMs: 800 }), 100);
  t.equal(backOffMs(9, 0, { firstMs: 100, mostMs: 800 }), 800);
  t.end();
});

t.test('the log is kept for the slowest sink that is required', async (t) => {
  const sinks = [0, 1, 2].map((i) => new MemorySink({ name: `sink ${i}` }));
  const log = new TestLog().append(8);
  const view = new LogView(log);
  const made = sinks.map((sink) => makeArchiver(sink, view, { limits: SMALL }));
  const set = new ArchiverSet(made.map(({ archiver }, i) => ({ archiver, isRequired: i !== 2 })));
  t.equal(set.archivedIndex, 0, 'nothing is known yet, so nothing may go');
  sinks[1]?.fail({ operation: 'put', times: Number.POSITIVE_INFINITY });
  sinks[2]?.fail({ times: Number.POSITIVE_INFINITY });
  const tick = async (): Promise<void> => {
    for (const { clock } of made) clock.advance(1_000);
    set.tick();
    for (const { archiver } of made) await archiver.idle();
  };
  for (let i = 0; i < 3; i++) await tick();
  t.equal(made[0]?.archiver.archivedIndex, 8, 'one bad sink does not fail the others');
  t.equal(set.archivedIndex, 0);
  sinks[1]?.healAll();
  for (let i = 0; i < 10; i++) await tick();
  t.equal(set.archivedIndex, 8, 'the third is not required');
  t.match(set.statuses(), [{ lagMs: 0 }, { lagMs: 0 }, { isRequired: false }]);
  t.ok((set.statuses()[2]?.lagMs ?? 0) > 5_000, 'its lag is told all the same');
  t.equal(new ArchiverSet([]).archivedIndex, null);
  await set.stop();
  t.equal(set.statuses()[0]?.state, 'stopped');
});

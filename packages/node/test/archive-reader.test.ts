/**
 * Goal: what a reader gets out of an archive is the log, or a refusal that names where it is not.
 * Method: random logs over several timelines against a plain scan for times and indexes; each kind
 * of damage, hole and overlap by hand.
 */
import type { HoldfastError } from '@holdfast/base';
import { EMPTY_LOG_SUM, logIndex, SeededRandom, term } from '@holdfast/base';
import { encodeLogChunk, startOfTimeline } from '@holdfast/storage';
import t, { type Test } from 'tap';
import { endOf } from '../src/backup/archive/archive-store.ts';
import type { RestoreTarget } from '../src/backup/archive/archive-target.ts';
import { entryTimestampMs } from '../src/backup/archive/entry-time.ts';
import { MemorySink } from '../src/backup/testing/memory-sink.ts';
import {
  CLUSTER,
  catchUp,
  LogView,
  makeArchiver,
  readAll,
  readerOf,
  START_MS,
  storeOf,
  TestLog,
} from './support/archive.ts';

const SEED = Number(process.env.HOLDFAST_TEST_SEED ?? 71);
const SMALL = { chunkSizeBytesMax: 400 };
const at = (timestampMs: number): RestoreTarget => ({ kind: 'time', timestampMs });

async function archived(log: TestLog, baseIndex = 0): Promise<MemorySink> {
  const sink = new MemorySink();
  const view = new LogView(log);
  view.baseIndex = baseIndex;
  if (!(await catchUp(makeArchiver(sink, view, { limits: SMALL }), view))) throw new Error('stuck');
  return sink;
}

const startAt = (log: TestLog, index: number) => ({
  index: logIndex(index),
  term: term(log.termOf(index)),
  sum: log.sumOf(index),
});

/** Log time at each index, 0 for the beginning, by a plain scan. */
function timesOf(log: TestLog): readonly number[] {
  const times = [0];
  for (const entry of log.entries) {
    times.push(Math.max(times.at(-1) ?? 0, entryTimestampMs(entry) ?? 0));
  }
  return times;
}

t.test('any part of the log can be read, and continues the state it is asked for', async (t) => {
  const log = new TestLog().append(30).append(10, { newTerm: true });
  const reader = readerOf(await archived(log));
  for (const [from, through] of [
    [0, 40],
    [0, 1],
    [7, 8],
    [39, 40],
    [3, 33],
    [12, 12],
  ] as const) {
    const entries = [];
    for await (const batch of reader.entries(startAt(log, from), logIndex(through))) {
      entries.push(...batch.entries);
    }
    t.strictSame(entries, log.entries.slice(from, through), `${from} to ${through}`);
  }
  const keys = [];
  for await (const { firstIndex } of reader.chunks(logIndex(7), logIndex(20)))
    keys.push(firstIndex);
  t.ok(keys[0]! <= 8 && keys.at(-1)! <= 20 && keys.length >= 3, `listed: ${keys.join(' ')}`);
  const other = log.fork(10).append(5, { mark: 3 });
  await t.rejects(drain(reader.entries(startAt(other, 12), logIndex(40))), {
    code: 'BACKUP_CORRUPT',
    details: { index: 12 },
    message: /than the backup/,
  });
  await t.rejects(drain(reader.entries(startAt(log, 3), logIndex(41))), {
    code: 'RESTORE_TARGET',
    details: { archivedIndex: 40 },
  });
});

async function drain(batches: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of batches);
}

t.test('a time is the last entry that is not after it', async (t) => {
  const random = new SeededRandom(SEED);
  for (let round = 0; round < 4; round++) {
    const log = new TestLog();
    for (let i = 0; i < 12; i++) {
      const stepMs = random.nextBelow(3) * random.nextBelow(40);
      log.append(1 + random.nextBelow(6), { newTerm: random.nextBelow(3) === 0, stepMs });
    }
    const times = timesOf(log);
    const reader = readerOf(await archived(log));
    const endMs = times.at(-1) ?? 0;
    for (let i = 0; i < 15; i++) {
      const timestampMs = START_MS - 1 + random.nextBelow(endMs - START_MS + 20);
      const expected = times.findLastIndex((timeMs) => timeMs <= timestampMs);
      const found = await reader.resolve(at(timestampMs));
      const label = `seed ${SEED} round ${round} at ${timestampMs - START_MS}`;
      t.equal(found.index, expected, label);
      t.equal(found.timestampMs, times[expected], label);
      t.equal(found.isAtEnd, expected === log.lastIndex, label);
    }
  }
});

t.test('a long archive is not read to find a time in it, nor listed to find its end', async (t) => {
  const log = new TestLog().append(3_000);
  const sink = await archived(log);
  const listed = sink.operationCount;
  const found = await readerOf(sink).resolve(at(START_MS + 10 * 1_234));
  t.equal(found.index, 1_235);
  const operations = sink.operations.slice(listed);
  const reads = operations.filter(({ operation }) => operation === 'get').length;
  t.ok(reads < 20, `${reads} of ${sink.keys.length} objects were read`);
});

t.test('targets that cannot be reached are refused with those that can', async (t) => {
  const log = new TestLog().append(20);
  const reader = readerOf(await archived(log));
  t.match(await reader.resolve({ kind: 'latest' }), { index: 20, isAtEnd: true });
  t.match(await reader.resolve({ kind: 'index', index: 17 }), { index: 17, isAtEnd: false });
  await t.rejects(reader.resolve({ kind: 'index', index: 21 }), {
    code: 'RESTORE_TARGET',
    message: /ends at index 20/,
    details: { archivedIndex: 20 },
  });
  await t.rejects(reader.resolve({ kind: 'index', index: -1 }), { code: 'RESTORE_TARGET' });
  t.match(await reader.resolve(at(START_MS + 1e9)), { index: 20, isAtEnd: true });
  t.equal((await reader.resolve(at(START_MS - 1))).index, 1, 'the no-op has no time of its own');
  await t.rejects(reader.resolve(at(-1)), { code: 'RESTORE_TARGET', message: /archive begins at/ });
  const nobody = readerOf(new MemorySink());
  await t.rejects(nobody.resolve({ kind: 'latest' }), { code: 'BACKUP_NOT_FOUND' });
});

t.test('what lies in a gap is refused by name', async (t) => {
  const sink = new MemorySink();
  const log = new TestLog().append(20);
  const view = new LogView(log, 6);
  const one = makeArchiver(sink, view, { limits: SMALL });
  await catchUp(one, view);
  log.append(4, { newTerm: true });
  view.committed = log.lastIndex;
  // Behind the gap comes a no-op, whose time is that before the gap.
  view.baseIndex = 20;
  await catchUp(one, view);
  const reader = readerOf(sink);
  const gap = { firstIndex: 7, lastIndex: 20, reachableThrough: 6, reachableFrom: 20 };
  const refused = { code: 'ARCHIVE_GAP', details: gap };
  await t.rejects(drain(reader.entries(startAt(log, 3), logIndex(10))), refused);
  await t.rejects(drain(reader.entries(startAt(log, 12), logIndex(24))), refused);
  const after = [];
  for await (const { entries } of reader.entries(startAt(log, 20), logIndex(24)))
    after.push(...entries);
  t.strictSame(after, log.entries.slice(20));
  const times = timesOf(log);
  t.equal((await reader.resolve(at(times[6]! - 1))).index, 5);
  for (const index of [6, 7, 15, 20, 21]) {
    await t.rejects(reader.resolve(at(times[index]!)), refused, `the time of index ${index}`);
  }
  t.equal((await reader.resolve(at(times[22]!))).index, 22);
  await t.rejects(drain(reader.entries(startAt(log, 0), logIndex(24))), {
    ...refused,
    message: /choose a target up to index 6, or one that a backup at index 20 or later leads to/,
  });
});

t.test('a history over timelines is one log, and times are found in each of them', async (t) => {
  const sink = new MemorySink();
  const logs = [new TestLog().append(15)];
  const names = ['main', 'second', 'third'];
  const leaves = [9, 12];
  await catchUp(
    makeArchiver(sink, new LogView(logs[0]!), { limits: SMALL }),
    new LogView(logs[0]!),
  );
  for (const [i, index] of leaves.entries()) {
    const log = logs[i]!.fork(index).append(6, { newTerm: true, mark: i + 1, stepMs: 100 });
    const parent = {
      ...{ clusterId: CLUSTER, timeline: names[i]!, index: logIndex(index) },
      ...{ term: term(log.termOf(index)), sum: log.sumOf(index) },
      timestampMs: timesOf(log)[index]!,
    };
    const store = storeOf(sink, names[i + 1]);
    const view = new LogView(log);
    await catchUp(makeArchiver(sink, view, { store, parent, limits: SMALL }), view);
    logs.push(log);
  }
  for (const [i, log] of logs.entries()) {
    const reader = readerOf(sink, names[i]);
    t.strictSame(await readAll(reader, log.lastIndex), log.entries, `timeline ${names[i]}`);
    t.match(await reader.verify(), { error: null, entryCount: log.lastIndex });
    const times = timesOf(log);
    for (const [index, timeMs] of times.entries()) {
      if (index === 0) continue;
      const expected = times.findLastIndex((other) => other <= timeMs);
      t.equal((await reader.resolve(at(timeMs))).index, expected, `${names[i]} at ${index}`);
    }
    t.equal((await reader.end()).index, log.lastIndex);
  }
  sink.lose(`${CLUSTER}/timelines/second`);
  await t.rejects(readerOf(sink, 'third').verify(), {
    code: 'BACKUP_NOT_FOUND',
    message: /timelines\/second/,
  });
  t.equal((await readerOf(sink, 'main').verify()).error, null, 'the others stay readable');
});

t.test('a child that names another history than its parent has is found', async (t) => {
  const log = new TestLog().append(15);
  const sink = await archived(log);
  const other = new TestLog().append(9, { mark: 5 }).append(4, { newTerm: true });
  const parent = {
    ...{ clusterId: CLUSTER, timeline: 'main', index: logIndex(9), term: term(1) },
    ...{ sum: other.sumOf(9), timestampMs: 0 },
  };
  const view = new LogView(other);
  await catchUp(makeArchiver(sink, view, { store: storeOf(sink, 'odd'), parent }), view);
  const report = await readerOf(sink, 'odd').verify();
  t.equal(report.firstBadIndex, 10);
  t.match(report.error, { code: 'BACKUP_CORRUPT', message: /leaves another history/ });
});

t.test('every object that is changed, lost or exchanged is named with its index', async (t) => {
  const log = new TestLog().append(30);
  const whole = await archived(log);
  const keys = whole.keys.filter((key) => key.includes('/log/'));
  const indexOf = (key: string): number => Number(key.slice(-16));
  const check = async (t: Test, sink: MemorySink, index: number, key: string, what: string) => {
    const report = await readerOf(sink).verify(logIndex(1));
    t.equal(report.firstBadIndex, index, `${what} at ${index}`);
    t.equal(report.lastIndex ?? 0, index - 1, 'what is before it is good');
    t.match(report.error, { code: 'BACKUP_CORRUPT' });
    t.match(report.error, { message: key });
    await t.rejects(readAll(readerOf(sink), 30), { code: 'BACKUP_CORRUPT', details: { index } });
  };
  for (const [i, key] of keys.entries()) {
    const damaged = whole.clone();
    const bytes = (whole.contentOf(key) as Uint8Array).slice();
    bytes[bytes.length >> 1]! ^= 1;
    damaged.tamper(key, bytes);
    await check(t, damaged, indexOf(key), key, 'a flipped byte');
    const cut = whole.clone();
    cut.tamper(key, bytes.subarray(0, bytes.length - 5));
    await check(t, cut, indexOf(key), key, 'a cut');
    const other = keys[(i + 1) % keys.length] as string;
    const exchanged = whole.clone();
    exchanged.tamper(key, whole.contentOf(other) as Uint8Array);
    await check(t, exchanged, indexOf(key), key, 'an exchange');
    if (i + 1 === keys.length) continue;
    const lost = whole.clone();
    lost.lose(key);
    await check(t, lost, indexOf(key), key, 'a loss');
  }
});

t.test(
  'who can write sealed objects and changes the past breaks the chain behind it',
  async (t) => {
    const log = new TestLog().append(12);
    const sink = await archived(log);
    const store = storeOf(sink);
    const [, second, third] = sink.keys.filter((key) => key.includes('/log/'));
    const firstIndex = Number(second?.slice(-16));
    const nextIndex = Number(third?.slice(-16));
    const object = await store.readLogObject(firstIndex);
    if (object?.kind !== 'chunk') throw new Error('a chunk is there');
    const other = log.fork(firstIndex - 1).append(object.entries.length, { mark: 8 });
    const { header } = object;
    const forged = encodeLogChunk({
      ...{ clusterId: CLUSTER, timeline: 'main', entries: other.entries.slice(firstIndex - 1) },
      before: {
        ...{ index: logIndex(firstIndex - 1), term: header.termBefore, sum: header.sumBefore },
        ...{ hash: header.hashBefore, timestampMs: header.timestampBeforeMs },
      },
      timestampOf: entryTimestampMs,
    });
    sink.lose(second as string);
    await store.putLogObject(logIndex(firstIndex), forged.bytes);
    const report = await readerOf(sink).verify();
    t.equal(report.firstBadIndex, nextIndex);
    t.match(report.error, { code: 'BACKUP_CORRUPT', details: { key: third } });
  },
);

t.test('retention may have removed the oldest chunks; the rest is verified and used', async (t) => {
  const log = new TestLog().append(30);
  const sink = await archived(log);
  const keys = sink.keys.filter((key) => key.includes('/log/'));
  for (const key of keys.slice(0, 3)) sink.lose(key);
  const firstIndex = Number(keys[3]?.slice(-16));
  const reader = readerOf(sink);
  t.match(await reader.verify(), { error: null, firstIndex, lastIndex: 30 });
  const entries = [];
  const start = startAt(log, firstIndex - 1);
  for await (const batch of reader.entries(start, logIndex(30))) entries.push(...batch.entries);
  t.strictSame(entries, log.entries.slice(firstIndex - 1));
  await t.rejects(reader.resolve(at(timesOf(log)[2]!)), {
    code: 'RESTORE_TARGET',
    details: { firstIndex },
  });
});

t.test('a time in chunks that are not there any more is refused, not guessed at', async (t) => {
  const log = new TestLog().append(12).append(18, { newTerm: true });
  const whole = await archived(log);
  const keys = whole.keys.filter((key) => key.includes('/log/'));
  const times = timesOf(log);
  for (let i = 1; i + 1 < keys.length; i++) {
    const sink = whole.clone();
    sink.lose(keys[i] as string);
    const reader = readerOf(sink);
    const [first, next] = [keys[i], keys[i + 1]].map((key) => Number(key?.slice(-16))) as [
      number,
      number,
    ];
    const hole = { firstIndex: first, lastIndex: next - 1 };
    // The no-op behind a hole has no time of its own, so the hole reaches up to what follows it.
    const isNoopNext = log.entries[next - 1]?.type === 'noop';
    for (let index = 2; index <= 30; index++) {
      const expected = times.findLastIndex((timeMs) => timeMs <= times[index]!);
      const isLost = index >= first - 1 && expected < next + (isNoopNext ? 1 : 0);
      const resolved = reader.resolve(at(times[index]!));
      if (!isLost) t.equal((await resolved).index, expected, `index ${index} without ${first}`);
      else await t.rejects(resolved, { code: 'RESTORE_TARGET', details: hole }, `index ${index}`);
    }
    t.match(await reader.verify(), { firstBadIndex: first, error: { code: 'BACKUP_CORRUPT' } });
    const report = await reader.verify(undefined, { allowsHoles: true });
    t.match(report, { error: null, lastIndex: 30, holes: [hole] });
    t.equal(report.entryCount, 30 - (next - first), 'all the others are verified');
  }
});

t.test('an overlap is taken when the contents agree, and refused when not', async (t) => {
  const log = new TestLog().append(12);
  for (const [name, other] of [
    ['agree', log],
    ['differ', log.fork(7).append(5, { mark: 4 })],
  ] as const) {
    const sink = new MemorySink();
    const store = storeOf(sink);
    const none = { clusterId: CLUSTER, timeline: 'main', parent: null, createdMs: 0 };
    const start = startOfTimeline(await store.beginTimeline(none));
    const chunk = (entries: typeof log.entries, before: typeof start) =>
      encodeLogChunk({
        ...{ clusterId: CLUSTER, timeline: 'main', before, entries },
        timestampOf: entryTimestampMs,
      });
    const first = chunk(log.entries.slice(0, 8), start);
    const inside = chunk(log.entries.slice(0, 5), start);
    await store.putLogObject(logIndex(1), first.bytes);
    const end = endOf({ kind: 'chunk', header: inside.header, entries: [] });
    await store.putLogObject(logIndex(6), chunk(other.entries.slice(5), end).bytes);
    const report = await readerOf(sink).verify();
    if (name === 'agree') {
      t.match(report, { error: null, entryCount: 12 });
      t.strictSame(await readAll(readerOf(sink), 12), log.entries);
    } else {
      t.equal(report.firstBadIndex, 8);
      t.match(report.error, { message: /overlaps a chunk with another content/ });
    }
  }
});

t.test('failures of the sink are passed on as what they are', async (t) => {
  const log = new TestLog().append(30);
  const sink = await archived(log);
  for (let number = 1; ; number++) {
    const heal = sink.failOperation(number);
    let code = 'read';
    try {
      await readAll(readerOf(sink), 30);
    } catch (thrown) {
      code = (thrown as HoldfastError).code;
    }
    heal();
    if (code === 'read') break;
    t.equal(code, 'SINK_UNAVAILABLE', `operation ${number}`);
  }
  const start = { index: logIndex(0), term: term(0), sum: EMPTY_LOG_SUM };
  for await (const _ of readerOf(sink).entries(start, logIndex(30))) break;
  t.pass('who stops early leaves nothing behind');
});

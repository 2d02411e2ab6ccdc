/** The WAL on its own thread and the shared ring, on a real disk. Waits on events only. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EMPTY_LOG_SUM, logIndex, SeededRandom } from '@holdfast/base';
import t from 'tap';
import { describeWalFile } from '../src/inspect.ts';
import { NodeFileSystem } from '../src/node-fs.ts';
import { createRingMemory, RingConsumer, RingProducer } from '../src/wal/shared-ring.ts';
import { ThreadWal } from '../src/wal/thread-wal.ts';
import type { WalOptions } from '../src/wal/types.ts';
import {
  GROUP_ONE,
  makeAppend,
  makeEntries,
  makeHardState,
  readAll,
  sameEntries,
  sumAt,
} from './support.ts';

const clock = { monotonicMs: () => performance.now() };

function temporaryDirectory(test: Tap): string {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-wal-'));
  test.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return join(directory, 'wal');
}
type Tap = Pick<typeof t, 'teardown'>;

const SMALL: Partial<WalOptions> = { fileSizeBytes: 256 * 1024, cacheSizeBytesMax: 64 * 1024 };

function open(directory: string, options: Partial<WalOptions> = SMALL, ringSizeBytes?: number) {
  const ring = ringSizeBytes === undefined ? {} : { ringSizeBytes };
  const wal = ThreadWal.open({ directory, options, clock, ...ring });
  const tickets: number[] = [];
  let wake: () => void = () => {};
  wal.onDurable((ticket) => {
    tickets.push(ticket);
    wake();
  });
  const durable = async (ticket: number): Promise<void> => {
    while ((tickets.at(-1) ?? 0) < ticket) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  return { wal, tickets, durable };
}

t.test('frames of any size cross a small ring whole and in order', async (t) => {
  const memory = createRingMemory(256);
  const producer = new RingProducer(memory);
  const consumer = new RingConsumer(memory);
  const random = new SeededRandom(7);
  const sent: Uint8Array[] = [];
  const received: Uint8Array[] = [];
  const drain = (): void => {
    for (let frame = consumer.next(); frame !== null; frame = consumer.next()) {
      received.push(frame.bytes);
    }
    if (consumer.takeProducerWaits()) producer.pump();
  };
  for (let i = 0; i < 2000; i++) {
    const bytes = new Uint8Array(random.nextBelow(i % 50 === 0 ? 1000 : 90)).fill(i);
    sent.push(bytes);
    producer.push(1, bytes);
    if (random.nextBelow(3) === 0) drain();
  }
  while (received.length < sent.length) drain();
  t.same(received, sent);
  t.equal(producer.hasWaiting, false);
});

t.test('appends become durable in order and are found by the next start', async (t) => {
  const directory = temporaryDirectory(t);
  const first = open(directory);
  const entries = makeEntries(EMPTY_LOG_SUM, 1, 2000, { sizeBytes: 500 });
  for (let count = 0; count < entries.length; count += 100) {
    for (const entry of entries.slice(count, count + 100)) {
      first.wal.append(makeAppend({ entries: [entry] }));
    }
    await first.durable(count + 100);
  }
  t.same(
    first.tickets,
    [...first.tickets].sort((left, right) => left - right),
  );
  const { batches, filesCreated } = first.wal.stats();
  t.ok(batches < 1000, `${batches} batches for 2000 appends`);
  t.ok(filesCreated >= 3, `${filesCreated} files`);
  t.ok(
    sameEntries(readAll(first.wal.groupLog(GROUP_ONE)), entries),
    'read while the thread writes',
  );
  await first.wal.close();
  const second = open(directory);
  t.equal(second.wal.tornTail, null);
  t.ok(sameEntries(readAll(second.wal.groupLog(GROUP_ONE)), entries));
  await second.wal.close();
});

t.test('an append larger than the ring and the file passes', async (t) => {
  const { wal, durable } = open(temporaryDirectory(t), SMALL, 4096);
  const large = makeEntries(EMPTY_LOG_SUM, 1, 3, { sizeBytes: 700_000 });
  for (const entry of large) wal.append(makeAppend({ entries: [entry] }));
  const small = makeEntries(large[2]!.sum, 4, 50, { sizeBytes: 100 });
  for (const entry of small) wal.append(makeAppend({ entries: [entry] }));
  await durable(53);
  t.ok(sameEntries(readAll(wal.groupLog(GROUP_ONE)), [...large, ...small]));
  await wal.close();
});

t.test('a commit hint is told after the turn, without a sync', async (t) => {
  const { wal, durable } = open(temporaryDirectory(t));
  const entries = makeEntries(EMPTY_LOG_SUM, 1, 1);
  wal.append(makeAppend({ entries, hardState: makeHardState(1) }));
  await durable(1);
  const { syncs } = wal.stats();
  const ticket = wal.append(makeAppend({ hardState: makeHardState(1, 1), mustSync: false }));
  await durable(ticket);
  t.equal(wal.stats().syncs, syncs);
  await wal.close();
});

t.test('a quiet log is confirmed by the thread, and repaired by it', async (t) => {
  const directory = temporaryDirectory(t);
  const first = open(directory);
  const entries = makeEntries(EMPTY_LOG_SUM, 1, 40, { sizeBytes: 3000 });
  first.wal.append(makeAppend({ entries, hardState: makeHardState(1) }));
  await first.durable(1);
  const path = join(directory, '0000000000000001.wal');
  const fileSystem = new NodeFileSystem();
  const lastBatch = () =>
    [...describeWalFile(fileSystem, path)].findLast(({ kind }) => kind === 'batch')!;
  while (lastBatch().fields.records !== 0) await new Promise((resolve) => setImmediate(resolve));
  t.match(lastBatch().fields.confirms, [{ group: 1, changedFrom: 1, lastIndex: 40 }]);
  await first.wal.close();
  const bytes = readFileSync(path);
  for (const entry of entries.slice(4, 30)) {
    bytes[bytes.indexOf(Buffer.from(entry.data)) + 5]! ^= 1;
  }
  writeFileSync(path, bytes);
  const second = open(directory, { ...SMALL, batchSizeBytesMax: 16 * 1024 });
  t.match(second.wal.groupLog(GROUP_ONE).damage(), [{ low: 5, high: 30 }]);
  await t.rejects(second.wal.repair(GROUP_ONE, entries.slice(4, 29)), { code: 'REPAIR_REFUSED' });
  await second.wal.repair(GROUP_ONE, entries.slice(4, 30));
  t.ok(sameEntries(readAll(second.wal.groupLog(GROUP_ONE)), entries));
  await second.wal.close();
  const third = open(directory);
  t.same(third.wal.groupLog(GROUP_ONE).damage(), []);
  t.ok(sameEntries(readAll(third.wal.groupLog(GROUP_ONE)), entries));
  await third.wal.close();
});

t.test('close writes what is queued, commit hints included', async (t) => {
  const directory = temporaryDirectory(t);
  const first = open(directory);
  const entries = makeEntries(EMPTY_LOG_SUM, 1, 300, { sizeBytes: 2000 });
  for (const entry of entries) first.wal.append(makeAppend({ entries: [entry] }));
  first.wal.append(makeAppend({ hardState: makeHardState(0, 300, null), mustSync: false }));
  await first.wal.close();
  t.equal(first.tickets.at(-1), 301);
  t.throws(() => first.wal.append(makeAppend({})), { code: 'SHUTTING_DOWN' });
  const second = open(directory);
  t.ok(sameEntries(readAll(second.wal.groupLog(GROUP_ONE)), entries));
  t.equal(second.wal.groupLog(GROUP_ONE).hardState()?.commit, 300);
  await second.wal.close();
});

t.test('compaction deletes files on the disk', async (t) => {
  const directory = temporaryDirectory(t);
  const { wal, durable } = open(directory);
  const log = wal.groupLog(GROUP_ONE);
  const entries = makeEntries(EMPTY_LOG_SUM, 1, 1000, { sizeBytes: 1000 });
  wal.append(makeAppend({ entries: entries.slice(0, 500) }));
  wal.append(makeAppend({ entries: entries.slice(500) }));
  await durable(2);
  wal.compact(GROUP_ONE, { index: logIndex(999), term: entries[998]!.term, sum: sumAt(log, 999) });
  wal.append(makeAppend({ entries: makeEntries(entries[999]!.sum, 1001, 1) }));
  await durable(3);
  await wal.close();
  t.equal(existsSync(join(directory, '0000000000000001.wal')), false);
  const again = open(directory);
  t.equal(again.wal.groupLog(GROUP_ONE).firstIndex(), 1000);
  t.equal(again.wal.groupLog(GROUP_ONE).lastIndex(), 1001);
  await again.wal.close();
});

t.test('a failure of the disk is told once, and close still ends', async (t) => {
  const directory = temporaryDirectory(t);
  const { wal, tickets, durable } = open(directory, { ...SMALL, fileSizeBytes: 64 * 1024 });
  const failures: string[] = [];
  const failed = new Promise<void>((resolve) => {
    wal.onFailure((error) => {
      failures.push(error.code);
      resolve();
    });
  });
  const entries = makeEntries(EMPTY_LOG_SUM, 1, 200, { sizeBytes: 2000 });
  wal.append(makeAppend({ entries: entries.slice(0, 1) }));
  await durable(1);
  // The names of files to come are taken, so that rolling fails.
  for (let fileId = 2; fileId < 40; fileId++) {
    const path = join(directory, `${String(fileId).padStart(16, '0')}.wal`);
    if (!existsSync(path)) writeFileSync(path, '');
  }
  for (const entry of entries.slice(1)) wal.append(makeAppend({ entries: [entry] }));
  await failed;
  const last = tickets.at(-1);
  await wal.close();
  t.same(failures, ['WAL_IO']);
  t.equal(tickets.at(-1), last, 'nothing is told durable after the failure');
  t.throws(() => wal.append(makeAppend({})), { code: 'WAL_IO' });
});

t.test('a corked ring hands over everything at once, in order', async (t) => {
  const memory = createRingMemory(1_024);
  const producer = new RingProducer(memory);
  const consumer = new RingConsumer(memory);
  producer.cork();
  for (let i = 0; i < 5; i++) producer.push(1, Uint8Array.of(i));
  t.equal(consumer.nextSizeBytes(), null, 'nothing is to be seen before');
  producer.uncork();
  for (let i = 0; i < 5; i++) t.strictSame([...(consumer.next()?.bytes ?? [])], [i]);
  producer.push(1, Uint8Array.of(9));
  t.strictSame([...(consumer.next()?.bytes ?? [])], [9], 'and then at once again');
});

/**
 * A disk that refuses writes: full, no quota, read-only, broken for a moment. What was refused
 * before anything was synced is written again with the same bytes in the same place; nothing is
 * acknowledged that is not durable, and a failed sync ends the log for good.
 */
import { must, SeededRandom } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import t from 'tap';
import { fileIoError } from '../src/fs.ts';
import { CrashSignal } from '../src/testing/fault-plan.ts';
import { MemoryFileSystem } from '../src/testing/memory-fs.ts';
import { InlineWal } from '../src/wal/inline-wal.ts';
import { recoverWal } from '../src/wal/recovery.ts';
import { createRingMemory, RingConsumer, RingProducer } from '../src/wal/shared-ring.ts';
import { runWalThread } from '../src/wal/thread-loop.ts';
import { FRAME_APPEND, FRAME_CLOSE } from '../src/wal/thread-protocol.ts';
import { DEFAULT_WAL_OPTIONS, type WalOptions } from '../src/wal/types.ts';
import { WriteRetry } from '../src/wal/write-retry.ts';
import { classifyWriteError } from '../src/write-errors.ts';
import {
  GROUP_ONE,
  makeAppend,
  makeEntries,
  makeHardState,
  readAll,
  SMALL_WAL,
  sumAt,
  WAL_DIRECTORY,
} from './support.ts';

function openWal(fileSystem: MemoryFileSystem, options: Partial<WalOptions> = {}) {
  const clock = new VirtualClock();
  const wal = InlineWal.open({
    ...{ fileSystem, directory: WAL_DIRECTORY, options: { ...SMALL_WAL, ...options }, clock },
    schedule: (task, delayMs) => void clock.after(delayMs, task),
  });
  const durable: number[] = [];
  const failures: string[] = [];
  const states: string[] = [];
  wal.onDurable((ticket) => durable.push(ticket));
  wal.onFailure(({ code }) => failures.push(code));
  wal.onWrites(({ state }) => states.push(state));
  const appendNext = (): void => {
    const log = wal.groupLog(GROUP_ONE);
    const last = log.lastIndex();
    wal.append(makeAppend({ entries: makeEntries(sumAt(log, last), last + 1, 1) }));
  };
  return { clock, wal, durable, failures, states, appendNext };
}

t.test('errors are told apart by what can be done about them', async (t) => {
  const facts = (code: string, operation = 'write', errno = -1) =>
    classifyWriteError(fileIoError({ code, operation, errno, path: '/x' }));
  const retryable = { isRetryable: true, isDecisive: false };
  t.same(facts('ENOSPC'), { type: 'disk_full', isRetryable: true, isDecisive: true });
  t.same(facts('EDQUOT'), facts('ENOSPC'));
  t.same(facts('Unknown', 'write', -122), facts('ENOSPC'), 'Node has no name for it');
  t.same(facts('EIO'), { type: 'io_error', ...retryable });
  for (const code of ['EACCES', 'EPERM', 'EROFS'])
    t.same(facts(code, 'open'), { type: 'permission', ...retryable });
  t.equal(facts('EEXIST', 'open'), null, 'no refusal of a disk');
  for (const operation of ['sync', 'datasync', 'syncDirectory', 'close', 'remove'])
    for (const code of ['ENOSPC', 'EIO', 'EROFS'])
      t.match(facts(code, operation), { isRetryable: false }, `${code} from ${operation}`);
});

t.test('a full disk opens the breaker at once, other errors after three in a row', async (t) => {
  const options = { retryAttempts: 5, circuitBreakerThreshold: 3, circuitBreakerTimeoutMs: 60_000 };
  const io = { type: 'io_error', isRetryable: true, isDecisive: false } as const;
  const full = { type: 'disk_full', isRetryable: true, isDecisive: true } as const;
  const retry = new WriteRetry(options);
  t.equal(retry.refused(io, 0), 10);
  t.ok(retry.mayTry(10, true));
  t.equal(retry.refused(io, 10), 20);
  t.ok(retry.mayTry(30, true));
  retry.refused(io, 30);
  t.equal(retry.writes.state, 'open');
  t.notOk(retry.mayTry(60_029, true), 'room does not mend a broken disk');
  t.ok(retry.mayTry(60_030, false), 'the probe');
  t.equal(retry.writes.state, 'half-open');
  retry.succeeded();
  t.match(retry.writes, { state: 'closed', type: null, retries: 3, errors: { io_error: 3 } });

  const filled = new WriteRetry(options);
  t.equal(filled.refused(full, 0), 250);
  t.equal(filled.writes.state, 'open');
  t.notOk(filled.mayTry(250, false));
  t.ok(filled.mayTry(500, true), 'space returned');
  const impatient = new WriteRetry({ ...options, retryAttempts: 0 });
  impatient.refused(io, 0);
  t.equal(impatient.writes.state, 'open', 'no attempts, so the first one opens it');
});

t.test('who asks for a probe gets it at once, and nothing is told before the disk', async (t) => {
  const fileSystem = new MemoryFileSystem();
  const writeRetry = {
    ...{ retryAttempts: 0, circuitBreakerThreshold: 1, circuitBreakerTimeoutMs: 60_000 },
  };
  const { clock, wal, durable, failures, states, appendNext } = openWal(fileSystem, { writeRetry });
  appendNext();
  clock.advance(0);
  wal.probeWrites();
  t.equal(wal.writes().retries, 0, 'a closed one has nothing to try');
  fileSystem.faults.add({ operation: 'write', fault: 'EIO' });
  appendNext();
  clock.advance(1_000);
  t.match(wal.writes(), { state: 'open', retries: 0 });
  fileSystem.faults.add({ operation: 'write', fault: 'EIO' });
  wal.probeWrites();
  t.same(durable, [1], 'asking makes nothing durable');
  clock.advance(1_000);
  t.match(wal.writes(), { state: 'open', retries: 1, opened: 1 }, 'one probe');
  t.same(durable, [1]);
  wal.probeWrites();
  clock.advance(1_000);
  t.match(wal.writes(), { state: 'closed', retries: 2 });
  t.same(durable, [1, 2]);
  t.same([states, failures], [['open', 'closed'], []]);
  await wal.close();
});

t.test('the thread of the log is woken for a probe while it waits for its disk', async (t) => {
  const fileSystem = new MemoryFileSystem();
  const options = {
    ...{ ...DEFAULT_WAL_OPTIONS, ...SMALL_WAL },
    writeRetry: { retryAttempts: 0, circuitBreakerThreshold: 1, circuitBreakerTimeoutMs: 60_000 },
  };
  let nowMs = 0;
  const clock = { monotonicMs: () => (nowMs += 1_000) };
  const { writer } = recoverWal(fileSystem, WAL_DIRECTORY, options, clock);
  const memory = createRingMemory(4_096);
  const producer = new RingProducer(memory);
  // Asked while all is well: it is no probe of a refusal that comes later.
  producer.hurry();
  producer.push(FRAME_APPEND, new Uint8Array(0));
  producer.push(FRAME_CLOSE, new Uint8Array(0));
  fileSystem.faults.add({ operation: 'write', fault: 'EIO', times: 2 });
  const told: string[] = [];
  runWalThread(new RingConsumer(memory), writer, options, clock, (reply) => {
    if (reply.kind !== 'writes') told.push(reply.kind);
    else {
      told.push(reply.writes.state);
      if (reply.writes.state === 'open') producer.hurry();
    }
  });
  t.same(told, ['open', 'open', 'closed', 'durable', 'closed']);
  t.ok(nowMs < 60_000, `${nowMs} ms, and not the time of the breaker`);
});

for (const fault of ['EIO', 'ENOSPC'] as const) {
  t.test(`a write refused with ${fault} is done again, once and in its place`, async (t) => {
    const fileSystem = new MemoryFileSystem();
    const { clock, wal, durable, failures, appendNext } = openWal(fileSystem);
    appendNext();
    clock.advance(0);
    fileSystem.faults.add({ operation: 'write', fault });
    appendNext();
    clock.advance(0);
    t.same(durable, [1], 'not acknowledged while it is refused');
    t.match(wal.writes(), { errors: { [fault === 'EIO' ? 'io_error' : 'disk_full']: 1 } });
    wal.append(makeAppend({ hardState: makeHardState(2, 0) }));
    clock.advance(1_000);
    t.equal(durable.at(-1), 3, 'and what waited behind it follows');
    t.same(failures, []);
    const entries = readAll(wal.groupLog(GROUP_ONE));
    t.equal(entries.length, 2);
    await wal.close();
    fileSystem.crash({ seed: 1, keepUnsynced: 'none' });
    const again = openWal(fileSystem);
    t.same(readAll(again.wal.groupLog(GROUP_ONE)), entries);
    await again.wal.close();
  });
}

t.test('a full disk stops the log when it needs a file, and room sets it going', async (t) => {
  const fileSystem = new MemoryFileSystem();
  const { clock, wal, durable, failures, states, appendNext } = openWal(fileSystem);
  fileSystem.capacityBytes = 24 * 1024;
  for (let i = 0; i < 100; i++) {
    appendNext();
    clock.advance(0);
    if (wal.writes().state === 'open') break;
  }
  t.ok(durable.length > 20, 'the file in use was filled to its end');
  t.same(states, ['open']);
  t.match(wal.writes(), { type: 'disk_full', opened: 1 });
  const told = durable.length;
  clock.advance(30_000);
  t.equal(durable.length, told, 'nothing is acknowledged while it is full');
  t.ok(fileSystem.usedBytes() <= 24 * 1024, 'and what it tried is given back');
  fileSystem.capacityBytes = 1024 * 1024;
  clock.advance(300);
  t.equal(durable.at(-1), told + 1, 'by itself, within a moment');
  t.equal(wal.writes().state, 'closed');
  for (let i = 0; i < 50; i++) {
    appendNext();
    clock.advance(1);
  }
  t.equal(wal.groupLog(GROUP_ONE).lastIndex(), told + 51);
  t.same(failures, []);
  await wal.close();
});

t.test(
  'a log that is closed on a full disk ends as in a crash and loses nothing told',
  async (t) => {
    const fileSystem = new MemoryFileSystem();
    const { clock, wal, durable, failures, appendNext } = openWal(fileSystem);
    fileSystem.capacityBytes = 24 * 1024;
    for (let i = 0; i < 100 && wal.writes().state === 'closed'; i++) {
      appendNext();
      clock.advance(0);
    }
    await wal.close();
    t.same(failures, []);
    fileSystem.capacityBytes = Number.POSITIVE_INFINITY;
    fileSystem.crash({ seed: 3, keepUnsynced: 'random' });
    const again = openWal(fileSystem);
    t.ok(again.wal.groupLog(GROUP_ONE).lastIndex() >= must(durable.at(-1)));
    await again.wal.close();
  },
);

t.test('while a batch is refused the writer writes nothing else', async (t) => {
  const fileSystem = new MemoryFileSystem();
  const options = { ...DEFAULT_WAL_OPTIONS, ...SMALL_WAL };
  const { writer } = recoverWal(fileSystem, WAL_DIRECTORY, options, { monotonicMs: () => 0 });
  writer.writeBatch(new Uint8Array(0));
  fileSystem.faults.add({ operation: 'write', fault: 'EIO' });
  t.throws(() => writer.writeBatch(new Uint8Array(0)), { code: 'WRITES_BLOCKED', definite: true });
  t.ok(writer.isBlocked);
  const { operationCount } = fileSystem;
  t.throws(() => writer.writeBatch(new Uint8Array(0)), { name: 'InvariantViolation' });
  t.equal(writer.prepareNextFile(options.fileSizeBytes), false);
  t.equal(fileSystem.operationCount, operationCount);
  // A sync that fails after the write was taken at last: nothing is tried any more.
  fileSystem.faults.add({ operation: 'sync', fault: 'EIO' });
  t.throws(() => writer.resume(), { code: 'WAL_IO' });
  t.notOk(writer.isBlocked);
  t.throws(() => writer.resume(), { name: 'InvariantViolation' });
  writer.close();
});

t.test('refusals, stops of the power and restarts never lose what was told', async (t) => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = new SeededRandom(seed);
    const fileSystem = new MemoryFileSystem();
    let toldIndex = 0;
    for (let life = 0; life < 4; life++) {
      fileSystem.faults.setRandomFaults(null);
      fileSystem.capacityBytes = Number.POSITIVE_INFINITY;
      const { clock, wal, durable, failures, appendNext } = openWal(fileSystem);
      const startIndex: number = wal.groupLog(GROUP_ONE).lastIndex();
      if (startIndex < toldIndex) t.fail(`seed ${seed}: ${startIndex} of ${toldIndex} are left`);
      fileSystem.faults.setRandomFaults({ random, writeErrorRate: 0.2 });
      fileSystem.crashAtOperation(fileSystem.operationCount + 40 + random.nextBelow(60));
      try {
        for (let i = 0; i < 60; i++) {
          if (random.nextBelow(10) === 0)
            fileSystem.capacityBytes = fileSystem.usedBytes() + random.nextBelow(20_000);
          if (random.nextBelow(5) === 0) fileSystem.capacityBytes = Number.POSITIVE_INFINITY;
          if (wal.stats().queueDepth === 0) appendNext();
          clock.advance(random.nextBelow(400));
          if (durable.length > 0) toldIndex = Math.max(toldIndex, startIndex + durable.length);
        }
      } catch (error) {
        if (!(error instanceof CrashSignal)) throw error;
      }
      if (failures.length > 0) t.fail(`seed ${seed}: the log failed: ${failures}`);
      fileSystem.crash({ seed: random.nextU32(), keepUnsynced: 'random' });
    }
  }
  t.pass('60 seeds');
});

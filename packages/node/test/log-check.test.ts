/**
 * Goal: whatever is wrong with the log of a node is named by its index, on a page, at the command
 * line, and by itself every hour. Method: logs that a test owns, with entries changed in every way;
 * real log files with rot; a clock that the test moves.
 */
import type { Entry, LogIndex } from '@holdfast/base';
import {
  DEFAULT_GROUP_ID,
  EMPTY_LOG_SUM,
  type HoldfastError,
  logIndex,
  must,
  SeededRandom,
  SILENT_LOGGER,
  term,
} from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import { InlineWal, NodeFileSystem } from '@holdfast/storage';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import t from 'tap';
import { LOG_CHECK_SETTLE_MS, LogCheck } from '../src/log-check/log-check.ts';
import type { LogStats } from '../src/log-check/log-check-api.ts';
import { FLAW_COUNT_MAX, type VerifiedLog, verifyLog } from '../src/log-check/verify-log.ts';
import { Admission } from '../src/server/admission.ts';
import { ApiKeyGuard } from '../src/server/api-key.ts';
import { createHttpRoutes } from '../src/server/http-routes.ts';
import { Metrics } from '../src/server/metrics.ts';
import { hasher, TestLog } from './support/archive.ts';
import { FakeService } from './support/fake-service.ts';
import { run } from './support/run-cli.ts';
import { nextTurn } from './support/until.ts';

const SEED = Number(process.env.HOLDFAST_TEST_SEED ?? 17);
const HOUR_MS = 3_600_000;
const pause = (): Promise<void> => Promise.resolve();

/** Says what the index of a running log says, and gives `entries` when the disk is read. */
function logOf(entries: readonly Entry[], given: readonly Entry[] = entries): VerifiedLog {
  const at = (index: number) => entries[index - 1];
  return {
    base: () => ({ index: logIndex(0), term: term(0), sum: EMPTY_LOG_SUM }),
    damage: () => [],
    firstIndex: () => logIndex(1),
    lastIndex: () => logIndex(entries.length),
    sum: (index) => (index === 0 ? EMPTY_LOG_SUM : (at(index)?.sum ?? 'unavailable')),
    term: (index) => (index === 0 ? term(0) : (at(index)?.term ?? 'unavailable')),
    entries: (low, high) => given.slice(low - 1, Math.min(high - 1, low + 6)),
  };
}

const verify = (log: VerifiedLog, from = 0) =>
  verifyLog({ log, committedIndex: log.lastIndex(), hasher, pause }, logIndex(from));

t.test('a whole log is one chain, from wherever one begins to look', async (t) => {
  const { entries } = new TestLog().append(20).append(9, { newTerm: true });
  for (const from of [0, 1, 7, 20, 21, 29]) {
    const count = 30 - Math.max(1, from);
    t.match(
      await verify(logOf(entries), from),
      { isValid: true, verifiedEntryCount: count, throughIndex: 29, firstBadIndex: null },
      `from ${from}`,
    );
  }
  t.match(await verify(logOf(entries), 30), { isValid: true, verifiedEntryCount: 0 });
  t.match(await verify(logOf([])), { isValid: true, verifiedEntryCount: 0 });
});

t.test('what was done to an entry of a log of a node is named by its index', async (t) => {
  const random = new SeededRandom(SEED);
  t.comment(`seed ${SEED}`);
  const { entries } = new TestLog().append(15).append(15, { newTerm: true });
  for (let round = 0; round < 40; round++) {
    const at = 1 + random.nextBelow(entries.length - 2);
    const kind = (['edit', 'delete', 'swap', 'insert', 'term'] as const)[round % 5];
    const given = [...entries];
    const entry = must(given[at]);
    if (kind === 'edit') given[at] = { ...entry, data: Uint8Array.from([...entry.data, 1]) };
    if (kind === 'delete') given.splice(at, 1);
    if (kind === 'swap') [given[at], given[at + 1]] = [must(given[at + 1]), entry];
    if (kind === 'insert') given.splice(at, 0, must(given[at - 1]));
    if (kind === 'term') given[at] = { ...entry, term: term(entry.term + 1) };
    const report = await verify(logOf(entries, given));
    const what = `${kind} of entry ${at + 1}`;
    t.notOk(report.isValid, what);
    t.equal(report.firstBadIndex, at + 1, what);
    const expected = new RegExp(`^WAL entry ${at + 1} chain broken: .*scrub now`);
    t.match(report.errors[0]?.message, expected);
  }
});

t.test('what is not committed may be replaced, and is not looked at', async (t) => {
  const { entries } = new TestLog().append(10);
  const given = entries.map((entry, i) => (i < 6 ? entry : { ...entry, sum: EMPTY_LOG_SUM }));
  const log = logOf(entries, given);
  const report = await verifyLog({ log, committedIndex: logIndex(6), hasher, pause }, logIndex(0));
  t.match(report, { isValid: true, throughIndex: 6 });
  t.match(await verify(log), { firstBadIndex: 7 });
});

t.test('a log that is bad everywhere is not told without end', async (t) => {
  const { entries } = new TestLog().append(FLAW_COUNT_MAX + 50);
  const report = await verify(
    logOf(
      entries,
      entries.map((one) => ({ ...one, data: one.sum })),
    ),
  );
  t.equal(report.errors.length, FLAW_COUNT_MAX);
  t.ok(report.isCutShort);
});

/** Log files with these entries, and where a record of one of them lies. */
function writtenLog(log: TestLog) {
  const fileSystem = new MemoryFileSystem();
  const options = { fileSizeBytes: 16 * 1024, cacheSizeBytesMax: 1024 * 1024 };
  const wal = InlineWal.open({ fileSystem, directory: '/wal', options });
  for (let at = 0; at < log.entries.length; at += 5) {
    const entries = log.entries.slice(at, at + 5);
    const base = { group: DEFAULT_GROUP_ID, hardState: null, truncateFrom: null, snapshot: null };
    wal.append({ ...base, entries, mustSync: true });
    wal.pump();
  }
  const flip = (index: number): void => {
    const { data } = must(log.entries[index - 1]);
    for (const name of fileSystem.list('/wal')) {
      const path = `/wal/${name}`;
      const bytes = Buffer.alloc(fileSystem.sizeBytes(path));
      const handle = fileSystem.open(path, 'read');
      handle.read(bytes, 0);
      handle.close();
      const offset = bytes.indexOf(data);
      if (offset >= 0) fileSystem.flipBit(path, offset + 3, 2);
    }
  };
  return { fileSystem, wal, flip };
}

function checkOver(wal: InlineWal, changes: { readonly intervalMs?: number } = {}) {
  const clock = new VirtualClock();
  const log = wal.groupLog(DEFAULT_GROUP_ID);
  const rotten: [LogIndex, HoldfastError][] = [];
  const errors: string[] = [];
  const logger = { ...SILENT_LOGGER, error: (_: unknown, text: string) => void errors.push(text) };
  const archived = { sink: 's1', archivedIndex: 150, lagEntryCount: 50, chunkCount: 7 };
  const check = new LogCheck({
    ...{ log, wal, hasher, clock, timers: clock, pause, logger, intervalMs: 0, ...changes },
    committedIndex: () => log.lastIndex(),
    archive: () => [archived],
    onRot: (index, rot) => void rotten.push([index, rot]),
  });
  return { check, clock, rotten, errors };
}

t.test('rot in a log file is named, handed on to be mended, and read around', async (t) => {
  const log = new TestLog().append(600);
  const { flip, wal } = writtenLog(log);
  const { check, errors, rotten } = checkOver(wal);
  t.match(await check.verify(0), { isValid: true, verifiedEntryCount: 600 });
  for (const index of [17, 18, 400]) flip(index);
  const report = await check.verify(0);
  t.same(
    report.errors.map(({ index }) => index),
    [17, 18, 400],
  );
  t.match(report, { isValid: false, firstBadIndex: 17, verifiedEntryCount: 597 });
  t.match(report.errors[0]?.message, /^WAL entry 17 chain broken: \/wal\/\d+\.wal at offset \d+/);
  t.same(
    rotten.map(([index, { code }]) => [index, code]),
    [17, 18, 400].map((index) => [index, 'WAL_CORRUPT']),
  );
  t.equal(errors.length, 3);
  t.match(await check.verify(18), { firstBadIndex: 18, verifiedEntryCount: 581 });
  t.match(await check.verify(401), { isValid: true, verifiedEntryCount: 200 });
  const both = [check.verify(0), check.verify(0)];
  t.match(
    (await Promise.allSettled(both)).map((one) => one.status),
    ['fulfilled', 'rejected'],
    'one at a time',
  );
  await check.stop();
});

t.test('the leader looks at its log every hour, and sooner after a bad look', async (t) => {
  const log = new TestLog().append(50);
  const { flip, wal } = writtenLog(log);
  const { check, clock } = checkOver(wal, { intervalMs: HOUR_MS });
  const looked = async (durationMs: number): Promise<number | null> => {
    clock.advance(durationMs);
    for (let turn = 0; turn < 20; turn++) await nextTurn();
    return check.stats().newestCheck?.endedAtMs ?? null;
  };
  t.equal(await looked(2 * HOUR_MS), null, 'a follower does not');
  check.setLeading(true);
  const first = await looked(LOG_CHECK_SETTLE_MS);
  t.ok(first, 'soon after the begin of the leadership');
  t.equal(await looked(HOUR_MS - 1), first);
  const second = await looked(1);
  t.not(second, first, 'an hour later');
  flip(9);
  const third = await looked(HOUR_MS);
  t.match(check.stats(), {
    newestCheck: { isValid: false, firstBadIndex: 9 },
    failedCheckCount: 1,
  });
  t.not(await looked(LOG_CHECK_SETTLE_MS), third, 'again after a minute');
  check.setLeading(false);
  const last = check.stats().newestCheck?.endedAtMs;
  t.equal(await looked(3 * HOUR_MS), last, 'no leader, no looks');
  await check.stop();
});

t.test('numbers and checks of the log are pages, metrics and commands', async (t) => {
  const log = new TestLog().append(200);
  const { flip, wal } = writtenLog(log);
  const { check, clock } = checkOver(wal);
  const service = new FakeService();
  const admission = new Admission({ maxConnections: 1, inflightRequestCountMax: 1 } as never);
  const metrics = new Metrics({ service, admission, hasProcessMetrics: false });
  const guard = new ApiKeyGuard(null);
  const app = createHttpRoutes({
    ...{ service, guard, metrics, logger: SILENT_LOGGER, clock },
  });
  const ask = async (method: string, path: string) => {
    const response = await app.request(`/api/v1/admin/log${path}`, { method });
    return { status: response.status, body: JSON.parse(await response.text()) };
  };
  t.match(await ask('GET', ''), { status: 503, body: { error: { code: 'REPAIRING' } } });
  t.notMatch(await metrics.text(), /^holdfast_log_files /m);
  service.logCheck = check;
  const stats = (await ask('GET', '')).body as LogStats;
  t.match(stats, { currentIndex: 200, committedIndex: 200, firstIndex: 1, newestCheck: null });
  t.match(stats, { archivedChunkCount: 7, archive: [{ sink: 's1', archivedIndex: 150 }] });
  const { activeFileEntryCount, fileCount } = stats;
  t.ok(fileCount > 1 && activeFileEntryCount > 0 && activeFileEntryCount < 200, 'of several files');
  const active = wal.files().at(-1)?.fileId ?? 0;
  const inside = wal.entriesIn(DEFAULT_GROUP_ID, active, 0, Number.MAX_SAFE_INTEGER);
  t.equal(activeFileEntryCount, inside.length);
  flip(60);
  const report = await ask('POST', '/verify?from=10');
  t.match(report.body, { isValid: false, fromIndex: 10, firstBadIndex: 60 });
  t.same(Object.keys(report.body.errors[0]), ['index', 'lastIndex', 'message']);
  for (const from of ['-1', 'x', '1.5']) {
    t.match(await ask('POST', `/verify?from=${from}`), { status: 400 }, from);
  }
  const text = await metrics.text();
  for (const line of [
    `holdfast_log_files ${fileCount}`,
    `holdfast_log_active_file_entries ${activeFileEntryCount}`,
    'holdfast_log_check_failed 1',
    'holdfast_log_check_bad_entries 1',
    'holdfast_log_check_failures_total 1',
  ]) {
    t.ok(text.includes(`${line}\n`), line);
  }
  await check.stop();
});

t.test('the log of a stopped node is verified at the command line', async (t) => {
  const log = new TestLog().append(120);
  const { fileSystem, flip } = writtenLog(log);
  const directory = t.testdir({ wal: {} });
  const copy = (): void => {
    const disk = new NodeFileSystem();
    for (const name of fileSystem.list('/wal')) {
      const from = fileSystem.open(`/wal/${name}`, 'read');
      const bytes = Buffer.alloc(from.sizeBytes());
      from.read(bytes, 0);
      from.close();
      const to = disk.open(
        `${directory}/wal/${name}`,
        disk.exists(`${directory}/wal/${name}`) ? 'readWrite' : 'createNew',
      );
      to.write([bytes], 0);
      to.close();
    }
  };
  copy();
  const good = await run('log', 'verify', '--data', directory);
  t.equal(good.code, 0, good.err);
  t.match(good.out, /: 120 entries, 1 to 120: the chain is whole\n/);
  t.match((await run('log', 'stats', '--data', directory)).out, /: log 1 to 120, \d+ bytes in \d+/);
  flip(33);
  copy();
  const bad = await run('log', 'verify', '--data', directory, '--from', '5');
  t.equal(bad.code, 1);
  t.match(bad.out, /WAL entr(y 33|ies 33 to \d+) chain broken: .*\n.*first bad index 33\n/);
  t.equal((await run('log', 'verify', '--data', `${directory}/wal`)).code, 1, 'no data directory');
  t.equal((await run('log', 'verify', '--from', 'x')).code, 2);
});

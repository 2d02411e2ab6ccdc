/**
 * Goal: what is scheduled runs at its time, once, however often it failed or was missed.
 * Method: the pure parts, with times in and times out.
 */
import fc from 'fast-check';
import t from 'tap';
import type { Schedule } from '../src/backup/schedule.ts';
import { parseSchedule, scheduleFlaw } from '../src/backup/schedule.ts';
import { RETRY_FIRST_MS, RETRY_MOST_MS, ScheduledTask } from '../src/backup/scheduled-task.ts';
import { loadConfig } from '../src/config/load.ts';
import { errorOf } from './support/backup.ts';

const HOUR_MS = 3_600_000;
const at = (text: string): number => Date.parse(text);
const iso = (timeMs: number | null): string | null =>
  timeMs === null ? null : new Date(timeMs).toISOString();

function must(text: string): Schedule {
  const schedule = parseSchedule(text);
  if (schedule === null) throw new Error(`${text} is a schedule`);
  return schedule;
}

const ERROR = { code: 'SINK_UNAVAILABLE', message: 'away', details: {} } as never;

t.test('times of the usual schedules are in UTC and strictly later', async (t) => {
  const daily = must('0 2 * * *');
  t.equal(iso(daily.next(at('2026-01-01T01:59:59.999Z'))), '2026-01-01T02:00:00.000Z');
  t.equal(iso(daily.next(at('2026-01-01T02:00:00.000Z'))), '2026-01-02T02:00:00.000Z');
  t.equal(iso(must('0 4 * * 0').next(at('2026-11-22T04:00:00Z'))), '2026-11-29T04:00:00.000Z');
  t.equal(iso(must('@hourly').next(at('2026-01-01T00:00:00Z'))), '2026-01-01T01:00:00.000Z');
});

t.test('the next time is later, and nothing scheduled lies between', async (t) => {
  const texts = ['0 2 * * *', '0 * * * *', '0 4 * * 0', '*/15 6-8 * * 1-5', '30 0 1 * *'];
  const timeMs = fc.integer({ min: at('2020-01-01'), max: at('2035-01-01') });
  fc.assert(
    fc.property(
      fc.constantFrom(...texts),
      timeMs,
      fc.double({ min: 0, max: 1 }),
      (text, ms, part) => {
        const schedule = must(text);
        const next = schedule.next(ms) ?? 0;
        const between = ms + Math.floor((next - 1 - ms) * (Number.isNaN(part) ? 0 : part));
        return next > ms && schedule.next(between) === next;
      },
    ),
    { numRuns: 100 },
  );
  t.pass();
});

t.test('empty and off are no schedule, and what never comes is refused', async (t) => {
  for (const text of ['', '  ', 'off']) t.equal(parseSchedule(text), null);
  for (const text of ['x', '* * *', '0 25 * * *', '* * * * * *', '0 0 30 2 *']) {
    t.type(scheduleFlaw(text), 'string', text);
  }
  const flags = { nodeId: 'n1', data: '/d', backupFullSchedule: '0 25 * * *' };
  const error = await errorOf(async () => loadConfig({ flags }));
  t.equal(error?.code, 'CONFIG_INVALID');
  t.match(error?.message, /--backup-full-schedule/);
});

t.test('one run makes up for every time that was missed', async (t) => {
  const task = new ScheduledTask(must('0 * * * *'));
  const nowMs = at('2026-01-05T10:30:00Z');
  const now = { wallMs: nowMs, monotonicMs: 5 };
  t.equal(task.waitMs(now), 0, 'unknown: look now');
  task.noteFound(nowMs - 50 * HOUR_MS, nowMs);
  t.equal(task.waitMs(now), 0);
  task.noteSuccess(nowMs);
  t.equal(task.waitMs(now), HOUR_MS / 2);
  task.noteFound(nowMs - 50 * HOUR_MS, nowMs);
  t.equal(task.waitMs(now), HOUR_MS / 2, 'an older finding changes nothing');
});

t.test('a stamp of a clock that is ahead does not put the next run off', async (t) => {
  const task = new ScheduledTask(must('0 * * * *'));
  const wallMs = at('2026-01-05T10:30:00Z');
  task.noteFound(wallMs + 500 * HOUR_MS, wallMs);
  t.equal(task.waitMs({ wallMs, monotonicMs: 0 }), HOUR_MS / 2);
});

t.test('what fails stays due, and is tried again ever more rarely', async (t) => {
  const task = new ScheduledTask(must('0 * * * *'));
  const wallMs = at('2026-01-05T10:30:00Z');
  task.noteFound(null, wallMs);
  const waits = Array.from({ length: 8 }, () => {
    task.noteFailure(ERROR, { wallMs, monotonicMs: 100 });
    // The wall clock has nothing to say here.
    return task.waitMs({ wallMs: wallMs + 7 * HOUR_MS, monotonicMs: 100 });
  });
  const minutes = waits.map((waitMs) => (waitMs ?? 0) / 60_000);
  t.same(minutes, [1, 2, 4, 8, 16, 30, 30, 30]);
  t.same([RETRY_FIRST_MS, RETRY_MOST_MS], [60_000, 1_800_000]);
  t.equal(task.last.kind, 'never', 'a failure is no run');
  task.noteSuccess(wallMs);
  t.same([task.failuresInARow, task.failedCount, task.lastError], [0, 8, null]);
});

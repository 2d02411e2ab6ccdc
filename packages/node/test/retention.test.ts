/**
 * Goal: retention keeps what it promises and never what something kept cannot do without. Method:
 * timelines of backups by chance against the rules said in another way; a few by hand.
 */
import type { Random } from '@holdfast/base';
import { SeededRandom } from '@holdfast/base';
import t from 'tap';
import type { KeptTimeline, StoredChunk } from '../src/backup/garbage.ts';
import { fileGarbage, GARBAGE_AGE_MS, logGarbage } from '../src/backup/garbage.ts';
import type { RetainableBackup, RetentionPolicy } from '../src/backup/retention.ts';
import { planRetention, RETENTION_DEFAULT } from '../src/backup/retention.ts';

const SEED = Number(process.env.HOLDFAST_SEED ?? 4711);
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const NOW_MS = Date.UTC(2026, 10, 22, 10, 30);

const full = (backupId: string, createdMs: number): RetainableBackup => ({
  ...{ backupId, createdMs, baseBackupId: null, timeline: 't1' },
});

const policyOf = (changes: Partial<RetentionPolicy>): RetentionPolicy => ({
  ...{ keepHourly: 0, keepDaily: 0, keepWeekly: 0, keepMonthly: 0, keepLast: 1 },
  ...{ keepWithinMs: null, logRetentionMs: null },
  ...changes,
});

function randomBackups(random: Random): readonly RetainableBackup[] {
  const count = random.nextBelow(60);
  const backups: RetainableBackup[] = [];
  let createdMs = NOW_MS + (random.nextBelow(3) - 1) * HOUR_MS;
  for (let i = 0; i < count; i++) {
    createdMs -=
      random.nextBelow(4) === 0 ? random.nextBelow(40) * DAY_MS : random.nextBelow(DAY_MS);
    backups.push({ ...full(`b${i}`, createdMs), timeline: `t${random.nextBelow(2)}` });
  }
  // An incremental backup is measured from an older one.
  return backups.map((backup, i) => {
    const base = backups[i + 1 + random.nextBelow(5)];
    const isIncremental = base !== undefined && random.nextBelow(3) > 0;
    return isIncremental ? { ...backup, baseBackupId: base.backupId } : backup;
  });
}

function randomPolicy(random: Random): RetentionPolicy {
  return {
    ...{ keepHourly: random.nextBelow(30), keepDaily: random.nextBelow(10) },
    ...{ keepWeekly: random.nextBelow(6), keepMonthly: random.nextBelow(14) },
    keepLast: 1 + random.nextBelow(4),
    keepWithinMs: random.nextBelow(2) === 0 ? null : random.nextFloat() * 60 * DAY_MS,
    logRetentionMs: random.nextBelow(3) === 0 ? null : random.nextBelow(30) * DAY_MS,
  };
}

const DAY_OF = (timeMs: number): number => Math.floor(timeMs / DAY_MS);

t.test('plans of random backups keep their promises', async (t) => {
  const random = new SeededRandom(SEED);
  for (let run = 0; run < 400; run++) {
    const backups = randomBackups(random);
    const policy = randomPolicy(random);
    const { keep, remove } = planRetention(backups, policy, NOW_MS);
    const kept = new Set(keep.map(({ backupId }) => backupId));
    const flaw = flawOfPlan(backups, policy, kept, remove);
    const again = planRetention(
      backups.filter(({ backupId }) => kept.has(backupId)),
      policy,
      NOW_MS,
    );
    const isStable = again.remove.length === 0;
    const isReasoned = keep.every(({ reasons }) => reasons.length > 0);
    if (flaw === null && isStable && isReasoned) continue;
    t.fail(`seed ${SEED}, run ${run}: ${flaw ?? 'not stable'}`, { policy, backups, keep, again });
    return;
  }
  t.pass(`seed ${SEED}`);
});

function flawOfPlan(
  backups: readonly RetainableBackup[],
  policy: RetentionPolicy,
  kept: ReadonlySet<string>,
  remove: readonly string[],
): string | null {
  if (kept.size + remove.length !== backups.length) return 'something is lost or there twice';
  const newestFirst = [...backups].sort((left, right) => right.createdMs - left.createdMs);
  const newest = newestFirst[0];
  if (newest !== undefined && !kept.has(newest.backupId)) return 'the newest is removed';
  for (const { backupId, baseBackupId, createdMs } of backups) {
    const isBaseKept = baseBackupId === null || kept.has(baseBackupId);
    if (kept.has(backupId) && !isBaseKept) return `${backupId} lost its base`;
    const isYoung = policy.keepWithinMs !== null && NOW_MS - createdMs < policy.keepWithinMs;
    if (isYoung && !kept.has(backupId)) return `${backupId} is young`;
    const isBefore = baseBackupId === null || remove.indexOf(baseBackupId) === -1;
    if (remove.includes(backupId) && !isBefore) {
      if (remove.indexOf(backupId) > remove.indexOf(baseBackupId)) return 'a base goes first';
    }
  }
  const start = newestFirst.find(
    ({ createdMs }) => NOW_MS - createdMs >= (policy.logRetentionMs ?? Number.MAX_SAFE_INTEGER),
  );
  if (start !== undefined && !kept.has(start.backupId)) return 'the log has no start';
  const days = [...new Set(newestFirst.map(({ createdMs }) => DAY_OF(createdMs)))];
  for (const day of days.slice(0, policy.keepDaily)) {
    const ofDay = newestFirst.find(({ createdMs }) => DAY_OF(createdMs) === day);
    if (ofDay !== undefined && !kept.has(ofDay.backupId)) return `day ${day} is gone`;
  }
  return null;
}

t.test('a year of hourly backups ends as 24, 7, 4 and 12', async (t) => {
  const backups = Array.from({ length: 366 * 24 }, (_, i) => full(`b${i}`, NOW_MS - i * HOUR_MS));
  const { keep } = planRetention(
    backups,
    { ...RETENTION_DEFAULT, keepLast: 1, logRetentionMs: null },
    NOW_MS,
  );
  const countOf = (kind: string): number =>
    keep.filter(({ reasons }) => reasons.some((reason) => reason.startsWith(kind))).length;
  t.equal(countOf('hourly'), 24);
  t.equal(countOf('daily'), 7);
  t.equal(countOf('weekly'), 4);
  t.equal(countOf('monthly'), 12);
  t.ok(keep.length <= 24 + 7 + 4 + 12, `${keep.length} are kept`);
  t.same(keep[0]?.reasons, [
    'last',
    'hourly 2026-11-22T10',
    'daily 2026-11-22',
    'weekly 2026-11-16',
    'monthly 2026-11',
  ]);
});

t.test('a chain of incremental backups keeps every base, and goes newest first', async (t) => {
  const chain = ['a', 'b', 'c', 'd'].map((backupId, i, all) => ({
    ...{ backupId, createdMs: NOW_MS - (4 - i) * DAY_MS, baseBackupId: all[i - 1] ?? null },
    timeline: 't1',
  }));
  const kept = planRetention(chain, policyOf({}), NOW_MS);
  t.same(kept.remove, []);
  t.same(kept.keep.at(-1)?.reasons, ['base of b']);
  const other = full('x', NOW_MS - HOUR_MS);
  t.same(planRetention([...chain, other], policyOf({}), NOW_MS).remove, ['d', 'c', 'b', 'a']);
  t.throws(() => planRetention(chain, policyOf({ keepLast: 0 }), NOW_MS), 'never nothing');
});

t.test(
  'the log keeps the backup that its oldest part starts from, for each timeline',
  async (t) => {
    const at = (backupId: string, days: number, timeline: string): RetainableBackup => ({
      ...{ backupId, createdMs: NOW_MS - days * DAY_MS, timeline, baseBackupId: null },
    });
    const backups = [
      ...[
        at('a', 1, 't2'),
        at('b', 3, 't1'),
        at('c', 8, 't0'),
        at('d', 9, 't1'),
        at('e', 10, 't1'),
      ],
      ...[at('f', 11, 't0'), at('g', 12, 't2')],
    ];
    const { keep } = planRetention(backups, policyOf({ logRetentionMs: 7 * DAY_MS }), NOW_MS);
    t.same(
      keep.map(({ backupId, reasons }) => `${backupId} ${reasons.join()}`),
      ['a last', 'c start of the log', 'd start of the log', 'g start of the log'],
    );
  },
);

t.test('a file is garbage when nobody names it and it is older than a day', async (t) => {
  const objects = ['named', 'young', 'old'].map((key) => ({
    ...{ key, modifiedMs: key === 'young' ? NOW_MS - GARBAGE_AGE_MS : NOW_MS - 3 * DAY_MS },
  }));
  t.same(fileGarbage(objects, new Set(['named']), NOW_MS), ['old']);
});

/** A chunk for every ten entries, one a day; the newest is of now. */
const chunksOf = (timeline: string, firstIndex: number, count: number): readonly StoredChunk[] =>
  Array.from({ length: count }, (_, i) => ({
    key: `${timeline}/${firstIndex + i * 10}`,
    firstIndex: firstIndex + i * 10,
    modifiedMs: NOW_MS - (count - 1 - i) * DAY_MS,
  }));

const timelineOf = (changes: Partial<KeptTimeline>): KeptTimeline => ({
  ...{ timeline: 't1', parent: null, backupIndexes: [], namedChunks: new Set<number>() },
  chunks: chunksOf('t1', 1, 20),
  hasMoreChunks: false,
  ...changes,
});

t.test('the log is kept from the newest backup that leads to what is kept', async (t) => {
  const remaining = (timelines: readonly KeptTimeline[]): readonly string[] => {
    const gone = new Set(logGarbage(timelines, 7 * DAY_MS, NOW_MS));
    return timelines.flatMap(({ chunks }) =>
      chunks.map(({ key }) => key).filter((key) => !gone.has(key)),
    );
  };
  t.equal(remaining([timelineOf({})]).length, 20, 'without a backup nothing can go');
  // Young are the chunks from 121 on; the backup before them is at 105, in the chunk of 101.
  const [first] = remaining([timelineOf({ backupIndexes: [50, 105, 150] })]);
  t.equal(first, 't1/101');
  t.equal(remaining([timelineOf({ backupIndexes: [50, 110, 150] })])[0], 't1/111');
  t.equal(remaining([timelineOf({ backupIndexes: [150] })]).length, 20, 'none leads to 121');
  const named = timelineOf({ backupIndexes: [110], namedChunks: new Set([31, 41]) });
  t.same(remaining([named]).slice(0, 3), ['t1/31', 't1/41', 't1/111']);
  const idle = timelineOf({
    chunks: chunksOf('t1', 1, 3).map((chunk) => ({ ...chunk, modifiedMs: 0 })),
    backupIndexes: [30],
  });
  t.same(remaining([idle]), ['t1/21'], 'the newest chunk stays: its end is not known');
  const isCut = timelineOf({ ...idle, backupIndexes: [15, 900], hasMoreChunks: true });
  t.same(remaining([isCut]), ['t1/11', 't1/21'], 'what follows may need what is listed');
});

t.test('a young timeline without a backup keeps the way through its parent', async (t) => {
  const parent = timelineOf({
    chunks: chunksOf('t1', 1, 20).map((chunk) => ({ ...chunk, modifiedMs: 0 })),
    backupIndexes: [40, 90, 200],
  });
  const child = timelineOf({
    ...{ timeline: 't2', parent: { timeline: 't1', index: 115 } },
    chunks: chunksOf('t2', 116, 3),
  });
  const gone = new Set(logGarbage([parent, child], 7 * DAY_MS, NOW_MS));
  const kept = parent.chunks.map(({ key }) => key).filter((key) => !gone.has(key));
  t.same(kept, ['t1/91', 't1/101', 't1/111', 't1/191'], 'from the backup at 90 to 115');
  const withBackup = { ...child, backupIndexes: [115] };
  const fewer = logGarbage([parent, withBackup], 7 * DAY_MS, NOW_MS);
  t.equal(fewer.length, 19, 'with a backup of its own it needs nothing of the parent');
});

t.test(
  'random archives stay reachable: each kept target has a backup and all between',
  async (t) => {
    const random = new SeededRandom(SEED);
    for (let run = 0; run < 300; run++) {
      const firsts = [1];
      for (let i = 0; i < 30; i++) firsts.push((firsts.at(-1) as number) + 1 + random.nextBelow(9));
      let ageMs = 20 * DAY_MS;
      const chunks = firsts.map((firstIndex) => {
        ageMs = Math.max(0, ageMs - random.nextBelow(DAY_MS));
        return { key: String(firstIndex), firstIndex, modifiedMs: NOW_MS - ageMs };
      });
      const last = (firsts.at(-1) as number) + 5;
      const backupIndexes = Array.from({ length: random.nextBelow(5) }, () =>
        random.nextBelow(last),
      );
      const kept = timelineOf({ chunks, backupIndexes });
      const gone = new Set(logGarbage([kept], 7 * DAY_MS, NOW_MS));
      const isThere = (index: number): boolean => {
        const chunk = chunks.filter(({ firstIndex }) => firstIndex <= index).at(-1);
        return chunk !== undefined && !gone.has(chunk.key);
      };
      const gap = firstGap(chunks, backupIndexes, isThere);
      if (gap === null) continue;
      t.fail(`seed ${SEED}, run ${run}: entry ${gap} is gone`);
      return;
    }
    t.pass(`seed ${SEED}`);
  },
);

/** The first entry that is missing on the way to a young chunk; null when none is. */
function firstGap(
  chunks: readonly StoredChunk[],
  backupIndexes: readonly number[],
  isThere: (index: number) => boolean,
): number | null {
  const young = chunks.filter(({ modifiedMs }) => NOW_MS - modifiedMs <= 7 * DAY_MS);
  for (const { firstIndex } of young) {
    const from = Math.max(0, ...backupIndexes.filter((index) => index < firstIndex));
    for (let index = from + 1; index <= firstIndex; index++) if (!isThere(index)) return index;
  }
  return null;
}

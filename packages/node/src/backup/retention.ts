/**
 * Which backups are kept, and why: grandfather, father, son. Pure: backups and the time in, a plan
 * out; prune.ts carries it out.
 *
 * Of the newest hours, days, weeks and months *that have a backup*, the newest backup of each is
 * kept, so a cluster whose backups have stopped keeps what it has. Invariants: the newest backup is
 * always kept; a base that a kept incremental backup is measured from is kept; every time within
 * the retention of the log can be gone back to; planning again over what was kept removes nothing.
 */
import { assert } from '@holdfast/base';

export interface RetentionPolicy {
  readonly keepHourly: number;
  readonly keepDaily: number;
  readonly keepWeekly: number;
  readonly keepMonthly: number;
  /** The newest, whatever their age; at least 1. */
  readonly keepLast: number;
  /** Everything younger is kept; null: no such rule. */
  readonly keepWithinMs: number | null;
  /** How long the archived log is kept; null without an archive. */
  readonly logRetentionMs: number | null;
}

export const RETENTION_DEFAULT: RetentionPolicy = {
  ...{ keepHourly: 24, keepDaily: 7, keepWeekly: 4, keepMonthly: 12 },
  ...{ keepLast: 3, keepWithinMs: null, logRetentionMs: 7 * 86_400_000 },
};

export interface RetainableBackup {
  readonly backupId: string;
  readonly createdMs: number;
  readonly timeline: string;
  readonly baseBackupId: string | null;
}

export interface KeptBackup {
  readonly backupId: string;
  /** Such as `hourly 2026-11-22T10`, `last`, `base of <id>`; at least one. */
  readonly reasons: readonly string[];
}

export interface RetentionPlan {
  /** Newest first. */
  readonly keep: readonly KeptBackup[];
  /** Ids; a backup comes before the one that it is measured from. */
  readonly remove: readonly string[];
}

export function planRetention(
  backups: readonly RetainableBackup[],
  policy: RetentionPolicy,
  nowMs: number,
): RetentionPlan {
  assert(policy.keepLast >= 1, 'the newest backup is always kept', { keepLast: policy.keepLast });
  const newestFirst = [...backups].sort(byAge);
  const reasons = new Map<string, string[]>();
  const keep = (backup: RetainableBackup, reason: string): void => {
    const known = reasons.get(backup.backupId);
    if (known === undefined) reasons.set(backup.backupId, [reason]);
    else known.push(reason);
  };
  for (const backup of newestFirst.slice(0, policy.keepLast)) keep(backup, 'last');
  keepPerBucket(newestFirst, policy.keepHourly, hourOf, keep);
  keepPerBucket(newestFirst, policy.keepDaily, dayOf, keep);
  keepPerBucket(newestFirst, policy.keepWeekly, weekOf, keep);
  keepPerBucket(newestFirst, policy.keepMonthly, monthOf, keep);
  for (const backup of newestFirst) {
    // A clock that was wrong is no reason to remove what it stamped.
    if (backup.createdMs > nowMs) keep(backup, 'of the future');
    const isYoung = policy.keepWithinMs !== null && nowMs - backup.createdMs < policy.keepWithinMs;
    if (isYoung && backup.createdMs <= nowMs) keep(backup, 'young');
  }
  keepStartOfLog(newestFirst, policy.logRetentionMs, nowMs, keep);
  keepBases(newestFirst, reasons, keep);
  return {
    keep: newestFirst
      .filter(({ backupId }) => reasons.has(backupId))
      .map(({ backupId }) => ({ backupId, reasons: reasons.get(backupId) as string[] })),
    remove: basesLast(newestFirst.filter(({ backupId }) => !reasons.has(backupId))),
  };
}

type Keep = (backup: RetainableBackup, reason: string) => void;

function keepPerBucket(
  newestFirst: readonly RetainableBackup[],
  count: number,
  bucketOf: (timeMs: number) => string,
  keep: Keep,
): void {
  const buckets = new Set<string>();
  for (const backup of newestFirst) {
    const bucket = bucketOf(backup.createdMs);
    if (buckets.has(bucket)) continue;
    if (buckets.size >= count) return;
    buckets.add(bucket);
    keep(backup, bucket);
  }
}

/**
 * The log alone leads nowhere: what the oldest part of it starts from is the newest backup before
 * it. So for all together, and for each timeline that was in use since.
 */
function keepStartOfLog(
  newestFirst: readonly RetainableBackup[],
  logRetentionMs: number | null,
  nowMs: number,
  keep: Keep,
): void {
  if (logRetentionMs === null) return;
  const isInside = ({ createdMs }: RetainableBackup): boolean => nowMs - createdMs < logRetentionMs;
  const before = newestFirst.filter((backup) => !isInside(backup));
  const used = new Set(newestFirst.filter(isInside).map(({ timeline }) => timeline));
  const starts = [...used].map((name) => before.find(({ timeline }) => timeline === name));
  for (const start of new Set([before[0], ...starts])) {
    if (start !== undefined) keep(start, 'start of the log');
  }
}

/** Bases of bases too. A base that is not there cannot be kept. */
function keepBases(
  backups: readonly RetainableBackup[],
  reasons: ReadonlyMap<string, readonly string[]>,
  keep: Keep,
): void {
  const byId = new Map(backups.map((backup) => [backup.backupId, backup]));
  const open = backups.filter(({ backupId }) => reasons.has(backupId));
  for (let backup = open.pop(); backup !== undefined; backup = open.pop()) {
    const base = backup.baseBackupId === null ? undefined : byId.get(backup.baseBackupId);
    if (base === undefined) continue;
    const isNew = !reasons.has(base.backupId);
    keep(base, `base of ${backup.backupId}`);
    if (isNew) open.push(base);
  }
}

/** So that whoever stops in the middle leaves no backup without its base. */
function basesLast(backups: readonly RetainableBackup[]): readonly string[] {
  const byId = new Map(backups.map((backup) => [backup.backupId, backup]));
  const depths = new Map<string, number>();
  const depthOf = (start: RetainableBackup): number => {
    const path: RetainableBackup[] = [];
    let backup: RetainableBackup | undefined = start;
    // A chain that bites its tail is somebody's mistake, and ends here.
    while (backup !== undefined && !depths.has(backup.backupId) && !path.includes(backup)) {
      path.push(backup);
      backup = backup.baseBackupId === null ? undefined : byId.get(backup.baseBackupId);
    }
    let depth = backup === undefined ? 0 : (depths.get(backup.backupId) ?? 0);
    for (const one of path.reverse()) depths.set(one.backupId, ++depth);
    return depths.get(start.backupId) as number;
  };
  return backups
    .map((backup) => ({ backupId: backup.backupId, depth: depthOf(backup) }))
    .sort((left, right) => right.depth - left.depth)
    .map(({ backupId }) => backupId);
}

function byAge(left: RetainableBackup, right: RetainableBackup): number {
  if (left.createdMs !== right.createdMs) return right.createdMs - left.createdMs;
  return left.backupId < right.backupId ? -1 : 1;
}

const DAY_MS = 86_400_000;
/** All in UTC. */
const hourOf = (timeMs: number): string => `hourly ${new Date(timeMs).toISOString().slice(0, 13)}`;
const dayOf = (timeMs: number): string => `daily ${new Date(timeMs).toISOString().slice(0, 10)}`;
const monthOf = (timeMs: number): string => `monthly ${new Date(timeMs).toISOString().slice(0, 7)}`;

/** Named by its Monday. 1970-01-01 was a Thursday. */
function weekOf(timeMs: number): string {
  const day = Math.floor(timeMs / DAY_MS);
  const monday = day - ((day + 3) % 7);
  return `weekly ${new Date(monday * DAY_MS).toISOString().slice(0, 10)}`;
}

/** Settings of backups and of the archive of the log; part of OPTIONS. */
import { z } from 'zod';
import { scheduleFlaw } from '../backup/schedule.ts';
import { bytes, count, flag, milliseconds, text } from './option-makers.ts';

const MIB = 1024 * 1024;

const sinksSchema = z
  .string()
  .transform((list) =>
    list
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== ''),
  )
  .refine((urls) => urls.length <= 8, { error: 'at most 8 stores' })
  .refine((urls) => new Set(urls).size === urls.length, { error: 'names a store twice' });

const scheduleSchema = z.string().superRefine((given, context) => {
  const flaw = scheduleFlaw(given);
  if (flaw !== null) context.addIssue({ code: 'custom', message: flaw });
});
const schedule = (help: string, fallback: string) =>
  text(scheduleSchema, 'CRON', `${help}, by the leader, in UTC; empty or off: never.`, fallback);

const DAY_MS = 86_400_000;

export const BACKUP_OPTIONS = {
  backupSinks: text(
    sinksSchema.optional() as z.ZodType<readonly string[] | undefined>,
    'URL,URL',
    'Stores for backups and the archive of the log: file:///FOLDER, s3://BUCKET/PREFIX, ' +
      'gs://..., azure://.... The same on every node.',
  ),
  backupKeyFile: text(
    z.string().min(1).optional() as z.ZodType<string | undefined>,
    'FILE',
    'Key that backups and archive are encrypted with: 32 random bytes, as hex or base64.',
  ),
  backupOlderKeyFiles: text(
    sinksSchema.optional() as z.ZodType<readonly string[] | undefined>,
    'FILE,FILE',
    'Earlier keys: they open what they sealed.',
  ),
  backupCompression: text(
    z.enum(['none', 'gzip', 'zstd']),
    'KIND',
    'none, gzip or zstd: of backups and the archive.',
    'zstd',
  ),
  backupBytesPerSecMax: bytes(
    0,
    1024 * 1024 * MIB,
    0,
    'How fast backups leave this node, all stores together; 0: as fast as they take it.',
  ),
  backupConcurrency: count(1, 64, 4, 'Files of a backup that are sent at a time, per store.'),
  backupFullSchedule: schedule('When a full backup is made', '0 2 * * *'),
  backupIncrementalSchedule: schedule('When an incremental backup is made', '0 * * * *'),
  backupVerifySchedule: schedule('When the newest backup is tried', '0 4 * * *'),
  backupVerifyRestore: flag(
    'Try a backup by restoring it into a throwaway node, not only by reading it back.',
    true,
  ),
  backupVerifyDirectory: text(
    z.string().min(1).optional() as z.ZodType<string | undefined>,
    'DIR',
    'Where that restores to, with room for all data; default: in the data directory.',
  ),
  backupKeepLast: count(1, 10_000, 3, 'Newest backups that stay, whatever their age.'),
  backupKeepHourly: count(0, 10_000, 24, 'Hours of which the newest backup stays.'),
  backupKeepDaily: count(0, 10_000, 7, 'Days of which the newest backup stays.'),
  backupKeepWeekly: count(0, 10_000, 4, 'Weeks of which the newest backup stays.'),
  backupKeepMonthly: count(0, 10_000, 12, 'Months of which the newest backup stays.'),
  restoreFrom: text(
    z.string().optional() as z.ZodType<string | undefined>,
    'URL',
    'Store of backups that a node with an empty data directory, and without peers, begins with.',
  ),
  walRetentionMs: milliseconds(
    3_600_000,
    3_650 * DAY_MS,
    7 * DAY_MS,
    'How far back the archived log stays, and with it every moment that can be restored.',
  ),
  archiveEnabled: flag('Archive the log in the stores for backups, all the time.', true),
  archiveIntervalMs: milliseconds(
    10,
    60_000,
    200,
    'Age at which committed entries go to the archive.',
  ),
  archiveChunkSizeBytes: bytes(
    64 * 1024,
    32 * MIB,
    4 * MIB,
    'Size at which committed entries go to the archive before that age.',
  ),
  archiveHoldSizeBytesMax: bytes(
    256 * 1024,
    1024 * 1024 * MIB,
    1_024 * MIB,
    'Log kept until the archive has it; over it the archive gets a gap and a full backup is made.',
  ),
  standbyLookIntervalMs: milliseconds(
    20,
    60_000,
    200,
    'How often the leader of a standby looks for more in the archive of its primary.',
  ),
  standbyLagMaxMs: milliseconds(
    100,
    DAY_MS,
    10_000,
    'A standby that has not had all of the archive for so long raises an alarm.',
  ),
  fenceLookIntervalMs: milliseconds(
    100,
    600_000,
    5_000,
    'How often the leader of a primary looks whether another cluster has taken over.',
  ),
  fenceAgeMaxMs: milliseconds(
    1_000,
    3_600_000,
    30_000,
    'With primaryRequiresSink: how long a look counts, and how long a promotion waits for it.',
  ),
  primaryRequiresSink: flag(
    'Take writes only while the first store can be read. The same on primary and standby.',
  ),
} as const;

/**
 * The log of a restored node, written by the same code that writes every log: it restarts behind
 * the checkpoint, takes the archived entries up to the target, and ends in one more that makes the
 * members of the plan the configuration. No member of the old cluster is in it, so none of them
 * counts, and the entry is of a term of its own, so no old entry can stand in its place. Behind it
 * comes one more for a standby: what the cluster is stands in its log.
 */
import type { Entry, EntryHasher, LogIndex, Term } from '@holdfast/base';
import {
  EMPTY_LOG_SUM,
  encodeConf,
  entrySizeBytes,
  failpoint,
  HoldfastError,
  logIndex,
  makeConf,
  sumsEqual,
  term,
} from '@holdfast/base';
import type { CheckpointRoot, FileSystem, LogAppend, WalOptions } from '@holdfast/storage';
import { InlineWal, toHex } from '@holdfast/storage';
import { encodeCommand } from '../../state/command.ts';
import type { EntryBatch } from '../archive/archive-reader.ts';
import type { FollowedCluster, RestorePlan } from './restore-plan.ts';

/** One append and one sync; archived chunks may hold only a few entries each. */
const APPEND_SIZE_BYTES = 4 * 1024 * 1024;

export interface RestoreLogOptions {
  readonly fileSystem: FileSystem;
  /** Of the log: empty or not there. */
  readonly directory: string;
  readonly plan: RestorePlan;
  /** Null: the log begins empty. */
  readonly root: CheckpointRoot | null;
  /** Everything behind `root` up to the target, in order. */
  readonly entries: AsyncIterable<EntryBatch>;
  readonly hasher: EntryHasher;
  readonly wal?: Partial<WalOptions>;
  /** Told after each durable append. */
  readonly onProgress?: (index: LogIndex) => void;
}

/** Where the restored log ends. */
export interface RestoredLog {
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  readonly lastSum: Uint8Array;
  /** Entries that came from the archive. */
  readonly entryCount: number;
}

/**
 * Complete and durable when it resolves.
 * @throws HoldfastError BACKUP_CORRUPT when what is laid does not end as the plan says, WAL_IO,
 *   FILE_IO, whatever `entries` throws
 */
export async function restoreLog(options: RestoreLogOptions): Promise<RestoredLog> {
  const { directory, fileSystem, plan, root, wal: walOptions = {} } = options;
  const wal = InlineWal.open({ fileSystem, directory, options: walOptions });
  const base = { group: plan.group, hardState: null, truncateFrom: null, entries: [] };
  const append = (fields: Partial<LogAppend>): void => {
    failpoint('restore.before-append');
    wal.append({ ...base, snapshot: null, mustSync: true, ...fields });
    wal.pump();
  };
  try {
    if (root !== null) {
      const { index, term: rootTerm } = root.meta;
      append({ hardState: { term: rootTerm, vote: null, commit: index }, snapshot: root.meta });
    }
    const { entryCount, last } = await appendEntries(options, append);
    checkEnd(plan, last);
    failpoint('restore.before-configuration');
    const conf = confEntry(options.hasher, plan, last);
    // All members lay the same entries: all of them are on a majority, so all are committed.
    const own =
      plan.follows === null
        ? [conf]
        : [conf, standbyEntry(options.hasher, plan, plan.follows, conf)];
    const end = own.at(-1) as Entry;
    append({
      entries: own,
      hardState: { term: end.term, vote: null, commit: end.index },
    });
    return { lastIndex: end.index, lastTerm: end.term, lastSum: end.sum, entryCount };
  } finally {
    await wal.close();
  }
}

interface End {
  readonly index: LogIndex;
  readonly term: Term;
  readonly sum: Uint8Array;
}

const EMPTY_END: End = { index: logIndex(0), term: term(0), sum: EMPTY_LOG_SUM };

async function appendEntries(
  { entries: batches, onProgress, root }: RestoreLogOptions,
  append: (fields: Partial<LogAppend>) => void,
): Promise<{ readonly entryCount: number; readonly last: End }> {
  let last: End = root?.meta ?? EMPTY_END;
  let [entryCount, sizeBytes] = [0, 0];
  let collected: Entry[] = [];
  const flush = (): void => {
    if (collected.length === 0) return;
    const newest = collected.at(-1) as Entry;
    append({
      entries: collected,
      hardState: { term: newest.term, vote: null, commit: newest.index },
    });
    onProgress?.(newest.index);
    [collected, sizeBytes] = [[], 0];
  };
  for await (const { entries } of batches) {
    for (const entry of entries) {
      collected.push(entry);
      last = entry;
      entryCount += 1;
      sizeBytes += entrySizeBytes(entry);
      if (sizeBytes >= APPEND_SIZE_BYTES) flush();
    }
  }
  flush();
  return { entryCount, last };
}

function checkEnd({ backupId, parent }: RestorePlan, last: End): void {
  const { index, sum, term: parentTerm } = parent;
  if (last.index === index && last.term === parentTerm && sumsEqual(last.sum, sum)) return;
  throw new HoldfastError(
    'BACKUP_CORRUPT',
    `backup ${backupId} and the archive lead to index ${last.index} of term ${last.term}, not to ` +
      `the entry ${index} of term ${parentTerm} that the plan names: make a new plan`,
    { details: { backupId, index: last.index, plannedIndex: index } },
  );
}

/** Makes the new cluster a standby of the one whose log it has. */
function standbyEntry(
  hasher: EntryHasher,
  { parent }: RestorePlan,
  { clusterId, timeline }: FollowedCluster,
  last: Entry,
): Entry {
  const { sum: parentSum, term: parentTerm, timestampMs } = parent;
  const at = { index: parent.index, term: parentTerm, sum: toHex(parentSum), timestampMs };
  const change = { kind: 'standBy', source: { clusterId, timeline, ...at } } as const;
  const command = { kind: 'site', change } as const;
  const data = encodeCommand({ timestampMs, session: null, bodyHash: 0n, command });
  const index = logIndex(last.index + 1);
  const sum = hasher(last.sum, last.term, index, 'normal', data);
  return { index, term: last.term, type: 'normal', data, sum };
}

/** The same bytes on every node: nothing but the plan is in it. */
function confEntry(hasher: EntryHasher, plan: RestorePlan, last: End): Entry {
  const index = logIndex(last.index + 1);
  const newTerm = term(last.term + 1);
  const data = encodeConf(makeConf(plan.members));
  const sum = hasher(last.sum, newTerm, index, 'conf', data);
  return { index, term: newTerm, type: 'conf', data, sum };
}

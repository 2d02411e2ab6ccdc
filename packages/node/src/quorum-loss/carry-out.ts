/**
 * Makes the keeper of a recovery plan a cluster of its own, in a new epoch. Nothing is destroyed:
 * the old log and identity go to quarantine. Every step may be cut by a crash and run again:
 *
 *   RECOVERING.json            what was decided; while it is there no node starts on the directory
 *   wal.recovered/             the kept log and, behind it, the new configuration; then complete
 *   wal -> quarantine/...      from here on wal.recovered is known to be complete
 *   wal.recovered -> wal
 *   identity.json              with the new epoch; the old one is in quarantine
 *   recovery-<epoch>.json      the audit record stays
 *   RECOVERING.json removed
 */
import type { Entry, EntryHasher, LogIndex, Member } from '@holdfast/base';
import { assert, encodeConf, HoldfastError, logIndex, makeConf, term } from '@holdfast/base';
import type { CheckpointRoot, FileSystem, GroupLog, WalOptions } from '@holdfast/storage';
import {
  IDENTITY_FILE_NAME,
  InlineWal,
  joinPath,
  readAtomicJson,
  readCheckpointRoot,
  readIdentity,
  readLogs,
  readWholeFile,
  writeAtomicFile,
  writeAtomicJson,
  writeIdentity,
} from '@holdfast/storage';
import type { RecoveryPlan } from './plan.ts';

export const RECOVERING_FILE_NAME = 'RECOVERING.json';
const RECORD_FORMAT = { format: 'holdfast-recovery', version: 1 } as const;
const RECOVERED_WAL = 'wal.recovered';
/** One append; entries of a kept log are copied in such pieces. */
const COPY_SIZE_BYTES = 4 * 1024 * 1024;

/** The audit record: who decided what on which grounds. JSON-compatible. */
export interface RecoveryRecord {
  readonly clusterId: string;
  readonly epoch: number;
  readonly keeper: string;
  readonly incarnation: string;
  readonly address: string;
  readonly clientAddress: string | null;
  readonly dead: readonly string[];
  readonly otherSurvivors: readonly string[];
  /** Position the log was kept through, and the term of its last entry. */
  readonly keptThrough: number;
  readonly keptTerm: number;
  readonly certainThrough: number;
  readonly damagedThrough: number | null;
  readonly survivors: readonly {
    readonly nodeId: string;
    readonly lastTerm: number;
    readonly lastIndex: number;
    readonly committed: number;
  }[];
  readonly decidedAt: string;
}

export interface CarryOutOptions {
  readonly hasher: EntryHasher;
  /** Of the log that is built; for tests. */
  readonly wal?: Partial<WalOptions>;
}

export function recordOf(plan: RecoveryPlan, decidedAt: string): RecoveryRecord {
  const { certainThrough, damagedThrough, dead, epoch, keeper, keptThrough, others } = plan;
  return {
    clusterId: keeper.clusterId,
    epoch,
    keeper: keeper.nodeId,
    incarnation: keeper.incarnation,
    address: plan.newMember.address,
    clientAddress: plan.newMember.clientAddress,
    ...{ dead, keptThrough, certainThrough, damagedThrough, decidedAt },
    keptTerm: keeper.keptTerm,
    otherSurvivors: others.map(({ nodeId }) => nodeId),
    survivors: [keeper, ...others].map(({ nodeId, keptTerm, keptIndex, committed }) => ({
      ...{ nodeId, committed },
      lastTerm: keptTerm,
      lastIndex: keptIndex,
    })),
  };
}

/** The record of a recovery that was begun here and not finished; null when there is none. */
export function unfinishedRecovery(
  fileSystem: FileSystem,
  directory: string,
): RecoveryRecord | null {
  const path = joinPath(directory, RECOVERING_FILE_NAME);
  if (!fileSystem.exists(path)) return null;
  return readAtomicJson(fileSystem, path, RECORD_FORMAT) as RecoveryRecord;
}

/** @throws HoldfastError RECOVERY_UNFINISHED when a node must not start on the directory */
export function refuseUnfinished(fileSystem: FileSystem, directory: string): void {
  if (!fileSystem.exists(joinPath(directory, RECOVERING_FILE_NAME))) return;
  throw new HoldfastError(
    'RECOVERY_UNFINISHED',
    `a recovery of ${directory} was begun and not finished: run holdfast cluster recover --do ` +
      'again, it goes on where it stopped',
    { details: { directory } },
  );
}

/**
 * Carries `record` out on the keeper's directory, from wherever it was cut off. The directory must
 * be locked by the caller. Idempotent.
 * @throws HoldfastError FILE_IO, WAL_IO, WAL_CORRUPT: run it again
 */
export async function carryOut(
  fileSystem: FileSystem,
  directory: string,
  record: RecoveryRecord,
  options: CarryOutOptions,
): Promise<void> {
  const path = (name: string): string => joinPath(directory, name);
  const begun = unfinishedRecovery(fileSystem, directory);
  assert(begun === null || begun.epoch === record.epoch, 'a recovery goes on as it was begun');
  writeAtomicJson(fileSystem, path(RECOVERING_FILE_NAME), RECORD_FORMAT, record);
  const quarantine = path(`quarantine/recovery-${record.epoch}`);
  fileSystem.makeDirectory(quarantine);
  const quarantined = joinPath(quarantine, 'wal');
  if (!fileSystem.exists(quarantined)) {
    fileSystem.removeTree(path(RECOVERED_WAL));
    await buildLog(fileSystem, directory, record, options);
    fileSystem.syncDirectory(directory);
    fileSystem.rename(path('wal'), quarantined);
    fileSystem.syncDirectory(quarantine);
    fileSystem.syncDirectory(directory);
  }
  if (fileSystem.exists(path(RECOVERED_WAL))) {
    fileSystem.rename(path(RECOVERED_WAL), path('wal'));
    fileSystem.syncDirectory(directory);
  }
  renewIdentity(fileSystem, directory, quarantine, record);
  writeAtomicJson(fileSystem, path(`recovery-${record.epoch}.json`), RECORD_FORMAT, record);
  fileSystem.remove(path(RECOVERING_FILE_NAME));
  fileSystem.syncDirectory(directory);
}

const memberOfRecord = (
  record: RecoveryRecord,
  identity: { nodeId: Member['nodeId']; incarnation: Member['incarnation'] },
): Member => ({
  nodeId: identity.nodeId,
  incarnation: identity.incarnation,
  address: record.address,
  clientAddress: record.clientAddress,
});

function renewIdentity(
  fileSystem: FileSystem,
  directory: string,
  quarantine: string,
  record: RecoveryRecord,
): void {
  const identity = readIdentity(fileSystem, directory);
  if (identity.epoch >= record.epoch) return;
  const bytes = readWholeFile(fileSystem, joinPath(directory, IDENTITY_FILE_NAME));
  writeAtomicFile(fileSystem, joinPath(quarantine, IDENTITY_FILE_NAME), [bytes]);
  writeIdentity(fileSystem, directory, {
    ...identity,
    epoch: record.epoch,
    firstConfiguration: [memberOfRecord(record, identity)],
  });
}

/** The kept entries in a fresh log, and one more that makes the keeper the only voter. */
async function buildLog(
  fileSystem: FileSystem,
  directory: string,
  record: RecoveryRecord,
  { hasher, wal: walOptions }: CarryOutOptions,
): Promise<void> {
  const identity = readIdentity(fileSystem, directory);
  const { group } = identity;
  const root = readCheckpointRoot(fileSystem, directory)?.root ?? null;
  const logs = readLogs(fileSystem, joinPath(directory, 'wal'));
  const recovered = joinPath(directory, RECOVERED_WAL);
  const wal = InlineWal.open({ fileSystem, directory: recovered, options: walOptions ?? {} });
  try {
    const old = logs.groups.get(group);
    assert(old !== undefined, 'the survivor has a log', { group });
    const present = old.hardState() ?? { term: term(0), vote: null, commit: logIndex(0) };
    const base = { group, hardState: null, truncateFrom: null, entries: [], mustSync: true };
    if (root !== null) {
      const hardState = { term: present.term, vote: null, commit: root.meta.index };
      wal.append({ ...base, hardState, snapshot: root.meta });
    }
    const last = copyEntries(wal, old, root, logIndex(record.keptThrough));
    const index = logIndex(record.keptThrough + 1);
    const newTerm = term(present.term + 1);
    const data = encodeConf(makeConf([memberOfRecord(record, identity)]));
    const sum = hasher(last.sum, newTerm, index, 'conf', data);
    const entry: Entry = { index, term: newTerm, type: 'conf', data, sum };
    const hardState = { term: newTerm, vote: null, commit: logIndex(record.certainThrough) };
    wal.append({ ...base, hardState, entries: [entry], snapshot: null });
    wal.pump();
  } finally {
    logs.close();
    await wal.close();
  }
}

/**
 * Reads every entry that would be kept, and answers how many there are. Writes nothing.
 * @throws HoldfastError WAL_CORRUPT when one cannot be read
 */
export function checkKeptEntries(
  fileSystem: FileSystem,
  directory: string,
  record: RecoveryRecord,
): number {
  const { group } = readIdentity(fileSystem, directory);
  const root = readCheckpointRoot(fileSystem, directory)?.root ?? null;
  const logs = readLogs(fileSystem, joinPath(directory, 'wal'));
  try {
    const old = logs.groups.get(group);
    assert(old !== undefined, 'the survivor has a log', { group });
    let count = 0;
    for (const entries of keptEntries(old, root, logIndex(record.keptThrough))) {
      count += entries.length;
    }
    return count;
  } finally {
    logs.close();
  }
}

/** What lies between checkpoint and `through`, in pieces. */
function* keptEntries(
  old: GroupLog,
  root: CheckpointRoot | null,
  through: LogIndex,
): Generator<readonly Entry[]> {
  let next = (root?.meta ?? old.base()).index + 1;
  while (next <= through) {
    const entries = old.entries(logIndex(next), logIndex(through + 1), COPY_SIZE_BYTES);
    assert(entries !== 'compacted' && entries.length > 0, 'a kept entry can be read', { next });
    yield entries;
    next += entries.length;
  }
}

/** Copies what lies between checkpoint and `through`; answers the last entry. */
function copyEntries(
  wal: InlineWal,
  old: GroupLog,
  root: CheckpointRoot | null,
  through: LogIndex,
): { readonly sum: Uint8Array } {
  let last: { readonly sum: Uint8Array } = root?.meta ?? old.base();
  const append = { hardState: null, truncateFrom: null, snapshot: null, mustSync: true };
  for (const entries of keptEntries(old, root, through)) {
    wal.append({ group: old.group, ...append, entries });
    wal.pump();
    last = entries.at(-1) ?? last;
  }
  return last;
}

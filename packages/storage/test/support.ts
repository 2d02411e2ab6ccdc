/** Builders shared by the WAL tests: entries with a true hash chain, and one-line appends. */
import type {
  Entry,
  GroupId,
  HardState,
  LogIndex,
  Member,
  NodeId,
  SnapshotMeta,
} from '@holdfast/base';
import {
  EMPTY_LOG_SUM,
  groupId,
  incarnation,
  logIndex,
  makeConf,
  nodeId,
  term,
} from '@holdfast/base';
import { createEntryHasher } from '../src/checksum.ts';
import type { InlineWal } from '../src/wal/inline-wal.ts';
import type { GroupLog, LogAppend, WalOptions } from '../src/wal/types.ts';

export const GROUP_ONE: GroupId = groupId(1);
export const GROUP_TWO: GroupId = groupId(2);
export const WAL_DIRECTORY = '/data/wal';
const hasher = createEntryHasher();

/** Small files and batches, so that rolls and cuts happen often. */
export const SMALL_WAL: Partial<WalOptions> = {
  fileSizeBytes: 16 * 1024,
  batchSizeBytesMax: 8 * 1024,
  cacheSizeBytesMax: 2 * 1024,
};

export function makeEntry(
  previousSum: Uint8Array,
  index: number,
  entryTerm: number,
  data: Uint8Array,
): Entry {
  const at = logIndex(index);
  const inTerm = term(entryTerm);
  const sum = hasher(previousSum, inTerm, at, 'normal', data);
  return { index: at, term: inTerm, type: 'normal', data, sum };
}

/** Entries that continue a log; `sizeBytes` of data each, different for every index and term. */
export function makeEntries(
  previousSum: Uint8Array,
  firstIndex: number,
  count: number,
  options: { readonly term?: number; readonly sizeBytes?: number } = {},
): readonly Entry[] {
  const entries: Entry[] = [];
  let sum = previousSum;
  for (let index = firstIndex; index < firstIndex + count; index++) {
    const data = new Uint8Array(options.sizeBytes ?? 40).fill(
      (index * 7 + (options.term ?? 1)) | 1,
    );
    const entry = makeEntry(sum, index, options.term ?? 1, data);
    entries.push(entry);
    sum = entry.sum;
  }
  return entries;
}

export function makeAppend(fields: Partial<LogAppend>): LogAppend {
  return {
    group: GROUP_ONE,
    hardState: null,
    truncateFrom: null,
    entries: [],
    snapshot: null,
    mustSync: true,
    ...fields,
  };
}

export const makeHardState = (
  inTerm: number,
  commit = 0,
  vote: NodeId | null = nodeId('n1'),
): HardState => ({ term: term(inTerm), vote, commit: logIndex(commit) });

const memberNamed = (name: string): Member => ({
  nodeId: nodeId(name),
  incarnation: incarnation('0123456789abcdef'.repeat(2)),
  address: `${name}:2`,
  clientAddress: null,
});

export function makeSnapshot(index: number, inTerm: number, sum: Uint8Array): SnapshotMeta {
  return {
    index: logIndex(index),
    term: term(inTerm),
    sum,
    conf: makeConf(['n1', 'n2', 'n3'].map(memberNamed), [nodeId('n3')]),
    confIndex: logIndex(0),
    id: `snapshot-${index}`,
  };
}

export const sumAt = (log: GroupLog, index: number): Uint8Array => {
  if (index === 0 && log.base().index === 0) return EMPTY_LOG_SUM;
  const sum = log.sum(index as LogIndex);
  if (typeof sum === 'string') throw new Error(`no sum at ${index}: ${sum}`);
  return sum;
};

/** Every entry from the first to the last, read through the public interface. */
export function readAll(log: GroupLog): readonly Entry[] {
  const high = logIndex(log.lastIndex() + 1);
  const entries = log.entries(log.firstIndex(), high, Number.MAX_SAFE_INTEGER);
  if (entries === 'compacted') throw new Error('first entry cannot be compacted');
  return entries;
}

/** A printable digest of everything a GroupLog promises. */
export function describeLog(log: GroupLog): string {
  const hardState = log.hardState();
  const state = hardState === null ? '-' : `${hardState.term}/${hardState.vote}`;
  const entries = readAll(log).map((entry) => `${entry.index}@${entry.term}:${entry.data[0]}`);
  return `${state} base=${log.base().index} [${entries.join(' ')}]`;
}

/** Every entry that can be read, one by one; null where it is damaged. */
export function readPresent(log: GroupLog): readonly (Entry | null)[] {
  const damage = log.damage();
  const found: (Entry | null)[] = [];
  for (let index: number = log.firstIndex(); index <= log.lastIndex(); index++) {
    const isLost = damage.some(({ low, high }) => index >= low && index <= high);
    if (isLost) found.push(null);
    else found.push(...(log.entries(logIndex(index), logIndex(index + 1), 1) as readonly Entry[]));
  }
  return found;
}

/**
 * What is wrong with a log that may be damaged: an entry that is not the one expected there, or an
 * entry that is neither there nor covered by damage. Null when all is well.
 */
export function flawOfDamaged(log: GroupLog, expected: readonly Entry[]): string | null {
  const first = log.firstIndex();
  const wanted = expected.filter(({ index }) => index >= first);
  const found = readPresent(log);
  if (found.length !== wanted.length) {
    return `it ends at ${log.lastIndex()}, not at ${first + wanted.length - 1}`;
  }
  const wrong = found.findIndex(
    (entry, i) => entry !== null && !sameEntries([entry], [wanted[i]!]),
  );
  return wrong < 0 ? null : `entry ${first + wrong} is another one`;
}

/** Repairs every range of the group from `entries`. */
export async function heal(
  wal: InlineWal,
  group: GroupId,
  entries: readonly Entry[],
): Promise<void> {
  for (const { low, high } of wal.groupLog(group).damage()) {
    const settled = wal.repair(
      group,
      entries.filter(({ index }) => index >= low && index <= high),
    );
    wal.pump();
    await settled;
  }
}

/** True when both hold the same entries, byte for byte. */
export function sameEntries(left: readonly Entry[], right: readonly Entry[]): boolean {
  if (left.length !== right.length) return false;
  return left.every((entry, i) => {
    const other = right[i]!;
    const isSamePlace = entry.index === other.index && entry.term === other.term;
    const isSameSum = Buffer.compare(entry.sum, other.sum) === 0;
    return isSamePlace && isSameSum && Buffer.compare(entry.data, other.data) === 0;
  });
}

/**
 * Says that entries never reached the archive, and why: the log was compacted before they could
 * be written there. It stands under `log/<firstIndex>`, in the place of a chunk, so that the same
 * conditional put decides between an archiver that still has the entries and one that has not; a
 * copy under `gap/<firstIndex>` lets a reader find all gaps without opening chunks.
 */
import type { ClusterId, LogIndex, Term } from '@holdfast/base';
import { clusterId, HEX_ID_PATTERN, logIndex, term } from '@holdfast/base';
import { fromHex, sha256, toHex } from '../checksum.ts';
import { decodeArchiveJson, encodeArchiveJson, hasMagic } from './archive-json.ts';
import type { ChainLink, ChainPoint } from './chain-point.ts';
import { archiveCorrupt } from './chain-point.ts';
import { unknownVersion } from './log-chunk-header.ts';

const MAGIC = 'HFLG';
const VERSION = 1;
/** Of the object; a gap is a few hundred bytes. */
export const LOG_GAP_SIZE_BYTES_MAX = 64 * 1024;
const SUM_PATTERN = /^[0-9a-f]{32}$/;
const HASH_PATTERN = /^[0-9a-f]{64}$/;
const REASON_PATTERN = /^(compacted|archive-began-later)$/;

/** `archive-began-later`: the log was older than its archive. */
export type LogGapReason = 'compacted' | 'archive-began-later';

export interface LogGap extends ChainLink {
  readonly kind: 'gap';
  readonly clusterId: ClusterId;
  readonly timeline: string;
  /** Inclusive: the entry before the first one that the archive has again. */
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  readonly lastSum: Uint8Array;
  readonly reason: LogGapReason;
  /** Wall clock of the node that found it; for people. */
  readonly createdMs: number;
  /** The object as it is stored, and its SHA-256. */
  readonly bytes: Uint8Array;
  readonly hash: Uint8Array;
}

/** Log time does not move in a gap: nobody knows how far it got. */
export const endOfGap = (gap: LogGap): ChainPoint => ({
  index: gap.lastIndex,
  term: gap.lastTerm,
  sum: gap.lastSum,
  hash: gap.hash,
  timestampMs: gap.timestampBeforeMs,
});

export const isLogGap = (bytes: Uint8Array): boolean => hasMagic(bytes, MAGIC);

export interface NewLogGap {
  readonly clusterId: ClusterId;
  readonly timeline: string;
  readonly before: ChainPoint;
  /** Where the log begins: the last entry that is lost for the archive. */
  readonly end: Pick<ChainPoint, 'index' | 'term' | 'sum'>;
  readonly reason: LogGapReason;
  readonly createdMs: number;
}

export function encodeLogGap(gap: NewLogGap): LogGap {
  const { before, end } = gap;
  const fields = {
    clusterId: gap.clusterId,
    timeline: gap.timeline,
    firstIndex: logIndex(before.index + 1),
    lastIndex: end.index,
    termBefore: before.term,
    lastTerm: end.term,
    timestampBeforeMs: before.timestampMs,
    reason: gap.reason,
    createdMs: gap.createdMs,
  };
  const sums = { sumBefore: before.sum, lastSum: end.sum, hashBefore: before.hash };
  const bytes = encodeArchiveJson(MAGIC, {
    version: VERSION,
    ...fields,
    sumBefore: toHex(before.sum),
    lastSum: toHex(end.sum),
    hashBefore: toHex(before.hash),
  });
  return { kind: 'gap', ...fields, ...sums, bytes, hash: sha256([bytes]) };
}

/** @throws HoldfastError BACKUP_CORRUPT, FORMAT_UNKNOWN */
export function decodeLogGap(
  bytes: Uint8Array,
  checks: {
    readonly key: string;
    readonly firstIndex: number;
    readonly clusterId: string;
    readonly timeline: string;
  },
): LogGap {
  const { key } = checks;
  const gap = decodeArchiveJson(bytes, MAGIC, key, (fields): LogGap => {
    const version = fields.integer('version', 1);
    if (version !== VERSION) throw unknownVersion(key, version);
    return {
      kind: 'gap',
      clusterId: clusterId(fields.matching('clusterId', HEX_ID_PATTERN)),
      timeline: fields.text('timeline'),
      firstIndex: logIndex(fields.integer('firstIndex', 1)),
      lastIndex: logIndex(fields.integer('lastIndex', 1)),
      termBefore: term(fields.integer('termBefore')),
      lastTerm: term(fields.integer('lastTerm')),
      timestampBeforeMs: fields.integer('timestampBeforeMs'),
      sumBefore: fromHex(fields.matching('sumBefore', SUM_PATTERN)),
      lastSum: fromHex(fields.matching('lastSum', SUM_PATTERN)),
      hashBefore: fromHex(fields.matching('hashBefore', HASH_PATTERN)),
      reason: fields.matching('reason', REASON_PATTERN) as LogGapReason,
      createdMs: fields.integer('createdMs'),
      bytes,
      hash: sha256([bytes]),
    };
  });
  const isOwn = gap.clusterId === checks.clusterId && gap.timeline === checks.timeline;
  const isSound = gap.firstIndex === checks.firstIndex && gap.lastIndex >= gap.firstIndex;
  if (!isOwn || !isSound) {
    throw archiveCorrupt(key, checks.firstIndex, 'it describes another gap');
  }
  return gap;
}

/**
 * Where a timeline comes from. Every restore and every promotion begins one; it names its parent
 * and the index where it leaves it: entries up to there are the parent's, those after it its own.
 * The hash of the object is where the chain of the timeline's chunks begins, so a chunk cannot be
 * moved to another history.
 */
import type { ClusterId, LogIndex, Term } from '@holdfast/base';
import { clusterId, HEX_ID_PATTERN, logIndex, sumsEqual, term } from '@holdfast/base';
import { fromHex, sha256, toHex } from '../checksum.ts';
import type { JsonFields } from '../json-shape.ts';
import { decodeArchiveJson, encodeArchiveJson } from './archive-json.ts';
import { isTimelineName } from './archive-names.ts';
import type { ChainPoint } from './chain-point.ts';
import { emptyChainPoint } from './chain-point.ts';
import { unknownVersion } from './log-chunk-header.ts';

const MAGIC = 'HFTL';
const VERSION = 1;
export const TIMELINE_SIZE_BYTES_MAX = 64 * 1024;
const SUM_PATTERN = /^[0-9a-f]{32}$/;

export interface TimelineParent {
  readonly clusterId: ClusterId;
  readonly timeline: string;
  /** The last entry of the parent that belongs to the child's history too. */
  readonly index: LogIndex;
  readonly term: Term;
  readonly sum: Uint8Array;
  /** Log time there. */
  readonly timestampMs: number;
}

export interface Timeline {
  readonly clusterId: ClusterId;
  readonly timeline: string;
  /** Null for the first one of a cluster that began empty. */
  readonly parent: TimelineParent | null;
  /** For people. */
  readonly createdMs: number;
}

export interface TimelineObject extends Timeline {
  /** SHA-256 of the object's bytes. */
  readonly hash: Uint8Array;
}

/** Before the first entry that is the timeline's own. */
export function startOfTimeline({ hash, parent }: TimelineObject): ChainPoint {
  if (parent === null) return emptyChainPoint(hash);
  const { index, sum, term: parentTerm, timestampMs } = parent;
  return { index, sum, term: parentTerm, timestampMs, hash };
}

/** True when both leave the same parent at the same place; when they were made does not count. */
export function haveSameOrigin(left: Timeline, right: Timeline): boolean {
  if (left.clusterId !== right.clusterId || left.timeline !== right.timeline) return false;
  if (left.parent === null || right.parent === null) return left.parent === right.parent;
  return (
    left.parent.clusterId === right.parent.clusterId &&
    left.parent.timeline === right.parent.timeline &&
    left.parent.index === right.parent.index &&
    sumsEqual(left.parent.sum, right.parent.sum)
  );
}

export function encodeTimeline(timeline: Timeline): {
  bytes: Uint8Array;
  timeline: TimelineObject;
} {
  const { clusterId: cluster, createdMs, parent, timeline: name } = timeline;
  const bytes = encodeArchiveJson(MAGIC, {
    version: VERSION,
    clusterId: cluster,
    timeline: name,
    parent: parent === null ? null : { ...parent, sum: toHex(parent.sum) },
    createdMs,
  });
  return { bytes, timeline: { ...timeline, hash: sha256([bytes]) } };
}

/** @throws HoldfastError BACKUP_CORRUPT, FORMAT_UNKNOWN */
export function decodeTimeline(
  bytes: Uint8Array,
  checks: { readonly key: string; readonly clusterId: string; readonly timeline: string },
): TimelineObject {
  const { key } = checks;
  return decodeArchiveJson(bytes, MAGIC, key, (fields) => {
    const version = fields.integer('version', 1);
    if (version !== VERSION) throw unknownVersion(key, version);
    if (fields.text('clusterId') !== checks.clusterId) throw fields.wrong('clusterId');
    if (fields.text('timeline') !== checks.timeline) throw fields.wrong('timeline');
    return {
      clusterId: clusterId(fields.matching('clusterId', HEX_ID_PATTERN)),
      timeline: checks.timeline,
      parent: parseParent(fields),
      createdMs: fields.integer('createdMs'),
      hash: sha256([bytes]),
    };
  });
}

function parseParent(fields: JsonFields): TimelineParent | null {
  if (fields.isNull('parent')) return null;
  const parent = fields.object('parent');
  const name = parent.text('timeline');
  if (!isTimelineName(name)) throw parent.wrong('timeline');
  return {
    clusterId: clusterId(parent.matching('clusterId', HEX_ID_PATTERN)),
    timeline: name,
    index: logIndex(parent.integer('index')),
    term: term(parent.integer('term')),
    sum: fromHex(parent.matching('sum', SUM_PATTERN)),
    timestampMs: parent.integer('timestampMs'),
  };
}

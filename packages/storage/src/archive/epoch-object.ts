/**
 * `epochs/<number>` of a cluster: another one has taken over from it. Put once, only if absent, so
 * of several that want to take over one wins. It names the last entry that was taken over: what the
 * old cluster acknowledges behind it is in no history but its own.
 */
import type { ClusterId, LogIndex, Term } from '@holdfast/base';
import { clusterId, HEX_ID_PATTERN, logIndex, term } from '@holdfast/base';
import { fromHex, toHex } from '../checksum.ts';
import { decodeArchiveJson, encodeArchiveJson } from './archive-json.ts';
import { isTimelineName } from './archive-names.ts';
import { unknownVersion } from './log-chunk-header.ts';

const MAGIC = 'HFEP';
const VERSION = 1;
export const SITE_EPOCH_SIZE_BYTES_MAX = 64 * 1024;
const SUM_PATTERN = /^[0-9a-f]{32}$/;

export interface SiteEpoch {
  /** The cluster that was taken over, and the timeline of its entry at `index`. */
  readonly clusterId: ClusterId;
  readonly timeline: string;
  /** Counts within the cluster that was taken over, whose own epoch is 1. */
  readonly epoch: number;
  readonly byClusterId: ClusterId;
  /** Where its own log goes on. */
  readonly byTimeline: string;
  /** The last entry taken over. */
  readonly index: LogIndex;
  readonly term: Term;
  readonly sum: Uint8Array;
  /** Log time there. */
  readonly timestampMs: number;
  /** For people. */
  readonly createdMs: number;
}

export const encodeSiteEpoch = (epoch: SiteEpoch): Uint8Array =>
  encodeArchiveJson(MAGIC, { version: VERSION, ...epoch, sum: toHex(epoch.sum) });

/** @throws HoldfastError BACKUP_CORRUPT, FORMAT_UNKNOWN */
export function decodeSiteEpoch(
  bytes: Uint8Array,
  checks: { readonly key: string; readonly clusterId: string; readonly epoch: number },
): SiteEpoch {
  const { key } = checks;
  return decodeArchiveJson(bytes, MAGIC, key, (fields) => {
    const version = fields.integer('version', 1);
    if (version !== VERSION) throw unknownVersion(key, version);
    if (fields.text('clusterId') !== checks.clusterId) throw fields.wrong('clusterId');
    if (fields.integer('epoch') !== checks.epoch) throw fields.wrong('epoch');
    const timeline = fields.text('timeline');
    const byTimeline = fields.text('byTimeline');
    if (!isTimelineName(timeline)) throw fields.wrong('timeline');
    if (!isTimelineName(byTimeline)) throw fields.wrong('byTimeline');
    return {
      clusterId: clusterId(fields.matching('clusterId', HEX_ID_PATTERN)),
      ...{ timeline, byTimeline, epoch: checks.epoch },
      byClusterId: clusterId(fields.matching('byClusterId', HEX_ID_PATTERN)),
      index: logIndex(fields.integer('index')),
      term: term(fields.integer('term')),
      sum: fromHex(fields.matching('sum', SUM_PATTERN)),
      timestampMs: fields.integer('timestampMs'),
      createdMs: fields.integer('createdMs'),
    };
  });
}

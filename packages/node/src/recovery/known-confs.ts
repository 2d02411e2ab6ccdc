/**
 * The configurations that a damaged log still shows: the one its checkpoint carries and every
 * intact `conf` entry after it. A log with holes may have held others; who decides over a hole
 * knows that.
 */
import type { ConfState, LogIndex } from '@holdfast/base';
import { decodeConf, logIndex } from '@holdfast/base';
import type { RepairLog } from '@holdfast/raft';

export interface KnownConf {
  readonly conf: ConfState;
  readonly confIndex: LogIndex;
}

/** Entries read at once while the log is searched. */
const SCAN_SIZE_BYTES_MAX = 1024 * 1024;

/** `start` and the intact ones after `after`, ascending. */
export function knownConfs(log: RepairLog, start: KnownConf, after: LogIndex): KnownConf[] {
  const confs: KnownConf[] = [start];
  const damage = log.damage();
  const last = log.lastIndex();
  let next = Math.max(after + 1, log.firstIndex());
  while (next <= last) {
    const hole = damage.find(({ high }) => high >= next);
    if (hole !== undefined && hole.low <= next) {
      next = hole.high + 1;
      continue;
    }
    const end = hole === undefined ? last + 1 : hole.low;
    const entries = log.entries(logIndex(next), logIndex(end), SCAN_SIZE_BYTES_MAX);
    if (entries === 'compacted' || entries.length === 0) break;
    for (const { type, index, data } of entries) {
      if (type === 'conf') confs.push({ conf: decodeConf(data).conf, confIndex: index });
    }
    next += entries.length;
  }
  return confs;
}

/** The one in force just before `index`, and every one from there on. */
export function confsFrom(confs: readonly KnownConf[], index: LogIndex): readonly ConfState[] {
  const first = confs.findLastIndex(({ confIndex }) => confIndex < index);
  return confs.slice(Math.max(0, first)).map(({ conf }) => conf);
}

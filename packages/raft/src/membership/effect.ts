/**
 * When a configuration takes effect: as soon as its entry is in the log, committed or not (thesis
 * section 4.1), and no longer than it is there. Everything that decides by configuration (quorums,
 * votes, who is sent what) goes by the newest one in the log.
 */
import type { Entry, LogIndex, SnapshotMeta } from '@holdfast/base';
import { decodeConf, HoldfastError } from '@holdfast/base';
import type { ReplicaState } from '../replica-state.ts';
import type { ConfAtIndex } from './conf-history.ts';

/** The configurations among `entries`, or null when one cannot be read. */
export function readConfs(entries: readonly Entry[]): readonly ConfAtIndex[] | null {
  const confs: ConfAtIndex[] = [];
  for (const { type, data, index } of entries) {
    if (type !== 'conf') continue;
    try {
      const { conf, end } = decodeConf(data);
      if (end !== data.byteLength || conf.voters.length === 0) return null;
      confs.push({ conf, confIndex: index });
    } catch (cause) {
      if (cause instanceof HoldfastError && cause.code === 'ENTRY_MALFORMED') return null;
      throw cause;
    }
  }
  return confs;
}

/** The entry that made `next` was just appended. */
export function takeConf(state: ReplicaState, next: ConfAtIndex): void {
  const { confs, log } = state;
  confs.push(next);
  confs.prune((log.firstIndex - 1) as LogIndex, log.applied);
  putInForce(state, 'appended');
}

/** The log was truncated from `from` on: back to the configuration before. */
export function revertConfs(state: ReplicaState, from: LogIndex): void {
  if (state.confs.truncate(from)) putInForce(state, 'reverted');
}

/** The log now starts after the snapshot, which carries the configuration of its index. */
export function restoreConf(
  state: ReplicaState,
  { conf, confIndex }: SnapshotMeta,
  committedBefore: LogIndex,
): void {
  state.confs.restore({ conf, confIndex }, committedBefore);
  putInForce(state, 'restored');
}

function putInForce(state: ReplicaState, cause: 'appended' | 'reverted' | 'restored'): void {
  const { confs, log, outbox, tick, tracker } = state;
  const { conf, confIndex } = confs.current;
  tracker.setConf(conf, { lastIndex: log.lastIndex, tick });
  outbox.event({ kind: 'confChanged', confIndex, cause });
  state.isSettleDue = true;
}

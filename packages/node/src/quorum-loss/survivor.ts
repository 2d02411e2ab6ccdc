/** What the data directory of a stopped node says about its part of the cluster. Reads only. */
import type {
  ClusterId,
  ConfState,
  GroupId,
  HardState,
  Incarnation,
  LogIndex,
  NodeId,
  Term,
} from '@holdfast/base';
import { HoldfastError, logIndex, term } from '@holdfast/base';
import type { CheckpointRoot, FileSystem, GroupLog } from '@holdfast/storage';
import { joinPath, readCheckpointRoot, readIdentity, readLogs } from '@holdfast/storage';
import { startConf } from '../recovery/heal-log.ts';
import { knownConfs } from '../recovery/known-confs.ts';

export interface Survivor {
  readonly directory: string;
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  readonly incarnation: Incarnation;
  readonly group: GroupId;
  readonly epoch: number;
  readonly hardState: HardState;
  /** What of its log can be kept ends here; entries after it are damaged or do not exist. */
  readonly keptIndex: LogIndex;
  readonly keptTerm: Term;
  /** Last index of its log, damaged entries included. */
  readonly lastIndex: LogIndex;
  /** Highest index it knows to be committed. */
  readonly committed: LogIndex;
  readonly checkpoint: LogIndex;
  /** The newest configuration in what can be kept. */
  readonly conf: ConfState;
}

/** @throws HoldfastError RECOVERY_REFUSED (unusable), DATA_DIR_EMPTY, or a storage code */
export function readSurvivor(fileSystem: FileSystem, directory: string): Survivor {
  const identity = readIdentity(fileSystem, directory);
  const { clusterId, epoch, group, incarnation, nodeId } = identity;
  const root = readCheckpointRoot(fileSystem, directory)?.root ?? null;
  const logs = readLogs(fileSystem, joinPath(directory, 'wal'));
  try {
    const log = logs.groups.get(group);
    if (log === undefined || !log.isHardStateKnown()) throw unusable(directory, group);
    const hardState = log.hardState() ?? { term: term(0), vote: null, commit: logIndex(0) };
    const kept = keptEnd(log, root);
    const confs = knownConfs(log, startConf(identity, root), root?.meta.index ?? logIndex(0));
    const conf = confs.findLast(({ confIndex }) => confIndex <= kept.index) ?? confs[0]!;
    const checkpoint = root?.meta.index ?? logIndex(0);
    return {
      ...{ directory, clusterId, nodeId, incarnation, group, epoch, hardState, checkpoint },
      keptIndex: kept.index,
      keptTerm: kept.term,
      lastIndex: logIndex(Math.max(log.lastIndex(), kept.index)),
      committed: logIndex(Math.max(hardState.commit, checkpoint)),
      conf: conf.conf,
    };
  } finally {
    logs.close();
  }
}

/** The log counts up to its first damaged entry after the checkpoint. */
function keptEnd(
  log: GroupLog,
  root: CheckpointRoot | null,
): { readonly index: LogIndex; readonly term: Term } {
  const checkpoint = root?.meta.index ?? logIndex(0);
  const start = { index: checkpoint, term: root?.meta.term ?? term(0) };
  if (log.base().index > checkpoint) throw gap(log, checkpoint);
  const hole = log.damage().find(({ high }) => high > checkpoint);
  const index = hole === undefined ? log.lastIndex() : logIndex(hole.low - 1);
  if (index <= checkpoint) return start;
  const found = log.term(index);
  if (typeof found !== 'number') throw gap(log, checkpoint);
  return { index, term: found };
}

function unusable(directory: string, group: GroupId): HoldfastError {
  const message = `${directory}: term and vote of group ${group} are lost; name another survivor`;
  return new HoldfastError('RECOVERY_REFUSED', message, { details: { directory } });
}

function gap(log: GroupLog, checkpoint: LogIndex): HoldfastError {
  const message =
    `the log starts after index ${log.base().index}, the checkpoint ends at ${checkpoint}: ` +
    'entries between them are missing; name another survivor';
  return new HoldfastError('RECOVERY_REFUSED', message, { details: { checkpoint } });
}

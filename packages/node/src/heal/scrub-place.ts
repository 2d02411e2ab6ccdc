/** What a running process knows of its data directory: against that its files are looked at. */
import type { GroupId } from '@holdfast/base';
import type { TermAndVote, Wal } from '@holdfast/storage';
import type { CheckpointPlace, ScrubPlace } from './scrub-targets.ts';

export function scrubPlaceOf(files: CheckpointPlace, wal: Wal): ScrubPlace {
  return {
    ...files,
    epoch: wal.epoch,
    walFiles: () => wal.files(),
    hardStates: () => hardStatesOf(wal),
  };
}

/** What this node has promised; nothing of a group whose newest pair is lost. */
function hardStatesOf(wal: Wal): ReadonlyMap<GroupId, TermAndVote> {
  const known = new Map<GroupId, TermAndVote>();
  for (const group of wal.groups()) {
    const log = wal.groupLog(group);
    const hardState = log.hardState();
    if (hardState !== null && log.isHardStateKnown()) known.set(group, hardState);
  }
  return known;
}

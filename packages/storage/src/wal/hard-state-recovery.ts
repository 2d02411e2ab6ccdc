/**
 * Term and vote of every group after a start: the newest of the log's own record and the two
 * copies. A pair is promised to anybody only when the log and both copies have it, so any one of
 * them is enough. Only when both copies are bad and the log's newest record may be lost too, the
 * pair cannot be established, and that is written down: the node must not vote under this
 * incarnation again.
 */
import type { GroupId, HardState } from '@holdfast/base';
import { logIndex } from '@holdfast/base';
import type { FileSystem } from '../fs.ts';
import type { DurableGroupLog } from './durable-group-log.ts';
import type { CopiedHardState } from './hard-state-copies.ts';
import { newer, readHardStateCopies, termAndVote } from './hard-state-copies.ts';
import type { WalScan } from './scan.ts';

export interface EstablishedHardStates {
  readonly groups: ReadonlyMap<GroupId, DurableGroupLog>;
  /** For makeHardStateCopies, in slot order. */
  readonly states: readonly (readonly [GroupId, CopiedHardState])[];
  /** What the log does not hold yet, or may have lost: goes into the first batch. */
  readonly toLog: readonly (readonly [GroupId, HardState])[];
}

/** Sets the hard states of the scanned logs; writes nothing. */
export function establishHardStates(
  fileSystem: FileSystem,
  directory: string,
  scan: WalScan,
  makeLog: (group: GroupId) => DurableGroupLog,
): EstablishedHardStates {
  const { byGroup, hasUnreadable } = readHardStateCopies(fileSystem, directory);
  const groups = new Map(scan.groups);
  // All that is left of a group whose only batch was lost at the very end of the log.
  for (const group of byGroup.keys()) if (!groups.has(group)) groups.set(group, makeLog(group));
  const states: (readonly [GroupId, CopiedHardState])[] = [];
  const toLog: (readonly [GroupId, HardState])[] = [];
  for (const [group, log] of groups) {
    const own = log.hardState();
    const isInDoubt = scan.hardStatesInDoubt.has(group);
    const mayBeLost = isInDoubt && (hasUnreadable || own !== null);
    const copied = byGroup.get(group) ?? (mayBeLost ? 'unknown' : undefined);
    const found = own === null ? copied : newer(copied, termAndVote(own));
    if (found === undefined) continue;
    states.push([group, found]);
    if (found === 'unknown') {
      log.doubtHardState();
      continue;
    }
    const hardState = { ...found, commit: own?.commit ?? logIndex(0) };
    const isSame = own !== null && own.term === found.term && own.vote === found.vote;
    if (!isSame || isInDoubt) toLog.push([group, hardState]);
    log.setHardState(hardState);
  }
  return { groups, states, toLog };
}

/** Which rare states of disks and lanes a line of a node's log tells of. */
import type { LogFields } from '@holdfast/base';
import type { RareState } from './rare-state-table.ts';

/** Lines that say all in words. */
const STATE_OF_LINE: ReadonlyMap<string, RareState> = new Map([
  ['a damaged segment is repaired', 'startRepairsSegment'],
  ['an older checkpoint is used', 'startFallsBack'],
]);

const STATE_OF_ACTION: ReadonlyMap<unknown, RareState> = new Map([
  ['copyBlocks', 'segmentRepaired'],
  ['newCheckpoint', 'checkpointRenewed'],
  ['rewriteRoot', 'rootRewritten'],
  ['rewriteIdentity', 'identityRewritten'],
  ['rewriteEpoch', 'epochRewritten'],
  ['rewriteTermAndVote', 'hardStateRewritten'],
  ['rewriteEntries', 'logEntriesRewritten'],
]);

const STATE_OF_LANE_EVENT: ReadonlyMap<unknown, RareState> = new Map([
  ['laneLost', 'laneLost'],
  ['laneRecovered', 'laneRecovered'],
]);

export function storageStateOf(fields: LogFields, message: string): RareState | null {
  switch (message) {
    case 'recovery found':
      return fields.type === 'divergence' ? 'replicaDiverges' : 'damageFound';
    case 'recovery recovered':
      return STATE_OF_ACTION.get(fields.action) ?? null;
    default:
      if (fields.kind === 'laneLost' && fields.cause === 'hung') return 'laneHangs';
      return STATE_OF_LINE.get(message) ?? STATE_OF_LANE_EVENT.get(fields.kind) ?? null;
  }
}

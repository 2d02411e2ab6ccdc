/**
 * What a cluster has committed behind the entry at which another one took over: nobody else has it.
 * It is listed for people, and never merged.
 */
import type { Entry } from '@holdfast/base';
import { unreachable } from '@holdfast/base';
import type { PointId } from '@holdfast/shard-worker';
import { countPointOps, decodePointOps } from '@holdfast/shard-worker';
import type { Command } from '../state/command.ts';
import { decodeCommand } from '../state/command.ts';
import type { Difference } from './site-api.ts';

const ID_COUNT_MAX = 16;

export interface DifferenceLister {
  readonly differences: readonly Difference[];
  readonly throughIndex: number;
  readonly isCut: boolean;
}

export interface ListOptions {
  /** Entries behind the cut, in order. */
  readonly entries: AsyncIterable<readonly Entry[]>;
  readonly cutIndex: number;
  /** Entries behind it may never have been acknowledged. */
  readonly commitIndex: number;
  /** Null: not known. */
  readonly nameOf: (uid: number) => string | null;
  readonly countMax: number;
}

/** Ends where the cluster was fenced: what came behind that was refused. */
export async function listDifferences(options: ListOptions): Promise<DifferenceLister> {
  const { commitIndex, countMax, cutIndex, entries: batches, nameOf } = options;
  const names = new Map<number, string>();
  const nameOfUid = (uid: number): string => names.get(uid) ?? nameOf(uid) ?? `#${uid}`;
  const differences: Difference[] = [];
  let throughIndex = cutIndex;
  for await (const entries of batches) {
    for (const entry of entries) {
      if (entry.index <= cutIndex) continue;
      throughIndex = entry.index;
      if (entry.type !== 'normal') continue;
      const { command, timestampMs } = decodeCommand(entry.data);
      if (command.kind === 'site' && command.change.kind === 'fence') {
        return { differences, throughIndex, isCut: false };
      }
      if (command.kind === 'createCollection' || command.kind === 'createHiddenCollection')
        names.set(entry.index, command.spec.name);
      const about = aboutOf(command, nameOfUid);
      if (about === null) continue;
      if (differences.length >= countMax) return { differences, throughIndex, isCut: true };
      const { index, term } = entry;
      const isCommitted = index <= commitIndex;
      differences.push({ index, term, timestampMs, ...about, isCommitted });
    }
  }
  return { differences, throughIndex, isCut: false };
}

type About = Pick<Difference, 'kind' | 'collection' | 'pointCount' | 'ids'>;

/** Null for what changes no data. */
function aboutOf(command: Command, nameOf: (uid: number) => string): About | null {
  const { kind } = command;
  const none = { pointCount: 0, ids: [] };
  switch (command.kind) {
    case 'createCollection':
    case 'createHiddenCollection':
      return { kind, collection: command.spec.name, ...none };
    case 'dropCollection':
    case 'hideCollection':
    case 'renameCollection':
    case 'updateCollection':
      return { kind, collection: command.name, ...none };
    case 'createPayloadIndex':
    case 'dropPayloadIndex':
    case 'undeleteCollection':
    case 'purgeCollection':
    case 'finishCollection':
      return { kind, collection: nameOf(command.uid), ...none };
    case 'publishCollections':
      return { kind, collection: command.uids.map(nameOf).join(', '), ...none };
    case 'write':
      return { collection: nameOf(command.uid), ...pointsOf(command.ops) };
    // Sessions hold no data, and a segment has the rows that grew.
    case 'openSession':
    case 'closeSession':
    case 'expireSessions':
    case 'verify':
    case 'seal':
    case 'site':
    case 'follow':
      return null;
    default:
      return unreachable(command);
  }
}

function pointsOf(ops: Uint8Array): Pick<Difference, 'kind' | 'pointCount' | 'ids'> {
  const pointCount = countPointOps(ops);
  const ids: PointId[] = [];
  let upsertCount = 0;
  for (const op of decodePointOps(ops)) {
    if (ids.length < ID_COUNT_MAX) ids.push(op.id);
    if (op.type === 'upsert') upsertCount += 1;
  }
  const kind = upsertCount === pointCount && pointCount > 0 ? 'upsert' : 'delete';
  return { kind: upsertCount > 0 && upsertCount < pointCount ? 'write' : kind, pointCount, ids };
}

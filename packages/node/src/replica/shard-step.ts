/** What an entry that is about the shards themselves, not their rows, asks of every lane. */
import type { LogIndex } from '@holdfast/base';
import { unreachable } from '@holdfast/base';
import type { LaneCommand } from '@holdfast/shard-worker';
import type { MetaStep } from '../state/meta-step.ts';

export type ShardStep = Exclude<MetaStep, { readonly kind: 'done' | 'verify' | 'write' }>;

/** The same command for applying and for replay, so a lane that comes back goes the same way. */
export function shardCommand(index: LogIndex, step: ShardStep): LaneCommand {
  switch (step.kind) {
    case 'createShards':
      return { kind: 'createCollection', index, definition: step.definition };
    case 'redefineShards':
      return { kind: 'redefineCollection', index, definition: step.definition };
    case 'sealShards':
      return { kind: 'seal', index };
    case 'dropShards':
      return { kind: 'dropCollection', index, uid: step.uid };
    case 'changeChecksum': {
      const { uid, checksumAlgorithm } = step.definition;
      return { kind: 'changeChecksum', index, uid, algorithm: checksumAlgorithm };
    }
    default:
      return unreachable(step);
  }
}

/** What the meta state answers to one entry, and how its result slot is filled. */
import type { LogIndex, Term } from '@holdfast/base';
import type { CollectionDefinition } from '@holdfast/shard-worker';
import type { ApplyResult, ApplyValue, ResultSlot } from './apply-result.ts';

/** An entry as its effects name it: on a standby that of the primary, not the one it came in. */
export interface EntryPlace {
  readonly index: LogIndex;
  readonly term: Term;
}

/** What an entry still needs after the meta state has seen it. */
export type MetaStep =
  /** Nothing more: the slot is filled, or will be when the first of its sequence is. */
  | { readonly kind: 'done'; readonly slot: ResultSlot }
  | {
      readonly kind: 'createShards';
      readonly slot: ResultSlot;
      readonly definition: CollectionDefinition;
    }
  /** The digests of all shards after this entry are wanted. */
  | { readonly kind: 'verify'; readonly slot: ResultSlot }
  | {
      readonly kind: 'redefineShards';
      readonly slot: ResultSlot;
      readonly definition: CollectionDefinition;
    }
  /** What grows in any shard, and is large enough, becomes a segment. */
  | { readonly kind: 'sealShards'; readonly slot: ResultSlot }
  /** Its rows go for good. */
  | { readonly kind: 'dropShards'; readonly slot: ResultSlot; readonly uid: number }
  | {
      readonly kind: 'changeChecksum';
      readonly slot: ResultSlot;
      readonly definition: CollectionDefinition;
    }
  | {
      readonly kind: 'write';
      readonly slot: ResultSlot;
      /** Its index is the version of the rows. */
      readonly at: EntryPlace;
      /** Log time: what the rows keep as theirs. */
      readonly timestampMs: number;
      readonly definition: CollectionDefinition;
      readonly ops: Uint8Array;
    };

export function succeeded(at: EntryPlace, value: ApplyValue): ApplyResult {
  return { ok: true, index: at.index, term: at.term, value };
}

export function refused(
  at: EntryPlace,
  code: Extract<ApplyResult, { ok: false }>['code'],
  conflicts: Extract<ApplyResult, { ok: false }>['conflicts'] = [],
): ApplyResult {
  return { ok: false, index: at.index, term: at.term, code, conflicts };
}

/** With its result: no lane has anything to do. */
export function done(slot: ResultSlot, result: ApplyResult): MetaStep {
  slot.result = result;
  return { kind: 'done', slot };
}

/** What the WAL thread is started with, gets through the ring, and answers. */
import type { ErrorBody } from '@holdfast/base';
import type { ClosedWalFile } from './file-facts.ts';
import type { RingMemory } from './shared-ring.ts';
import type { WalOptions } from './types.ts';
import type { BatchPlace, WriterState, WriterStats } from './wal-writer.ts';
import type { WalWrites } from './write-retry.ts';

export interface WalThreadInput {
  readonly ring: RingMemory;
  readonly state: WriterState;
  readonly options: WalOptions;
}

/** Kinds of ring frames. */
export const FRAME_APPEND = 1;
/** Payload: f64 file id; delete the files below it. */
export const FRAME_RELEASE = 2;
export const FRAME_CLOSE = 3;
/** Payload: a WalOrder as JSON. Answered by `mended`, in order. */
export const FRAME_ORDER = 4;

export type WalThreadReply =
  /** The oldest `frameCount` append frames are durable. */
  | {
      readonly kind: 'durable';
      readonly frameCount: number;
      readonly place: BatchPlace;
      /** Since the answer before. */
      readonly closedFiles: readonly ClosedWalFile[];
      readonly stats: WriterStats;
    }
  /** The oldest order is carried out. */
  | { readonly kind: 'mended' }
  /** The ring has space again. */
  | { readonly kind: 'space' }
  /** The disk refuses what is written, or takes it again. */
  | { readonly kind: 'writes'; readonly writes: WalWrites }
  /** Nothing becomes durable any more. */
  | { readonly kind: 'failed'; readonly error: ErrorBody }
  | { readonly kind: 'closed'; readonly stats: WriterStats };

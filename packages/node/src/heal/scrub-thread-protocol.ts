/** What the scrub thread is started with, told, and answers. */
import type { ErrorBody } from '@holdfast/base';
import type { ScrubJob } from '@holdfast/storage';
import type { Looked } from './scrub-reader.ts';

export interface ScrubThreadInput {
  readonly bytesPerSecMax: number;
}

export type ScrubThreadRequest =
  | { readonly kind: 'look'; readonly id: number; readonly job: ScrubJob }
  | { readonly kind: 'rate'; readonly bytesPerSecMax: number };

export type ScrubThreadReply =
  | { readonly kind: 'looked'; readonly id: number; readonly looked: Looked }
  /** Nothing else is wrong with the thread: the disk refused to be read. */
  | { readonly kind: 'refused'; readonly id: number; readonly error: ErrorBody }
  /** Once, before anything else; null: it runs when nothing else wants the processor. */
  | { readonly kind: 'started'; readonly priorityRefusal: string | null };

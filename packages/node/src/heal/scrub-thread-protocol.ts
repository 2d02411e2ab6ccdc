/** What the scrub thread is started with, told, and tells. */
import type { ScrubJob } from '@holdfast/storage';

export interface ScrubThreadInput {
  readonly bytesPerSecMax: number;
}

/** A look is answered by a `Looked`. */
export type ScrubThreadRequest =
  | { readonly kind: 'look'; readonly id: number; readonly job: ScrubJob }
  | { readonly kind: 'rate'; readonly bytesPerSecMax: number };

/** Without being asked: once, before anything else. */
export interface ScrubThreadTold {
  readonly kind: 'started';
  /** Null: it runs when nothing else wants the processor. */
  readonly priorityRefusal: string | null;
}

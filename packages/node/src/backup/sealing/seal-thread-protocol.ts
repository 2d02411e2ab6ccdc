/** What the sealing thread is asked, and answers. Frames change hands, they are not copied. */
import type { PinnedFile } from '../checkpoint-source.ts';
import type { FileFacts } from '../file-facts.ts';
import type { SealOrder } from './file-frames.ts';

/** `id` is new in every question; that of `open` names the open file from then on. */
export type SealQuestion =
  | { readonly kind: 'examine'; readonly id: number; readonly file: PinnedFile }
  | { readonly kind: 'open'; readonly id: number; readonly order: SealOrder }
  | {
      readonly kind: 'frame';
      readonly id: number;
      readonly fileId: number;
      readonly number: number;
    }
  | { readonly kind: 'digest'; readonly id: number; readonly fileId: number };

export type SealThreadRequest =
  | SealQuestion
  /** Nobody waits for the answer any more. */
  | { readonly kind: 'abort'; readonly id: number }
  | { readonly kind: 'close'; readonly fileId: number };

export interface OpenedFrames {
  readonly header: Uint8Array;
  readonly starts: readonly number[];
}

/** By the kind of the question. */
export interface SealAnswers {
  readonly examine: FileFacts;
  readonly open: OpenedFrames;
  readonly frame: Uint8Array;
  /** Lower-case hex. */
  readonly digest: string;
}

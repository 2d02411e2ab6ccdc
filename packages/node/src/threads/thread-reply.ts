/** How a thread answers the numbered questions of an AskedThread. */
import type { MessagePort } from 'node:worker_threads';
import { type ErrorBody, HoldfastError } from '@holdfast/base';

export type ThreadReply =
  | { readonly kind: 'answer'; readonly id: number; readonly answer: unknown }
  /** Nothing is wrong with the thread. */
  | { readonly kind: 'refused'; readonly id: number; readonly error: ErrorBody };

/**
 * Works on one question and answers it; an answer of bytes alone changes hands and is not copied.
 * Rejects with what is no HoldfastError: a bug, which nobody handles, so that it ends the thread.
 */
export async function answerQuestion(
  port: MessagePort,
  id: number,
  work: () => Promise<unknown>,
): Promise<void> {
  const reply = (message: ThreadReply, moved: readonly ArrayBuffer[] = []): void =>
    port.postMessage(message, moved);
  try {
    const answer = await work();
    reply({ kind: 'answer', id, answer }, answer instanceof Uint8Array ? [bufferOf(answer)] : []);
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    reply({ kind: 'refused', id, error: error.toBody() });
  }
}

const bufferOf = (bytes: Uint8Array): ArrayBuffer => bytes.buffer as ArrayBuffer;

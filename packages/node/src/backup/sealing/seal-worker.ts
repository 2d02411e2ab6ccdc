/**
 * Thread entry of sealing: composes the concrete file system, and answers. Questions are worked on
 * beside each other, a frame at a time, so a large file does not hold up a small one; how many
 * there are is bounded by who asks.
 */
import { parentPort } from 'node:worker_threads';
import { must, unreachable } from '@holdfast/base';
import { lowerThreadPriority, NodeFileSystem } from '@holdfast/storage';
import { answerQuestion } from '../../threads/thread-reply.ts';
import type { SealedFrames } from './file-frames.ts';
import { sealingHere } from './file-frames.ts';
import type { SealAnswers, SealQuestion, SealThreadRequest } from './seal-thread-protocol.ts';

// A backup may wait, writes may not. Where threads have no priorities it is one like any other.
lowerThreadPriority('behind');

const port = must(parentPort, 'the sealing thread must be a worker');
const pause = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve);
  });
const sealing = sealingHere(new NodeFileSystem(), pause);
const open = new Map<number, SealedFrames>();
const underWay = new Map<number, AbortController>();

const framesOf = (fileId: number): SealedFrames =>
  must(open.get(fileId), 'a file is open while it is read');

async function answer(
  question: SealQuestion,
  signal: AbortSignal,
): Promise<SealAnswers[SealQuestion['kind']]> {
  switch (question.kind) {
    case 'examine':
      return sealing.examine(question.file, signal);
    case 'open': {
      const frames = await sealing.open(question.order, signal);
      // Whoever asked has closed it already.
      if (signal.aborted) frames.close();
      else open.set(question.id, frames);
      return { header: frames.header, starts: frames.starts };
    }
    case 'frame':
      return framesOf(question.fileId).frame(question.number);
    case 'digest':
      return framesOf(question.fileId).digest(signal);
    default:
      return unreachable(question);
  }
}

async function work(question: SealQuestion): Promise<void> {
  const { id } = question;
  const abort = new AbortController();
  underWay.set(id, abort);
  try {
    await answerQuestion(port, id, () => answer(question, abort.signal));
  } finally {
    underWay.delete(id);
  }
}

port.on('message', (request: SealThreadRequest) => {
  switch (request.kind) {
    case 'abort':
      underWay.get(request.id)?.abort();
      return;
    case 'close':
      open.get(request.fileId)?.close();
      open.delete(request.fileId);
      return;
    default:
      void work(request);
  }
});

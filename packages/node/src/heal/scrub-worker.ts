/**
 * Thread entry of the scrubber: composes the concrete file system, clock and pace, and answers
 * looks. It asks the system to run it only when nothing else wants a processor.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { must, unreachable } from '@holdfast/base';
import { lookAtFile, lowerThreadPriority, NodeFileSystem } from '@holdfast/storage';
import { SYSTEM_CLOCK, SYSTEM_TIMERS } from '../system-time.ts';
import { answerQuestion } from '../threads/thread-reply.ts';
import { ScrubPace } from './scrub-pace.ts';
import { InlineScrubReader } from './scrub-reader.ts';
import type {
  ScrubThreadInput,
  ScrubThreadRequest,
  ScrubThreadTold,
} from './scrub-thread-protocol.ts';

const port = must(parentPort, 'the scrub thread must be a worker');
const input = workerData as ScrubThreadInput;
const pause = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve);
  });
const pace = new ScrubPace(input.bytesPerSecMax, {
  ...{ clock: SYSTEM_CLOCK, timers: SYSTEM_TIMERS, pause },
});
const reader = new InlineScrubReader(new NodeFileSystem(), pace);
const started: ScrubThreadTold = {
  kind: 'started',
  priorityRefusal: lowerThreadPriority('lowest'),
};
port.postMessage(started);
port.on('message', (request: ScrubThreadRequest) => {
  switch (request.kind) {
    case 'look':
      void answerQuestion(port, request.id, () => reader.look(lookAtFile(request.job)));
      return;
    case 'rate':
      pace.bytesPerSecMax = request.bytesPerSecMax;
      return;
    default:
      unreachable(request);
  }
});

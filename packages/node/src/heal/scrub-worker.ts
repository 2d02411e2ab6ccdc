/**
 * Thread entry of the scrubber: composes the concrete file system, clock and pace, and answers
 * looks. It asks the system to run it only when nothing else wants a processor.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { HoldfastError, must, unreachable } from '@holdfast/base';
import type { ScrubJob } from '@holdfast/storage';
import { lookAtFile, lowerThreadPriority, NodeFileSystem } from '@holdfast/storage';
import { SYSTEM_CLOCK, SYSTEM_TIMERS } from '../system-time.ts';
import { ScrubPace } from './scrub-pace.ts';
import { InlineScrubReader } from './scrub-reader.ts';
import type {
  ScrubThreadInput,
  ScrubThreadReply,
  ScrubThreadRequest,
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
const reply = (message: ScrubThreadReply): void => port.postMessage(message);

async function look(id: number, job: ScrubJob): Promise<void> {
  try {
    reply({ kind: 'looked', id, looked: await reader.look(lookAtFile(job)) });
  } catch (error) {
    // Anything else is a bug, and ends the thread.
    if (!(error instanceof HoldfastError)) throw error;
    reply({ kind: 'refused', id, error: error.toBody() });
  }
}

reply({ kind: 'started', priorityRefusal: lowerThreadPriority() });
port.on('message', (request: ScrubThreadRequest) => {
  switch (request.kind) {
    case 'look':
      void look(request.id, request.job);
      return;
    case 'rate':
      pace.bytesPerSecMax = request.bytesPerSecMax;
      return;
    default:
      unreachable(request);
  }
});

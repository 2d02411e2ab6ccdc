/** Thread entry: composes the concrete file system and clock, and runs the loop. No logic. */
import { parentPort, workerData } from 'node:worker_threads';
import { must } from '@holdfast/base';
import { armFailpointsFromEnvironment } from '../failpoint-arming.ts';
import { NodeFileSystem } from '../node-fs.ts';
import { RingConsumer } from './shared-ring.ts';
import { runWalThread } from './thread-loop.ts';
import type { WalThreadInput } from './thread-protocol.ts';
import { WalWriter } from './wal-writer.ts';

armFailpointsFromEnvironment(process.env);
const port = must(parentPort, 'the WAL thread must be a worker');
const input = workerData as WalThreadInput;
const clock = { monotonicMs: () => performance.now() };
const writer = new WalWriter(new NodeFileSystem(), input.state, input.options, clock);
runWalThread(new RingConsumer(input.ring), writer, input.options, clock, (message) =>
  port.postMessage(message),
);

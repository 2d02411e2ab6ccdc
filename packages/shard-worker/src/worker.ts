/** Thread entry of a lane. No logic: a task goes to the runner, its reply back to the host. */
import { performance } from 'node:perf_hooks';
import { HoldfastError } from '@holdfast/base';
import { NodeFileSystem } from '@holdfast/storage';
import { LaneEngine } from './engine/lane-engine.ts';
import { loadHnswlib } from './graph/hnswlib-graph.ts';
import { LaneRunner } from './host/lane-runner.ts';
import type { ShardReply, ShardTask } from './tasks.ts';

const factory = loadHnswlib();

const runner = new LaneRunner({
  engine: new LaneEngine({
    fs: new NodeFileSystem(),
    graphFactory: factory instanceof HoldfastError ? null : factory,
  }),
  monotonicMs: () => performance.now(),
  defer: (delayMs, callback) => {
    if (delayMs === 0) setImmediate(callback);
    else setTimeout(callback, delayMs);
  },
});

export default (task: ShardTask): ShardReply | Promise<ShardReply> => runner.run(task);

/** Thread entry of a lane. No logic: a task goes to the runner, its reply back to the host. */
import { performance } from 'node:perf_hooks';
import { NodeFileSystem } from '@holdfast/storage';
import { LaneEngine } from './engine/lane-engine.ts';
import { loadGraphFactory } from './graph/graph-engines.ts';
import { GRAPH_CACHE_LIMITS } from './graph-cache/graph-cache.ts';
import { LaneRunner, PROBE_INTERVAL_MS } from './host/lane-runner.ts';
import type { ShardReply, ShardTask } from './tasks.ts';

const runner = new LaneRunner({
  engine: new LaneEngine({
    fs: new NodeFileSystem(),
    graphFactory: loadGraphFactory(),
    graphCache: { ...GRAPH_CACHE_LIMITS, wallMs: () => Date.now() },
  }),
  monotonicMs: () => performance.now(),
  defer: (delayMs, callback) => {
    if (delayMs === 0) setImmediate(callback);
    else setTimeout(callback, delayMs);
  },
  probeIntervalMs: PROBE_INTERVAL_MS,
});

export default (task: ShardTask): ShardReply | Promise<ShardReply> => runner.run(task);

/** What runs in a lane's thread: concrete clock, disk, native library and pulse around a runner. */
import { performance } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import { workerData } from 'node:worker_threads';
import { armFailpointsFromEnvironment, NodeFileSystem } from '@holdfast/storage';

import { LaneEngine } from '../engine/lane-engine.ts';
import { SearchLayers } from '../engine/layers.ts';
import { loadGraphFactory } from '../graph/graph-engines.ts';
import { markNativeCalls } from '../graph/marked-graph.ts';
import { GRAPH_CACHE_LIMITS } from '../graph-cache/graph-cache.ts';
import type { LaneThreadInput } from './lane.ts';
import { LanePulse } from './lane-pulse.ts';
import { LaneRunner, PROBE_INTERVAL_MS } from './lane-runner.ts';
import { PulsingFileSystem } from './pulsing-fs.ts';

const HEAP_LOOK_INTERVAL_MS = 1_000;

export function createLaneRunner(): LaneRunner {
  armFailpointsFromEnvironment(process.env);
  const input = workerData as LaneThreadInput;
  const pulse = new LanePulse(input.pulse);
  const monotonicMs = (): number => performance.now();
  pulse.enter('idle');
  watchHeap(pulse);
  const factory = loadGraphFactory();
  return new LaneRunner({
    engine: new LaneEngine({
      fs: new PulsingFileSystem(new NodeFileSystem(), pulse),
      graphFactory: factory === null ? null : markNativeCalls(factory, pulse),
      graphCache: {
        ...{ ...GRAPH_CACHE_LIMITS, wallMs: () => Date.now() },
        saves: { breaker: input.saveBreaker, monotonicMs },
      },
      layers: new SearchLayers(input.layers, { monotonicMs, onProgress: () => pulse.beat() }),
    }),
    monotonicMs,
    defer: (delayMs, callback) => {
      if (delayMs === 0) setImmediate(callback);
      else setTimeout(callback, delayMs);
    },
    probeIntervalMs: PROBE_INTERVAL_MS,
    pulse,
  });
}

function watchHeap(pulse: LanePulse): void {
  const look = (): void => {
    const { used_heap_size: used, heap_size_limit: limit } = getHeapStatistics();
    pulse.noteHeap(used, limit);
  };
  look();
  setInterval(look, HEAP_LOOK_INTERVAL_MS).unref();
}

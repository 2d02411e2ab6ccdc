/** How this process is, as the system and its event loop say. Only for compose.ts. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { ProcessSample } from './heal/workers.ts';

const DELAY_RESOLUTION_MS = 20;
const MICROSECONDS_PER_MS = 1_000;
const NANOSECONDS_PER_MS = 1_000_000;

/** Measures from the call on; `stop` ends it. */
export function startProcessSampling(): { sample(): ProcessSample; stop(): void } {
  const delays = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS });
  delays.enable();
  return {
    sample() {
      const { system, user } = process.cpuUsage();
      const { heapUsed, rss } = process.memoryUsage();
      // The histogram counts its own timer's interval as well.
      const longestMs = delays.max / NANOSECONDS_PER_MS - DELAY_RESOLUTION_MS;
      delays.reset();
      return {
        cpuMs: (user + system) / MICROSECONDS_PER_MS,
        residentSizeBytes: rss,
        heapUsedSizeBytes: heapUsed,
        eventLoopDelayMs: Math.max(0, longestMs),
      };
    },
    stop: () => void delays.disable(),
  };
}

/**
 * How the C allocator of a node should be set. glibc keeps freed memory per thread and raises its
 * own thresholds as large buffers come and go; a node has a dozen threads and moves every batch
 * through buffers of a few hundred KB. Measured after 100,000 x 128-d on three nodes of two lanes:
 * 383-395 MB resident with these settings, 434-459 MB without.
 *
 * It is read when a process starts, so it has to come from whoever starts it: `cluster start` and
 * the test harness do, and docs/OPERATING.md names the three variables for other supervisors.
 */
const MALLOC_SETTINGS = {
  MALLOC_ARENA_MAX: '2',
  MALLOC_MMAP_THRESHOLD_: '131072',
  MALLOC_TRIM_THRESHOLD_: '131072',
} as const;

/** `environment` with the settings above where it says nothing else. */
export function nodeEnvironment(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return { ...MALLOC_SETTINGS, ...environment };
}

/** The lanes of a simulated machine: real engines, answers at the pace of a device. */
import { InlineHost } from '@holdfast/shard-worker';
import type { FileSystem } from '@holdfast/storage';
import type { SimDevice } from './sim-device.ts';

/** Small worlds have few dead rows; they are let go all the same, so that faults fall there too. */
const DEAD_ROW_COUNT_MIN = 16;

export function makeLanes(
  fileSystem: FileSystem,
  dataDirectory: string,
  laneCount: number,
  device: SimDevice,
): InlineHost {
  return new InlineHost({
    fs: fileSystem,
    dataDirectory,
    laneCount,
    graphFactory: null,
    schedule: device.isInstant ? queueMicrotask : (deliver) => device.use(deliver),
    // Where lanes are instant, a killed process could not be told from its successor.
    isCheckpointSliced: !device.isInstant,
    buildRowCountPerTask: 1,
    compactionDeadRowCountMin: DEAD_ROW_COUNT_MIN,
  });
}

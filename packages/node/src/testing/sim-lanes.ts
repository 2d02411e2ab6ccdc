/** The lanes of a simulated machine: real engines that can be lost, answers at a device's pace. */
import type { Clock, HoldfastError, Timers } from '@holdfast/base';
import type { LaneEvent } from '@holdfast/shard-worker';
import { SupervisedInlineHost } from '@holdfast/shard-worker/testing';
import type { FileSystem } from '@holdfast/storage';
import type { SimDevice } from './sim-device.ts';

/** Small worlds have few dead rows; they are let go all the same, so that faults fall there too. */
const DEAD_ROW_COUNT_MIN = 16;

export interface SimLanesOptions {
  readonly fileSystem: FileSystem;
  readonly dataDirectory: string;
  readonly laneCount: number;
  readonly device: SimDevice;
  readonly process: Clock & Timers;
  readonly onEvent: (event: LaneEvent) => void;
  /** The node must stop. */
  readonly onFatal: (error: HoldfastError) => void;
  readonly mayRestart: () => boolean;
}

export function makeLanes(options: SimLanesOptions): SupervisedInlineHost {
  const { dataDirectory, device, fileSystem, laneCount, process } = options;
  const { mayRestart, onEvent, onFatal } = options;
  return new SupervisedInlineHost({
    fs: fileSystem,
    dataDirectory,
    laneCount,
    schedule: device.isInstant ? queueMicrotask : (deliver) => device.use(deliver),
    // Where lanes are instant, a killed process could not be told from its successor.
    isCheckpointSliced: !device.isInstant,
    buildRowCountPerTask: 1,
    compactionDeadRowCountMin: DEAD_ROW_COUNT_MIN,
    supervision: { clock: process, timers: process, onEvent, onFatal, mayRestart },
  });
}

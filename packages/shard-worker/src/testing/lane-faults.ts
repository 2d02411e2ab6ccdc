/** Reading a point with one of these ids makes a lane of the faulty worker fail in that way. */
export const LANE_FAULT_IDS = {
  hang: 900_000_001,
  hangAtNextApply: 900_000_002,
  exit: 900_000_003,
  leak: 900_000_004,
  throwLater: 900_000_005,
} as const;

export const FAULTY_WORKER = new URL('./faulty-worker.js', import.meta.url);

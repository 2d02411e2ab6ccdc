/** What happens to the threads of lanes, for logs, metrics and whoever owns recoveries. */
import type { HoldfastError } from '@holdfast/base';
import type { PulseSample } from './lane-pulse.ts';

/** `hung`: alive and silent. `leaking`: its heap is full. `died`: gone. */
export type LaneLossCause = 'hung' | 'leaking' | 'died';

export type LaneEvent =
  | {
      readonly kind: 'laneLost';
      readonly lane: number;
      readonly cause: LaneLossCause;
      readonly error: HoldfastError;
    }
  | {
      readonly kind: 'laneRestarting';
      readonly lane: number;
      readonly attempt: number;
      readonly delayMs: number;
    }
  /** Its time has come, and it may not start: told once, then it waits until it may. */
  | { readonly kind: 'laneHeld'; readonly lane: number }
  /** This attempt came to nothing; the next one follows, or `laneGivenUp`. */
  | { readonly kind: 'laneRestartFailed'; readonly lane: number; readonly error: HoldfastError }
  | {
      readonly kind: 'laneRecovered';
      readonly lane: number;
      readonly downMs: number;
      readonly replayedEntryCount: number;
    }
  /** An alarm: the shards of this lane do not come back without a person. */
  | { readonly kind: 'laneGivenUp'; readonly lane: number; readonly attempts: number }
  /** The disk has kept a lane waiting. */
  | { readonly kind: 'laneStalled'; readonly lane: number; readonly quietMs: number };

export interface LaneHealth {
  readonly lane: number;
  readonly state: 'up' | 'down' | 'givenUp';
  readonly restarts: number;
  readonly lost: { readonly [Cause in LaneLossCause]: number };
  /** Monotonic milliseconds since which it has been up; null while it is down. */
  readonly upSinceMs: number | null;
  /** Of the thread in place now. */
  readonly pulse: PulseSample;
}

/**
 * ShardHost with one thread per lane: the production host. Threads start in the constructor. With
 * `supervision` a thread that dies, hangs or leaks is replaced and its shards come back; without it
 * a lost lane stays lost.
 */
import type { Clock, HoldfastError, TimerHandle, Timers } from '@holdfast/base';
import { must, RestartPolicy, type RestartPolicyOptions } from '@holdfast/base';
import type { LaneOptions } from './lane.ts';
import { Lane } from './lane.ts';
import type { LaneEvent, LaneHealth } from './lane-events.ts';
import { LaneFanOut } from './lane-fan-out.ts';
import type { LaneReplay } from './lane-replay.ts';
import { LANE_LOOK_INTERVAL_MS } from './lane-watch.ts';
import { SupervisedLane } from './supervised-lane.ts';

export interface Supervision {
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly timers: Timers;
  readonly onEvent: (event: LaneEvent) => void;
  /** Only a start of the whole process helps: a thread hangs where it cannot be ended. */
  readonly onFatal: (error: HoldfastError) => void;
  readonly restarts?: RestartPolicyOptions;
  /** Asked before a thread takes the place of a lost one. Left out: always. */
  readonly mayRestart?: (lane: number) => boolean;
}

export interface PiscinaHostOptions extends LaneOptions {
  readonly dataDirectory: string;
  readonly laneCount: number;
  readonly supervision?: Supervision;
  /**
   * Without supervision: told when a lane's thread dies between tasks. Later calls reject either
   * way, because the thread that replaces it is empty.
   */
  readonly onLaneFailure?: (error: HoldfastError) => void;
}

interface Parts {
  readonly ports: readonly (Lane | SupervisedLane)[];
  /** The threads in place now. */
  readonly threads: Lane[];
  replay: LaneReplay | null;
}

export class PiscinaHost extends LaneFanOut {
  readonly #parts: Parts;
  readonly #timers: Timers | null;
  #watchTimer: TimerHandle | null = null;

  constructor(options: PiscinaHostOptions) {
    const parts = makeParts(options);
    super(parts.ports, options.dataDirectory);
    this.#parts = parts;
    this.#timers = options.supervision?.timers ?? null;
    this.#lookLater();
  }

  override useReplay(replay: LaneReplay): void {
    this.#parts.replay = replay;
  }

  override health(): readonly LaneHealth[] {
    return this.#parts.ports.flatMap((port) => (port instanceof SupervisedLane ? port.health : []));
  }

  override async close(): Promise<void> {
    this.#watchTimer?.cancel();
    await super.close();
  }

  /** For tests: ends a lane's thread as a crash would. Only while no graph is being built. */
  terminateLane(lane: number): Promise<void> {
    return must(this.#parts.threads[lane], 'no such lane').terminateThread();
  }

  #lookLater(): void {
    this.#watchTimer =
      this.#timers?.after(LANE_LOOK_INTERVAL_MS, () => {
        for (const port of this.#parts.ports) if (port instanceof SupervisedLane) port.look();
        this.#lookLater();
      }) ?? null;
  }
}

function makeParts(options: PiscinaHostOptions): Parts {
  const { supervision } = options;
  const threads: Lane[] = [];
  const ports: (Lane | SupervisedLane)[] = [];
  const parts: Parts = { ports, threads, replay: null };
  const startThread = (lane: number, onLost: (error: HoldfastError) => void): Lane => {
    const thread = new Lane(`lane ${lane}`, onLost, options);
    threads[lane] = thread;
    return thread;
  };
  for (let lane = 0; lane < options.laneCount; lane++) {
    if (supervision === undefined) {
      ports.push(startThread(lane, options.onLaneFailure ?? (() => {})));
      continue;
    }
    const { restarts, ...rest } = supervision;
    ports.push(
      new SupervisedLane({
        ...rest,
        lane,
        startThread: (onLost) => startThread(lane, onLost),
        replay: () => parts.replay,
        policy: new RestartPolicy(restarts),
      }),
    );
  }
  return parts;
}

/**
 * ShardHost whose lanes can be lost without threads: each is an engine in this thread under the
 * same SupervisedLane as a thread in production, so a simulation loses lanes, replays the log for
 * one of them and holds applies back exactly as a node does. Time and deferral come in.
 *
 * A lost engine is one that nobody hears any more: replies on their way never arrive, and what it
 * had in memory is gone.
 */
import type { HoldfastError } from '@holdfast/base';
import {
  assert,
  HoldfastError as HoldfastFailure,
  must,
  RestartPolicy,
  toHoldfastError,
} from '@holdfast/base';
import type { FileSystem } from '@holdfast/storage';
import { CrashSignal } from '@holdfast/storage/testing';
import { LaneEngine } from '../engine/lane-engine.ts';
import type { LaneHealth } from '../host/lane-events.ts';
import { LaneFanOut } from '../host/lane-fan-out.ts';
import { createPulseMemory, LanePulse, PulseReader } from '../host/lane-pulse.ts';
import type { LaneReplay } from '../host/lane-replay.ts';
import { LANE_LOOK_INTERVAL_MS } from '../host/lane-watch.ts';
import type { Supervision } from '../host/piscina-host.ts';
import type { LaneThread } from '../host/supervised-lane.ts';
import { SupervisedLane } from '../host/supervised-lane.ts';
import type { ShardReply, ShardTask } from '../tasks.ts';

export interface SupervisedInlineHostOptions {
  readonly fs: FileSystem;
  readonly dataDirectory: string;
  readonly laneCount: number;
  /** Delivers a reply; callbacks keep their order per lane. */
  readonly schedule: (deliver: () => void) => void;
  /** As in InlineHostOptions. */
  readonly isCheckpointSliced: boolean;
  readonly buildRowCountPerTask: number;
  readonly compactionDeadRowCountMin: number;
  readonly supervision: Supervision;
}

/** `dies`: gone at once. `hangs`: takes tasks and answers none; somebody has to notice. */
export type LaneLoss = 'dies' | 'hangs';

interface Parts {
  readonly lanes: readonly SupervisedLane[];
  /** The engines in place now. */
  readonly threads: InlineThread[];
  replay: LaneReplay | null;
}

export class SupervisedInlineHost extends LaneFanOut {
  readonly #parts: Parts;
  readonly #supervision: Supervision;
  #isClosed = false;

  constructor(options: SupervisedInlineHostOptions) {
    const parts = makeParts(options);
    super(parts.lanes, options.dataDirectory);
    this.#parts = parts;
    this.#supervision = options.supervision;
    this.#lookLater();
  }

  override useReplay(replay: LaneReplay): void {
    this.#parts.replay = replay;
  }

  override health(): readonly LaneHealth[] {
    return this.#parts.lanes.map(({ health }) => health);
  }

  override async close(): Promise<void> {
    this.#isClosed = true;
    await super.close();
  }

  /** The engine of one lane is lost; `lane` counts on over the lanes there are. */
  loseLane(lane: number, loss: LaneLoss): void {
    const thread = must(this.#parts.threads[lane % this.laneCount], 'a lane has an engine');
    if (loss === 'dies') thread.die();
    else thread.hang();
  }

  #lookLater(): void {
    this.#supervision.timers.after(LANE_LOOK_INTERVAL_MS, () => {
      if (this.#isClosed) return;
      for (const lane of this.#parts.lanes) lane.look();
      this.#lookLater();
    });
  }
}

function makeParts(options: SupervisedInlineHostOptions): Parts {
  const { restarts, ...supervision } = options.supervision;
  const threads: InlineThread[] = [];
  const lanes: SupervisedLane[] = [];
  const parts: Parts = { lanes, threads, replay: null };
  for (let lane = 0; lane < options.laneCount; lane++) {
    lanes.push(
      new SupervisedLane({
        ...supervision,
        lane,
        startThread: (onLost) => {
          const thread = new InlineThread(options, onLost);
          threads[lane] = thread;
          return thread;
        },
        replay: () => parts.replay,
        policy: new RestartPolicy(restarts),
      }),
    );
  }
  return parts;
}

interface Waiting {
  readonly resolve: (reply: ShardReply) => void;
  readonly reject: (error: HoldfastError) => void;
}

/** An engine that answers at the pace of `schedule`, until it is lost. */
class InlineThread implements LaneThread {
  readonly pulse: PulseReader;
  readonly #options: SupervisedInlineHostOptions;
  readonly #engine: LaneEngine;
  readonly #beat: LanePulse;
  readonly #onLost: (error: HoldfastError) => void;
  readonly #waiting = new Set<Waiting>();
  #state: 'up' | 'hung' | 'dead' = 'up';
  #epoch = 0;

  constructor(options: SupervisedInlineHostOptions, onLost: (error: HoldfastError) => void) {
    const memory = createPulseMemory();
    this.pulse = new PulseReader(memory);
    this.#beat = new LanePulse(memory);
    this.#beat.enter('idle');
    this.#options = options;
    this.#onLost = onLost;
    const { fs, compactionDeadRowCountMin } = options;
    this.#engine = new LaneEngine({ fs, graphFactory: null, compactionDeadRowCountMin });
  }

  get hasTasks(): boolean {
    return this.#waiting.size > 0;
  }

  assertRoomForRead(): void {}

  post(task: ShardTask): Promise<ShardReply> {
    assert(this.#state !== 'dead', 'nothing is posted to a lane that is gone');
    const { buildRowCountPerTask, isCheckpointSliced } = this.#options;
    this.#epoch = task.epoch;
    return new Promise((resolve, reject) => {
      const waiting = { resolve, reject };
      this.#waiting.add(waiting);
      this.#answer(waiting, () =>
        isCheckpointSliced ? this.#engine.start(task) : this.#engine.run(task),
      );
      if (this.#state === 'up') this.#engine.buildSlice(buildRowCountPerTask);
    });
  }

  kill(): boolean {
    this.#state = 'dead';
    for (const { reject } of this.#waiting) reject(gone());
    this.#waiting.clear();
    return true;
  }

  async close(): Promise<void> {
    this.#state = 'dead';
  }

  die(): void {
    if (this.#state === 'dead') return;
    this.#state = 'hung';
    this.#onLost(gone());
  }

  hang(): void {
    if (this.#state === 'dead') return;
    this.#state = 'hung';
    // As in a loop without end: also a lane without tasks does not come back from it.
    this.#beat.enter('working');
  }

  #answer(waiting: Waiting, body: () => ShardReply | null): void {
    if (this.#state !== 'up') return;
    const outcome = this.#run(body);
    this.#beat.beat();
    this.#options.schedule(() => {
      if (this.#state !== 'up') return;
      if (outcome === null) this.#answer(waiting, () => this.#engine.stepCheckpoint());
      else if (this.#waiting.delete(waiting)) waiting.resolve(outcome);
    });
  }

  /** What a thread would answer: whatever is thrown there ends the node, not this loop. */
  #run(body: () => ShardReply | null): ShardReply | null {
    try {
      return body();
    } catch (thrown) {
      const error = toHoldfastError(thrown);
      // The machine stops: there is no lane that could come back.
      if (thrown instanceof CrashSignal) this.#options.supervision.onFatal(error);
      const { appliedIndex } = this.#engine;
      return { kind: 'failed', epoch: this.#epoch, appliedIndex, error: error.toBody() };
    }
  }
}

const gone = (): HoldfastError =>
  new HoldfastFailure('SHARD_UNAVAILABLE', 'the engine of this lane is gone; ask another node');

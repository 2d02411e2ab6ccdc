/**
 * A lane that outlives its thread. When that dies, hangs or leaks, another one takes its place with
 * back-off: it opens the shards of the last checkpoint, gets the log after it replayed for
 * this lane alone, and goes on with the apply that was under way. The other lanes notice nothing
 * but that this apply takes long.
 *
 * Meanwhile applies and votes wait, in order; the caller makes one at a time, so they are few.
 * Everything else is refused SHARD_UNAVAILABLE at once: never a partial or an old answer.
 *
 * Invariants: a task is answered once, by a thread that stood exactly where the task belongs; an
 * apply that was posted to a lost thread is not posted again but rebuilt from the log, because its
 * bytes went with the thread.
 *
 * Over 400 lines because losses, tasks and recoveries of a lane turn on one state.
 */
import type { Clock, LogIndex, TimerHandle, Timers } from '@holdfast/base';
import { assert, HoldfastError, logIndex, RestartPolicy, toHoldfastError } from '@holdfast/base';
import { isDamage } from '../segment/file-damage.ts';
import type { ShardReply, ShardTask, WriteOutcome } from '../tasks.ts';
import type { LaneEvent, LaneHealth, LaneLossCause } from './lane-events.ts';
import type { LanePort } from './lane-fan-out.ts';
import { laneOfShard } from './lane-of.ts';
import type { PulseReader } from './lane-pulse.ts';
import type { LaneReplay, LaneReplayRun } from './lane-replay.ts';
import { LaneWatch } from './lane-watch.ts';

/** One thread: what `Lane` is. */
export interface LaneThread extends LanePort {
  readonly pulse: PulseReader;
  readonly hasTasks: boolean;
  /** False: it cannot be ended without ending the process. */
  kill(): boolean;
}

export interface SupervisedLaneOptions {
  readonly lane: number;
  readonly startThread: (onLost: (error: HoldfastError) => void) => LaneThread;
  readonly replay: () => LaneReplay | null;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly timers: Timers;
  readonly onEvent: (event: LaneEvent) => void;
  /** Only a start of the whole process helps. */
  readonly onFatal: (error: HoldfastError) => void;
  readonly policy?: RestartPolicy;
  /** False: not now; asked again every RESTART_LOOK_INTERVAL_MS. */
  readonly mayRestart?: (lane: number) => boolean;
}

/** Somebody has switched recoveries off: seconds do not matter. */
const RESTART_LOOK_INTERVAL_MS = 1_000;

type OpenTask = Extract<ShardTask, { readonly kind: 'open' }>;
type OrderedTask = Extract<ShardTask, { readonly kind: 'apply' | 'vote' }>;

/**
 * What replaces damaged files of a checkpoint is the next one, and that needs every lane: a lane
 * that waits for it waits for itself. So the node stops, and its start falls back or asks the
 * others. Not at once: segments come from peers, and another generation is tried each time.
 */
const DAMAGED_ATTEMPT_COUNT_MAX = 4;

/** A task that keeps its place until it is answered. */
interface Held {
  readonly task: OrderedTask;
  isPosted: boolean;
  readonly resolve: (reply: ShardReply) => void;
  readonly reject: (error: unknown) => void;
}

export class SupervisedLane implements LanePort {
  readonly #options: SupervisedLaneOptions;
  readonly #policy: RestartPolicy;
  #thread: LaneThread;
  #watch: LaneWatch;
  #state: 'up' | 'down' | 'givenUp' | 'closed' = 'up';
  /** Counts threads: what an earlier one still says is not heard. */
  #generation = 0;
  #opened: OpenTask | null = null;
  /** Where the thread stands once everything answered so far is counted. */
  #index: LogIndex = logIndex(0);
  #held: Held[] = [];
  #timer: TimerHandle | null = null;
  #lostAtMs = 0;
  #upSinceMs: number | null;
  #restarts = 0;
  /** Restarts since the last good one that met only damaged files. */
  #damagedInRow = 0;
  readonly #lost: { [Cause in LaneLossCause]: number } = { hung: 0, leaking: 0, died: 0 };

  constructor(options: SupervisedLaneOptions) {
    this.#options = options;
    this.#policy = options.policy ?? new RestartPolicy();
    this.#thread = this.#startThread();
    this.#watch = new LaneWatch(this.#nowMs());
    this.#upSinceMs = this.#nowMs();
    this.#policy.started(this.#nowMs());
  }

  get health(): LaneHealth {
    const state = this.#state === 'closed' ? 'down' : this.#state;
    const { lane } = this.#options;
    return {
      ...{ lane, state, restarts: this.#restarts, lost: { ...this.#lost } },
      ...{ upSinceMs: this.#upSinceMs, pulse: this.#thread.pulse.sample() },
    };
  }

  assertRoomForRead(): void {
    if (this.#state === 'up') this.#thread.assertRoomForRead();
  }

  async post(task: ShardTask): Promise<ShardReply> {
    if (task.kind === 'open') return this.#open(task);
    if (task.kind === 'close') return this.#postClose(task);
    if (this.#state === 'closed') throw this.#refusal();
    if (task.kind === 'apply' || task.kind === 'vote') return this.#hold(task);
    if (this.#state !== 'up') throw this.#refusal();
    const generation = this.#generation;
    try {
      return await this.#thread.post(task);
    } catch (error) {
      if (generation === this.#generation) this.#onLost('died', toHoldfastError(error));
      throw error;
    }
  }

  /** Called often, see LANE_LOOK_INTERVAL_MS: is the thread still alive? */
  look(): void {
    if (this.#state === 'closed' || this.#state === 'givenUp') return;
    // The lost thread stays silent until another one takes its place: that is no second loss.
    if (this.#timer !== null) return;
    const { pulse, hasTasks } = this.#thread;
    const verdict = this.#watch.look(pulse.sample(), hasTasks, this.#nowMs());
    const { lane } = this.#options;
    switch (verdict.kind) {
      case 'fine':
        return;
      case 'stalled':
        this.#options.onEvent({ kind: 'laneStalled', lane, quietMs: verdict.quietMs });
        return;
      case 'hung':
        this.#onLost('hung', lossOf(lane, `has been silent for ${Math.round(verdict.quietMs)} ms`));
        return;
      case 'leaking':
        this.#onLost(
          'leaking',
          lossOf(lane, `fills its heap (${verdict.heapUsedSizeBytes} bytes)`),
        );
    }
  }

  /** Everything posted is answered or refused, then the thread ends. */
  async close(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = null;
    const wasUp = this.#state === 'up';
    this.#state = 'closed';
    if (wasUp) await this.#thread.close();
    else this.#thread.kill();
    for (const held of this.#takeHeld()) held.reject(this.#refusal());
  }

  /** Replaces whatever the lane holds: also a recovery under way is given up for it. */
  async #open(task: OpenTask): Promise<ShardReply> {
    assert(this.#state !== 'closed', 'a closed lane is not opened');
    const wasLost = this.#state !== 'up';
    if (wasLost) this.#giveUpRecovery();
    this.#opened = task;
    this.#index = task.appliedIndex;
    const generation = this.#generation;
    const reply = await this.#thread.post(task);
    if (wasLost && reply.kind === 'opened' && generation === this.#generation) {
      const downMs = this.#nowMs() - this.#lostAtMs;
      this.#options.onEvent({
        kind: 'laneRecovered',
        lane: this.#options.lane,
        downMs,
        replayedEntryCount: 0,
      });
    }
    return reply;
  }

  /** For a state that takes the place of the one it would have brought back. */
  #giveUpRecovery(): void {
    this.#generation += 1;
    this.#timer?.cancel();
    this.#timer = null;
    for (const held of this.#takeHeld()) held.reject(this.#refusal());
    const { lane, onFatal } = this.#options;
    if (!this.#thread.kill()) onFatal(lossOf(lane, 'hangs inside the native graph library'));
    this.#replaceThread();
    this.#isUp();
  }

  async #postClose(task: ShardTask): Promise<ShardReply> {
    this.#timer?.cancel();
    if (this.#state !== 'up') throw this.#refusal();
    return this.#thread.post(task);
  }

  #hold(task: OrderedTask): Promise<ShardReply> {
    return new Promise((resolve, reject) => {
      const held: Held = { task, isPosted: false, resolve, reject };
      this.#held.push(held);
      if (this.#state === 'up') this.#postHeld(held);
    });
  }

  #postHeld(held: Held): void {
    const generation = this.#generation;
    held.isPosted = true;
    this.#thread.post(held.task).then(
      (reply) => {
        if (generation === this.#generation) this.#answer(held, reply);
      },
      (error: unknown) => {
        if (generation === this.#generation) this.#onLost('died', toHoldfastError(error));
      },
    );
  }

  #answer(held: Held, reply: ShardReply): void {
    this.#held = this.#held.filter((other) => other !== held);
    if (held.task.kind === 'apply' && reply.kind === 'applied') this.#index = held.task.toIndex;
    held.resolve(reply);
  }

  #startThread(): LaneThread {
    const generation = this.#generation;
    return this.#options.startThread((error) => {
      if (generation === this.#generation) this.#onLost('died', error);
    });
  }

  #replaceThread(): void {
    this.#thread = this.#startThread();
    this.#watch = new LaneWatch(this.#nowMs());
  }

  #isUp(): void {
    this.#state = 'up';
    this.#damagedInRow = 0;
    this.#upSinceMs = this.#nowMs();
    this.#policy.started(this.#nowMs());
  }

  #onLost(supposed: LaneLossCause, error: HoldfastError): void {
    if (this.#state === 'closed' || this.#state === 'givenUp') return;
    const cause = isOutOfMemory(error) ? 'leaking' : supposed;
    const { lane, onEvent, onFatal } = this.#options;
    this.#generation += 1;
    this.#lost[cause] += 1;
    if (this.#state === 'up') this.#lostAtMs = this.#nowMs();
    this.#state = 'down';
    this.#upSinceMs = null;
    onEvent({ kind: 'laneLost', lane, cause, error });
    if (!this.#thread.kill()) {
      this.#state = 'givenUp';
      onFatal(lossOf(lane, 'hangs inside the native graph library; the process must restart'));
      return;
    }
    if (this.#opened === null || this.#options.replay() === null) {
      // Not opened yet: whoever opens it is told, and starts anew.
      this.#fail(error);
      return;
    }
    this.#retryLater();
  }

  #retryLater(): void {
    const { lane, timers, onEvent } = this.#options;
    const delayMs = this.#policy.died(this.#nowMs());
    if (delayMs === null) {
      this.#state = 'givenUp';
      onEvent({ kind: 'laneGivenUp', lane, attempts: this.#policy.attemptCount });
      return;
    }
    onEvent({ kind: 'laneRestarting', lane, attempt: this.#policy.attemptCount, delayMs });
    const generation = this.#generation;
    this.#timer = timers.after(delayMs, () => {
      this.#timer = null;
      if (generation === this.#generation) this.#restartWhenAllowed(generation, false);
    });
  }

  #restartWhenAllowed(generation: number, isHeld: boolean): void {
    const { lane, mayRestart, onEvent, timers } = this.#options;
    if (mayRestart === undefined || mayRestart(lane)) {
      const attempt = this.#policy.attemptCount;
      if (isHeld) onEvent({ kind: 'laneRestarting', lane, attempt, delayMs: 0 });
      this.#restart(generation);
      return;
    }
    if (!isHeld) onEvent({ kind: 'laneHeld', lane });
    this.#timer = timers.after(RESTART_LOOK_INTERVAL_MS, () => {
      this.#timer = null;
      if (generation === this.#generation) this.#restartWhenAllowed(generation, true);
    });
  }

  #restart(generation: number): void {
    this.#restarts += 1;
    this.#replaceThread();
    this.#recover(generation).catch((thrown: unknown) => {
      // Another loss, an open or a close has taken over.
      if (generation !== this.#generation || this.#state !== 'down') return;
      this.#generation += 1;
      const error = toHoldfastError(thrown);
      this.#options.onEvent({ kind: 'laneRestartFailed', lane: this.#options.lane, error });
      this.#damagedInRow = isDamage(error) ? this.#damagedInRow + 1 : 0;
      if (!this.#thread.kill()) this.#options.onFatal(error);
      else if (this.#damagedInRow >= DAMAGED_ATTEMPT_COUNT_MAX) this.#fail(error);
      else this.#retryLater();
    });
  }

  async #recover(generation: number): Promise<void> {
    const { lane, onEvent, replay } = this.#options;
    const source = replay();
    assert(source !== null, 'a lane recovers from something');
    const begun = await source.begin(lane, this.#index, this.#policy.attemptCount);
    if (begun.kind === 'impossible') {
      if (generation === this.#generation) this.#fail(lossOf(lane, begun.reason));
      return;
    }
    const { run } = begun;
    try {
      await this.#openAgain(run);
      let replayedEntryCount = await this.#replay(run, this.#index, null);
      for (;;) {
        if (generation !== this.#generation || this.#state !== 'down') return;
        const held = this.#held[0];
        if (held === undefined) break;
        if (held.task.kind === 'apply' && held.isPosted) {
          const outcomes: WriteOutcome[] = [];
          replayedEntryCount += await this.#replay(run, held.task.toIndex, outcomes);
          if (generation !== this.#generation) return;
          const { epoch, toIndex } = held.task;
          this.#answer(held, { kind: 'applied', epoch, appliedIndex: toIndex, outcomes });
        } else {
          const reply = checked(await this.#thread.post(held.task));
          if (generation !== this.#generation) return;
          this.#answer(held, reply);
        }
      }
      this.#isUp();
      const downMs = this.#nowMs() - this.#lostAtMs;
      onEvent({ kind: 'laneRecovered', lane, downMs, replayedEntryCount });
    } finally {
      run.end();
    }
  }

  async #openAgain({ start }: LaneReplayRun): Promise<void> {
    const opened = this.#opened;
    assert(opened !== null, 'only a lane that was opened is opened again');
    const { laneIndex, laneCount } = opened;
    const manifests = start.manifests.filter(
      ({ uid, shard }) => laneOfShard(uid, shard, laneCount) === laneIndex,
    );
    checked(await this.#thread.post({ ...opened, ...start, manifests }));
  }

  /** Up to and with `toIndex`; `outcomes` collects what its writes came to. */
  async #replay(
    run: LaneReplayRun,
    toIndex: LogIndex,
    outcomes: WriteOutcome[] | null,
  ): Promise<number> {
    const epoch = this.#opened?.epoch ?? 0;
    let entryCount = 0;
    let atIndex: number = run.atIndex;
    while (atIndex < toIndex) {
      const batch = await run.next(toIndex);
      const reply = checked(await this.#thread.post({ kind: 'apply', epoch, ...batch }));
      assert(reply.kind === 'applied', 'an apply is answered applied');
      outcomes?.push(...reply.outcomes);
      entryCount += batch.toIndex - atIndex;
      atIndex = batch.toIndex;
    }
    return entryCount;
  }

  /** Nothing helps here: whoever waits is told, which stops the node. */
  #fail(error: HoldfastError): void {
    this.#state = 'givenUp';
    for (const held of this.#takeHeld()) held.reject(error);
    this.#options.onFatal(error);
  }

  #takeHeld(): readonly Held[] {
    const held = this.#held;
    this.#held = [];
    return held;
  }

  #nowMs(): number {
    return this.#options.clock.monotonicMs();
  }

  #refusal(): HoldfastError {
    return lossOf(this.#options.lane, 'is being brought back after its thread was lost');
  }
}

function lossOf(lane: number, what: string): HoldfastError {
  return new HoldfastError('SHARD_UNAVAILABLE', `lane ${lane} ${what}; ask another node`, {
    details: { lane },
  });
}

function checked(reply: ShardReply): ShardReply {
  if (reply.kind === 'failed') throw HoldfastError.fromBody(reply.error);
  return reply;
}

/** V8 ends a thread that reaches the limit of its heap. */
function isOutOfMemory(error: HoldfastError): boolean {
  const cause = error.cause;
  return cause instanceof Error && 'code' in cause && cause.code === 'ERR_WORKER_OUT_OF_MEMORY';
}

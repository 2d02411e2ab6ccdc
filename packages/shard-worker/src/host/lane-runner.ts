/**
 * What a lane's thread does with an engine: answers tasks in the order they come; in between it
 * writes checkpoints, lets dead rows go and fills graphs, in slices short enough that a task never
 * waits long behind one. A checkpoint goes first: the log waits for it.
 *
 * While writes keep coming the thread builds only a share of its time, because on a small machine
 * the cores are needed for the writes; when they pause, or when the tail has grown so long that
 * exact scans of it would hurt more, it builds without pause.
 *
 * Time and deferral come in, so the same object runs under a virtual clock.
 */
import { HoldfastError, must } from '@holdfast/base';
import type { LaneEngine } from '../engine/lane-engine.ts';
import type { ShardReply, ShardTask } from '../tasks.ts';
import type { LanePulse } from './lane-pulse.ts';

/** Longest time a task waits behind graph building (plus one row, which cannot be divided). */
export const BUILD_SLICE_MS = 2;
/** A slice is made of steps this small, between which the clock is read. */
const BUILD_STEP_ROW_COUNT = 4;
/** Between two slices of the recall probe, about a millisecond each: a hundredth of the time. */
export const PROBE_INTERVAL_MS = 100;
/** Pause after a whole round over all graphs. */
const PROBE_ROUND_PAUSE_MS = 60_000;
/** Writes this recent mean that more are coming. */
const WRITE_RECENCY_MS = 50;
/** Pause between slices while writes come: about a tenth of the time goes to building. */
const WRITE_PAUSE_MS = 16;
/** A tail this long takes over a millisecond to scan: build whatever else goes on. */
const TAIL_ROW_COUNT_MAX = 50_000;

export interface LaneRunnerOptions {
  readonly engine: LaneEngine;
  readonly monotonicMs: () => number;
  /** Calls back later, letting waiting tasks go first. */
  readonly defer: (delayMs: number, callback: () => void) => void;
  /** How often a slice of the recall probe runs. Left out: never. */
  readonly probeIntervalMs?: number;
  /** Touched between tasks and between slices, for whoever watches the thread. */
  readonly pulse?: Pick<LanePulse, 'enter' | 'beat'>;
}

export class LaneRunner {
  readonly #options: LaneRunnerOptions;
  #settleWaiters: (() => void)[] = [];
  #checkpointing: {
    readonly task: ShardTask;
    readonly resolve: (reply: ShardReply) => void;
  } | null = null;
  #isBuildScheduled = false;
  #isProbeScheduled = false;
  #lastWriteMs = Number.NEGATIVE_INFINITY;
  #busyMs = 0;

  constructor(options: LaneRunnerOptions) {
    this.#options = options;
  }

  /** Starts before it returns; replies never reject, a thrown error becomes a `failed` reply. */
  run(task: ShardTask): ShardReply | Promise<ShardReply> {
    const { engine } = this.#options;
    if (task.kind === 'settle' && engine.hasBuildWork)
      return new Promise((resolve) => {
        this.#settleWaiters.push(() => resolve(this.#runNow(task)));
        this.#scheduleBuild();
      });
    const reply = task.kind === 'checkpoint' ? this.#startCheckpoint(task) : this.#runNow(task);
    this.#scheduleBuild();
    if (task.kind === 'open') this.#scheduleProbe(PROBE_INTERVAL_MS);
    return reply;
  }

  /** Captured in this call; written in slices, and answered then. */
  #startCheckpoint(task: ShardTask): ShardReply | Promise<ShardReply> {
    const reply = runCaught(this.#options.engine, task, (engine) => engine.start(task));
    if (reply !== null) return reply;
    return new Promise((resolve) => {
      this.#checkpointing = { task, resolve };
    });
  }

  #runNow(task: ShardTask): ShardReply {
    const { engine, monotonicMs, pulse } = this.#options;
    const startMs = monotonicMs();
    if (task.kind === 'apply') this.#lastWriteMs = startMs;
    pulse?.enter('working');
    const reply = runCaught(engine, task, () => engine.run(task));
    pulse?.enter('idle');
    this.#busyMs += monotonicMs() - startMs;
    if (reply.kind !== 'stats') return reply;
    return { ...reply, stats: { ...reply.stats, busyMs: this.#busyMs } };
  }

  #scheduleBuild(): void {
    if (this.#isBuildScheduled) return;
    const { hasBuildWork, isCheckpointing } = this.#options.engine;
    if (!hasBuildWork) this.#wakeSettled();
    if (!hasBuildWork && !isCheckpointing) return;
    this.#isBuildScheduled = true;
    this.#options.defer(this.#pauseMs(), () => {
      this.#isBuildScheduled = false;
      this.#buildSlice();
      this.#scheduleBuild();
    });
  }

  /** One chain of timers per lane; it ends when the engine is closed or has failed. */
  #scheduleProbe(delayMs: number): void {
    const { probeIntervalMs, defer, engine } = this.#options;
    if (probeIntervalMs === undefined || this.#isProbeScheduled || !engine.isOpen) return;
    this.#isProbeScheduled = true;
    defer(delayMs, () => {
      this.#isProbeScheduled = false;
      const isRoundDone = engine.probeSlice();
      this.#scheduleBuild();
      this.#scheduleProbe(isRoundDone ? PROBE_ROUND_PAUSE_MS : probeIntervalMs);
    });
  }

  #pauseMs(): number {
    const { engine, monotonicMs } = this.#options;
    const isWriting = monotonicMs() - this.#lastWriteMs < WRITE_RECENCY_MS;
    const isWanted = this.#settleWaiters.length > 0;
    return isWriting && !isWanted && engine.buildBacklog < TAIL_ROW_COUNT_MAX ? WRITE_PAUSE_MS : 0;
  }

  #buildSlice(): void {
    const { engine, monotonicMs, pulse } = this.#options;
    const startMs = monotonicMs();
    pulse?.enter('working');
    do {
      if (engine.isCheckpointing) this.#stepCheckpoint();
      else if (!engine.buildSlice(BUILD_STEP_ROW_COUNT)) break;
    } while (monotonicMs() - startMs < BUILD_SLICE_MS);
    pulse?.enter('idle');
    this.#busyMs += monotonicMs() - startMs;
  }

  #stepCheckpoint(): void {
    const { engine } = this.#options;
    const { resolve, task } = must(this.#checkpointing, 'somebody waits for the checkpoint');
    const reply = runCaught(engine, task, () => engine.stepCheckpoint());
    if (reply === null) return;
    this.#checkpointing = null;
    resolve(reply);
  }

  #wakeSettled(): void {
    const waiters = this.#settleWaiters;
    this.#settleWaiters = [];
    for (const wake of waiters) wake();
  }
}

/** Errors lose class and code when they cross a thread: they go as plain bodies. */
function runCaught<Reply extends ShardReply | null>(
  engine: LaneEngine,
  task: Pick<ShardTask, 'kind' | 'epoch'>,
  body: (engine: LaneEngine) => Reply,
): Reply | ShardReply {
  try {
    return body(engine);
  } catch (thrown) {
    const error = describe(thrown, task).toBody();
    return { kind: 'failed', epoch: task.epoch, appliedIndex: engine.appliedIndex, error };
  }
}

function describe(thrown: unknown, task: Pick<ShardTask, 'kind'>): HoldfastError {
  if (thrown instanceof HoldfastError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const stack = thrown instanceof Error ? thrown.stack : undefined;
  return new HoldfastError('INTERNAL', `The lane failed in task ${task.kind}: ${message}`, {
    details: { task: task.kind, ...(stack === undefined ? {} : { stack }) },
  });
}

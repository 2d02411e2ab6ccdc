/**
 * One lane in a thread of its own: a Piscina of exactly one worker, so that a graph stays where it
 * was built. Tasks are posted at once and several are under way; the worker takes them in order.
 *
 * A worker that dies is replaced by an empty one. What was under way fails SHARD_UNAVAILABLE here;
 * what is posted later is answered `failed` by the empty engine: its epoch was never opened.
 */
import type { CircuitBreakerOptions } from '@holdfast/base';
import { assert, copyBytes, HoldfastError } from '@holdfast/base';
import { Piscina } from 'piscina';
import type { LayerLimits } from '../engine/layers.ts';
import { LAYER_LIMITS_DEFAULT } from '../engine/layers.ts';
import type { ShardReply, ShardTask } from '../tasks.ts';
import type { LanePort } from './lane-fan-out.ts';
import { createPulseMemory, PulseReader } from './lane-pulse.ts';

/**
 * Read tasks under way per lane. A task carries all reads of one turn, so this is far above what
 * admission lets in; beyond it a queue would only add latency.
 */
export const LANE_READ_TASK_COUNT_MAX = 256;
/** All tasks under way: reads plus the applier's pipeline, never reached; over it is a bug. */
const LANE_TASK_COUNT_MAX = 4096;
/** What a refused reader is told to wait. */
const RETRY_AFTER_MS = 20;
/** Below this a copy is cheaper than handing the memory over. */
const TRANSFER_SIZE_BYTES_MIN = 16 * 1024;

export type LaneFailureListener = (error: HoldfastError) => void;

/**
 * What a lane allocates per task dies at once or is kept for good, so a large young generation
 * only costs resident memory: V8 would take up to 48 MB of it. Rows and graphs are not in the heap.
 */
const LANE_RESOURCE_LIMITS = { maxYoungGenerationSizeMb: 8 };
/** Far above what columns, tombstones and answers need: whoever gets here leaks. */
const HEAP_SIZE_MB_MAX_DEFAULT = 1_024;

export interface LaneOptions {
  /** The thread's program; for tests, which make it fail in their own ways. */
  readonly worker?: URL;
  readonly heapSizeMbMax?: number;
  /** Deadlines of searches; what is not given is as in LAYER_LIMITS_DEFAULT. */
  readonly layers?: Partial<LayerLimits>;
  /** When graphs are not saved any more for a while, because saving them fails. */
  readonly saveBreaker?: CircuitBreakerOptions;
}

/** As for the log: a full disk at once, anything else after three in a row, for a minute. */
const SAVE_BREAKER_DEFAULT: CircuitBreakerOptions = { failureCountMax: 3, openMs: 60_000 };

/** What a lane's thread is started with. */
export interface LaneThreadInput {
  readonly pulse: SharedArrayBuffer;
  readonly layers: LayerLimits;
  readonly saveBreaker: CircuitBreakerOptions;
}

export class Lane implements LanePort {
  readonly pulse: PulseReader;
  readonly #pool: Piscina<ShardTask, ShardReply>;
  readonly #name: string;
  readonly #underWay = new Set<Promise<unknown>>();
  #readTaskCount = 0;

  constructor(name: string, onFailure: LaneFailureListener, options: LaneOptions = {}) {
    this.#name = name;
    const pulse = createPulseMemory();
    this.pulse = new PulseReader(pulse);
    const layers = { ...LAYER_LIMITS_DEFAULT, ...options.layers };
    const { saveBreaker = SAVE_BREAKER_DEFAULT } = options;
    const workerData: LaneThreadInput = { pulse, layers, saveBreaker };
    const maxOldGenerationSizeMb = options.heapSizeMbMax ?? HEAP_SIZE_MB_MAX_DEFAULT;
    this.#pool = new Piscina<ShardTask, ShardReply>({
      filename: (options.worker ?? new URL('../worker.js', import.meta.url)).href,
      workerData,
      minThreads: 1,
      maxThreads: 1,
      idleTimeout: Number.POSITIVE_INFINITY,
      concurrentTasksPerWorker: LANE_TASK_COUNT_MAX,
      maxQueue: LANE_TASK_COUNT_MAX,
      stricterFIFO: true,
      // `sync` would block the worker's event loop between tasks, and graphs are built there.
      atomics: 'async',
      recordTiming: false,
      resourceLimits: { ...LANE_RESOURCE_LIMITS, maxOldGenerationSizeMb },
      trackUnmanagedFds: false,
    });
    // A thread that dies with tasks under way fails those; this is for one that dies between tasks.
    this.#pool.on('error', (cause) => onFailure(this.#lost(cause, 'between tasks')));
  }

  /** Ends the thread as a crash would. Only while no graph is being built: see `close`. */
  async terminateThread(): Promise<void> {
    await Promise.all(this.#pool.threads.map((thread) => thread.terminate()));
  }

  get hasTasks(): boolean {
    return this.#underWay.size > 0;
  }

  /**
   * Ends the thread whatever it does; what is under way rejects. False: it is inside a native call,
   * where ending it would abort the process, so it was left alone.
   */
  kill(): boolean {
    if (!this.pulse.forbidNative()) return false;
    // Not waited for: a thread inside a call of the system ends when that returns.
    void this.#pool.destroy();
    return true;
  }

  assertRoomForRead(): void {
    if (this.#readTaskCount < LANE_READ_TASK_COUNT_MAX) return;
    throw new HoldfastError(
      'OVERLOADED',
      `${this.#name} has ${this.#readTaskCount} reads under way; retry after the given delay.`,
      { details: { retryAfterMs: RETRY_AFTER_MS } },
    );
  }

  async post(task: ShardTask): Promise<ShardReply> {
    assert(this.#underWay.size < LANE_TASK_COUNT_MAX, 'too many tasks under way on a lane');
    const isRead = task.kind === 'read';
    if (isRead) this.#readTaskCount += 1;
    const { message, transferList } = prepare(task);
    const running = this.#pool.run(message, { transferList });
    this.#underWay.add(running);
    try {
      return await running;
    } catch (cause) {
      throw this.#lost(cause, `during ${task.kind}`);
    } finally {
      this.#underWay.delete(running);
      if (isRead) this.#readTaskCount -= 1;
    }
  }

  /**
   * Waits for what was posted, then ends the thread. Post `close` first: ending a thread inside a
   * call of the native graph library aborts the process, and a closed engine makes no such call.
   */
  async close(): Promise<void> {
    await Promise.allSettled(this.#underWay);
    await this.#pool.destroy();
  }

  #lost(cause: unknown, when: string): HoldfastError {
    return new HoldfastError(
      'SHARD_UNAVAILABLE',
      `${this.#name} lost its thread ${when}: ${String(cause)}. ` +
        'Its shards come back from the last checkpoint and the log; ask another node meanwhile.',
      { cause, details: { lane: this.#name, when } },
    );
  }
}

/**
 * A typed array that is a view of a larger buffer would be cloned with all of that buffer, so views
 * become exact copies; large exact buffers of an apply are handed over (the caller gave them away).
 */
function prepare(task: ShardTask): { message: ShardTask; transferList: ArrayBuffer[] } {
  if (task.kind === 'apply') {
    const transferred = new Set<ArrayBuffer>();
    const commands = task.commands.map((command) => {
      if (command.kind !== 'write') return command;
      const ops = exactBytes(command.ops);
      const { buffer } = ops;
      if (buffer.byteLength >= TRANSFER_SIZE_BYTES_MIN && buffer instanceof ArrayBuffer)
        transferred.add(buffer);
      return ops === command.ops ? command : { ...command, ops };
    });
    return { message: { ...task, commands }, transferList: [...transferred] };
  }
  if (task.kind === 'vote')
    return { message: { ...task, ops: exactBytes(task.ops) }, transferList: [] };
  if (task.kind !== 'read') return { message: task, transferList: [] };
  const reads = task.reads.map((read) => {
    if (read.kind !== 'search') return read;
    const { vector: given } = read.query;
    const vector = given.byteLength === given.buffer.byteLength ? given : given.slice();
    if (vector === given) return read;
    return { kind: 'search', query: { ...read.query, vector } } as const;
  });
  return { message: { ...task, reads }, transferList: [] };
}

const exactBytes = (bytes: Uint8Array): Uint8Array =>
  bytes.byteLength === bytes.buffer.byteLength ? bytes : copyBytes(bytes);

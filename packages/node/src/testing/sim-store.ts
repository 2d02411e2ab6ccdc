/**
 * A store for backups in the simulated world: one set of objects that all machines reach, over a
 * way that takes time. It keeps the promises of a sink and has moods: it may be away, slow, or do
 * what it is asked and never say so. A request that was sent takes effect whatever has become of
 * its sender meanwhile, and an answer reaches only a process that lives.
 */
import type { Random } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import type {
  BackupSink,
  SinkObject,
  SinkPutOptions,
  SinkPutOutcome,
  SinkReadOptions,
  SinkSource,
} from '../backup/sinks/sink.ts';
import { bytesSource } from '../backup/sinks/sink.ts';
import { LOCK_AGE_MS_MAX } from '../backup/store-lock.ts';
import { MemorySink } from '../backup/testing/memory-sink.ts';
import type { SimProcess } from './sim-process.ts';
import type { SimScheduler } from './sim-scheduler.ts';

/** `unsure`: half of what changes something has its effect, and its caller hears of a failure. */
export type StoreMood = 'well' | 'away' | 'slow' | 'unsure';

/** Sees what the store does; changes nothing. */
export interface StoreObserver {
  /** `isOrphan`: whoever sent it is gone. */
  onStored?(key: string, isOrphan: boolean): void;
  /** Something stood there already. */
  onRefused?(key: string): void;
  onUnsure?(key: string): void;
  onRemoved?(keys: readonly string[]): void;
}

export interface SimStoreOptions {
  readonly scheduler: SimScheduler;
  readonly random: Random;
  /** Of each way, there and back. */
  readonly delayMsMax: number;
}

/** Far more than any timeout that waits for a store. */
const SLOW_FACTOR = 40;
const PIECE_SIZE_BYTES = 64 * 1024;

type Fate = 'done' | 'unsure' | 'away';

export class SimStore {
  readonly objects: MemorySink;
  mood: StoreMood = 'well';
  observer: StoreObserver | null = null;
  readonly #options: SimStoreOptions;
  /** How far its clock is ahead of the world's. */
  #aheadMs = 0;

  constructor(options: SimStoreOptions) {
    this.#options = options;
    const { clock } = options.scheduler;
    this.objects = new MemorySink({ name: 'store', wallMs: () => clock.wallMs() + this.#aheadMs });
  }

  /**
   * For the store as much time passes as a prune that died is waited for, at once: simulating it
   * costs more than all that came before. Only while nobody prunes, or it would be overtaken.
   */
  outliveDeadPrunes(): void {
    this.#aheadMs += LOCK_AGE_MS_MAX.prune + 1;
  }

  /** What one process has of it. */
  sinkFor(process: SimProcess): BackupSink {
    return new SimSink(this, process);
  }

  /**
   * Sends a request: `effect` runs in the store, its result comes back to `process`, or a failure.
   * After `signal` nobody waits any more.
   */
  request<Result>(
    process: SimProcess,
    { changes = false, key, signal }: RequestFacts,
    effect: () => Promise<Result>,
  ): Promise<Result> {
    const { clock } = this.#options.scheduler;
    const fate = this.#fate(changes);
    return new Promise<Result>((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(aborted(key));
        return;
      }
      const onAbort = (): void => process.run(() => reject(aborted(key)));
      signal?.addEventListener('abort', onAbort, { once: true });
      const answer = (settle: () => void): void => {
        clock.after(this.#wayMs(), () => {
          signal?.removeEventListener('abort', onAbort);
          process.run(settle);
        });
      };
      clock.after(this.#wayMs(), () => {
        if (fate === 'away') {
          answer(() => reject(unavailable(key)));
          return;
        }
        effect().then(
          (result) => {
            if (fate === 'unsure') this.observer?.onUnsure?.(key);
            answer(() => (fate === 'unsure' ? reject(unavailable(key)) : resolve(result)));
          },
          (error: unknown) => answer(() => reject(error)),
        );
      });
    });
  }

  #fate(changes: boolean): Fate {
    if (this.mood === 'away') return 'away';
    if (this.mood !== 'unsure') return 'done';
    const isDone = this.#options.random.nextBelow(2) === 0;
    if (!changes) return isDone ? 'done' : 'away';
    return isDone ? 'unsure' : this.#options.random.nextBelow(2) === 0 ? 'away' : 'done';
  }

  #wayMs(): number {
    const { delayMsMax, random } = this.#options;
    const delayMs = 1 + random.nextBelow(delayMsMax);
    return this.mood === 'slow' ? delayMs * SLOW_FACTOR : delayMs;
  }
}

interface RequestFacts {
  /** For messages. */
  readonly key: string;
  readonly signal: AbortSignal | undefined;
  readonly changes?: boolean;
}

const unavailable = (key: string): HoldfastError =>
  new HoldfastError('SINK_UNAVAILABLE', `the store did not answer for ${key}; try again`, {
    details: { object: key },
  });

const aborted = (key: string): HoldfastError =>
  new HoldfastError('ABORTED', `the request for ${key} was aborted`, { details: { object: key } });

class SimSink implements BackupSink {
  readonly name = 'store';
  readonly #store: SimStore;
  readonly #process: SimProcess;

  constructor(store: SimStore, process: SimProcess) {
    this.#store = store;
    this.#process = process;
  }

  check(options?: SinkReadOptions): Promise<void> {
    return this.#send('', options, () => this.#objects.check());
  }

  async put(key: string, source: SinkSource, options: SinkPutOptions): Promise<SinkPutOutcome> {
    const { ifAbsent, onProgress } = options;
    const bytes = new Uint8Array(source.sizeBytes);
    for (let offset = 0; offset < bytes.byteLength; offset += PIECE_SIZE_BYTES) {
      const length = Math.min(PIECE_SIZE_BYTES, bytes.byteLength - offset);
      bytes.set(await source.read(offset, length), offset);
    }
    const facts = { key, signal: options.signal, changes: true };
    const outcome = await this.#store.request(this.#process, facts, async () => {
      const outcome = await this.#objects.put(key, bytesSource(bytes), { ifAbsent });
      const { observer } = this.#store;
      if (outcome === 'exists') observer?.onRefused?.(key);
      else observer?.onStored?.(key, !this.#process.isAlive);
      return outcome;
    });
    onProgress?.(bytes.byteLength);
    return outcome;
  }

  get(key: string, sizeBytesMax: number, options?: SinkReadOptions): Promise<Uint8Array | null> {
    return this.#send(key, options, () => this.#objects.get(key, sizeBytesMax));
  }

  async *read(key: string, options?: SinkReadOptions): AsyncGenerator<Uint8Array, void, undefined> {
    const pieces = await this.#send(key, options, () => collect(this.#objects.read(key)));
    yield* pieces;
  }

  head(key: string, options?: SinkReadOptions): Promise<SinkObject | null> {
    return this.#send(key, options, () => this.#objects.head(key));
  }

  async *list(
    prefix: string,
    after?: string,
    options?: SinkReadOptions,
  ): AsyncGenerator<SinkObject, void, undefined> {
    const found = () => collect(this.#objects.list(prefix, after));
    yield* await this.#send(prefix, options, found);
  }

  remove(keys: readonly string[], options?: SinkReadOptions): Promise<void> {
    const facts = { key: keys[0] ?? '', signal: options?.signal, changes: true };
    return this.#store.request(this.#process, facts, async () => {
      await this.#objects.remove(keys);
      this.#store.observer?.onRemoved?.(keys);
    });
  }

  async presign(): Promise<null> {
    return null;
  }

  async close(): Promise<void> {
    // Its process ends.
  }

  get #objects(): MemorySink {
    return this.#store.objects;
  }

  #send<Result>(
    key: string,
    options: SinkReadOptions | undefined,
    effect: () => Promise<Result>,
  ): Promise<Result> {
    return this.#store.request(this.#process, { key, signal: options?.signal }, effect);
  }
}

async function collect<Item>(items: AsyncIterable<Item>): Promise<readonly Item[]> {
  const all: Item[] = [];
  for await (const item of items) all.push(item);
  return all;
}

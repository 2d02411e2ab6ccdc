/**
 * A sink in memory for tests: keeps the promises of the interface, counts operations, and fails
 * where a test says. `beforeOperation` lets a test own the order in which concurrent callers go on.
 * It retries nothing, so that each injected failure reaches the caller.
 */
import { HoldfastError } from '@holdfast/base';
import type {
  BackupSink,
  SinkObject,
  SinkPutOptions,
  SinkPutOutcome,
  SinkReadOptions,
  SinkSource,
} from '../sinks/sink.ts';

export type SinkOperation =
  | 'check'
  | 'put'
  | 'get'
  | 'read'
  | 'head'
  | 'list'
  | 'remove'
  | 'presign';

export interface SinkFault {
  /** Any when left out. */
  readonly operation?: SinkOperation;
  /** Only operations whose key (or prefix, or first key) contains this text. */
  readonly keyContains?: string;
  /** Matching operations to let pass first. */
  readonly skip?: number;
  /** How often it strikes after that; default 1. */
  readonly times?: number;
  /** `after`: the operation has its effect and the caller hears of a failure all the same. */
  readonly when?: 'before' | 'after';
  /** SINK_UNAVAILABLE when left out. */
  readonly error?: Error;
}

export interface MemorySinkOptions {
  readonly name?: string;
  /** Gives `modifiedMs`; 0 when left out. */
  readonly wallMs?: () => number;
  /** Of what `read` gives; small, so that pieces are never frames. */
  readonly pieceSizeBytes?: number;
  /** Awaited before every operation. */
  readonly beforeOperation?: (operation: SinkOperation, key: string) => Promise<void> | void;
}

interface StoredObject {
  bytes: Uint8Array;
  modifiedMs: number;
}

interface LiveFault {
  readonly fault: SinkFault;
  skip: number;
  times: number;
}

const PIECE_SIZE_BYTES = 60_000;
const PART_SIZE_BYTES = 256 * 1024;

export class MemorySink implements BackupSink {
  readonly name: string;
  /** Every operation so far, the failed ones included: for asking what was done. */
  readonly operations: { readonly operation: SinkOperation; readonly key: string }[] = [];
  /** Content bytes that `put` stored. */
  storedSizeBytes = 0;
  readonly #objects = new Map<string, StoredObject>();
  readonly #options: MemorySinkOptions;
  #faults: LiveFault[] = [];
  #isClosed = false;

  constructor(options: MemorySinkOptions = {}) {
    this.#options = options;
    this.name = options.name ?? 'memory';
  }

  get operationCount(): number {
    return this.operations.length;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** In order. */
  get keys(): readonly string[] {
    return [...this.#objects.keys()].sort(byUtf8);
  }

  /** Returns what takes it away again. */
  fail(fault: SinkFault): () => void {
    const live = { fault, skip: fault.skip ?? 0, times: fault.times ?? 1 };
    this.#faults.push(live);
    return () => {
      this.#faults = this.#faults.filter((other) => other !== live);
    };
  }

  /** The n-th operation from now on (1 is the next one) fails; `always`: and all after it. */
  failOperation(number: number, fault: SinkFault = {}, always = false): () => void {
    const times = always ? Number.POSITIVE_INFINITY : 1;
    return this.fail({ ...fault, skip: number - 1, times });
  }

  healAll(): void {
    this.#faults = [];
  }

  /** The content as it is, past faults; undefined when there is none. */
  contentOf(key: string): Uint8Array | undefined {
    return this.#objects.get(key)?.bytes;
  }

  /** Somebody else's hand: the object is this from now on. The sink itself notices nothing. */
  tamper(key: string, bytes: Uint8Array, modifiedMs?: number): void {
    const known = this.#objects.get(key)?.modifiedMs ?? this.#now();
    this.#objects.set(key, { bytes, modifiedMs: modifiedMs ?? known });
  }

  /** Somebody else's hand: the object is gone. */
  lose(key: string): void {
    this.#objects.delete(key);
  }

  /** Makes the object look stored at another time. */
  touch(key: string, modifiedMs: number): void {
    const object = this.#objects.get(key);
    if (object !== undefined) object.modifiedMs = modifiedMs;
  }

  /** An independent copy, without faults. */
  clone(options: MemorySinkOptions = this.#options): MemorySink {
    const copy = new MemorySink(options);
    for (const [key, { bytes, modifiedMs }] of this.#objects) {
      copy.#objects.set(key, { bytes, modifiedMs });
    }
    return copy;
  }

  async check(options?: SinkReadOptions): Promise<void> {
    await this.#run('check', '', options?.signal, () => undefined);
  }

  async put(key: string, source: SinkSource, options: SinkPutOptions): Promise<SinkPutOutcome> {
    const { ifAbsent, onProgress, signal } = options;
    const bytes = new Uint8Array(source.sizeBytes);
    const outcome = await this.#run('put', key, signal, async () => {
      for (let offset = 0; offset < bytes.byteLength; offset += PART_SIZE_BYTES) {
        const length = Math.min(PART_SIZE_BYTES, bytes.byteLength - offset);
        bytes.set(await source.read(offset, length), offset);
        this.#checkSignal(key, signal);
        onProgress?.(offset + length);
      }
      if (ifAbsent && this.#objects.has(key)) return 'exists';
      this.#objects.set(key, { bytes, modifiedMs: this.#now() });
      this.storedSizeBytes += bytes.byteLength;
      return 'stored';
    });
    return outcome;
  }

  async get(
    key: string,
    sizeBytesMax: number,
    options?: SinkReadOptions,
  ): Promise<Uint8Array | null> {
    return this.#run('get', key, options?.signal, () => {
      const object = this.#objects.get(key);
      if (object === undefined) return null;
      if (object.bytes.byteLength <= sizeBytesMax) return object.bytes.slice();
      const message = `${key} in ${this.name} is larger than ${sizeBytesMax} bytes`;
      throw new HoldfastError('BACKUP_CORRUPT', message, { details: { object: key } });
    });
  }

  async *read(key: string, options?: SinkReadOptions): AsyncGenerator<Uint8Array, void, undefined> {
    const bytes = await this.#run('read', key, options?.signal, () => {
      const object = this.#objects.get(key);
      if (object !== undefined) return object.bytes;
      const message = `${this.name} has no object ${key}`;
      throw new HoldfastError('BACKUP_NOT_FOUND', message, { details: { object: key } });
    });
    const pieceSizeBytes = this.#options.pieceSizeBytes ?? PIECE_SIZE_BYTES;
    for (let offset = 0; offset < bytes.byteLength; offset += pieceSizeBytes) {
      this.#checkSignal(key, options?.signal);
      yield bytes.slice(offset, offset + pieceSizeBytes);
    }
  }

  async head(key: string, options?: SinkReadOptions): Promise<SinkObject | null> {
    return this.#run('head', key, options?.signal, () => this.#describe(key));
  }

  async *list(
    prefix: string,
    after?: string,
    options?: SinkReadOptions,
  ): AsyncGenerator<SinkObject, void, undefined> {
    const keys = await this.#run('list', prefix, options?.signal, () =>
      this.keys.filter(
        (key) => key.startsWith(prefix) && (after === undefined || byUtf8(key, after) > 0),
      ),
    );
    for (const key of keys) {
      this.#checkSignal(prefix, options?.signal);
      const object = this.#describe(key);
      if (object !== null) yield object;
    }
  }

  async remove(keys: readonly string[], options?: SinkReadOptions): Promise<void> {
    await this.#run('remove', keys[0] ?? '', options?.signal, () => {
      for (const key of keys) this.#objects.delete(key);
    });
  }

  async presign(key: string, expiresInS: number): Promise<string | null> {
    return this.#run('presign', key, undefined, () => `memory://${key}?expires=${expiresInS}`);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
  }

  async #run<T>(
    operation: SinkOperation,
    key: string,
    signal: AbortSignal | undefined,
    body: () => Promise<T> | T,
  ): Promise<T> {
    await this.#options.beforeOperation?.(operation, key);
    this.operations.push({ operation, key });
    this.#checkSignal(key, signal);
    const fault = this.#strike(operation, key);
    if (fault !== null && fault.when !== 'after') throw this.#errorOf(fault, operation, key);
    const result = await body();
    if (fault !== null) throw this.#errorOf(fault, operation, key);
    return result;
  }

  #strike(operation: SinkOperation, key: string): SinkFault | null {
    let struck: SinkFault | null = null;
    for (const live of this.#faults) {
      const { fault } = live;
      const isOther = fault.operation !== undefined && fault.operation !== operation;
      const isElsewhere = fault.keyContains !== undefined && !key.includes(fault.keyContains);
      if (isOther || isElsewhere || live.times === 0 || struck !== null) continue;
      if (live.skip > 0) {
        live.skip -= 1;
        continue;
      }
      live.times -= 1;
      struck = fault;
    }
    return struck;
  }

  #errorOf(fault: SinkFault, operation: SinkOperation, key: string): Error {
    if (fault.error !== undefined) return fault.error;
    const message = `${operation} of ${key} in ${this.name} failed: the test wants it so`;
    return new HoldfastError('SINK_UNAVAILABLE', message, { details: { object: key, operation } });
  }

  #checkSignal(key: string, signal: AbortSignal | undefined): void {
    if (signal?.aborted !== true) return;
    throw new HoldfastError('ABORTED', `the transfer of ${key} was aborted`, {
      details: { object: key },
    });
  }

  #describe(key: string): SinkObject | null {
    const object = this.#objects.get(key);
    if (object === undefined) return null;
    return { key, sizeBytes: object.bytes.byteLength, modifiedMs: object.modifiedMs };
  }

  #now(): number {
    return this.#options.wallMs?.() ?? 0;
  }
}

const byUtf8 = (left: string, right: string): number =>
  Buffer.compare(Buffer.from(left, 'utf8'), Buffer.from(right, 'utf8'));

/**
 * What the sinks of stores behind a network have in common: the single requests of one kind of
 * store, made into calls that are tried again, resumed and verified. Putting is in remote-put.ts;
 * listing stays with each store, because no two of them go on behind a page in the same way.
 */
import { forEachBounded } from '../bounded.ts';
import type { SinkObject, SinkReadOptions } from './sink.ts';
import { corrupt, sizedDigest } from './sink-digest.ts';
import type { SinkFailure } from './sink-failure.ts';
import { notFound } from './sink-failure.ts';
import { checkSinkKey } from './sink-keys.ts';
import type { OpenedObject, ResumedRead } from './sink-resume.ts';
import { getVerified, readVerified } from './sink-resume.ts';
import type { SinkAttempt, SinkEnvironment } from './sink-retry.ts';
import { withRetry } from './sink-retry.ts';

type Metadata = Readonly<Record<string, string | undefined>>;

/** Libraries leave out what the store did. */
export interface HeadAnswer {
  readonly metadata: Metadata | undefined;
  readonly sizeBytes: number | undefined;
  readonly modified: Date | undefined;
}

export interface ContentAnswer {
  readonly metadata: Metadata | undefined;
  /** From the offset on that was asked for. */
  readonly sizeBytes: number | undefined;
  /** Names this very content of the key. */
  readonly entityTag: string | undefined;
  /** A stream of Node.js; none where there are no bytes. */
  readonly body: unknown;
}

export type OpenVerdict = 'missing' | 'replaced' | 'shorter';

/** One attempt each. They throw what the client library throws. */
export interface StoreRequests {
  /** For messages; no secrets. */
  readonly name: string;
  /** What an error of a request means; null for a bug of ours. */
  readonly classify: (error: unknown) => SinkFailure | null;
  /** Null when there is no such object. */
  head(key: string, signal: AbortSignal): Promise<HeadAnswer | null>;
  /** The content from `offset` on. With a tag: only if the object still has it. */
  open(
    key: string,
    offset: number,
    entityTag: string | null,
    signal: AbortSignal,
  ): Promise<ContentAnswer>;
  /** What an error of `open` says of the object; null: nothing. */
  verdictOf(error: unknown): OpenVerdict | null;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly sizeBytes?: number;
  /** After a failure or an abort: somebody waits for it to end, so it is given little time. */
  readonly isCleanUp?: boolean;
}

/** What is left when the store does not answer in this time is found by `removeAbandoned`. */
const CLEAN_UP_POLICY = { attemptCountMax: 5, attemptMsMax: 5_000, totalMsMax: 15_000 };
const PARALLEL_REMOVE_COUNT_MAX = 8;
const FLAWS = {
  replaced: 'it was replaced while it was read',
  shorter: 'it is shorter than it was',
} as const;

export class RemoteStore {
  readonly name: string;
  readonly classify: StoreRequests['classify'];
  readonly environment: SinkEnvironment;
  readonly #requests: StoreRequests;

  constructor(requests: StoreRequests, environment: SinkEnvironment) {
    this.name = requests.name;
    this.classify = requests.classify;
    this.environment = environment;
    this.#requests = requests;
  }

  call<T>(
    what: string,
    options: CallOptions,
    run: (attempt: SinkAttempt) => Promise<T>,
  ): Promise<T> {
    const { signal, sizeBytes = 0, isCleanUp = false } = options;
    const { classify, environment } = this;
    const retryPolicy = { ...environment.retryPolicy, ...(isCleanUp ? CLEAN_UP_POLICY : {}) };
    return withRetry({ ...environment, retryPolicy }, { what, signal, sizeBytes, classify, run });
  }

  async get(
    key: string,
    sizeBytesMax: number,
    options: SinkReadOptions,
  ): Promise<Uint8Array | null> {
    checkSinkKey(key, this.name);
    return getVerified(this.environment, this.#readOf('get', key, options), sizeBytesMax);
  }

  async *read(key: string, options: SinkReadOptions): AsyncGenerator<Uint8Array> {
    checkSinkKey(key, this.name);
    const pieces = await readVerified(this.environment, this.#readOf('read', key, options));
    if (pieces === null) throw notFound(key, this.name);
    yield* pieces;
  }

  async head(key: string, options: SinkReadOptions): Promise<SinkObject | null> {
    checkSinkKey(key, this.name);
    const found = await this.call(`head of ${key} in ${this.name}`, options, ({ signal }) =>
      this.#requests.head(key, signal),
    );
    return found === null ? null : describedObject(key, found);
  }

  /** One request. */
  async isThere(key: string, signal: AbortSignal): Promise<boolean> {
    return (await this.#requests.head(key, signal)) !== null;
  }

  /** One request: whether the object under the key carries this mark of a writer. */
  async isMarked(key: string, writer: string, signal: AbortSignal): Promise<boolean> {
    return (await this.#requests.head(key, signal))?.metadata?.writer === writer;
  }

  /** Where a request removes one object. `removeOne` takes one that is not there for removed. */
  removeEach(
    keys: readonly string[],
    options: SinkReadOptions,
    removeOne: (key: string, signal: AbortSignal) => Promise<unknown>,
  ): Promise<void> {
    return forEachBounded(keys, PARALLEL_REMOVE_COUNT_MAX, async (key) => {
      const what = `remove of ${key} in ${this.name}`;
      await this.call(what, options, ({ signal }) => removeOne(key, signal));
    });
  }

  #readOf(verb: string, key: string, { signal }: SinkReadOptions): ResumedRead {
    return {
      ...{ what: `${verb} of ${key} from ${this.name}`, object: `${key} in ${this.name}`, signal },
      classify: this.classify,
      open: (offset, entityTag, attemptSignal) => this.#open(key, offset, entityTag, attemptSignal),
    };
  }

  async #open(
    key: string,
    offset: number,
    entityTag: string | null,
    signal: AbortSignal,
  ): Promise<OpenedObject | null> {
    const object = `${key} in ${this.name}`;
    let answer: ContentAnswer;
    try {
      answer = await this.#requests.open(key, offset, entityTag, signal);
    } catch (error) {
      const verdict = this.#requests.verdictOf(error);
      if (verdict === 'missing') return null;
      throw verdict === null ? error : corrupt(object, FLAWS[verdict]);
    }
    const chunks = answer.body as (AsyncIterable<Uint8Array> & { destroy(): void }) | undefined;
    const close = (): void => chunks?.destroy();
    const digest = sizedDigest(answer.metadata, offset + (answer.sizeBytes ?? 0), object, close);
    return { digest, entityTag: answer.entityTag ?? '', chunks: chunks ?? NO_CHUNKS, close };
  }
}

/** No time is the beginning of all time. */
export const describedObject = (
  key: string,
  { modified, sizeBytes }: Omit<HeadAnswer, 'metadata'>,
): SinkObject => ({ key, sizeBytes: sizeBytes ?? 0, modifiedMs: modified?.getTime() ?? 0 });

/** The content of an answer without one. */
const NO_CHUNKS: AsyncIterable<Uint8Array> = {
  async *[Symbol.asyncIterator]() {},
};

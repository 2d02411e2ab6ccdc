/** What the parts of the S3 sink share: the client, the names, and calls that are tried again. */
import type { HeadObjectCommandOutput } from '@aws-sdk/client-s3';
import type { S3Handle, S3SinkOptions } from './s3-client.ts';
import { classifyS3, isStatus } from './s3-client.ts';
import type { SinkAttempt, SinkEnvironment } from './sink-retry.ts';
import { withRetry } from './sink-retry.ts';

export interface S3CallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly sizeBytes?: number;
  /** After a failure or an abort: somebody waits for it to end, so it is given little time. */
  readonly isCleanUp?: boolean;
}

/** What is left when the store does not answer in this time is found by `removeAbandoned`. */
const CLEAN_UP_POLICY = { attemptCountMax: 5, attemptMsMax: 5_000, totalMsMax: 15_000 };

export class S3Context {
  readonly handle: S3Handle;
  readonly options: S3SinkOptions;
  readonly environment: SinkEnvironment;
  /** Multipart uploads that puts of this sink are filling: never abandoned. */
  readonly uploadsUnderWay = new Set<string>();
  readonly #keyPrefix: string;

  constructor(handle: S3Handle, options: S3SinkOptions, environment: SinkEnvironment) {
    this.handle = handle;
    this.options = options;
    this.environment = environment;
    this.#keyPrefix = options.prefix === '' ? '' : `${options.prefix}/`;
  }

  get name(): string {
    return this.options.name;
  }

  /** Bucket and key of the store, for a key of the sink. */
  place(key: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.options.bucket, Key: this.storeKey(key) };
  }

  storeKey(key: string): string {
    return `${this.#keyPrefix}${key}`;
  }

  /** Null for a key that is not below the prefix. */
  sinkKey(storeKey: string | undefined): string | null {
    if (storeKey === undefined || !storeKey.startsWith(this.#keyPrefix)) return null;
    return storeKey.slice(this.#keyPrefix.length);
  }

  call<T>(
    what: string,
    options: S3CallOptions,
    run: (attempt: SinkAttempt) => Promise<T>,
  ): Promise<T> {
    const { signal, sizeBytes = 0, isCleanUp = false } = options;
    const { environment } = this;
    const retryPolicy = { ...environment.retryPolicy, ...(isCleanUp ? CLEAN_UP_POLICY : {}) };
    return withRetry(
      { ...environment, retryPolicy },
      { what, signal, sizeBytes, classify: classifyS3, run },
    );
  }

  /** One request; null when there is no such object. */
  async headOnce(key: string, signal: AbortSignal): Promise<HeadObjectCommandOutput | null> {
    const { client, library } = this.handle;
    try {
      const command = new library.HeadObjectCommand(this.place(key));
      return await client.send(command, { abortSignal: signal });
    } catch (error) {
      if (isStatus(error, 404)) return null;
      throw error;
    }
  }

  /** Whether the object under the key carries this mark of a writer. */
  async isMarked(key: string, writer: string, signal: AbortSignal): Promise<boolean> {
    return (await this.headOnce(key, signal))?.Metadata?.writer === writer;
  }
}

/** Single requests to S3, and the names of its objects. */

import type { ContentAnswer, HeadAnswer, OpenVerdict, StoreRequests } from './remote-store.ts';
import { RemoteStore } from './remote-store.ts';
import type { S3Handle, S3SinkOptions } from './s3-client.ts';
import { classifyS3, isNamed, isStatus } from './s3-client.ts';
import type { SinkEnvironment } from './sink-retry.ts';

export class S3Context implements StoreRequests {
  readonly handle: S3Handle;
  readonly options: S3SinkOptions;
  readonly name: string;
  readonly store: RemoteStore;
  readonly classify = classifyS3;
  /** Multipart uploads that puts of this sink are filling: never abandoned. */
  readonly uploadsUnderWay = new Set<string>();
  /** A request that named the bucket has been answered: a missing object is missing by itself. */
  isBucketThere = false;
  readonly #keyPrefix: string;

  constructor(handle: S3Handle, options: S3SinkOptions, environment: SinkEnvironment) {
    this.handle = handle;
    this.options = options;
    this.name = options.name;
    this.store = new RemoteStore(this, environment);
    this.#keyPrefix = options.prefix === '' ? '' : `${options.prefix}/`;
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

  async head(key: string, signal: AbortSignal): Promise<HeadAnswer | null> {
    const { client, library } = this.handle;
    try {
      const command = new library.HeadObjectCommand(this.place(key));
      const found = await client.send(command, { abortSignal: signal });
      const { ContentLength, LastModified, Metadata } = found;
      return { metadata: Metadata, sizeBytes: ContentLength, modified: LastModified };
    } catch (error) {
      if (isStatus(error, 404)) return null;
      throw error;
    }
  }

  async open(
    key: string,
    offset: number,
    entityTag: string | null,
    signal: AbortSignal,
  ): Promise<ContentAnswer> {
    const { client, library } = this.handle;
    const command = new library.GetObjectCommand({
      ...this.place(key),
      ...(offset === 0 ? {} : { Range: `bytes=${offset}-` }),
      ...(entityTag === null ? {} : { IfMatch: entityTag }),
    });
    const found = await client.send(command, { abortSignal: signal });
    this.isBucketThere = true;
    const { Body, ContentLength, ETag, Metadata } = found;
    return { metadata: Metadata, sizeBytes: ContentLength, entityTag: ETag, body: Body };
  }

  verdictOf(error: unknown): OpenVerdict | null {
    if (isNamed(error, 'NoSuchKey')) return 'missing';
    if (isStatus(error, 412)) return 'replaced';
    return isStatus(error, 416) ? 'shorter' : null;
  }
}

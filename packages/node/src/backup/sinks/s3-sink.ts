/**
 * Any store that speaks S3: Amazon's, Ceph's, Google's by its S3-compatible endpoint. Objects carry
 * size, SHA-256 and a mark of their writer in their metadata. Putting is in s3-put.ts.
 */
import type { ListObjectsV2CommandOutput, S3Client } from '@aws-sdk/client-s3';
import { describedObject, type RemoteStore } from './remote-store.ts';
import type { S3SinkOptions } from './s3-client.ts';
import { connectS3, isNamed } from './s3-client.ts';
import { S3Context } from './s3-context.ts';
import { S3Putter } from './s3-put.ts';
import { abortUploadsOlderThan } from './s3-uploads.ts';
import type {
  BackupSink,
  SinkObject,
  SinkPutOptions,
  SinkPutOutcome,
  SinkReadOptions,
  SinkSource,
} from './sink.ts';
import { checkSink } from './sink-check.ts';
import { refusal } from './sink-failure.ts';
import { checkKeyPrefix, checkSinkKey, isSinkKey } from './sink-keys.ts';
import { checkLinkExpiry } from './sink-presign.ts';
import type { SinkEnvironment } from './sink-retry.ts';

/** Of S3. */
const REMOVE_BATCH_COUNT_MAX = 1_000;
const LIST_PAGE_COUNT_MAX = 1_000;

/** Loads the client library. Nothing is sent yet. */
export async function openS3Sink(
  options: S3SinkOptions,
  environment: SinkEnvironment,
): Promise<S3Sink> {
  const handle = await connectS3(options);
  return new S3Sink(new S3Context(handle, options, environment));
}

export class S3Sink implements BackupSink {
  readonly #context: S3Context;
  readonly #store: RemoteStore;
  readonly #putter: S3Putter;

  constructor(context: S3Context) {
    this.#context = context;
    this.#store = context.store;
    this.#putter = new S3Putter(context);
  }

  get name(): string {
    return this.#context.name;
  }

  check(options: SinkReadOptions = {}): Promise<void> {
    return checkSink(this, this.#store.environment.random, options.signal);
  }

  put(key: string, source: SinkSource, options: SinkPutOptions): Promise<SinkPutOutcome> {
    return this.#putter.put(key, source, options);
  }

  get(
    key: string,
    sizeBytesMax: number,
    options: SinkReadOptions = {},
  ): Promise<Uint8Array | null> {
    return this.#store.get(key, sizeBytesMax, options);
  }

  read(key: string, options: SinkReadOptions = {}): AsyncGenerator<Uint8Array> {
    return this.#store.read(key, options);
  }

  async head(key: string, options: SinkReadOptions = {}): Promise<SinkObject | null> {
    const found = await this.#store.head(key, options);
    // the answer to a HEAD has no body, so a missing bucket looks the same
    if (found === null && !this.#context.isBucketThere) await this.#page(key, '', 1, options);
    return found;
  }

  async *list(
    prefix: string,
    after = '',
    options: SinkReadOptions = {},
  ): AsyncGenerator<SinkObject> {
    checkKeyPrefix(prefix, this.name);
    const countMax = this.#context.options.listPageCountMax ?? LIST_PAGE_COUNT_MAX;
    let last = after;
    for (;;) {
      const page = await this.#page(prefix, last, countMax, options);
      for (const found of page.Contents ?? []) {
        const key = this.#context.sinkKey(found.Key);
        if (key === null) continue;
        if (key <= last) {
          const reason = 'the store does not list in order; use a general-purpose bucket';
          throw refusal(`list of ${prefix}* in ${this.name}`, reason);
        }
        last = key;
        // what others put below the prefix is not ours
        if (!isSinkKey(key)) continue;
        yield describedObject(key, { sizeBytes: found.Size, modified: found.LastModified });
      }
      if (page.IsTruncated !== true) return;
    }
  }

  async remove(keys: readonly string[], options: SinkReadOptions = {}): Promise<void> {
    for (const key of keys) checkSinkKey(key, this.name);
    if (!this.#context.options.hasBatchRemove) return this.#removeEach(keys, options);
    for (let at = 0; at < keys.length; at += REMOVE_BATCH_COUNT_MAX)
      await this.#removeBatch(keys.slice(at, at + REMOVE_BATCH_COUNT_MAX), options);
  }

  async presign(key: string, expiresInS: number): Promise<string> {
    checkSinkKey(key, this.name);
    const what = `link to ${key} in ${this.name}`;
    checkLinkExpiry(what, expiresInS);
    const { getSignedUrl } = await import('@aws-sdk/s3-request-presigner');
    return this.#store.call(what, {}, () => {
      const { client, library } = this.#context.handle;
      const command = new library.GetObjectCommand(this.#context.place(key));
      return getSignedUrl(client, command, { expiresIn: expiresInS });
    });
  }

  /** Aborts multipart uploads that began so long ago. Returns how many. */
  removeAbandoned(olderThanMs: number, options: SinkReadOptions = {}): Promise<number> {
    return abortUploadsOlderThan(this.#context, olderThanMs, { signal: options.signal });
  }

  async close(): Promise<void> {
    this.#client.destroy();
  }

  get #client(): S3Client {
    return this.#context.handle.client;
  }

  async #page(
    prefix: string,
    after: string,
    countMax: number,
    options: SinkReadOptions,
  ): Promise<ListObjectsV2CommandOutput> {
    const { library } = this.#context.handle;
    const what = `list of ${prefix}* in ${this.name}`;
    // from the last key and not by the store's token, which some of them forget
    const input = {
      ...{ Bucket: this.#context.options.bucket, MaxKeys: countMax },
      Prefix: this.#context.storeKey(prefix),
      ...(after === '' ? {} : { StartAfter: this.#context.storeKey(after) }),
    };
    const { signal } = options;
    const page = await this.#store.call(what, { signal }, (attempt) =>
      this.#client.send(new library.ListObjectsV2Command(input), { abortSignal: attempt.signal }),
    );
    this.#context.isBucketThere = true;
    return page;
  }

  async #removeBatch(keys: readonly string[], options: SinkReadOptions): Promise<void> {
    const { library } = this.#context.handle;
    const what = `remove of ${keys.length} objects in ${this.name}`;
    const { signal } = options;
    await this.#store.call(what, { signal }, async (attempt) => {
      const command = new library.DeleteObjectsCommand({
        Bucket: this.#context.options.bucket,
        Delete: { Objects: keys.map((key) => ({ Key: this.#context.storeKey(key) })), Quiet: true },
      });
      const { Errors = [] } = await this.#client.send(command, { abortSignal: attempt.signal });
      const first = Errors.find((error) => error.Code !== 'NoSuchKey');
      if (first === undefined) return;
      // as if the store had answered this to a request of its own
      const status = first.Code === 'AccessDenied' ? 403 : 500;
      throw Object.assign(new Error(`${first.Key}: ${first.Code}`), {
        ...{ name: first.Code ?? '', $metadata: { httpStatusCode: status } },
      });
    });
  }

  /** Where one request cannot remove many. */
  #removeEach(keys: readonly string[], options: SinkReadOptions): Promise<void> {
    const { library } = this.#context.handle;
    return this.#store.removeEach(keys, options, async (key, signal) => {
      try {
        const command = new library.DeleteObjectCommand(this.#context.place(key));
        await this.#client.send(command, { abortSignal: signal });
      } catch (error) {
        // Amazon answers 204 for what is not there, Google 404
        if (!isNamed(error, 'NoSuchKey')) throw error;
      }
    });
  }
}

/**
 * Any store that speaks S3: Amazon's, Ceph's, Google's by its S3-compatible endpoint. Objects carry
 * size, SHA-256 and a mark of their writer in their metadata. Putting is in s3-put.ts.
 */
import type { ListObjectsV2CommandOutput, S3Client } from '@aws-sdk/client-s3';
import type { S3SinkOptions } from './s3-client.ts';
import { answerOf, classifyS3, connectS3, isNamed, isStatus } from './s3-client.ts';
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
import { describedObject, NO_CHUNKS } from './sink-answers.ts';
import { checkSink } from './sink-check.ts';
import { corrupt, sizedDigest } from './sink-digest.ts';
import { notFound, refusal, stringField } from './sink-failure.ts';
import { checkKeyPrefix, checkSinkKey, isSinkKey } from './sink-keys.ts';
import { checkLinkExpiry } from './sink-presign.ts';
import type { OpenedObject, ResumedRead } from './sink-resume.ts';
import { getVerified, readVerified } from './sink-resume.ts';
import type { SinkEnvironment } from './sink-retry.ts';

/** Of S3. */
const REMOVE_BATCH_COUNT_MAX = 1_000;
const LIST_PAGE_COUNT_MAX = 1_000;
const PARALLEL_REMOVE_COUNT_MAX = 8;

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
  readonly #putter: S3Putter;
  /** A request that named the bucket has been answered: a missing object is missing by itself. */
  #isBucketThere = false;

  constructor(context: S3Context) {
    this.#context = context;
    this.#putter = new S3Putter(context);
  }

  get name(): string {
    return this.#context.name;
  }

  check(options: SinkReadOptions = {}): Promise<void> {
    return checkSink(this, this.#context.environment.random, options.signal);
  }

  put(key: string, source: SinkSource, options: SinkPutOptions): Promise<SinkPutOutcome> {
    checkSinkKey(key, this.name);
    return this.#putter.put(key, source, options);
  }

  get(
    key: string,
    sizeBytesMax: number,
    options: SinkReadOptions = {},
  ): Promise<Uint8Array | null> {
    checkSinkKey(key, this.name);
    const read = this.#readOf('get', key, options);
    return getVerified(this.#context.environment, read, sizeBytesMax);
  }

  async *read(key: string, options: SinkReadOptions = {}): AsyncGenerator<Uint8Array> {
    checkSinkKey(key, this.name);
    const read = this.#readOf('read', key, options);
    const pieces = await readVerified(this.#context.environment, read);
    if (pieces === null) throw notFound(key, this.name);
    yield* pieces;
  }

  async head(key: string, options: SinkReadOptions = {}): Promise<SinkObject | null> {
    checkSinkKey(key, this.name);
    const what = `head of ${key} in ${this.name}`;
    const { signal } = options;
    const found = await this.#context.call(what, { signal }, (attempt) =>
      this.#context.headOnce(key, attempt.signal),
    );
    if (found === null) {
      // the answer to a HEAD has no body, so a missing bucket looks the same
      if (!this.#isBucketThere) await this.#page(key, '', 1, options);
      return null;
    }
    return describedObject(key, found.ContentLength, found.LastModified);
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
        yield describedObject(key, found.Size, found.LastModified);
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
    return this.#context.call(what, {}, () => {
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

  #readOf(verb: string, key: string, options: SinkReadOptions): ResumedRead {
    return {
      what: `${verb} of ${key} from ${this.name}`,
      object: `${key} in ${this.name}`,
      signal: options.signal,
      classify: classifyS3,
      open: (offset, entityTag, signal) => this.#open(key, offset, entityTag, signal),
    };
  }

  async #open(
    key: string,
    offset: number,
    entityTag: string | null,
    signal: AbortSignal,
  ): Promise<OpenedObject | null> {
    const object = `${key} in ${this.name}`;
    const { library } = this.#context.handle;
    const command = new library.GetObjectCommand({
      ...this.#context.place(key),
      ...(offset === 0 ? {} : { Range: `bytes=${offset}-` }),
      ...(entityTag === null ? {} : { IfMatch: entityTag }),
    });
    try {
      const { Body, ContentLength, ETag, Metadata } = await this.#client.send(command, {
        abortSignal: signal,
      });
      this.#isBucketThere = true;
      const chunks = Body as (AsyncIterable<Uint8Array> & { destroy(): void }) | undefined;
      const close = (): void => chunks?.destroy();
      const digest = sizedDigest(Metadata, offset + (ContentLength ?? 0), object, close);
      return { digest, entityTag: ETag ?? '', chunks: chunks ?? NO_CHUNKS, close };
    } catch (error) {
      if (isNamed(error, 'NoSuchKey')) return null;
      if (isStatus(error, 412)) throw corrupt(object, 'it was replaced while it was read');
      if (isStatus(error, 416)) throw corrupt(object, 'it is shorter than it was');
      throw error;
    }
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
    const page = await this.#context.call(what, { signal }, (attempt) =>
      this.#client.send(new library.ListObjectsV2Command(input), { abortSignal: attempt.signal }),
    );
    this.#isBucketThere = true;
    return page;
  }

  async #removeBatch(keys: readonly string[], options: SinkReadOptions): Promise<void> {
    const { library } = this.#context.handle;
    const what = `remove of ${keys.length} objects in ${this.name}`;
    const { signal } = options;
    await this.#context.call(what, { signal }, async (attempt) => {
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
  async #removeEach(keys: readonly string[], options: SinkReadOptions): Promise<void> {
    const { library } = this.#context.handle;
    const rest = [...keys];
    const removeSome = async (): Promise<void> => {
      for (let key = rest.pop(); key !== undefined; key = rest.pop()) {
        const command = new library.DeleteObjectCommand(this.#context.place(key));
        const what = `remove of ${key} in ${this.name}`;
        await this.#context.call(what, { signal: options.signal }, async (attempt) => {
          try {
            await this.#client.send(command, { abortSignal: attempt.signal });
          } catch (error) {
            // Amazon answers 204 for what is not there, Google 404
            if (stringField(answerOf(error), 'name') !== 'NoSuchKey') throw error;
          }
        });
      }
    };
    await Promise.all(Array.from({ length: PARALLEL_REMOVE_COUNT_MAX }, removeSome));
  }
}

/**
 * Azure Blob Storage: a container of block blobs. Objects carry size, SHA-256 and a mark of their
 * writer in their metadata. Putting is in azure-put.ts.
 */
import type { AzureSinkOptions } from './azure-client.ts';
import { azureAnswerOf, classifyAzure, connectAzure, isConditionUnmet } from './azure-client.ts';
import { AzureContext } from './azure-context.ts';
import { putIntoAzure } from './azure-put.ts';
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
import { notFound, refusal } from './sink-failure.ts';
import { checkKeyPrefix, checkSinkKey, isSinkKey } from './sink-keys.ts';
import { checkLinkExpiry } from './sink-presign.ts';
import type { OpenedObject, ResumedRead } from './sink-resume.ts';
import { getVerified, readVerified } from './sink-resume.ts';
import type { SinkEnvironment } from './sink-retry.ts';

/** Of Azure. */
const LIST_PAGE_COUNT_MAX = 5_000;
const PARALLEL_REMOVE_COUNT_MAX = 8;

/** Loads the client library. Nothing is sent yet. */
export async function openAzureSink(
  options: AzureSinkOptions,
  environment: SinkEnvironment,
): Promise<AzureSink> {
  const handle = await connectAzure(options);
  return new AzureSink(new AzureContext(handle, options, environment));
}

export class AzureSink implements BackupSink {
  readonly #context: AzureContext;

  constructor(context: AzureContext) {
    this.#context = context;
  }

  get name(): string {
    return this.#context.name;
  }

  check(options: SinkReadOptions = {}): Promise<void> {
    return checkSink(this, this.#context.environment.random, options.signal);
  }

  put(key: string, source: SinkSource, options: SinkPutOptions): Promise<SinkPutOutcome> {
    checkSinkKey(key, this.name);
    return putIntoAzure(this.#context, key, source, options);
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
    const found = await this.#context.call(what, options, ({ signal }) =>
      this.#context.propertiesOnce(key, signal),
    );
    if (found === null) return null;
    return describedObject(key, found.contentLength, found.lastModified);
  }

  async *list(
    prefix: string,
    after = '',
    options: SinkReadOptions = {},
  ): AsyncGenerator<SinkObject> {
    checkKeyPrefix(prefix, this.name);
    const { keyPrefix } = this.#context;
    const what = `list of ${prefix}* in ${this.name}`;
    const maxPageSize = this.#context.options.listPageCountMax ?? LIST_PAGE_COUNT_MAX;
    let last = after;
    let continuationToken: string | undefined;
    do {
      const page = await this.#context.call(what, options, async ({ signal }) => {
        const listed = this.#context.handle.container
          .listBlobsFlat({ prefix: `${keyPrefix}${prefix}`, abortSignal: signal })
          .byPage({ maxPageSize, ...(continuationToken ? { continuationToken } : {}) });
        return (await listed.next()).value;
      });
      for (const { name, properties } of page?.segment.blobItems ?? []) {
        const key = name.slice(keyPrefix.length);
        // the store cannot begin behind a key in every version: what comes before is passed over
        if (key <= after || !isSinkKey(key)) continue;
        if (key <= last) throw refusal(what, 'the store does not list in order');
        last = key;
        yield describedObject(key, properties.contentLength, properties.lastModified);
      }
      continuationToken = page?.continuationToken;
    } while (continuationToken !== undefined && continuationToken !== '');
  }

  async remove(keys: readonly string[], options: SinkReadOptions = {}): Promise<void> {
    for (const key of keys) checkSinkKey(key, this.name);
    const rest = [...keys];
    const removeSome = async (): Promise<void> => {
      for (let key = rest.pop(); key !== undefined; key = rest.pop()) {
        const blob = this.#context.blob(key);
        const what = `remove of ${key} in ${this.name}`;
        await this.#context.call(what, options, async ({ signal }) => {
          await blob.deleteIfExists({ abortSignal: signal, deleteSnapshots: 'include' });
        });
      }
    };
    await Promise.all(Array.from({ length: PARALLEL_REMOVE_COUNT_MAX }, removeSome));
  }

  /** Null without the key of the account: a SAS token cannot make another one. */
  async presign(key: string, expiresInS: number): Promise<string | null> {
    checkSinkKey(key, this.name);
    checkLinkExpiry(`link to ${key} in ${this.name}`, expiresInS);
    const { library, container } = this.#context.handle;
    if (!(container.credential instanceof library.StorageSharedKeyCredential)) return null;
    const expiresAtMs = this.#context.environment.clock.wallMs() + expiresInS * 1_000;
    return this.#context.blob(key).generateSasUrl({
      permissions: library.BlobSASPermissions.parse('r'),
      expiresOn: new Date(expiresAtMs),
    });
  }

  async close(): Promise<void> {}

  #readOf(verb: string, key: string, options: SinkReadOptions): ResumedRead {
    return {
      what: `${verb} of ${key} from ${this.name}`,
      object: `${key} in ${this.name}`,
      signal: options.signal,
      classify: classifyAzure,
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
    try {
      const answer = await this.#context.blob(key).download(offset, undefined, {
        abortSignal: signal,
        maxRetryRequests: 0,
        conditions: entityTag === null ? {} : { ifMatch: entityTag },
      });
      const chunks = answer.readableStreamBody as
        | (AsyncIterable<Uint8Array> & { destroy(): void })
        | undefined;
      const close = (): void => chunks?.destroy();
      const sizeBytes = offset + (answer.contentLength ?? 0);
      const digest = sizedDigest(answer.metadata, sizeBytes, object, close);
      return { digest, entityTag: answer.etag ?? '', chunks: chunks ?? NO_CHUNKS, close };
    } catch (error) {
      const answer = azureAnswerOf(error);
      if (answer?.name === 'BlobNotFound') return null;
      if (isConditionUnmet(error)) throw corrupt(object, 'it was replaced while it was read');
      if (answer?.status === 416) throw corrupt(object, 'it is shorter than it was');
      throw error;
    }
  }
}

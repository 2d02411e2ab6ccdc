/**
 * Azure Blob Storage: a container of block blobs. Objects carry size, SHA-256 and a mark of their
 * writer in their metadata. Putting is in azure-put.ts.
 */
import type { AzureSinkOptions } from './azure-client.ts';
import { connectAzure } from './azure-client.ts';
import { AzureContext } from './azure-context.ts';
import { putIntoAzure } from './azure-put.ts';
import { describedObject, type RemoteStore } from './remote-store.ts';
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

/** Of Azure. */
const LIST_PAGE_COUNT_MAX = 5_000;

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
  readonly #store: RemoteStore;

  constructor(context: AzureContext) {
    this.#context = context;
    this.#store = context.store;
  }

  get name(): string {
    return this.#context.name;
  }

  check(options: SinkReadOptions = {}): Promise<void> {
    return checkSink(this, this.#store.environment.random, options.signal);
  }

  put(key: string, source: SinkSource, options: SinkPutOptions): Promise<SinkPutOutcome> {
    return putIntoAzure(this.#context, key, source, options);
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

  head(key: string, options: SinkReadOptions = {}): Promise<SinkObject | null> {
    return this.#store.head(key, options);
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
      const page = await this.#store.call(what, options, async ({ signal }) => {
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
        const { contentLength, lastModified } = properties;
        yield describedObject(key, { sizeBytes: contentLength, modified: lastModified });
      }
      continuationToken = page?.continuationToken;
    } while (continuationToken !== undefined && continuationToken !== '');
  }

  async remove(keys: readonly string[], options: SinkReadOptions = {}): Promise<void> {
    for (const key of keys) checkSinkKey(key, this.name);
    await this.#store.removeEach(keys, options, (key, signal) =>
      this.#context.blob(key).deleteIfExists({ abortSignal: signal, deleteSnapshots: 'include' }),
    );
  }

  /** Null without the key of the account: a SAS token cannot make another one. */
  async presign(key: string, expiresInS: number): Promise<string | null> {
    checkSinkKey(key, this.name);
    checkLinkExpiry(`link to ${key} in ${this.name}`, expiresInS);
    const { library, container } = this.#context.handle;
    if (!(container.credential instanceof library.StorageSharedKeyCredential)) return null;
    const expiresAtMs = this.#store.environment.clock.wallMs() + expiresInS * 1_000;
    return this.#context.blob(key).generateSasUrl({
      permissions: library.BlobSASPermissions.parse('r'),
      expiresOn: new Date(expiresAtMs),
    });
  }

  async close(): Promise<void> {}
}

/** Single requests to Azure, and the names of its blobs. */
import type { BlockBlobClient } from '@azure/storage-blob';
import type { AzureHandle, AzureSinkOptions } from './azure-client.ts';
import { azureAnswerOf, classifyAzure, isConditionUnmet } from './azure-client.ts';
import type { ContentAnswer, HeadAnswer, OpenVerdict, StoreRequests } from './remote-store.ts';
import { RemoteStore } from './remote-store.ts';
import type { SinkEnvironment } from './sink-retry.ts';

export class AzureContext implements StoreRequests {
  readonly handle: AzureHandle;
  readonly options: AzureSinkOptions;
  readonly name: string;
  readonly store: RemoteStore;
  readonly keyPrefix: string;
  readonly classify = classifyAzure;

  constructor(handle: AzureHandle, options: AzureSinkOptions, environment: SinkEnvironment) {
    this.handle = handle;
    this.options = options;
    this.name = options.name;
    this.store = new RemoteStore(this, environment);
    this.keyPrefix = options.prefix === '' ? '' : `${options.prefix}/`;
  }

  blob(key: string): BlockBlobClient {
    return this.handle.container.getBlockBlobClient(`${this.keyPrefix}${key}`);
  }

  async head(key: string, signal: AbortSignal): Promise<HeadAnswer | null> {
    try {
      const found = await this.blob(key).getProperties({ abortSignal: signal });
      const { contentLength, lastModified, metadata } = found;
      return { metadata, sizeBytes: contentLength, modified: lastModified };
    } catch (error) {
      const answer = azureAnswerOf(error);
      // the header of the answer tells a missing container from a missing object
      if (answer?.status === 404 && answer.name !== 'ContainerNotFound') return null;
      throw error;
    }
  }

  async open(
    key: string,
    offset: number,
    entityTag: string | null,
    signal: AbortSignal,
  ): Promise<ContentAnswer> {
    const answer = await this.blob(key).download(offset, undefined, {
      abortSignal: signal,
      maxRetryRequests: 0,
      conditions: entityTag === null ? {} : { ifMatch: entityTag },
    });
    const { contentLength, etag, metadata, readableStreamBody } = answer;
    return { metadata, sizeBytes: contentLength, entityTag: etag, body: readableStreamBody };
  }

  verdictOf(error: unknown): OpenVerdict | null {
    const answer = azureAnswerOf(error);
    if (answer?.name === 'BlobNotFound') return 'missing';
    if (isConditionUnmet(error)) return 'replaced';
    return answer?.status === 416 ? 'shorter' : null;
  }
}

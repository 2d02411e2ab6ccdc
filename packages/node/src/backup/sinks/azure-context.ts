/** What the parts of the Azure sink share: the client, the names, calls that are tried again. */
import type { BlobGetPropertiesResponse, BlockBlobClient } from '@azure/storage-blob';
import type { AzureHandle, AzureSinkOptions } from './azure-client.ts';
import { azureAnswerOf, classifyAzure } from './azure-client.ts';
import type { SinkAttempt, SinkEnvironment } from './sink-retry.ts';
import { withRetry } from './sink-retry.ts';

export class AzureContext {
  readonly handle: AzureHandle;
  readonly options: AzureSinkOptions;
  readonly environment: SinkEnvironment;
  readonly keyPrefix: string;

  constructor(handle: AzureHandle, options: AzureSinkOptions, environment: SinkEnvironment) {
    this.handle = handle;
    this.options = options;
    this.environment = environment;
    this.keyPrefix = options.prefix === '' ? '' : `${options.prefix}/`;
  }

  get name(): string {
    return this.options.name;
  }

  blob(key: string): BlockBlobClient {
    return this.handle.container.getBlockBlobClient(`${this.keyPrefix}${key}`);
  }

  call<T>(
    what: string,
    options: { readonly signal?: AbortSignal | undefined; readonly sizeBytes?: number },
    run: (attempt: SinkAttempt) => Promise<T>,
  ): Promise<T> {
    const { signal, sizeBytes = 0 } = options;
    return withRetry(this.environment, { what, signal, sizeBytes, classify: classifyAzure, run });
  }

  /** One request; null when there is no such object. */
  async propertiesOnce(
    key: string,
    signal: AbortSignal,
  ): Promise<BlobGetPropertiesResponse | null> {
    try {
      return await this.blob(key).getProperties({ abortSignal: signal });
    } catch (error) {
      const answer = azureAnswerOf(error);
      // the header of the answer tells a missing container from a missing object
      if (answer?.status === 404 && answer.name !== 'ContainerNotFound') return null;
      throw error;
    }
  }

  async isMarked(key: string, writer: string, signal: AbortSignal): Promise<boolean> {
    return (await this.propertiesOnce(key, signal))?.metadata?.writer === writer;
  }
}

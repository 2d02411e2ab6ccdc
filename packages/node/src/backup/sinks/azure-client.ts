/**
 * The Azure client library, loaded when the first Azure sink is opened, with one attempt per call:
 * sink-retry.ts tries again, and knows which outcomes are unknown.
 */
import type { ContainerClient } from '@azure/storage-blob';
import type { SinkFailure } from './sink-failure.ts';
import { classifyAnswer, classifyThrown, numberField, stringField } from './sink-failure.ts';

export type AzureCredentials =
  | { readonly kind: 'connectionString'; readonly text: string }
  | { readonly kind: 'accountKey'; readonly account: string; readonly key: string }
  | { readonly kind: 'sasToken'; readonly account: string; readonly token: string };

export interface AzureSinkOptions {
  readonly container: string;
  /** Keys begin with this and a slash; '' for none. */
  readonly prefix: string;
  /** Of the account; null: `https://ACCOUNT.blob.core.windows.net`. */
  readonly endpoint: string | null;
  readonly credentials: AzureCredentials;
  /** For messages; no secrets. */
  readonly name: string;
  readonly listPageCountMax?: number;
}

export type AzureLibrary = typeof import('@azure/storage-blob');

export interface AzureHandle {
  readonly library: AzureLibrary;
  readonly container: ContainerClient;
}

const PIPELINE_OPTIONS = { retryOptions: { maxTries: 1 }, keepAliveOptions: { enable: true } };

export async function connectAzure(options: AzureSinkOptions): Promise<AzureHandle> {
  const library = await import('@azure/storage-blob');
  const service = serviceOf(library, options);
  return { library, container: service.getContainerClient(options.container) };
}

function serviceOf(library: AzureLibrary, { credentials, endpoint }: AzureSinkOptions) {
  const { BlobServiceClient, StorageSharedKeyCredential } = library;
  if (credentials.kind === 'connectionString')
    return BlobServiceClient.fromConnectionString(credentials.text, PIPELINE_OPTIONS);
  const { account } = credentials;
  const url = endpoint ?? `https://${account}.blob.core.windows.net`;
  if (credentials.kind === 'accountKey') {
    const shared = new StorageSharedKeyCredential(account, credentials.key);
    return new BlobServiceClient(url, shared, PIPELINE_OPTIONS);
  }
  const token = credentials.token.replace(/^\?/, '');
  return new BlobServiceClient(`${url}?${token}`, undefined, PIPELINE_OPTIONS);
}

/** Null for a bug of ours. */
export function classifyAzure(error: unknown): SinkFailure | null {
  const answer = azureAnswerOf(error);
  return answer === null ? classifyThrown(error) : classifyAnswer(answer);
}

/** What the store answered; null when the error is not an answer. */
export function azureAnswerOf(error: unknown): { status: number; name: string } | null {
  const status = numberField(error, 'statusCode');
  if (status === null) return null;
  const details: unknown = Reflect.get(error as object, 'details');
  const told = stringField(details, 'errorCode');
  return { status, name: told === '' ? stringField(error, 'code') : told };
}

/** A condition did not hold: something is there already, or is not what it was. */
export function isConditionUnmet(error: unknown): boolean {
  const answer = azureAnswerOf(error);
  return answer?.status === 412 || answer?.name === 'BlobAlreadyExists';
}

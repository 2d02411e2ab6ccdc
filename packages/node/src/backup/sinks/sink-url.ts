/**
 * Stores of backups as URLs, checked and made into options. Pure: the environment is given.
 *
 *   file:///backups?mounted=true
 *   s3://bucket/prefix?endpoint=http://127.0.0.1:7480&region=eu-central-1&pathStyle=true
 *   gs://bucket/prefix
 *   azure://container/prefix?account=name&endpoint=http://127.0.0.1:10000/name
 *
 * A URL never holds a secret, so it can stand in a configuration file, a message or a log. Secrets
 * come from the environment; `credentials=NAME` takes those named HOLDFAST_SINK_NAME_KEY_ID and
 * HOLDFAST_SINK_NAME_SECRET, so that several stores can have different ones.
 */
import { HoldfastError } from '@holdfast/base';
import type { AzureCredentials, AzureSinkOptions } from './azure-client.ts';
import type { LocalSinkOptions } from './local-sink.ts';
import type { S3Credentials, S3SinkOptions } from './s3-client.ts';
import { isSinkKey } from './sink-keys.ts';

export type SinkTarget =
  | { readonly kind: 'folder'; readonly options: LocalSinkOptions }
  | { readonly kind: 's3'; readonly options: S3SinkOptions }
  | { readonly kind: 'azure'; readonly options: AzureSinkOptions };

export type SinkVariables = Readonly<Record<string, string | undefined>>;

const FORMS = 'file:///folder, s3://bucket/prefix, gs://bucket/prefix or azure://container/prefix';
const GOOGLE_ENDPOINT = 'https://storage.googleapis.com';
const BUCKET = /^[A-Za-z0-9][A-Za-z0-9._-]{1,62}$/;
const CONTAINER = /^[a-z0-9](?:[a-z0-9]|-(?=[a-z0-9])){2,62}$/;
const CREDENTIALS_NAME = /^[A-Za-z][A-Za-z0-9_]{0,39}$/;
const ACCOUNT = /^[a-z0-9]{3,24}$/;

/** @throws HoldfastError CONFIG_INVALID, which never repeats what may be a secret */
export function parseSinkUrl(text: string, variables: SinkVariables): SinkTarget {
  const url = parsed(text);
  if (url.username !== '' || url.password !== '')
    throw invalid('credentials do not belong into its URL; set them in the environment');
  if (url.hash !== '') throw invalid('its URL must not have a part after #');
  const parameters = new Parameters(url);
  const target = targetOf(url, parameters, variables);
  parameters.checkAllKnown();
  return target;
}

function parsed(text: string): URL {
  if (!/^[a-z0-9]+:\/\//.test(text)) throw invalid(`it must be a URL: ${FORMS}`);
  try {
    return new URL(text);
  } catch (error) {
    throw invalid(`its URL cannot be read: write ${FORMS}`, error);
  }
}

function targetOf(url: URL, parameters: Parameters, variables: SinkVariables): SinkTarget {
  switch (url.protocol) {
    case 'file:':
      return { kind: 'folder', options: folderOptions(url, parameters) };
    case 's3:':
      return { kind: 's3', options: s3Options(url, parameters, variables) };
    case 'gs:':
      return { kind: 's3', options: googleOptions(url, parameters, variables) };
    case 'azure:':
      return { kind: 'azure', options: azureOptions(url, parameters, variables) };
    default:
      throw invalid(`${url.protocol}// is not known: write ${FORMS}`);
  }
}

function folderOptions(url: URL, parameters: Parameters): LocalSinkOptions {
  if (url.host !== '') throw invalid('a folder needs three slashes, as in file:///backups');
  const path = decoded(url.pathname);
  const folder = path.length > 1 ? path.replace(/\/+$/, '') : path;
  if (folder === '/' || folder === '') throw invalid('the root of the file system is no folder');
  return { folder, isMountRequired: parameters.flag('mounted', false) };
}

function s3Options(url: URL, parameters: Parameters, variables: SinkVariables): S3SinkOptions {
  const bucket = bucketOf(url);
  const prefix = prefixOf(url);
  const endpoint = parameters.endpoint();
  return {
    ...{ bucket, prefix, endpoint },
    name: nameOf('s3', bucket, prefix),
    region: parameters.text('region'),
    // Amazon has the bucket in the host name; stores with an address of their own rarely can
    usesPathStyle: parameters.flag('pathStyle', endpoint !== null),
    credentials: namedCredentials(parameters, variables),
    hasBatchRemove: parameters.flag('batchRemove', true),
  };
}

function googleOptions(url: URL, parameters: Parameters, variables: SinkVariables): S3SinkOptions {
  const bucket = bucketOf(url);
  const prefix = prefixOf(url);
  const credentials =
    namedCredentials(parameters, variables) ?? pairOf(variables, 'GS_KEY_ID', 'GS_SECRET');
  if (credentials === null)
    throw invalid('gs:// needs an HMAC key in GS_KEY_ID and GS_SECRET, or credentials=NAME');
  return {
    ...{ bucket, prefix, credentials },
    name: nameOf('gs', bucket, prefix),
    endpoint: parameters.endpoint() ?? GOOGLE_ENDPOINT,
    region: 'auto',
    usesPathStyle: true,
    hasBatchRemove: false,
  };
}

function azureOptions(
  url: URL,
  parameters: Parameters,
  variables: SinkVariables,
): AzureSinkOptions {
  const container = url.host;
  if (!CONTAINER.test(container))
    throw invalid('a container has 3 to 63 lower-case letters, digits and single hyphens');
  const prefix = prefixOf(url);
  return {
    ...{ container, prefix },
    name: nameOf('azure', container, prefix),
    endpoint: parameters.endpoint(),
    credentials: azureCredentials(parameters, variables),
  };
}

function azureCredentials(parameters: Parameters, variables: SinkVariables): AzureCredentials {
  const account = parameters.text('account') ?? variables.AZURE_STORAGE_ACCOUNT ?? '';
  const name = parameters.credentialsName();
  const key =
    name === null ? variables.AZURE_STORAGE_KEY : variables[`HOLDFAST_SINK_${name}_SECRET`];
  const text = variables.AZURE_STORAGE_CONNECTION_STRING ?? '';
  if (name === null && account === '' && text !== '') return { kind: 'connectionString', text };
  if (!ACCOUNT.test(account))
    throw invalid('azure:// needs account=NAME, or AZURE_STORAGE_ACCOUNT in the environment');
  if (key !== undefined && key !== '') return { kind: 'accountKey', account, key };
  const token = name === null ? (variables.AZURE_STORAGE_SAS_TOKEN ?? '') : '';
  if (token !== '') return { kind: 'sasToken', account, token };
  const wanted =
    name === null ? 'AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN' : `HOLDFAST_SINK_${name}_SECRET`;
  throw invalid(`azure:// needs ${wanted} in the environment`);
}

function namedCredentials(parameters: Parameters, variables: SinkVariables): S3Credentials | null {
  const name = parameters.credentialsName();
  if (name === null) return null;
  const [keyId, secret] = [`HOLDFAST_SINK_${name}_KEY_ID`, `HOLDFAST_SINK_${name}_SECRET`];
  const pair = pairOf(variables, keyId, secret);
  if (pair === null) throw invalid(`credentials=${name} needs ${keyId} and ${secret} to be set`);
  return pair;
}

function pairOf(variables: SinkVariables, keyId: string, secret: string): S3Credentials | null {
  const accessKeyId = variables[keyId] ?? '';
  const secretAccessKey = variables[secret] ?? '';
  return accessKeyId === '' || secretAccessKey === '' ? null : { accessKeyId, secretAccessKey };
}

function bucketOf(url: URL): string {
  if (BUCKET.test(url.host)) return url.host;
  throw invalid('a bucket has 3 to 63 letters, digits, dots, hyphens and underscores');
}

function prefixOf(url: URL): string {
  const prefix = decoded(url.pathname).replace(/^\//, '').replace(/\/$/, '');
  if (prefix === '' || isSinkKey(prefix)) return prefix;
  throw invalid('its prefix may have letters, digits and _ . = - between single slashes');
}

const nameOf = (scheme: string, place: string, prefix: string): string =>
  prefix === '' ? `${scheme}://${place}` : `${scheme}://${place}/${prefix}`;

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch (error) {
    throw invalid('a percent sign in its path is not followed by two hexadecimal digits', error);
  }
}

/** Parameters of a URL, each used at most once; what nobody asked for is refused in the end. */
class Parameters {
  readonly #values: URLSearchParams;
  readonly #known = new Set<string>();

  constructor(url: URL) {
    this.#values = url.searchParams;
  }

  text(name: string): string | null {
    this.#known.add(name);
    const values = this.#values.getAll(name);
    if (values.length > 1) throw invalid(`${name}= stands in its URL twice`);
    return values[0] === undefined || values[0] === '' ? null : values[0];
  }

  flag(name: string, missing: boolean): boolean {
    const value = this.text(name);
    if (value === null) return missing;
    if (value !== 'true' && value !== 'false') throw invalid(`${name}= is true or false`);
    return value === 'true';
  }

  endpoint(): string | null {
    const value = this.text('endpoint');
    if (value === null) return null;
    const flaw = 'endpoint= is an address such as https://s3.example.org, without credentials';
    if (!URL.canParse(value)) throw invalid(flaw);
    const { protocol, username, password, search, hash } = new URL(value);
    const isPlain = `${username}${password}${search}${hash}` === '';
    if ((protocol !== 'http:' && protocol !== 'https:') || !isPlain) throw invalid(flaw);
    return value.replace(/\/+$/, '');
  }

  credentialsName(): string | null {
    const name = this.text('credentials');
    if (name === null || CREDENTIALS_NAME.test(name)) return name?.toUpperCase() ?? null;
    throw invalid('credentials= is a name of letters, digits and underscores');
  }

  checkAllKnown(): void {
    for (const name of this.#values.keys())
      if (!this.#known.has(name)) {
        const known = [...this.#known].join(', ');
        throw invalid(`a parameter of its URL is not known (known here: ${known})`);
      }
  }
}

const invalid = (flaw: string, cause?: unknown): HoldfastError =>
  new HoldfastError('CONFIG_INVALID', `a store of backups is not well named: ${flaw}`, {
    ...(cause === undefined ? {} : { cause: new Error('not a URL') }),
  });

/**
 * The S3 client library, loaded when the first S3 sink is opened (130 ms and 20 MB that a node
 * without one does not pay), set up so that we decide what it would decide for us:
 * - one attempt per call: sink-retry.ts tries again, and knows which outcomes are unknown;
 * - no checksums in trailers: Ceph and others refuse or store them. The SHA-256 of each body, which
 *   the signature covers, guards the way there, our own in the metadata the whole way back;
 * - connections are kept and their number is bounded.
 */
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { PutObjectCommand, S3Client, UploadPartCommand } from '@aws-sdk/client-s3';
import type { SinkFailure } from './sink-failure.ts';
import { classifyAnswer, classifyThrown, numberField, stringField } from './sink-failure.ts';

export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

export interface S3SinkOptions {
  readonly bucket: string;
  /** Keys begin with this and a slash; '' for none. */
  readonly prefix: string;
  /** Null: Amazon's, by the region. */
  readonly endpoint: string | null;
  /** Null: from the environment or the profile; `us-east-1` where an endpoint is given. */
  readonly region: string | null;
  /** The bucket in the path and not in the host name: what most stores but Amazon's need. */
  readonly usesPathStyle: boolean;
  /** Null: environment, profile, or role of the machine, in the order of the library. */
  readonly credentials: S3Credentials | null;
  /** Google's store has no request that removes many objects. */
  readonly hasBatchRemove: boolean;
  /** For messages; no secrets. */
  readonly name: string;
  readonly connectionCountMax?: number;
  readonly listPageCountMax?: number;
}

export type S3Library = typeof import('@aws-sdk/client-s3');

export interface S3Handle {
  readonly library: S3Library;
  readonly client: S3Client;
}

const CONNECTION_COUNT_MAX = 16;
const CONNECTION_MS_MAX = 5_000;
const IDLE_CONNECTION_MS_MAX = 60_000;
const REGION_DEFAULT = 'us-east-1';
/** The library's own switch: it warns on every start that Node 20 will not be supported one day. */
const VERSION_WARNING_SWITCH = 'AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED';

export async function connectS3(options: S3SinkOptions): Promise<S3Handle> {
  process.env[VERSION_WARNING_SWITCH] ??= 'true';
  const library = await import('@aws-sdk/client-s3');
  const maxSockets = options.connectionCountMax ?? CONNECTION_COUNT_MAX;
  const agent = { keepAlive: true, maxSockets, keepAliveMsecs: 1_000 };
  const region = options.region ?? (options.endpoint === null ? null : REGION_DEFAULT);
  const client = new library.S3Client({
    ...(region === null ? {} : { region }),
    ...(options.endpoint === null ? {} : { endpoint: options.endpoint }),
    ...(options.credentials === null ? {} : { credentials: options.credentials }),
    forcePathStyle: options.usesPathStyle,
    maxAttempts: 1,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: CONNECTION_MS_MAX,
      socketTimeout: IDLE_CONNECTION_MS_MAX,
      httpAgent: new HttpAgent(agent),
      httpsAgent: new HttpsAgent(agent),
      // it warns when requests wait for a connection, which is what the bound is for
      logger: SILENT,
    },
    logger: SILENT,
  });
  spareSigningHash(client);
  return { library, client };
}

/**
 * The server refuses a body that has another SHA-256 than this, lower-case hex. By itself the
 * library takes it of every body in memory, all at once on the calling thread, and of no stream.
 */
export function signPayload(command: PutObjectCommand | UploadPartCommand, sha256: string): void {
  // Both stacks do the same with a request that has been built.
  const { middlewareStack } = command as PutObjectCommand;
  middlewareStack.add(
    (next) => (given) => {
      const { headers } = given.request as { headers: Record<string, string> };
      headers['x-amz-content-sha256'] = sha256;
      return next(given);
    },
    { name: 'signPayload', step: 'build', priority: 'low' },
  );
}

/** As above for the rest of the requests: what carries an MD5, which is signed, goes without. */
function spareSigningHash(client: S3Client): void {
  client.middlewareStack.add(
    (next) => (given) => {
      const { headers = {} } = given.request as { headers?: Record<string, string> };
      if ('content-md5' in headers) headers['x-amz-content-sha256'] = 'UNSIGNED-PAYLOAD';
      return next(given);
    },
    { name: 'spareSigningHash', step: 'build', priority: 'low' },
  );
}

const SILENT = { trace() {}, debug() {}, info() {}, warn() {}, error() {} };

/** Null for a bug of ours. */
export function classifyS3(error: unknown): SinkFailure | null {
  const answer = answerOf(error);
  return answer === null ? classifyThrown(error) : classifyAnswer(answer);
}

/** What the store answered; null when the error is not an answer. */
export function answerOf(error: unknown): { status: number; name: string } | null {
  if (typeof error !== 'object' || error === null) return null;
  const status = numberField(Reflect.get(error, '$metadata'), 'httpStatusCode');
  if (status === null) return null;
  const code = stringField(error, 'Code');
  const name = code === '' ? stringField(error, 'name') : code;
  // without a body the library calls the error after its status, or `UnknownError`
  return { status, name: /^(UnknownError|Unknown|Error|\d+)$/.test(name) ? '' : name };
}

export const isStatus = (error: unknown, status: number): boolean =>
  answerOf(error)?.status === status;

export const isNamed = (error: unknown, name: string): boolean => answerOf(error)?.name === name;

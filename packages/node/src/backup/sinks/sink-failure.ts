/**
 * What a failure of a store means: which code it gets, whether another attempt can help, and
 * whether the request certainly had no effect. Pure tables over HTTP statuses, the names of errors
 * that stores answer with, and the error numbers of sockets. When in doubt a failure is
 * unavailable, worth another attempt and of unknown effect: that is always safe.
 */
import { HoldfastError, InvariantViolation } from '@holdfast/base';

export type SinkFailureCode = 'SINK_UNAVAILABLE' | 'SINK_REFUSED' | 'SINK_FULL';

export interface SinkFailure {
  readonly code: SinkFailureCode;
  /** Another attempt can help. */
  readonly isTransient: boolean;
  /** The request certainly had no effect. */
  readonly isDefinite: boolean;
  /** What happened and the next step, for a message; no secrets. */
  readonly reason: string;
}

/** What is known of an answer of a store. */
export interface AnswerFacts {
  readonly status: number;
  /** The store's own name of the error, such as `NoSuchBucket`; '' when it gave none. */
  readonly name: string;
}

const refused = (reason: string): SinkFailure => ({
  code: 'SINK_REFUSED',
  isTransient: false,
  isDefinite: true,
  reason,
});

const unavailable = (reason: string, isDefinite = false): SinkFailure => ({
  code: 'SINK_UNAVAILABLE',
  isTransient: true,
  isDefinite,
  reason,
});

const full = (reason: string): SinkFailure => ({
  code: 'SINK_FULL',
  isTransient: false,
  isDefinite: true,
  reason,
});

/** Errors that say more than the status they come with. */
const NAMED: ReadonlyMap<string, SinkFailure> = new Map([
  // no such place
  ['NoSuchBucket', refused('there is no such bucket; create it, or mend the URL of the sink')],
  ['InvalidBucketName', refused('the name of the bucket is not allowed; mend the URL of the sink')],
  ['ContainerNotFound', refused('there is no such container; create it, or mend the URL')],
  ['ContainerBeingDeleted', refused('the container is being deleted; name another one')],
  ['PermanentRedirect', refused('the bucket is in another region; set region= in the URL')],
  ['AuthorizationHeaderMalformed', refused('the region is not that of the bucket; set region=')],
  // who asks
  ['InvalidAccessKeyId', refused('the store does not know this access key; check the credentials')],
  ['SignatureDoesNotMatch', refused('the secret key is wrong; check the credentials')],
  ['AuthenticationFailed', refused('the account key or the SAS token is wrong or has expired')],
  ['InvalidToken', refused('the session token is not valid; check the credentials')],
  ['RequestTimeTooSkewed', refused('the clock of this machine differs too much from the store')],
  ['CredentialsProviderError', refused('no credentials were found; see "Stores for backups"')],
  ['AccessDenied', refused('these credentials may not do this; grant the permission')],
  // renewed by the chain of credentials before the next attempt
  ['ExpiredToken', unavailable('the credentials have expired', true)],
  ['TokenRefreshRequired', unavailable('the credentials have expired', true)],
  // no room
  ['QuotaExceeded', full('the quota of the store is used up; raise it, or remove old backups')],
  ['AccountQuotaExceeded', full('the quota of the account is used up; raise it')],
  ['InsufficientAccountPermissions', refused('these credentials may not do this')],
  // the bytes did not arrive as they were sent; nothing was stored
  ['BadDigest', unavailable('the bytes were damaged on their way', true)],
  ['Md5Mismatch', unavailable('the bytes were damaged on their way', true)],
  ['XAmzContentSHA256Mismatch', unavailable('the bytes were damaged on their way', true)],
  ['IncompleteBody', unavailable('the request was cut on its way', true)],
  // another request for the same object was faster; asked again, the answer is clear
  ['ConditionalRequestConflict', unavailable('two requests met at the same object', true)],
  ['OperationAborted', unavailable('two requests met at the same object', true)],
  // not what their status says
  ['RequestTimeout', unavailable('the store waited too long for the request')],
  ['SlowDown', unavailable('the store asks to slow down')],
  ['ServerBusy', unavailable('the store asks to slow down')],
  ['TimeoutError', unavailable('no answer in time')],
]);

const BUSY_STATUSES: ReadonlySet<number> = new Set([408, 425, 429]);

export function classifyAnswer(answer: AnswerFacts): SinkFailure {
  const named = NAMED.get(answer.name);
  if (named !== undefined) return named;
  const { status } = answer;
  const said = answer.name === '' ? `${status}` : `${status} ${answer.name}`;
  if (status === 507) return full(`the store has no room (${said}); free space there`);
  if (BUSY_STATUSES.has(status)) return unavailable(`the store answered ${said}`);
  if (status === 409) return unavailable(`two requests met at the same object (${said})`, true);
  if (status === 501) return refused(`the store cannot do this (${said}); use another one`);
  if (status >= 500) return unavailable(`the store answered ${said}`);
  if (status === 401 || status === 403)
    return refused(`the credentials are wrong or may not do this (${said})`);
  if (status >= 300) return refused(`the store answered ${said}`);
  return unavailable(`the store answered ${said}, which is not understood`);
}

/** The connection was never made, so nothing was sent. */
const NEVER_SENT: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ENETUNREACH',
  'EHOSTUNREACH',
  'ENETDOWN',
  'EHOSTDOWN',
]);

const CERTIFICATE = /CERT|^ERR_TLS|^ERR_SSL|UNABLE_TO_|SELF_SIGNED/;

/** Errors of sockets and streams, by their code; null for a bug of ours. */
export function classifyThrown(error: unknown): SinkFailure | null {
  if (isBug(error)) return null;
  const code = stringField(error, 'code');
  const name = stringField(error, 'name');
  const named = NAMED.get(code) ?? NAMED.get(name);
  if (named !== undefined) return named;
  if (CERTIFICATE.test(code))
    return refused(`the certificate of the store is not accepted (${code}); check the endpoint`);
  if (NEVER_SENT.has(code))
    return unavailable(`no connection (${code}); check endpoint and network`, true);
  return unavailable(
    code === '' ? `the connection failed (${name})` : `the connection failed (${code})`,
  );
}

const isBug = (error: unknown): boolean =>
  error instanceof InvariantViolation ||
  error instanceof ReferenceError ||
  error instanceof RangeError ||
  // sockets and parsers throw a TypeError with a code; one without is a bug
  (error instanceof TypeError && stringField(error, 'code') === '');

/** A field of something thrown; '' when it has no such text. */
export function stringField(thrown: unknown, field: string): string {
  if (typeof thrown !== 'object' || thrown === null) return '';
  const value: unknown = Reflect.get(thrown, field);
  return typeof value === 'string' ? value : '';
}

export function numberField(thrown: unknown, field: string): number | null {
  if (typeof thrown !== 'object' || thrown === null) return null;
  const value: unknown = Reflect.get(thrown, field);
  return typeof value === 'number' ? value : null;
}

/** `what` reads as `put of KEY to NAME`. The cause is kept without what may hold a secret. */
export function sinkError(what: string, failure: SinkFailure, cause?: unknown): HoldfastError {
  return new HoldfastError(failure.code, `${what} failed: ${failure.reason}`, {
    ...(cause === undefined ? {} : { cause: withoutSecrets(cause) }),
  });
}

export const refusal = (what: string, reason: string): HoldfastError =>
  new HoldfastError('SINK_REFUSED', `${what} is refused: ${reason}`);

export const aborted = (what: string): HoldfastError =>
  new HoldfastError('ABORTED', `${what} was aborted`);

/** For what another time mends, or somebody else: only a failure, never a bug. */
export function ignoreFailure(error: unknown): void {
  if (!(error instanceof HoldfastError)) throw error;
}

export const notFound = (key: string, sink: string): HoldfastError =>
  new HoldfastError('BACKUP_NOT_FOUND', `there is no object ${key} in ${sink}`);

/** Errors of the client libraries hold requests, and these hold signatures: name and text go on. */
function withoutSecrets(cause: unknown): Error {
  const text = cause instanceof Error ? cause.message : String(cause);
  const plain = new Error(text.replaceAll(/\b(sig|signature)=[^&\s"<]+/gi, '$1=...'));
  plain.name = stringField(cause, 'name') || 'Error';
  return plain;
}

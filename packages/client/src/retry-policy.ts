/**
 * What to do after a failed attempt. Pure: the history and the error in, a decision out.
 *
 * Invariants: R1 nothing is repeated after an indefinite error unless repeating is safe (a read, or
 * a write with session and sequence). R2 every retry is counted; the count and the deadline of the
 * request both bound the loop. R3 after an indefinite attempt a later refusal is reported as
 * indefinite, unless it is the recorded answer of the session table.
 */
import { HoldfastError } from '@holdfast/base';

/** The deadline is the real bound; this one catches a server that answers at once, forever. */
export const ATTEMPT_COUNT_MAX = 10_000;
/** Redirects that are followed without a pause; two nodes that name each other stop here. */
export const REDIRECT_IN_ROW_COUNT_MAX = 4;
/** Asks about as often as an election takes to make progress. */
export const NO_LEADER_DELAY_MS = 50;
/** Of all requests that know no leader, one asks a node in this time. */
export const SCOUT_INTERVAL_MS = 10;
export const BACKOFF_DELAY_MS_MIN = 20;
export const BACKOFF_DELAY_MS_MAX = 1_000;
/** A server bug is answered the same way soon; three tries cover a node that was replaced. */
export const INTERNAL_ERROR_COUNT_MAX = 3;
/** Other replicas that are asked when one is too stale or lacks a shard. */
export const OTHER_NODE_COUNT_MAX = 6;
/** Sessions opened for one request; a cluster that expires them faster is not usable. */
export const SESSION_RENEWAL_COUNT_MAX = 3;

const SESSION_REFUSAL_CODES: ReadonlySet<string> = new Set([
  'SESSION_EXPIRED',
  'SESSION_WINDOW_FULL',
  'SEQUENCE_REUSED',
]);

export interface RequestTraits {
  /** Repeating it cannot have a second effect: a read, or a write with session and sequence. */
  readonly isSafeToRepeat: boolean;
  readonly hasSession: boolean;
  readonly isRead: boolean;
}

export interface AttemptHistory {
  readonly attemptCount: number;
  /** Redirects since anything else happened. */
  readonly redirectInRowCount: number;
  readonly backoffCount: number;
  readonly internalErrorCount: number;
  readonly otherNodeCount: number;
  readonly sessionRenewalCount: number;
  /** An earlier attempt may have taken effect, or may yet. */
  readonly sawIndefinite: boolean;
}

export const NO_ATTEMPTS: AttemptHistory = {
  attemptCount: 0,
  redirectInRowCount: 0,
  backoffCount: 0,
  internalErrorCount: 0,
  otherNodeCount: 0,
  sessionRenewalCount: 0,
  sawIndefinite: false,
};

export type Decision =
  | { readonly kind: 'fail' }
  | { readonly kind: 'retry'; readonly delayMs: number }
  /** Open a new session and send the request under a new stamp: nothing of it was executed. */
  | { readonly kind: 'renewSession' };

/** `history` is from before this error; `random` is uniform in [0, 1). */
export function decide(
  error: HoldfastError,
  traits: RequestTraits,
  history: AttemptHistory,
  random: number,
): Decision {
  if (history.attemptCount >= ATTEMPT_COUNT_MAX) return FAIL;
  if (error.code === 'SESSION_EXPIRED') return decideExpired(traits, history);
  if (!error.definite && !traits.isSafeToRepeat) return FAIL;
  switch (error.code) {
    case 'NOT_LEADER': {
      const isFollowed = history.redirectInRowCount < REDIRECT_IN_ROW_COUNT_MAX;
      return retryAfter(isFollowed ? 0 : jitter(NO_LEADER_DELAY_MS, random));
    }
    case 'NO_LEADER':
      return retryAfter(jitter(NO_LEADER_DELAY_MS, random));
    case 'CONNECTION_LOST':
    case 'LEADERSHIP_LOST':
    case 'SHUTTING_DOWN':
      return retryAfter(history.backoffCount === 0 ? 0 : backoffDelayMs(history, random));
    case 'INTERNAL':
    case 'RESPONSE_MALFORMED':
      if (history.internalErrorCount >= INTERNAL_ERROR_COUNT_MAX) return FAIL;
      return retryAfter(backoffDelayMs(history, random));
    case 'SHARD_UNAVAILABLE':
      // Others were asked first; then it is worth waiting for, because it comes back by itself.
      if (history.otherNodeCount >= OTHER_NODE_COUNT_MAX)
        return retryAfter(backoffDelayMs(history, random));
      return retryAfter(jitter(BACKOFF_DELAY_MS_MIN, random));
    case 'TOO_STALE':
      if (history.otherNodeCount >= OTHER_NODE_COUNT_MAX) return FAIL;
      return retryAfter(jitter(BACKOFF_DELAY_MS_MIN, random));
    default:
      if (error.retry === 'never' || error.retry === 'redirect') return FAIL;
      return retryAfter(Math.max(backoffDelayMs(history, random), retryAfterMsOf(error)));
  }
}

/** The history after `error`. */
export function recordAttempt(history: AttemptHistory, error: HoldfastError): AttemptHistory {
  const { code } = error;
  const isRedirect = code === 'NOT_LEADER';
  const isWaiting = code === 'NO_LEADER';
  const isInternal = code === 'INTERNAL' || code === 'RESPONSE_MALFORMED';
  const isOtherNode = code === 'TOO_STALE' || code === 'SHARD_UNAVAILABLE';
  // An expired session executed nothing in this attempt; it only says nothing about earlier ones.
  const isExpired = code === 'SESSION_EXPIRED';
  return {
    attemptCount: history.attemptCount + 1,
    redirectInRowCount: isRedirect ? history.redirectInRowCount + 1 : 0,
    backoffCount: history.backoffCount + (isRedirect || isWaiting ? 0 : 1),
    internalErrorCount: history.internalErrorCount + (isInternal ? 1 : 0),
    otherNodeCount: history.otherNodeCount + (isOtherNode ? 1 : 0),
    sessionRenewalCount: history.sessionRenewalCount + (isExpired ? 1 : 0),
    sawIndefinite: history.sawIndefinite || (!error.definite && !isExpired),
  };
}

/**
 * The error as the caller may believe it. `history` is from before the attempt that failed with it.
 * The session table answered when the error names the log index that decided it, and is not the
 * table's own refusal: that one says nothing about attempts that are still on their way.
 */
export function reportedError(
  error: HoldfastError,
  traits: RequestTraits,
  history: AttemptHistory,
): HoldfastError {
  const isRecorded =
    traits.hasSession &&
    Number.isSafeInteger(error.details.index) &&
    !SESSION_REFUSAL_CODES.has(error.code);
  if (traits.isRead || !error.definite || !history.sawIndefinite || isRecorded) return error;
  return new HoldfastError(error.code, error.message, {
    definite: false,
    details: { ...error.details, isAfterIndefiniteAttempt: true },
    cause: error,
  });
}

/** Exponential with jitter: half to all of 20, 40, 80, ... 1,000 ms. `attempt` starts at 1. */
export function reconnectDelayMs(attempt: number, random: number): number {
  const exponent = Math.min(attempt - 1, 10);
  const fullMs = Math.min(BACKOFF_DELAY_MS_MAX, BACKOFF_DELAY_MS_MIN * 2 ** exponent);
  return fullMs * (0.5 + random / 2);
}

const FAIL: Decision = { kind: 'fail' };
const retryAfter = (delayMs: number): Decision => ({ kind: 'retry', delayMs });
/** Half to one and a half of `delayMs`. */
const jitter = (delayMs: number, random: number): number => delayMs * (0.5 + random);
const backoffDelayMs = (history: AttemptHistory, random: number): number =>
  reconnectDelayMs(history.backoffCount + 1, random);

function decideExpired(traits: RequestTraits, history: AttemptHistory): Decision {
  const isUnsent = traits.hasSession && !history.sawIndefinite;
  const isBounded = history.sessionRenewalCount < SESSION_RENEWAL_COUNT_MAX;
  return isUnsent && isBounded ? { kind: 'renewSession' } : FAIL;
}

/** The server's own wish, within reason. */
function retryAfterMsOf(error: HoldfastError): number {
  const { retryAfterMs } = error.details;
  if (typeof retryAfterMs !== 'number' || !(retryAfterMs > 0)) return 0;
  return Math.min(retryAfterMs, 10 * BACKOFF_DELAY_MS_MAX);
}

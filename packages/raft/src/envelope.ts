/**
 * What must hold of a message before any rule looks at it: it is for this replica of this group in
 * this life, from the life of the sender that the configuration knows, and it is consistent in
 * itself. Anything else is refused with a reason; peers can never make these checks throw.
 */
import type { ConfState, LogIndex } from '@holdfast/base';
import {
  EMPTY_LOG_SUM,
  ENTRY_SUM_SIZE_BYTES,
  flawOfConf,
  memberOf,
  sumsEqual,
} from '@holdfast/base';
import type { RaftMessage } from './messages.ts';
import type { ResolvedOptions } from './options-resolved.ts';

/** No group gets here by elections; adopting a term near 2^53 would leave none to campaign in. */
const TERM_MAX = 2 ** 52;
/** A log that starts near 2^53 would have no room for what follows. */
const INDEX_MAX = 2 ** 52;

/** Why `message` must not be looked at, or null. */
export function refusalOfMessage(
  options: Pick<ResolvedOptions, 'group' | 'id' | 'incarnation'>,
  own: { readonly conf: ConfState; readonly confIndex: LogIndex },
  message: RaftMessage,
): string | null {
  if (message.group !== options.group) return 'wrong-group';
  if (message.to !== options.id) return 'wrong-receiver';
  if (message.from === options.id) return 'from-self';
  if (message.toIncarnation !== options.incarnation) return 'wrong-receiver-incarnation';
  const stranger = refusalOfStranger(own, message);
  if (stranger !== null) return stranger;
  if (!isCount(message.confIndex)) return 'bad-conf-index';
  if (!isCount(message.term) || message.term > TERM_MAX) return 'term-out-of-range';
  return refusalOfBody(message);
}

function refusalOfBody(message: RaftMessage): string | null {
  switch (message.kind) {
    case 'preVote':
    case 'vote':
      if (message.term === 0) return 'term-out-of-range';
      return isPosition(message.lastIndex, message.lastTerm, message.term) ? null : 'bad-position';
    case 'timeoutNow':
      return isPosition(message.lastIndex, message.lastTerm, message.term) ? null : 'bad-position';
    case 'append':
      return refusalOfAppend(message);
    case 'appendResponse':
      return refusalOfAppendResponse(message);
    case 'heartbeat':
      if (message.term === 0) return 'term-out-of-range';
      return isCount(message.commit) && isCount(message.round) && isCount(message.beat)
        ? null
        : 'bad-heartbeat';
    case 'heartbeatResponse':
      return isCount(message.round) && isCount(message.beat) ? null : 'bad-heartbeat';
    case 'snapshot':
      return refusalOfSnapshot(message);
    case 'readIndex':
      return isCount(message.requestId) ? null : 'bad-read';
    case 'readIndexResponse':
      if (message.index !== null && !isCount(message.index)) return 'bad-read';
      return isCount(message.requestId) ? null : 'bad-read';
    case 'preVoteResponse':
    case 'voteResponse':
      return null;
    case 'entryRequest':
      return isCount(message.requestId) && isRange(message.low, message.high) ? null : 'bad-range';
    case 'entryResponse':
      return refusalOfEntryResponse(message);
    default:
      return unknownKind(message);
  }
}

/** Only reachable for peer input that the type system never saw. */
const unknownKind = (_message: never): string => 'unknown-kind';

function refusalOfAppend(message: RaftMessage & { readonly kind: 'append' }): string | null {
  const { prevIndex, prevTerm, prevSum, entries, term } = message;
  if (term === 0) return 'term-out-of-range';
  if (!isPosition(prevIndex, prevTerm, term) || !isCount(message.commit)) return 'bad-position';
  if (prevSum.byteLength !== ENTRY_SUM_SIZE_BYTES) return 'bad-sum';
  if (prevIndex === 0 && !sumsEqual(prevSum, EMPTY_LOG_SUM)) return 'bad-sum';
  let index: number = prevIndex;
  let entryTerm: number = prevTerm;
  for (const entry of entries) {
    index += 1;
    if (entry.index !== index) return 'entries-not-gapless';
    if (!isCount(entry.term) || entry.term < entryTerm || entry.term > term || entry.term === 0)
      return 'entry-term-out-of-order';
    if (entry.sum.byteLength !== ENTRY_SUM_SIZE_BYTES) return 'bad-sum';
    entryTerm = entry.term;
  }
  return index <= INDEX_MAX ? null : 'bad-position';
}

function refusalOfEntryResponse(
  message: RaftMessage & { readonly kind: 'entryResponse' },
): string | null {
  const { entries, firstIndex, lastIndex, low, requestId } = message;
  if (!isCount(requestId) || !isCount(low) || low === 0) return 'bad-range';
  if (!isCount(firstIndex) || !isCount(lastIndex) || lastIndex + 1 < firstIndex) return 'bad-range';
  const isGapless = entries.every((entry, i) => entry.index === low + i);
  return isGapless ? null : 'entries-not-gapless';
}

function refusalOfAppendResponse(
  message: RaftMessage & { readonly kind: 'appendResponse' },
): string | null {
  const { matchIndex, rejection } = message;
  if (!isCount(matchIndex)) return 'bad-match';
  if (rejection === null) return null;
  const isSound =
    isCount(rejection.rejectedIndex) &&
    isCount(rejection.hintIndex) &&
    isCount(rejection.hintTerm) &&
    rejection.hintIndex <= rejection.rejectedIndex;
  return isSound ? null : 'bad-rejection';
}

function refusalOfSnapshot(message: RaftMessage & { readonly kind: 'snapshot' }): string | null {
  const { meta, term } = message;
  if (term === 0) return 'term-out-of-range';
  if (meta.index === 0 || !isPosition(meta.index, meta.term, term)) return 'bad-position';
  if (meta.sum.byteLength !== ENTRY_SUM_SIZE_BYTES) return 'bad-sum';
  if (!isCount(meta.confIndex) || meta.confIndex > meta.index) return 'bad-conf';
  return meta.conf.voters.length > 0 && flawOfConf(meta.conf) === null ? null : 'bad-conf';
}

/**
 * Answers are counted, so they must come from a member in the life that the configuration names.
 * Requests need not: a replica that lags behind a change must still be able to follow a leader and
 * answer a candidate it does not know. A member known in another life is believed only if it holds
 * a newer configuration than this replica: the one that brought it back.
 */
function refusalOfStranger(
  own: { readonly conf: ConfState; readonly confIndex: LogIndex },
  message: RaftMessage,
): string | null {
  const known = memberOf(own.conf, message.from);
  if (known?.incarnation === message.fromIncarnation) return null;
  if (known === null) return isAnswer(message) ? 'unknown-sender' : null;
  const knowsMore = message.confIndex > own.confIndex;
  return knowsMore && !isAnswer(message) ? null : 'wrong-sender-incarnation';
}

function isAnswer(message: RaftMessage): boolean {
  switch (message.kind) {
    case 'preVoteResponse':
    case 'voteResponse':
    case 'appendResponse':
    case 'heartbeatResponse':
    case 'readIndexResponse':
    case 'entryResponse':
      return true;
    default:
      return false;
  }
}

const isRange = (low: number, high: number): boolean =>
  isCount(low) && isCount(high) && low >= 1 && low < high;

const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;

/** Index 0 is before the log and has term 0; the rest of the log has terms up to the sender's. */
const isPosition = (index: number, term: number, senderTerm: number): boolean =>
  isCount(index) &&
  index <= INDEX_MAX &&
  isCount(term) &&
  (index === 0) === (term === 0) &&
  term <= senderTerm;

/**
 * Messages that fit what one replica holds: right envelope, sums taken from its own log, entries
 * that chain. They get past the first checks, so that a later single wrong field meets the deep
 * rules.
 */
import type { Entry, LogIndex, NodeId, Random, SnapshotMeta, Term } from '@holdfast/base';
import { DEFAULT_GROUP_ID, EMPTY_LOG_SUM, encodeConf, flawOfConf, memberOf } from '@holdfast/base';
import type { RaftMessage, RaftMessageBody } from '../../messages.ts';
import { incarnationOf } from '../core-cluster.ts';
import type { SimReplica } from '../sim-replica.ts';
import { testHash } from '../test-hash.ts';

/** A bound that a forged field made absurd is cut. */
const below = (random: Random, bound: number): number =>
  random.nextBelow(Math.max(1, Math.min(bound, 1_000)));

/** `sum`, sometimes the one that an empty log ends with. */
const sumOr = (sum: Uint8Array | undefined, random: Random): Uint8Array =>
  sum?.byteLength !== EMPTY_LOG_SUM.byteLength || below(random, 4) === 0 ? EMPTY_LOG_SUM : sum;

/** The entries with sums that follow from the first one's predecessor, whatever they hold. */
export function chained(entries: readonly Entry[], random: Random): readonly Entry[] {
  let previous = sumOr(entries[0]?.sum, random);
  return entries.map((entry) => {
    previous = testHash(previous, entry.term, entry.index, entry.type, entry.data);
    return { ...entry, sum: previous };
  });
}

/** From a member of the group (seldom from a stranger) to `replica`, about its own log. */
export function plausibleMessage(
  replica: SimReplica,
  members: readonly NodeId[],
  random: Random,
): RaftMessage {
  const { conf, term } = replica.core.status();
  const from = members[below(random, members.length)]!;
  const known = memberOf(conf, from);
  return {
    ...plausibleBody(replica, random),
    group: DEFAULT_GROUP_ID,
    from,
    to: replica.id,
    fromIncarnation: known?.incarnation ?? incarnationOf(from),
    toIncarnation: incarnationOf(replica.id),
    term: (term + below(random, 8) - (below(random, 4) === 0 ? 2 : 0)) as Term,
    confIndex: below(random, 3) as LogIndex,
  };
}

function plausibleBody(replica: SimReplica, random: Random): RaftMessageBody {
  const { commit, lastIndex } = replica.core.status();
  const near = (index: number): LogIndex => Math.max(0, index + below(random, 5) - 2) as LogIndex;
  const isYes = below(random, 2) === 0;
  switch (below(random, 13)) {
    case 0:
      return { kind: isYes ? 'vote' : 'preVote', ...lastOf(replica, random), ...asked(random) };
    case 1:
      return {
        kind: isYes ? 'voteResponse' : 'preVoteResponse',
        isGranted: isYes,
        nonce: asked(random).nonce,
        refusal: isYes ? null : 'log-behind',
      };
    case 2:
    case 3:
    case 4:
      return appendTo(replica, random);
    case 5:
      return { kind: 'appendResponse', matchIndex: near(lastIndex), rejection: null };
    case 6: {
      const rejectedIndex = near(lastIndex);
      const hintIndex = below(random, rejectedIndex + 1) as LogIndex;
      const hintTerm = below(random, 6) as Term;
      const rejection = { rejectedIndex, hintIndex, hintTerm };
      return { kind: 'appendResponse', matchIndex: 0 as LogIndex, rejection };
    }
    case 7:
      return {
        kind: 'heartbeat',
        commit: near(commit),
        round: below(random, 3),
        beat: below(random, 9),
        isLeaseWanted: isYes,
      };
    case 8: {
      const round = below(random, 3);
      return { kind: 'heartbeatResponse', round, beat: below(random, 9), isLeaseGranted: isYes };
    }
    case 9:
      return { kind: 'snapshot', meta: snapshotFor(replica, near(lastIndex + 2), random) };
    case 10:
      return { kind: 'timeoutNow', ...lastOf(replica, random) };
    case 11:
      return { kind: 'readIndex', requestId: below(random, 5) };
    default:
      return { kind: 'readIndexResponse', requestId: below(random, 5), index: near(lastIndex) };
  }
}

const asked = (random: Random) => ({
  nonce: below(random, 4),
  isTransfer: below(random, 4) === 0,
});

function lastOf(replica: SimReplica, random: Random): { lastIndex: LogIndex; lastTerm: Term } {
  const { lastIndex, term } = replica.core.status();
  const index = (lastIndex + below(random, 3)) as LogIndex;
  return index === 0
    ? { lastIndex: index, lastTerm: 0 as Term }
    : { lastIndex: index, lastTerm: Math.max(1, term - below(random, 2)) as Term };
}

/** Attaches at an index of the replica's own log, and brings entries of its term or newer. */
function appendTo(replica: SimReplica, random: Random): RaftMessageBody {
  const { commit, lastIndex, term } = replica.core.status();
  const { log } = replica;
  const first = log.firstIndex() - 1;
  const span = log.lastIndex() - first + 1;
  const prevIndex = (first + below(random, span)) as LogIndex;
  const prevTerm = log.term(prevIndex);
  const prevSum = log.sum(prevIndex);
  const isReadable = typeof prevTerm === 'number' && typeof prevSum !== 'string';
  let sum = isReadable ? prevSum : EMPTY_LOG_SUM;
  let entryTerm = Math.max(1, isReadable ? prevTerm : 1);
  const entries: Entry[] = [];
  for (let i = below(random, 4); i > 0; i--) {
    const index = (prevIndex + entries.length + 1) as LogIndex;
    if (below(random, 3) === 0) entryTerm = Math.max(entryTerm, term);
    const type = (['normal', 'normal', 'noop', 'conf'] as const)[below(random, 4)]!;
    const { conf } = replica.core.status();
    const isSound = type === 'conf' && below(random, 2) === 0 && flawOfConf(conf) === null;
    const data = isSound ? encodeConf(conf) : new Uint8Array([below(random, 256)]);
    sum = testHash(sum, entryTerm as Term, index, type, data);
    entries.push({ index, term: entryTerm as Term, type, data, sum });
  }
  const top = Math.max(commit, lastIndex);
  return {
    kind: 'append',
    prevIndex,
    prevTerm: isReadable ? prevTerm : (0 as Term),
    prevSum: isReadable ? prevSum : EMPTY_LOG_SUM,
    entries,
    commit: below(random, top + 3) as LogIndex,
  };
}

function snapshotFor(replica: SimReplica, index: LogIndex, random: Random): SnapshotMeta {
  const { conf, term } = replica.core.status();
  const held = replica.log.sum(index);
  const own = replica.log.term(index);
  const isHeld = typeof held !== 'string' && typeof own === 'number' && index > 0;
  return {
    index: Math.max(1, index) as LogIndex,
    term: isHeld ? own : (Math.max(1, term) as Term),
    sum: isHeld ? held : new Uint8Array(EMPTY_LOG_SUM.length).fill(below(random, 256)),
    conf,
    confIndex: below(random, 2) as LogIndex,
    id: `hostile${below(random, 3)}`,
  };
}

/**
 * What a well-formed message claims, against what this replica holds. A claim that cannot be true
 * comes from a damaged or hostile sender, or proves that data forked or was lost. From one message
 * nobody can tell which, so it is refused before any rule acts on it, term included: it changes
 * nothing here, is never acknowledged, and the host is told (`contradictionSeen`).
 *
 * One claim leaves a mark. A leader that counts on entries which this replica does not hold may be
 * right, and then a vote from here could elect a log without them: see `owedIndex`.
 */
import type { LogIndex } from '@holdfast/base';
import { sumsEqual } from '@holdfast/base';
import { readConfs } from './membership/effect.ts';
import type { RaftMessage } from './messages.ts';
import type { Contradiction } from './ready.ts';
import type { ReplicaState } from './replica-state.ts';

type Append = RaftMessage & { readonly kind: 'append' };
type FromLeader = RaftMessage & { readonly kind: 'append' | 'heartbeat' | 'snapshot' };

/** True when `message` was refused. Its term is at least the present one, or does not matter. */
export function refuseContradiction(state: ReplicaState, message: RaftMessage): boolean {
  const refusal = refusalByState(state, message);
  if (refusal !== null) {
    state.refuse(message, refusal);
    return true;
  }
  if (message.kind !== 'append' && message.kind !== 'heartbeat' && message.kind !== 'snapshot')
    return false;
  const contradiction = contradictionOf(state, message);
  if (contradiction === null) return false;
  state.refuse(message, contradiction);
  state.outbox.event({ kind: 'contradictionSeen', from: message.from, contradiction });
  return true;
}

/** Damage on the way, or an answer to something that was never sent. */
function refusalByState(state: ReplicaState, message: RaftMessage): string | null {
  switch (message.kind) {
    case 'append':
      if (!isChainIntact(state, message)) return 'entry-chain-broken';
      return readConfs(message.entries) === null ? 'conf-malformed' : null;
    case 'appendResponse':
      if (!isForThisLeadership(state, message) || message.rejection !== null) return null;
      return message.matchIndex > state.log.lastIndex ? 'match-beyond-log' : null;
    case 'heartbeatResponse':
      if (!isForThisLeadership(state, message)) return null;
      if (message.round > state.leaderReads.round) return 'round-never-started';
      return message.beat > state.lease.newestBeat ? 'beat-never-sent' : null;
    case 'entryRequest':
    case 'entryResponse':
      // Repair happens beside the core: the host answers from the log, before and while it runs.
      return 'not-for-the-core';
    default:
      return null;
  }
}

const isForThisLeadership = (state: ReplicaState, message: RaftMessage): boolean =>
  state.isLeader && message.term === state.term;

/** Every sum must follow from the one before; a broken chain was damaged on the way. */
function isChainIntact(state: ReplicaState, message: Append): boolean {
  const { hash } = state.options;
  let previousSum = message.prevSum;
  for (const entry of message.entries) {
    const sum = hash(previousSum, entry.term, entry.index, entry.type, entry.data);
    if (!sumsEqual(sum, entry.sum)) return false;
    previousSum = entry.sum;
  }
  return true;
}

function contradictionOf(state: ReplicaState, message: FromLeader): Contradiction | null {
  const { leader, log, term } = state;
  const isOtherLeader = state.isLeader || (leader !== null && leader !== message.from);
  if (message.term === term && isOtherLeader) return 'second-leader';
  switch (message.kind) {
    case 'heartbeat':
      // The leader names at most what this replica acknowledged.
      if (message.commit <= log.lastIndex) return null;
      state.owedIndex = Math.max(state.owedIndex, message.commit) as LogIndex;
      return 'acknowledged-entries-missing';
    case 'snapshot': {
      const { confIndex, index, sum, term: snapshotTerm } = message.meta;
      if (index <= log.committed) return null;
      if (log.term(index) === snapshotTerm)
        return sumsEqual(log.sumAt(index), sum) ? null : 'log-forked';
      // It would replace the log; so it must know every configuration that is committed here.
      const known = state.confs.at(log.committed).confIndex;
      return confIndex < known ? 'committed-entry-replaced' : null;
    }
    default:
      return contradictionOfAppend(state, message);
  }
}

function contradictionOfAppend(state: ReplicaState, message: Append): Contradiction | null {
  const { log } = state;
  const { entries, prevIndex, prevTerm } = message;
  // Where the logs do not meet, nothing is compared: the append is rejected with a hint.
  if (prevIndex + 1 < log.firstIndex || log.term(prevIndex) !== prevTerm) return null;
  if (!sumsEqual(log.sumAt(prevIndex), message.prevSum)) return 'log-forked';
  for (const entry of entries) {
    if (log.term(entry.index) !== entry.term)
      return entry.index <= log.committed ? 'committed-entry-replaced' : null;
    if (!sumsEqual(log.sumAt(entry.index), entry.sum)) return 'log-forked';
  }
  return null;
}

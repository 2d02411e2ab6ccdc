/**
 * A removed member gets nothing more from the moment the change is appended, so by itself it would
 * never learn that it was removed, and go on asking for votes. The leader therefore tells it: once
 * the change is committed, it sends the entries up to the change, and again with each heartbeat for
 * one election timeout. Nothing depends on it: a member that misses it is only left in the dark.
 */
import type { ConfState, LogIndex, Member, Term } from '@holdfast/base';
import { memberOf } from '@holdfast/base';
import type { ReplicaState } from '../replica-state.ts';

export interface Farewell {
  readonly member: Member;
  /** What it is known to hold. */
  readonly matchIndex: LogIndex;
  /** The change that removed it. */
  readonly confIndex: LogIndex;
  /** Only the leader that removed it says so. */
  readonly term: Term;
  /** When the first was sent; null before. */
  sentTick: number | null;
}

/** `next` is about to take the place of `before`: notes who is in it no more. */
export function noteFarewells(
  state: ReplicaState,
  before: ConfState,
  next: ConfState,
  confIndex: LogIndex,
): void {
  for (const member of before.members) {
    const { incarnation, nodeId } = member;
    if (nodeId === state.id || memberOf(next, nodeId)?.incarnation === incarnation) continue;
    const matchIndex = (state.tracker.progress(nodeId)?.matchIndex ?? 0) as LogIndex;
    state.farewells.push({ member, matchIndex, confIndex, term: state.term, sentTick: null });
  }
}

/** Sends those that were not sent yet and whose change is committed. */
export function settleFarewells(state: ReplicaState): void {
  for (const farewell of state.farewells) {
    if (farewell.sentTick !== null || state.log.committed < farewell.confIndex) continue;
    farewell.sentTick = state.tick;
    send(state, farewell);
  }
}

/** Repeats what was sent, for one election timeout. */
export function tickFarewells(state: ReplicaState): void {
  if (state.farewells.length === 0) return;
  const { electionTimeoutTicks, heartbeatIntervalTicks } = state.options;
  state.farewells = state.farewells.filter(({ sentTick, term }) => {
    if (term !== state.term) return false;
    return sentTick === null || state.tick - sentTick <= electionTimeoutTicks;
  });
  for (const farewell of state.farewells) {
    const { sentTick } = farewell;
    if (sentTick === null || (state.tick - sentTick) % heartbeatIntervalTicks !== 0) continue;
    if (state.tick > sentTick) send(state, farewell);
  }
}

function send(state: ReplicaState, { confIndex, matchIndex, member }: Farewell): void {
  const { log, options } = state;
  const prevTerm = log.term(matchIndex);
  const prevSum = log.sum(matchIndex);
  // Compacted meanwhile: it is too far behind to be told this way.
  if (prevTerm === null || prevSum === null) return;
  const low = (matchIndex + 1) as LogIndex;
  const high = (confIndex + 1) as LogIndex;
  const entries = low < high ? log.entries(low, high, options.appendSizeBytesMax) : [];
  if (entries === null || entries === 'unreadable') return;
  state.sendToMember(member, {
    kind: 'append',
    prevIndex: matchIndex,
    prevTerm,
    prevSum,
    entries,
    commit: confIndex,
  });
}

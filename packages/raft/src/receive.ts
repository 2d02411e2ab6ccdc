/**
 * The term rules that come before every other rule (section 5.1), then who handles what.
 *
 * A higher term is adopted, except from a pre-vote (which only asks) and from a vote request while
 * a leader is alive here (thesis 4.2.3: a removed or cut-off server must not disturb). A lower
 * term is answered where silence could leave the sender stuck, and otherwise ignored.
 */

import type { LogIndex } from '@holdfast/base';
import { unreachable } from '@holdfast/base';
import { refuseContradiction } from './contradiction.ts';
import {
  answerVote,
  isLeaderAlive,
  onTimeoutNow,
  onVoteRequest,
  onVoteResponse,
} from './election.ts';
import { refusalOfMessage } from './envelope.ts';
import { isBound, onLeaseGranted } from './lease.ts';
import type { RaftMessage } from './messages.ts';
import { confirmReads, onReadIndexRequest, onReadIndexResponse } from './read-index.ts';
import type { ReplicaState } from './replica-state.ts';
import { onAppendResponse, onHeartbeatResponse } from './replication.ts';
import { becomeFollower, followLeader, onAppend, onHeartbeat } from './roles/follower.ts';
import { onSnapshot } from './snapshot.ts';

export function receive(state: ReplicaState, message: RaftMessage): void {
  const refusal = refusalOfMessage(state.options, state.membership, message);
  if (refusal !== null) {
    state.refuse(message, refusal);
    return;
  }
  if (message.term < state.term && !isAnyTermWelcome(message)) {
    answerLowerTerm(state, message);
    return;
  }
  if (refuseContradiction(state, message)) return;
  if (message.term > state.term && !adoptTerm(state, message)) return;
  dispatch(state, message);
}

/** Pre-votes speak of terms nobody is in yet; their nonce decides what they are worth. */
const isAnyTermWelcome = (message: RaftMessage): boolean =>
  message.kind === 'preVote' || message.kind === 'preVoteResponse';

/** False when the message must not be looked at further. */
function adoptTerm(state: ReplicaState, message: RaftMessage): boolean {
  switch (message.kind) {
    case 'preVote':
      return true;
    case 'preVoteResponse':
      if (!message.isGranted) becomeFollower(state, message.term, null);
      return true;
    case 'vote':
      if (!isVoteWelcome(state, message)) {
        answerVote(state, message, 'leader-alive');
        return false;
      }
      becomeFollower(state, message.term, null);
      return true;
    case 'append':
    case 'heartbeat':
    case 'snapshot':
      becomeFollower(state, message.term, message.from);
      return true;
    default:
      becomeFollower(state, message.term, null);
      return true;
  }
}

/**
 * A transfer may depose a live leader, but only one that the target can replace: a late order to
 * take over, outdated by entries it does not hold, disturbs nobody who has them.
 */
function isVoteWelcome(
  state: ReplicaState,
  message: RaftMessage & { readonly kind: 'preVote' | 'vote' },
): boolean {
  if (!isLeaderAlive(state) && !isBound(state)) return true;
  return message.isTransfer && state.log.isUpToDate(message.lastIndex, message.lastTerm);
}

function answerLowerTerm(state: ReplicaState, message: RaftMessage): void {
  switch (message.kind) {
    case 'append':
    case 'heartbeat':
    case 'snapshot':
      // A leader that this replica can hear but not obey must learn of the higher term, else the
      // replica stays stuck.
      state.reply(message, { kind: 'appendResponse', matchIndex: 0 as LogIndex, rejection: null });
      return;
    case 'vote':
      answerVote(state, message, 'lower-term');
      return;
    case 'readIndex':
      state.reply(message, {
        kind: 'readIndexResponse',
        requestId: message.requestId,
        index: null,
      });
      return;
    default:
      return;
  }
}

function dispatch(state: ReplicaState, message: RaftMessage): void {
  switch (message.kind) {
    case 'preVote':
    case 'vote':
      onVoteRequest(state, message);
      break;
    case 'preVoteResponse':
    case 'voteResponse':
      onVoteResponse(state, message);
      break;
    case 'append':
      followLeader(state, message.from);
      onAppend(state, message);
      break;
    case 'heartbeat':
      followLeader(state, message.from);
      onHeartbeat(state, message);
      break;
    case 'snapshot':
      followLeader(state, message.from);
      onSnapshot(state, message);
      break;
    case 'appendResponse':
    case 'heartbeatResponse':
      onPeerResponse(state, message);
      break;
    case 'readIndex':
      onReadIndexRequest(state, message);
      break;
    case 'readIndexResponse':
      onReadIndexResponse(state, message);
      break;
    case 'timeoutNow':
      onTimeoutNow(state, message);
      break;
    case 'entryRequest':
    case 'entryResponse':
      // Refused before (contradiction.ts).
      break;
    default:
      unreachable(message);
  }
}

/** Late answers to a leadership that is over are ignored; so are those of non-members. */
function onPeerResponse(
  state: ReplicaState,
  message: RaftMessage & { readonly kind: 'appendResponse' | 'heartbeatResponse' },
): void {
  const peer = state.tracker.progress(message.from);
  if (!state.isLeader || peer === undefined) return;
  peer.heard(state.tick);
  if (message.kind === 'appendResponse') {
    onAppendResponse(state, peer, message);
    return;
  }
  if (message.isLeaseGranted) onLeaseGranted(state, peer, message);
  onHeartbeatResponse(state, peer);
  if (message.round <= peer.confirmedRound) return;
  peer.confirmedRound = message.round;
  confirmReads(state);
}

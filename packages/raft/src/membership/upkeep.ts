/**
 * What a leader does about the membership by itself: leaves a joint configuration, promotes
 * learners that have caught up, and goes when it has no vote any more.
 *
 * Every leader looks at the configuration in force, not at what it proposed, so a new leader
 * continues what an old one began, and a joint configuration is left exactly once: the entry that
 * leaves it puts another configuration in force.
 */
import type { LogIndex } from '@holdfast/base';
import type { ReplicaState } from '../replica-state.ts';
import { becomeFollower } from '../roles/follower.ts';
import type { Progress } from '../tracker/progress.ts';
import { tickCatchUps } from './catch-up.ts';
import { isJoint } from './change.ts';
import { settleFarewells, tickFarewells } from './farewell.ts';
import { proposeConf } from './propose-conf.ts';

/** Leader, once per tick. */
export function tickMembership(state: ReplicaState): void {
  if (!state.isLeader) return;
  tickCatchUps(state);
  tickFarewells(state);
}

/** Leader, before each Ready. */
export function settleMembership(state: ReplicaState): void {
  if (state.farewells.length > 0) settleFarewells(state);
  if (state.isConfPending) return;
  const { conf } = state.membership;
  // Refused only while something is pending, and then this is called again.
  if (isJoint(conf)) {
    if (conf.autoLeave) proposeConf(state, { steps: [] });
    return;
  }
  if (!state.tracker.isSelfVoter) handOver(state);
}

/**
 * The change that took this leader's vote is committed (thesis section 4.2.2). Everyone was just
 * told so (replication is settled first); now the best voter is asked to take over at once instead
 * of waiting for a timeout.
 */
function handOver(state: ReplicaState): void {
  const heir = bestVoter(state);
  if (heir !== null) {
    const lastIndex = heir.matchIndex as LogIndex;
    state.send(heir.id, { kind: 'timeoutNow', lastIndex, lastTerm: state.log.termAt(lastIndex) });
  }
  becomeFollower(state, state.term, null, 'removed');
}

/** The voter that holds most of the log, if it answers. */
function bestVoter(state: ReplicaState): Progress | null {
  const { log, options, tick, tracker } = state;
  let best: Progress | null = null;
  for (const peer of tracker.peers) {
    if (!tracker.isVoter(peer.id) || peer.matchIndex < log.committed) continue;
    if (!peer.hasAnsweredSince(tick - options.electionTimeoutTicks)) continue;
    if (best === null || peer.matchIndex > best.matchIndex) best = peer;
  }
  return best;
}

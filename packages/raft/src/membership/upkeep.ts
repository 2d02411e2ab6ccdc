/**
 * What a leader does about the membership by itself: leaves a joint configuration, promotes
 * learners that have caught up, and goes when it has no vote any more.
 *
 * Every leader looks at the configuration in force, not at what it proposed, so a new leader
 * continues what an old one began, and a joint configuration is left exactly once: the entry that
 * leaves it puts another configuration in force.
 */
import type { ReplicaState } from '../replica-state.ts';
import { handOver } from '../transfer.ts';
import { tickCatchUps } from './catch-up.ts';
import { isJoint } from './change.ts';
import { settleFarewells, tickFarewells } from './farewell.ts';
import { proposeConf } from './propose-conf.ts';

/** Leader, once per tick. */
export function tickMembership(state: ReplicaState): void {
  if (!state.isLeader) return;
  tickCatchUps(state);
  tickFarewells(state);
  // What a transfer held up is taken up again, also in a group where nothing else moves.
  if (!state.isConfPending && isJoint(state.membership.conf)) state.isSettleDue = true;
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
  // The change that took this leader's vote is committed (thesis section 4.2.2). Everyone was just
  // told so, as replication is settled first; the best voter takes over without a timeout.
  if (!state.tracker.isSelfVoter) handOver(state, 'removed');
}

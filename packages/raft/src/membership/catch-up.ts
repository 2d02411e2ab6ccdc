/**
 * How a learner becomes a voter (thesis section 4.2.1). Replication to it goes in rounds: a round
 * ends when it holds everything the log held when the round began. A round shorter than an election
 * timeout shows that the learner would not hold the group up if its vote were needed now.
 *
 * The wish to promote is part of the configuration, so it outlives leaders; the rounds are not, and
 * start anew with each.
 */
import type { ConfState, LogIndex, NodeId } from '@holdfast/base';
import type { ReplicaState } from '../replica-state.ts';
import type { Progress } from '../tracker/progress.ts';
import type { ConfChange, ConfChangeStep } from './change.ts';
import { pendingReason, proposeConf } from './propose-conf.ts';

export interface CatchUp {
  /** The round under way; from 1. */
  readonly round: number;
  /** The round ends when the learner holds the log up to here. */
  readonly targetIndex: LogIndex;
  readonly startedTick: number;
  /** The last round was short enough, and the present one is not too long yet. */
  readonly isCaughtUp: boolean;
  /** Why a learner that has caught up was not promoted at the last try. */
  readonly blockedBy: string | null;
}

/** Leader, once per tick: measures every learner with a promotion; promotes one that is ready. */
export function tickCatchUps(state: ReplicaState): void {
  const { promotions } = state.membership.conf;
  for (const { nodeId, replaces } of promotions) {
    const learner = state.tracker.progress(nodeId);
    if (learner === undefined) continue;
    measure(state, learner);
    if (isReady(state, learner) && promote(state, learner, replaces)) return;
  }
}

function measure(state: ReplicaState, learner: Progress): void {
  const { options, outbox, tick } = state;
  const { catchUp, id: peer } = learner;
  if (catchUp === null) {
    startRound(state, learner, 1);
    return;
  }
  const { isCaughtUp, round, startedTick, targetIndex } = catchUp;
  const durationTicks = tick - startedTick;
  const isShort = durationTicks < options.electionTimeoutTicks;
  if (learner.matchIndex < targetIndex) {
    if (isCaughtUp && !isShort) learner.catchUp = { ...catchUp, isCaughtUp: false };
    return;
  }
  startRound(state, learner, round + (isCaughtUp ? 0 : 1), isShort);
  // Once caught up, only losing it again is news.
  if (isCaughtUp) return;
  outbox.event({ kind: 'learnerRound', peer, round, durationTicks, targetIndex });
  if (isShort) outbox.event({ kind: 'learnerCaughtUp', peer, round });
  else if (round % options.learnerRoundsMax === 0)
    outbox.event({ kind: 'catchUpSlow', peer, round });
}

function startRound(
  state: ReplicaState,
  learner: Progress,
  round: number,
  isCaughtUp = false,
): void {
  learner.catchUp = {
    round,
    targetIndex: state.log.lastIndex,
    startedTick: state.tick,
    isCaughtUp,
    blockedBy: learner.catchUp?.blockedBy ?? null,
  };
}

/** Whoever is not there now must not get a vote that is then missed. */
function isReady(state: ReplicaState, learner: Progress): boolean {
  const { options, tick } = state;
  return (
    learner.catchUp?.isCaughtUp === true &&
    learner.state === 'replicate' &&
    learner.hasAnsweredSince(tick - options.electionTimeoutTicks)
  );
}

function promote(state: ReplicaState, learner: Progress, replaces: NodeId | null): boolean {
  const change = promotionOf(state.membership.conf, learner.id, replaces);
  if (pendingReason(state, change) !== null) return false;
  const outcome = proposeConf(state, change);
  if (!outcome.ok && learner.catchUp !== null)
    learner.catchUp = { ...learner.catchUp, blockedBy: outcome.reason };
  return outcome.ok;
}

function promotionOf(conf: ConfState, nodeId: NodeId, replaces: NodeId | null): ConfChange {
  const steps: ConfChangeStep[] = [{ kind: 'promote', nodeId }];
  if (replaces !== null && conf.voters.includes(replaces))
    steps.push({ kind: 'remove', nodeId: replaces });
  return { steps };
}

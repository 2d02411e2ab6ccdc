/**
 * A leader whose disk has stopped keeps its authority with heartbeats while nothing it holds
 * becomes durable (etcd#13527, hashicorp/raft#614). When the oldest append has waited for
 * `diskStallTicks` it gives the leadership away; until the disk answers, this replica does not
 * campaign, and refuses proposals when it knows no leader to send them to.
 */
import { assert } from '@holdfast/base';
import type { ReplicaState } from './replica-state.ts';
import { handOver } from './transfer.ts';

/** At every tick. */
export function watchDisk(state: ReplicaState): void {
  if (!state.isDiskStalled) return;
  if (!state.isDiskStallKnown) {
    state.isDiskStallKnown = true;
    state.outbox.event({ kind: 'diskStalled', ticks: state.diskWaitingTicks });
  }
  if (state.isLeader) handOver(state, 'disk-stalled');
  assert(!state.isLeader, 'a leader with a stalled disk stays in office');
}

/** After every append that became durable. */
export function noteDiskRecovery(state: ReplicaState): void {
  if (!state.isDiskStallKnown || state.isDiskStalled) return;
  state.isDiskStallKnown = false;
  state.outbox.event({ kind: 'diskRecovered' });
}

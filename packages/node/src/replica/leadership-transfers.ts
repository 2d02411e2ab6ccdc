/**
 * Transfers of the leadership that were asked for here, until it is known how they ended. The core
 * gives up after one election timeout; then this replica leads on and takes writes again.
 */
import type { NodeId } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import type { RaftEvent, SoftState } from '@holdfast/raft';

export interface NewLeadership {
  readonly leader: NodeId;
  readonly term: number;
}

interface Waiter {
  readonly to: NodeId;
  readonly deadlineMs: number;
  readonly resolve: (leadership: NewLeadership) => void;
  readonly reject: (error: HoldfastError) => void;
}

export class LeadershipTransfers {
  #waiters: Waiter[] = [];

  whenEnded(to: NodeId, deadlineMs: number): Promise<NewLeadership> {
    return new Promise((resolve, reject) => {
      this.#waiters.push({ to, deadlineMs, resolve, reject });
    });
  }

  /** Another leader is known: whoever it is, the transfer is over. */
  onSoftState({ leader, role, term }: SoftState): void {
    if (leader === null || role === 'leader') return;
    for (const { to, resolve, reject } of this.#take(() => true)) {
      if (leader === to) resolve({ leader, term });
      else reject(failed(to, `${leader} leads now`));
    }
  }

  onEvent(event: RaftEvent): void {
    if (event.kind !== 'transferEnded') return;
    // The soft state says who leads then.
    if (event.outcome === 'completed' || event.outcome === 'superseded') return;
    for (const { to, reject } of this.#take((waiter) => waiter.to === event.to))
      reject(failed(to, event.outcome));
  }

  expire(nowMs: number): void {
    for (const { to, reject } of this.#take((waiter) => waiter.deadlineMs <= nowMs))
      reject(new HoldfastError('REQUEST_TIMEOUT', `${to} did not take over in time; ask again`));
  }

  abandon(error: HoldfastError): void {
    for (const { reject } of this.#take(() => true)) reject(error);
  }

  #take(isTaken: (waiter: Waiter) => boolean): readonly Waiter[] {
    const taken = this.#waiters.filter(isTaken);
    if (taken.length > 0) this.#waiters = this.#waiters.filter((waiter) => !taken.includes(waiter));
    return taken;
  }
}

const failed = (to: NodeId, how: string): HoldfastError =>
  new HoldfastError('TRANSFER_FAILED', `${to} did not take over the leadership: ${how}`, {
    details: { to },
  });

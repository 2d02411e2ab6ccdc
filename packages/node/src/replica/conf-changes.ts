/**
 * Configuration changes proposed here and not committed yet. The entry applied at the index of the
 * proposal decides: of the same term it is ours, else another leader replaced it. That holds
 * whether this replica still leads or not, so a leader that removed itself can still answer.
 */
import type { LogIndex, Term } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';

export interface CommittedChange {
  readonly index: LogIndex;
  readonly term: Term;
}

interface Waiter {
  readonly term: Term;
  readonly deadlineMs: number;
  readonly resolve: (committed: CommittedChange) => void;
  readonly reject: (error: HoldfastError) => void;
}

export class ConfChanges {
  /** By index; one change is pending at a time, so this stays tiny. */
  readonly #waiters = new Map<LogIndex, Waiter>();

  whenCommitted(change: CommittedChange, deadlineMs: number): Promise<CommittedChange> {
    return new Promise((resolve, reject) => {
      this.#waiters.get(change.index)?.reject(replaced());
      this.#waiters.set(change.index, { term: change.term, deadlineMs, resolve, reject });
    });
  }

  settle(entries: readonly CommittedChange[]): void {
    if (this.#waiters.size === 0) return;
    for (const { index, term } of entries) {
      const waiter = this.#waiters.get(index);
      if (waiter === undefined) continue;
      this.#waiters.delete(index);
      if (waiter.term === term) waiter.resolve({ index, term });
      else waiter.reject(replaced());
    }
  }

  expire(nowMs: number): void {
    for (const [index, { deadlineMs, reject }] of this.#waiters) {
      if (deadlineMs > nowMs) continue;
      this.#waiters.delete(index);
      reject(
        new HoldfastError(
          'REQUEST_TIMEOUT',
          'the change was proposed and not committed in time; it may still take effect: ask again',
        ),
      );
    }
  }

  abandon(error: HoldfastError): void {
    for (const { reject } of this.#waiters.values()) reject(error);
    this.#waiters.clear();
  }
}

const replaced = (): HoldfastError =>
  new HoldfastError('LEADERSHIP_LOST', 'another leader took over during the change; ask again');

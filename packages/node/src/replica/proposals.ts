/**
 * Writes under way on the leader: from propose until the entry at that index is applied.
 *
 * Outcome rule: the entry applied at the proposal's index has its term -> it is ours, answer with
 * its result; another term -> ours was replaced. Deposed in between -> nobody knows yet: the client
 * repeats the same (session, sequence), which takes effect at most once.
 */
import type { LogIndex, NodeId, Term } from '@holdfast/base';
import { HoldfastError, must } from '@holdfast/base';
import type { DropReason, ProposeOutcome } from '@holdfast/raft';
import type { ApplyResult } from '../state/apply-result.ts';
import type { AppliedEntry } from './applier.ts';

/** Writes waiting to be proposed or applied; over it the client is told to back off. */
export const PENDING_PROPOSAL_COUNT_MAX = 8_192;

/** What a write is, for whoever looks at what is under way. */
export interface ProposalOrigin {
  readonly kind: string;
  /** `session/sequence`: the same in every attempt of a client. Null: without a session. */
  readonly request: string | null;
}

/** A write under way. `waiting`: not in the log; `proposed`: at this place, not known committed. */
export interface OpenOperation extends ProposalOrigin {
  readonly state: 'waiting' | 'proposed' | 'committed';
  readonly index: LogIndex | null;
  readonly term: Term | null;
  /** 0 and less: its time is over, and it is about to be told so. */
  readonly remainingMs: number;
}

const NO_ORIGIN: ProposalOrigin = { kind: 'internal', request: null };

interface Proposal {
  readonly bytes: Uint8Array;
  readonly origin: ProposalOrigin;
  readonly deadlineMs: number;
  readonly resolve: (result: ApplyResult) => void;
  readonly reject: (error: HoldfastError) => void;
}

interface Proposed extends Proposal {
  readonly term: Term;
}

export class Proposals {
  #waiting: Proposal[] = [];
  readonly #proposed = new Map<LogIndex, Proposed>();

  get pendingCount(): number {
    return this.#waiting.length + this.#proposed.size;
  }

  /** The oldest first, as they are known to be in the log; at most `countMax`. */
  open(nowMs: number, commitIndex: number, countMax: number): readonly OpenOperation[] {
    const operations: OpenOperation[] = [];
    for (const [index, { deadlineMs, origin, term }] of this.#proposed) {
      if (operations.length >= countMax) return operations;
      const state = index <= commitIndex ? 'committed' : 'proposed';
      operations.push({ ...origin, state, index, term, remainingMs: deadlineMs - nowMs });
    }
    for (const { deadlineMs, origin } of this.#waiting) {
      if (operations.length >= countMax) return operations;
      const place = { index: null, term: null, remainingMs: deadlineMs - nowMs };
      operations.push({ ...origin, state: 'waiting', ...place });
    }
    return operations;
  }

  /** Rejects definitely when the queue is full, or when it never got proposed in time. */
  add(bytes: Uint8Array, deadlineMs: number, origin = NO_ORIGIN): Promise<ApplyResult> {
    if (this.pendingCount >= PENDING_PROPOSAL_COUNT_MAX) {
      return Promise.reject(
        new HoldfastError('OVERLOADED', 'too many writes are under way; retry after the delay', {
          details: { retryAfterMs: 50 },
        }),
      );
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ bytes, origin, deadlineMs, resolve, reject });
    });
  }

  /** Proposes everything that waits, as one batch. Called once per turn. */
  flush(propose: (payloads: readonly Uint8Array[]) => ProposeOutcome): void {
    if (this.#waiting.length === 0) return;
    const batch = this.#waiting;
    this.#waiting = [];
    const outcome = propose(batch.map((proposal) => proposal.bytes));
    if (!outcome.ok) {
      const error = dropError(outcome.drop, outcome.leader);
      for (const proposal of batch) proposal.reject(error);
      return;
    }
    batch.forEach((proposal, offset) => {
      const index = (outcome.index + offset) as LogIndex;
      // Deposed and elected again before anyone was told: the log uses the index a second time.
      this.#proposed.get(index)?.reject(leadershipLost());
      this.#proposed.set(index, { ...proposal, term: outcome.term });
    });
  }

  settle(entries: readonly AppliedEntry[]): void {
    if (this.#proposed.size === 0) return;
    for (const { index, term, slot } of entries) {
      const proposed = this.#proposed.get(index);
      if (proposed === undefined) continue;
      this.#proposed.delete(index);
      if (term === proposed.term)
        proposed.resolve(must(slot.result, 'an applied write has a result'));
      else proposed.reject(leadershipLost());
    }
  }

  /** Deposed, or a snapshot replaced the log: outcomes are unknown from here. */
  abandon(): void {
    for (const proposed of this.#proposed.values()) proposed.reject(leadershipLost());
    this.#proposed.clear();
  }

  /** Nothing that still waits here was proposed: a definite refusal. */
  refuseWaiting(error: HoldfastError): void {
    for (const proposal of this.#waiting) proposal.reject(error);
    this.#waiting = [];
  }

  expire(nowMs: number): void {
    for (const [index, proposed] of this.#proposed) {
      if (proposed.deadlineMs > nowMs) continue;
      this.#proposed.delete(index);
      proposed.reject(
        new HoldfastError(
          'REQUEST_TIMEOUT',
          'the write was proposed but not applied in time; it may still take effect: repeat it',
        ),
      );
    }
  }
}

export function dropError(drop: DropReason, leader: NodeId | null): HoldfastError {
  switch (drop) {
    case 'not-leader':
      return new HoldfastError('NOT_LEADER', 'this node is not the leader', {
        details: { leader: leader === null ? null : { nodeId: leader, address: null } },
      });
    case 'over-uncommitted':
    case 'too-many-reads':
      return new HoldfastError('OVERLOADED', `the leader refuses more for now: ${drop}`, {
        details: { retryAfterMs: 50 },
      });
    case 'too-large':
      return new HoldfastError('BATCH_TOO_LARGE', 'the write is larger than a log entry may be');
    case 'no-leader':
    case 'transferring':
    case 'conf-pending':
    case 'conf-invalid':
    case 'would-lose-quorum':
    case 'not-member':
    case 'disk-stalled':
      return new HoldfastError('NO_LEADER', `the group cannot take requests right now: ${drop}`, {
        details: { reason: drop },
      });
  }
}

function leadershipLost(): HoldfastError {
  return new HoldfastError(
    'LEADERSHIP_LOST',
    'this node was deposed while the write was under way; repeat the same request',
  );
}

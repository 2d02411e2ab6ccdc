/**
 * Linearizable and bounded-stale reads (ReadIndex, Raft thesis section 6.4).
 *
 * All linearizable reads of one turn share one ReadIndex request. A read may be served once the
 * state machine has applied the index that a quorum confirmed after the read began.
 *
 * Staleness of this replica = now minus the send time (own monotonic clock) of the newest
 * confirmed ReadIndex whose index is applied: the replica then knew everything committed at that
 * send time.
 */
import type { LogIndex } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import type { ReadOutcome, ReadState } from '@holdfast/raft';
import { dropError } from './proposals.ts';

/** Reads waiting for a confirmation or an apply; over it the client is told to back off. */
const WAITING_READ_COUNT_MAX = 16_384;

interface WaitingRead {
  readonly deadlineMs: number;
  readonly resolve: (index: LogIndex) => void;
  readonly reject: (error: HoldfastError) => void;
}

interface ReadRound {
  readonly startedMs: number;
  readonly reads: readonly WaitingRead[];
}

interface ConfirmedRound extends ReadRound {
  readonly index: LogIndex;
}

export class ReadGate {
  readonly #nowMs: () => number;
  readonly #rounds = new Map<number, ReadRound>();
  #next: WaitingRead[] = [];
  #isProbeWanted = false;
  #confirmed: ConfirmedRound[] = [];
  #waitingCount = 0;
  #knownThroughMs = Number.NEGATIVE_INFINITY;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Resolves when this replica may answer a read that began now. */
  linearizable(deadlineMs: number): Promise<LogIndex> {
    if (this.#waitingCount >= WAITING_READ_COUNT_MAX) {
      return Promise.reject(tooManyReads());
    }
    this.#waitingCount += 1;
    return new Promise((resolve, reject) => {
      this.#next.push({ deadlineMs, resolve, reject });
    });
  }

  /** Resolves when `index` is applied: for a read that needs no confirmation. */
  whenApplied(index: LogIndex, appliedIndex: LogIndex, deadlineMs: number): Promise<LogIndex> {
    if (index <= appliedIndex) return Promise.resolve(appliedIndex);
    if (this.#waitingCount >= WAITING_READ_COUNT_MAX) return Promise.reject(tooManyReads());
    this.#waitingCount += 1;
    return new Promise((resolve, reject) => {
      const reads = [{ deadlineMs, resolve, reject }];
      // It says nothing about the age of what this replica knows, so it is of no time.
      this.#confirmed.push({ startedMs: Number.NEGATIVE_INFINITY, reads, index });
    });
  }

  /** How far behind the newest confirmed state this replica can be. Infinity: nothing known. */
  stalenessMs(): number {
    return this.#nowMs() - this.#knownThroughMs;
  }

  /** Asks for a round in the next turn even without a read, to keep `stalenessMs` small. */
  probe(): void {
    this.#isProbeWanted = true;
  }

  /** Called once per turn: starts one round for everything that asked since the last. */
  flush(readIndex: () => ReadOutcome): void {
    if (this.#next.length === 0 && !this.#isProbeWanted) return;
    const reads = this.#next;
    this.#next = [];
    this.#isProbeWanted = false;
    const outcome = readIndex();
    if (outcome.ok) {
      this.#rounds.set(outcome.requestId, { startedMs: this.#nowMs(), reads });
    } else {
      this.#reject(reads, dropError(outcome.drop, outcome.leader));
    }
  }

  /** The core's answers to rounds. */
  onReadStates(states: readonly ReadState[], appliedIndex: LogIndex): void {
    for (const { requestId, outcome } of states) {
      const round = this.#rounds.get(requestId);
      if (round === undefined) continue;
      this.#rounds.delete(requestId);
      if (outcome.kind === 'ready') {
        this.#confirmed.push({ ...round, index: outcome.index });
      } else {
        this.#reject(
          round.reads,
          new HoldfastError('NO_LEADER', 'leadership changed during the read; ask again'),
        );
      }
    }
    this.onApplied(appliedIndex);
  }

  onApplied(appliedIndex: LogIndex): void {
    if (this.#confirmed.length === 0) return;
    const waiting: ConfirmedRound[] = [];
    for (const round of this.#confirmed) {
      if (round.index > appliedIndex) {
        waiting.push(round);
        continue;
      }
      this.#knownThroughMs = Math.max(this.#knownThroughMs, round.startedMs);
      this.#waitingCount -= round.reads.length;
      for (const read of round.reads) read.resolve(appliedIndex);
    }
    this.#confirmed = waiting;
  }

  expire(nowMs: number): void {
    this.#next = this.#expireReads(this.#next, nowMs);
    for (const [id, round] of this.#rounds) {
      const reads = this.#expireReads(round.reads, nowMs);
      // A round nobody waits for any more is forgotten, or lost ones would pile up.
      if (reads.length === 0 && nowMs - round.startedMs > 10_000) this.#rounds.delete(id);
      else this.#rounds.set(id, { ...round, reads });
    }
    this.#confirmed = this.#confirmed.map((round) => ({
      ...round,
      reads: this.#expireReads(round.reads, nowMs),
    }));
  }

  abandon(error: HoldfastError): void {
    this.#reject(this.#next, error);
    this.#next = [];
    for (const round of this.#rounds.values()) this.#reject(round.reads, error);
    this.#rounds.clear();
    for (const round of this.#confirmed) this.#reject(round.reads, error);
    this.#confirmed = [];
  }

  #expireReads(reads: readonly WaitingRead[], nowMs: number): WaitingRead[] {
    const live: WaitingRead[] = [];
    const late: WaitingRead[] = [];
    for (const read of reads) (read.deadlineMs > nowMs ? live : late).push(read);
    // Called at every tick: an error, with its stack, is made only for somebody.
    if (late.length > 0) this.#reject(late, tooLate());
    return live;
  }

  #reject(reads: readonly WaitingRead[], error: HoldfastError): void {
    this.#waitingCount -= reads.length;
    for (const read of reads) read.reject(error);
  }
}

const tooLate = (): HoldfastError =>
  new HoldfastError('REQUEST_TIMEOUT', 'the read was not confirmed in time');

const tooManyReads = (): HoldfastError =>
  new HoldfastError('OVERLOADED', 'too many reads are waiting; retry after the delay', {
    details: { retryAfterMs: 20 },
  });

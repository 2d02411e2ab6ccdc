/**
 * The steps of a failover as events, each with the time since the leader was missed here:
 * `detected` (this replica has lost its leader), `elected` (it leads itself), `announced` (it knows
 * who leads), `quorum` (the first entry of its term is committed), `resumed` (it serves clients).
 * A new leader goes through all five, the others through the first and `announced`.
 */
import type { LogIndex, NodeId, Term } from '@holdfast/base';
import type { SoftState } from '@holdfast/raft';

export type FailoverStep = 'detected' | 'elected' | 'announced' | 'quorum' | 'resumed';

export interface FailoverEvent {
  readonly step: FailoverStep;
  readonly term: Term;
  /** The lost one at `detected`, else the new one. */
  readonly leader: NodeId;
  /** Null when no leader was lost: the first election after a start. */
  readonly sinceDetectedMs: number | null;
}

export class FailoverTimeline {
  readonly #nowMs: () => number;
  readonly #emit: (event: FailoverEvent) => void;
  #leader: NodeId | null = null;
  #term = 0;
  #detectedAtMs: number | null = null;
  /** First entry of the own term while it is not committed. */
  #firstIndex: LogIndex | null = null;

  constructor(nowMs: () => number, emit: (event: FailoverEvent) => void) {
    this.#nowMs = nowMs;
    this.#emit = emit;
  }

  /** `firstIndex`: of the term this replica has begun to lead; null when it does not lead. */
  onSoftState({ leader, role, term }: SoftState, firstIndex: LogIndex | null): void {
    const before = this.#leader;
    const isNews = leader !== null && (leader !== before || term !== this.#term);
    if (before !== null && (leader === null || isNews)) this.#detected(before, term);
    this.#leader = leader;
    this.#term = term;
    if (role !== 'leader') this.#firstIndex = null;
    if (!isNews) return;
    if (role === 'leader') this.#tell('elected', term, leader);
    this.#tell('announced', term, leader);
    if (role === 'leader') this.#firstIndex = firstIndex;
    else this.#detectedAtMs = null;
  }

  onCommitted(index: LogIndex): void {
    const leader = this.#leader;
    if (this.#firstIndex === null || index < this.#firstIndex || leader === null) return;
    this.#firstIndex = null;
    this.#tell('quorum', this.#term as Term, leader);
  }

  /** The new leader has applied the first entry of its term. */
  onResumed(): void {
    if (this.#leader === null) return;
    this.#tell('resumed', this.#term as Term, this.#leader);
    this.#detectedAtMs = null;
  }

  #detected(leader: NodeId, term: Term): void {
    if (this.#detectedAtMs !== null) return;
    this.#detectedAtMs = this.#nowMs();
    this.#tell('detected', term, leader);
  }

  #tell(step: FailoverStep, term: Term, leader: NodeId): void {
    const detectedAtMs = this.#detectedAtMs;
    const sinceDetectedMs = detectedAtMs === null ? null : this.#nowMs() - detectedAtMs;
    this.#emit({ step, term, leader, sinceDetectedMs });
  }
}

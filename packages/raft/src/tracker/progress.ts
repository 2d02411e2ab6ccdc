/**
 * What the leader knows about one member.
 *
 * Invariants: matchIndex < nextIndex; matchIndex never falls within one leadership; the window
 * holds only indexes in (matchIndex, nextIndex).
 *
 * - probe: where the logs agree is unknown; one append, then wait for its answer or a heartbeat's.
 * - replicate: appends are pipelined optimistically within the window.
 * - snapshot: the entries it needs are compacted; nothing is sent until it holds the snapshot.
 */
import type { Incarnation, LogIndex, NodeId, SnapshotMeta } from '@holdfast/base';
import { assert } from '@holdfast/base';
import type { CatchUp } from '../membership/catch-up.ts';
import { Inflights } from './inflights.ts';

export type ProgressState = 'probe' | 'replicate' | 'snapshot';

export interface ProgressLimits {
  readonly inflightCountMax: number;
  readonly inflightSizeBytesMax: number;
}

export class Progress {
  readonly id: NodeId;
  readonly incarnation: Incarnation;
  readonly inflights: Inflights;
  state: ProgressState = 'probe';
  matchIndex = 0;
  nextIndex = 1;
  /** Probe only: an append is under way and unanswered. */
  isProbeSent = false;
  /** Send an append even without entries: it finds out whether the last ones arrived. */
  isEmptyAppendDue = false;
  /** Highest commit index this member was told and can have taken over. */
  sentCommit = 0;
  /** Snapshot only. */
  pendingSnapshot: SnapshotMeta | null = null;
  snapshotSentTick = 0;
  /** Leader's tick count when the member was last heard from in this leadership. */
  lastHeardTick = 0;
  /** It answered in this leadership; until then `lastHeardTick` is only a start of grace. */
  hasAnswered = false;
  /** Highest ReadIndex round it confirmed. */
  confirmedRound = 0;
  /** Learners with a promotion only: how it catches up. */
  catchUp: CatchUp | null = null;
  /** When the newest heartbeat was sent in answer to which it bound itself (lease.ts). */
  leaseSentAtMs = Number.NEGATIVE_INFINITY;

  constructor(id: NodeId, incarnation: Incarnation, limits: ProgressLimits) {
    this.id = id;
    this.incarnation = incarnation;
    this.inflights = new Inflights(limits.inflightCountMax, limits.inflightSizeBytesMax);
  }

  /** Start of a leadership (5.3): nothing is known, probing starts at the end of our log. */
  reset(lastIndex: LogIndex, tick: number): void {
    this.matchIndex = 0;
    this.#enter('probe');
    this.nextIndex = lastIndex + 1;
    this.sentCommit = 0;
    this.lastHeardTick = tick;
    this.hasAnswered = false;
    this.confirmedRound = 0;
    this.catchUp = null;
    this.leaseSentAtMs = Number.NEGATIVE_INFINITY;
  }

  /** Notes a sign of life. */
  heard(tick: number): void {
    this.lastHeardTick = tick;
    this.hasAnswered = true;
  }

  /** It really answered at or after `sinceTick`. */
  hasAnsweredSince(sinceTick: number): boolean {
    return this.hasAnswered && this.lastHeardTick >= sinceTick;
  }

  becomeProbe(): void {
    const snapshotIndex = this.pendingSnapshot?.index ?? 0;
    this.#enter('probe');
    this.nextIndex = Math.max(this.matchIndex, snapshotIndex) + 1;
    this.sentCommit = Math.min(this.sentCommit, this.matchIndex);
  }

  becomeReplicate(): void {
    this.#enter('replicate');
    this.nextIndex = this.matchIndex + 1;
    this.sentCommit = Math.min(this.sentCommit, this.matchIndex);
  }

  becomeSnapshot(meta: SnapshotMeta, tick: number): void {
    this.#enter('snapshot');
    this.pendingSnapshot = meta;
    this.snapshotSentTick = tick;
  }

  /** Takes an acknowledgement over; false when it says nothing new. */
  acknowledge(matchIndex: LogIndex): boolean {
    const isNews = matchIndex > this.matchIndex;
    if (isNews) this.matchIndex = matchIndex;
    if (this.nextIndex <= matchIndex) this.nextIndex = matchIndex + 1;
    return isNews;
  }

  /**
   * Takes a rejection over: steps back to just after `hintIndex`, never behind what matched.
   * False when the rejection answers an append that no longer matters (late or duplicated).
   */
  reject(rejectedIndex: LogIndex, hintIndex: number): boolean {
    if (this.state === 'replicate') {
      if (rejectedIndex <= this.matchIndex) return false;
      this.becomeProbe();
      return true;
    }
    if (this.state === 'snapshot' || this.nextIndex - 1 !== rejectedIndex) return false;
    this.nextIndex = Math.max(Math.min(rejectedIndex, hintIndex + 1), this.matchIndex + 1);
    this.isProbeSent = false;
    return true;
  }

  /** Notes that entries up to `lastIndex` left for this member. */
  sentEntries(lastIndex: LogIndex, sizeBytes: number): void {
    assert(this.state !== 'snapshot', 'progress: entries sent in snapshot state', { id: this.id });
    if (this.state === 'probe') return;
    this.nextIndex = lastIndex + 1;
    this.inflights.add(lastIndex, sizeBytes);
  }

  #enter(state: ProgressState): void {
    this.state = state;
    this.isProbeSent = false;
    this.isEmptyAppendDue = false;
    this.pendingSnapshot = null;
    this.inflights.reset();
  }
}

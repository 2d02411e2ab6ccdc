/**
 * What one peer is known to hold of a damaged range. Each answer stands for itself: it is tied to
 * the last entry the peer is known to hold, by naming it or by continuing it, and by the chain of
 * sums that entry proves everything before it. So answers of different moments never mix two states
 * of the peer's log.
 */
import type { LogIndex, Member, Term } from '@holdfast/base';
import { sumsEqual } from '@holdfast/base';
import type { RaftMessageBody } from '../messages.ts';
import type { CandidateEntries, CandidateEntry } from './candidate-entries.ts';

export type EntryAnswer = Extract<RaftMessageBody, { readonly kind: 'entryResponse' }>;

export type EvidenceState =
  /** It has not answered yet. */
  | 'unheard'
  /** It has more to tell. */
  | 'partial'
  /** Everything it holds of the range is known. */
  | 'complete'
  /** Its own log is damaged after what it has told: it may have held more. */
  | 'damaged'
  /** Its log begins after the start of the range: what lies before was committed. */
  | 'compacted';

/**
 * How an answer relates to what the peer said before. `void`: it has replaced or compacted that.
 * `untied`: it says nothing about that, so its end may be the end of another log. `diverged`: it
 * does not continue the intact part of the own log at all.
 */
type Tie = 'tied' | 'untied' | 'void' | 'diverged';

export class PeerEvidence {
  readonly member: Member;
  readonly #low: LogIndex;
  readonly #high: LogIndex;
  state: EvidenceState = 'unheard';
  /** The last entry of the range it holds; null when it holds none that is known. */
  tip: CandidateEntry | null = null;
  /** Of its newest answer, like everything below. */
  term = 0 as Term;
  isLeader = false;
  /** Asking again at once brings more; otherwise only time can. */
  hasMore = true;
  #firstIndex = 0 as LogIndex;
  /** The next request begins with the tip itself, so that even an empty log end is tied to it. */
  #asksTip = false;

  constructor(member: Member, low: LogIndex, high: LogIndex) {
    this.member = member;
    this.#low = low;
    this.#high = high;
  }

  /** The first index it is asked for next. */
  get nextLow(): LogIndex {
    if (this.tip === null) {
      return Math.max(this.#low, Math.min(this.#firstIndex, this.#high)) as LogIndex;
    }
    const { index } = this.tip.entry;
    return (this.#asksTip || index >= this.#high ? index : index + 1) as LogIndex;
  }

  get heldThrough(): number {
    return this.tip?.entry.index ?? this.#low - 1;
  }

  take(answer: EntryAnswer, term: Term, candidates: CandidateEntries): void {
    this.term = term;
    this.isLeader = answer.isLeader;
    this.hasMore = false;
    const wasFirstIndex = this.#firstIndex;
    this.#firstIndex = answer.firstIndex;
    const before = this.heldThrough;
    const ending = this.#follow(answer, candidates);
    if (ending === 'void') {
      this.tip = null;
      this.#asksTip = false;
      this.state = 'partial';
      this.hasMore = true;
      return;
    }
    const isAll =
      ending === 'diverged' || this.heldThrough >= Math.min(this.#high, answer.lastIndex);
    const isCompacted = answer.firstIndex > this.#low;
    const isTied = ending !== 'untied';
    // Compacted since it was asked: what is left is asked for once.
    const isMoved = isCompacted && wasFirstIndex !== answer.firstIndex;
    const isEnd = isAll || answer.isDamaged;
    const canGoOn = this.heldThrough > before || isMoved || (this.#asksTip && this.tip !== null);
    this.hasMore = isEnd ? !isTied && !answer.isDamaged : canGoOn && isTied;
    this.#asksTip = isEnd || !this.hasMore;
    if (isCompacted) this.state = 'compacted';
    else if (isAll && isTied) this.state = 'complete';
    else this.state = answer.isDamaged ? 'damaged' : 'partial';
  }

  #follow(answer: EntryAnswer, candidates: CandidateEntries): Tie {
    const [first] = answer.entries;
    if (this.tip !== null && answer.low === this.tip.entry.index) {
      if (first === undefined || !sumsEqual(first.sum, this.tip.entry.sum)) return 'void';
    } else if (this.tip !== null && first === undefined) {
      return 'untied';
    }
    for (const entry of answer.entries) {
      if (entry.index > this.#high) break;
      const candidate = candidates.add(entry);
      // Memory is full: nothing more is learnt, and nothing is concluded from that.
      if (candidate === 'full') return 'untied';
      if (candidate === 'disconnected') return this.#onDisconnected(entry.index);
      const isContinued = candidate === this.tip || candidate.previous === this.tip;
      if (this.tip !== null && !isContinued) return 'void';
      this.tip = candidate;
    }
    return 'tied';
  }

  /**
   * At the start of the range: the peer's log does not continue the intact part of the own log, so
   * it holds nothing of what the own log held from there on. Behind a compacted beginning: nobody
   * has supplied yet what it hangs on.
   */
  #onDisconnected(index: LogIndex): Tie {
    if (this.tip !== null) return 'void';
    return index === this.#low ? 'diverged' : 'untied';
  }
}

/**
 * The demo's own record of what the cluster promised: every acknowledged passage with the log index
 * of its write, and when each acknowledgement came. Checked against the cluster at the end.
 */
import type { Passage } from './passages.ts';

export interface LedgerEntry {
  readonly passage: Passage;
  /** Log index of the acknowledged write; the point's version must equal it. */
  readonly version: number;
}

export interface FoundPoint {
  readonly id: number;
  readonly version: number;
  readonly text: unknown;
}

export interface Audit {
  readonly checkedCount: number;
  readonly missingIds: readonly number[];
  /** Present, but with other text or another version than acknowledged. */
  readonly changedIds: readonly number[];
}

export class Ledger {
  readonly #entries = new Map<number, LedgerEntry>();
  readonly #acknowledgements: { readonly timeMs: number; readonly term: number }[] = [];

  acknowledge(
    passages: readonly Passage[],
    write: { readonly index: number; readonly term: number },
    nowMs: number,
  ): void {
    for (const passage of passages) {
      this.#entries.set(passage.id, { passage, version: write.index });
    }
    this.#acknowledgements.push({ timeMs: nowMs, term: write.term });
  }

  get size(): number {
    return this.#entries.size;
  }

  get ids(): readonly number[] {
    return [...this.#entries.keys()];
  }

  /**
   * From the last acknowledgement before the leader of `term` was killed to the first of a later
   * term; null without both. (Answers that the dead leader had already sent may still arrive after
   * the kill: they are no sign of life.)
   */
  failoverMs(killedMs: number, term: number): number | null {
    const before = this.#acknowledgements.findLast((one) => one.timeMs <= killedMs);
    const after = this.#acknowledgements.find((one) => one.term > term);
    return before === undefined || after === undefined ? null : after.timeMs - before.timeMs;
  }

  /** Compares everything acknowledged with everything read back. */
  audit(found: readonly FoundPoint[]): Audit {
    const foundById = new Map(found.map((point) => [point.id, point]));
    const missingIds: number[] = [];
    const changedIds: number[] = [];
    for (const [id, entry] of this.#entries) {
      const point = foundById.get(id);
      if (point === undefined) missingIds.push(id);
      else if (point.version !== entry.version || point.text !== entry.passage.text) {
        changedIds.push(id);
      }
    }
    return { checkedCount: this.#entries.size, missingIds, changedIds };
  }
}

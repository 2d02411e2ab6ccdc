/**
 * When a replica that is contradicted must stop. One claim that cannot be true may come from a
 * damaged frame or a hostile sender, and must not stop anybody. A log that really forked, or that
 * lost what it acknowledged, is contradicted again with every message of its leader: then what this
 * replica serves may be wrong, and it stops before it lies any longer.
 */
import type { NodeId } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import type { RaftEvent } from '@holdfast/raft';

type ContradictionSeen = RaftEvent & { readonly kind: 'contradictionSeen' };

/** A frame damaged on the way is a matter of chance; this many alike are none. */
const REPEAT_COUNT_MAX = 5;
/** A burst of copies of one frame ends within this. */
const SPAN_MS_MIN = 500;
/** Longer apart they are not the same trouble. */
const GAP_MS_MAX = 5_000;

interface Streak {
  readonly from: NodeId;
  readonly contradiction: ContradictionSeen['contradiction'];
  readonly firstMs: number;
  readonly lastMs: number;
  readonly count: number;
}

export class Contradictions {
  #streak: Streak | null = null;

  /** Why this replica must stop now, or null. Two leaders of one term accuse neither log. */
  note(event: ContradictionSeen, nowMs: number): HoldfastError | null {
    const { contradiction, from } = event;
    if (contradiction === 'second-leader') return null;
    const before = this.#streak;
    const goesOn =
      before !== null &&
      before.from === from &&
      before.contradiction === contradiction &&
      nowMs - before.lastMs <= GAP_MS_MAX;
    this.#streak = goesOn
      ? { ...before, lastMs: nowMs, count: before.count + 1 }
      : { from, contradiction, firstMs: nowMs, lastMs: nowMs, count: 1 };
    const { count, firstMs } = this.#streak;
    if (count < REPEAT_COUNT_MAX || nowMs - firstMs < SPAN_MS_MIN) return null;
    return new HoldfastError(
      'LOG_FORKED',
      `${from} contradicts the log of this node again and again (${contradiction}): keep its ` +
        'directory aside and start it on an empty one, so that it comes back from the others',
      { details: { from, contradiction, count } },
    );
  }
}

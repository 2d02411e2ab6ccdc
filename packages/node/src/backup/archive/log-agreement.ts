/**
 * Whether the archive and the log of this node have the same entries, and the memory of where they
 * had not. An entry that was compacted here is not compared, which is right for an archive that
 * nothing spoke against; one that was seen to contradict must not become good because the log that
 * showed it is gone. So the object that contradicted is looked at again, by its hash.
 */
import type { HoldfastError, LogIndex } from '@holdfast/base';
import { sumsEqual, toHoldfastError } from '@holdfast/base';
import type { ChainPoint } from '@holdfast/storage';
import { archiveCorrupt, checkFollows, startOfTimeline } from '@holdfast/storage';
import type { ArchiveStore, LogObject } from './archive-store.ts';
import { endOf, linkOf } from './archive-store.ts';
import type { CommittedLog } from './committed-log.ts';

/** Where a statement of the archive stands. */
export interface Witness {
  /** Of the object under `log/`; null: the object of the timeline. */
  readonly firstIndex: LogIndex | null;
  /** Of the chain, at the end of the object. */
  readonly hash: Uint8Array;
}

interface Contradiction {
  readonly witness: Witness;
  /** What it says of an entry; null: it does not continue the archive. */
  readonly claim: { readonly index: LogIndex; readonly sum: Uint8Array } | null;
  readonly error: HoldfastError;
}

export class LogAgreement {
  readonly #log: Pick<CommittedLog, 'sumAt'>;
  readonly #store: ArchiveStore;
  #contradiction: Contradiction | null = null;

  constructor(log: Pick<CommittedLog, 'sumAt'>, store: ArchiveStore) {
    this.#log = log;
    this.#store = store;
  }

  /**
   * `witness` says that entry `index`, committed here, has this chain sum.
   * @throws HoldfastError BACKUP_CORRUPT when the log has another entry there
   */
  check(witness: Witness, index: LogIndex, sum: Uint8Array): void {
    const own = this.#log.sumAt(index);
    if (own === null || sumsEqual(own, sum)) return;
    const what =
      'the archive has another entry there than the log of this node, and both are committed';
    const error = archiveCorrupt(`the archive in ${this.#store.sinkName}`, index, what);
    this.#contradiction = { witness, claim: { index, sum }, error };
    throw error;
  }

  /** @throws HoldfastError BACKUP_CORRUPT when `object` does not continue the archive at `end` */
  checkFollows(object: LogObject, end: ChainPoint): void {
    const link = linkOf(object);
    const { firstIndex } = link;
    try {
      checkFollows(link, end, this.#store.logKey(firstIndex));
    } catch (thrown) {
      const witness = { firstIndex, hash: endOf(object).hash };
      this.#contradiction = { witness, claim: null, error: toHoldfastError(thrown) };
      throw thrown;
    }
  }

  /**
   * What contradicted was removed or replaced, or the log is shown to agree with it after all.
   * @throws HoldfastError the same again; BACKUP_CORRUPT (it cannot be read), SINK_*
   */
  async checkAgain(): Promise<void> {
    const known = this.#contradiction;
    if (known === null) return;
    const { claim } = known;
    const own = claim === null ? null : this.#log.sumAt(claim.index);
    const isAgreed = claim !== null && own !== null && sumsEqual(own, claim.sum);
    if (!isAgreed && (await this.#isThere(known.witness))) throw known.error;
    this.#contradiction = null;
  }

  async #isThere({ firstIndex, hash }: Witness): Promise<boolean> {
    if (firstIndex === null) {
      const timeline = await this.#store.readTimeline();
      return timeline !== null && sumsEqual(startOfTimeline(timeline).hash, hash);
    }
    const object = await this.#store.readLogObject(firstIndex);
    return object !== null && sumsEqual(endOf(object).hash, hash);
  }
}

/** What a client of a simulated cluster does with filters: reads, deletes, and payload indexes. */
import type { SeededRandom } from '@holdfast/base';
import { HoldfastError, toHoldfastError } from '@holdfast/base';
import type { Collection } from '@holdfast/client';
import type { Filter, StoredPoint } from '@holdfast/protocol';
import { GROUP_COUNT, groupOf } from './filter-deletes.ts';
import type { SimHistory } from './sim-history.ts';

/** Under this key the payload of a point names the group of its value. */
const GROUP_KEY = 'group';
export const payloadOf = (value: number) => ({ [GROUP_KEY]: groupOf(value) });

const filterOf = (group: number): Filter => ({
  must: [{ key: GROUP_KEY, match: { value: group } }],
});

export interface SimFiltersParts {
  readonly history: SimHistory;
  readonly random: SeededRandom;
  readonly keyCount: number;
  readonly collection: () => Collection;
  readonly note: (words: string) => void;
  readonly seenOf: (
    points: readonly StoredPoint[],
  ) => ReadonlyMap<number, { readonly version: number; readonly value: number }>;
}

export class SimFilters {
  readonly #parts: SimFiltersParts;
  readonly #keys: readonly number[];

  constructor(parts: SimFiltersParts) {
    this.#parts = parts;
    this.#keys = Array.from({ length: parts.keyCount }, (_, key) => key);
  }

  /** One of them, drawn by chance. */
  async operate(): Promise<void> {
    const group = this.#parts.random.nextBelow(GROUP_COUNT);
    const dice = this.#parts.random.nextBelow(8);
    if (dice < 2) await this.#delete(group);
    else if (dice < 4) await this.#search(group);
    else if (dice < 6) await this.#scroll(group);
    else if (dice < 7) await this.#count(group);
    else await this.#changeIndex();
  }

  async #delete(group: number): Promise<void> {
    const { collection, history, note } = this.#parts;
    const one = history.startFilterDelete(group, this.#keys);
    try {
      const { deletedCount, index } = await collection().deleteByFilter(filterOf(group));
      history.filterDeleted(one, index, deletedCount);
      note(`delete of group ${group}: ${deletedCount} at ${index}`);
    } catch (thrown) {
      const { code, definite } = expected(thrown);
      history.filterDeleteFailed(one, this.#keys, definite);
      note(`delete of group ${group}: ${code}${definite ? '' : ', outcome unknown'}`);
    }
  }

  #search(group: number): Promise<void> {
    const { collection, keyCount } = this.#parts;
    return this.#read(group, async () => {
      const options = { k: keyCount, withVector: true, filter: filterOf(group) } as const;
      const { hits, appliedIndex } = await collection().search([0], options);
      return { points: hits, appliedIndex };
    });
  }

  #scroll(group: number): Promise<void> {
    const { collection } = this.#parts;
    return this.#read(group, () =>
      collection().scroll({ filter: filterOf(group), withVector: true }),
    );
  }

  async #read(
    group: number,
    ask: () => Promise<{ readonly points: readonly StoredPoint[]; readonly appliedIndex: number }>,
  ): Promise<void> {
    const { history, note, seenOf } = this.#parts;
    const read = history.startRead(this.#keys, true, group);
    try {
      const { points, appliedIndex } = await ask();
      history.readAnswered(read, appliedIndex, seenOf(points));
      note(`read of group ${group} at ${appliedIndex}: ${points.length} points`);
    } catch (thrown) {
      history.readFailed(read);
      note(`read of group ${group}: ${expected(thrown).code}`);
    }
  }

  async #count(group: number): Promise<void> {
    const { collection, history, note } = this.#parts;
    const floorIndex = history.toldIndex;
    try {
      const { count, appliedIndex } = await collection().count({ filter: filterOf(group) });
      history.countAnswered(floorIndex, appliedIndex, count, group);
      note(`count of group ${group}: ${count} at ${appliedIndex}`);
    } catch (thrown) {
      note(`count of group ${group}: ${expected(thrown).code}`);
    }
  }

  /** An index makes answers faster and must change none. */
  async #changeIndex(): Promise<void> {
    const { collection, note, random } = this.#parts;
    const isNew = random.nextBelow(3) > 0;
    try {
      if (isNew) await collection().createPayloadIndex(GROUP_KEY, 'integer');
      else await collection().dropPayloadIndex(GROUP_KEY);
      note(`payload index ${isNew ? 'created' : 'dropped'}`);
    } catch (thrown) {
      note(`payload index: ${expected(thrown).code}`);
    }
  }
}

/** A refusal of the product; anything else is a bug of the product or of the simulator. */
export function expected(thrown: unknown): HoldfastError {
  if (thrown instanceof HoldfastError) return toHoldfastError(thrown);
  throw thrown;
}

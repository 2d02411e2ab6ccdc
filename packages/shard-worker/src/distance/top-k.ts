/**
 * The k best of a stream of rows: a heap with the worst on top. Order is (key ascending, then id
 * order), a total order, so the result does not depend on the order rows are offered in.
 */

export interface RankedRow {
  readonly key: number;
  readonly row: number;
}

export class TopK {
  readonly #capacity: number;
  readonly #compareRows: (left: number, right: number) => number;
  readonly #keys: Float64Array;
  readonly #rows: Uint32Array;
  #size = 0;

  /** `compareRows` decides ties. Keys must not be NaN. */
  constructor(capacity: number, compareRows: (left: number, right: number) => number) {
    this.#capacity = capacity;
    this.#compareRows = compareRows;
    this.#keys = new Float64Array(capacity);
    this.#rows = new Uint32Array(capacity);
  }

  get size(): number {
    return this.#size;
  }

  /** Keys above this cannot enter: a cheap test before `offer`. */
  get worstKey(): number {
    return this.#size < this.#capacity ? Number.POSITIVE_INFINITY : this.#keys[0]!;
  }

  offer(key: number, row: number): void {
    if (this.#size < this.#capacity) {
      this.#siftUp(key, row);
      return;
    }
    if (this.#capacity > 0 && this.#isWorse(this.#keys[0]!, this.#rows[0]!, key, row))
      this.#siftDown(key, row);
  }

  clear(): void {
    this.#size = 0;
  }

  /** Best first; the heap is empty afterwards. */
  drain(): RankedRow[] {
    const ranked: RankedRow[] = [];
    for (let i = 0; i < this.#size; i++) ranked.push({ key: this.#keys[i]!, row: this.#rows[i]! });
    this.#size = 0;
    return ranked.sort((a, b) =>
      a.key === b.key ? this.#compareRows(a.row, b.row) : a.key - b.key,
    );
  }

  #isWorse(leftKey: number, leftRow: number, rightKey: number, rightRow: number): boolean {
    if (leftKey !== rightKey) return leftKey > rightKey;
    return this.#compareRows(leftRow, rightRow) > 0;
  }

  #siftUp(key: number, row: number): void {
    let at = this.#size;
    this.#size += 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#isWorse(key, row, this.#keys[parent]!, this.#rows[parent]!)) break;
      this.#keys[at] = this.#keys[parent]!;
      this.#rows[at] = this.#rows[parent]!;
      at = parent;
    }
    this.#keys[at] = key;
    this.#rows[at] = row;
  }

  #siftDown(key: number, row: number): void {
    const keys = this.#keys;
    const rows = this.#rows;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= this.#size) break;
      const right = child + 1;
      if (
        right < this.#size &&
        this.#isWorse(keys[right]!, rows[right]!, keys[child]!, rows[child]!)
      )
        child = right;
      if (!this.#isWorse(keys[child]!, rows[child]!, key, row)) break;
      keys[at] = keys[child]!;
      rows[at] = rows[child]!;
      at = child;
    }
    keys[at] = key;
    rows[at] = row;
  }
}

/**
 * keyword and bool: value -> rows that hold it. Rows enter in ascending order. A dead row stays in
 * its list until half of the list is dead, so a death costs no search; lists are read through the
 * live flags anyway.
 */
import { assert } from '@holdfast/base';
import { ROW_GONE } from '../segment/sealed-segment.ts';
import type { FilterValue, KeyCondition } from './filter.ts';
import type { RowBitmap } from './row-bitmap.ts';
import type { EncodedPath } from './scan.ts';
import { endOfValue, someValue } from './scan.ts';
import { isNull, isNumber, isScalar, isText, tokenOf, tokenOfValue } from './token.ts';
import type { Liveness, ValueIndex } from './value-index.ts';

/**
 * Filters compare with texts of at most 1,024 characters, of which none has more than six bytes in
 * canonical JSON, quotes aside. A longer text can match nothing, so it is not kept.
 */
const TOKEN_SIZE_BYTES_MAX = 1_024 * 6 + 2;
/** A list with fewer dead rows is left alone. */
const DEAD_COUNT_MIN = 8;
/** Of a map entry and its string, and of a list with its array: measured to the next ten. */
const ENTRY_SIZE_BYTES = 80;
const LIST_SIZE_BYTES = 160;

class RowList {
  rows = new Uint32Array(4);
  length = 0;
  deadCount = 0;

  push(row: number): void {
    if (this.length === this.rows.length) {
      const rows = new Uint32Array(this.length * 2);
      rows.set(this.rows);
      this.rows = rows;
    }
    this.rows[this.length] = row;
    this.length += 1;
  }

  /** `newRowOf` null: rows keep their numbers. */
  dropDead(isLive: Liveness, newRowOf: Uint32Array | null): void {
    let kept = 0;
    for (let i = 0; i < this.length; i++) {
      const row = newRowOf === null ? this.rows[i]! : newRowOf[this.rows[i]!]!;
      if (row === ROW_GONE || !isLive(row)) continue;
      this.rows[kept] = row;
      kept += 1;
    }
    this.rows = this.rows.slice(0, Math.max(4, kept));
    this.length = kept;
    this.deadCount = 0;
  }
}

export class TokenIndex implements ValueIndex {
  readonly #path: EncodedPath;
  readonly #valueType: 'string' | 'boolean';
  readonly #isLive: Liveness;
  /** A value that one row holds is that row alone: unique keys would cost three times as much. */
  readonly #lists = new Map<string, RowList | number>();
  #sizeBytes = 0;

  constructor(path: EncodedPath, valueType: 'string' | 'boolean', isLive: Liveness) {
    this.#path = path;
    this.#valueType = valueType;
    this.#isLive = isLive;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  add(payload: Uint8Array, row: number): void {
    for (const token of this.#tokensOf(payload)) this.#addToken(token, row);
  }

  remove(payload: Uint8Array, row: number): void {
    for (const token of this.#tokensOf(payload)) this.#removeToken(token, row);
  }

  renumber(newRowOf: Uint32Array): void {
    const isLive = this.#isLive;
    for (const [token, list] of this.#lists) {
      if (typeof list === 'number') {
        const row = newRowOf[list]!;
        if (row === ROW_GONE || !isLive(row)) this.#forget(token, 0);
        else this.#lists.set(token, row);
        continue;
      }
      const before = list.rows.byteLength;
      list.dropDead(isLive, newRowOf);
      this.#sizeBytes += list.rows.byteLength - before;
      if (list.length === 0) this.#forget(token, LIST_SIZE_BYTES + list.rows.byteLength);
    }
  }

  canAnswer(condition: KeyCondition): boolean {
    const values = valuesOf(condition);
    return values?.every((value) => typeof value === this.#valueType) ?? false;
  }

  estimate(condition: KeyCondition): number {
    let count = 0;
    for (const list of this.#listsOf(condition))
      count += typeof list === 'number' ? 1 : list.length - list.deadCount;
    return count;
  }

  collect(condition: KeyCondition, into: RowBitmap): void {
    const isLive = this.#isLive;
    for (const list of this.#listsOf(condition)) {
      if (typeof list === 'number') {
        if (isLive(list)) into.add(list);
        continue;
      }
      const { rows, length, deadCount } = list;
      for (let i = 0; i < length; i++) if (deadCount === 0 || isLive(rows[i]!)) into.add(rows[i]!);
    }
  }

  *#listsOf(condition: KeyCondition): Generator<RowList | number, void, undefined> {
    for (const value of new Set(valuesOf(condition))) {
      const list = this.#lists.get(tokenOfValue(value));
      if (list !== undefined) yield list;
    }
  }

  #addToken(token: string, row: number): void {
    const list = this.#lists.get(token);
    if (list === undefined) {
      this.#lists.set(token, row);
      this.#sizeBytes += ENTRY_SIZE_BYTES + token.length;
    } else if (typeof list === 'number') {
      const both = new RowList();
      both.push(list);
      both.push(row);
      this.#lists.set(token, both);
      this.#sizeBytes += LIST_SIZE_BYTES + both.rows.byteLength;
    } else {
      const before = list.rows.byteLength;
      list.push(row);
      this.#sizeBytes += list.rows.byteLength - before;
    }
  }

  #removeToken(token: string, row: number): void {
    const list = this.#lists.get(token);
    assert(list !== undefined, 'a row that dies is in the list of its value', { row });
    if (typeof list === 'number') {
      assert(list === row, 'the only row of a value is the one that dies', { list, row });
      this.#forget(token, 0);
      return;
    }
    list.deadCount += 1;
    if (list.deadCount === list.length) this.#forget(token, LIST_SIZE_BYTES + list.rows.byteLength);
    else if (list.deadCount >= DEAD_COUNT_MIN && list.deadCount * 2 > list.length) {
      const before = list.rows.byteLength;
      list.dropDead(this.#isLive, null);
      this.#sizeBytes += list.rows.byteLength - before;
    }
  }

  #forget(token: string, listSizeBytes: number): void {
    this.#lists.delete(token);
    this.#sizeBytes -= ENTRY_SIZE_BYTES + token.length + listSizeBytes;
  }

  /** The different values of a row, once each. */
  #tokensOf(payload: Uint8Array): Iterable<string> {
    const tokens: string[] = [];
    const isOurs = this.#valueType === 'string' ? isText : isBoolean;
    someValue(payload, this.#path, (bytes, start) => {
      if (!isOurs(bytes, start)) return false;
      const end = endOfValue(bytes, start);
      if (end - start <= TOKEN_SIZE_BYTES_MAX) tokens.push(tokenOf(bytes, start, end));
      return false;
    });
    return tokens.length > 1 ? new Set(tokens) : tokens;
  }
}

const isBoolean = (bytes: Uint8Array, start: number): boolean =>
  isScalar(bytes, start) &&
  !isText(bytes, start) &&
  !isNull(bytes, start) &&
  !isNumber(bytes, start);

/** The values of which one must be there; null when the condition is of another sort. */
export function valuesOf(condition: KeyCondition): readonly FilterValue[] | null {
  if (!('match' in condition)) return null;
  const { match } = condition;
  if ('value' in match) return [match.value];
  return 'any' in match ? match.any : null;
}

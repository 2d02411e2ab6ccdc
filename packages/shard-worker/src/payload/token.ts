/**
 * Scalars of a payload where they stand: as a token (a string of their canonical bytes, equal
 * exactly when the values are) or as a number. No text is unescaped, no object is made.
 */
import { INSTANT_LENGTH_MAX, INSTANT_LENGTH_MIN, parseInstant } from '@holdfast/base';
import type { FilterValue } from './filter.ts';
import { endOfValue, OPEN_ARRAY, OPEN_OBJECT, QUOTE } from './scan.ts';

const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;
const LETTER_N = 0x6e;
/** `dddd-` begins every RFC 3339 time. */
const DASH_OFFSET = 5;
/** Whole numbers of so many digits are exact when they are summed up digit by digit. */
const PLAIN_DIGIT_COUNT_MAX = 15;

const UTF8 = new TextEncoder();

/** Canonical bytes of a scalar: what `hasBytesAt` compares. */
export const encodeScalar = (value: FilterValue): Uint8Array =>
  UTF8.encode(JSON.stringify(value === 0 ? 0 : value));

export const isScalar = (bytes: Uint8Array, start: number): boolean =>
  bytes[start] !== OPEN_ARRAY && bytes[start] !== OPEN_OBJECT;
export const isText = (bytes: Uint8Array, start: number): boolean => bytes[start] === QUOTE;
export const isNull = (bytes: Uint8Array, start: number): boolean => bytes[start] === LETTER_N;
export function isNumber(bytes: Uint8Array, start: number): boolean {
  const first = bytes[start]!;
  return first === MINUS || (first >= ZERO && first <= NINE);
}

/** The bytes from `start` to `end` as a string of equal length. */
export function tokenOf(bytes: Uint8Array, start: number, end: number): string {
  if (end - start > 64) {
    return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1');
  }
  let token = '';
  for (let at = start; at < end; at++) token += String.fromCharCode(bytes[at]!);
  return token;
}

/** The token that a value in a payload would have. */
export function tokenOfValue(value: FilterValue): string {
  const bytes = encodeScalar(value);
  return tokenOf(bytes, 0, bytes.length);
}

export const scalarToken = (bytes: Uint8Array, start: number): string =>
  tokenOf(bytes, start, endOfValue(bytes, start));

/** The number that begins at `start`, null when it is none. */
export function numberAt(bytes: Uint8Array, start: number): number | null {
  if (!isNumber(bytes, start)) return null;
  const isNegative = bytes[start] === MINUS;
  const first = isNegative ? start + 1 : start;
  const end = endOfValue(bytes, start);
  if (end - first > PLAIN_DIGIT_COUNT_MAX) return Number(tokenOf(bytes, start, end));
  let value = 0;
  for (let at = first; at < end; at++) {
    const digit = bytes[at]! - ZERO;
    if (digit < 0 || digit > 9) return Number(tokenOf(bytes, start, end));
    value = value * 10 + digit;
  }
  return isNegative ? -value : value;
}

/** Microseconds of the RFC 3339 time that begins at `start`, null when it is none. */
export function instantAt(bytes: Uint8Array, start: number): number | null {
  // Most texts leave here: no time has letters where the dash is.
  if (bytes[start] !== QUOTE || bytes[start + DASH_OFFSET] !== MINUS) return null;
  const end = endOfValue(bytes, start);
  const length = end - start - 2;
  if (length < INSTANT_LENGTH_MIN || length > INSTANT_LENGTH_MAX) return null;
  return parseInstant(tokenOf(bytes, start + 1, end - 1));
}

/**
 * Finds values inside canonical payload bytes without decoding them. Canonical JSON has no spaces
 * and one spelling per value (protocol/payload.ts), so equal keys are equal bytes, and so are equal
 * texts, numbers and booleans: most conditions compare bytes and make no object.
 *
 * The bytes come from our own log and files, whose sums were checked: malformed ones are a bug.
 */
import { assert, must, parseKeyPath } from '@holdfast/base';

/** The keys of a path as they stand in canonical bytes, each with its quotes and colon. */
export type EncodedPath = readonly Uint8Array[];

/**
 * Told where a value begins; `bytes[start]` says what it is. True ends the walk. Arrays are told
 * first as themselves, then element by element.
 */
export type ValueVisitor = (bytes: Uint8Array, start: number) => boolean;

export const QUOTE = 0x22;
export const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
export const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;

const UTF8 = new TextEncoder();

/** The path was validated at the edge. */
export function encodePath(path: string): EncodedPath {
  const keys = must(parseKeyPath(path), 'a key path is valid');
  return keys.map((key) => UTF8.encode(`${JSON.stringify(key)}:`));
}

/** True as soon as `visit` says so of a value that `path` leads to. */
export function someValue(bytes: Uint8Array, path: EncodedPath, visit: ValueVisitor): boolean {
  assert(bytes[0] === OPEN_OBJECT, 'a payload is a JSON object');
  return walk(bytes, 0, path, 0, visit);
}

function walk(
  bytes: Uint8Array,
  start: number,
  path: EncodedPath,
  depth: number,
  visit: ValueVisitor,
): boolean {
  const first = bytes[start];
  if (depth === path.length && visit(bytes, start)) return true;
  if (first === OPEN_ARRAY) return walkElements(bytes, start, path, depth, visit);
  if (first !== OPEN_OBJECT || depth === path.length) return false;
  const value = findKey(bytes, start, path[depth]!);
  return value !== -1 && walk(bytes, value, path, depth + 1, visit);
}

/** An array stands for each of its elements, at the end of a path and inside it. */
function walkElements(
  bytes: Uint8Array,
  start: number,
  path: EncodedPath,
  depth: number,
  visit: ValueVisitor,
): boolean {
  let at = start + 1;
  if (bytes[at] === CLOSE_ARRAY) return false;
  for (;;) {
    if (walk(bytes, at, path, depth, visit)) return true;
    at = endOfValue(bytes, at);
    if (bytes[at] === CLOSE_ARRAY) return false;
    assert(bytes[at] === COMMA, 'payload: a comma between elements', { at });
    at += 1;
  }
}

/** Where the value of `key` begins in the object at `start`, -1 when it has none. */
function findKey(bytes: Uint8Array, start: number, key: Uint8Array): number {
  let at = start + 1;
  if (bytes[at] === CLOSE_OBJECT) return -1;
  for (;;) {
    if (hasBytesAt(bytes, at, key)) return at + key.length;
    // The key, its colon, its value.
    at = endOfValue(bytes, endOfText(bytes, at) + 1);
    if (bytes[at] === CLOSE_OBJECT) return -1;
    assert(bytes[at] === COMMA, 'payload: a comma between members', { at });
    at += 1;
  }
}

export function hasBytesAt(bytes: Uint8Array, at: number, expected: Uint8Array): boolean {
  for (let i = 0; i < expected.length; i++) if (bytes[at + i] !== expected[i]) return false;
  return true;
}

/** The position behind the value that begins at `start`. */
export function endOfValue(bytes: Uint8Array, start: number): number {
  const first = bytes[start];
  if (first === QUOTE) return endOfText(bytes, start);
  if (first !== OPEN_ARRAY && first !== OPEN_OBJECT) return endOfWord(bytes, start);
  let depth = 0;
  for (let at = start; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === QUOTE) at = endOfText(bytes, at) - 1;
    else if (byte === OPEN_ARRAY || byte === OPEN_OBJECT) depth += 1;
    else if (byte === CLOSE_ARRAY || byte === CLOSE_OBJECT) {
      depth -= 1;
      if (depth === 0) return at + 1;
    }
  }
  assert(false, 'payload: an array or object has an end', { start });
}

/** Behind the closing quote of the text whose opening quote is at `start`. */
function endOfText(bytes: Uint8Array, start: number): number {
  assert(bytes[start] === QUOTE, 'payload: a text begins with a quote', { start });
  for (let at = start + 1; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === BACKSLASH) at += 1;
    else if (byte === QUOTE) return at + 1;
  }
  assert(false, 'payload: a text has an end', { start });
}

/** Of a number, true, false or null. */
function endOfWord(bytes: Uint8Array, start: number): number {
  for (let at = start; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === COMMA || byte === CLOSE_ARRAY || byte === CLOSE_OBJECT) return at;
  }
  assert(false, 'payload: a value has an end', { start });
}

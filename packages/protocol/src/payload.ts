/**
 * A payload is a JSON object. Its canonical bytes (keys sorted by UTF-16 code unit, no spaces, -0
 * as 0, shortest number form) are made once, by the receiving server, before the write is
 * proposed, so that every replica stores equal bytes. What JSON cannot say exactly is refused,
 * never dropped.
 */
import type { Brand } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import { z } from 'zod';
import { PAYLOAD_DEPTH_MAX, PAYLOAD_SIZE_BYTES_MAX } from './limits.ts';

export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue };
export type JsonObject = { readonly [key: string]: JsonValue };

/** UTF-8 of canonical JSON. Never mutated. */
export type CanonicalPayload = Brand<Uint8Array, 'CanonicalPayload'>;

export const payloadSchema = z
  .record(z.string(), z.unknown())
  .describe(
    `JSON object of at most ${PAYLOAD_DEPTH_MAX} levels and ${PAYLOAD_SIZE_BYTES_MAX} bytes.`,
  );

const UTF8 = new TextEncoder();
const UTF8_DECODER = new TextDecoder('utf-8', { fatal: true });
const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * The canonical bytes of `value`.
 * @throws HoldfastError PAYLOAD_INVALID naming the path inside the payload
 */
export function canonicalPayload(value: unknown, path = 'payload'): CanonicalPayload {
  if (!isPlainObject(value)) throw refuse(path, 'must be a JSON object');
  const budget: Budget = { charsLeft: PAYLOAD_SIZE_BYTES_MAX };
  const text = writeObject(value, path, 1, budget);
  const bytes = UTF8.encode(text);
  if (bytes.byteLength > PAYLOAD_SIZE_BYTES_MAX) throw tooLarge(path);
  return bytes as CanonicalPayload;
}

/** The object behind canonical bytes. */
export function parsePayload(bytes: Uint8Array): JsonObject {
  return JSON.parse(UTF8_DECODER.decode(bytes)) as JsonObject;
}

/** Lower bound of the bytes that may still come: stops a huge or shared structure early. */
interface Budget {
  charsLeft: number;
}

function writeValue(value: unknown, path: string, depth: number, budget: Budget): string {
  switch (typeof value) {
    case 'string':
      return spend(writeText(value, path), path, budget);
    case 'number':
      if (!Number.isFinite(value)) throw refuse(path, 'must be a finite number');
      return spend(value === 0 ? '0' : JSON.stringify(value), path, budget);
    case 'boolean':
      return spend(value ? 'true' : 'false', path, budget);
    case 'object':
      if (value === null) return spend('null', path, budget);
      if (Array.isArray(value)) return writeArray(value, path, depth + 1, budget);
      if (isPlainObject(value)) return writeObject(value, path, depth + 1, budget);
      throw refuse(path, 'must be plain JSON; dates, bytes and class instances are not');
    default:
      throw refuse(path, `must be JSON, which has no ${typeof value}; leave the key out`);
  }
}

function writeArray(
  items: readonly unknown[],
  path: string,
  depth: number,
  budget: Budget,
): string {
  refuseDepth(depth, path);
  spend('[]', path, budget);
  const parts: string[] = [];
  for (let i = 0; i < items.length; i++) {
    if (i > 0) spend(',', path, budget);
    parts.push(writeValue(items[i], `${path}[${i}]`, depth, budget));
  }
  return `[${parts.join(',')}]`;
}

function writeObject(
  object: Readonly<Record<string, unknown>>,
  path: string,
  depth: number,
  budget: Budget,
): string {
  refuseDepth(depth, path);
  spend('{}', path, budget);
  const parts: string[] = [];
  for (const key of Object.keys(object).sort()) {
    if (parts.length > 0) spend(',', path, budget);
    const name = spend(`${writeText(key, path)}:`, path, budget);
    parts.push(name + writeValue(object[key], `${path}.${key}`, depth, budget));
  }
  return `{${parts.join(',')}}`;
}

function writeText(text: string, path: string): string {
  if (text.length > PAYLOAD_SIZE_BYTES_MAX) throw tooLarge(path);
  if (LONE_SURROGATE.test(text)) throw refuse(path, 'must be text without lone surrogates');
  return JSON.stringify(text);
}

function spend(text: string, path: string, budget: Budget): string {
  budget.charsLeft -= text.length;
  if (budget.charsLeft < 0) throw tooLarge(path);
  return text;
}

function refuseDepth(depth: number, path: string): void {
  if (depth > PAYLOAD_DEPTH_MAX) {
    throw refuse(clip(path), `is nested deeper than ${PAYLOAD_DEPTH_MAX} levels; flatten it`);
  }
}

function isPlainObject(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === null || prototype === Object.prototype) return true;
  // A plain object of another realm (a vm context).
  const isRealmRoot = typeof prototype === 'object' && Object.getPrototypeOf(prototype) === null;
  return isRealmRoot && Object.hasOwn(prototype, 'isPrototypeOf');
}

/** A path may hold long keys; an error text must stay short. */
const clip = (path: string): string => (path.length <= 200 ? path : `${path.slice(0, 200)}...`);

const tooLarge = (path: string): HoldfastError =>
  refuse(path, `makes the payload larger than ${PAYLOAD_SIZE_BYTES_MAX} bytes; store less in it`);

function refuse(path: string, what: string): HoldfastError {
  return new HoldfastError('PAYLOAD_INVALID', `${clip(path)}: ${what}`, {
    details: { path: clip(path) },
  });
}

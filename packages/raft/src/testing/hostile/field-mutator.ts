/**
 * Changes one field of a message to something a broken or hostile sender might put there. The
 * result has the shape of a message but need not be one: that is for the receiver to find out.
 */
import type { Entry, Random } from '@holdfast/base';
import type { RaftMessage } from '../../messages.ts';
import { chained } from './plausible-message.ts';

/** Edges of what the fields hold, and values that no codec would let through. */
const NUMBERS = [
  0,
  1,
  2,
  0xffff_ffff,
  2 ** 32,
  2 ** 52,
  2 ** 52 + 1,
  Number.MAX_SAFE_INTEGER - 1,
  Number.MAX_SAFE_INTEGER,
  2 ** 60,
  -1,
  1.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
];

const TEXTS = ['', 'a', 'b', 'c', 'z', '0'.repeat(32), 'f'.repeat(32), 'x'.repeat(300)];

export function mutateField(message: RaftMessage, random: Random): RaftMessage {
  return mutateObject(message, random) as RaftMessage;
}

const below = (random: Random, bound: number): number => random.nextBelow(bound);

const pick = <Item>(random: Random, items: readonly Item[]): Item =>
  items[random.nextBelow(items.length)]!;

/** A copy of `value` with one property, however deep, replaced. */
function mutateObject(value: object, random: Random): object {
  const key = pick(random, Object.keys(value));
  const before = (value as Readonly<Record<string, unknown>>)[key];
  if (key === 'kind') return value;
  return { ...value, [key]: mutateValue(before, random) };
}

function mutateValue(value: unknown, random: Random): unknown {
  if (typeof value === 'number') return mutateNumber(value, random);
  if (typeof value === 'boolean') return !value;
  if (typeof value === 'string') return pick(random, TEXTS);
  if (value === null) return below(random, 2) === 0 ? below(random, 10) : pick(random, TEXTS);
  if (value instanceof Uint8Array) return mutateBytes(value, random);
  if (Array.isArray(value)) return mutateList(value, random);
  return typeof value === 'object' && Object.keys(value).length > 0
    ? mutateObject(value, random)
    : value;
}

function mutateNumber(value: number, random: Random): number {
  const way = below(random, 4);
  if (way === 0) return value + 1;
  if (way === 1) return Math.max(0, value - 1);
  if (way === 2) return below(random, 40);
  return pick(random, NUMBERS);
}

/** Flips, cuts, extends or replaces. Never in place. */
export function mutateBytes(bytes: Uint8Array, random: Random): Uint8Array {
  const way = below(random, 6);
  if (way === 0) return bytes.slice(0, below(random, bytes.byteLength + 1));
  const copy = new Uint8Array(bytes.byteLength + (way === 1 ? 1 + below(random, 4) : 0));
  copy.set(bytes);
  if (copy.byteLength === 0) return copy;
  const at = below(random, copy.byteLength);
  if (way === 2) copy.fill(pick(random, [0, 1, 0x7f, 0xff]), at, at + 8);
  else copy[at] = copy[at]! ^ (1 << below(random, 8));
  return copy;
}

function mutateList(list: readonly unknown[], random: Random): readonly unknown[] {
  const copy = [...list];
  if (copy.length === 0) return [below(random, 2) === 0 ? 'a' : { kind: 'none' }].slice(1);
  const at = below(random, copy.length);
  switch (below(random, 5)) {
    case 0:
      copy.splice(at, 1);
      break;
    case 1:
      copy.push(copy[at]);
      break;
    case 2:
      copy.reverse();
      break;
    case 3:
      copy[at] = mutateValue(copy[at], random);
      break;
    default:
      // Entries that are wrong in themselves and rightly chained all the same.
      copy[at] = mutateValue(copy[at], random);
      return isEntries(copy) ? chained(copy, random) : copy;
  }
  return copy;
}

const isEntries = (list: readonly unknown[]): list is readonly Entry[] =>
  list.every(
    (item) =>
      typeof item === 'object' &&
      item !== null &&
      'sum' in item &&
      'data' in item &&
      item.data instanceof Uint8Array,
  );

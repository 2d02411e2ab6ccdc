/** Payloads and filters drawn from few keys and few values, so that conditions hold often. */
import fc from 'fast-check';
import type { Filter, FilterCondition } from '../src/payload/filter.ts';

const TEXTS = ['red', 'blue', 'rot "\\ und blau', 'größe', '\u{1f3a8}\n', '', '5', 'true', 'null'];
const NUMBERS = [0, 1, -1, 5, 2.5, -2.5, 1e21, 5e-7, 55, 123456789012345680000, 2 ** 53];
const TIMES = [
  '2024-01-01T00:00:00Z',
  '2024-01-01T01:00:00+01:00',
  '2024-06-01T12:30:00.500Z',
  '1999-12-31T23:59:59-05:00',
];
const KEYS = ['a', 'b', 'c.d', 'größe', 'x"y', 'a\\'];
export const PATHS = ['a', 'b', 'c\\.d', 'größe', 'x"y', 'a\\\\', 'a.b', 'b.a', 'a.a.b', 'b.c\\.d'];

const scalar = fc.oneof(
  fc.constantFrom(...TEXTS, ...NUMBERS, ...TIMES, true, false, null),
  fc.string({ maxLength: 3 }),
);
const value: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof(
    { weight: 6, arbitrary: scalar },
    { weight: 2, arbitrary: fc.array(tie('value'), { maxLength: 3 }) },
    { weight: 2, arbitrary: fc.dictionary(fc.constantFrom(...KEYS), tie('value'), { maxKeys: 3 }) },
  ),
})).value;

const key = fc.oneof(fc.constantFrom('a', 'b'), fc.constantFrom(...KEYS));

/** JSON objects. */
export const payload = fc.dictionary(key, value, { maxKeys: 4 });

const compared = fc.constantFrom<(string | number | boolean)[]>(
  ...TEXTS,
  ...NUMBERS,
  ...TIMES,
  true,
  false,
);
const bounds = (bound: fc.Arbitrary<number | string>) =>
  fc
    .record({ gt: bound, gte: bound, lt: bound, lte: bound }, { requiredKeys: [] })
    .filter((range) => Object.keys(range).length > 0);
/** Short ones often: a condition on a path that leads nowhere tells little. */
const path = fc.oneof(fc.constantFrom('a', 'b'), fc.constantFrom(...PATHS));

const list = <Value>(each: fc.Arbitrary<Value>, maxLength: number) =>
  fc.array(each, { minLength: 1, maxLength });

/** `ids` are those that `has_id` draws from. */
export function filters(ids: readonly (number | string)[], keys = path): fc.Arbitrary<Filter> {
  const keyed = fc.oneof(
    fc.record({
      match: fc.oneof(
        fc.record({ value: compared }),
        fc.record({ any: fc.array(compared, { maxLength: 12 }) }),
        fc.record({ except: fc.array(compared, { maxLength: 12 }) }),
      ),
    }),
    fc.record({ range: bounds(fc.constantFrom(...NUMBERS)) }),
    fc.record({ range: bounds(fc.constantFrom(...TIMES)) }),
    fc.record({ exists: fc.boolean() }),
    fc.record({ is_null: fc.boolean() }),
  );
  return fc.letrec<{ filter: Filter; condition: FilterCondition }>((tie) => ({
    condition: fc.oneof(
      {
        weight: 7,
        arbitrary: fc
          .tuple(keys, keyed)
          .map(([key, test]) => ({ key, ...test }) as FilterCondition),
      },
      {
        weight: 1,
        arbitrary: fc.record({ has_id: fc.array(fc.constantFrom(...ids), { maxLength: 5 }) }),
      },
      { weight: 1, arbitrary: tie('filter') },
    ),
    filter: fc
      .record(
        {
          must: list(tie('condition'), 2),
          should: list(tie('condition'), 3),
          must_not: list(tie('condition'), 1),
        },
        { requiredKeys: [] },
      )
      .map((filter) =>
        Object.keys(filter).length > 0 ? filter : { must: [{ key: 'a', exists: true }] },
      ),
  })).filter as fc.Arbitrary<Filter>;
}

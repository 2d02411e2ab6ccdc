/**
 * Goal: a filter over payload bytes means what it means over decoded payloads, for any payload and
 * any filter. Method: the byte scanner against the plain model.
 */
import { InvariantViolation } from '@holdfast/base';
import fc from 'fast-check';
import t from 'tap';
import type { Filter } from '../src/payload/filter.ts';
import { compileFilter } from '../src/payload/predicate.ts';
import { matchesFilter } from '../src/testing/filter-oracle.ts';
import { filters, payload } from './filter-harness.ts';

const ID = 7;

/** As the server does: keys sorted, -0 as 0. Enough of it for payloads without odd numbers. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value === 0 ? 0 : value);
  const members = Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1));
  return `{${members.map(([key, each]) => `${JSON.stringify(key)}:${canonical(each)}`).join(',')}}`;
}

function matches(filter: Filter, object: unknown): boolean {
  const bytes = object === null ? null : new TextEncoder().encode(canonical(object));
  return compileFilter(filter, (ids) => () => ids.includes(ID))(bytes, 0);
}

t.test('a filter over bytes means what it means over decoded payloads', async (t) => {
  let heldCount = 0;
  fc.assert(
    fc.property(payload, filters([ID, 8, 9]), (object, filter) => {
      const expected = matchesFilter(filter, { id: ID, payload: canonical(object) });
      heldCount += expected ? 1 : 0;
      return matches(filter, object) === expected;
    }),
    { numRuns: 10_000 },
  );
  t.ok(heldCount > 1_000 && heldCount < 9_000, `both answers are reached: ${heldCount} held`);
});

const one = (key: string, test: object): Filter => ({ must: [{ key, ...test } as never] });

t.test('values of another sort are never equal, and no text is read as a number', async (t) => {
  t.ok(matches(one('n', { match: { value: 5 } }), { n: 5.0 }));
  t.notOk(matches(one('n', { match: { value: 5 } }), { n: '5' }));
  t.notOk(matches(one('n', { match: { value: 5 } }), { n: 55 }), 'nor the beginning of another');
  t.notOk(matches(one('n', { range: { gte: 1 } }), { n: '5' }));
  t.notOk(matches(one('n', { match: { value: true } }), { n: 'true' }));
  t.ok(matches(one('n', { match: { value: -0 } }), { n: 0 }));
});

t.test('bounds are open or closed as they say, and the tighter of two counts', async (t) => {
  const inside = (range: object) => [4, 5, 6, 7].filter((n) => matches(one('n', { range }), { n }));
  t.same(inside({ gt: 5 }), [6, 7]);
  t.same(inside({ gte: 5 }), [5, 6, 7]);
  t.same(inside({ lt: 6 }), [4, 5]);
  t.same(inside({ lte: 6 }), [4, 5, 6]);
  t.same(inside({ gt: 5, gte: 5 }), [6, 7]);
  t.same(inside({ gt: 4, gte: 6 }), [6, 7]);
  t.same(inside({ lt: 6, lte: 6 }), [4, 5]);
  t.same(inside({ lt: 7, lte: 5 }), [4, 5]);
  t.same(inside({ gt: 6, lt: 5 }), []);
});

t.test('an array stands for its elements, in a path and at its end', async (t) => {
  const cities = { cities: [{ name: 'Bonn', tags: ['a', ['b']] }, { name: 'Ulm' }] };
  t.ok(matches(one('cities.name', { match: { value: 'Ulm' } }), cities));
  t.ok(matches(one('cities.tags', { match: { value: 'b' } }), cities));
  t.ok(matches(one('cities.name', { match: { except: ['Ulm'] } }), cities), 'Bonn is another');
  t.notOk(
    matches(one('n', { range: { gt: 3, lt: 7 } }), { n: [1, 9] }),
    'no one element is inside',
  );
  t.ok(matches(one('n', { range: { gt: 3, lt: 7 } }), { n: [1, 5] }));
  t.notOk(matches(one('n.0', { exists: true }), { n: [1] }), 'a position is no key');
});

t.test('what is missing, null and empty', async (t) => {
  const rows: readonly (readonly [object | null, boolean, boolean])[] = [
    [null, false, false],
    [{}, false, false],
    [{ k: null }, true, true],
    [{ k: [] }, true, false],
    [{ k: [null] }, true, true],
    [{ k: {} }, true, false],
    [{ k: 0 }, true, false],
  ];
  for (const [object, exists, isNull] of rows) {
    const label = JSON.stringify(object);
    t.equal(matches(one('k', { exists: true }), object), exists, `${label} exists`);
    t.equal(matches(one('k', { exists: false }), object), !exists, `${label} does not exist`);
    t.equal(matches(one('k', { is_null: true }), object), isNull, `${label} is null`);
    t.equal(matches(one('k', { is_null: false }), object), !isNull, `${label} is not null`);
    t.notOk(matches(one('k', { match: { except: [0] } }), object), `${label}: nothing to differ`);
  }
});

t.test('times compare as times whatever their offset, and only with times', async (t) => {
  const during = one('at', { range: { gte: '2024-05-01T00:00:00Z', lt: '2024-05-02T00:00:00Z' } });
  t.ok(matches(during, { at: '2024-05-01T23:30:00+00:00' }));
  t.ok(matches(during, { at: '2024-05-02T01:30:00+02:00' }), 'still the first of May in UTC');
  t.notOk(matches(during, { at: '2024-05-02T00:00:00Z' }));
  t.notOk(matches(during, { at: '2024-05-01' }), 'a date alone is no time');
  t.notOk(matches(during, { at: 1714564800 }));
});

t.test('long lists tell values apart that begin alike', async (t) => {
  const any = Array.from({ length: 20 }, (_, i) => `v${i}`);
  t.ok(matches(one('k', { match: { any } }), { k: 'v19' }));
  t.notOk(matches(one('k', { match: { any } }), { k: 'v190' }));
  t.notOk(matches(one('k', { match: { any } }), { k: { v1: 1 } }));
});

t.test('bytes that are no canonical payload are a bug and assert, they never hang', async (t) => {
  const test = compileFilter(one('a', { match: { value: 1 } }), () => () => false);
  for (const text of ['', '[', '{"b"', '{"b":', '{"b":1', '{"b":"', '{"b":[1', '{"b":[}'])
    t.throws(() => test(new TextEncoder().encode(text), 0), InvariantViolation, text);
});

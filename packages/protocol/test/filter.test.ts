/** Goal: a good filter passes as it is, a bad one is refused by the name of its clause. */
import { HoldfastError } from '@holdfast/base';
import t from 'tap';
import { decodeUp, encodeUp } from '../src/codec.ts';
import type { Filter } from '../src/filter.ts';
import { checkFilter } from '../src/filter.ts';
import {
  FILTER_CLAUSE_COUNT_MAX,
  FILTER_DEPTH_MAX,
  FILTER_KEY_LENGTH_MAX,
  FILTER_LIST_LENGTH_MAX,
  FILTER_TEXT_LENGTH_MAX,
} from '../src/limits.ts';

const EVERYTHING: Filter = {
  must: [
    { key: 'a.b', match: { value: 'x' } },
    { key: 'n', range: { gt: 1, lte: 5 } },
    { key: 'at', range: { gte: '2024-01-01T00:00:00Z' } },
    { has_id: [1, '0fffffff-0000-4000-8000-00000000000f'] },
  ],
  should: [
    { key: 'a', match: { any: [1, 'x', true] } },
    { key: 'a', match: { except: [] } },
    { must_not: [{ key: 'c\\.d', exists: false }] },
  ],
  must_not: [{ key: 'a', is_null: true }],
};

t.test('a filter that uses everything survives the wire as it is', async (t) => {
  t.same(checkFilter(EVERYTHING), EVERYTHING);
  const requests = [
    { id: 1, kind: 'search', collection: 'c', vector: new Float32Array([1]), k: 3 },
    { id: 1, kind: 'count', collection: 'c' },
    { id: 1, kind: 'scroll', collection: 'c' },
    { id: 1, kind: 'deleteByFilter', collection: 'c' },
  ] as const;
  for (const request of requests) {
    const decoded = decodeUp(encodeUp({ ...request, filter: EVERYTHING }));
    t.match(decoded, { kind: request.kind, filter: EVERYTHING });
  }
});

t.test('what was checked is a copy, with ids in lower case and nothing undefined', async (t) => {
  const ids = ['0FFFFFFF-0000-4000-8000-00000000000F'];
  const filter = { must: [{ has_id: ids }], should: undefined };
  const checked = checkFilter(filter);
  ids[0] = 'changed';
  t.same(checked, { must: [{ has_id: ['0fffffff-0000-4000-8000-00000000000f'] }] });
  t.notOk('should' in checked);
});

const must = (condition: unknown) => ({ must: [condition] });
const nested = (depth: number): unknown =>
  depth === 1 ? must({ key: 'a', exists: true }) : must(nested(depth - 1));
const many = (count: number) => Array.from({ length: count }, () => 1);
const exists = { key: 'a', exists: true };

const BAD: readonly (readonly [unknown, string])[] = [
  ['a = 1', 'filter'],
  [[], 'filter'],
  [{}, 'filter'],
  [{ must: [] }, 'filter.must'],
  [{ must: exists }, 'filter.must'],
  [{ mustNot: [exists] }, 'filter'],
  [{ must: [exists, 5] }, 'filter.must[1]'],
  [must({}), 'filter.must[0]'],
  [must({ key: 'a' }), 'filter.must[0]'],
  [must({ key: 'a', exists: true, is_null: true }), 'filter.must[0]'],
  [must({ key: 'a', exists: true, value: 1 }), 'filter.must[0]'],
  [must({ key: '', exists: true }), 'filter.must[0].key'],
  [must({ key: 'a..b', exists: true }), 'filter.must[0].key'],
  [must({ key: 5, exists: true }), 'filter.must[0].key'],
  [must({ key: 'k'.repeat(FILTER_KEY_LENGTH_MAX + 1), exists: true }), 'filter.must[0].key'],
  [must({ key: 'a', exists: 'yes' }), 'filter.must[0].exists'],
  [must({ key: 'a', is_null: 1 }), 'filter.must[0].is_null'],
  [must({ key: 'a', match: 'x' }), 'filter.must[0].match'],
  [must({ key: 'a', match: {} }), 'filter.must[0].match'],
  [must({ key: 'a', match: { value: 1, any: [] } }), 'filter.must[0].match'],
  [must({ key: 'a', match: { text: 'x' } }), 'filter.must[0].match'],
  [must({ key: 'a', match: { value: null } }), 'filter.must[0].match.value'],
  [must({ key: 'a', match: { value: Number.NaN } }), 'filter.must[0].match.value'],
  [must({ key: 'a', match: { any: 'x' } }), 'filter.must[0].match.any'],
  [must({ key: 'a', match: { except: ['x', {}] } }), 'filter.must[0].match.except[1]'],
  [
    must({ key: 'a', match: { any: many(FILTER_LIST_LENGTH_MAX + 1) } }),
    'filter.must[0].match.any',
  ],
  [
    must({ key: 'a', match: { value: 'x'.repeat(FILTER_TEXT_LENGTH_MAX + 1) } }),
    'filter.must[0].match.value',
  ],
  [must({ key: 'a', range: {} }), 'filter.must[0].range'],
  [must({ key: 'a', range: { above: 1 } }), 'filter.must[0].range'],
  [must({ key: 'a', range: { gte: 'soon' } }), 'filter.must[0].range.gte'],
  [must({ key: 'a', range: { lt: '2024-01-01' } }), 'filter.must[0].range.lt'],
  [must({ key: 'a', range: { gt: 1, lt: '2024-01-01T00:00:00Z' } }), 'filter.must[0].range'],
  [must({ has_id: 1 }), 'filter.must[0].has_id'],
  [must({ has_id: [1, -1] }), 'filter.must[0].has_id[1]'],
  [must({ has_id: [1], key: 'a' }), 'filter.must[0]'],
  [
    { should: [must({ must_not: [{ key: 'a', range: { gt: [] } }] })] },
    'filter.should[0].must[0].must_not[0].range.gt',
  ],
  [nested(FILTER_DEPTH_MAX + 1), `filter${'.must[0]'.repeat(FILTER_DEPTH_MAX)}`],
  [{ must: many(FILTER_CLAUSE_COUNT_MAX + 1).map(() => exists) }, 'filter.must'],
  [must({ must: many(FILTER_CLAUSE_COUNT_MAX).map(() => exists) }), 'filter.must[0].must'],
];

t.test('a bad filter is refused by the name of its clause', async (t) => {
  for (const [filter, path] of BAD) {
    const label = JSON.stringify(filter).slice(0, 80);
    try {
      checkFilter(filter);
      t.fail(`taken: ${label}`);
    } catch (thrown) {
      if (!(thrown instanceof HoldfastError)) throw thrown;
      t.match(thrown, { code: 'FILTER_INVALID', details: { path } }, label);
      t.ok(thrown.message.startsWith(`${path}: `) && thrown.message.length < 300, thrown.message);
    }
  }
});

t.test('at its limits a filter is taken', async (t) => {
  t.ok(checkFilter(nested(FILTER_DEPTH_MAX) as Filter));
  t.ok(checkFilter({ must: many(FILTER_CLAUSE_COUNT_MAX).map(() => exists) }));
  t.ok(checkFilter(must({ key: 'a', match: { any: many(FILTER_LIST_LENGTH_MAX) } })));
  t.ok(checkFilter(must({ key: 'k'.repeat(FILTER_KEY_LENGTH_MAX), exists: true })));
});

t.test('a bad filter on the wire is answered to its request', async (t) => {
  for (const kind of ['count', 'scroll', 'deleteByFilter', 'search']) {
    const frame = encodeUp({
      ...{ id: 9, kind, collection: 'c', filter: { must: [{ key: 'a' }] } },
      ...(kind === 'search' ? { vector: new Float32Array([1]), k: 1 } : {}),
    } as never);
    t.throws(() => decodeUp(frame), {
      code: 'FILTER_INVALID',
      details: { path: 'filter.must[0]', requestId: 9 },
    });
  }
});

/** The schemas as documentation: they agree with the hand-written validators, and are versioned. */
import { createHash } from 'node:crypto';
import { HoldfastError } from '@holdfast/base';
import fc from 'fast-check';
import t from 'tap';
import { publicSchemas, toPublicJsonSchema } from '../src/schemas.ts';
import { checkUp, REQUEST_KINDS } from '../src/up.ts';
import { negotiateVersion, PROTOCOL_VERSION, SCHEMA_HASH } from '../src/version.ts';

const pages = Object.entries(publicSchemas).map(([name, { direction, schema }]) => ({
  name,
  direction,
  schema: toPublicJsonSchema(schema),
}));

t.test('a changed message asks for a new protocol version', async (t) => {
  const hash = createHash('sha256').update(JSON.stringify(pages)).digest('hex').slice(0, 16);
  t.equal(
    hash,
    SCHEMA_HASH,
    `public messages changed: raise PROTOCOL_VERSION (now ${PROTOCOL_VERSION}), add a line to ` +
      `its history, and set SCHEMA_HASH to '${hash}' in packages/protocol/src/version.ts. Before ` +
      'the first release, and when only a description changed, set the hash alone.',
  );
});

t.test('every request and its result are documented', async (t) => {
  for (const kind of REQUEST_KINDS) {
    t.ok(publicSchemas[kind], kind);
    t.ok(publicSchemas[`${kind}Result`], `${kind}Result`);
  }
  for (const [name, { description }] of Object.entries(publicSchemas)) t.ok(description, name);
});

t.test('the newest common version is chosen', async (t) => {
  t.equal(negotiateVersion([PROTOCOL_VERSION, 99]), PROTOCOL_VERSION);
  t.equal(negotiateVersion([99]), null);
});

/** Mostly good, so that whole messages are good often enough. */
const mostly = <Value>(good: fc.Arbitrary<Value>, ...bad: unknown[]): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 24, arbitrary: good }, { weight: 1, arbitrary: fc.constantFrom(...bad) });
const id = mostly(fc.oneof(fc.nat(), fc.uuid()), -1, 1.5, 2 ** 53, 'no-uuid', null);
const component = fc.float({ noNaN: true, noDefaultInfinity: true });
const vector = mostly(
  fc.array(component, { minLength: 1, maxLength: 4 }).map((each) => new Float32Array(each)),
  'no vector',
  7,
);
const flag = mostly(fc.boolean(), 1, 'true');
const small = mostly(fc.integer({ min: 1, max: 5 }), 0, -1, 2.5, '3');
const point = fc.record(
  {
    id,
    vector,
    payload: mostly(fc.dictionary(fc.string(), fc.integer()), 'text', 3),
    ifVersion: small,
    ifAbsent: flag,
    extra: fc.constant(1),
  },
  { requiredKeys: ['id', 'vector'] },
);
const upsertPoint = fc.tuple(point, fc.nat(9)).map(([each, dice]) => {
  const { extra, ifVersion, ...rest } = each;
  if (dice === 0) return each;
  return dice < 6 || ifVersion === undefined
    ? rest
    : { id: rest.id, vector: rest.vector, ifVersion };
});
const deletePoint = fc.record({ id, ifVersion: small }, { requiredKeys: ['id'] });
const fields = fc.record(
  {
    kind: fc.constantFrom('upsert', 'delete', 'get', 'search', 'count', 'scroll'),
    id: mostly(fc.nat(), -1, 2 ** 32, 'x'),
    timeoutMs: mostly(fc.integer({ min: 1, max: 600_000 }), 0, 600_001),
    session: mostly(
      fc.record({ id: small, sequence: fc.constant(6), ackedThrough: small }),
      { id: 1, sequence: 2, ackedThrough: 2 },
      { id: 1, sequence: 2 },
    ),
    collection: mostly(fc.constantFrom('docs', 'a.b'), '', '-x', 5),
    uid: small,
    points: fc.array(upsertPoint, { maxLength: 3 }),
    ids: fc.array(id, { maxLength: 3 }),
    vector,
    k: small,
    ef: small,
    exact: flag,
    withVector: flag,
    withPayload: flag,
    filter: mostly(
      fc.constantFrom(
        { must: [{ key: 'a', match: { value: 1 } }] },
        { should: [{ has_id: [1, 2] }] },
      ),
      {},
      { must: [] },
      'a = 1',
    ),
    after: id,
    limit: small,
    consistency: mostly(fc.constantFrom('linearizable', 'lease', 'stale'), 'strong'),
    maxStalenessMs: small,
  },
  { requiredKeys: ['kind', 'id', 'collection', 'points', 'ids', 'vector', 'k'] },
);
const deletes = fc.array(deletePoint, { maxLength: 3 });
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  upsert: ['points', 'session', 'uid'],
  delete: ['points', 'session'],
  get: ['ids', 'consistency', 'maxStalenessMs', 'withVector', 'withPayload'],
  search: [
    'vector',
    'k',
    'ef',
    'exact',
    'filter',
    'consistency',
    'maxStalenessMs',
    'withVector',
    'withPayload',
  ],
  count: ['filter', 'consistency', 'maxStalenessMs'],
  scroll: [
    'filter',
    'after',
    'limit',
    'consistency',
    'maxStalenessMs',
    'withVector',
    'withPayload',
  ],
};

function withoutUndefined(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutUndefined);
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, each]) => each !== undefined)
      .map(([key, each]) => [key, withoutUndefined(each)]),
  );
}

t.test('hand-written validators accept exactly what the schemas accept', async (t) => {
  const counts = { accepted: 0, refused: 0 };
  fc.assert(
    fc.property(fields, deletes, fc.nat(9), (drawn, deleted, dice) => {
      const base = ['kind', 'id', 'collection', 'timeoutMs'];
      const allowed = new Set([...base, ...(ALLOWED[drawn.kind] ?? [])]);
      const points = drawn.kind === 'delete' ? deleted : drawn.points;
      const isKept = ([key]: [string, unknown]): boolean => dice === 0 || allowed.has(key);
      const all = withoutUndefined({ ...drawn, points }) as Record<string, unknown>;
      const message = Object.fromEntries(Object.entries(all).filter(isKept));
      const bySchema = publicSchemas[drawn.kind]?.schema.safeParse(message).success;
      let byHand = true;
      try {
        checkUp(message);
      } catch (error) {
        if (!(error instanceof HoldfastError)) throw error;
        byHand = false;
      }
      counts[byHand ? 'accepted' : 'refused'] += 1;
      return bySchema === byHand;
    }),
    { numRuns: 5_000 },
  );
  t.ok(counts.accepted > 500 && counts.refused > 500, 'both were reached', { found: counts });
});

/** Client messages through the codec: round trips, limits, refusals, and bytes of any kind. */
import { ERROR_CODES, HoldfastError } from '@holdfast/base';
import fc from 'fast-check';
import { Packr, pack, unpack } from 'msgpackr';
import t from 'tap';
import { decodeDown, decodeResult, decodeUp, encodeDown, encodeUp } from '../src/codec.ts';
import {
  BATCH_POINT_COUNT_MAX,
  DIMENSION_MAX,
  FRAME_SIZE_BYTES_MAX,
  PAYLOAD_DEPTH_MAX,
  PAYLOAD_SIZE_BYTES_MAX,
} from '../src/limits.ts';
import { readMsgpack } from '../src/msgpack-reader.ts';
import { writeMsgpack } from '../src/msgpack-writer.ts';
import { canonicalPayload, parsePayload } from '../src/payload.ts';
import type { OutgoingUp, Request } from '../src/up.ts';
import { REQUEST_KINDS } from '../src/up.ts';

const packr = new Packr({ useRecords: false });
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const vector = new Float32Array([0.5, -1, 3]);
const session = { id: 12, sequence: 3, ackedThrough: 2 };
const upsert = { id: 1, kind: 'upsert', collection: 'docs', points: [{ id: 1, vector: [1, 2] }] };

/** Encodes as any msgpack client would, decodes as the server does. */
const receive = (message: unknown): ReturnType<typeof decodeUp> => decodeUp(packr.pack(message));

const EMPTY_MAPS = new Uint8Array(0x0f_0000).fill(0x80);

function refusal(run: () => unknown): HoldfastError {
  try {
    run();
  } catch (error) {
    if (error instanceof HoldfastError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

const GOOD: readonly OutgoingUp[] = [
  { kind: 'hello', protocolVersions: [1], client: 'test', apiKey: 'k' },
  { id: 0, kind: 'openSession' },
  { id: 1, kind: 'closeSession', sessionId: 12 },
  {
    id: 2,
    kind: 'createCollection',
    session,
    name: 'docs',
    dimension: 3,
    metric: 'cosine',
    shardCount: 4,
    hnsw: { m: 8 },
    graph: { engine: 'usearch', precision: 'bf16' },
    payloadIndexes: [{ key: 'a.b', type: 'keyword' }],
    ifNotExists: true,
  },
  { id: 3, kind: 'dropCollection', name: 'docs' },
  { id: 5, kind: 'updateCollection', name: 'docs', checksumAlgorithm: 'sha256' },
  { id: 4, kind: 'listCollections', consistency: 'stale', maxStalenessMs: 5, timeoutMs: 600_000 },
  { id: 6, kind: 'delete', session, collection: 'docs', points: [{ id: 1, ifVersion: 7 }] },
  {
    id: 7,
    kind: 'get',
    collection: 'docs',
    ids: [2 ** 53 - 1],
    withVector: true,
    withPayload: false,
  },
  { id: 8, kind: 'search', collection: 'docs', vector, k: 10, ef: 50, exact: false },
  { id: 0xffff_ffff, kind: 'count', collection: 'docs', consistency: 'lease' },
  {
    ...{ id: 20, kind: 'scroll', collection: 'docs', filter: { must_not: [{ has_id: [1] }] } },
    ...{ after: 7, limit: 5, withVector: true },
  },
  {
    ...{ id: 21, kind: 'deleteByFilter', session, collection: 'docs', limit: 10_000 },
    filter: { should: [{ key: 'a', match: { value: 1 } }] },
  },
  { id: 22, kind: 'createPayloadIndex', session, collection: 'docs', key: 'a', type: 'float' },
  { id: 23, kind: 'dropPayloadIndex', session, collection: 'docs', key: 'a' },
  { id: 24, kind: 'undeleteCollection', session, uid: 7, name: 'back' },
  { id: 25, kind: 'renameCollection', session, name: 'docs', newName: 'other' },
  { id: 26, kind: 'purgeCollection', uid: 7 },
  { id: 27, kind: 'digestCollection', collection: 'docs', uid: 7 },
  { id: 28, kind: 'finishCollection', uid: 7, pointCount: 0, digest: '0a'.repeat(16) },
  { id: 29, kind: 'publishCollections', session, uids: [7, 9] },
  { id: 30, kind: 'createCollection', name: 'd', dimension: 1, metric: 'l2', isHidden: true },
  { id: 31, kind: 'dropCollection', session, name: 'docs', retentionMs: 0 },
  { id: 32, kind: 'listCollections', includeDeleted: true },
  { id: 10, kind: 'status' },
  { id: 11, kind: 'listMembers', timeoutMs: 100 },
  { id: 12, kind: 'addMember', nodeId: 'n4', address: '[::1]:7204', isLearner: true },
  { id: 13, kind: 'removeMember', nodeId: 'n2', incarnation: 'a'.repeat(32) },
  { id: 14, kind: 'replaceMember', nodeId: 'n2', by: 'n4', address: 'host:7204' },
  { id: 15, kind: 'promoteMember', nodeId: 'n4' },
  { id: 16, kind: 'demoteMember', nodeId: 'n4' },
  { id: 17, kind: 'updateMember', nodeId: 'n4', clientAddress: 'host:7104' },
  { id: 18, kind: 'setLeases', isEnabled: true },
  { id: 19, kind: 'transferLeadership', to: 'n2' },
];

t.test('every message comes out of the codec as it went in', async (t) => {
  for (const message of GOOD) t.same(decodeUp(encodeUp(message)), message, message.kind);
  const kinds = new Set(GOOD.map(({ kind }) => kind));
  t.same(
    REQUEST_KINDS.filter((kind) => !kinds.has(kind)),
    ['upsert'],
    'upsert is the next test',
  );
});

t.test(
  'an upsert arrives with canonical payloads, aligned vectors and lower-case ids',
  async (t) => {
    const uuid = '0189AB12-3456-7890-ABCD-EF0123456789';
    for (let padding = 0; padding < 4; padding++) {
      const message = decodeUp(
        encodeUp({
          id: 5,
          kind: 'upsert',
          session,
          collection: 'd'.repeat(padding + 1),
          ...(padding === 0 ? {} : { uid: padding }),
          points: [
            { id: uuid, vector, payload: { b: [1, { z: null, a: -0 }], a: 'é' }, ifVersion: 9 },
            { id: 0, vector, ifAbsent: true },
          ],
        }),
      ) as Extract<Request, { kind: 'upsert' }>;
      const [first, second] = message.points;
      t.equal(first?.id, uuid.toLowerCase());
      t.same(first?.vector, vector);
      t.equal(first?.ifVersion, 9);
      t.equal(text(first?.payload ?? new Uint8Array()), '{"a":"é","b":[1,{"a":0,"z":null}]}');
      t.same(second, { id: 0, vector, ifAbsent: true });
      t.same(message.session, session);
      t.equal(message.uid, padding === 0 ? undefined : padding);
    }
  },
);

t.test('vectors of one frame never share memory with each other', async (t) => {
  const points = Array.from({ length: 500 }, (_, id) => ({
    id,
    vector: new Float32Array(97).fill(id),
  }));
  const frames = [7, 8].map((id) => decodeUp(encodeUp({ ...upsert, id, points } as OutgoingUp)));
  for (const frame of frames) {
    if (frame.kind !== 'upsert') throw new Error('kind');
    const isIntact = frame.points.every((point) => point.vector.every((each) => each === point.id));
    t.ok(isIntact);
  }
});

t.test('the bits of a bin vector are kept as received', async (t) => {
  const bits = new Uint32Array([0x8000_0000, 0x0000_0001, 0x7f7f_ffff]);
  const message = decodeUp(
    encodeUp({
      id: 1,
      kind: 'search',
      collection: 'c',
      vector: new Float32Array(bits.buffer),
      k: 1,
    }),
  );
  if (message.kind !== 'search') throw new Error('kind');
  t.same(new Uint32Array(message.vector.slice().buffer), bits);
});

/** What is wrong, the message, its code, and what the answer must name. */
function badRequests(): readonly [string, unknown, string, RegExp][] {
  const point = { id: 1, vector: [1, 2] };
  const withPoint = (change: object) => ({ ...upsert, points: [point, { ...point, ...change }] });
  return [
    ['unknown field', { ...upsert, colour: 1 }, 'REQUEST_INVALID', /colour: unknown field/],
    ['unknown field in a point', withPoint({ tag: 1 }), 'REQUEST_INVALID', /points\[1\]\.tag/],
    ['unknown field, cold', { id: 1, kind: 'status', x: 1 }, 'REQUEST_INVALID', /"x"/],
    ['unknown kind', { id: 1, kind: 'toString' }, 'REQUEST_INVALID', /kind: must be one of/],
    ['no points', { ...upsert, points: [] }, 'REQUEST_INVALID', /points/],
    ['points not a list', { ...upsert, points: {} }, 'REQUEST_INVALID', /points/],
    [
      'point not a map',
      { ...upsert, points: [7] },
      'REQUEST_INVALID',
      /points\[0\]: must be a map/,
    ],
    ['negative id', withPoint({ id: -1 }), 'POINT_ID_INVALID', /points\[1\]\.id/],
    ['fraction', withPoint({ id: 1.5 }), 'POINT_ID_INVALID', /points\[1\]\.id/],
    ['2^53', withPoint({ id: 2n ** 53n }), 'POINT_ID_INVALID', /points\[1\]\.id/],
    ['no uuid', withPoint({ id: 'abc' }), 'POINT_ID_INVALID', /UUID/],
    ['NaN', withPoint({ vector: [1, Number.NaN] }), 'VECTOR_INVALID', /points\[1\]\.vector\[1\]/],
    ['too large for float32', withPoint({ vector: [1e300, 1] }), 'VECTOR_INVALID', /vector\[0\]/],
    ['text in a vector', withPoint({ vector: [1, '2'] }), 'VECTOR_INVALID', /vector\[1\]/],
    ['empty vector', withPoint({ vector: [] }), 'VECTOR_INVALID', /1 to 16384/],
    ['wide', withPoint({ vector: Array(DIMENSION_MAX + 1).fill(0) }), 'VECTOR_INVALID', /16384/],
    ['odd bin', withPoint({ vector: new Uint8Array(7) }), 'VECTOR_INVALID', /multiple of 4/],
    ['payload list', withPoint({ payload: [1] }), 'PAYLOAD_INVALID', /points\[1\]\.payload/],
    [
      'payload bin',
      withPoint({ payload: { a: new Uint8Array(2) } }),
      'PAYLOAD_INVALID',
      /payload\.a/,
    ],
    ['two conditions', withPoint({ ifVersion: 1, ifAbsent: true }), 'REQUEST_INVALID', /ifVersion/],
    ['version 0', withPoint({ ifVersion: 0 }), 'REQUEST_INVALID', /ifVersion/],
    ['many', { ...upsert, points: Array(1_001).fill(point) }, 'BATCH_TOO_LARGE', /at most 1000/],
    ['name', { ...upsert, collection: '../x' }, 'REQUEST_INVALID', /collection/],
    ['session', { ...upsert, session: { ...session, x: 1 } }, 'REQUEST_INVALID', /session\.x/],
    [
      'acked',
      { ...upsert, session: { ...session, ackedThrough: 3 } },
      'REQUEST_INVALID',
      /ackedThrough/,
    ],
    ['timeout', { ...upsert, timeoutMs: 600_001 }, 'REQUEST_INVALID', /timeoutMs/],
    ['timeout, cold', { id: 1, kind: 'status', timeoutMs: 0 }, 'REQUEST_INVALID', /timeoutMs/],
    [
      'staleness',
      { id: 1, kind: 'count', collection: 'c', maxStalenessMs: 1 },
      'REQUEST_INVALID',
      /maxStal/,
    ],
    ['k', { id: 1, kind: 'search', collection: 'c', vector: [1], k: 0 }, 'REQUEST_INVALID', /^k:/],
    ['ids', { id: 1, kind: 'get', collection: 'c', ids: [1, 'x'] }, 'POINT_ID_INVALID', /ids\[1\]/],
    [
      'metric',
      { id: 1, kind: 'createCollection', name: 'c', dimension: 2, metric: 'l3' },
      'REQUEST_INVALID',
      /metric/,
    ],
  ];
}

t.test('bad requests are refused with their code, the field and the request id', async (t) => {
  for (const [title, message, code, pattern] of badRequests()) {
    const error = refusal(() => receive(message));
    t.equal(error.code, code, title);
    t.match(error.message, pattern, title);
    t.equal(error.details.requestId, 1, `${title}: the request can be answered`);
    t.ok(error.definite, title);
  }
  const unreadable = refusal(() => receive({ ...upsert, id: 'one' }));
  t.equal(unreadable.details.requestId, undefined);
  t.equal(refusal(() => receive({ kind: 'hello', client: 'x' })).code, 'REQUEST_INVALID');
});

t.test('frames that are not one map are refused as malformed', async (t) => {
  const bytes = encodeUp(GOOD[0] as OutgoingUp);
  const deep = new Uint8Array(200_000).fill(0x91);
  const bad: readonly [string, Uint8Array][] = [
    ['nothing', new Uint8Array()],
    ['an array', writeMsgpack([1])],
    ['a number', writeMsgpack(7)],
    ['JSON text', new TextEncoder().encode('{"kind":"hello"}')],
    ['cut', bytes.subarray(0, bytes.byteLength - 1)],
    ['bytes after the map', Uint8Array.from([...bytes, 0])],
    ['200,000 levels', deep],
    ['a huge array header', Uint8Array.of(0xdd, 0xff, 0xff, 0xff, 0xff)],
    ['a huge map header', Uint8Array.of(0xdf, 0xff, 0xff, 0xff, 0xff)],
    ['a huge bin header', Uint8Array.of(0xc6, 0xff, 0xff, 0xff, 0xff)],
    ['a duplicate key', Uint8Array.of(0x82, 0xa1, 0x61, 1, 0xa1, 0x61, 2)],
    ['a number as key', Uint8Array.of(0x81, 1, 1)],
    ['text that is not UTF-8', Uint8Array.of(0x81, 0xa1, 0x61, 0xa1, 0xff)],
    ['a timestamp extension', Uint8Array.of(0x81, 0xa1, 0x61, 0xd6, 0xff, 0, 0, 0, 0)],
    ['msgpackr records', new Packr({ useRecords: true }).pack({ kind: 'hello' })],
    [
      'a million empty maps',
      Buffer.concat([Uint8Array.of(0x81, 0xa1, 0x61, 0xdd, 0, 0x0f, 0, 0), EMPTY_MAPS]),
    ],
  ];
  for (const [title, frame] of bad) {
    t.equal(refusal(() => decodeUp(frame)).code, 'FRAME_MALFORMED', title);
  }
  const large = refusal(() => decodeUp(new Uint8Array(FRAME_SIZE_BYTES_MAX + 1)));
  t.equal(large.code, 'FRAME_TOO_LARGE');
  t.equal(refusal(() => decodeUp(bytes, 10)).code, 'FRAME_TOO_LARGE', 'a lower limit');
});

t.test('a batch over its byte limit is refused, at the limit it is taken', async (t) => {
  const points = (count: number) =>
    Array.from({ length: count }, (_, id) => ({ id, vector: new Float32Array(DIMENSION_MAX) }));
  const frame = (count: number) => encodeUp({ ...upsert, points: points(count) } as OutgoingUp);
  t.equal(refusal(() => decodeUp(frame(129))).code, 'BATCH_TOO_LARGE');
  t.ok(decodeUp(frame(128)));
  const most = Array.from({ length: BATCH_POINT_COUNT_MAX }, (_, id) => ({ id, vector: [1] }));
  t.ok(receive({ ...upsert, points: most }));
});

t.test('an answer over the frame limit is refused before all of it is built', async (t) => {
  const wide = new Float32Array(DIMENSION_MAX);
  const points = Array.from({ length: 10_000 }, (_, id) => ({ id, version: 1, vector: wide }));
  const answer = { id: 1, ok: true, result: { points, appliedIndex: 1 } } as const;
  t.equal(refusal(() => encodeDown(answer)).code, 'FRAME_TOO_LARGE');
  const few = { ...answer, result: { points: points.slice(0, 200), appliedIndex: 1 } };
  t.ok(encodeDown(few).byteLength > 200 * wide.byteLength, 'and the next one is fine');
});

t.test('canonical payloads do not depend on how the object was made', async (t) => {
  const json = fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue({ maxDepth: 4 }));
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(json, (value) => {
        const bytes = canonicalPayload(value);
        const parsed = parsePayload(bytes);
        const again = canonicalPayload(parsed);
        const shuffled = Object.fromEntries(Object.entries(value).reverse());
        return text(bytes) === text(again) && text(bytes) === text(canonicalPayload(shuffled));
      }),
    ),
  );
});

t.test('what JSON cannot say is refused with the path inside the payload', async (t) => {
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  const nested = (depth: number): unknown => (depth === 1 ? {} : { a: nested(depth - 1) });
  const cases: readonly [unknown, RegExp][] = [
    [null, /payload: must be a JSON object/],
    ['x', /payload: must be a JSON object/],
    [{ a: undefined }, /payload\.a: .*undefined/],
    [{ a: [1, 2n] }, /payload\.a\[1\]: .*bigint/],
    [{ a: () => 1 }, /payload\.a: .*function/],
    [{ a: Number.POSITIVE_INFINITY }, /payload\.a: must be a finite number/],
    [{ a: new Date() }, /payload\.a: must be plain JSON/],
    [{ a: new Map() }, /payload\.a: must be plain JSON/],
    [{ a: '\ud800' }, /payload\.a: .*surrogates/],
    [{ '\udc00': 1 }, /surrogates/],
    [cycle, /nested deeper/],
    [nested(PAYLOAD_DEPTH_MAX + 1), /nested deeper than 16/],
    [{ a: 'x'.repeat(PAYLOAD_SIZE_BYTES_MAX) }, /larger than 65536/],
    [{ a: 'é'.repeat(PAYLOAD_SIZE_BYTES_MAX / 2) }, /larger than 65536/],
    [{ a: Array(40_000).fill(0) }, /larger than 65536/],
  ];
  for (const [value, pattern] of cases) {
    const error = refusal(() => canonicalPayload(value));
    t.equal(error.code, 'PAYLOAD_INVALID');
    t.match(error.message, pattern);
    t.ok(error.message.length < 400);
  }
  t.ok(canonicalPayload(nested(PAYLOAD_DEPTH_MAX)));
  const own = JSON.parse('{"__proto__":{"x":1},"b":2}') as unknown;
  t.equal(text(canonicalPayload(own)), '{"__proto__":{"x":1},"b":2}', 'own keys of any name');
  t.equal(text(canonicalPayload(readMsgpack(packr.pack(own)))), '{"__proto__":{"x":1},"b":2}');
});

t.test('answers come back typed, with vectors as float32', async (t) => {
  const hit = { id: 1, score: 0.5, version: 9, payload: { a: 1 }, vector };
  const plan = { graphRowCount: 1, exactRowCount: 2, shardCount: 1 };
  const result = {
    hits: [hit],
    appliedIndex: 9,
    plan,
    degraded: [{ layer: 'tail', shard: 1 } as const],
  };
  const response = decodeDown(encodeDown({ id: 3, ok: true, result }));
  if (!('ok' in response) || !response.ok) throw new Error('not ok');
  t.same(decodeResult('search', response.result), result);
  t.throws(() => decodeResult('upsert', response.result), { code: 'RESPONSE_MALFORMED' });
  const stored = { id: 2, version: 1 };
  t.same(decodeResult('get', { points: [stored], appliedIndex: 4 }), {
    points: [stored],
    appliedIndex: 4,
  });
  t.same(decodeResult('delete', { index: 1, term: 1, deletedCount: 0 }).deletedCount, 0);
  t.same(decodeResult('closeSession', {}), {});
  const at = { index: 5, term: 1 };
  for (const next of [null, 2]) {
    const page = { points: [{ ...stored, vector }], next, appliedIndex: 4 };
    const answer = decodeDown(encodeDown({ id: 3, ok: true, result: page }));
    t.same(decodeResult('scroll', 'ok' in answer && answer.ok ? answer.result : {}), page);
  }
  const deleted = { ...at, deletedCount: 3, skippedCount: 1 };
  t.same(decodeResult('deleteByFilter', deleted), deleted);
  const filter = {
    ...{ matchedRowCount: 4, evaluatedRowCount: 0, indexedShardCount: 1 },
    ...{ exactShardCount: 1, graphShardCount: 0, fallbackShardCount: 0 },
  };
  const filtered = { ...result, hits: [], plan: { ...plan, filter } };
  t.same(decodeResult('search', filtered).plan, filtered.plan);
  t.same(decodeResult('createPayloadIndex', { ...at, isCreated: true }).isCreated, true);
  t.same(decodeResult('dropPayloadIndex', { ...at, isDropped: false }).isDropped, false);
});

t.test('an error of any code survives the wire; unknown codes become indefinite', async (t) => {
  for (const code of Object.keys(ERROR_CODES) as (keyof typeof ERROR_CODES)[]) {
    const error = new HoldfastError(code, 'why', { details: { index: 3 } }).toBody();
    t.same(decodeDown(encodeDown({ id: 1, ok: false, error })), { id: 1, ok: false, error });
  }
  const bodyOf = (body: object) => decodeDown(writeMsgpack({ id: 1, ok: false, error: body }));
  const unknown = {
    code: 'FROM_THE_FUTURE',
    message: 'm',
    definite: true,
    retry: 'never',
    details: {},
  };
  t.match(bodyOf(unknown), {
    error: { code: 'INTERNAL', definite: false, details: { receivedCode: 'FROM_THE_FUTURE' } },
  });
  const bold = {
    code: 'REQUEST_TIMEOUT',
    message: 'm',
    definite: true,
    retry: 'never',
    details: {},
  };
  t.match(bodyOf(bold), { error: { definite: false, retry: 'sameRequestId' } });
});

const anyJson = fc.jsonValue();
t.test(
  'the strict reader agrees with msgpackr on everything that messages are made of',
  async (t) => {
    t.doesNotThrow(() =>
      fc.assert(
        fc.property(anyJson, (value) => {
          t.same(readMsgpack(pack(value)), JSON.parse(JSON.stringify(value)));
        }),
        { numRuns: 200 },
      ),
    );
    const numbers = fc.oneof(fc.maxSafeInteger(), fc.integer(), fc.double({ noNaN: true }));
    t.doesNotThrow(() =>
      fc.assert(
        fc.property(numbers, (value) => {
          const read = readMsgpack(writeMsgpack(value));
          return (
            typeof read === 'number' &&
            read === value &&
            Number(unpack(writeMsgpack(value))) === value
          );
        }),
        { numRuns: 1_000 },
      ),
    );
    for (const length of [0, 1, 10, 11, 31, 32, 48, 49, 85, 86, 255, 256, 21_845, 21_846, 70_000]) {
      for (const unit of ['a', 'é', '☃', '😀']) {
        const value = { k: unit.repeat(length), b: new Uint8Array(length).fill(7) };
        t.same(readMsgpack(writeMsgpack(value)), value, `${length} x ${unit}`);
        t.equal((unpack(writeMsgpack(value)) as { k: string }).k, value.k);
      }
    }
    t.equal(readMsgpack(Uint8Array.of(0xcf, 0, 0x1f, 255, 255, 255, 255, 255, 255)), 2 ** 53 - 1);
    t.equal(readMsgpack(Uint8Array.of(0xcf, 0, 0x20, 0, 0, 0, 0, 0, 0)), 2n ** 53n);
    t.equal(readMsgpack(Uint8Array.of(0xd3, 255, 255, 255, 255, 255, 255, 255, 255)), -1);
    t.strictSame(
      readMsgpack(writeMsgpack({ a: undefined, b: 1 })),
      { b: 1 },
      'undefined is left out',
    );
  },
);

t.test('random and mutated bytes throw nothing but HoldfastError', async (t) => {
  const decodes = [(bytes: Uint8Array) => decodeUp(bytes), decodeDown];
  const isClean = (bytes: Uint8Array): boolean =>
    decodes.every((decode) => {
      try {
        decode(bytes);
        return true;
      } catch (error) {
        return error instanceof HoldfastError;
      }
    });
  t.doesNotThrow(() =>
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), isClean), { numRuns: 5_000 }),
  );
  const seeds = GOOD.map((message) => encodeUp(message));
  seeds.push(packr.pack({ ...upsert, points: [{ id: 1, vector: [1], payload: { a: [1] } }] }));
  const mutation = fc.record({
    seed: fc.nat(seeds.length - 1),
    edits: fc.array(fc.tuple(fc.nat(300), fc.nat(255)), { minLength: 1, maxLength: 4 }),
    cut: fc.option(fc.nat(300)),
  });
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(mutation, ({ seed, edits, cut }) => {
        const bytes = (seeds[seed] ?? new Uint8Array()).slice(0, cut ?? undefined);
        for (const [at, value] of edits) if (at < bytes.byteLength) bytes[at] = value;
        return isClean(bytes);
      }),
      { numRuns: 10_000 },
    ),
  );
});

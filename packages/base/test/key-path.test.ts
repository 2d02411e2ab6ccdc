/** Goal: places in payloads and times in them read the same everywhere. */
import fc from 'fast-check';
import t from 'tap';
import { parseInstant } from '../src/instant.ts';
import { keyPath, parseKeyPath } from '../src/key-path.ts';

t.test('a key path is split at dots, and escapes keep dots and backslashes in keys', async (t) => {
  t.same(parseKeyPath('a'), ['a']);
  t.same(parseKeyPath('a.b.c'), ['a', 'b', 'c']);
  t.same(parseKeyPath('a\\.b.c\\\\'), ['a.b', 'c\\']);
  for (const bad of ['', '.', 'a.', '.a', 'a..b', 'a\\', 'a\\b', Array(17).fill('k').join('.')])
    t.equal(parseKeyPath(bad), null, JSON.stringify(bad));
  t.equal(parseKeyPath(Array(16).fill('k').join('.'))?.length, 16);
});

t.test('whatever the keys are, keyPath names them', async (t) => {
  const key = fc.oneof(fc.string({ minLength: 1 }), fc.constantFrom('.', '\\', '\\.', '..\\'));
  fc.assert(
    fc.property(fc.array(key, { minLength: 1, maxLength: 16 }), (keys) => {
      t.same(parseKeyPath(keyPath(...keys)), keys);
    }),
  );
  t.pass('for all');
});

t.test('an RFC 3339 time is microseconds since 1970, offsets taken into account', async (t) => {
  t.equal(parseInstant('1970-01-01T00:00:00Z'), 0);
  t.equal(parseInstant('1970-01-01T01:00:00+01:00'), 0);
  t.equal(parseInstant('1969-12-31t23:30:00.000001-00:30'), 1);
  t.equal(parseInstant('2024-02-29T12:34:56.789Z'), Date.UTC(2024, 1, 29, 12, 34, 56, 789) * 1e3);
  t.equal(parseInstant('1990-12-31T23:59:60Z'), Date.UTC(1991, 0, 1) * 1e3, 'a leap second');
  t.equal(
    parseInstant('2024-01-01T00:00:00.1234567Z'),
    parseInstant('2024-01-01T00:00:00.123456Z'),
  );
});

t.test('what is no RFC 3339 time is none', async (t) => {
  for (const bad of [
    '2024-01-01',
    '2024-01-01T00:00:00',
    '2024-01-01 00:00:00Z',
    '2024-13-01T00:00:00Z',
    '2023-02-29T00:00:00Z',
    '2024-04-31T00:00:00Z',
    '2024-01-01T24:00:00Z',
    '2024-01-01T00:60:00Z',
    '2024-01-01T00:00:61Z',
    '2024-01-01T00:00:00+24:00',
    '2024-01-01T00:00:00.Z',
    '2024-01-01T00:00:00.1234567890Z',
    '2024-01-01T00:00:00.12',
    '2024-01-01T00:00:00+01:60',
    '2024-01-01T00:00:00+0100',
    '2024-01-01T00:00:00+01:00Z',
    '2024-01-01T00:00:00ZZ',
    '+024-01-01T00:00:00Z',
    '2024-1 -01T00:00:00Z',
    '2024-01-01T-1:00:00Z',
    '2024-01-01T00:0x:00Z',
    '2024-01-01T00:00:--Z',
    '2024/01/01T00:00:00Z',
    '2024-01-01T00.00.00Z',
    '2024-01-01T00:00:00Z ',
    '',
  ])
    t.equal(parseInstant(bad), null, bad);
});

t.test('every instant of the calendar reads as the platform reads it', async (t) => {
  const years = fc.date({
    min: new Date('0001-01-01T00:00:00Z'),
    max: new Date('9999-12-31T23:59:59.999Z'),
    noInvalidDate: true,
  });
  fc.assert(
    fc.property(years, (date) => parseInstant(date.toISOString()) === date.getTime() * 1e3),
  );
  t.pass('for all');
});

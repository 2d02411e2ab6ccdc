// The border to other machines: what goes in comes out, and garbage is only ever refused.
import { isDeepStrictEqual } from 'node:util';
import { HoldfastError, nodeId, SeededRandom } from '@holdfast/base';
import { randomConf } from '@holdfast/base/testing';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { decodeRaftMessage, encodeRaftMessage } from '../src/codec.ts';
import type { RaftMessage, RaftMessageBody } from '../src/messages.ts';
import { incarnationOf } from '../src/testing/core-cluster.ts';
import { at, logOf, termOf } from './support.ts';

const SEED = 4711;

const record = <Model>(model: { [Key in keyof Model]: fc.Arbitrary<Model[Key]> }) =>
  fc.record<Model>(model, { noNullPrototype: true });

const FROM = nodeId('a');

const count = fc.oneof(fc.nat(), fc.maxSafeNat());
const index = count.map(at);
const term = count.map(termOf);
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const sum = fc.uint8Array({ minLength: 16, maxLength: 16 });
const name = fc.stringMatching(/^[a-zA-Z0-9][a-zA-Z0-9._-]{0,20}$/);

const entry = record({
  index: fc.maxSafeNat().map((value) => at(Math.max(1, value))),
  term,
  type: fc.constantFrom('normal', 'noop', 'conf'),
  data: fc.uint8Array({ maxLength: 80 }),
  sum,
});
const conf = fc.nat().map((seed) => randomConf(new SeededRandom(seed)));
const meta = record({
  index,
  term,
  sum,
  conf,
  confIndex: index,
  id: fc.string({ unit: 'grapheme', maxLength: 6 }),
});
const refusal = fc.constantFrom(
  null,
  'lower-term',
  'already-voted',
  'log-behind',
  'leader-alive',
  'not-ready',
);

const body: fc.Arbitrary<RaftMessageBody> = fc.oneof(
  record({
    kind: fc.constantFrom('preVote', 'vote'),
    lastIndex: index,
    lastTerm: term,
    nonce: u32,
    isTransfer: fc.boolean(),
  }),
  record({ kind: fc.constantFrom('preVoteResponse', 'voteResponse'), nonce: u32, refusal }).map(
    (fields) => ({ ...fields, isGranted: fields.refusal === null }),
  ),
  record({
    kind: fc.constant('append'),
    prevIndex: index,
    prevTerm: term,
    prevSum: sum,
    entries: fc.array(entry, { maxLength: 6 }),
    commit: index,
  }),
  record({
    kind: fc.constant('appendResponse'),
    matchIndex: index,
    rejection: fc.option(record({ rejectedIndex: index, hintIndex: index, hintTerm: term })),
  }),
  record({
    kind: fc.constant('heartbeat'),
    commit: index,
    round: count,
    beat: count,
    isLeaseWanted: fc.boolean(),
  }),
  record({
    kind: fc.constant('heartbeatResponse'),
    round: count,
    beat: count,
    isLeaseGranted: fc.boolean(),
  }),
  record({ kind: fc.constant('entryRequest'), requestId: count, low: index, high: index }),
  record({
    kind: fc.constant('entryResponse'),
    requestId: count,
    low: index,
    firstIndex: index,
    lastIndex: index,
    isDamaged: fc.boolean(),
    isLeader: fc.boolean(),
    entries: fc.array(entry, { maxLength: 4 }),
  }),
  record({ kind: fc.constant('snapshot'), meta: meta }),
  record({ kind: fc.constant('timeoutNow'), lastIndex: index, lastTerm: term }),
  record({ kind: fc.constant('readIndex'), requestId: count }),
  record({
    kind: fc.constant('readIndexResponse'),
    requestId: count,
    index: fc.option(index),
  }),
) as fc.Arbitrary<RaftMessageBody>;

const message: fc.Arbitrary<RaftMessage> = fc
  .record({ group: u32, to: name, term, confIndex: index, body })
  .map(({ group, to, term, confIndex, body }) => ({
    confIndex,
    ...body,
    group: group as RaftMessage['group'],
    from: FROM,
    to: nodeId(to),
    fromIncarnation: incarnationOf('a'),
    toIncarnation: incarnationOf(to),
    term,
  }));

/** True when decoding succeeds or is refused in the one allowed way. */
function decodesOrRefuses(bytes: Uint8Array): boolean {
  try {
    decodeRaftMessage(bytes, FROM);
    return true;
  } catch (thrown) {
    if (thrown instanceof HoldfastError && thrown.code === 'MESSAGE_MALFORMED') return true;
    throw thrown;
  }
}

const refuses = (t: Test, bytes: Uint8Array, what: string): void => {
  t.throws(() => decodeRaftMessage(bytes, FROM), { code: 'MESSAGE_MALFORMED' }, what);
};

t.test('every message survives encoding and decoding unchanged', async (t) => {
  const roundTrip = fc.property(message, (original) =>
    isDeepStrictEqual(decodeRaftMessage(encodeRaftMessage(original), FROM), original),
  );
  t.doesNotThrow(() => fc.assert(roundTrip, { seed: SEED, numRuns: 1_000 }));
});

t.test('mutated bytes are decoded or refused as malformed, never anything else', async (t) => {
  const edit = record({ position: fc.nat(), value: fc.integer({ min: 0, max: 255 }) });
  const edits = fc.array(edit, { minLength: 1, maxLength: 6 });
  const mutation = fc.property(message, edits, (original, changes) => {
    const bytes = encodeRaftMessage(original).slice();
    for (const { position, value } of changes) bytes[position % bytes.byteLength] = value;
    return decodesOrRefuses(bytes);
  });
  t.doesNotThrow(() => fc.assert(mutation, { seed: SEED, numRuns: 3_000 }));
});

t.test('random bytes with a plausible start are decoded or refused as malformed', async (t) => {
  const random = new SeededRandom(SEED);
  for (let run = 0; run < 3_000; run++) {
    const bytes = new Uint8Array(random.nextBelow(200));
    for (let i = 0; i < bytes.byteLength; i++) bytes[i] = random.nextBelow(256);
    if (bytes.byteLength > 2) {
      bytes[0] = 1;
      bytes[1] = 1 + random.nextBelow(12);
    }
    if (!decodesOrRefuses(bytes)) t.fail(`run ${run} of seed ${SEED}`);
  }
  t.pass('nothing else was thrown');
});

t.test('every cut and every extra byte is refused', async (t) => {
  const isRefused = (bytes: Uint8Array): boolean => {
    try {
      decodeRaftMessage(bytes, FROM);
      return false;
    } catch (thrown) {
      return thrown instanceof HoldfastError && thrown.code === 'MESSAGE_MALFORMED';
    }
  };
  const cut = fc.property(message, fc.nat(), (original, position) => {
    const bytes = encodeRaftMessage(original);
    const longer = new Uint8Array(bytes.byteLength + 1);
    longer.set(bytes);
    return isRefused(bytes.subarray(0, position % bytes.byteLength)) && isRefused(longer);
  });
  t.doesNotThrow(() => fc.assert(cut, { seed: SEED, numRuns: 2_000 }));
});

t.test('the sender comes from the connection, not from the bytes', async (t) => {
  const [original] = fc.sample(message, { seed: SEED, numRuns: 1 });
  const decoded = decodeRaftMessage(encodeRaftMessage(original!), nodeId('other'));
  t.equal(decoded.from, 'other');
});

t.test('bad fields are refused one by one', async (t) => {
  const heartbeat: RaftMessage = {
    kind: 'heartbeat',
    commit: at(1),
    round: 1,
    beat: 1,
    isLeaseWanted: false,
    group: 1 as RaftMessage['group'],
    from: FROM,
    to: nodeId('b'),
    fromIncarnation: incarnationOf('a'),
    toIncarnation: incarnationOf('b'),
    term: termOf(3),
    confIndex: at(0),
  };
  const bytes = encodeRaftMessage(heartbeat);
  const withByte = (offset: number, value: number): Uint8Array => {
    const changed = bytes.slice();
    changed[offset] = value;
    return changed;
  };
  refuses(t, withByte(0, 2), 'another version');
  refuses(t, withByte(1, 99), 'an unknown kind');
  refuses(t, withByte(13, 0xff), 'a term past 2^53');
  refuses(t, withByte(23, 0x20), 'a node id with a space');
  refuses(t, new Uint8Array(0), 'nothing at all');
});

t.test('entries keep the very bytes of their one byte form', async (t) => {
  const entries = logOf([1, 1, 2]);
  const append: RaftMessage = {
    kind: 'append',
    prevIndex: at(0),
    prevTerm: termOf(0),
    prevSum: new Uint8Array(16),
    entries,
    commit: at(2),
    group: 1 as RaftMessage['group'],
    from: FROM,
    to: nodeId('b'),
    fromIncarnation: incarnationOf('a'),
    toIncarnation: incarnationOf('b'),
    term: termOf(2),
    confIndex: at(0),
  };
  const decoded = decodeRaftMessage(encodeRaftMessage(append), FROM);
  t.same(decoded, append);
  t.ok(decoded.kind === 'append' && decoded.entries[0]!.data.byteLength > 0);
});

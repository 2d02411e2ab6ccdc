/** Goal: the floor holds. Entry bytes are pinned, because disk and wire formats depend on them. */
import fc from 'fast-check';
import t from 'tap';
import { assert, InvariantViolation, must, unreachable } from '../src/assert.ts';
import { BoundedQueue } from '../src/bounded-queue.ts';
import { CircuitBreaker } from '../src/circuit-breaker.ts';
import {
  decodeEntry,
  ENTRY_HEADER_SIZE_BYTES,
  type Entry,
  encodeEntry,
  entrySizeBytes,
} from '../src/entry.ts';
import { ERROR_CODES, HoldfastError, isErrorCode, toHoldfastError } from '../src/errors.ts';
import { clusterId, groupId, isNodeId, logIndex, nodeId, term } from '../src/ids.ts';
import { deriveSeed, SeededRandom } from '../src/random.ts';
import { RestartPolicy } from '../src/restart-policy.ts';
import { VirtualClock } from '../src/testing/virtual-clock.ts';

const entry: Entry = {
  index: logIndex(7),
  term: term(3),
  type: 'normal',
  data: new Uint8Array([0xaa, 0xbb]),
  sum: new Uint8Array(16).fill(0x11),
};

t.test('a failed assertion carries its numbers', async (t) => {
  t.throws(() => assert(false, 'broken', { matchIndex: 3, bytes: new Uint8Array(2), big: 5n }), {
    name: 'InvariantViolation',
    message: 'broken {"matchIndex":3,"bytes":"bytes(2)","big":"5n"}',
  });
  assert(true, 'holds');
  t.equal(must(0), 0, 'zero is a value');
  t.throws(() => must(null), InvariantViolation);
  t.throws(() => unreachable('x' as never), InvariantViolation);
});

t.test('entry bytes are what format version 1 says', async (t) => {
  const bytes = new Uint8Array(entrySizeBytes(entry));
  t.equal(encodeEntry(entry, bytes, 0), bytes.byteLength);
  t.equal(
    Buffer.from(bytes).toString('hex'),
    `${'0700000000000000'}${'0300000000000000'}${'11'.repeat(16)}${'01000000'}${'02000000'}aabb`,
  );
});

t.test('every entry survives encoding, at any offset', async () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
      fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
      fc.constantFrom('normal', 'noop', 'conf'),
      fc.uint8Array({ maxLength: 40 }),
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
      fc.integer({ min: 0, max: 20 }),
      (index, entryTerm, type, data, sum, offset) => {
        const made = { index: logIndex(index), term: term(entryTerm), type, data, sum } as Entry;
        const bytes = new Uint8Array(offset + entrySizeBytes(made));
        const end = encodeEntry(made, bytes, offset);
        const read = decodeEntry(bytes, offset);
        return (
          read.end === end &&
          read.entry.index === index &&
          read.entry.term === entryTerm &&
          read.entry.type === type &&
          Buffer.compare(read.entry.data, data) === 0 &&
          Buffer.compare(read.entry.sum, sum) === 0
        );
      },
    ),
  );
});

t.test('bytes that are not an entry are refused with a code', async (t) => {
  const bytes = new Uint8Array(entrySizeBytes(entry));
  encodeEntry(entry, bytes, 0);
  for (let size = 0; size < bytes.byteLength; size++) {
    t.throws(() => decodeEntry(bytes.subarray(0, size), 0), { code: 'ENTRY_MALFORMED' });
  }
  const unknownType = bytes.slice();
  unknownType[32] = 9;
  t.throws(() => decodeEntry(unknownType, 0), { code: 'ENTRY_MALFORMED' });
  const hugeIndex = bytes.slice().fill(0xff, 0, 8);
  t.throws(() => decodeEntry(hugeIndex, 0), { code: 'ENTRY_MALFORMED' });
  const zeroIndex = bytes.slice().fill(0, 0, 8);
  t.throws(() => decodeEntry(zeroIndex, 0), { code: 'ENTRY_MALFORMED' });
  const longData = bytes.slice();
  longData[ENTRY_HEADER_SIZE_BYTES - 4] = 0xff;
  t.throws(() => decodeEntry(longData, 0), { code: 'ENTRY_MALFORMED' });
});

t.test('ids are checked where they are made', async (t) => {
  t.equal(nodeId('n1'), 'n1');
  t.ok(isNodeId('a.b-c_9'));
  for (const bad of ['', '-a', '.a', 'a b', 'é', 'x'.repeat(65)]) t.notOk(isNodeId(bad), bad);
  t.throws(() => clusterId('ABC'), InvariantViolation);
  t.throws(() => logIndex(-1), InvariantViolation);
  t.throws(() => term(2 ** 53), InvariantViolation);
  t.throws(() => groupId(2 ** 32), InvariantViolation);
});

t.test('an error keeps its facts across the wire, and can only become less definite', async (t) => {
  const error = new HoldfastError('NOT_LEADER', 'ask n2', { details: { leader: 'n2' } });
  t.match(error, { code: 'NOT_LEADER', definite: true, retry: 'redirect' });
  const copy = HoldfastError.fromBody(structuredClone(error.toBody()));
  t.strictSame(copy.toBody(), error.toBody());
  const weakened = HoldfastError.fromBody({ ...error.toBody(), definite: false });
  t.equal(weakened.definite, false);
  const forged = { ...new HoldfastError('INTERNAL', 'x').toBody(), definite: true };
  t.equal(HoldfastError.fromBody(forged).definite, false, 'an indefinite code stays indefinite');
});

t.test('anything thrown becomes a typed error that keeps its cause', async (t) => {
  const cause = new TypeError('boom');
  t.match(toHoldfastError(cause), { code: 'INTERNAL', message: 'boom', cause });
  t.match(toHoldfastError('text'), { code: 'INTERNAL', message: 'text' });
  const own = new HoldfastError('TOO_STALE', 'old');
  t.equal(toHoldfastError(own), own);
});

t.test('the error table is consistent', async (t) => {
  for (const [code, facts] of Object.entries(ERROR_CODES)) {
    t.ok(isErrorCode(code));
    t.match(facts.help, /\.$/, `${code} explains itself in a sentence`);
    if (facts.retry === 'redirect') t.ok(facts.definite, `${code}: a redirect had no effect`);
    if (facts.retry === 'sameRequestId') t.notOk(facts.definite, `${code}: repeat what is unknown`);
  }
  t.notOk(isErrorCode('toString'), 'names of Object are not codes');
});

t.test('a bounded queue refuses when full and keeps order', async (t) => {
  const queue = new BoundedQueue<number>(2_000);
  let next = 0;
  let expected = 0;
  const random = new SeededRandom(5);
  for (let i = 0; i < 20_000; i++) {
    if (random.nextBelow(2) === 0) {
      if (queue.push(next)) next += 1;
      else t.equal(queue.size, 2_000);
    } else if (queue.shift() !== undefined) expected += 1;
  }
  t.equal(queue.peek(), queue.size === 0 ? undefined : expected);
  t.strictSame(
    queue.drain(),
    Array.from({ length: next - expected }, (_, i) => expected + i),
  );
  t.equal(queue.size, 0);
  const small = new BoundedQueue<string>(1);
  t.ok(small.push('a'));
  t.notOk(small.push('b'), 'full');
  t.equal(small.shift(), 'a');
});

t.test('the same seed gives the same chance; other owners get another', async (t) => {
  const draw = (seed: number): number[] => {
    const random = new SeededRandom(seed);
    return Array.from({ length: 5 }, () => random.nextU32());
  };
  t.strictSame(draw(1), draw(1));
  t.notSame(draw(1), draw(2));
  t.not(deriveSeed(1, 'n1'), deriveSeed(1, 'n2'));
  const random = new SeededRandom(3);
  const counts = new Array<number>(8).fill(0);
  for (let i = 0; i < 8_000; i++) counts[random.nextBelow(8)]! += 1;
  t.ok(
    counts.every((count) => count > 800 && count < 1_200),
    `roughly uniform: ${counts.join(' ')}`,
  );
});

t.test('virtual timers fire in order of due time and can be cancelled', async (t) => {
  const clock = new VirtualClock(1_000);
  const fired: string[] = [];
  clock.after(20, () => fired.push(`b@${clock.monotonicMs()}`));
  clock.after(10, () => {
    fired.push(`a@${clock.monotonicMs()}`);
    clock.after(5, () => fired.push(`nested@${clock.monotonicMs()}`));
  });
  clock.after(12, () => fired.push('cancelled')).cancel();
  t.equal(clock.nextDueMs(), 10);
  clock.advance(30);
  t.strictSame(fired, ['a@10', 'nested@15', 'b@20']);
  t.equal(clock.monotonicMs(), 30);
  clock.jumpWall(-500);
  t.equal(clock.wallMs(), 530);
});

t.test(
  'a breaker opens after failures in a row, probes once, and closes when that works',
  async (t) => {
    const breaker = new CircuitBreaker({ failureCountMax: 3, openMs: 60_000 });
    breaker.failed(0);
    breaker.failed(1);
    breaker.succeeded();
    breaker.failed(2);
    breaker.failed(3);
    t.equal(breaker.state, 'closed', 'the count began again');
    breaker.failed(4);
    t.equal(breaker.state, 'open');
    t.notOk(breaker.tryPass(60_003), 'not before its time');
    t.equal(breaker.probeAtMs, 60_004);
    t.ok(breaker.tryPass(60_004));
    t.equal(breaker.state, 'half-open');
    t.notOk(breaker.tryPass(60_004), 'one probe');
    breaker.failed(60_010);
    t.equal(breaker.state, 'open', 'one failure is enough now');
    t.notOk(breaker.tryPass(120_009));
    breaker.allowProbe(61_000);
    t.ok(breaker.tryPass(61_000), 'the cause is said to be gone');
    breaker.succeeded();
    t.equal(breaker.state, 'closed');
    t.equal(breaker.openedCount, 1);
  },
);

t.test('a breaker opens at once for a decisive failure', async (t) => {
  const breaker = new CircuitBreaker({ failureCountMax: 3, openMs: 10 });
  t.ok(breaker.tryPass(0));
  breaker.failed(0, true);
  t.equal(breaker.state, 'open');
});

t.test(
  'restarts wait 1, 2, 4, 8, 16 s and end after ten, and begin anew after a good run',
  async (t) => {
    const policy = new RestartPolicy();
    const delays = Array.from({ length: 11 }, () => policy.died(0));
    t.same(
      delays,
      [1, 2, 4, 8, 16, 16, 16, 16, 16, 16].map((s) => s * 1_000).concat([null as never]),
    );
    const steady = new RestartPolicy();
    steady.started(0);
    t.equal(steady.died(59_999), 1_000);
    steady.started(60_000);
    t.equal(steady.died(119_999), 2_000, 'it did not hold for a minute');
    steady.started(120_000);
    t.equal(steady.died(180_000), 1_000, 'it did');
  },
);

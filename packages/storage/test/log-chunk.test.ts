/**
 * Goal: whatever is changed in a chunk, a gap or the order of objects, the first index that cannot
 * be trusted is named; and what was not changed reads back as it was. Method: properties over
 * random logs, and one case per kind of change, also by somebody who mends the checksums.
 */
import type { Entry, HoldfastError } from '@holdfast/base';
import {
  clusterId,
  decodeEntry,
  EMPTY_LOG_SUM,
  encodeEntry,
  entrySizeBytes,
  logIndex,
  term,
} from '@holdfast/base';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { logChunkKey } from '../src/archive/archive-names.ts';
import type { ChainPoint } from '../src/archive/chain-point.ts';
import { checkFollows, emptyChainPoint } from '../src/archive/chain-point.ts';
import type { LogChunk } from '../src/archive/log-chunk.ts';
import { decodeLogChunk, encodeLogChunk, endOfChunk } from '../src/archive/log-chunk.ts';
import { LOG_CHUNK_HEADER_SIZE_BYTES } from '../src/archive/log-chunk-header.ts';
import { decodeLogGap, encodeLogGap, endOfGap } from '../src/archive/log-gap.ts';
import {
  decodeTimeline,
  encodeTimeline,
  haveSameOrigin,
  startOfTimeline,
} from '../src/archive/timeline-object.ts';
import { createEntryHasher, sha256, toHex } from '../src/checksum.ts';

const hasher = createEntryHasher();
const CLUSTER = clusterId('0123456789abcdef0123456789abcdef');
const TIMELINE = 'main';
const START = emptyChainPoint(sha256([Buffer.from('timeline')]));
const keyOf = (firstIndex: number): string => logChunkKey(CLUSTER, TIMELINE, firstIndex);

/** In these tests the stamp of a normal entry is the first eight bytes of its data. */
const timestampOf = (entry: Entry): number | null => {
  if (entry.type !== 'normal') return null;
  return new DataView(entry.data.buffer, entry.data.byteOffset).getFloat64(0, true);
};

interface Plan {
  readonly type: Entry['type'];
  readonly termStep: number;
  readonly timeStepMs: number;
  readonly sizeBytes: number;
}

const planOf: fc.Arbitrary<Plan> = fc.record({
  type: fc.constantFrom<Entry['type']>('normal', 'normal', 'normal', 'noop', 'conf'),
  termStep: fc.constantFrom(0, 0, 0, 1, 7),
  timeStepMs: fc.integer({ min: 0, max: 50 }),
  sizeBytes: fc.integer({ min: 8, max: 90 }),
});
const logOf = fc.array(planOf, { minLength: 1, maxLength: 30 });

function makeLog(plans: readonly Plan[], before: ChainPoint = START): readonly Entry[] {
  let { index, sum, term: lastTerm } = before as { index: number; sum: Uint8Array; term: number };
  let timeMs = 1_700_000_000_000;
  return plans.map((plan) => {
    index += 1;
    lastTerm += plan.termStep;
    timeMs += plan.timeStepMs;
    const data = new Uint8Array(plan.type === 'normal' ? plan.sizeBytes : 3).fill(index);
    if (plan.type === 'normal') new DataView(data.buffer).setFloat64(0, timeMs, true);
    sum = hasher(sum, term(lastTerm), logIndex(index), plan.type, data);
    return { index: logIndex(index), term: term(lastTerm), type: plan.type, data, sum };
  });
}

const steadyLog = (count: number): readonly Entry[] =>
  makeLog(
    Array.from({ length: count }, (_, i) => ({
      type: 'normal' as const,
      termStep: i === 0 ? 1 : 0,
      timeStepMs: 10,
      sizeBytes: 40,
    })),
  );

const encode = (entries: readonly Entry[], before: ChainPoint = START) =>
  encodeLogChunk({ clusterId: CLUSTER, timeline: TIMELINE, before, entries, timestampOf });

const decode = (bytes: Uint8Array, firstIndex = 1): LogChunk =>
  decodeLogChunk(bytes, {
    ...{ key: keyOf(firstIndex), firstIndex, clusterId: CLUSTER, timeline: TIMELINE },
    ...{ hasher, timestampOf },
  });

/** The index that the refusal names. */
function badIndexOf(t: Test, bytes: Uint8Array, message: string, firstIndex = 1): number {
  try {
    decode(bytes, firstIndex);
  } catch (thrown) {
    const { code, details } = thrown as HoldfastError;
    t.equal(code, 'BACKUP_CORRUPT', `${message}: ${(thrown as Error).message}`);
    t.equal(details.key, keyOf(firstIndex), 'the object is named');
    return details.index as number;
  }
  t.fail(`${message} is not found`);
  return -1;
}

const entriesSum = (entries: readonly Entry[]): number =>
  entries.reduce((size, entry) => size + entrySizeBytes(entry), 0);

/** The chunk with other entries behind its header, which stays as it is. */
function withEntries(bytes: Uint8Array, entries: readonly Entry[]): Uint8Array {
  const changed = new Uint8Array(LOG_CHUNK_HEADER_SIZE_BYTES + entriesSum(entries));
  changed.set(bytes.subarray(0, LOG_CHUNK_HEADER_SIZE_BYTES));
  let offset = LOG_CHUNK_HEADER_SIZE_BYTES;
  for (const entry of entries) offset = encodeEntry(entry, changed, offset);
  return changed;
}

t.test('any log in any pieces reads back as it was, and each piece continues the last', (t) => {
  fc.assert(
    fc.property(logOf, fc.integer({ min: 1, max: 9 }), (plans, pieceLength) => {
      const log = makeLog(plans);
      let end = START;
      const back: Entry[] = [];
      for (let i = 0; i < log.length; i += pieceLength) {
        const { bytes } = encode(log.slice(i, i + pieceLength), end);
        const chunk = decode(bytes, i + 1);
        checkFollows(chunk.header, end, keyOf(i + 1));
        end = endOfChunk(chunk);
        back.push(...chunk.entries);
      }
      t.strictSame(back, log);
      const stamps = log.map(timestampOf).filter((stamp) => stamp !== null);
      t.equal(end.timestampMs, Math.max(0, ...stamps));
    }),
    { numRuns: 60 },
  );
  t.end();
});

t.test('every single flipped byte of a chunk is found', (t) => {
  const { bytes } = encode(steadyLog(4));
  for (let at = 0; at < bytes.byteLength; at++) {
    const changed = bytes.slice();
    changed[at]! ^= 0x10;
    let code = 'read';
    try {
      decode(changed);
    } catch (thrown) {
      code = (thrown as HoldfastError).code;
    }
    // The version of the format is at 4 and 5: a newer one is refused as such.
    const expected = at === 4 || at === 5 ? 'FORMAT_UNKNOWN' : 'BACKUP_CORRUPT';
    if (code !== expected) t.fail(`byte ${at}: ${code}`);
  }
  for (let size = 0; size < bytes.byteLength; size++) {
    try {
      decode(bytes.subarray(0, size));
      t.fail(`${size} bytes of it are taken for the whole`);
    } catch (thrown) {
      if ((thrown as HoldfastError).code !== 'BACKUP_CORRUPT') throw thrown;
    }
  }
  t.end();
});

t.test('an edited, deleted, swapped or inserted entry is named by its index', (t) => {
  const random = fc.record({ plans: logOf, pick: fc.nat(), other: fc.nat() });
  fc.assert(
    fc.property(random, ({ plans, pick, other }) => {
      const log = makeLog(plans);
      const { bytes } = encode(log);
      const at = pick % log.length;
      const entry = log[at]!;
      const data = Uint8Array.from(entry.data, (byte, i) => (i === 2 ? byte ^ 1 : byte));
      const edited = withEntries(bytes, log.with(at, { ...entry, data }));
      t.equal(badIndexOf(t, edited, 'an edit'), at + 1);
      const deleted = withEntries(bytes, log.toSpliced(at, 1));
      t.equal(badIndexOf(t, deleted, 'a deletion'), at + 1);
      const inserted = withEntries(bytes, log.toSpliced(at, 0, entry));
      // The copy is right; the one behind it comes again.
      t.equal(badIndexOf(t, inserted, 'an insertion'), at + 2);
      const mate = other % log.length;
      if (mate === at) return;
      const swapped = withEntries(bytes, log.with(at, log[mate]!).with(mate, entry));
      t.equal(badIndexOf(t, swapped, 'a swap'), Math.min(at, mate) + 1);
    }),
    { numRuns: 40 },
  );
  t.end();
});

t.test('who edits an entry and mends every sum and hash of the chunk breaks the next one', (t) => {
  const log = steadyLog(9);
  const first = encode(log.slice(0, 3));
  const second = encode(log.slice(3, 6), endOfChunk(first));
  const third = encode(log.slice(6), endOfChunk(second));
  const forged = log.slice(3, 6).map((entry) => ({ ...entry, data: entry.data.slice() }));
  forged[1]!.data[20]! ^= 0xff;
  let sum = log[2]!.sum;
  const mended = forged.map((entry) => {
    sum = hasher(sum, entry.term, entry.index, entry.type, entry.data);
    return { ...entry, sum };
  });
  const other = encode(mended, endOfChunk(first));
  const read = decode(other.bytes, 4);
  checkFollows(read.header, endOfChunk(first), keyOf(4));
  t.throws(
    () => checkFollows(decode(third.bytes, 7).header, endOfChunk(read), keyOf(7)),
    { code: 'BACKUP_CORRUPT', details: { key: keyOf(7), index: 7 } },
    'the chain does not take it',
  );
  t.end();
});

t.test('a forger who keeps the sums of the log is found by the hash', (t) => {
  const log = steadyLog(6);
  const first = encode(log.slice(0, 3));
  // Another time stamp before it: the entries and their sums are the same.
  const older = encode(log.slice(0, 3), { ...START, hash: sha256([Buffer.from('another')]) });
  const second = encode(log.slice(3), endOfChunk(first));
  t.throws(() => checkFollows(decode(second.bytes, 4).header, endOfChunk(older), keyOf(4)), {
    code: 'BACKUP_CORRUPT',
    message: /does not continue the object before it/,
  });
  t.end();
});

t.test('a chunk under another key, of another cluster or timeline is refused', (t) => {
  const { bytes } = encode(steadyLog(3));
  t.equal(badIndexOf(t, bytes, 'another key', 2), 2);
  const checks = { key: keyOf(1), firstIndex: 1, hasher, timestampOf };
  const otherCluster = { ...checks, clusterId: 'f'.repeat(32), timeline: TIMELINE };
  t.throws(() => decodeLogChunk(bytes, otherCluster), { message: /another cluster/ });
  const otherTimeline = { ...checks, clusterId: CLUSTER, timeline: 'other' };
  t.throws(() => decodeLogChunk(bytes, otherTimeline), { message: /another timeline/ });
  t.end();
});

t.test('a chunk that is missing between two is named by its first index', (t) => {
  const log = steadyLog(9);
  const first = encode(log.slice(0, 3));
  const second = encode(log.slice(3, 6), endOfChunk(first));
  const third = encode(log.slice(6), endOfChunk(second));
  t.throws(() => checkFollows(third.header, endOfChunk(first), keyOf(7)), {
    code: 'BACKUP_CORRUPT',
    details: { index: 4 },
  });
  t.end();
});

t.test('entries without a time stamp have the log time before them', (t) => {
  const plan = { termStep: 0, timeStepMs: 10, sizeBytes: 16 };
  const log = makeLog([
    { ...plan, type: 'noop' },
    { ...plan, type: 'normal' },
    { ...plan, type: 'conf' },
  ]);
  const { header } = encode(log);
  t.equal(header.firstTimestampMs, 0, 'nothing is known before the first stamp');
  t.equal(header.lastTimestampMs, 1_700_000_000_020);
  const later = encode(makeLog([{ ...plan, type: 'noop' }], endOfChunk({ header })), {
    ...endOfChunk({ header }),
  });
  t.equal(later.header.firstTimestampMs, 1_700_000_000_020);
  t.end();
});

t.test('a gap takes its place in the chain, and no byte of it can be changed', (t) => {
  const log = steadyLog(9);
  const first = encode(log.slice(0, 3));
  const last = log[5]!;
  const gap = encodeLogGap({
    ...{ clusterId: CLUSTER, timeline: TIMELINE, before: endOfChunk(first), end: last },
    ...{ reason: 'compacted', createdMs: 1_700_000_000_000 },
  });
  const checks = { key: keyOf(4), firstIndex: 4, clusterId: CLUSTER, timeline: TIMELINE };
  const read = decodeLogGap(gap.bytes, checks);
  t.strictSame(read, gap);
  checkFollows(read, endOfChunk(first), keyOf(4));
  t.same([read.firstIndex, read.lastIndex, toHex(read.lastSum)], [4, 6, toHex(last.sum)]);
  const next = encode(log.slice(6), endOfGap(gap));
  checkFollows(decode(next.bytes, 7).header, endOfGap(read), keyOf(7));
  for (let at = 0; at < gap.bytes.byteLength; at++) {
    const changed = gap.bytes.slice();
    changed[at]! ^= 1;
    try {
      const other = decodeLogGap(changed, checks);
      checkFollows(decode(next.bytes, 7).header, endOfGap(other), keyOf(7));
      t.fail(`byte ${at}`);
    } catch (thrown) {
      t.match((thrown as HoldfastError).code, /BACKUP_CORRUPT|FORMAT_UNKNOWN/);
    }
  }
  t.end();
});

t.test('a timeline says where it leaves its parent, and its chain begins with its hash', (t) => {
  const own = { clusterId: CLUSTER, timeline: 'r-1', createdMs: 5 };
  const parent = {
    ...{ clusterId: clusterId('f'.repeat(32)), timeline: TIMELINE, index: logIndex(17) },
    ...{ term: term(3), sum: sha256([]).slice(0, 16), timestampMs: 9 },
  };
  const { bytes, timeline } = encodeTimeline({ ...own, parent });
  const key = `${CLUSTER}/timelines/r-1`;
  const read = decodeTimeline(bytes, { key, clusterId: CLUSTER, timeline: 'r-1' });
  t.strictSame(read, timeline);
  t.match(startOfTimeline(read), { index: 17, term: 3, timestampMs: 9 });
  t.strictSame(startOfTimeline(read).hash, sha256([bytes]));
  t.equal(haveSameOrigin(read, { ...own, createdMs: 6, parent }), true);
  t.equal(haveSameOrigin(read, { ...own, parent: { ...parent, index: logIndex(18) } }), false);
  t.equal(haveSameOrigin(read, { ...own, parent: null }), false);
  const root = encodeTimeline({ ...own, parent: null }).timeline;
  t.strictSame(startOfTimeline(root).sum, EMPTY_LOG_SUM);
  t.throws(() => decodeTimeline(bytes, { key, clusterId: CLUSTER, timeline: 'r-2' }), {
    code: 'BACKUP_CORRUPT',
  });
  t.end();
});

t.test('a chunk can be read by hand from the table in the docs', (t) => {
  const log = steadyLog(2);
  const { bytes, header } = encode(log);
  const view = new DataView(bytes.buffer);
  t.equal(Buffer.from(bytes.subarray(0, 4)).toString(), 'HFLC');
  t.equal(view.getUint32(8, true), 2, 'entries');
  t.equal(toHex(bytes.subarray(16, 32)), CLUSTER);
  t.equal(Buffer.from(bytes.subarray(33, 33 + bytes[32]!)).toString(), TIMELINE);
  t.same([view.getBigUint64(80, true), view.getBigUint64(88, true)], [1n, 2n]);
  t.equal(view.getBigUint64(136, true), 1_700_000_000_020n);
  t.strictSame(bytes.slice(144, 160), EMPTY_LOG_SUM);
  t.strictSame(bytes.slice(160, 176), log[1]!.sum);
  t.strictSame(bytes.slice(192, 224), START.hash);
  const hashed = [bytes.subarray(0, 224), bytes.subarray(256)];
  t.strictSame(bytes.slice(224, 256), sha256(hashed));
  t.strictSame(header.hash, sha256(hashed));
  t.strictSame(decodeEntry(bytes, 256).entry, log[0]);
  t.end();
});

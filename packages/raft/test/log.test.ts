// The log beneath the rules: durable part and tail as one, numbered appends, and what a random
// sequence of changes, appends and late acknowledgements may claim to be durable.
import type { Entry, HardState, LogIndex } from '@holdfast/base';
import { entrySizeBytes, SeededRandom, sumsEqual } from '@holdfast/base';
import t from 'tap';
import { RaftLog } from '../src/log/raft-log.ts';
import { confOf } from '../src/testing/core-cluster.ts';
import { InMemoryLog } from '../src/testing/memory-log.ts';
import { at, extend, logOf, termOf } from './support.ts';

const NO_LIMIT = Number.POSITIVE_INFINITY;
const hardState = (term: number, commit = 0): HardState => ({
  term: termOf(term),
  vote: null,
  commit: at(commit),
});

function open(terms: readonly number[], commit = 0): { log: RaftLog; disk: InMemoryLog } {
  const disk = new InMemoryLog({
    conf: confOf(['a']),
    entries: logOf(terms),
    hardState: hardState(terms.at(-1) ?? 0, commit),
    applied: at(0),
  });
  return { log: new RaftLog(disk, 1_000), disk };
}

t.test('terms and sums are the same from the durable part and from the tail', async (t) => {
  const { log } = open([1, 1, 2]);
  const base = logOf([1, 1, 2]);
  log.append(extend(base, [3, 3]));
  t.same(
    [0, 1, 2, 3, 4, 5].map((index) => log.term(index)),
    [0, 1, 1, 2, 3, 3],
  );
  t.equal(log.term(6), null);
  t.equal(log.sum(6), null);
  t.equal(log.lastIndex, 5);
  t.same(log.sum(5), extend(base, [3, 3])[1]!.sum);
});

t.test(
  'entries cross from the durable part to the tail without gap, and are cut by size',
  async (t) => {
    const { log } = open([1, 1, 1]);
    log.append(extend(logOf([1, 1, 1]), [1, 1, 1]));
    const size = entrySizeBytes(logOf([1])[0]!);
    for (let low = 1; low <= 6; low++)
      for (let high = low + 1; high <= 7; high++)
        for (const limit of [0, size, 2 * size, 3 * size + 1, NO_LIMIT]) {
          const got = log.entries(at(low), at(high), limit);
          const fitting = Math.max(1, Math.min(high - low, Math.floor(limit / size)));
          const expected = Array.from({ length: fitting }, (_, i) => low + i);
          const indexes = got === 'unreadable' ? got : got?.map(({ index }) => index);
          if (JSON.stringify(indexes) !== JSON.stringify(expected))
            t.fail(`${low}..${high} limit ${limit}`, { got });
        }
    t.pass('every range and limit');
  },
);

t.test('compacted positions say so', async (t) => {
  const { log, disk } = open([1, 1, 1, 1], 3);
  log.takeApply();
  log.setApplied(at(3));
  const entry = logOf([1, 1])[1]!;
  const conf = confOf(['a']);
  disk.setSnapshot({ ...entry, conf, confIndex: at(0), id: 's' });
  disk.compact(at(2));
  t.equal(log.firstIndex, 3);
  t.equal(log.term(1), null);
  t.equal(log.term(2), 1, 'the position before the first is known');
  t.equal(log.entries(at(2), at(4), NO_LIMIT), null);
  t.equal(log.term(0), null);
});

t.test('the conflict search finds the last position of a term not above', async (t) => {
  const { log } = open([2, 2, 2, 4, 4, 6]);
  const cases = [
    [6, 6, 6],
    [6, 5, 5],
    [6, 4, 5],
    [6, 3, 3],
    [6, 2, 3],
    [6, 1, 0],
    [4, 6, 4],
    [2, 9, 2],
    [99, 9, 6],
  ];
  for (const [index, term, expected] of cases)
    t.equal(log.findConflictByTerm(index!, termOf(term!)).index, expected, `${index} at ${term}`);
});

t.test('up to date compares the term first, then the length', async (t) => {
  const { log } = open([1, 2, 2]);
  const table: readonly (readonly [number, number, boolean])[] = [
    [9, 1, false],
    [2, 2, false],
    [3, 2, true],
    [4, 2, true],
    [1, 3, true],
  ];
  for (const [index, term, expected] of table)
    t.equal(log.isUpToDate(at(index), termOf(term)), expected, `${index} of term ${term}`);
});

t.test('committing past the end or truncating the committed part is our bug', async (t) => {
  const { log } = open([1, 1, 1]);
  t.throws(() => log.commitTo(at(4)), { name: 'InvariantViolation' });
  log.commitTo(at(2));
  t.throws(() => log.truncate(at(2)), { name: 'InvariantViolation' });
  t.equal(log.commitTo(at(1)), false);
  t.equal(log.committed, 2);
});

t.test('a tail that was never handed out is replaced without a truncation on disk', async (t) => {
  const { log } = open([1]);
  log.append(extend(logOf([1]), [2, 2]));
  log.truncate(at(2));
  log.append(extend(logOf([1]), [3]));
  t.match(log.takeAppend(hardState(3)), { truncateFrom: null, entries: [{ index: 2, term: 3 }] });
});

t.test('repeated truncations in one turn become one', async (t) => {
  const { log } = open([1, 1, 1, 1]);
  log.truncate(at(4));
  log.append(extend(logOf([1, 1, 1]), [2, 2]));
  log.truncate(at(2));
  log.append(extend(logOf([1]), [3]));
  t.match(log.takeAppend(hardState(3)), { truncateFrom: 2, entries: [{ index: 2, term: 3 }] });
  t.equal(log.hasAppend(hardState(3)), false);
});

t.test('acknowledgements of the disk may be merged and late, never invented', async (t) => {
  const { log, disk } = open([]);
  let base: Entry[] = [];
  for (let term = 1; term <= 4; term++) {
    const more = extend(base, [1]);
    log.append(more);
    base = [...base, ...more];
    disk.write(log.takeAppend(hardState(1))!);
  }
  t.throws(() => log.appended(5), { name: 'InvariantViolation' });
  disk.sync(3);
  log.appended(3);
  t.equal(log.durable, 3);
  log.appended(1);
  t.equal(log.durable, 3);
  disk.sync(4);
  log.appended(4);
  t.equal(log.durable, 4);
});

t.test(
  'whatever is called durable is on the disk, for random changes and late syncs',
  async (t) => {
    for (let seed = 1; seed <= 200; seed++) {
      const random = new SeededRandom(seed);
      const { log, disk } = open([]);
      let now: Entry[] = [];
      let term = 1;
      for (let step = 0; step < 60; step++) {
        const dice = random.nextBelow(10);
        if (dice < 4) {
          const more = extend(
            now,
            Array.from({ length: 1 + random.nextBelow(3) }, () => term),
          );
          log.append(more);
          now = [...now, ...more];
        } else if (dice < 6 && now.length > log.committed) {
          const from = log.committed + 1 + random.nextBelow(now.length - log.committed);
          term += 1;
          log.truncate(at(from));
          now = now.slice(0, from - 1);
          const more = extend(now, [term], `s${step}`);
          log.append(more);
          now = [...now, ...more];
        } else if (dice < 8) {
          const append = log.takeAppend(hardState(term, log.committed));
          if (append !== null) disk.write(append);
        } else if (dice < 9) {
          const seqs = disk.unsyncedSeqs();
          if (seqs.length === 0) continue;
          const seq = seqs[random.nextBelow(seqs.length)]!;
          disk.sync(seq);
          log.appended(seq);
        } else if (log.durable > 0) {
          log.commitTo(random.nextBelow(log.durable + 1) as LogIndex);
        }
        const isSound =
          log.lastIndex === now.length &&
          (log.durable === 0 ||
            sumsEqual(disk.syncedSum(log.durable) ?? new Uint8Array(1), now[log.durable - 1]!.sum));
        if (!isSound) t.fail(`seed ${seed} step ${step}`, { durable: log.durable });
      }
      const rest = log.takeAppend(hardState(term + 1));
      disk.write(rest!);
      disk.sync(rest!.seq);
      log.appended(rest!.seq);
      const stored = now.length === 0 ? [] : disk.entries(at(1), at(now.length + 1), NO_LIMIT);
      if (stored === 'compacted' || stored.some((entry, i) => entry !== now[i]))
        t.fail(`seed ${seed}: the disk holds another log`);
      if (log.durable !== now.length) t.fail(`seed ${seed}: not everything is durable`);
    }
    t.pass('200 seeds');
  },
);

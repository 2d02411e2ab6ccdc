// A group of one: no peers to wait for, so the disk is the only thing that makes anything true.
import { entrySizeBytes } from '@holdfast/base';
import t from 'tap';
import { at, Bench } from './support.ts';

const ALONE = { voters: ['a'] };

t.test('it leads only once its vote is durable', async (t) => {
  for (const preVote of [false, true]) {
    const bench = new Bench({ ...ALONE, raft: { preVote } });
    bench.core.campaign();
    bench.take();
    t.equal(bench.status.role, 'candidate');
    bench.sync();
    t.match(bench.status, { role: 'leader', term: 1 });
  }
});

t.test('it commits and applies only once its append is durable', async (t) => {
  const bench = new Bench(ALONE);
  bench.lead();
  t.equal(bench.status.commit, 1);
  const outcome = bench.core.propose([new Uint8Array([1]), new Uint8Array([2])]);
  t.match(outcome, { ok: true, term: 1, index: 2 });
  bench.take();
  t.equal(bench.status.commit, 1);
  t.equal(bench.applied.length, 1);
  bench.sync();
  t.equal(bench.status.commit, 3);
  bench.take();
  t.match(bench.applied[1], { kind: 'entries', entries: [{ index: 2 }, { index: 3 }] });
});

t.test('it serves reads at once when it leads', async (t) => {
  const bench = new Bench(ALONE);
  bench.lead();
  t.match(bench.core.readIndex(), { ok: true, requestId: 1 });
  bench.flush();
  t.match(bench.reads, [{ requestId: 1, outcome: { kind: 'ready', index: 1 } }]);
});

t.test('it campaigns by itself and survives quorum checks', async (t) => {
  const bench = new Bench({ ...ALONE, raft: { checkQuorum: true, preVote: true } });
  for (let tick = 0; tick < 100; tick++) {
    bench.tick();
    bench.flush();
  }
  t.match(bench.status, { role: 'leader', term: 1 });
});

t.test('a learner beside it is replicated to but decides nothing', async (t) => {
  const bench = new Bench({ ...ALONE, learners: ['l'] });
  bench.core.campaign();
  bench.take();
  t.same(bench.sent, [], 'the learner is told nothing of a term that is not durable');
  bench.sync();
  t.match(bench.flushOf('append'), [{ to: 'l', entries: [{ type: 'noop' }] }]);
  t.equal(bench.status.commit, 1);
});

t.test(
  'after a restart everything committed is applied again from where the state is',
  async (t) => {
    const bench = new Bench({ ...ALONE, terms: [1, 1, 1], commit: 2, applied: 1 });
    bench.take();
    t.match(bench.applied, [{ kind: 'entries', entries: [{ index: 2 }] }]);
    bench.lead();
    t.match(bench.applied[1], { kind: 'entries', entries: [{ index: 3 }, { index: 4 }] });
  },
);

t.test('batches for the state machine are bounded and never skip', async (t) => {
  const bench = new Bench({
    ...ALONE,
    terms: Array.from({ length: 20 }, () => 1),
    commit: 20,
    raft: { applyingSizeBytesMax: 130 },
  });
  const seen: number[] = [];
  for (let round = 0; round < 40 && seen.length < 20; round++) {
    bench.take();
    const handedOut = bench.applied
      .splice(0)
      .flatMap((batch) => (batch.kind === 'entries' ? batch.entries : []));
    const sizeBytes = handedOut.reduce((sum, entry) => sum + entrySizeBytes(entry), 0);
    t.ok(
      sizeBytes < 130 + entrySizeBytes(handedOut.at(-1)!),
      'over the limit by one entry at most',
    );
    seen.push(...handedOut.map(({ index }) => index));
    bench.core.applied(handedOut.at(-1)!.index);
  }
  t.same(
    seen,
    Array.from({ length: 20 }, (_, i) => i + 1),
  );
});

t.test(
  'however small they are, only so many entries are handed out before any is applied',
  async (t) => {
    const count = 20_000;
    const terms = Array.from({ length: count }, () => 1);
    const bench = new Bench({ ...ALONE, terms, commit: count });
    bench.take();
    const lastOf = (batches: typeof bench.applied): number => {
      const batch = batches.at(-1);
      return batch?.kind === 'entries' ? batch.entries.at(-1)!.index : 0;
    };
    const first = lastOf(bench.applied);
    t.ok(first >= 1_000 && first < count, `${first} entries are enough to be busy with`);
    bench.core.applied(at(500));
    bench.take();
    t.equal(lastOf(bench.applied), first + 500, 'as many more as were done');
  },
);

t.test('a log that lacks committed or applied entries is refused at the start', async (t) => {
  const broken = [
    { terms: [1], commit: 2 },
    { terms: [1], applied: 2 },
  ];
  for (const options of broken)
    t.throws(() => new Bench({ ...ALONE, ...options }), { name: 'InvariantViolation' });
});

/**
 * Goal: whatever the network and the cluster do, a write reported ok took effect exactly once, a
 * write reported as definitely failed never takes effect, and nothing takes effect twice.
 * Method: the real client on virtual time against a model of the replicated session table, with
 * faults drawn by fast-check; effects are counted by the model after everything late has landed.
 */
import { HoldfastError, SeededRandom } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import fc from 'fast-check';
import t from 'tap';
import { HoldfastClient } from '../src/client.ts';
import { FakeTransport } from '../src/testing/fake-transport.ts';
import type { ModelFault } from '../src/testing/model-cluster.ts';
import { ModelCluster } from '../src/testing/model-cluster.ts';
import { pass } from '../src/testing/pass.ts';

const FAULTS: readonly ModelFault[] = [
  'requestLost',
  'replyLost',
  'leadershipLostCommitsLater',
  'leadershipLostNeverCommits',
  'timeoutCommitsLater',
  'silentCommits',
  'silentDrops',
  'overloaded',
  'notLeader',
  'noLeader',
  'refusedBeforePropose',
  'internal',
];

type Step =
  | { readonly kind: 'write'; readonly isConditional: boolean }
  | { readonly kind: 'elect'; readonly nodeAt: number | null }
  | { readonly kind: 'kill'; readonly nodeAt: number }
  | { readonly kind: 'restart'; readonly nodeAt: number }
  | { readonly kind: 'cut' }
  | { readonly kind: 'expire' }
  | { readonly kind: 'pass'; readonly ms: number };

const nodeAt = fc.integer({ min: 0, max: 2 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('write'), isConditional: fc.boolean() }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('pass'), ms: fc.integer({ min: 1, max: 300 }) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('elect'), nodeAt: fc.option(nodeAt) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('kill'), nodeAt }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('restart'), nodeAt }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'cut' } as const) },
  { weight: 2, arbitrary: fc.constant({ kind: 'expire' } as const) },
) as fc.Arbitrary<Step>;

interface Written {
  readonly id: number;
  readonly outcome: 'ok' | HoldfastError;
}

interface Run {
  readonly steps: readonly Step[];
  readonly faults: readonly (ModelFault | 'none')[];
  readonly seed: number;
  readonly usesSession: boolean;
}

async function play(run: Run): Promise<{ cluster: ModelCluster; written: readonly Written[] }> {
  const clock = new VirtualClock();
  const random = new SeededRandom(run.seed);
  const transport = new FakeTransport({ timers: clock, random });
  let faultAt = 0;
  const faults = (): ModelFault => run.faults[faultAt++] ?? 'none';
  const cluster = new ModelCluster({ timers: clock, random, transport, faults });
  const connecting = HoldfastClient.connect({
    nodes: cluster.addresses,
    transport,
    clock,
    timers: clock,
    random,
    timeoutMs: 1_500,
    usesSession: run.usesSession,
  });
  await pass(clock, 50);
  const client = await connecting;
  const docs = client.collection('docs');
  const written: Promise<Written>[] = [];
  for (const each of run.steps) {
    switch (each.kind) {
      case 'write': {
        const id = written.length;
        const point = { id, vector: [id], ...(each.isConditional ? { ifAbsent: true } : {}) };
        written.push(
          docs.upsert(point).then(
            () => ({ id, outcome: 'ok' as const }),
            (outcome: HoldfastError) => ({ id, outcome }),
          ),
        );
        break;
      }
      case 'elect':
        cluster.elect(each.nodeAt);
        break;
      case 'kill':
        cluster.kill(each.nodeAt);
        break;
      case 'restart':
        cluster.restart(each.nodeAt);
        break;
      case 'cut':
        cluster.cutAllConnections();
        break;
      case 'expire':
        cluster.expireSessions();
        break;
      case 'pass':
        await pass(clock, each.ms);
        break;
    }
  }
  await pass(clock, 3_000);
  const results = await Promise.all(written);
  const closing = client.close();
  await pass(clock, 2_000);
  await closing;
  return { cluster, written: results };
}

function judge(cluster: ModelCluster, written: readonly Written[]): string | null {
  for (const { id, outcome } of written) {
    const count = cluster.executionCounts.get(id) ?? 0;
    if (count > 1) return `write ${id} took effect ${count} times`;
    if (outcome === 'ok' && count !== 1) return `write ${id} was ok without effect`;
    if (!(outcome instanceof HoldfastError)) {
      if (outcome !== 'ok') return `write ${id} ended with ${String(outcome)}`;
      continue;
    }
    if (outcome.definite && count !== 0) {
      return `write ${id} failed definitely (${outcome.code}) but took effect`;
    }
  }
  return null;
}

t.test('ok means exactly once and definite means never, under any faults', async (t) => {
  const outcomes = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        steps: fc.array(step, { minLength: 1, maxLength: 30 }),
        faults: fc.array(fc.constantFrom<ModelFault>('none', ...FAULTS), { maxLength: 40 }),
        seed: fc.nat(),
        usesSession: fc.boolean(),
      }),
      async (run) => {
        const { cluster, written } = await play(run);
        for (const { outcome } of written) {
          const key = outcome === 'ok' ? 'ok' : outcome.definite ? 'definite' : 'indefinite';
          outcomes.set(key, (outcomes.get(key) ?? 0) + 1);
        }
        const problem = judge(cluster, written);
        if (problem !== null) throw new Error(problem);
      },
    ),
    { numRuns: 600 },
  );
  // The property would hold for a client that never does anything: see that all three were reached.
  for (const key of ['ok', 'definite', 'indefinite']) {
    t.ok((outcomes.get(key) ?? 0) > 50, `${key} was reached`, {
      found: Object.fromEntries(outcomes),
    });
  }
});

t.test('a refusal after an indefinite attempt is reported as indefinite', async (t) => {
  const { cluster, written } = await play({
    steps: [{ kind: 'write', isConditional: false }],
    faults: ['none', 'replyLost', 'refusedBeforePropose'],
    seed: 1,
    usesSession: true,
  });
  const outcome = written[0]?.outcome;
  t.ok(outcome instanceof HoldfastError);
  if (!(outcome instanceof HoldfastError)) return;
  t.equal(outcome.code, 'COLLECTION_NOT_FOUND');
  t.equal(outcome.definite, false);
  t.equal(cluster.executionCounts.get(0), 1, 'the first attempt did take effect');
});

t.test('a recorded conflict is definite even after an indefinite attempt', async (t) => {
  const clock = new VirtualClock();
  const random = new SeededRandom(7);
  const transport = new FakeTransport({ timers: clock, random });
  const faults: ModelFault[] = ['none', 'none', 'replyLost'];
  const cluster = new ModelCluster({
    timers: clock,
    random,
    transport,
    faults: () => faults.shift() ?? 'none',
  });
  const parts = { transport, clock, timers: clock, random };
  const connecting = HoldfastClient.connect({ nodes: cluster.addresses, ...parts });
  await pass(clock, 20);
  const client = await connecting;
  const docs = client.collection('docs');
  const first = docs.upsert({ id: 1, vector: [1], ifAbsent: true });
  await pass(clock, 20);
  await first;
  const second = docs.upsert({ id: 1, vector: [2], ifAbsent: true });
  const rejected = t.rejects(second, { code: 'VERSION_CONFLICT', definite: true });
  await pass(clock, 200);
  await rejected;
  const closing = client.close();
  await pass(clock, 1_000);
  await closing;
});

t.test('a write whose session expired before it was sent runs once in a new session', async (t) => {
  const { cluster, written } = await play({
    steps: [
      { kind: 'write', isConditional: false },
      { kind: 'pass', ms: 50 },
      { kind: 'expire' },
      { kind: 'write', isConditional: false },
    ],
    faults: [],
    seed: 3,
    usesSession: true,
  });
  t.same(
    written.map(({ outcome }) => outcome),
    ['ok', 'ok'],
  );
  t.same([...cluster.executionCounts.values()], [1, 1]);
});

t.test(
  'a session that expired after an indefinite attempt is reported, never renewed',
  async (t) => {
    const { cluster, written } = await play({
      steps: [
        { kind: 'write', isConditional: false },
        { kind: 'pass', ms: 50 },
        { kind: 'write', isConditional: false },
        { kind: 'pass', ms: 20 },
        { kind: 'expire' },
        { kind: 'pass', ms: 20 },
        { kind: 'cut' },
      ],
      faults: ['none', 'none', 'silentCommits'],
      seed: 4,
      usesSession: true,
    });
    const outcome = written[1]?.outcome;
    t.ok(outcome instanceof HoldfastError);
    if (!(outcome instanceof HoldfastError)) return;
    t.equal(outcome.code, 'SESSION_EXPIRED');
    t.equal(outcome.definite, false);
    t.equal(cluster.executionCounts.get(1), 1);
  },
);

t.test('without a session a write is never repeated after its reply was lost', async (t) => {
  const { cluster, written } = await play({
    steps: [{ kind: 'write', isConditional: false }],
    faults: ['replyLost'],
    seed: 5,
    usesSession: false,
  });
  const outcome = written[0]?.outcome;
  t.ok(outcome instanceof HoldfastError && outcome.code === 'CONNECTION_LOST' && !outcome.definite);
  t.equal(cluster.executionCounts.get(0), 1);
});

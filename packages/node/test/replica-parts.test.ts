/**
 * Goal: the small parts of a replica keep their promises one by one; the whole is tested elsewhere.
 */
import { logIndex, type NodeId, nodeId, term } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import type { DropReason } from '@holdfast/raft';
import t from 'tap';
import { isClockRight, medianOffsetMs, ownSkewMs } from '../src/replica/clock-median.ts';
import { LeaderClock } from '../src/replica/leader-clock.ts';
import { LeaderReadiness } from '../src/replica/leader-readiness.ts';
import { dropError, PENDING_PROPOSAL_COUNT_MAX, Proposals } from '../src/replica/proposals.ts';
import { ReadGate } from '../src/replica/read-gate.ts';
import { succeeded } from '../src/state/meta-step.ts';

const FAR_MS = 1e9;
const applied = (index: number, entryTerm: number) => {
  const at = { index: logIndex(index), term: term(entryTerm) };
  return { ...at, slot: { result: succeeded(at, { kind: 'written', deletedCount: 0 }) } };
};
const accept = (index: number, entryTerm: number) => () =>
  ({ ok: true, index: logIndex(index), term: term(entryTerm) }) as const;

t.test('a stamp never goes back, whatever the wall clock does', async (t) => {
  const clock = new VirtualClock(1_000_000);
  const stamps = new LeaderClock(clock, () => 0);
  stamps.startTerm(2_000_000);
  t.equal(stamps.nextStampMs(), 2_000_000, 'a new leader starts at the last stamp of the log');
  clock.advance(1_500);
  clock.jumpWall(-900_000);
  t.equal(stamps.nextStampMs(), 2_001_500, 'within a term only monotonic time counts');
  clock.jumpWall(5_000_000);
  t.equal(stamps.nextStampMs(), 2_001_500);
  stamps.startTerm(2_001_500);
  t.ok(stamps.nextStampMs() > 5_000_000, 'the next term starts at the wall clock again');
});

t.test('log time starts at the clock of a quorum, and waits while it is not known', async (t) => {
  const clock = new VirtualClock(9_000_000);
  let offsetMs: number | null = null;
  const stamps = new LeaderClock(clock, () => offsetMs);
  stamps.startTerm(1_000_000);
  t.equal(stamps.nextStampMs(), 1_000_000, 'its own clock alone moves nothing');
  clock.advance(250);
  t.equal(stamps.nextStampMs(), 1_000_250, 'but time goes on');
  offsetMs = -7_000_000;
  t.equal(stamps.nextStampMs(), 2_000_250, 'the median, once it is known');
  offsetMs = 0;
  clock.advance(250);
  t.equal(stamps.nextStampMs(), 2_000_500, 'and for the whole term');
});

t.test('one wrong clock among three is known as such by everybody', async (t) => {
  const voters = ['n1', 'n2', 'n3'].map(nodeId);
  const [n1, n2, n3] = voters as [NodeId, NodeId, NodeId];
  const right = {
    voters,
    self: n1,
    offsetsMs: new Map([
      [n2, 60_000],
      [n3, -20],
    ]),
  };
  t.equal(medianOffsetMs(right), 0);
  t.equal(ownSkewMs(right), -0);
  t.ok(isClockRight(right, n1));
  t.ok(isClockRight(right, n3));
  t.notOk(isClockRight(right, n2));
  const wrong = {
    voters,
    self: n2,
    offsetsMs: new Map([
      [n1, -60_000],
      [n3, -60_020],
    ]),
  };
  t.equal(medianOffsetMs(wrong), -60_000);
  t.equal(ownSkewMs(wrong), 60_000);
  const two = { voters, self: n2, offsetsMs: new Map([[n1, -60_000]]) };
  t.equal(medianOffsetMs(two), -60_000, 'of two the earlier: being ahead cannot be undone');
  t.equal(ownSkewMs(two), null, 'but two do not say who is wrong');
  const alone = { voters, self: n2, offsetsMs: new Map() };
  t.equal(medianOffsetMs(alone), null);
  const learner = {
    voters,
    self: nodeId('n9'),
    offsetsMs: new Map([
      [n1, 5],
      [n2, 6],
      [n3, 7],
    ]),
  };
  t.equal(medianOffsetMs(learner), 6, 'the clock of a node without a vote does not count');
});

t.test('a write is answered by the entry of its own term, and only by that', async (t) => {
  const proposals = new Proposals();
  const mine = proposals.add(new Uint8Array(1), FAR_MS);
  const replaced = proposals.add(new Uint8Array(1), FAR_MS);
  proposals.flush(accept(10, 3));
  proposals.settle([applied(10, 3), applied(11, 4)]);
  t.match(await mine, { ok: true, index: 10, term: 3 });
  await t.rejects(replaced, { code: 'LEADERSHIP_LOST', definite: false });
  t.equal(proposals.pendingCount, 0);
});

t.test('a write that was never proposed is refused definitely', async (t) => {
  const proposals = new Proposals();
  const refused = proposals.add(new Uint8Array(1), FAR_MS);
  proposals.flush(() => ({ ok: false, drop: 'not-leader', leader: nodeId('n2') }));
  await t.rejects(refused, { code: 'NOT_LEADER', definite: true });
});

t.test('a deposed leader knows nothing about the writes under way', async (t) => {
  const proposals = new Proposals();
  const write = proposals.add(new Uint8Array(1), FAR_MS);
  proposals.flush(accept(1, 1));
  proposals.abandon();
  await t.rejects(write, { code: 'LEADERSHIP_LOST', definite: false, retry: 'sameRequestId' });
});

t.test('a write that is not applied in time is indefinite', async (t) => {
  const proposals = new Proposals();
  const write = proposals.add(new Uint8Array(1), 100);
  proposals.flush(accept(1, 1));
  proposals.expire(99);
  t.equal(proposals.pendingCount, 1);
  proposals.expire(100);
  await t.rejects(write, { code: 'REQUEST_TIMEOUT', definite: false });
});

t.test('writes under way are bounded', async (t) => {
  const proposals = new Proposals();
  const outcomes: Promise<unknown>[] = [];
  for (let i = 0; i < PENDING_PROPOSAL_COUNT_MAX; i++) {
    outcomes.push(proposals.add(new Uint8Array(1), FAR_MS).catch((error: unknown) => error));
  }
  await t.rejects(proposals.add(new Uint8Array(1), FAR_MS), { code: 'OVERLOADED', definite: true });
  proposals.refuseWaiting(dropError('transferring', null));
  t.match(
    await Promise.all(outcomes),
    outcomes.map(() => ({ code: 'NO_LEADER' })),
  );
});

t.test('every reason to drop a proposal is a definite refusal', async (t) => {
  const reasons: DropReason[] = [
    'no-leader',
    'not-leader',
    'transferring',
    'over-uncommitted',
    'conf-pending',
    'conf-invalid',
    'not-member',
    'disk-stalled',
    'too-large',
    'too-many-reads',
  ];
  for (const reason of reasons) t.equal(dropError(reason, null).definite, true, reason);
});

t.test('a read waits for the confirmed index to be applied', async (t) => {
  const gate = new ReadGate(() => 0);
  const read = gate.linearizable(FAR_MS);
  gate.flush(() => ({ ok: true, requestId: 1 }));
  let isServed = false;
  const served = read.then((index) => {
    isServed = true;
    return index;
  });
  const outcome = { kind: 'ready', index: logIndex(5) } as const;
  gate.onReadStates([{ requestId: 1, outcome }], logIndex(4));
  await Promise.resolve();
  t.equal(isServed, false, 'index 5 is confirmed but only 4 is applied');
  gate.onApplied(logIndex(6));
  t.equal(await served, 6);
});

t.test('reads of one turn share a round; a later read needs a later round', async (t) => {
  const gate = new ReadGate(() => 0);
  let rounds = 0;
  const readIndex = () => {
    rounds += 1;
    return { ok: true, requestId: rounds } as const;
  };
  const first = [gate.linearizable(FAR_MS), gate.linearizable(FAR_MS)];
  gate.flush(readIndex);
  t.equal(rounds, 1);
  const late = gate.linearizable(FAR_MS);
  const outcome = { kind: 'ready', index: logIndex(1) } as const;
  gate.onReadStates([{ requestId: 1, outcome }], logIndex(1));
  await Promise.all(first);
  gate.flush(readIndex);
  t.equal(rounds, 2, 'the late read was not confirmed by the first round');
  gate.onReadStates([{ requestId: 2, outcome: { kind: 'aborted' } }], logIndex(1));
  await t.rejects(late, { code: 'NO_LEADER', definite: true });
});

t.test('a read that nobody confirms times out, and a lost round leaves no trace', async (t) => {
  const gate = new ReadGate(() => 0);
  const read = gate.linearizable(100);
  gate.flush(() => ({ ok: true, requestId: 1 }));
  gate.expire(100);
  await t.rejects(read, { code: 'REQUEST_TIMEOUT' });
  gate.expire(100_000);
  const outcome = { kind: 'ready', index: logIndex(1) } as const;
  gate.onReadStates([{ requestId: 1, outcome }], logIndex(1));
  t.equal(gate.stalenessMs(), Number.POSITIVE_INFINITY, 'the forgotten round proves nothing');
});

t.test('staleness counts from when the newest confirmed round was sent', async (t) => {
  let nowMs = 1_000;
  const gate = new ReadGate(() => nowMs);
  t.equal(gate.stalenessMs(), Number.POSITIVE_INFINITY, 'nothing is known at first');
  gate.probe();
  gate.flush(() => ({ ok: true, requestId: 1 }));
  nowMs = 1_080;
  const outcome = { kind: 'ready', index: logIndex(3) } as const;
  gate.onReadStates([{ requestId: 1, outcome }], logIndex(2));
  t.equal(gate.stalenessMs(), Number.POSITIVE_INFINITY, 'confirmed, but not applied yet');
  gate.onApplied(logIndex(3));
  t.equal(gate.stalenessMs(), 80);
});

t.test('a new leader is ready only when the first entry of its term is applied', async (t) => {
  const readiness = new LeaderReadiness();
  readiness.begin(logIndex(7));
  const order: string[] = [];
  const waiting = readiness.wait(FAR_MS).then(() => order.push('served'));
  readiness.onApplied(logIndex(6), () => order.push('too early'));
  readiness.onApplied(logIndex(7), () => order.push('clock set'));
  readiness.onApplied(logIndex(8), () => order.push('twice'));
  await waiting;
  t.strictSame(order, ['clock set', 'served']);
  readiness.end(dropError('no-leader', null));
  readiness.begin(logIndex(20));
  const late = readiness.wait(50);
  readiness.expire(50);
  await t.rejects(late, { code: 'NO_LEADER', definite: true });
});

/**
 * Goal: every worker of a node is known and looked at, and every write under way can be found from
 * its request to its place in the log. Method: what they are made of, given by the test.
 */
import type { LogIndex, Term } from '@holdfast/base';
import type { LaneHealth } from '@holdfast/shard-worker';
import { WAL_WRITES_FINE } from '@holdfast/storage';
import t from 'tap';
import { Workers } from '../src/heal/workers.ts';
import { startProcessSampling } from '../src/process-sample.ts';
import { Proposals } from '../src/replica/proposals.ts';

const STATS = {
  ...{ bytesWritten: 0, batches: 0, lastSyncMs: 0, filesCreated: 0, filesRemoved: 0 },
  syncMode: 'group' as const,
  ...{ queueDepth: 0, queueSizeBytes: 0, oldestFileId: 1, newestFileId: 1, groups: [] },
};
const laneOf = (lane: number, beat: number, state: LaneHealth['state'] = 'up'): LaneHealth => ({
  ...{ lane, state, restarts: lane, lost: { hung: 0, leaking: 0, died: 0 }, upSinceMs: 0 },
  pulse: { beat, place: 'native', heapUsedSizeBytes: 5_000, heapLimitSizeBytes: 9_000 },
});

t.test('process, lanes and log are told with what each did since the look before', async (t) => {
  let nowMs = 0;
  let cpuMs = 700;
  let beat = 1;
  let syncs = 1;
  const workers = new Workers({
    nowMs: () => nowMs,
    lanes: () => [laneOf(0, beat), laneOf(1, 1, 'down')],
    log: () => ({ stats: { ...STATS, syncs }, writes: WAL_WRITES_FINE }),
    process: () => ({ cpuMs, residentSizeBytes: 9, heapUsedSizeBytes: 4, eventLoopDelayMs: 30 }),
  });
  nowMs = 2_000;
  cpuMs = 1_700;
  beat = 2;
  syncs = 2;
  t.match(workers.look(), [
    { name: 'process', cpuShare: 0.5, residentSizeBytes: 9, eventLoopDelayMs: 30 },
    { name: 'lane 0', state: 'up', place: 'native', heapUsedSizeBytes: 5_000, hasMoved: true },
    { name: 'lane 1', state: 'down', restarts: 1, hasMoved: false },
    { name: 'log', state: 'closed', hasMoved: true },
  ]);
  nowMs = 2_400;
  beat = 3;
  t.equal(workers.look()[1]?.hasMoved, true, 'one look for all who ask at about the same time');
  nowMs = 4_000;
  workers.look();
  nowMs = 6_000;
  t.match(workers.look(), [{ cpuShare: 0 }, { hasMoved: false }, {}, { hasMoved: false }]);
});

t.test('a sample of this process is of this process', async (t) => {
  const sampling = startProcessSampling();
  t.teardown(sampling.stop);
  const { cpuMs, eventLoopDelayMs, heapUsedSizeBytes, residentSizeBytes } = sampling.sample();
  t.ok(cpuMs > 0 && heapUsedSizeBytes > 1e6 && residentSizeBytes > heapUsedSizeBytes / 2);
  t.ok(eventLoopDelayMs >= 0);
});

t.test('a write is found by its request until it is answered', async (t) => {
  const proposals = new Proposals();
  const one = proposals.add(new Uint8Array(1), 900, { kind: 'upsert', request: '7/1' });
  const two = proposals.add(new Uint8Array(1), 900);
  t.match(proposals.open(400, 0, 10), [
    { kind: 'upsert', request: '7/1', state: 'waiting', index: null, remainingMs: 500 },
    { kind: 'internal', request: null, state: 'waiting' },
  ]);
  proposals.flush(() => ({ ok: true, index: 12 as LogIndex, term: 3 as Term }));
  t.match(proposals.open(400, 12, 10), [
    { request: '7/1', state: 'committed', index: 12, term: 3 },
    { state: 'proposed', index: 13, term: 3 },
  ]);
  t.equal(proposals.open(400, 12, 1).length, 1, 'bounded');
  proposals.abandon();
  await t.rejects(one, { code: 'LEADERSHIP_LOST' });
  await t.rejects(two, { code: 'LEADERSHIP_LOST' });
  t.same(proposals.open(400, 12, 10), []);
});

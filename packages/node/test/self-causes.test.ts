/**
 * Goal: what the parts of a node do about themselves is a recovery like any other: found, done,
 * verified, timed, with an alarm where nothing helped. Method: the events of lanes, log,
 * checkpoints, leadership and graphs as they come, on virtual time.
 */
import { HoldfastError, SILENT_LOGGER } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import type { GraphEvent, LaneHealth } from '@holdfast/shard-worker';
import { WAL_WRITES_FINE, type WalWrites } from '@holdfast/storage';
import t from 'tap';
import { RECOVERY_OPTIONS_DEFAULT, RecoveryManager } from '../src/heal/recovery-manager.ts';
import { SelfCauses } from '../src/heal/self-causes.ts';
import { WatchedCauses } from '../src/heal/watched-causes.ts';

function world(isEnabled = true) {
  const clock = new VirtualClock();
  const options = { ...RECOVERY_OPTIONS_DEFAULT, isEnabled, concurrencyMax: 1 };
  const manager = new RecoveryManager(options, { clock, timers: clock, logger: SILENT_LOGGER });
  const watched = new WatchedCauses((cause) => manager.submit(cause));
  const state = { lane: 'up' as LaneHealth['state'], writes: WAL_WRITES_FINE as WalWrites };
  const lane = (): LaneHealth => ({
    ...{ lane: 1, state: state.lane, restarts: 0, upSinceMs: 0 },
    lost: { hung: 0, leaking: 0, died: 0 },
    pulse: { beat: 1, place: 'idle', heapUsedSizeBytes: 0, heapLimitSizeBytes: 0 },
  });
  const causes = new SelfCauses({ watched, lanes: () => [lane()], writes: () => state.writes });
  const kinds = (key: string): readonly string[] =>
    manager.events().flatMap((event) => (event.key === key ? [event.kind] : []));
  const last = () => manager.events().at(-1);
  return { clock, manager, watched, causes, state, kinds, last };
}

const turns = async (): Promise<void> => {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
};
const error = new HoldfastError('SHARD_UNAVAILABLE', 'lane 1 has been silent');

t.test('a lane that comes back is one recovery, however often it was tried', async (t) => {
  const { causes, clock, manager, state, kinds, last } = world();
  state.lane = 'down';
  causes.onLane({ kind: 'laneLost', lane: 1, cause: 'hung', error });
  causes.onLane({ kind: 'laneRestarting', lane: 1, attempt: 1, delayMs: 1_000 });
  await turns();
  clock.advance(1_000);
  causes.onLane({ kind: 'laneRestartFailed', lane: 1, error });
  causes.onLane({ kind: 'laneLost', lane: 1, cause: 'died', error });
  causes.onLane({ kind: 'laneRestarting', lane: 1, attempt: 2, delayMs: 2_000 });
  clock.advance(2_000);
  state.lane = 'up';
  causes.onLane({ kind: 'laneRecovered', lane: 1, downMs: 3_000, replayedEntryCount: 7 });
  await turns();
  t.same(kinds('lane 1'), ['found', 'started', 'recovered']);
  t.match(last(), {
    ...{ type: 'laneHung', priority: 1 },
    facts: { action: 'restartLane', replayedEntryCount: 7, tookMs: 3_000 },
  });
  t.match(manager.stats(), { successfulRecoveries: 1, avgRtoSeconds: 3, rtoComplianceRate: 1 });
});

t.test('a lane that is said to be back and is not does not count as recovered', async (t) => {
  const { causes, state, kinds } = world();
  state.lane = 'down';
  causes.onLane({ kind: 'laneLost', lane: 1, cause: 'died', error });
  causes.onLane({ kind: 'laneRecovered', lane: 1, downMs: 5, replayedEntryCount: 0 });
  await turns();
  t.same(kinds('lane 1'), ['found', 'started', 'failed', 'escalated']);
});

t.test('a lane that is lost again at once is not recovered by what was said before', async (t) => {
  const { causes, state, kinds } = world();
  state.lane = 'down';
  causes.onLane({ kind: 'laneLost', lane: 1, cause: 'died', error });
  causes.onLane({ kind: 'laneRecovered', lane: 1, downMs: 5, replayedEntryCount: 0 });
  causes.onLane({ kind: 'laneLost', lane: 1, cause: 'died', error });
  await turns();
  t.same(kinds('lane 1'), ['found', 'started']);
  state.lane = 'up';
  causes.onLane({ kind: 'laneRecovered', lane: 1, downMs: 9, replayedEntryCount: 0 });
  await turns();
  t.same(kinds('lane 1'), ['found', 'started', 'recovered']);
});

t.test('a lane that is given up is an alarm that says so', async (t) => {
  const { causes, manager, state, kinds } = world();
  state.lane = 'givenUp';
  causes.onLane({ kind: 'laneLost', lane: 1, cause: 'leaking', error });
  causes.onLane({ kind: 'laneGivenUp', lane: 1, attempts: 10 });
  await turns();
  t.same(kinds('lane 1'), ['found', 'started', 'failed', 'escalated']);
  t.same(manager.parkedKeys, ['lane 1']);
  t.match(manager.events().find(({ kind }) => kind === 'failed')?.facts, { reason: /10 attempts/ });
});

t.test('switched off, a lost lane is left alone; switched on, its case begins', async (t) => {
  const { causes, manager, state, kinds } = world(false);
  state.lane = 'down';
  causes.onLane({ kind: 'laneLost', lane: 1, cause: 'died', error });
  causes.onLane({ kind: 'laneHeld', lane: 1 });
  await turns();
  t.same(kinds('lane 1'), ['found', 'leftAlone']);
  manager.configure({ isEnabled: true });
  causes.onLane({ kind: 'laneRestarting', lane: 1, attempt: 1, delayMs: 0 });
  state.lane = 'up';
  causes.onLane({ kind: 'laneRecovered', lane: 1, downMs: 9, replayedEntryCount: 0 });
  await turns();
  t.same(kinds('lane 1').slice(2), ['found', 'started', 'recovered']);
});

t.test('a log that its disk refuses is a P0 until the breaker has closed', async (t) => {
  const { causes, clock, manager, state, kinds, last } = world();
  const open = { ...WAL_WRITES_FINE, state: 'open', type: 'disk_full', opened: 1 } as const;
  state.writes = open;
  causes.onWrites(open);
  await turns();
  clock.advance(31_000);
  causes.onWrites({ ...open, state: 'half-open', retries: 1 });
  await turns();
  t.same(kinds('log'), ['found', 'started', 'overdue'], 'a probe is no recovery');
  state.writes = { ...WAL_WRITES_FINE, retries: 1, opened: 1 };
  causes.onWrites(state.writes);
  await turns();
  t.match(last(), { kind: 'recovered', type: 'writesRefused', priority: 0 });
  t.match(manager.stats(), { overdue: 1, rtoComplianceRate: 0 });
});

t.test('checkpoints that fail are one case, closed by the one that succeeds', async (t) => {
  const { causes, kinds, last } = world();
  causes.onCheckpoint({ failuresInRow: 1, reason: 'ENOSPC' });
  causes.onCheckpoint({ failuresInRow: 2, reason: 'ENOSPC' });
  await turns();
  causes.onCheckpoint({ failuresInRow: 0, reason: '' });
  await turns();
  t.same(kinds('checkpoint'), ['found', 'started', 'recovered']);
  t.match(last()?.facts, { failures: 2, action: 'makeCheckpoint' });
});

t.test('a leader that should not lead is a case until another leads', async (t) => {
  const { causes, kinds, last } = world();
  causes.onFitness(['lane 1']);
  causes.onFitness(['lane 1', 'log']);
  await turns();
  causes.onFitness([]);
  await turns();
  t.same(kinds('leadership'), ['found', 'started', 'recovered']);
  t.match(last(), { type: 'unfitLeader', facts: { action: 'handOver' } });
});

t.test('a damaged graph is a case until rows or an older one have replaced it', async (t) => {
  const { causes, kinds, last } = world();
  const event = (kind: GraphEvent['kind'], shard: number): GraphEvent => ({
    ...{ sequence: 1, kind, uid: 4, shard, generation: 2, path: 'a.graph', reason: 'bad sum' },
  });
  causes.onGraph(event('quarantined', 0));
  causes.onGraph(event('quarantined', 1));
  causes.onGraph(event('rebuilding', 1));
  await turns();
  causes.onGraph(event('loaded', 0));
  await turns();
  t.same(kinds('graph 4/0'), ['found', 'started', 'recovered']);
  t.same(kinds('graph 4/1'), ['found', 'started']);
  causes.onGraph(event('rebuilt', 1));
  causes.onGraph(event('rebuilt', 2));
  await turns();
  t.match(last(), { key: 'graph 4/1', kind: 'recovered', facts: { how: 'built from rows' } });
});

t.test('graphs that are replaced for age are the least urgent case', async (t) => {
  const { causes, kinds, last } = world();
  const facts = { rebuildingCount: 0, rebuiltForDeadRowsCount: 0, rebuiltForRecallCount: 0 };
  causes.onGraphAge(0, facts);
  causes.onGraphAge(0, { ...facts, rebuildingCount: 1 });
  causes.onGraphAge(0, { ...facts, rebuildingCount: 1 });
  await turns();
  causes.onGraphAge(0, { ...facts, rebuiltForDeadRowsCount: 1 });
  await turns();
  t.same(kinds('graphs of lane 0'), ['found', 'started', 'recovered']);
  t.match(last(), { priority: 3, facts: { rebuiltForDeadRowsCount: 1 } });
});

t.test('a stop does not wait for what mends itself', async (t) => {
  const { causes, manager, state, watched } = world();
  state.lane = 'down';
  causes.onLane({ kind: 'laneLost', lane: 1, cause: 'died', error });
  await turns();
  const stopped = manager.stop();
  watched.stop();
  await stopped;
  causes.onLane({ kind: 'laneLost', lane: 1, cause: 'died', error });
  t.equal(manager.stats().running, 0);
});

// The host loop around the core: what it does with time that passed while nobody looked.
import type { Timers } from '@holdfast/base';
import { DEFAULT_GROUP_ID, nodeId, SeededRandom } from '@holdfast/base';
import { RaftCore } from '@holdfast/raft';
import { confOf, InMemoryLog, incarnationOf, testHash } from '@holdfast/raft/testing';
import type { Wal } from '@holdfast/storage';
import t from 'tap';
import { Driver } from '../src/replica/driver.ts';
import { GroupHost } from '../src/replica/group-host.ts';

const TICK_MS = 20;
const ELECTION_TICKS = 10;

/** A follower of nobody whose timers fire when the test says so, late if it likes. */
function idleFollower() {
  const log = new InMemoryLog({ conf: confOf(['a', 'b', 'c']) });
  const id = nodeId('a');
  const core = new RaftCore(
    {
      id,
      group: DEFAULT_GROUP_ID,
      incarnation: incarnationOf(id),
      random: new SeededRandom(1),
      hash: testHash,
      electionTimeoutTicks: ELECTION_TICKS,
      heartbeatIntervalTicks: 2,
    },
    log,
  );
  const time = { nowMs: 0, ticks: 0 };
  const due: (() => void)[] = [];
  const nothing = (): void => undefined;
  const clock = { monotonicMs: () => time.nowMs, wallMs: () => time.nowMs };
  // Nothing of this test is written.
  const wal = {
    onDurable: nothing,
    onFailure: nothing,
    cork: nothing,
    uncork: nothing,
  } as unknown as Wal;
  const timers: Timers = {
    after: (_delayMs, callback) => {
      due.push(callback);
      return { cancel: nothing };
    },
  };
  const host = new GroupHost({ wal, clock, timers, defer: (callback) => due.push(callback) });
  const driver = new Driver({
    core,
    group: DEFAULT_GROUP_ID,
    wal,
    clock,
    host,
    tickIntervalMs: TICK_MS,
    send: nothing,
    listener: {
      onApply: nothing,
      onReads: nothing,
      onSoftState: nothing,
      onConf: nothing,
      onEvents: nothing,
      onTurn: nothing,
      onTick: () => {
        time.ticks += 1;
      },
      onFailure: (error) => {
        throw error;
      },
    },
  });
  driver.start();
  /** The process runs again after `ms`: whatever was due in between fires once. */
  const wakeAfter = (ms: number): void => {
    time.nowMs += ms;
    for (let round = 0; round < 3; round++) for (const callback of due.splice(0)) callback();
  };
  return { core, time, wakeAfter };
}

t.test('ticks that were missed in a pause are not made up for', async (t) => {
  const { core, time, wakeAfter } = idleFollower();
  wakeAfter(TICK_MS);
  t.equal(time.ticks, 1, 'time passes as it should');
  // Stopped for 30 s: its leader may well be alive, its heartbeats wait in the socket.
  wakeAfter(30_000);
  t.equal(core.status().role, 'follower', 'it does not campaign for having slept');
  // Two late ticks and the first are behind it; the rest of the election timeout still runs.
  for (let tick = 4; tick < ELECTION_TICKS; tick++) wakeAfter(TICK_MS);
  t.equal(core.status().role, 'follower');
  for (let tick = 0; tick < 2 * ELECTION_TICKS; tick++) wakeAfter(TICK_MS);
  t.equal(core.status().role, 'preCandidate', 'a leader that stays silent is missed all the same');
});

/** Threads of lanes that hang, leak, die: noticed, replaced, and never a wrong answer meanwhile. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LogIndex } from '@holdfast/base';
import { HoldfastError, must, RestartPolicy, SeededRandom } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import type { Test } from 'tap';
import tap from 'tap';
import { InlineHost } from '../src/host/inline-host.ts';
import type { LaneEvent } from '../src/host/lane-events.ts';
import {
  createPulseMemory,
  LanePulse,
  PulseReader,
  type PulseSample,
} from '../src/host/lane-pulse.ts';
import type { LaneBatch, LaneReplay } from '../src/host/lane-replay.ts';
import { LANE_LOOK_INTERVAL_MS, LANE_WATCH_LIMITS, LaneWatch } from '../src/host/lane-watch.ts';
import { PiscinaHost } from '../src/host/piscina-host.ts';
import type { HostApplyBatch, ShardHost, ShardHostOpenOptions } from '../src/host/shard-host.ts';
import { type LaneThread, SupervisedLane } from '../src/host/supervised-lane.ts';
import type { LaneCommand, ShardReply, ShardTask } from '../src/tasks.ts';
import { FAULTY_WORKER, LANE_FAULT_IDS } from '../src/testing/lane-faults.ts';
import { REAL_CLOCK, REAL_TIMERS } from '../src/testing/real-time.ts';
import { at, definitionOf, HostDriver, randomOps, UID } from './harness.ts';

/** Short delays: the policy itself is tested on virtual time. */
const QUICK = { delayMsMin: 5, delayMsMax: 20, attemptCountMax: 10, stableAfterMs: 60_000 };

/** Keeps what was applied, as the log does, and the newest checkpoint. */
class RecordedLog implements LaneReplay {
  #batches: HostApplyBatch[] = [];
  #start: ShardHostOpenOptions = { appliedIndex: at(0), definitions: [], manifests: [] };
  #whenFree: Promise<void> = Promise.resolve();

  /** No lane comes back until the function that this gives is called. */
  hold(): () => void {
    let free = (): void => {};
    this.#whenFree = new Promise((resolve) => {
      free = resolve;
    });
    return free;
  }

  record({ fromIndex, toIndex, perLane }: HostApplyBatch): void {
    const copies = perLane.map((commands) => commands.map(copied));
    this.#batches.push({ fromIndex, toIndex, perLane: copies });
  }

  checkpointed(start: ShardHostOpenOptions): void {
    this.#start = start;
  }

  async begin(lane: number) {
    await this.#whenFree;
    const start = this.#start;
    let atIndex: number = start.appliedIndex;
    const run = {
      start,
      get atIndex() {
        return at(atIndex);
      },
      next: async (toIndex: LogIndex): Promise<LaneBatch> => {
        const batch = must(this.#batches.find(({ fromIndex }) => fromIndex === atIndex + 1));
        if (batch.toIndex > toIndex) throw new Error('the log was asked for half a batch');
        atIndex = batch.toIndex;
        const commands = must(batch.perLane[lane]).map(copied);
        return { fromIndex: batch.fromIndex, toIndex: batch.toIndex, commands };
      },
      end: () => {},
    };
    return { kind: 'run', run } as const;
  }
}

const copied = (command: LaneCommand): LaneCommand =>
  command.kind === 'write' ? { ...command, ops: command.ops.slice() } : command;

/** A host whose applies are recorded before they are posted. */
function recorded(host: PiscinaHost, log: RecordedLog): PiscinaHost {
  const apply = host.apply.bind(host);
  host.apply = (batch) => {
    log.record(batch);
    return apply(batch);
  };
  return host;
}

async function supervised(t: Test, options: { readonly heapSizeMbMax?: number } = {}) {
  const dataDirectory = mkdtempSync(join(tmpdir(), 'holdfast-supervision-'));
  t.teardown(() => rmSync(dataDirectory, { recursive: true }));
  const events: LaneEvent[] = [];
  const waiters: (() => void)[] = [];
  const log = new RecordedLog();
  const host = new PiscinaHost({
    ...{ dataDirectory, laneCount: 2, worker: FAULTY_WORKER, ...options },
    supervision: {
      ...{ clock: REAL_CLOCK, timers: REAL_TIMERS, restarts: QUICK },
      onEvent: (event) => {
        events.push(event);
        for (const wake of waiters.splice(0)) wake();
      },
      onFatal: (error) => t.fail(error.message),
    },
  });
  t.teardown(() => host.close());
  host.useReplay(log);
  const definition = definitionOf();
  const driver = new HostDriver(recorded(host, log), definition);
  await driver.openEmpty();
  await driver.create();
  const model = new HostDriver(
    new InlineHost({ fs: new MemoryFileSystem(), dataDirectory: '/model', laneCount: 2 }),
    definition,
  );
  await model.openEmpty();
  await model.create();
  const when = async (kind: LaneEvent['kind']): Promise<LaneEvent> => {
    for (;;) {
      const found = events.find((event) => event.kind === kind);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => waiters.push(resolve));
    }
  };
  return { host, driver, model, log, events, when };
}

type Setup = Awaited<ReturnType<typeof supervised>>;

/** Random writes to both; what they answer must be equal. */
async function writeBoth(t: Test, { driver, model }: Setup, random: SeededRandom, count: number) {
  for (let i = 0; i < count; i++) {
    const ops = randomOps(random, driver.definition.dimension, () => random.nextBelow(40));
    t.same(await driver.write(ops), await model.write(ops));
  }
}

/** Sends an order to the lane of shard 0; the read itself fails with the thread. */
function order(host: ShardHost, index: number, lane: number, id: number) {
  const read = { kind: 'get', uid: UID, ids: [id], withVector: false, withPayload: false } as const;
  return host.read(
    at(index),
    [0, 1].map((each) => (each === lane ? [read] : [])),
  );
}

const FAULTS = [
  { name: 'hangs', id: LANE_FAULT_IDS.hang, cause: 'hung', isLostAtOnce: true },
  { name: 'exits', id: LANE_FAULT_IDS.exit, cause: 'died', isLostAtOnce: true },
  {
    ...{ name: 'throws between tasks', id: LANE_FAULT_IDS.throwLater },
    ...{ cause: 'died', isLostAtOnce: false },
  },
  { name: 'fills its heap', id: LANE_FAULT_IDS.leak, cause: 'leaking', isLostAtOnce: false },
] as const;

// How soon a hang is noticed is shown on virtual time below: here a machine may be busy.
for (const { name, id, cause, isLostAtOnce } of FAULTS) {
  tap.test(`a lane that ${name} is replaced and answers as if nothing had happened`, async (t) => {
    const setup = await supervised(t, { heapSizeMbMax: 48 });
    const { driver, model, host, log, when } = setup;
    const random = new SeededRandom(7);
    await writeBoth(t, setup, random, 40);
    const manifests = await driver.checkpoint();
    const { definition, appliedIndex } = driver;
    log.checkpointed({ appliedIndex: at(appliedIndex), definitions: [definition], manifests });
    await writeBoth(t, setup, random, 40);

    const lostLane = host.laneOf(UID, 0);
    const otherLane = 1 - lostLane;
    const free = log.hold();
    const ordered = order(host, driver.appliedIndex, lostLane, id);
    t.match(await when('laneLost'), { lane: lostLane, cause });
    const refused = (await ordered)[lostLane];
    if (isLostAtOnce)
      t.match(refused, [{ kind: 'error', error: { code: 'SHARD_UNAVAILABLE', definite: true } }]);

    // The other lane answers while this one is away; a read of both says so, never half of it.
    const count = { kind: 'count', uid: UID } as const;
    const both = await host.read(at(driver.appliedIndex), [[count], [count]]);
    t.match(both[otherLane], [{ kind: 'count' }]);
    t.match(both[lostLane], [{ kind: 'error', error: { code: 'SHARD_UNAVAILABLE' } }]);
    await t.rejects(host.digests(at(driver.appliedIndex)), { code: 'SHARD_UNAVAILABLE' });

    // Writes wait for it and come out right.
    const writing = writeBoth(t, setup, random, 5);
    free();
    await writing;
    t.match(await when('laneRecovered'), { lane: lostLane });
    t.same(await driver.digests(), await model.digests(), 'the same rows as the model');
    t.same(
      (await driver.get([1, 2, 4, 5])).map(({ id: found }) => found).sort(),
      (await model.get([1, 2, 4, 5])).map(({ id: found }) => found).sort(),
    );
    t.match(host.health()[lostLane], { state: 'up', restarts: 1, lost: { [cause]: 1 } });
    t.match(host.health()[otherLane], { state: 'up', restarts: 0 });
  });
}

tap.test('an apply that was under way in a hanging lane is done once, from the log', async (t) => {
  const setup = await supervised(t);
  const { driver, model, host, events, when } = setup;
  const random = new SeededRandom(11);
  await writeBoth(t, setup, random, 30);
  await order(host, driver.appliedIndex, 0, LANE_FAULT_IDS.hangAtNextApply);
  // Large enough that its bytes are handed over to the thread, and gone with it.
  const ops = Array.from({ length: 800 }, (_, id) => ({
    ...({ type: 'upsert', id: id + 1_000, payload: new Uint8Array(64).fill(7) } as const),
    ...{ vector: Float32Array.from([id, 1, 2, 3]), condition: { kind: 'none' } as const },
  }));
  t.same(await driver.write(ops), await model.write(ops));
  t.ok(events.some((event) => event.kind === 'laneLost' && event.cause === 'hung'));
  await when('laneRecovered');
  await writeBoth(t, setup, random, 10);
  t.same(await driver.digests(), await model.digests());
});

tap.test('a silence counts only while something is expected and this side was awake', async (t) => {
  const sample = (beat: number, place: PulseSample['place'] = 'working'): PulseSample => ({
    ...{ beat, place, heapUsedSizeBytes: 0, heapLimitSizeBytes: 0 },
  });
  const { hungAfterMs, hungNativeAfterMs, stalledAfterMs, startAfterMs } = LANE_WATCH_LIMITS;
  /** Milliseconds of silence after which it says something. */
  const silence = (one: PulseSample, limitMs: number, hasTasks = true) => {
    const watch = new LaneWatch(0);
    watch.look({ ...one, beat: one.beat - 1 }, hasTasks, 0);
    watch.look(one, hasTasks, 0);
    for (let nowMs = LANE_LOOK_INTERVAL_MS; nowMs <= limitMs; nowMs += LANE_LOOK_INTERVAL_MS) {
      const verdict = watch.look(one, hasTasks, nowMs);
      if (verdict.kind !== 'fine') return { kind: verdict.kind, nowMs };
    }
    return null;
  };
  t.same(silence(sample(5), 60_000), { kind: 'hung', nowMs: hungAfterMs });
  t.ok(hungAfterMs + LANE_LOOK_INTERVAL_MS < 5_000, 'in less than five seconds');
  t.same(silence(sample(5, 'idle'), 60_000), { kind: 'hung', nowMs: hungAfterMs }, 'never taken');
  t.equal(silence(sample(5, 'idle'), 3_600_000, false), null, 'idle is not hung');
  t.same(silence(sample(5, 'native'), 60_000), { kind: 'hung', nowMs: hungNativeAfterMs });
  t.same(silence(sample(5, 'disk'), 60_000), { kind: 'stalled', nowMs: stalledAfterMs });
  const fresh = new LaneWatch(0);
  t.equal(fresh.look(sample(0, 'idle'), true, startAfterMs / 2).kind, 'fine', 'it may start');

  // A machine that slept for an hour: one gap, nobody had a chance to beat.
  const slept = new LaneWatch(0);
  slept.look(sample(1), true, 0);
  t.equal(slept.look(sample(1), true, 3_600_000).kind, 'fine');
  t.equal(slept.look(sample(2), true, 3_600_250).kind, 'fine');
});

tap.test('a million looks at a busy lane with pauses raise no false alarm', async (t) => {
  const random = new SeededRandom(3);
  const watch = new LaneWatch(0);
  let nowMs = 0;
  let beat = 1;
  let quietUntilMs = 0;
  let alarms = 0;
  for (let i = 0; i < 1_000_000; i++) {
    nowMs += LANE_LOOK_INTERVAL_MS;
    // Now and then a collection of up to three seconds, or this side is late by ten.
    if (nowMs > quietUntilMs + 500 && random.nextBelow(200) === 0)
      quietUntilMs = nowMs + random.nextBelow(3_000);
    if (random.nextBelow(500) === 0) nowMs += random.nextBelow(10_000);
    if (nowMs >= quietUntilMs) beat += 1;
    const sample = { beat, place: 'working', heapUsedSizeBytes: 0, heapLimitSizeBytes: 0 } as const;
    if (watch.look(sample, true, nowMs).kind !== 'fine') alarms += 1;
  }
  t.equal(alarms, 0);
});

tap.test('a heap near its limit is a leak only when it stays there', async (t) => {
  const watch = new LaneWatch(0);
  let beat = 0;
  const look = (share: number) => {
    beat += 1;
    const heap = { heapUsedSizeBytes: share * 1e9, heapLimitSizeBytes: 1e9 };
    return watch.look({ beat, place: 'idle', ...heap }, false, beat * 250).kind;
  };
  for (let i = 0; i < 7; i++) t.equal(look(0.95), 'fine');
  t.equal(look(0.5), 'fine', 'it was collected');
  for (let i = 0; i < 7; i++) t.equal(look(0.95), 'fine');
  t.equal(look(0.95), 'leaking');
});

tap.test('a thread that is to be ended enters no native call any more', async (t) => {
  const memory = createPulseMemory();
  const pulse = new LanePulse(memory);
  const reader = new PulseReader(memory);
  let isSafeInside = true;
  t.equal(
    pulse.native(() => {
      isSafeInside = reader.forbidNative();
      return 5;
    }),
    5,
  );
  t.notOk(isSafeInside, 'inside a call it must not be ended');
  t.ok(reader.forbidNative(), 'outside it may');
  t.throws(() => pulse.native(() => t.fail('entered')), { code: 'SHARD_UNAVAILABLE' });
});

/** A lane whose threads are made of promises that the test settles. */
function puppetLane(canBeKilled = true, mayRestart: () => boolean = () => true) {
  const clock = new VirtualClock();
  const events: LaneEvent[] = [];
  const fatal: HoldfastError[] = [];
  const threads: {
    readonly lose: () => void;
    readonly tasks: ShardTask[];
    readonly pulse: LanePulse;
  }[] = [];
  let isBroken = false;
  const startThread = (onLost: (error: HoldfastError) => void): LaneThread => {
    const tasks: ShardTask[] = [];
    const memory = createPulseMemory();
    const own = new LanePulse(memory);
    own.enter('idle');
    threads.push({
      tasks,
      pulse: own,
      lose: () => onLost(new HoldfastError('SHARD_UNAVAILABLE', 'gone')),
    });
    const post = async (task: ShardTask): Promise<ShardReply> => {
      if (isBroken) throw new HoldfastError('SHARD_UNAVAILABLE', 'broken');
      tasks.push(task);
      const base = { epoch: task.epoch, appliedIndex: at(0) };
      return task.kind === 'open' ? { kind: 'opened', ...base } : { kind: 'settled', ...base };
    };
    const pulse = new PulseReader(memory);
    const rest = { hasTasks: false, assertRoomForRead: () => {}, close: async () => {} };
    return { pulse, post, kill: () => canBeKilled, ...rest };
  };
  const log = new RecordedLog();
  const lane = new SupervisedLane({
    ...{ lane: 0, startThread, replay: () => log, clock, timers: clock },
    onEvent: (event) => events.push(event),
    onFatal: (error) => fatal.push(error),
    policy: new RestartPolicy(),
    mayRestart,
  });
  const open = {
    ...({ kind: 'open', epoch: 1, dataDirectory: '/', laneIndex: 0, laneCount: 1 } as const),
    ...{ appliedIndex: at(0), definitions: [], manifests: [] },
  };
  const breakIt = (): void => {
    isBroken = true;
  };
  return { clock, events, fatal, threads, lane, open, breakIt };
}

/** Lets everything that waits for a promise go on. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

tap.test('a lane is tried again after 1, 2, 4, 8, 16 s, and given up after ten', async (t) => {
  const { clock, events, threads, lane, open, breakIt } = puppetLane();
  await lane.post(open);
  breakIt();
  must(threads[0]).lose();
  for (let i = 0; i < 10; i++) {
    clock.advance(16_000);
    await settled();
  }
  const delays = events.flatMap((event) => (event.kind === 'laneRestarting' ? event.delayMs : []));
  t.same(
    delays,
    [1, 2, 4, 8, 16, 16, 16, 16, 16, 16].map((s) => s * 1_000),
  );
  t.match(events.at(-1), { kind: 'laneGivenUp', attempts: 10 });
  t.equal(lane.health.state, 'givenUp');
  await t.rejects(lane.post({ kind: 'stats', epoch: 1 }), { code: 'SHARD_UNAVAILABLE' });
  await lane.close();
});

tap.test('a thread that hung at work is lost once, however long its successor takes', async (t) => {
  const { clock, events, threads, lane, open } = puppetLane();
  await lane.post(open);
  must(threads[0]).pulse.enter('working');
  for (let lookCount = 0; lookCount < 40; lookCount++) {
    clock.advance(LANE_LOOK_INTERVAL_MS);
    lane.look();
    await settled();
  }
  const kinds = events.map(({ kind }) => kind);
  t.same(kinds, ['laneLost', 'laneRestarting', 'laneRecovered']);
  t.equal(lane.health.state, 'up');
  await lane.close();
});

tap.test('a state that is opened over a lost lane ends its recovery, and is watched', async (t) => {
  const { clock, events, threads, lane, open } = puppetLane();
  await lane.post(open);
  must(threads[0]).lose();
  await lane.post({ ...open, appliedIndex: at(7) });
  t.equal(lane.health.state, 'up');
  clock.advance(16_000);
  await settled();
  t.equal(threads.length, 2, 'the recovery that waited is given up');
  t.same(
    events.map(({ kind }) => kind),
    ['laneLost', 'laneRestarting', 'laneRecovered'],
  );
  must(threads[1]).pulse.enter('working');
  for (let lookCount = 0; lookCount < 40; lookCount++) {
    clock.advance(LANE_LOOK_INTERVAL_MS);
    lane.look();
    await settled();
  }
  t.ok(
    events.slice(3).some(({ kind }) => kind === 'laneLost'),
    'the new thread is looked at as well',
  );
  await lane.close();
});

tap.test('a lane that held for a minute starts its back-off anew', async (t) => {
  const { clock, events, threads, lane, open } = puppetLane();
  await lane.post(open);
  for (const holdsForMs of [0, 0, 60_000]) {
    clock.advance(holdsForMs);
    must(threads.at(-1)).lose();
    clock.advance(16_000);
    await settled();
  }
  const delays = events.flatMap((event) => (event.kind === 'laneRestarting' ? event.delayMs : []));
  t.same(delays, [1_000, 2_000, 1_000]);
  t.equal(lane.health.state, 'up');
});

tap.test('a lane that may not be replaced waits, and comes back once it may', async (t) => {
  let isAllowed = false;
  const { clock, events, threads, lane, open } = puppetLane(true, () => isAllowed);
  await lane.post(open);
  must(threads[0]).lose();
  for (let i = 0; i < 30; i++) clock.advance(1_000);
  await settled();
  t.equal(threads.length, 1, 'nothing takes its place');
  t.equal(lane.health.state, 'down');
  isAllowed = true;
  clock.advance(1_000);
  await settled();
  t.equal(lane.health.state, 'up');
  t.same(
    events.map(({ kind }) => kind),
    ['laneLost', 'laneRestarting', 'laneHeld', 'laneRestarting', 'laneRecovered'],
  );
  t.equal(lane.health.restarts, 1, 'waiting is no attempt');
});

tap.test('a thread that hangs in native code is left alone and the process is told', async (t) => {
  const { events, fatal, threads, lane, open } = puppetLane(false);
  await lane.post(open);
  must(threads[0]).lose();
  t.equal(fatal.length, 1);
  t.equal(threads.length, 1, 'no other thread beside it');
  t.same(
    events.map(({ kind }) => kind),
    ['laneLost'],
  );
});

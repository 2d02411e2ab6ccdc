/**
 * Goal: nobody removes anything from a store while a backup is made, whoever they are and in
 * whatever order they ask; nobody waits for ever for one who has died. Method: every order of the
 * steps of a few holders over one store in memory, and each of them stopped at each of its steps.
 */

import { SeededRandom } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import { lockKey, lockPrefix } from '@holdfast/storage';
import t from 'tap';
import type { StoreWork } from '../src/backup/store-lock.ts';
import { LOCK_AGE_MS_MAX, StoreLock } from '../src/backup/store-lock.ts';
import { MemorySink } from '../src/backup/testing/memory-sink.ts';
import { CLUSTER, errorOf } from './support/backup.ts';
import { openSite } from './support/backup-node.ts';
import { Actor, everyOrder } from './support/interleavings.ts';
import { until } from './support/until.ts';

const MINUTE_MS = 60_000;

/** Holders of one store, and who of them works right now. */
class Scene {
  readonly clock = new VirtualClock();
  readonly sink = new MemorySink({ wallMs: () => this.clock.wallMs() });
  readonly actors: Actor[] = [];
  readonly working: StoreWork[] = [];
  /** Who worked beside whom must not. */
  readonly clashes: string[] = [];
  readonly results = new Map<string, string>();

  /** Takes the store, works for a step, asks whether it still may, does it, lets the store go. */
  begin(name: string, work: StoreWork, isShort = false): Actor {
    const actor = new Actor(name);
    this.actors.push(actor);
    const { sink, timers } = actor.seams(this.sink, this.clock);
    const options = { sink, timers, clusterId: CLUSTER, clock: this.clock, id: name, owner: name };
    const take = work === 'prune' ? StoreLock.takeForPrune : StoreLock.takeForBackup;
    const live = async (): Promise<string> => {
      const lock = await take(options);
      try {
        this.#enter(name, work);
        if (isShort) return 'done';
        if (work === 'backup') await sink.put(`${name}-file`, EMPTY, { ifAbsent: true });
        await lock.confirm();
        if (work === 'prune') await sink.remove([`${name}-file`]);
        return 'done';
      } finally {
        this.working.splice(this.working.indexOf(work), 1);
        await lock.release();
      }
    };
    errorOf(async () => void this.results.set(name, await live())).then((error) => {
      if (error !== null) this.results.set(name, error.code);
      actor.isEnded = true;
    });
    return actor;
  }

  #enter(name: string, work: StoreWork): void {
    const isClash = work === 'prune' ? this.working.length > 0 : this.working.includes('prune');
    if (isClash) this.clashes.push(`${name} beside ${this.working}`);
    this.working.push(work);
  }

  /** Until all have ended. A timer fires when nothing else can happen, or at most once before. */
  async run(choose: (optionCount: number) => number): Promise<void> {
    let earlyTimerCount = 0;
    for (const actor of this.actors) await actor.settled();
    for (;;) {
      const waiting = this.actors.filter(({ isWaiting }) => isWaiting);
      const steps = waiting.filter(({ isTimer }) => !isTimer);
      const options = steps.length > 0 && earlyTimerCount > 0 ? steps : waiting;
      if (options.length === 0) return;
      const chosen = options[options.length === 1 ? 0 : choose(options.length)] as Actor;
      if (chosen.isTimer && steps.length > 0) earlyTimerCount += 1;
      await chosen.advance();
    }
  }
}

const EMPTY = { sizeBytes: 0, read: async () => new Uint8Array(0) };

t.test('in every order of their steps a backup and a prune keep apart', async (t) => {
  const ends = new Set<string>();
  const runCount = await everyOrder(async (choose) => {
    const scene = new Scene();
    scene.begin('b', 'backup');
    scene.begin('p', 'prune');
    await scene.run(choose);
    if (scene.clashes.length > 0) t.fail(scene.clashes.join());
    if (scene.results.get('b') !== 'done') t.fail(`the backup ends with ${scene.results.get('b')}`);
    ends.add(scene.results.get('p') ?? '');
    const left = scene.sink.keys.filter((key) => key.startsWith(lockPrefix(CLUSTER)));
    if (left.length > 0) t.fail(`left: ${left}`);
  });
  t.ok(runCount > 70, `${runCount} orders`);
  t.same([...ends].sort(), ['OVERLOADED', 'done'], 'a prune gives way, or is done before');
});

t.test('in every order of their steps two prunes keep apart, and backups do not', async (t) => {
  for (const work of ['prune', 'backup'] as const) {
    const doneCounts = new Set<number>();
    const runCount = await everyOrder(async (choose) => {
      const scene = new Scene();
      scene.begin('one', work);
      scene.begin('two', work);
      await scene.run(choose);
      if (scene.clashes.length > 0) t.fail(scene.clashes.join());
      doneCounts.add([...scene.results.values()].filter((end) => end === 'done').length);
    });
    t.ok(runCount > 40, `${runCount} orders`);
    t.same([...doneCounts].sort(), work === 'prune' ? [0, 1, 2] : [2], work);
  }
});

t.test('in any order two backups and two prunes keep apart', async (t) => {
  const seed = Number(process.env.HOLDFAST_SEED ?? 1);
  t.comment(`seed ${seed}`);
  const random = new SeededRandom(seed);
  for (let run = 0; run < 30; run++) {
    const scene = new Scene();
    for (const name of ['b1', 'b2']) scene.begin(name, 'backup');
    for (const name of ['p1', 'p2']) scene.begin(name, 'prune');
    await scene.run((optionCount) => random.nextU32() % optionCount);
    if (scene.clashes.length > 0) t.fail(scene.clashes.join());
    const ends = ['b1', 'b2'].map((name) => scene.results.get(name));
    t.same(ends, ['done', 'done'], `run ${run}`);
  }
});

t.test('who dies at any step is waited for as long as was told, and no longer', async (t) => {
  for (const [dead, alive] of [
    ['backup', 'prune'],
    ['prune', 'backup'],
  ] as const) {
    for (let stepCount = 1; ; stepCount++) {
      const scene = new Scene();
      const first = scene.begin('dead', dead);
      await first.settled();
      while (first.isWaiting && first.stepCount < stepCount) await first.advance();
      if (first.isEnded) break;
      // It never comes back: none of its steps is chosen again.
      scene.actors.splice(0);
      scene.working.splice(0);
      const isTold = scene.sink.keys.some((key) => key.includes('dead') && key.includes('locks'));
      if (dead === 'backup') {
        scene.begin('early', alive);
        await scene.run(() => 0);
        t.equal(scene.results.get('early'), isTold ? 'OVERLOADED' : 'done', `step ${stepCount}`);
        scene.clock.advance(LOCK_AGE_MS_MAX.backup + 1);
      }
      scene.begin('late', alive);
      const beganMs = scene.clock.monotonicMs();
      await scene.run(() => 0);
      t.equal(scene.results.get('late'), 'done', `${alive} behind a ${dead} of ${stepCount} steps`);
      const waitedMs = scene.clock.monotonicMs() - beganMs;
      const isWaiting = dead === 'prune' && isTold;
      t.ok(isWaiting ? waitedMs > LOCK_AGE_MS_MAX.prune : waitedMs === 0, `${waitedMs} ms`);
      t.ok(waitedMs < LOCK_AGE_MS_MAX.prune + MINUTE_MS, `${waitedMs} ms`);
    }
  }
});

t.test('who wakes up too late removes nothing and makes nothing visible', async (t) => {
  for (const work of ['prune', 'backup'] as const) {
    const scene = new Scene();
    const sleeper = scene.begin('sleeper', work);
    await sleeper.settled();
    // The store is taken; a backup sends a file, a prune is about to ask whether it still may.
    while (scene.working.length === 0) await sleeper.advance();
    scene.actors.splice(0);
    scene.working.splice(0);
    scene.clock.advance(LOCK_AGE_MS_MAX[work] + 1);
    scene.begin('other', work === 'prune' ? 'backup' : 'prune');
    await scene.run(() => 0);
    t.equal(scene.results.get('other'), 'done', work);
    const before = scene.sink.operationCount;
    while (sleeper.isWaiting) await sleeper.advance();
    t.equal(scene.results.get('sleeper'), 'BACKUP_ABORTED', work);
    const removed = scene.sink.operations
      .slice(before)
      .filter(({ operation }) => operation === 'remove')
      .map(({ key }) => key);
    t.same(removed, [lockKey(CLUSTER, `${work}_sleeper_sleeper`)], 'it lets go, and that is all');
  }
});

t.test('who moves on is never taken for dead, and a machine that slept is', async (t) => {
  const scene = new Scene();
  const { clock, sink } = scene;
  const options = { sink, timers: clock, clusterId: CLUSTER, clock, id: 'b', owner: 'n1' };
  const lock = await StoreLock.takeForBackup(options);
  const prune = () => StoreLock.takeForPrune({ ...options, id: 'p', owner: 'command' });
  for (let minute = 0; minute < 180; minute += 5) {
    clock.advance(5 * MINUTE_MS);
    lock.touch();
    await until(() => true);
    const refused = await errorOf(prune);
    if (refused?.code !== 'OVERLOADED') t.fail(`minute ${minute}: ${refused}`);
  }
  const refused = await errorOf(prune);
  t.match(refused?.message, 'a backup is made in memory by n1');
  t.notMatch(refused?.message, 'undefined');
  await lock.confirm();
  // Monotonic time stands still while a machine sleeps.
  clock.jumpWall(LOCK_AGE_MS_MAX.backup);
  t.equal((await errorOf(() => lock.confirm()))?.code, 'BACKUP_ABORTED');
  await lock.release();
});

t.test('a store that fails at any step leaves nobody locked out', async (t) => {
  for (const work of ['prune', 'backup'] as const) {
    for (const when of ['before', 'after'] as const) {
      for (let n = 1; n <= 2; n++) {
        const scene = new Scene();
        scene.sink.failOperation(n, { when });
        scene.begin('unlucky', work);
        await scene.run(() => 0);
        t.equal(scene.results.get('unlucky'), 'SINK_UNAVAILABLE', `${work} ${when} ${n}`);
        scene.begin('next', 'prune');
        await scene.run(() => 0);
        t.equal(scene.results.get('next'), 'done', `${work} ${when} ${n}`);
      }
    }
  }
});

t.test('a backup waits for whoever removes from outside, a prune for no backup', async (t) => {
  const site = await openSite();
  const { maker } = site;
  const sink = site.sinks[0] as MemorySink;
  const [leader, follower] = [site.node('n1'), site.node('n2')];
  const outside = lockKey(CLUSTER, 'prune_0_command');
  sink.tamper(outside, new Uint8Array(0), maker.clock.wallMs());
  const made = follower.create({ type: 'full' });
  await until(() => maker.clock.nextDueMs() !== undefined);
  t.notOk(
    sink.keys.some((key) => key.includes('/files/')),
    'nothing is sent yet',
  );
  const [refused] = await leader.prune({});
  t.match(refused, { kind: 'failure', error: { code: 'OVERLOADED' } });
  sink.lose(outside);
  maker.clock.advance(MINUTE_MS);
  t.match((await made).outcomes, [{ kind: 'success' }]);
  const [removed] = await leader.prune({});
  t.match(removed, { kind: 'success' });
  t.notOk(
    sink.keys.some((key) => key.startsWith(lockPrefix(CLUSTER))),
    'nothing is left',
  );
  await Promise.all([leader.stop(), follower.stop()]);
});

t.test('what crashes have left unseen goes with a prune once it is old', async (t) => {
  const site = await openSite();
  const backup = site.node('n1');
  await backup.create({ type: 'full' });
  const asked: number[] = [];
  Object.assign(site.sinks[0] as MemorySink, {
    removeAbandoned: async (olderThanMs: number) => asked.push(olderThanMs),
  });
  const [dry] = await backup.prune({ isDryRun: true });
  t.same(asked, [], 'a dry run removes nothing');
  const [done] = await backup.prune({});
  t.same(asked, [2 * 24 * 60 * MINUTE_MS]);
  t.match(
    [dry, done],
    [
      { kind: 'success', report: { removedLeftoverCount: 0 } },
      { kind: 'success', report: { removedLeftoverCount: 1 } },
    ],
  );
  await backup.stop();
});

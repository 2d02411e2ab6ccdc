/**
 * Goal: what runs short inside a node is made room for by the node, and a person is told when that
 * was not enough: memory, and client connections.
 * Method: the real watchers and the real RecoveryManager on virtual time; a fake process.
 */
import { SILENT_LOGGER } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import t from 'tap';
import { MemoryWatch } from '../src/heal/memory-watch.ts';
import { RECOVERY_OPTIONS_DEFAULT, RecoveryManager } from '../src/heal/recovery-manager.ts';
import { Admission } from '../src/server/admission.ts';
import { connectionsExhausted } from '../src/server/connection-room.ts';

const MB = 1_000_000;

function world() {
  const clock = new VirtualClock();
  const parts = { clock, timers: clock, logger: SILENT_LOGGER };
  const manager = new RecoveryManager(RECOVERY_OPTIONS_DEFAULT, parts);
  /** Time passes as long as something is under way. */
  const settle = async (limitMs: number): Promise<void> => {
    const endMs = clock.monotonicMs() + limitMs;
    for (let turn = 0; turn < 500; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
      const { running, waiting } = manager.stats();
      if (running === 0 && waiting === 0) return;
      clock.fireNext(endMs);
    }
  };
  const story = () =>
    manager.events().map(({ facts, kind }) => `${kind} ${facts.action ?? ''}`.trim());
  return { clock, manager, settle, story };
}

function memoryWorld(freedMb: { readonly caches: number; readonly handOver: number }) {
  const { manager, ...rest } = world();
  let residentMb = 1_100;
  let handOvers = 0;
  const cleared: string[] = [];
  const cacheOf = (name: string) => ({
    name,
    clear: () => {
      cleared.push(name);
      residentMb -= freedMb.caches / 2;
      return { entryCount: 7 };
    },
  });
  const watch = new MemoryWatch({
    limitSizeBytes: 1_000 * MB,
    residentSizeBytes: () => residentMb * MB,
    caches: [cacheOf('searches'), cacheOf('log')],
    handOver: async () => {
      handOvers += 1;
      residentMb -= freedMb.handOver;
    },
    submit: (cause) => manager.submit(cause),
  });
  return { ...rest, manager, watch, cleared, handOvers: () => handOvers };
}

t.test('a node over its memory lets its caches go', async (t) => {
  const { cleared, handOvers, manager, settle, story, watch } = memoryWorld({
    ...{ caches: 200, handOver: 0 },
  });
  watch.look();
  await settle(60_000);
  t.same(story(), ['found', 'started clearCaches', 'recovered clearCaches']);
  t.match(manager.events().at(-1)?.facts, { searches: 7, log: 7 });
  t.same(cleared, ['searches', 'log']);
  t.equal(handOvers(), 0);
  watch.look();
  t.equal(story().length, 3, 'below the limit nothing is found');
});

t.test('when caches are not enough the leadership goes, and then a person is told', async (t) => {
  const enough = memoryWorld({ caches: 20, handOver: 500 });
  enough.watch.look();
  await enough.settle(600_000);
  t.equal(enough.story().at(-1), 'recovered handOver');
  const short = memoryWorld({ caches: 2, handOver: 1 });
  short.watch.look();
  await short.settle(600_000);
  t.equal(short.handOvers(), 1);
  t.same(short.manager.parkedKeys, ['memory']);
  t.ok(short.manager.events().some(({ kind }) => kind === 'escalated'));
});

t.test('connections that are all taken are made more of within five seconds', async (t) => {
  const { clock, manager, settle, story } = world();
  const admission: Admission = new Admission(
    { maxConnections: 8, inflightRequestCountMax: 1, inflightRequestCountMaxPerConnection: 1 },
    () => manager.submit(connectionsExhausted(admission)),
  );
  for (let i = 0; i < 8; i++) t.equal(admission.admitConnection(), null);
  const startMs = clock.monotonicMs();
  t.match(admission.admitConnection(), { code: 'TOO_MANY_CONNECTIONS' });
  await settle(60_000);
  t.same(story(), ['found', 'started growConnections', 'recovered growConnections']);
  t.ok(clock.monotonicMs() - startMs < 5_000);
  t.equal(admission.admitConnection(), null, 'whoever was refused comes in');
  t.equal(admission.connectionCountMax, 10);
  for (let i = 0; i < 3; i++) admission.releaseConnection();
  t.equal(admission.connectionCountMax, 8, 'it goes back when clients have left');
});

t.test('connections grow to twice their number and no further', async (t) => {
  const { manager, settle } = world();
  const admission: Admission = new Admission(
    { maxConnections: 8, inflightRequestCountMax: 1, inflightRequestCountMaxPerConnection: 1 },
    () => manager.submit(connectionsExhausted(admission)),
  );
  for (let i = 0; i < 40; i++) {
    admission.admitConnection();
    await settle(60_000);
  }
  t.equal(admission.connectionCount, 16);
  t.match(admission.admitConnection(), { details: { maxConnections: 16 } });
  t.same(manager.parkedKeys, ['client connections'], 'a person must look');
});

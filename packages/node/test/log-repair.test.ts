// Goal: nodes with damaged logs heal each other before any of them has a replica, on virtual time
// and over the real codec. Method: the phase itself with logs in memory; disks that refuse and
// crash come with the tests of the simulated and of the real cluster.
import type { Entry, LogIndex, Term } from '@holdfast/base';
import {
  DEFAULT_GROUP_ID,
  EMPTY_LOG_SUM,
  encodeConf,
  HoldfastError,
  logIndex,
  must,
  SILENT_LOGGER,
} from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import type { RaftMessage } from '@holdfast/raft';
import { decodeRaftMessage, encodeRaftMessage } from '@holdfast/raft';
import {
  confOf,
  DamagedLog,
  EMPTY_BASE,
  incarnationOf,
  lostRange,
  payload,
  testHash,
} from '@holdfast/raft/testing';
import t from 'tap';
import { EntryResponder } from '../src/recovery/entry-responder.ts';
import { confsFrom, knownConfs } from '../src/recovery/known-confs.ts';
import { LogRepair } from '../src/recovery/log-repair.ts';

const CONF = { conf: confOf(['n1', 'n2', 'n3']), confIndex: logIndex(0) };

function chain(terms: readonly number[], confAt: Record<number, Uint8Array> = {}): Entry[] {
  const entries: Entry[] = [];
  for (const [i, term] of terms.entries()) {
    const index = (i + 1) as LogIndex;
    const data = confAt[index] ?? payload(`${index}@${term}`);
    const type = confAt[index] === undefined ? 'normal' : 'conf';
    const sum = testHash(entries.at(-1)?.sum ?? EMPTY_LOG_SUM, term as Term, index, type, data);
    entries.push({ index, term: term as Term, type, data, sum });
  }
  return entries;
}

class HeldLog extends DamagedLog {
  term_ = 1 as Term;
  commit = logIndex(0);

  hardState() {
    return { term: this.term_, vote: null, commit: this.commit };
  }
}

class Site {
  readonly clock = new VirtualClock();
  readonly logs = new Map<string, HeldLog>();
  readonly repairs = new Map<string, LogRepair>();
  readonly compacted: LogIndex[] = [];
  readonly #down = new Set<string>();

  add(id: string, entries: readonly Entry[], holes: readonly (readonly [number, number])[]): void {
    const damage = holes.map(([low, high]) =>
      lostRange(entries, low, high, high === entries.length ? 'sum' : 'nothing'),
    );
    this.logs.set(id, new HeldLog({ base: EMPTY_BASE, entries, damage }));
  }

  stop(id: string): void {
    this.#down.add(id);
  }

  begin(id: string, checkpoint: LogIndex | null = null): Promise<void> {
    const log = must(this.logs.get(id));
    const last = log.held.find(({ index }) => index === checkpoint);
    const repair = new LogRepair({
      identity: { nodeId: id as never, incarnation: incarnationOf(id), group: DEFAULT_GROUP_ID },
      wal: {
        repair: async (_group, entries) => log.repair(entries),
        discardDamaged: async (_group, from) => log.discard(from),
        compact: (_group, base) => {
          this.compacted.push(base.index);
          this.add(id, log.held, []);
          log.discard(logIndex(1));
        },
      },
      ...{ log, hash: testHash, conf: CONF, electionTimeoutMs: 600 },
      checkpoint: last === undefined ? null : last,
      send: (messages) => this.#send(messages),
      timers: this.clock,
      logger: SILENT_LOGGER,
    });
    this.repairs.set(id, repair);
    return repair.run();
  }

  /** Moves time, letting promises run between two timers. */
  async advance(durationMs: number): Promise<void> {
    for (let passedMs = 0; passedMs < durationMs; passedMs += 50) {
      this.clock.advance(50);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #send(messages: readonly RaftMessage[]): void {
    for (const message of messages) {
      const bytes = encodeRaftMessage(message);
      this.clock.after(1, () => {
        if (this.#down.has(message.to)) return;
        const received = decodeRaftMessage(bytes, message.from);
        if (received.kind === 'entryRequest') this.#responder(received.to).answer(received);
        else this.repairs.get(received.to)?.receive(received);
      });
    }
  }

  #responder(id: string): EntryResponder {
    return new EntryResponder({
      nodeId: id as never,
      incarnation: incarnationOf(id),
      group: DEFAULT_GROUP_ID,
      log: must(this.logs.get(id)),
      send: (messages) => this.#send(messages),
      leaderLastIndex: () => null,
      confIndex: () => logIndex(0),
      logger: SILENT_LOGGER,
    });
  }
}

t.test('two of three nodes damaged at different entries heal each other', async (t) => {
  const entries = chain([1, 1, 1, 1, 1, 1, 1, 1]);
  const site = new Site();
  site.add('n1', entries, [
    [2, 3],
    [6, 6],
  ]);
  site.add('n2', entries, [
    [4, 5],
    [8, 8],
  ]);
  site.add('n3', [], []);
  site.stop('n3');
  const healed = Promise.all([site.begin('n1'), site.begin('n2')]);
  await site.advance(2_000);
  await healed;
  for (const id of ['n1', 'n2']) {
    t.same(site.logs.get(id)?.damage(), []);
    t.same(site.logs.get(id)?.held, entries);
  }
});

t.test('what all three have lost stops each of them with the entry by name', async (t) => {
  const entries = chain([1, 1, 2, 2]);
  const site = new Site();
  const ends: unknown[] = [];
  for (const id of ['n1', 'n2', 'n3']) site.add(id, entries, [[3, 3]]);
  for (const id of ['n1', 'n2', 'n3']) site.begin(id).catch((error: unknown) => ends.push(error));
  await site.advance(2_000);
  t.equal(site.repairs.get('n1')?.progress()?.isLost, true);
  t.same(ends, [], 'for some seconds each goes on answering the others');
  await site.advance(4_000);
  t.equal(ends.length, 3);
  for (const end of ends) {
    if (!(end instanceof HoldfastError)) throw end;
    t.equal(end.code, 'ENTRY_LOST');
    t.match(end.details, { group: 1, from: 3, high: 3 });
    t.match(end.message, 'holdfast cluster recover');
  }
});

t.test('a node waits for members that are away, and says for whom', async (t) => {
  const entries = chain([1, 1, 1]);
  const site = new Site();
  site.add('n1', entries, [[2, 2]]);
  for (const id of ['n2', 'n3']) site.stop(id);
  let isSettled = false;
  const run = site.begin('n1').finally(() => {
    isSettled = true;
  });
  await site.advance(60_000);
  t.equal(isSettled, false);
  t.same(site.repairs.get('n1')?.progress()?.unheard, ['n2', 'n3']);
  site.repairs.get('n1')?.stop();
  await t.rejects(run, { code: 'SHUTTING_DOWN' });
});

t.test('damage below the own checkpoint needs nobody', async (t) => {
  const site = new Site();
  site.add('n1', chain([1, 1, 1, 1]), [[2, 2]]);
  await site.begin('n1', logIndex(3));
  t.same(site.compacted, [3]);
});

t.test(
  'configurations are found around a hole, and all that may have counted are judged',
  async (t) => {
    const later = confOf(['n1', 'n2', 'n3', 'n4']);
    const entries = chain([1, 1, 1, 1, 1, 1], {
      2: encodeConf(confOf(['n1', 'n2'])),
      4: encodeConf(CONF.conf),
      6: encodeConf(later),
    });
    const log = new DamagedLog({
      base: EMPTY_BASE,
      entries,
      damage: [lostRange(entries, 4, 5, 'nothing')],
    });
    const start = { conf: confOf(['n1']), confIndex: logIndex(0) };
    const known = knownConfs(log, start, logIndex(0));
    t.same(
      known.map(({ confIndex }) => confIndex),
      [0, 2, 6],
    );
    t.same(
      confsFrom(known, logIndex(4)).map(({ voters }) => voters),
      [['n1', 'n2'], later.voters],
    );
  },
);

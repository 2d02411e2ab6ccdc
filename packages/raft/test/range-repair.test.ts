// Goal: a damaged range ends as what was there, as the log of a leader, or as a loss that is named;
// never as a guess. Method: hand-made logs of up to four members; the log of r has lost entries.
import type { ConfState, Entry, LogIndex, Term } from '@holdfast/base';
import { DEFAULT_GROUP_ID, EMPTY_LOG_SUM, nodeId } from '@holdfast/base';
import t from 'tap';
import type { RaftMessage } from '../src/messages.ts';
import { answerEntryRequest } from '../src/repair/entry-answer.ts';
import { nackCountNeeded } from '../src/repair/nack-quorum.ts';
import type { RepairVerdict } from '../src/repair/range-repair.ts';
import { RangeRepair } from '../src/repair/range-repair.ts';
import { confOf, incarnationOf } from '../src/testing/core-cluster.ts';
import { DamagedLog, EMPTY_BASE, lostRange } from '../src/testing/damaged-log.ts';
import { testHash } from '../src/testing/test-hash.ts';
import { at, extend, logOf, termOf } from './support.ts';

const LOST_TICKS = 20;
const RESEED_TICKS = 30;

interface Peer {
  entries: readonly Entry[];
  term: number;
  leaderLast?: number;
  damage?: DamagedLog['damage'] extends () => infer Ranges ? Ranges : never;
  base?: number;
  isDown?: boolean;
}

interface Case {
  /** What the asker held; its term is that of its last entry unless given. */
  readonly own: readonly Entry[];
  readonly low: number;
  readonly high: number;
  readonly known?: 'sum' | 'term' | 'nothing';
  readonly peers: Record<string, Peer>;
  readonly term?: number;
  readonly committed?: number;
  readonly conf?: ConfState;
}

/** The log of a peer that has compacted everything up to `base`. */
function logOfPeer({ entries, base = 0, damage = [] }: Peer): DamagedLog {
  const last = entries[base - 1];
  const start =
    last === undefined ? EMPTY_BASE : { index: last.index, term: last.term, sum: last.sum };
  return new DamagedLog({ base: start, entries: entries.slice(base), damage });
}

class Session {
  readonly repair: RangeRepair;
  readonly #peers: Record<string, Peer>;

  constructor(options: Case) {
    const { own, low, high, peers } = options;
    const known = options.known ?? (high === own.length ? 'sum' : 'nothing');
    const range = lostRange(own, low, high, known);
    this.#peers = peers;
    const conf = options.conf ?? confOf(['r', ...Object.keys(peers)]);
    this.repair = new RangeRepair({
      id: nodeId('r'),
      group: DEFAULT_GROUP_ID,
      incarnation: incarnationOf('r'),
      hash: testHash,
      log: new DamagedLog({ base: EMPTY_BASE, entries: own, damage: [range] }),
      range,
      term: termOf(options.term ?? own.at(-1)!.term),
      committed: at(options.committed ?? 0),
      conf,
      confIndex: at(0),
      confs: [conf],
      retryTicks: 2,
      retryTicksMax: 8,
      lostTicks: LOST_TICKS,
      reseedTicks: RESEED_TICKS,
    });
  }

  /** Ticks and answers until a verdict or `tickCount` ticks. */
  run(tickCount = 10): RepairVerdict | null {
    for (let i = 0; i < tickCount && this.repair.verdict === null; i++) {
      this.repair.tick();
      this.exchange();
    }
    return this.repair.verdict;
  }

  exchange(): void {
    for (let round = 0; round < 100; round++) {
      const requests = this.repair.takeMessages();
      if (requests.length === 0) return;
      for (const request of requests) {
        const answer = this.answerTo(request);
        if (answer !== null) this.repair.receive(answer);
      }
    }
    throw new Error('requests and answers chase each other');
  }

  answerTo(request: RaftMessage): RaftMessage | null {
    const peer = this.#peers[request.to];
    if (peer === undefined || peer.isDown === true || request.kind !== 'entryRequest') return null;
    const leaderLastIndex = peer.leaderLast === undefined ? null : at(peer.leaderLast);
    const body = answerEntryRequest(logOfPeer(peer), request, { leaderLastIndex });
    return {
      ...body,
      group: request.group,
      from: request.to,
      to: request.from,
      fromIncarnation: request.toIncarnation,
      toIncarnation: request.fromIncarnation,
      term: peer.term as Term,
      confIndex: at(0),
    };
  }
}

const repaired = (entries: readonly Entry[], isProven: boolean): RepairVerdict => ({
  kind: 'repair',
  entries,
  isProven,
});

t.test(
  'a gap between two intact entries is filled by whoever holds it, whatever his term',
  async (t) => {
    const own = logOf([1, 1, 2, 2, 2, 3]);
    const session = new Session({
      ...{ own, low: 3, high: 4 },
      peers: {
        a: { entries: own.slice(0, 4), term: 3 },
        b: { entries: [], term: 3, isDown: true },
      },
    });
    t.same(session.run(), repaired(own.slice(2, 4), true));
  },
);

t.test(
  'entries that do not fit the chain on both sides are never taken for the lost ones',
  async (t) => {
    const own = logOf([1, 1, 2, 2, 2]);
    const other = [...own.slice(0, 2), ...extend(own.slice(0, 2), [2, 2, 2], 'other')];
    const session = new Session({
      ...{ own, low: 3, high: 4 },
      peers: { a: { entries: other, term: 2 }, b: { entries: own.slice(0, 2), term: 2 } },
    });
    t.equal(
      session.run(200),
      null,
      'nothing is concluded while a leader of term 2 may be on its way',
    );
  },
);

t.test('a lost end is proven by the sum that was confirmed', async (t) => {
  const own = logOf([1, 1, 2, 2]);
  const session = new Session({
    ...{ own, low: 3, high: 4 },
    peers: { a: { entries: own, term: 2 }, b: { entries: own.slice(0, 2), term: 2 } },
  });
  t.same(session.run(), repaired(own.slice(2), true));
});

t.test('pieces of a range come from different peers', async (t) => {
  const own = logOf([1, 1, 1, 1, 1, 1]);
  const session = new Session({
    ...{ own, low: 2, high: 5 },
    peers: {
      a: { entries: own, term: 1, damage: [lostRange(own, 4, 4, 'nothing')] },
      b: { entries: own, term: 1, base: 3 },
    },
  });
  t.same(session.run(), repaired(own.slice(1, 5), true));
});

t.test('a range larger than one answer is fetched piece by piece', async (t) => {
  const big = new Uint8Array(400 * 1024);
  const own: Entry[] = [];
  for (let i = 1; i <= 12; i++) {
    const sum = own.at(-1)?.sum ?? EMPTY_LOG_SUM;
    const index = i as LogIndex;
    const entry = { index, term: 1 as Term, type: 'normal' as const, data: big };
    own.push({ ...entry, sum: testHash(sum, entry.term, index, 'normal', big) });
  }
  const session = new Session({ own, low: 2, high: 11, peers: { a: { entries: own, term: 1 } } });
  t.same(session.run(), repaired(own.slice(1, 11), true));
});

t.test('a suffix nobody else holds is given up once two of three are past its term', async (t) => {
  const own = logOf([1, 1, 2, 2]);
  const peers: Record<string, Peer> = {
    a: { entries: own.slice(0, 2), term: 3 },
    b: { entries: [...own.slice(0, 2), ...extend(own.slice(0, 2), [3])], term: 3 },
  };
  const verdict = new Session({ own, low: 3, high: 4, peers }).run();
  // What b holds at 3 is of a later term than anything lost: it comes later, after its term.
  t.same(verdict, { kind: 'discard', from: 3, witnesses: ['a', 'b'] });
});

t.test('what one denier holds of a lost end is kept, and only the rest is given up', async (t) => {
  const own = logOf([1, 1, 2, 2, 2]);
  const peers: Record<string, Peer> = {
    a: { entries: own.slice(0, 2), term: 3 },
    b: { entries: own.slice(0, 4), term: 3 },
  };
  const verdict = new Session({ own, low: 3, high: 5, peers }).run();
  t.same(verdict, { kind: 'discard', from: 5, witnesses: ['a', 'b'] });
  // What is left has no known end: it is filled from b, with which this node may have committed it.
  const rest = { own: own.slice(0, 4), low: 3, high: 4, known: 'nothing', term: 2, peers } as const;
  t.same(new Session(rest).run(), repaired(own.slice(2, 4), false));
});

t.test('where two logs differ the one of the later term is followed', async (t) => {
  const own = logOf([1, 2, 2, 3, 3]);
  const older = [...own.slice(0, 1), ...extend(own.slice(0, 1), [2, 2, 2, 2, 2], 'older')];
  const peers: Record<string, Peer> = {
    a: { entries: older, term: 4 },
    b: { entries: own.slice(0, 4), term: 4 },
  };
  const verdict = new Session({ own, low: 2, high: 5, peers, known: 'nothing' }).run();
  t.same(verdict, { kind: 'discard', from: 5, witnesses: ['a', 'b'] });
});

t.test(
  'a denial in the term of the entry counts for nothing: the leader may still be sending',
  async (t) => {
    const own = logOf([1, 1, 2, 2]);
    const peers = {
      a: { entries: own.slice(0, 2), term: 3 },
      b: { entries: own.slice(0, 2), term: 2 },
    };
    const session = new Session({ own, low: 3, high: 4, peers });
    t.equal(session.run(200), null);
    // The leader of term 2 reaches b after all: now two of three hold the entries.
    peers.b.entries = own;
    t.same(session.run(), repaired(own.slice(2), true));
  },
);

t.test('one denial of two is not enough, however long the other peer is away', async (t) => {
  const own = logOf([1, 1, 2]);
  const peers: Record<string, Peer> = {
    a: { entries: own.slice(0, 2), term: 5 },
    b: { entries: own, term: 2, isDown: true },
  };
  const session = new Session({ own, low: 3, high: 3, peers });
  t.equal(session.run(500), null);
  t.same(session.repair.progress().unheard, ['b']);
  peers.b!.isDown = false;
  t.same(session.run(), repaired(own.slice(2), true));
});

t.test('a damaged or compacted slot never counts as a denial', async (t) => {
  const own = logOf([1, 1, 2]);
  const a = { entries: own.slice(0, 2), term: 5 };
  const damaged = { entries: own, term: 5, damage: [lostRange(own, 3, 3, 'sum')] };
  const lost = new Session({ own, low: 3, high: 3, peers: { a, b: damaged } });
  t.equal(lost.run(LOST_TICKS - 2), null, 'a loss must stand for a while');
  t.same(lost.run(LOST_TICKS), { kind: 'lost', from: 3, holders: ['b'] });
  const longer = [...own, ...extend(own, [5])];
  const compacted = { entries: longer, term: 5, base: 4 };
  const waiting = new Session({ own, low: 3, high: 3, peers: { a, b: compacted } });
  t.equal(waiting.run(200), null);
  t.equal(waiting.repair.progress().needsSnapshot, true);
});

t.test(
  'a leader that has compacted the range and leads on without this node reseeds it',
  async (t) => {
    const own = logOf([1, 1, 2]);
    const longer = [...own, ...extend(own, [5])];
    const a: Peer = { entries: longer, term: 5, base: 4, leaderLast: 4 };
    const session = new Session({ own, low: 3, high: 3, peers: { a, b: down() } });
    t.equal(session.run(RESEED_TICKS - 2), null, 'it may be about to step down');
    t.same(session.run(RESEED_TICKS), { kind: 'reseed', leader: 'a' });
  },
);

t.test('a peer that is no leader any more, or only now, does not reseed anybody', async (t) => {
  const own = logOf([1, 1, 2]);
  const longer = [...own, ...extend(own, [5])];
  const a: Peer = { entries: longer, term: 5, base: 4, leaderLast: 4 };
  const session = new Session({ own, low: 3, high: 3, peers: { a, b: down() } });
  session.run(RESEED_TICKS - 5);
  a.term = 6;
  t.equal(session.run(RESEED_TICKS - 5), null, 'another term: it was deposed in between');
  a.isDown = true;
  t.equal(session.run(RESEED_TICKS * 3), null, 'it does not answer');
  a.isDown = false;
  delete a.leaderLast;
  t.equal(session.run(RESEED_TICKS * 3), null, 'it follows');
  const old: Peer = { entries: own.slice(0, 2), term: 1, base: 2, leaderLast: 2 };
  const other = new Session({ own, low: 2, high: 3, peers: { a: old, b: down() } });
  t.equal(other.run(RESEED_TICKS * 3), null, 'it leads an earlier term than that of the entries');
});

t.test('whoever still has the entries spares a node its new life', async (t) => {
  const own = logOf([1, 1, 2]);
  const longer = [...own, ...extend(own, [5])];
  const a: Peer = { entries: longer, term: 5, base: 4, leaderLast: 4 };
  const b: Peer = { entries: own, term: 5, isDown: true };
  const session = new Session({ own, low: 3, high: 3, peers: { a, b } });
  session.run(RESEED_TICKS - 8);
  b.isDown = false;
  t.same(session.run(RESEED_TICKS * 3), repaired(own.slice(2), true));
});

t.test(
  'the log of the leader of this term is authority enough, damaged tail and all',
  async (t) => {
    const own = logOf([1, 1, 2, 2]);
    const shorter = own.slice(0, 3);
    const known = 'nothing';
    const notYet = { entries: shorter, term: 2, leaderLast: 4 };
    const session = new Session({ own, low: 3, high: 4, known, peers: { a: notYet, b: down() } });
    t.equal(session.run(50), null, 'its disk has not confirmed what it has sent: it may hold 4');
    const leader = { entries: shorter, term: 2, leaderLast: 3 };
    const other = new Session({ own, low: 3, high: 4, known, peers: { a: leader, b: down() } });
    t.same(other.run(), { kind: 'discard', from: 4, witnesses: ['a'] });
    const past = { entries: own, term: 1, leaderLast: 4 };
    const old = new Session({ own, low: 3, high: 4, known, peers: { a: past, b: down() } });
    t.equal(old.run(50), null, 'a leader of an earlier term says nothing about term 2');
  },
);

t.test('what is known to be committed is never given up', async (t) => {
  const own = logOf([1, 1, 2]);
  const peers = {
    a: { entries: own.slice(0, 2), term: 5, leaderLast: 2 },
    b: { entries: own.slice(0, 2), term: 5 },
  };
  const session = new Session({ own, low: 3, high: 3, committed: 3, peers });
  t.same(session.run(LOST_TICKS * 3), { kind: 'lost', from: 3, holders: [] });
});

t.test(
  'the same entry lost by all is a loss, and so is any entry lost by a single node',
  async (t) => {
    const own = logOf([1, 1, 1]);
    const damage = [lostRange(own, 2, 2, 'nothing')];
    const all = { entries: own, term: 1, damage };
    const three = new Session({ own, low: 2, high: 2, peers: { a: all, b: all } });
    t.same(three.run(LOST_TICKS * 3), { kind: 'lost', from: 2, holders: ['a', 'b'] });
    const single = new Session({ own, low: 2, high: 2, peers: {} });
    t.same(single.run(LOST_TICKS * 3), { kind: 'lost', from: 2, holders: [] });
  },
);

t.test(
  'a group of two never gives up entries on a denial: its next member may hold them',
  async (t) => {
    const own = logOf([1, 1, 2]);
    const session = new Session({
      ...{ own, low: 3, high: 3 },
      peers: { a: { entries: own.slice(0, 2), term: 5 } },
    });
    t.equal(session.run(LOST_TICKS * 3)?.kind, 'lost');
    t.same([1, 2, 3, 4, 5, 6, 7].map(nackCountNeeded), [1, 2, 2, 3, 3, 4, 4]);
  },
);

t.test('a learner is asked, and its entries count, but its denial does not', async (t) => {
  const own = logOf([1, 1, 2]);
  const conf = confOf(['r', 'a', 'b'], ['z']);
  const empty = { entries: own.slice(0, 2), term: 5 };
  const denied = new Session({
    ...{ own, low: 3, high: 3, conf },
    peers: { a: empty, b: down(), z: empty },
  });
  t.equal(denied.run(200), null);
  const found = new Session({
    ...{ own, low: 3, high: 3, conf },
    peers: { a: down(), b: down(), z: { entries: own, term: 2 } },
  });
  t.same(found.run(), repaired(own.slice(2), true));
});

t.test('answers of another life, to another request or of a stranger change nothing', async (t) => {
  const own = logOf([1, 1, 2]);
  const empty = { entries: own.slice(0, 2), term: 5 };
  const session = new Session({ own, low: 3, high: 3, peers: { a: empty, b: empty } });
  session.repair.tick();
  for (const request of session.repair.takeMessages()) {
    const answer = session.answerTo(request)!;
    session.repair.receive({ ...answer, fromIncarnation: incarnationOf('other') });
    session.repair.receive({ ...answer, toIncarnation: incarnationOf('other') });
    session.repair.receive({ ...answer, from: nodeId('stranger') });
    if (answer.kind === 'entryResponse') {
      session.repair.receive({ ...answer, requestId: answer.requestId + 100 });
    }
  }
  t.equal(session.repair.verdict, null);
  t.same(session.repair.progress().unheard, ['a', 'b']);
  t.same(session.run(), { kind: 'discard', from: 3, witnesses: ['a', 'b'] });
});

t.test('a peer whose log changes between two answers is heard anew', async (t) => {
  const own = logOf([1, 1, 2, 2, 2]);
  const a: Peer = { entries: own.slice(0, 4), term: 2 };
  const session = new Session({ own, low: 3, high: 5, peers: { a, b: down() } });
  t.equal(session.run(4), null);
  t.equal(session.repair.progress().fetchedThrough, 4);
  // A leader of term 3 has replaced what a said before; only what it holds now may count.
  a.entries = own.slice(0, 2);
  a.term = 3;
  t.equal(session.run(20), null);
  const b: Peer = { entries: own.slice(0, 2), term: 3 };
  const both = new Session({ own, low: 3, high: 5, peers: { a, b } });
  t.same(both.run(), { kind: 'discard', from: 3, witnesses: ['a', 'b'] });
});

function down(): Peer {
  return { entries: [], term: 0, isDown: true };
}

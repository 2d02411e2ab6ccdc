// Goal: a replica that lost part of its log comes back without un-acknowledging anything, whatever
// the others do meanwhile. Method: seeded storms over cores; crashed replicas lose ranges of their
// durable log, repair them from peers that crash, elect and replace entries, then rejoin. The
// checker of global invariants looks on, and what was given up must never have been committed.
// Replay one: HOLDFAST_SEED=123 node packages/raft/dist/test/repair-storm.test.js
import type { Entry, LogIndex, NodeId, Term } from '@holdfast/base';
import { assert, DEFAULT_GROUP_ID, deriveSeed, SeededRandom, sumsEqual } from '@holdfast/base';
import t from 'tap';
import type { RaftMessage } from '../src/messages.ts';
import { answerEntryRequest } from '../src/repair/entry-answer.ts';
import { RangeRepair } from '../src/repair/range-repair.ts';
import { CoreCluster, incarnationOf } from '../src/testing/core-cluster.ts';
import { DamagedLog, lostRange } from '../src/testing/damaged-log.ts';
import type { InMemoryLog } from '../src/testing/memory-log.ts';
import { testHash } from '../src/testing/test-hash.ts';

const SEED_COUNT = 600;
const STEP_COUNT = 3_000;
const CONVERGENCE_TICK_COUNT_MAX = 400;

interface Session {
  readonly log: DamagedLog;
  readonly term: Term;
  readonly committed: LogIndex;
  readonly original: readonly Entry[];
  repair: RangeRepair | null;
  stepCount: number;
  /** Another replica was damaged while this one was being repaired. */
  hasCompany: boolean;
}

class RepairStorm {
  readonly counts = { proven: 0, followed: 0, discarded: 0, lost: 0, compacted: 0, rejoined: 0 };
  readonly #random: SeededRandom;
  readonly #cluster: CoreCluster;
  readonly #sessions = new Map<NodeId, Session>();
  readonly #givenUp: { readonly index: LogIndex; readonly sum: Uint8Array; readonly term: Term }[] =
    [];

  constructor(seed: number) {
    this.#random = new SeededRandom(deriveSeed(seed, 'repair-storm'));
    const voters = ['a', 'b', 'c', 'd', 'e'].slice(0, [3, 3, 3, 4, 5][this.#below(5)]);
    const raft = {
      electionTimeoutTicks: 3 + this.#below(4),
      heartbeatIntervalTicks: 1,
      appendSizeBytesMax: 60 + this.#below(300),
    };
    this.#cluster = new CoreCluster({ seed, voters, raft });
  }

  step(): void {
    const id = this.#cluster.ids[this.#below(this.#cluster.ids.length)]!;
    const isUp = this.#cluster.isUp(id);
    const dice = this.#below(1_000);
    if (dice < 240 && isUp) this.#cluster.tick(id);
    else if (dice < 580) for (let i = 0; i < 4; i++) this.#deliverSome();
    else if (dice < 730 && isUp) this.#cluster.sync(id);
    else if (dice < 770 && isUp) this.#cluster.applyAll(id);
    else if (dice < 850) this.#propose();
    else if (dice < 858) this.#cutOrHeal(id);
    else if (dice < 868 && isUp) this.#cluster.crash(id);
    else if (dice < 910 && !this.#sessions.has(id) && !isUp) this.#cluster.restart(id);
    else if (dice < 922) this.#damage(id);
    else if (dice < 936 && isUp) this.#cluster.replica(id).checkpoint(this.#below(4));
    else for (const broken of [...this.#sessions.keys()]) this.#repairStep(broken);
  }

  converge(): void {
    const cluster = this.#cluster;
    cluster.heal();
    for (const id of [...this.#sessions.keys()]) this.#restoreOriginal(id);
    for (const id of cluster.ids) if (!cluster.isUp(id)) cluster.restart(id);
    for (let tick = 0; tick < CONVERGENCE_TICK_COUNT_MAX; tick++) {
      for (const id of cluster.ids) cluster.tick(id);
      cluster.settle();
      const leader = cluster.leader();
      if (leader === null) continue;
      const index = cluster.propose(leader.id, 'marker');
      cluster.settle();
      if (index === null || cluster.checker.committedIndex < index) continue;
      this.#checkGivenUp();
      return;
    }
    assert(false, 'the healed group did not converge');
  }

  #deliverSome(): void {
    const { network } = this.#cluster;
    if (network.length === 0) return;
    const position = this.#below(Math.min(network.length, 4));
    const [message] = network.splice(position, 1);
    if (this.#below(10) === 0) return;
    this.#cluster.deliver(message!);
  }

  #propose(): void {
    const leader = this.#cluster.leader();
    if (leader !== null) this.#cluster.propose(leader.id, `p${this.#random.nextU32()}`);
  }

  #cutOrHeal(id: NodeId): void {
    if (this.#below(3) === 0) this.#cluster.isolate(id);
    else this.#cluster.heal();
  }

  /** A disk rots while its replica is down. Also two and three at one time. */
  #damage(id: NodeId): void {
    if (this.#sessions.has(id)) return;
    if (this.#cluster.isUp(id)) this.#cluster.crash(id);
    const durable = this.#cluster.replica(id).log;
    const entries = entriesOf(durable);
    if (entries.length === 0) return;
    // Mostly near the end, where what is committed and what is not lie side by side.
    const depth = this.#below(3) === 0 ? entries.length : Math.min(entries.length, 5);
    const low = entries.at(-1)!.index - this.#below(depth);
    const high = low + this.#below(Math.min(4, entries.at(-1)!.index - low + 1));
    const known = (['sum', 'sum', 'term', 'nothing'] as const)[this.#below(4)]!;
    const isEnd = high === entries.at(-1)!.index;
    const range = lostRange(entries, low, high, isEnd ? known : 'nothing');
    const { hardState } = durable.initialState();
    const baseIndex = (durable.firstIndex() - 1) as LogIndex;
    const base = {
      index: baseIndex,
      term: durable.term(baseIndex) as Term,
      sum: durable.sum(baseIndex) as Uint8Array,
    };
    this.#sessions.set(id, {
      log: new DamagedLog({ base, entries, damage: [range] }),
      term: hardState.term,
      committed: Math.max(hardState.commit, durable.initialState().applied) as LogIndex,
      original: entries,
      repair: null,
      stepCount: 0,
      hasCompany: false,
    });
  }

  #repairStep(id: NodeId): void {
    const session = this.#sessions.get(id)!;
    session.stepCount += 1;
    session.hasCompany ||= this.#sessions.size > 1;
    session.repair ??= this.#newRepair(id, session);
    const { repair } = session;
    repair.tick();
    for (const request of repair.takeMessages()) {
      const answer = this.#answer(request);
      if (answer !== null) repair.receive(answer);
    }
    if (repair.verdict !== null) this.#carryOut(id, session, repair);
    else if (session.stepCount > 60) this.#giveUp(id, repair);
  }

  #newRepair(id: NodeId, { log, term, committed }: Session): RangeRepair {
    const { conf } = this.#cluster;
    return new RangeRepair({
      ...{ id, log, term, committed, conf, confs: [conf] },
      group: DEFAULT_GROUP_ID,
      incarnation: incarnationOf(id),
      hash: testHash,
      range: log.damage()[0]!,
      confIndex: 0 as LogIndex,
      retryTicks: 1,
      retryTicksMax: 4,
      lostTicks: 10,
      // Nobody compacts here.
      reseedTicks: 10,
    });
  }

  #answer(request: RaftMessage): RaftMessage | null {
    if (request.kind !== 'entryRequest' || this.#below(4) === 0) return null;
    const broken = this.#sessions.get(request.to);
    if (broken === undefined && !this.#cluster.isUp(request.to)) return null;
    if (this.#cluster.isCut(request.from, request.to)) return null;
    const replica = this.#cluster.replica(request.to);
    const log = broken?.log ?? durableView(replica.log);
    const status = replica.core.status();
    const isLeader = broken === undefined && status.role === 'leader';
    const body = answerEntryRequest(log, request, {
      leaderLastIndex: isLeader ? status.lastIndex : null,
    });
    return {
      ...body,
      group: request.group,
      from: request.to,
      to: request.from,
      fromIncarnation: request.toIncarnation,
      toIncarnation: request.fromIncarnation,
      term: replica.log.syncedHardState().term,
      confIndex: 0 as LogIndex,
    };
  }

  #carryOut(id: NodeId, session: Session, { verdict }: RangeRepair): void {
    assert(verdict !== null, 'there is a verdict');
    session.repair = null;
    switch (verdict.kind) {
      case 'repair':
        if (verdict.isProven) this.counts.proven += 1;
        else this.counts.followed += 1;
        this.#checkReplaced(session, verdict.entries, verdict.isProven);
        session.log.repair(verdict.entries);
        break;
      case 'discard':
        this.counts.discarded += 1;
        for (const entry of session.original)
          if (entry.index >= verdict.from) this.#noteGivenUp(session, entry);
        session.log.discard(verdict.from);
        break;
      case 'lost':
        this.counts.lost += 1;
        assert(session.hasCompany, 'a loss takes more than one damaged disk');
        this.#restoreOriginal(id);
        return;
    }
    if (session.log.damage().length === 0) this.#rejoin(id, session.log.held);
  }

  /** What this replica held and others may have counted on must still be there. */
  #checkReplaced(session: Session, entries: readonly Entry[], isProven: boolean): void {
    for (const entry of entries) {
      const before = session.original.find((other) => other.index === entry.index);
      assert(before !== undefined, 'a repair fills what was there', { index: entry.index });
      if (sumsEqual(before.sum, entry.sum)) continue;
      assert(!isProven, 'proven entries are the lost ones', { index: entry.index });
      this.#noteGivenUp(session, before);
    }
  }

  #noteGivenUp(session: Session, { index, sum }: Entry): void {
    const committed = this.#cluster.checker.committedAt(index);
    const isCommitted = committed !== null && sumsEqual(committed.sum, sum);
    assert(!isCommitted, 'a committed entry was given up', { index });
    this.#givenUp.push({ index, sum, term: session.term });
  }

  /** Committed later than it was given up: only by a leader of a later term, without our word. */
  #checkGivenUp(): void {
    for (const { index, sum, term } of this.#givenUp) {
      const committed = this.#cluster.checker.committedAt(index);
      if (committed === null || !sumsEqual(committed.sum, sum)) continue;
      assert(committed.knownInTerm > term, 'an entry that was given up was committed', { index });
    }
  }

  #giveUp(id: NodeId, repair: RangeRepair): void {
    if (repair.progress().needsSnapshot) this.counts.compacted += 1;
    this.#restoreOriginal(id);
  }

  /** As if the operator had found the lost bytes. */
  #restoreOriginal(id: NodeId): void {
    this.#rejoin(id, this.#sessions.get(id)!.original);
  }

  #rejoin(id: NodeId, held: readonly Entry[]): void {
    this.#sessions.delete(id);
    const { log } = this.#cluster.replica(id);
    const from = log.firstIndex();
    const append = { seq: 1, hardState: null, truncateFrom: from, snapshot: null, mustSync: true };
    log.write({ ...append, entries: held });
    log.sync(1);
    this.#cluster.crash(id);
    this.counts.rejoined += 1;
    this.#cluster.restart(id);
  }

  #below(bound: number): number {
    return this.#random.nextBelow(bound);
  }
}

const entriesOf = (log: InMemoryLog): readonly Entry[] => {
  const entries = log.entries(log.firstIndex(), (log.lastIndex() + 1) as LogIndex, 1e9);
  return entries === 'compacted' ? [] : entries;
};

/** What of a running replica's log a crash would leave. */
function durableView(log: InMemoryLog): DamagedLog {
  const synced = log.crash();
  const index = (synced.firstIndex() - 1) as LogIndex;
  return new DamagedLog({
    base: { index, term: synced.term(index) as Term, sum: synced.sum(index) as Uint8Array },
    entries: entriesOf(synced),
    damage: [],
  });
}

const replayed = process.env.HOLDFAST_SEED;
const seeds =
  replayed === undefined ? Array.from({ length: SEED_COUNT }, (_, i) => i + 1) : [Number(replayed)];

t.test('replicas that lose part of their log rejoin without taking back a word', async (t) => {
  const total = { proven: 0, followed: 0, discarded: 0, lost: 0, compacted: 0, rejoined: 0 };
  for (const seed of seeds) {
    try {
      const storm = new RepairStorm(seed);
      for (let step = 0; step < STEP_COUNT; step++) storm.step();
      storm.converge();
      for (const key of Object.keys(total) as (keyof typeof total)[]) {
        total[key] += storm.counts[key];
      }
    } catch (cause) {
      t.fail(`seed ${seed} broke; replay with HOLDFAST_SEED=${seed}`, { cause });
      throw cause;
    }
  }
  t.comment(JSON.stringify(total));
  if (replayed !== undefined) return;
  for (const [what, count] of Object.entries(total)) t.ok(count >= 10, `${what}: ${count}`);
});

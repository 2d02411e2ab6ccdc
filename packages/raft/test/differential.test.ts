// The same synchronous histories through an independent implementation of Raft and through ours:
// a port of etcd/raft (development only, see oracle.ts) must agree on role, term, commit index and
// log of every replica after every step. Randomness is masked (nobody campaigns by itself), the
// commit index a restart finds is made equal, and features where both differ by intent are left
// out (quorum checks, membership, snapshots).
// Replay one: HOLDFAST_SEED=123 node packages/raft/dist/test/differential.test.js
import type { LogIndex, Random } from '@holdfast/base';
import { deriveSeed, SeededRandom } from '@holdfast/base';
import t from 'tap';
import type { RaftEvent } from '../src/ready.ts';
import { CoreCluster } from '../src/testing/core-cluster.ts';
import { OracleGroup, type ReplicaPicture } from './differential/oracle.ts';

const SCRIPT_COUNT = 300;
const STEP_COUNT = 60;

const replayed = process.env.HOLDFAST_SEED;
const seeds =
  replayed === undefined
    ? Array.from({ length: SCRIPT_COUNT }, (_, i) => i + 1)
    : [Number(replayed)];

const DECODER = new TextDecoder();

class Pair {
  readonly ids: readonly string[];
  readonly #ours: CoreCluster;
  readonly #theirs: OracleGroup;
  #groups = new Map<string, number>();
  #proposalCount = 0;
  readonly seen = { elections: 0, commits: 0, truncations: 0 };

  constructor(seed: number, size: number) {
    this.ids = ['a', 'b', 'c', 'd', 'e'].slice(0, size);
    const raft = { electionTimeoutTicks: 1_000_000, heartbeatIntervalTicks: 1, checkQuorum: false };
    const eventSeen = (_replica: unknown, event: RaftEvent): void => {
      if (event.kind === 'logTruncated') this.seen.truncations += 1;
    };
    this.#ours = new CoreCluster({ seed, voters: this.ids, raft, observer: { eventSeen } });
    this.#theirs = new OracleGroup(this.ids, true);
  }

  campaign(id: string): string {
    this.#ours.replica(id).core.campaign();
    this.#ours.after(id);
    this.#theirs.campaign(id);
    return `campaign ${id}`;
  }

  propose(id: string): string {
    this.#proposalCount += 1;
    const text = `p${this.#proposalCount}`;
    this.#ours.propose(id, text);
    this.#theirs.propose(id, text);
    return `propose ${id} ${text}`;
  }

  tick(id: string): string {
    this.#ours.tick(id);
    this.#theirs.tick(id);
    return `tick ${id}`;
  }

  restart(id: string): string {
    this.#ours.crash(id);
    this.#ours.restart(id);
    this.#theirs.restart(id, this.#ours.replica(id).core.status().commit);
    return `restart ${id}`;
  }

  partition(random: Random): string {
    this.#ours.heal();
    this.#groups = new Map(this.ids.map((id) => [id, random.nextBelow(2)]));
    for (const from of this.ids)
      for (const to of this.ids) if (this.#isCut(from, to)) this.#ours.cut(from, to);
    return `partition ${this.ids.map((id) => `${id}${this.#groups.get(id)}`).join(' ')}`;
  }

  heal(): string {
    this.#groups.clear();
    this.#ours.heal();
    return 'heal';
  }

  /** Whoever thinks it leads, also a deposed one that does not know yet. */
  leaders(): readonly string[] {
    return this.ids.filter((id) => this.#ours.replica(id).core.status().role === 'leader');
  }

  settle(): void {
    // What the last sync set off may need another one.
    do this.#ours.settle();
    while (this.ids.some((id) => !this.#ours.replica(id).log.isSynced));
    this.#theirs.settle((from, to) => this.#isCut(from, to));
  }

  pictures(): {
    readonly ours: readonly ReplicaPicture[];
    readonly theirs: readonly ReplicaPicture[];
  } {
    return {
      ours: this.ids.map((id) => this.#pictureOf(id)),
      theirs: this.ids.map((id) => this.#theirs.picture(id)),
    };
  }

  note(): void {
    const { checker } = this.#ours;
    this.seen.elections = checker.termsLed;
    this.seen.commits = checker.committedIndex;
  }

  #isCut(from: string, to: string): boolean {
    return (this.#groups.get(from) ?? 0) !== (this.#groups.get(to) ?? 0);
  }

  #pictureOf(id: string): ReplicaPicture {
    const { core, log } = this.#ours.replica(id);
    const { commit, lastIndex, role, term } = core.status();
    const high = (lastIndex + 1) as LogIndex;
    const entries = log.entries(1 as LogIndex, high, Number.POSITIVE_INFINITY);
    const shown = typeof entries === 'string' ? [] : entries;
    const texts = shown.map(
      ({ index, term: at, data }) => `${index}/${at} ${DECODER.decode(data)}`,
    );
    return { role, term, commit, log: texts };
  }
}

function stepOf(pair: Pair, random: Random): string {
  const id = pair.ids[random.nextBelow(pair.ids.length)]!;
  switch (random.nextBelow(9)) {
    case 0:
      return pair.campaign(id);
    case 1:
    case 2:
      return pair.propose(pair.leaders()[random.nextBelow(2)] ?? id);
    case 3:
    case 4:
      return pair.tick(id);
    case 5:
      return pair.partition(random);
    case 6:
      return random.nextBelow(2) === 0 ? pair.restart(id) : pair.campaign(id);
    default:
      return pair.heal();
  }
}

t.setTimeout(0);

t.test('an independent implementation agrees on role, term, commit and log', async (t) => {
  const total = { elections: 0, commits: 0, truncations: 0 };
  for (const seed of seeds) {
    const random = new SeededRandom(deriveSeed(seed, 'differential'));
    const pair = new Pair(seed, [1, 2, 3, 3, 3, 5][random.nextBelow(6)]!);
    const history: string[] = [];
    for (let step = 0; step < STEP_COUNT; step++) {
      history.push(stepOf(pair, random));
      pair.settle();
      const { ours, theirs } = pair.pictures();
      if (JSON.stringify(ours) === JSON.stringify(theirs)) continue;
      t.same(ours, theirs, `seed ${seed} after ${history.join('; ')}`);
      return;
    }
    pair.note();
    total.elections += pair.seen.elections;
    total.commits += pair.seen.commits;
    total.truncations += pair.seen.truncations;
  }
  t.pass(`${seeds.length} histories of ${STEP_COUNT} steps: ${JSON.stringify(total)}`);
  if (replayed !== undefined) return;
  t.ok(total.elections > seeds.length, 'leaders were elected');
  t.ok(total.commits > 3 * seeds.length, 'entries were committed');
  t.ok(total.truncations > seeds.length / 10, 'tails were replaced');
});

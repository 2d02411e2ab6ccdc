/**
 * A seeded storm against lease reads. Network and disks are fast and mostly whole, so that a whole
 * election fits into a lease; the faults are those that have made leases lie: leaders cut off or
 * stopped while the others replace them, followers restarted, late messages, transfers that fail,
 * clocks that drift apart. After every step everyone who believes to lead is asked for a read.
 */
import type { NodeId, Random } from '@holdfast/base';
import { deriveSeed, SeededRandom } from '@holdfast/base';
import type { RaftMessage } from '../messages.ts';
import { CoreCluster } from './core-cluster.ts';
import { StormTime } from './storm-time.ts';

export interface LeaseStormResult {
  readonly leaseReadsChecked: number;
  readonly termsLed: number;
  readonly transfersCompleted: number;
  /** Attempts to replace a leader that cannot notice it. */
  readonly coupCount: number;
}

const DRIFT_PPM = 50_000;
/** Messages kept back to arrive late; over it the oldest are lost. */
const LATE_COUNT_MAX = 40;

export function runLeaseStorm(seed: number, stepCount: number): LeaseStormResult {
  const storm = new LeaseStorm(seed);
  for (let step = 0; step < stepCount; step++) storm.step();
  return storm.result();
}

interface Action {
  readonly weight: number;
  readonly act: () => void;
}

class LeaseStorm {
  readonly #random: Random;
  readonly #cluster: CoreCluster;
  readonly #time: StormTime;
  readonly #paused = new Set<NodeId>();
  readonly #actions: readonly Action[];
  readonly #weightSum: number;
  #late: RaftMessage[] = [];
  #coupCount = 0;

  constructor(seed: number) {
    this.#random = new SeededRandom(deriveSeed(seed, 'lease storm'));
    const voters = ['a', 'b', 'c', 'd', 'e'].slice(0, this.#below(3) === 0 ? 5 : 3);
    const raft = {
      electionTimeoutTicks: 6 + this.#below(20),
      heartbeatIntervalTicks: 1 + this.#below(2),
      checkQuorum: this.#below(3) > 0,
      preVote: this.#below(3) > 0,
      leaseDriftPpm: DRIFT_PPM,
    };
    this.#cluster = new CoreCluster({ seed, voters, raft, isLeaseEnabled: true });
    this.#time = new StormTime(this.#cluster, this.#random, DRIFT_PPM);
    this.#actions = [
      { weight: 50, act: () => this.#time.tickAll(this.#running) },
      { weight: 10, act: () => this.#time.tickOne(this.#anyone()) },
      { weight: 12, act: () => this.#propose() },
      { weight: 5, act: () => this.#coup() },
      { weight: 4, act: () => this.#transfer() },
      { weight: 3, act: () => this.#paused.add(this.#victim()) },
      { weight: 4, act: () => this.#resume() },
      { weight: 3, act: () => this.#restart(this.#anyone()) },
      { weight: 2, act: () => this.#cluster.cut(this.#anyone(), this.#anyone()) },
      { weight: 6, act: () => this.#cluster.heal() },
      { weight: 8, act: () => this.#deliverLate() },
    ];
    this.#weightSum = this.#actions.reduce((sum, { weight }) => sum + weight, 0);
  }

  step(): void {
    let dice = this.#below(this.#weightSum);
    for (const { weight, act } of this.#actions) {
      dice -= weight;
      if (dice >= 0) continue;
      act();
      break;
    }
    this.#cluster.settle((message) => this.#arrivesNow(message));
    for (const id of this.#running) this.#cluster.leaseRead(id, this.#time.clockMs(id));
  }

  result(): LeaseStormResult {
    const { leaseReadsChecked, termsLed, transfersCompleted } = this.#cluster.checker;
    return { leaseReadsChecked, termsLed, transfersCompleted, coupCount: this.#coupCount };
  }

  get #running(): readonly NodeId[] {
    return this.#cluster.up.filter((id) => !this.#paused.has(id));
  }

  #arrivesNow(message: RaftMessage): boolean {
    const isStopped = this.#paused.has(message.to) || this.#paused.has(message.from);
    const isTelling = message.kind === 'heartbeatResponse' || message.kind === 'timeoutNow';
    const isLate = isStopped || this.#below(isTelling ? 4 : 12) === 0;
    if (!isLate) return true;
    if (this.#late.length >= LATE_COUNT_MAX) this.#late.shift();
    this.#late.push(message);
    return false;
  }

  /** What is left of the past, in any order, also over links that have broken since. */
  #deliverLate(): void {
    const late = this.#late.filter(({ to }) => !this.#paused.has(to));
    this.#late = [];
    while (late.length > 0) {
      const [message] = late.splice(this.#below(late.length), 1);
      this.#cluster.replica(message!.to).core.step(message!);
      this.#cluster.after(message!.to);
    }
  }

  #propose(): void {
    for (const id of this.#running) this.#cluster.propose(id, 'x');
  }

  #transfer(): void {
    const leader = this.#cluster.leader();
    if (leader === null || this.#paused.has(leader.id)) return;
    leader.core.transfer(this.#anyone());
    this.#cluster.after(leader.id);
  }

  /** The leader is cut off or stopped, and the others try to replace it at once. */
  #coup(): void {
    const leader = this.#cluster.leader();
    if (leader === null) return;
    this.#coupCount += 1;
    if (this.#below(2) === 0) this.#cluster.isolate(leader.id);
    else this.#paused.add(leader.id);
    for (const id of this.#running) {
      if (id === leader.id) continue;
      if (this.#below(2) === 0) this.#restart(id);
      this.#cluster.replica(id).core.forgetLeader();
      this.#cluster.after(id);
    }
    for (const id of this.#running) {
      if (id === leader.id) continue;
      this.#cluster.replica(id).core.campaign();
      this.#cluster.after(id);
      this.#cluster.settle((message) => !this.#paused.has(message.to));
    }
    this.#propose();
  }

  #restart(id: NodeId): void {
    this.#cluster.crash(id);
    this.#cluster.restart(id);
  }

  /** Clients are served first, by the clock as it is now; then one tick: none is replayed. */
  #resume(): void {
    const [id] = this.#paused;
    if (id === undefined) return;
    this.#paused.delete(id);
    this.#cluster.leaseRead(id, this.#time.clockMs(id));
    this.#time.tickAll([id]);
  }

  #anyone(): NodeId {
    const { ids } = this.#cluster;
    return ids[this.#below(ids.length)]!;
  }

  #victim(): NodeId {
    return this.#below(2) === 0 ? this.#anyone() : (this.#cluster.leader()?.id ?? this.#anyone());
  }

  #below(bound: number): number {
    return this.#random.nextBelow(bound);
  }
}

/**
 * A seeded storm over a CoreCluster: every step picks one thing that can happen to a group, and the
 * checker looks on. Afterwards everything is healed and the group must converge: a run that is safe
 * because nothing moves any more fails.
 */
import type { LogIndex, NodeId, Random } from '@holdfast/base';
import { assert, deriveSeed, SeededRandom, sumsEqual } from '@holdfast/base';
import { decodeRaftMessage, encodeRaftMessage } from '../codec.ts';
import type { RaftMessage } from '../messages.ts';
import type { RaftOptions } from '../options.ts';
import { HostFaults } from './chaos-host.ts';
import { type MembershipCounts, MembershipStorm, MembershipWatcher } from './chaos-membership.ts';
import { CoreCluster } from './core-cluster.ts';
import { observedBy } from './observers.ts';
import type { ReplicaObserver } from './sim-replica.ts';
import { StormTime } from './storm-time.ts';

export interface ChaosResult {
  readonly committedIndex: LogIndex;
  readonly termsLed: number;
  readonly readsChecked: number;
  readonly crashCount: number;
  readonly snapshotCount: number;
  readonly truncationCount: number;
  readonly leaseReadsChecked: number;
  readonly transfersCompleted: number;
  readonly diskStallCount: number;
  readonly pauseCount: number;
  readonly committedConfCount: number;
  readonly membership: MembershipCounts;
}

export interface ChaosOptions {
  readonly seed: number;
  readonly stepCount: number;
  /** Members come and go, and lose their disks. Default false. */
  readonly isMembershipOn?: boolean;
  /** Sees everything after the checker has. */
  readonly observer?: ReplicaObserver;
  /** Called with every message that arrives; what it returns arrives right after it. */
  readonly intrude?: (message: RaftMessage, cluster: CoreCluster) => readonly RaftMessage[];
}

/** More messages on their way than this are lost, oldest first. */
const NETWORK_COUNT_MAX = 200;
/** Ticks a healed group may need; each costs a full settling. */
const CONVERGENCE_TICK_COUNT_MAX = 400;
/** Deliveries in a burst. */
const BURST_COUNT = 12;

/** Small limits, so that every bound is hit in a short run. */
function raftOptionsOf(random: Random, isMembershipOn: boolean): Partial<RaftOptions> {
  // Long timeouts are for leases: much must be able to happen while one holds.
  const longTicks = !isMembershipOn && random.nextBelow(3) === 0 ? 20 : 0;
  return {
    electionTimeoutTicks: 3 + random.nextBelow(8) + longTicks,
    heartbeatIntervalTicks: 1,
    preVote: random.nextBelow(4) > 0,
    checkQuorum: random.nextBelow(4) > 0,
    appendSizeBytesMax: 60 + random.nextBelow(400),
    inflightCountMax: 1 + random.nextBelow(6),
    inflightSizeBytesMax: 100 + random.nextBelow(2_000),
    uncommittedSizeBytesMax: 4_000,
    entrySizeBytesMax: 1_000,
    applyingSizeBytesMax: 100 + random.nextBelow(1_000),
    pendingReadCountMax: 8,
    diskStallTicks: 10 + random.nextBelow(40),
    leaseDriftPpm: [0, 1_000, 50_000][random.nextBelow(3)]!,
  };
}

export function runChaos(options: ChaosOptions): ChaosResult {
  const storm = new Storm(options);
  for (let step = 0; step < options.stepCount; step++) storm.step();
  storm.converge();
  return storm.result();
}

interface Action {
  readonly weight: number;
  readonly act: () => void;
}

class Storm {
  readonly #random: Random;
  readonly #cluster: CoreCluster;
  readonly #time: StormTime;
  readonly #hosts: HostFaults;
  readonly #unreliability: number;
  readonly #watcher = new MembershipWatcher();
  readonly #membership: MembershipStorm;
  readonly #isMembershipOn: boolean;
  readonly #actions: readonly Action[];
  readonly #weightSum: number;
  readonly #intrude: ChaosOptions['intrude'];
  #proposalCount = 0;
  #crashCount = 0;
  #snapshotCount = 0;

  constructor({ seed, observer, intrude, isMembershipOn = false }: ChaosOptions) {
    this.#intrude = intrude;
    this.#random = new SeededRandom(deriveSeed(seed, 'storm'));
    const voters = ['a', 'b', 'c', 'd', 'e'].slice(0, [1, 2, 3, 3, 3, 3, 5, 5][this.#below(8)]);
    const learners = this.#below(3) === 0 ? ['z'] : [];
    const raft = raftOptionsOf(this.#random, isMembershipOn);
    const seen = observedBy(observer === undefined ? [this.#watcher] : [this.#watcher, observer]);
    const isLeaseEnabled = this.#below(isMembershipOn ? 5 : 2) === 0;
    this.#cluster = new CoreCluster({
      seed,
      voters,
      learners,
      raft,
      observer: seen,
      isLeaseEnabled,
    });
    this.#time = new StormTime(this.#cluster, this.#random, raft.leaseDriftPpm ?? 0);
    this.#hosts = new HostFaults(this.#cluster, this.#time, this.#random);
    this.#isMembershipOn = isMembershipOn;
    const random = new SeededRandom(deriveSeed(seed, 'membership'));
    this.#membership = new MembershipStorm(this.#cluster, random, this.#watcher.counts);
    this.#unreliability = [0, 2, 10, 30][this.#below(4)]!;
    this.#actions = this.#chooseActions();
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
    const { network } = this.#cluster;
    if (network.length > NETWORK_COUNT_MAX) network.splice(0, network.length - NETWORK_COUNT_MAX);
  }

  /** Everything works again: one leader, one log, one state, and new proposals are committed. */
  converge(): void {
    const cluster = this.#cluster;
    cluster.heal();
    this.#hosts.healDisks();
    this.#hosts.resumeAll();
    for (const id of cluster.ids) if (!cluster.isUp(id)) cluster.restart(id);
    let markerIndex: LogIndex | null = null;
    for (let tick = 0; tick < CONVERGENCE_TICK_COUNT_MAX; tick++) {
      for (const id of cluster.up) cluster.tick(id);
      cluster.settle();
      this.#membership.mend();
      cluster.settle();
      const leader = cluster.leader();
      if (leader === null) continue;
      if (markerIndex === null || leader.core.status().lastIndex < markerIndex)
        markerIndex = cluster.propose(leader.id, 'marker');
      cluster.settle();
      if (markerIndex !== null && this.#isConverged()) return;
    }
    const states = cluster.ids.map((id) => cluster.replica(id).core.status());
    assert(false, 'the healed group did not converge', { states });
  }

  result(): ChaosResult {
    const { checker } = this.#cluster;
    return {
      committedIndex: checker.committedIndex,
      termsLed: checker.termsLed,
      readsChecked: checker.readsChecked,
      crashCount: this.#crashCount,
      snapshotCount: this.#snapshotCount,
      truncationCount: checker.eventCount('logTruncated'),
      leaseReadsChecked: checker.leaseReadsChecked,
      transfersCompleted: checker.transfersCompleted,
      diskStallCount: checker.eventCount('diskStalled'),
      pauseCount: this.#hosts.pauseCount,
      committedConfCount: checker.committedConfCount,
      membership: this.#watcher.counts,
    };
  }

  /** Each run has its own weather: how fast time, disks and faults are beside the network. */
  #chooseActions(): readonly Action[] {
    const pick = (...weights: readonly number[]): number => weights[this.#below(weights.length)]!;
    return [
      // A change needs a leader that lasts: with them the network is quicker.
      { weight: this.#isMembershipOn ? 1_000 : 400, act: () => this.#deliverOne() },
      {
        weight: pick(this.#isMembershipOn ? 40 : 20, 100, 200),
        act: () => this.#time.tickAll(this.#hosts.running),
      },
      { weight: pick(0, 30, 90), act: () => this.#withUp((id) => this.#time.tickOne(id)) },
      { weight: pick(60, 180, 400), act: () => this.#withUp((id) => this.#syncSome(id)) },
      { weight: pick(30, 100, 200), act: () => this.#withUp((id) => this.#applyOne(id)) },
      { weight: pick(20, 60, 120), act: () => this.#withUp((id) => this.#propose(id)) },
      { weight: 35, act: () => this.#withUp((id) => void this.#cluster.readIndex(id)) },
      { weight: pick(0, 8, 40), act: () => this.#withUp((id) => this.#checkpoint(id)) },
      { weight: pick(0, 3, 10), act: () => this.#crashOne() },
      { weight: 20, act: () => this.#restartOne() },
      { weight: pick(0, 3, 8), act: () => this.#cutSome() },
      { weight: 5, act: () => this.#cluster.heal() },
      { weight: pick(0, 4, 12), act: () => this.#withUp((id) => this.#disturb(id)) },
      ...this.#hostActions(),
      ...(this.#isMembershipOn ? this.#membershipActions() : []),
    ];
  }

  /** Beside changes of members they must be rare, or no change is ever completed. */
  #hostActions(): readonly Action[] {
    const pick = (...weights: readonly number[]): number => weights[this.#below(weights.length)]!;
    const rarely = (rare: number, ...often: readonly number[]): number =>
      pick(...(this.#isMembershipOn ? [0, 0, rare] : often));
    const hosts = this.#hosts;
    const stall = (): void => this.#withUp((id) => hosts.stallDisk(this.#leaderOr(id)));
    const pause = (): void => this.#withUp((id) => hosts.pause(this.#leaderOr(id)));
    return [
      { weight: rarely(0, 0, 0, 30, 90), act: () => this.#burst() },
      { weight: this.#isMembershipOn ? 20 : 60, act: () => hosts.leaseReads() },
      { weight: rarely(1, 0, 2, 8), act: () => hosts.coup() },
      { weight: rarely(6, 0, 10, 40), act: () => this.#withUp((id) => hosts.transfer(id)) },
      { weight: rarely(1, 0, 0, 3), act: stall },
      { weight: 2, act: () => hosts.healDisks() },
      { weight: rarely(1, 0, 1, 4), act: pause },
      { weight: 15, act: () => hosts.resumeOne() },
    ];
  }

  #membershipActions(): readonly Action[] {
    const pick = (...weights: readonly number[]): number => weights[this.#below(weights.length)]!;
    return [
      { weight: pick(15, 60), act: () => this.#withUp((id) => this.#membership.change(id)) },
      { weight: pick(0, 2, 6), act: () => this.#withUp((id) => this.#membership.wipe(id)) },
      { weight: 15, act: () => this.#membership.readmit() },
    ];
  }

  #isConverged(): boolean {
    if (!this.#membership.isMended) return false;
    const { members } = this.#cluster.checker.conf.conf;
    const replicas = members.map(({ nodeId }) => this.#cluster.replica(nodeId));
    const first = replicas[0]!;
    return replicas.every((replica) => {
      const { commit, lastIndex } = replica.core.status();
      return (
        commit === lastIndex &&
        replica.appliedIndex === lastIndex &&
        replica.appliedIndex === first.appliedIndex &&
        sumsEqual(replica.appliedSum, first.appliedSum)
      );
    });
  }

  #below(bound: number): number {
    return this.#random.nextBelow(bound);
  }

  #withUp(act: (id: NodeId) => void): void {
    const { running } = this.#hosts;
    if (running.length > 0) act(running[this.#below(running.length)]!);
  }

  /** Mostly the oldest message; sometimes any, twice, or not at all. */
  #deliverOne(): void {
    const { network } = this.#cluster;
    if (network.length === 0) return;
    const isReordered = this.#below(100) < 20 + this.#unreliability;
    const position = isReordered ? this.#below(network.length) : 0;
    const message = network[position]!;
    const isDuplicated = this.#below(100) < this.#unreliability;
    if (!isDuplicated) network.splice(position, 1);
    if (this.#below(100) < this.#unreliability) return;
    const isCoded = this.#below(16) === 0;
    const arriving = isCoded
      ? decodeRaftMessage(encodeRaftMessage(message), message.from)
      : message;
    this.#deliver(arriving);
  }

  /** Network and disks are fast beside the clocks: a whole election fits between two ticks. */
  #burst(): void {
    for (let i = 0; i < BURST_COUNT; i++) {
      this.#deliverOne();
      if (i % 3 === 0) this.#withUp((id) => this.#syncSome(id));
    }
  }

  #deliver(message: RaftMessage): void {
    if (this.#hosts.holdBack(message)) return;
    this.#cluster.deliver(message);
    if (this.#intrude !== undefined)
      for (const extra of this.#intrude(message, this.#cluster)) this.#cluster.deliver(extra);
    if (message.kind !== 'snapshot' || !this.#hosts.running.includes(message.from)) return;
    this.#snapshotCount += 1;
    // The report of the transfer reaches the leader's core, tells of a failure, or is lost.
    const fate = this.#below(3);
    if (fate === 0) return;
    this.#cluster
      .replica(message.from)
      .core.reportSnapshot(message.to, message.meta.id, fate === 1);
    this.#cluster.after(message.from);
  }

  #syncSome(id: NodeId): void {
    if (this.#hosts.isStalled(id)) return;
    const replica = this.#cluster.replica(id);
    const seqs = replica.log.unsyncedSeqs();
    if (seqs.length === 0) return;
    replica.sync(seqs[this.#below(seqs.length)]!);
    this.#cluster.after(id);
  }

  #applyOne(id: NodeId): void {
    this.#cluster.replica(id).applyNext();
    this.#cluster.after(id);
  }

  #propose(id: NodeId): void {
    const target = this.#below(4) === 0 ? id : (this.#cluster.leader()?.id ?? id);
    const count = 1 + this.#below(4);
    for (let i = 0; i < count; i++) {
      this.#proposalCount += 1;
      const text = `${this.#proposalCount}`.padEnd(this.#below(200), '.');
      this.#cluster.propose(target, text);
    }
  }

  #checkpoint(id: NodeId): void {
    this.#cluster.replica(id).checkpoint(this.#below(8));
    this.#cluster.after(id);
  }

  #crashOne(): void {
    this.#withUp((id) => {
      this.#crashCount += 1;
      const victim = this.#leaderOr(id);
      this.#hosts.forget(victim);
      this.#cluster.crash(victim);
    });
  }

  /** Half of the faults hit the leader: that is where it hurts. */
  #leaderOr(id: NodeId): NodeId {
    return this.#below(2) === 0 ? (this.#cluster.leader()?.id ?? id) : id;
  }

  #restartOne(): void {
    const down = this.#cluster.ids.filter((id) => !this.#cluster.isUp(id));
    if (down.length === 0) return;
    const id = down[this.#below(down.length)]!;
    this.#cluster.restart(id);
    this.#membership.restarted(id);
  }

  #cutSome(): void {
    const { ids } = this.#cluster;
    const from = this.#leaderOr(ids[this.#below(ids.length)]!);
    if (this.#below(2) === 0) this.#cluster.isolate(from);
    else this.#cluster.cut(from, ids[this.#below(ids.length)]!);
  }

  #disturb(id: NodeId): void {
    const { core } = this.#cluster.replica(id);
    const peer = this.#cluster.ids[this.#below(this.#cluster.ids.length)]!;
    const fate = this.#below(3);
    if (fate === 0) core.campaign();
    else if (fate === 1) core.forgetLeader();
    else core.reportUnreachable(peer);
    this.#cluster.after(id);
  }
}

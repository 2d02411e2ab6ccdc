/**
 * Some replicas, a network between them and the checker over all of it, on one thread and without
 * time. Nothing happens by itself: a test ticks, delivers, syncs and applies, or calls `settle`.
 * The order of everything is the order of calls, so a run is repeatable.
 */
import type { ConfState, Incarnation, LogIndex, Member, NodeId } from '@holdfast/base';
import {
  assert,
  DEFAULT_GROUP_ID,
  deriveSeed,
  EMPTY_LOG_SUM,
  incarnation,
  makeConf,
  must,
  nodeId,
  SeededRandom,
} from '@holdfast/base';
import type { ConfChangeStep } from '../membership/change.ts';
import type { RaftMessage } from '../messages.ts';
import type { RaftOptions } from '../options.ts';
import { ClusterChecker } from './cluster-checker.ts';
import { InMemoryLog, type InMemoryLogStart } from './memory-log.ts';
import { observedBy } from './observers.ts';
import { type ReplicaObserver, SimReplica } from './sim-replica.ts';
import { testHash } from './test-hash.ts';

export interface CoreClusterOptions {
  readonly seed: number;
  readonly voters: readonly string[];
  readonly learners?: readonly string[];
  /** The first configuration allows lease reads. Default false. */
  readonly isLeaseEnabled?: boolean;
  /** Overrides for every replica. */
  readonly raft?: Partial<RaftOptions>;
  /** Overrides for one replica, on top of `raft`. */
  readonly raftOf?: (id: string) => Partial<RaftOptions>;
  /** What a replica finds at its first start; `conf` is filled in. */
  readonly start?: (id: string) => Omit<InMemoryLogStart, 'conf'>;
  /** Sees everything after the checker has. */
  readonly observer?: ReplicaObserver;
}

/** Rounds of delivering and syncing until quiet; a correct group needs a few dozen. */
const SETTLE_ROUND_COUNT_MAX = 10_000;

/** What a tick adds to the clock of its replica. */
const TICK_INTERVAL_MS = 20;

const ENCODER = new TextEncoder();

export const payload = (text: string): Uint8Array => ENCODER.encode(text);

/** A configuration of plain voters and learners. */
export function confOf(voters: readonly string[], learners: readonly string[] = []): ConfState {
  return makeConf(
    [...voters, ...learners].map((name) => memberNamed(name)),
    learners.map(nodeId),
  );
}

/** `life` counts the disks a node has had. */
export const memberNamed = (name: string, life = 1): Member => ({
  nodeId: nodeId(name),
  incarnation: incarnationOf(name, life),
  address: `${name}:2`,
  clientAddress: null,
});

/** An incarnation made from a name: 32 hex digits. */
export function incarnationOf(name: string, life = 1): Incarnation {
  const text = life === 1 ? name : `${name}#${life}`;
  let hex = '';
  for (let i = 0; i < 4; i++) hex += deriveSeed(i, text).toString(16).padStart(8, '0');
  return incarnation(hex);
}

export class CoreCluster {
  /** The first configuration; every node knows it, also one that joins later. */
  readonly conf: ConfState;
  readonly checker: ClusterChecker;
  readonly #observer: ReplicaObserver;
  /** Messages on their way, oldest first. */
  network: RaftMessage[] = [];
  readonly #seed: number;
  readonly #overridesOf: (id: string) => Partial<RaftOptions>;
  readonly #replicas = new Map<NodeId, SimReplica>();
  readonly #down = new Set<NodeId>();
  readonly #lives = new Map<NodeId, number>();
  readonly #cutLinks = new Set<string>();
  readonly #clocksMs = new Map<NodeId, number>();

  constructor(options: CoreClusterOptions) {
    const isLeaseEnabled = options.isLeaseEnabled ?? false;
    this.conf = { ...confOf(options.voters, options.learners), isLeaseEnabled };
    this.#seed = options.seed;
    this.#overridesOf = (id) => ({ ...options.raft, ...options.raftOf?.(id) });
    this.checker = new ClusterChecker(this.conf, this.#replicas);
    const { observer } = options;
    this.#observer = observer === undefined ? this.checker : observedBy([this.checker, observer]);
    for (const { nodeId: id } of this.conf.members) {
      const start = options.start?.(id) ?? {};
      this.#boot(id, new InMemoryLog({ conf: this.conf, ...start }), 1, EMPTY_LOG_SUM);
    }
    for (const id of this.ids) this.after(id);
  }

  /** Every node there is, members or not, up or not; sorted. */
  get ids(): readonly NodeId[] {
    return [...this.#replicas.keys()].sort();
  }

  /** Starts a node that was not there yet, with an empty disk; it waits to be added. */
  join(name: string): Member {
    const id = nodeId(name);
    assert(!this.#replicas.has(id), 'the node is there already', { id });
    this.#boot(id, new InMemoryLog({ conf: this.conf }), 1, EMPTY_LOG_SUM);
    this.after(id);
    return this.member(id);
  }

  /** Stops `id` and starts it with an empty disk: as another incarnation. */
  wipe(id: string): Member {
    const replica = this.replica(id);
    this.checker.diskLost(replica);
    this.#lives.set(replica.id, this.#lifeOf(replica.id) + 1);
    const log = new InMemoryLog({ conf: this.conf });
    this.#boot(replica.id, log, replica.boot + 1, EMPTY_LOG_SUM);
    this.restart(id);
    return this.member(id);
  }

  /** The node as it is now. */
  member(id: string): Member {
    return memberNamed(id, this.#lifeOf(id as NodeId));
  }

  replica(id: string): SimReplica {
    return must(this.#replicas.get(id as NodeId), `no replica ${id}`);
  }

  isUp(id: string): boolean {
    return !this.#down.has(id as NodeId);
  }

  get up(): readonly NodeId[] {
    return this.ids.filter((id) => this.isUp(id));
  }

  /** The live leader of the highest term, or null. */
  leader(): SimReplica | null {
    let best: SimReplica | null = null;
    for (const id of this.up) {
      const replica = this.replica(id);
      const { role, term } = replica.core.status();
      if (role !== 'leader') continue;
      if (best === null || best.core.status().term < term) best = replica;
    }
    return best;
  }

  /** Runs the host loop of `id` and the checks; to be called after every input to its core. */
  after(id: string): void {
    const replica = this.replica(id);
    replica.pump();
    this.checker.check(replica);
  }

  tick(id: string, count = 1): void {
    for (let i = 0; i < count; i++) this.tickAt(id, this.clockMs(id) + TICK_INTERVAL_MS);
  }

  /** One tick with the clock of `id` at `nowMs`: a late one, or one of a clock that drifts. */
  tickAt(id: string, nowMs: number): void {
    const replica = this.replica(id);
    this.#clocksMs.set(replica.id, nowMs);
    replica.core.tick(nowMs);
    this.after(id);
  }

  clockMs(id: string): number {
    return this.#clocksMs.get(id as NodeId) ?? 0;
  }

  /** A lease read on `id` by its clock; the index, or null when refused. Never stale: checked. */
  leaseRead(id: string, nowMs = this.clockMs(id)): LogIndex | null {
    const outcome = this.replica(id).core.leaseRead(nowMs);
    if (!outcome.ok) return null;
    this.checker.leaseReadServed(outcome.index);
    return outcome.index;
  }

  propose(id: string, text: string): LogIndex | null {
    const outcome = this.replica(id).core.propose([payload(text)]);
    this.after(id);
    return outcome.ok ? outcome.index : null;
  }

  /** Proposes `steps` on `id`; the index of the entry, or null when that was refused. */
  change(id: string, ...steps: readonly ConfChangeStep[]): LogIndex | null {
    const outcome = this.replica(id).core.proposeConf({ steps });
    this.after(id);
    return outcome.ok ? outcome.index : null;
  }

  readIndex(id: string): number | null {
    const replica = this.replica(id);
    const outcome = replica.core.readIndex();
    if (outcome.ok) this.checker.readAsked(replica, outcome.requestId);
    this.after(id);
    return outcome.ok ? outcome.requestId : null;
  }

  sync(id: string): void {
    this.replica(id).syncAll();
    this.after(id);
  }

  applyAll(id: string): void {
    const replica = this.replica(id);
    while (replica.pendingApplyCount > 0) {
      replica.applyNext();
      this.after(id);
    }
  }

  /** Delivers `message` now, if its receiver is up and the link is whole. */
  deliver(message: RaftMessage): void {
    if (!this.#replicas.has(message.to) || !this.isUp(message.to)) return;
    if (this.#cutLinks.has(`${message.from}>${message.to}`)) return;
    const receiver = this.replica(message.to);
    // The host fetched the snapshot's bytes before it shows the message to the core.
    if (message.kind === 'snapshot') {
      const own = receiver.log.snapshotMeta();
      if (own === null || own.index < message.meta.index) receiver.log.setSnapshot(message.meta);
    }
    receiver.core.step(message);
    this.after(message.to);
  }

  /** Delivers what is on its way, in order; `isWanted` false drops a message. Counts deliveries. */
  deliverAll(isWanted: (message: RaftMessage) => boolean = () => true): number {
    const batch = this.network;
    this.network = [];
    let count = 0;
    for (const message of batch) {
      if (!isWanted(message)) continue;
      this.deliver(message);
      count += 1;
    }
    return count;
  }

  /** Syncs, applies and delivers until nothing moves. Ticks nothing. */
  settle(isWanted: (message: RaftMessage) => boolean = () => true): void {
    for (let round = 0; round < SETTLE_ROUND_COUNT_MAX; round++) {
      for (const id of this.up) {
        this.sync(id);
        this.applyAll(id);
      }
      if (this.network.length === 0) return;
      this.deliverAll(isWanted);
    }
    assert(false, 'the group does not come to rest');
  }

  /** Campaigns on `id` and settles; asserts that it leads. */
  elect(id: string): SimReplica {
    for (const other of this.up) if (other !== id) this.replica(other).core.forgetLeader();
    this.replica(id).core.campaign();
    this.after(id);
    this.settle();
    const replica = this.replica(id);
    assert(replica.core.status().role === 'leader', 'the election was not won', { id });
    return replica;
  }

  cut(from: string, to: string): void {
    this.#cutLinks.add(`${from}>${to}`);
  }

  /** Cuts `id` off in both directions; what is on its way is lost. */
  isolate(id: string): void {
    for (const other of this.ids) {
      if (other === id) continue;
      this.cut(id, other);
      this.cut(other, id);
    }
  }

  heal(): void {
    this.#cutLinks.clear();
  }

  isCut(from: string, to: string): boolean {
    return this.#cutLinks.has(`${from}>${to}`);
  }

  /** Stops `id`: everything not synced is gone. */
  crash(id: string): void {
    this.#down.add(id as NodeId);
    const replica = this.replica(id);
    this.#boot(replica.id, replica.log.crash(), replica.boot + 1, replica.checkpointSum);
  }

  restart(id: string): void {
    this.#down.delete(id as NodeId);
    this.after(id);
  }

  #lifeOf(id: NodeId): number {
    return this.#lives.get(id) ?? 1;
  }

  #boot(id: NodeId, log: InMemoryLog, boot: number, appliedSum: Uint8Array): void {
    const options: RaftOptions = {
      id,
      group: DEFAULT_GROUP_ID,
      incarnation: this.member(id).incarnation,
      random: new SeededRandom(deriveSeed(this.#seed, `${id}#${boot}`)),
      hash: testHash,
      electionTimeoutTicks: 10,
      heartbeatIntervalTicks: 2,
      ...this.#overridesOf(id),
    };
    const send = (message: RaftMessage): void => {
      this.network.push(message);
    };
    const wiring = { boot, observer: this.#observer, send, appliedSum };
    this.#replicas.set(id, new SimReplica(options, log, wiring));
  }
}

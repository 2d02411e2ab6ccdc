/**
 * What the commands of one scenario act on: a CoreCluster with its checker of global invariants,
 * disks that can stall, processes that can pause, and the trace of everything that happens.
 */
import type { NodeId } from '@holdfast/base';
import { assert } from '@holdfast/base';
import type { RaftMessage } from '../../messages.ts';
import { CoreCluster, type CoreClusterOptions } from '../core-cluster.ts';
import type { ReplicaObserver, SimReplica } from '../sim-replica.ts';
import {
  describeAppend,
  describeEntries,
  describeEvent,
  describeLink,
  describeMessage,
  describeRead,
  Names,
} from './describe.ts';

/** Rounds of syncing and delivering until quiet; a correct group needs a few dozen. */
const SETTLE_ROUND_COUNT_MAX = 1_000;

export class World {
  readonly namers = { campaigns: new Names('#'), reads: new Names('r') };
  readonly stalled = new Set<NodeId>();
  readonly paused = new Set<NodeId>();
  #cluster: CoreCluster | null = null;
  #lines: string[] = [];

  get cluster(): CoreCluster {
    assert(this.#cluster !== null, 'scenario: the first command is nodes');
    return this.#cluster;
  }

  build(options: CoreClusterOptions): void {
    assert(this.#cluster === null, 'scenario: nodes comes once');
    this.#cluster = new CoreCluster({ ...options, observer: this.#tracer() });
  }

  /** A node of the group by name; refuses names it does not know. */
  id(name: string): NodeId {
    const id = this.cluster.ids.find((known) => known === name);
    assert(id !== undefined, `scenario: there is no node ${name}`);
    return id;
  }

  /** A node that runs: neither crashed nor paused. */
  awake(name: string): SimReplica {
    const id = this.id(name);
    assert(this.cluster.isUp(id), `scenario: ${name} is down`);
    assert(!this.paused.has(id), `scenario: ${name} is paused`);
    return this.cluster.replica(id);
  }

  get awakeIds(): readonly NodeId[] {
    return this.cluster.up.filter((id) => !this.paused.has(id));
  }

  say(line: string): void {
    this.#lines.push(line);
  }

  takeLines(): readonly string[] {
    const taken = this.#lines;
    this.#lines = [];
    return taken;
  }

  describe(message: RaftMessage): string {
    return describeMessage(message, this.namers);
  }

  /** Delivers one message, or says why it is lost; a paused receiver must not be asked for. */
  deliver(message: RaftMessage, what: string): void {
    const { from, to } = message;
    if (!this.cluster.isUp(to) || this.cluster.isCut(from, to)) {
      this.say(`${from} -x ${to}: ${what}`);
      return;
    }
    this.say(`${from} => ${to}: ${what}`);
    this.cluster.deliver(message);
  }

  /** True when something became durable. */
  sync(id: NodeId, seq?: number): boolean {
    const replica = this.cluster.replica(id);
    const target = seq ?? replica.log.unsyncedSeqs().at(-1);
    if (target === undefined) return false;
    this.say(`${id} synced #${target}`);
    replica.sync(target);
    this.cluster.after(id);
    return true;
  }

  /** Syncs, applies and delivers until nothing moves; stalled disks and paused nodes do not. */
  settle(): void {
    for (let round = 0; round < SETTLE_ROUND_COUNT_MAX; round++) {
      let hasMoved = false;
      for (const id of this.awakeIds) {
        if (!this.stalled.has(id) && this.sync(id)) hasMoved = true;
        this.cluster.applyAll(id);
      }
      const batch = this.cluster.network;
      this.cluster.network = batch.filter(({ to }) => this.paused.has(to));
      for (const message of batch) {
        if (this.paused.has(message.to)) continue;
        this.deliver(message, `${message.kind} t${message.term}`);
        hasMoved = true;
      }
      if (!hasMoved) return;
    }
    assert(false, 'scenario: the group does not come to rest');
  }

  #tracer(): ReplicaObserver {
    return {
      appendWritten: ({ id }, append) => this.say(`${id} writes ${describeAppend(append)}`),
      messageLeaving: (_replica, message) =>
        this.say(`${describeLink(message.from, message.to)}: ${this.describe(message)}`),
      entriesApplied: ({ id }, entries) => this.say(`${id} applies ${describeEntries(entries)}`),
      snapshotInstalled: ({ id }, { index, term }) =>
        this.say(`${id} installs the snapshot ${index}/${term}`),
      readAnswered: ({ id }, read) => this.say(`${id} ${describeRead(read)}`),
      eventSeen: ({ id }, event) => {
        const line = describeEvent(event);
        if (line !== null) this.say(`${id} ${line}`);
      },
    };
  }
}

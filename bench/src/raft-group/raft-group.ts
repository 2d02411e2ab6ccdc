/**
 * Three replicas of the pure core in one thread: messages by reference, a log in memory, a state
 * machine that counts. What is left is the core, its checks and its entry hash.
 */
import { strict as assert } from 'node:assert';
import type { LogIndex, NodeId } from '@holdfast/base';
import {
  DEFAULT_GROUP_ID,
  deriveSeed,
  incarnation,
  makeConf,
  must,
  nodeId,
  SeededRandom,
} from '@holdfast/base';
import { RaftCore, type RaftMessage } from '@holdfast/raft';
import { createEntryHasher } from '@holdfast/storage';
import { ArrayLog } from './array-log.ts';

const NAMES = ['a', 'b', 'c'];
const TICK_INTERVAL_MS = 20;

interface Replica {
  readonly id: NodeId;
  readonly core: RaftCore;
  readonly log: ArrayLog;
  appliedIndex: LogIndex;
}

export class RaftGroup {
  readonly #replicas: readonly Replica[];
  readonly #byId = new Map<NodeId, Replica>();
  readonly #leader: Replica;
  #network: RaftMessage[] = [];
  #nowMs = 0;

  /** Three replicas, the first of which leads. */
  constructor() {
    const members = NAMES.map((name, i) => ({
      nodeId: nodeId(name),
      incarnation: incarnation(`${i}`.repeat(32)),
      address: `${name}:1`,
      clientAddress: null,
    }));
    const conf = makeConf(members);
    this.#replicas = members.map((member) => {
      const log = new ArrayLog(conf);
      const options = {
        id: member.nodeId,
        group: DEFAULT_GROUP_ID,
        incarnation: member.incarnation,
        random: new SeededRandom(deriveSeed(1, member.nodeId)),
        hash: createEntryHasher(),
      };
      const appliedIndex = 0 as LogIndex;
      return { id: member.nodeId, core: new RaftCore(options, log), log, appliedIndex };
    });
    for (const replica of this.#replicas) this.#byId.set(replica.id, replica);
    this.#leader = must(this.#replicas[0]);
    this.#leader.core.campaign();
    this.#settle();
    assert.equal(this.#leader.core.status().role, 'leader');
  }

  /** Entries committed and applied on every replica so far. */
  get appliedIndex(): number {
    return Math.min(...this.#replicas.map((replica) => replica.appliedIndex));
  }

  /** One host turn of the leader with these proposals, then everything that follows from it. */
  propose(payloads: readonly Uint8Array[]): void {
    const outcome = this.#leader.core.propose(payloads);
    assert.ok(outcome.ok);
    this.#settle();
  }

  tick(): void {
    this.#nowMs += TICK_INTERVAL_MS;
    for (const replica of this.#replicas) replica.core.tick(this.#nowMs);
    this.#settle();
  }

  #settle(): void {
    for (const replica of this.#replicas) this.#turn(replica);
    while (this.#network.length > 0) {
      const batch = this.#network;
      this.#network = [];
      for (const message of batch) must(this.#byId.get(message.to)).core.step(message);
      for (const replica of this.#replicas) this.#turn(replica);
    }
  }

  /** The host loop of README.md, with a disk and a state machine that answer at once. */
  #turn(replica: Replica): void {
    const { core, log } = replica;
    while (core.hasReady()) {
      const ready = core.ready();
      for (const message of ready.send) this.#network.push(message);
      if (ready.append !== null) {
        log.write(ready.append);
        core.appended(ready.append.seq);
      }
      for (const gated of ready.sendAfter)
        for (const message of gated.messages) this.#network.push(message);
      if (ready.apply?.kind !== 'entries') continue;
      replica.appliedIndex = must(ready.apply.entries.at(-1)).index;
      core.applied(replica.appliedIndex);
      log.applied(replica.appliedIndex);
    }
  }
}

/**
 * A raft group whose state machine is a list of numbers in memory, on a GroupHost: what groups
 * beside the database are in tests of many groups. It is rebuilt from the log at each start.
 */
import type {
  Clock,
  ConfState,
  GroupId,
  HoldfastError,
  Incarnation,
  NodeId,
  Random,
} from '@holdfast/base';
import { logIndex, must } from '@holdfast/base';
import type { ApplyRequest, RaftMessage } from '@holdfast/raft';
import { RaftCore } from '@holdfast/raft';
import type { Wal } from '@holdfast/storage';
import { createEntryHasher } from '@holdfast/storage';
import { Driver } from '../../src/replica/driver.ts';
import type { Defer, GroupHost } from '../../src/replica/group-host.ts';
import { LogStore } from '../../src/replica/log-store.ts';

export interface CounterGroupParts {
  readonly nodeId: NodeId;
  readonly incarnation: Incarnation;
  readonly group: GroupId;
  readonly conf: ConfState;
  readonly wal: Wal;
  readonly host: GroupHost;
  readonly clock: Clock;
  readonly defer: Defer;
  readonly random: Random;
  readonly send: (messages: readonly RaftMessage[]) => void;
}

export class CounterGroup {
  readonly core: RaftCore;
  readonly driver: Driver;
  /** Applied, in log order. */
  readonly values: number[] = [];
  failure: HoldfastError | null = null;
  #waiting: number[] = [];
  /** By log index: term and value, until applied. */
  readonly #proposed = new Map<number, { readonly term: number; readonly value: number }>();
  readonly #acknowledged: number[];

  /** `acknowledged` collects values that certainly are committed. */
  constructor(parts: CounterGroupParts, acknowledged: number[]) {
    this.#acknowledged = acknowledged;
    const { conf, group, wal, clock, host } = parts;
    const log = new LogStore({
      ...{ log: wal.groupLog(group), conf, confIndex: logIndex(0), applied: logIndex(0) },
      snapshotMeta: () => null,
    });
    this.core = new RaftCore(
      {
        ...{ id: parts.nodeId, group, incarnation: parts.incarnation, random: parts.random },
        ...{ hash: createEntryHasher(), electionTimeoutTicks: 30, heartbeatIntervalTicks: 5 },
      },
      log,
    );
    this.driver = new Driver({
      ...{ core: this.core, group, wal, clock, host, tickIntervalMs: 20, send: parts.send },
      listener: {
        onApply: (request) => this.#apply(request, parts.defer),
        onReads: () => undefined,
        onConf: () => undefined,
        onSoftState: ({ role }) => {
          if (role !== 'leader') this.#proposed.clear();
        },
        onEvents: () => undefined,
        onTurn: () => this.#propose(),
        onTick: () => undefined,
        onFailure: (error) => {
          this.failure = error;
        },
      },
    });
  }

  get isLeader(): boolean {
    return this.core.status().role === 'leader';
  }

  /** Proposes in the next turn; lost when this replica does not lead then. */
  add(value: number): void {
    this.#waiting.push(value);
    this.driver.wake();
  }

  #propose(): void {
    const values = this.#waiting;
    this.#waiting = [];
    if (values.length === 0) return;
    const outcome = this.core.propose(
      values.map((value) => new Uint8Array(Uint32Array.of(value).buffer)),
    );
    if (!outcome.ok) return;
    const { index, term } = outcome;
    for (const [i, value] of values.entries()) this.#proposed.set(index + i, { term, value });
  }

  #apply(request: ApplyRequest, defer: Defer): void {
    if (request.kind === 'snapshot') throw new Error('a counter is never compacted');
    for (const { index, term, type, data } of request.entries) {
      if (type === 'normal')
        this.values.push(new DataView(data.buffer, data.byteOffset).getUint32(0, true));
      const proposed = this.#proposed.get(index);
      this.#proposed.delete(index);
      if (proposed?.term === term) this.#acknowledged.push(proposed.value);
    }
    const { index } = must(request.entries.at(-1));
    defer(() => this.driver.applied(index));
  }
}

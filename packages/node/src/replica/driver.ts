/**
 * The host loop of one raft group: turns Ready into ordered I/O. Production and simulation run
 * this same code; only Clock, Timers, Defer, Wal, transport and lane host differ.
 *
 * One turn: drain the inbox into the core, tick at most twice (after a stall, timers fire before
 * sockets are read; replaying missed ticks would depose a healthy leader), hand over what clients
 * proposed and asked, then carry out every Ready.
 *
 * Ordering kept: appends go to the WAL in seq order; a gated message leaves only after its append
 * is durable; entries are applied only when committed and durable here.
 */
import type { Clock, GroupId, HoldfastError, LogIndex } from '@holdfast/base';
import { assert, failpoint, toHoldfastError } from '@holdfast/base';
import type {
  AppendRequest,
  ApplyRequest,
  ConfAtIndex,
  GatedMessages,
  RaftCore,
  RaftEvent,
  RaftMessage,
  ReadState,
  Ready,
  SoftState,
} from '@holdfast/raft';
import type { LogAppend, Wal } from '@holdfast/storage';
import type { GroupHost, GroupMember } from './group-host.ts';

/** Messages stepped in one turn before others get theirs. */
const STEPS_PER_TURN_MAX = 1_024;
/** Inbound messages waiting; over it the newest are dropped, which Raft tolerates. */
const INBOX_COUNT_MAX = 16_384;
const CATCH_UP_TICKS_MAX = 2;

export interface DriverListener {
  onApply(request: ApplyRequest): void;
  onReads(reads: readonly ReadState[]): void;
  onSoftState(state: SoftState): void;
  /** Another configuration is in force; not necessarily committed, and it may be taken back. */
  onConf(conf: ConfAtIndex): void;
  onEvents(events: readonly RaftEvent[]): void;
  /** Called in a turn before Ready is taken: the place to call core.propose and core.readIndex. */
  onTurn(): void;
  onTick(nowMs: number): void;
  /** The replica must stop: a broken invariant, or the log failed. */
  onFailure(error: HoldfastError): void;
}

export interface DriverOptions {
  readonly core: RaftCore;
  readonly group: GroupId;
  readonly wal: Wal;
  readonly clock: Clock;
  /** Shared by all groups of the node. */
  readonly host: GroupHost;
  readonly tickIntervalMs: number;
  /** Sends to peers; `snapshot` messages need their bytes sent first, which the sender arranges. */
  readonly send: (messages: readonly RaftMessage[]) => void;
  readonly listener: DriverListener;
}

interface OutstandingAppend {
  readonly seq: number;
  /** WAL ticket after which the append is durable. */
  readonly ticket: number;
}

export class Driver implements GroupMember {
  readonly #options: DriverOptions;
  readonly #core: RaftCore;
  readonly #outstanding: OutstandingAppend[] = [];
  readonly #gated: GatedMessages[] = [];
  #inbox: RaftMessage[] = [];
  #durableTicket = 0;
  #durableSeq = 0;
  #lastTickMs: number;
  #isStopped = false;
  #droppedMessageCount = 0;

  constructor(options: DriverOptions) {
    this.#options = options;
    this.#core = options.core;
    this.#lastTickMs = options.clock.monotonicMs();
  }

  get droppedMessageCount(): number {
    return this.#droppedMessageCount;
  }

  get group(): GroupId {
    return this.#options.group;
  }

  get tickDueMs(): number {
    return this.#lastTickMs + this.#options.tickIntervalMs;
  }

  start(): void {
    this.#options.host.add(this);
  }

  stop(): void {
    this.#isStopped = true;
    this.#options.host.remove(this);
  }

  /** Stops and reports; nothing is acknowledged, sent or applied afterwards. */
  fail(thrown: unknown): void {
    if (this.#isStopped) return;
    this.stop();
    this.#options.listener.onFailure(toHoldfastError(thrown));
  }

  receive(messages: readonly RaftMessage[]): void {
    if (this.#isStopped) return;
    for (const message of messages) {
      if (this.#inbox.length >= INBOX_COUNT_MAX) this.#droppedMessageCount += 1;
      else this.#inbox.push(message);
    }
    this.wake();
  }

  /** The state machine has applied everything up to `index`. */
  applied(index: LogIndex): void {
    if (this.#isStopped) return;
    this.#guard(() => this.#core.applied(index));
    this.wake();
  }

  /** Asks for a turn soon; many calls give one turn. Before `start` nothing happens. */
  wake(): void {
    if (!this.#isStopped) this.#options.host.wake(this);
  }

  /** Called by the host. */
  turn(): void {
    if (!this.#isStopped) this.#guard(() => this.#turn());
  }

  /** Runs a call into the core now; a broken invariant stops the replica. */
  withCore(action: (core: RaftCore) => void): void {
    if (this.#isStopped) return;
    this.#guard(() => action(this.#core));
    this.wake();
  }

  #turn(): void {
    this.#drainInbox();
    this.#tickIfDue();
    this.#options.listener.onTurn();
    while (!this.#isStopped && this.#core.hasReady()) this.#carryOut(this.#core.ready());
    if (this.#inbox.length > 0) this.wake();
  }

  #drainInbox(): void {
    if (this.#inbox.length <= STEPS_PER_TURN_MAX) {
      const messages = this.#inbox;
      this.#inbox = [];
      for (const message of messages) this.#core.step(message);
      return;
    }
    for (const message of this.#inbox.slice(0, STEPS_PER_TURN_MAX)) this.#core.step(message);
    this.#inbox = this.#inbox.slice(STEPS_PER_TURN_MAX);
  }

  #tickIfDue(): void {
    const { clock, tickIntervalMs, listener } = this.#options;
    const nowMs = clock.monotonicMs();
    const dueCount = Math.floor((nowMs - this.#lastTickMs) / tickIntervalMs);
    if (dueCount < 1) return;
    const tickCount = Math.min(dueCount, CATCH_UP_TICKS_MAX);
    for (let i = 0; i < tickCount; i++) this.#core.tick(nowMs);
    this.#lastTickMs =
      dueCount > CATCH_UP_TICKS_MAX ? nowMs : this.#lastTickMs + tickCount * tickIntervalMs;
    listener.onTick(nowMs);
  }

  #carryOut(ready: Ready): void {
    const { listener, send } = this.#options;
    if (ready.events.length > 0) listener.onEvents(ready.events);
    if (ready.soft !== null) listener.onSoftState(ready.soft);
    // Before the messages: some are for newcomers that only this configuration names.
    if (ready.conf !== null) listener.onConf(ready.conf);
    // The leader's messages leave before its own disk write is even queued: disk and network
    // work at the same time (raft.md 2.2b; the core gates what must wait).
    if (ready.send.length > 0) {
      failpoint('replica.before-send');
      send(ready.send);
    }
    if (ready.append !== null) this.#append(ready.append);
    for (const gated of ready.sendAfter) this.#gate(gated);
    if (ready.apply !== null) {
      failpoint('replica.before-apply');
      listener.onApply(ready.apply);
    }
    if (ready.reads.length > 0) listener.onReads(ready.reads);
  }

  #append(append: AppendRequest): void {
    failpoint('replica.before-append');
    const { group, wal } = this.#options;
    const { hardState, truncateFrom, entries, snapshot, mustSync } = append;
    const logAppend: LogAppend = { group, hardState, truncateFrom, entries, snapshot, mustSync };
    this.#outstanding.push({ seq: append.seq, ticket: wal.append(logAppend) });
  }

  #gate(gated: GatedMessages): void {
    if (gated.seq <= this.#durableSeq) this.#options.send(gated.messages);
    else this.#gated.push(gated);
  }

  /** Called by the host: every append with a ticket up to this is durable. */
  onDurable(ticket: number): void {
    if (this.#isStopped) return;
    assert(ticket >= this.#durableTicket, 'durable tickets never go back', { ticket });
    this.#durableTicket = ticket;
    this.#guard(() => this.#settleAppends());
    this.wake();
  }

  /** Reports what is durable to the core, then releases the messages that waited for it. */
  #settleAppends(): void {
    let settledCount = 0;
    for (const append of this.#outstanding) {
      if (append.ticket > this.#durableTicket) break;
      this.#durableSeq = append.seq;
      settledCount += 1;
    }
    if (settledCount === 0) return;
    failpoint('replica.durable');
    this.#outstanding.splice(0, settledCount);
    this.#core.appended(this.#durableSeq);
    let releasedCount = 0;
    for (const gated of this.#gated) {
      if (gated.seq > this.#durableSeq) break;
      failpoint('replica.before-gated-send');
      this.#options.send(gated.messages);
      releasedCount += 1;
    }
    if (releasedCount > 0) this.#gated.splice(0, releasedCount);
  }

  #guard(action: () => void): void {
    try {
      action();
    } catch (thrown) {
      this.fail(thrown);
    }
  }
}

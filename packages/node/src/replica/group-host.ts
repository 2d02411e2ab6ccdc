/**
 * One node's share in any number of raft groups: one tick timer, one turn, one log and one
 * transport for all of them. What the groups do in a turn leaves together: messages to one peer
 * share frames (the transport sends what one turn gave it at once), appends share one batch and
 * one sync of the log.
 *
 * A group that fails or stops leaves the others alone; a log that fails stops them all.
 */
import type { Clock, GroupId, HoldfastError, TimerHandle, Timers } from '@holdfast/base';
import { assert } from '@holdfast/base';
import type { RaftMessage } from '@holdfast/raft';
import type { Wal } from '@holdfast/storage';

/** Runs `callback` soon, after pending socket reads. setImmediate in production. */
export type Defer = (callback: () => void) => void;

/** The driver of one group, as its host sees it. None of these throws: a failure is the group's. */
export interface GroupMember {
  readonly group: GroupId;
  /** When it wants its next tick, on the host's monotonic clock. */
  readonly tickDueMs: number;
  /** Drains its inbox, ticks when due, and carries everything out. */
  turn(): void;
  receive(messages: readonly RaftMessage[]): void;
  onDurable(ticket: number): void;
  fail(error: HoldfastError): void;
}

export interface GroupHostOptions {
  readonly wal: Wal;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly timers: Timers;
  readonly defer: Defer;
}

export class GroupHost {
  readonly #options: GroupHostOptions;
  readonly #members = new Map<GroupId, GroupMember>();
  readonly #woken = new Set<GroupMember>();
  #tickTimer: TimerHandle | null = null;
  #isTurnScheduled = false;
  #strayMessageCount = 0;
  #failure: HoldfastError | null = null;

  constructor(options: GroupHostOptions) {
    this.#options = options;
    options.wal.onDurable((ticket) => {
      for (const member of this.#members.values()) member.onDurable(ticket);
    });
    options.wal.onFailure((error) => {
      this.#failure = error;
      for (const member of [...this.#members.values()]) member.fail(error);
    });
  }

  get groupCount(): number {
    return this.#members.size;
  }

  /** Messages for groups that are not on this node: dropped, as Raft tolerates. */
  get strayMessageCount(): number {
    return this.#strayMessageCount;
  }

  /** From now on the member gets ticks, messages and durable tickets. */
  add(member: GroupMember): void {
    assert(!this.#members.has(member.group), 'a group has one driver', { group: member.group });
    this.#members.set(member.group, member);
    if (this.#failure !== null) {
      member.fail(this.#failure);
      return;
    }
    if (this.#tickTimer === null) this.#armTick();
    this.wake(member);
  }

  /** The last one to leave takes the tick timer with it. */
  remove(member: GroupMember): void {
    if (this.#members.get(member.group) !== member) return;
    this.#members.delete(member.group);
    this.#woken.delete(member);
    if (this.#members.size > 0) return;
    this.#tickTimer?.cancel();
    this.#tickTimer = null;
  }

  /** Asks for a turn of this member soon; all that ask before it share it. */
  wake(member: GroupMember): void {
    this.#woken.add(member);
    if (this.#isTurnScheduled) return;
    this.#isTurnScheduled = true;
    this.#options.defer(() => {
      this.#isTurnScheduled = false;
      this.#turn();
    });
  }

  /** Hands messages of a transport to their groups. */
  receive(messages: readonly RaftMessage[]): void {
    const [first] = messages;
    if (first === undefined) return;
    if (messages.every(({ group }) => group === first.group)) {
      this.#deliver(first.group, messages);
      return;
    }
    const byGroup = new Map<GroupId, RaftMessage[]>();
    for (const message of messages) {
      const known = byGroup.get(message.group);
      if (known === undefined) byGroup.set(message.group, [message]);
      else known.push(message);
    }
    for (const [group, some] of byGroup) this.#deliver(group, some);
  }

  #deliver(group: GroupId, messages: readonly RaftMessage[]): void {
    const member = this.#members.get(group);
    if (member === undefined) this.#strayMessageCount += messages.length;
    else member.receive(messages);
  }

  #turn(): void {
    const woken = [...this.#woken];
    this.#woken.clear();
    const { wal } = this.#options;
    wal.cork();
    try {
      for (const member of woken) if (this.#members.has(member.group)) member.turn();
    } finally {
      wal.uncork();
    }
  }

  #armTick(): void {
    const nowMs = this.#options.clock.monotonicMs();
    let dueMs = Number.POSITIVE_INFINITY;
    for (const member of this.#members.values()) dueMs = Math.min(dueMs, member.tickDueMs);
    this.#tickTimer = this.#options.timers.after(Math.max(1, dueMs - nowMs), () => this.#onTimer());
  }

  /** Timers fire before sockets are read: the turn, which ticks, comes after the reads. */
  #onTimer(): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (const member of this.#members.values()) if (member.tickDueMs <= nowMs) this.wake(member);
    this.#options.defer(() => {
      if (this.#members.size > 0) this.#armTick();
    });
  }
}

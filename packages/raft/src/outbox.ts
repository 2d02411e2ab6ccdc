/**
 * What the next Ready hands out besides the append and the apply batch. Two message lists: `now`,
 * and `gated` for everything that may only leave once the present state is durable (DESIGN.md).
 */
import type { LogIndex } from '@holdfast/base';
import type { RaftMessage } from './messages.ts';
import type { RaftEvent, ReadState } from './ready.ts';

/** A flood of refused messages must not fill memory; beyond this refusals are only counted. */
const EVENT_COUNT_MAX = 1_024;

export class Outbox {
  #now: RaftMessage[] = [];
  #gated: RaftMessage[] = [];
  #reads: ReadState[] = [];
  #events: RaftEvent[] = [];
  #refusedCount = 0;

  get isEmpty(): boolean {
    return (
      this.#now.length === 0 &&
      this.#gated.length === 0 &&
      this.#reads.length === 0 &&
      this.#events.length === 0
    );
  }

  /** Messages refused since the start, also those whose event was dropped. */
  get refusedCount(): number {
    return this.#refusedCount;
  }

  sendNow(message: RaftMessage): void {
    this.#now.push(message);
  }

  /** An acknowledgement that says more than the one just before it takes that one's place. */
  sendGated(message: RaftMessage): void {
    const last = this.#gated.at(-1);
    if (last !== undefined && supersedes(message, last))
      this.#gated[this.#gated.length - 1] = message;
    else this.#gated.push(message);
  }

  /**
   * Forgets acknowledgements not handed out yet that speak of entries >= `from`: those entries were
   * just replaced and will never become durable here. Losing a message is always safe.
   */
  dropAcksFrom(from: LogIndex): void {
    this.#gated = this.#gated.filter(
      (message) => message.kind !== 'appendResponse' || message.matchIndex < from,
    );
  }

  read(state: ReadState): void {
    this.#reads.push(state);
  }

  event(event: RaftEvent): void {
    if (event.kind === 'messageRefused') this.#refusedCount += 1;
    if (event.kind === 'messageRefused' || event.kind === 'contradictionSeen')
      if (this.#events.length >= EVENT_COUNT_MAX) return;
    this.#events.push(event);
  }

  takeNow(): RaftMessage[] {
    const taken = this.#now;
    this.#now = [];
    return taken;
  }

  takeGated(): RaftMessage[] {
    const taken = this.#gated;
    this.#gated = [];
    return taken;
  }

  takeReads(): ReadState[] {
    const taken = this.#reads;
    this.#reads = [];
    return taken;
  }

  takeEvents(): RaftEvent[] {
    const taken = this.#events;
    this.#events = [];
    return taken;
  }
}

function supersedes(message: RaftMessage, earlier: RaftMessage): boolean {
  return (
    message.kind === 'appendResponse' &&
    earlier.kind === 'appendResponse' &&
    message.rejection === null &&
    earlier.rejection === null &&
    message.to === earlier.to &&
    message.term === earlier.term &&
    message.matchIndex >= earlier.matchIndex
  );
}

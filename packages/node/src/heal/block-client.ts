/**
 * Asks peers for blocks and waits for their answers, each for a bounded time. An answer that does
 * not come is no answer: whoever asked decides whom to ask next.
 */
import type { GroupId, Member, TimerHandle, Timers } from '@holdfast/base';
import { assert, nodeId } from '@holdfast/base';
import type { BlockResponse, CareFile } from '@holdfast/protocol';
import type { CareAddress, PeerTransport } from '../service-api.ts';

/** A peer may read a whole large file before it answers for the first time. */
const ANSWER_TIMEOUT_MS = 5_000;
/** A few repairs at one time, each asking a few members. */
const PENDING_COUNT_MAX = 256;
const REQUEST_ID_COUNT = 0x1_0000_0000;

export interface BlockClientOptions {
  readonly group: GroupId;
  readonly transport: Pick<PeerTransport, 'sendCare'>;
  readonly timers: Timers;
}

interface Pending {
  readonly peer: Member;
  readonly timer: TimerHandle;
  settle(answer: BlockResponse | null): void;
}

export class BlockClient {
  readonly #options: BlockClientOptions;
  readonly #pending = new Map<number, Pending>();
  #lastRequestId = 0;
  #isStopped = false;

  constructor(options: BlockClientOptions) {
    this.#options = options;
  }

  /** Null: the peer cannot be reached, did not answer in time, or this client was stopped. */
  ask(peer: Member, file: CareFile, blocks: readonly number[]): Promise<BlockResponse | null> {
    assert(this.#pending.size < PENDING_COUNT_MAX, 'repairs bound what they ask at one time');
    const { group, timers, transport } = this.#options;
    this.#lastRequestId = (this.#lastRequestId + 1) % REQUEST_ID_COUNT;
    const requestId = this.#lastRequestId;
    const to = { group, nodeId: peer.nodeId, incarnation: peer.incarnation };
    const request = { kind: 'blockRequest', requestId, file, blocks } as const;
    if (this.#isStopped || !transport.sendCare(to, request)) return Promise.resolve(null);
    return new Promise((resolve) => {
      const settle = (answer: BlockResponse | null): void => {
        this.#pending.delete(requestId);
        timer.cancel();
        resolve(answer);
      };
      const timer = timers.after(ANSWER_TIMEOUT_MS, () => settle(null));
      this.#pending.set(requestId, { peer, timer, settle });
    });
  }

  /** Only the life of the peer that was asked is believed. */
  receive(from: CareAddress, answer: BlockResponse): void {
    const pending = this.#pending.get(answer.requestId);
    const isExpected =
      pending !== undefined &&
      from.group === this.#options.group &&
      nodeId(pending.peer.nodeId) === from.nodeId &&
      pending.peer.incarnation === from.incarnation;
    if (isExpected) pending.settle(answer);
  }

  stop(): void {
    this.#isStopped = true;
    for (const { settle } of [...this.#pending.values()]) settle(null);
  }
}

/**
 * Reads that wait: on the leader for a quorum round, on a follower for the leader's answer. Plain
 * bookkeeping; read-index.ts has the rules.
 */
import type { LogIndex, NodeId, Random } from '@holdfast/base';

/** Who asked: this replica's host, or a follower whose own id for the request is `requestId`. */
export interface WaitingRead {
  readonly from: NodeId | null;
  readonly requestId: number;
}

export interface ReadRound {
  readonly round: number;
  readonly index: LogIndex;
  readonly reads: readonly WaitingRead[];
  /** Tick of the leader when it began. */
  readonly startedTick: number;
}

export class LeaderReads {
  readonly #countMax: number;
  #waiting: WaitingRead[] = [];
  #underWay: ReadRound | null = null;
  #round = 0;

  constructor(countMax: number) {
    this.#countMax = countMax;
  }

  get count(): number {
    return this.#waiting.length + (this.#underWay?.reads.length ?? 0);
  }

  get isFull(): boolean {
    return this.count >= this.#countMax;
  }

  get hasWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** Newest round started in this leadership; every heartbeat carries it. */
  get round(): number {
    return this.#round;
  }

  get underWay(): ReadRound | null {
    return this.#underWay;
  }

  add(read: WaitingRead): void {
    this.#waiting.push(read);
  }

  /** Every read waiting joins the new round. */
  startRound(index: LogIndex, startedTick: number): void {
    this.#round += 1;
    this.#underWay = { round: this.#round, index, reads: this.#waiting, startedTick };
    this.#waiting = [];
  }

  finishRound(): void {
    this.#underWay = null;
  }

  /** Empties everything; rounds count from zero in each leadership. */
  reset(): WaitingRead[] {
    const left = [...(this.#underWay?.reads ?? []), ...this.#waiting];
    this.#waiting = [];
    this.#underWay = null;
    this.#round = 0;
    return left;
  }
}

interface ForwardedBatch {
  readonly wireId: number;
  readonly requestIds: readonly number[];
  readonly dueTick: number;
}

/** 2^21 ids after a 32-bit random base fill a safe integer. */
const WIRE_ID_COUNT = 0x20_0000;

/**
 * A follower's reads. One message asks for all reads collected since the last one. Its id starts
 * from chance at every boot: an answer meant for an earlier life of this replica matches nothing.
 */
export class ForwardedReads {
  readonly #countMax: number;
  readonly #random: Random;
  #collected: number[] = [];
  #batches: ForwardedBatch[] = [];
  #batchedCount = 0;
  #wireBase = 0;
  #wireCounter = WIRE_ID_COUNT;

  constructor(countMax: number, random: Random) {
    this.#countMax = countMax;
    this.#random = random;
  }

  get count(): number {
    return this.#collected.length + this.#batchedCount;
  }

  get isFull(): boolean {
    return this.count >= this.#countMax;
  }

  get hasCollected(): boolean {
    return this.#collected.length > 0;
  }

  add(requestId: number): void {
    this.#collected.push(requestId);
  }

  /** Makes one batch of what was collected and returns the id to ask with. */
  startBatch(dueTick: number): number {
    if (this.#wireCounter >= WIRE_ID_COUNT) {
      this.#wireBase = this.#random.nextU32();
      this.#wireCounter = 0;
    }
    const wireId = this.#wireBase * WIRE_ID_COUNT + this.#wireCounter;
    this.#wireCounter += 1;
    this.#batches.push({ wireId, requestIds: this.#collected, dueTick });
    this.#batchedCount += this.#collected.length;
    this.#collected = [];
    return wireId;
  }

  /** Removes the batch asked with `wireId`; empty when there is none (late or not ours). */
  finish(wireId: number): readonly number[] {
    const position = this.#batches.findIndex((batch) => batch.wireId === wireId);
    if (position === -1) return [];
    const [batch] = this.#batches.splice(position, 1);
    this.#batchedCount -= batch!.requestIds.length;
    return batch!.requestIds;
  }

  /** Removes every batch due at or before `tick`. */
  expire(tick: number): number[] {
    if (this.#batches.length === 0 || this.#batches[0]!.dueTick > tick) return [];
    const expired = this.#batches.filter((batch) => batch.dueTick <= tick);
    this.#batches = this.#batches.filter((batch) => batch.dueTick > tick);
    const requestIds = expired.flatMap((batch) => batch.requestIds);
    this.#batchedCount -= requestIds.length;
    return requestIds;
  }

  reset(): number[] {
    const left = [...this.#batches.flatMap((batch) => batch.requestIds), ...this.#collected];
    this.#batches = [];
    this.#collected = [];
    this.#batchedCount = 0;
    return left;
  }
}

/**
 * Raft messages waiting for one peer, bounded by count and bytes. Two lanes: what is small and
 * urgent (heartbeats, votes, acknowledgements) is never behind queued log entries, and has its own
 * room, so that a flood of entries cannot push it out.
 */
import type { RaftEnvelope } from '@holdfast/protocol';

export type QueueLane = 'urgent' | 'entries';

interface LaneLimits {
  readonly countMax: number;
  readonly sizeBytesMax: number;
}

const LIMITS: { readonly [Lane in QueueLane]: LaneLimits } = {
  // Acknowledgements and heartbeats: tens of bytes each; this is seconds of them.
  urgent: { countMax: 4_096, sizeBytesMax: 4 * 1024 * 1024 },
  // Raft bounds what is in flight per peer below this; the rest is protection against mistakes.
  entries: { countMax: 4_096, sizeBytesMax: 64 * 1024 * 1024 },
};

interface LaneState {
  items: RaftEnvelope[];
  head: number;
  sizeBytes: number;
}

export class SendQueue {
  readonly #lanes: { readonly [Lane in QueueLane]: LaneState } = {
    urgent: emptyLane(),
    entries: emptyLane(),
  };

  get isEmpty(): boolean {
    return countOf(this.#lanes.urgent) === 0 && countOf(this.#lanes.entries) === 0;
  }

  /** False: the lane is full and the message was not taken. */
  push(lane: QueueLane, envelope: RaftEnvelope): boolean {
    const state = this.#lanes[lane];
    const { countMax, sizeBytesMax } = LIMITS[lane];
    const sizeBytes = envelope.body.byteLength;
    const isFull =
      countOf(state) >= countMax ||
      (countOf(state) > 0 && state.sizeBytes + sizeBytes > sizeBytesMax);
    if (isFull) return false;
    state.items.push(envelope);
    state.sizeBytes += sizeBytes;
    return true;
  }

  /** The next messages, urgent ones first; at least one if there is any, whatever its size. */
  take(countMax: number, sizeBytesMax: number): RaftEnvelope[] {
    const taken: RaftEnvelope[] = [];
    let leftBytes = sizeBytesMax;
    for (const state of [this.#lanes.urgent, this.#lanes.entries]) {
      while (countOf(state) > 0 && taken.length < countMax) {
        const next = state.items[state.head]!;
        if (taken.length > 0 && next.body.byteLength > leftBytes) break;
        taken.push(next);
        leftBytes -= next.body.byteLength;
        advance(state);
      }
    }
    return taken;
  }

  /** Empties the queue and answers how many messages were lost. */
  clear(): number {
    const count = countOf(this.#lanes.urgent) + countOf(this.#lanes.entries);
    for (const state of [this.#lanes.urgent, this.#lanes.entries]) {
      state.items = [];
      state.head = 0;
      state.sizeBytes = 0;
    }
    return count;
  }
}

const emptyLane = (): LaneState => ({ items: [], head: 0, sizeBytes: 0 });
const countOf = (state: LaneState): number => state.items.length - state.head;

function advance(state: LaneState): void {
  state.sizeBytes -= state.items[state.head]!.body.byteLength;
  state.head += 1;
  if (state.head === state.items.length) {
    state.items = [];
    state.head = 0;
  }
}

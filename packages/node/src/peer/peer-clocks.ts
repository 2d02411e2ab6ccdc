/**
 * How far the wall clocks of other nodes are from ours, from the times they tell in handshakes and
 * pings. What is late makes the other clock look slow, never fast, so the largest difference of the
 * last few counts. Good to the delay of the quietest of them: enough to tell seconds.
 */
import type { Clock, NodeId } from '@holdfast/base';

/** At a ping every 500 ms: the quietest of four seconds. */
const SAMPLE_COUNT_MAX = 8;
/** After that a clock may have been set: better none than an old one. */
const SAMPLE_AGE_MS_MAX = 10_000;
/** More nodes than any cluster has; the oldest is forgotten. */
const NODE_COUNT_MAX = 128;

interface Sample {
  readonly offsetMs: number;
  readonly atMs: number;
}

export class PeerClocks {
  readonly #clock: Clock;
  readonly #samples = new Map<NodeId, readonly Sample[]>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** `wallMs` has just been received from `peer`. */
  observe(peer: NodeId, wallMs: number): void {
    const atMs = this.#clock.monotonicMs();
    const sample = { offsetMs: wallMs - this.#clock.wallMs(), atMs };
    const before = this.#samples.get(peer) ?? [];
    this.#samples.delete(peer);
    this.#samples.set(peer, [...before.slice(1 - SAMPLE_COUNT_MAX), sample]);
    for (const oldest of this.#samples.keys()) {
      if (this.#samples.size <= NODE_COUNT_MAX) return;
      this.#samples.delete(oldest);
    }
  }

  /** Theirs minus ours, of every node heard from lately. */
  offsetsMs(): ReadonlyMap<NodeId, number> {
    const nowMs = this.#clock.monotonicMs();
    const offsets = new Map<NodeId, number>();
    for (const [peer, samples] of this.#samples) {
      const fresh = samples.filter(({ atMs }) => nowMs - atMs <= SAMPLE_AGE_MS_MAX);
      if (fresh.length === 0) continue;
      offsets.set(peer, Math.max(...fresh.map(({ offsetMs }) => offsetMs)));
    }
    return offsets;
  }
}

const PING_SIZE_BYTES = 8;

/** What a ping carries. */
export function encodePingTime(wallMs: number): Buffer {
  const bytes = Buffer.alloc(PING_SIZE_BYTES);
  bytes.writeDoubleLE(wallMs);
  return bytes;
}

/** Null when the bytes are no time. */
export function decodePingTime(bytes: Buffer): number | null {
  if (bytes.byteLength !== PING_SIZE_BYTES) return null;
  const wallMs = bytes.readDoubleLE();
  return wallMs >= 0 && wallMs <= WALL_MS_MAX ? wallMs : null;
}

/** The last moment that a Date can name. */
const WALL_MS_MAX = 8.64e15;

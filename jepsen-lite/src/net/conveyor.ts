/**
 * One direction of one relayed connection: bytes leave in the order in which they came, each piece
 * at its time. Memory is bounded: above the limit the source is not read, which is what a network
 * does too.
 */
import type { Socket } from 'node:net';

/** About what two sockets and a switch would hold. */
const QUEUE_SIZE_BYTES_MAX = 1024 * 1024;

interface Piece {
  readonly bytes: Buffer;
  readonly dueMs: number;
}

export class Conveyor {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #queue: Piece[] = [];
  #queuedBytes = 0;
  #timer: NodeJS.Timeout | null = null;
  /** When a line of limited speed has room again. */
  #freeAtMs = 0;
  #isEnding = false;

  constructor(from: Socket, to: Socket) {
    this.#from = from;
    this.#to = to;
    to.on('drain', () => this.#readOn());
  }

  /** Takes the bytes; they leave after `delayMs` and not faster than the line allows. */
  push(bytes: Buffer, delayMs: number, bytesPerSecondMax: number | null): void {
    const nowMs = performance.now();
    const beginMs = Math.max(nowMs, this.#freeAtMs);
    const sendingMs = bytesPerSecondMax === null ? 0 : (1_000 * bytes.length) / bytesPerSecondMax;
    this.#freeAtMs = beginMs + sendingMs;
    const dueMs = beginMs + sendingMs + delayMs;
    if (this.#queue.length === 0 && dueMs <= nowMs) {
      this.#write(bytes);
      return;
    }
    // What is due before the piece in front of it waits for that one.
    this.#queue.push({ bytes, dueMs });
    this.#queuedBytes += bytes.length;
    if (this.#queuedBytes > QUEUE_SIZE_BYTES_MAX) this.#from.pause();
    this.#arm();
  }

  /** The source said that it is done: so does this, behind what is queued. */
  end(): void {
    this.#isEnding = true;
    if (this.#queue.length === 0 && !this.#to.destroyed) this.#to.end();
  }

  /** Forgets what is queued. Returns whether that was anything. */
  clear(): boolean {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const hasLost = this.#queue.length > 0;
    this.#queue.length = 0;
    this.#queuedBytes = 0;
    this.#readOn();
    return hasLost;
  }

  #arm(): void {
    const [head] = this.#queue;
    if (head === undefined || this.#timer !== null) return;
    // Rounded up: a timer that fires early would find nothing due.
    const delayMs = Math.max(0, Math.ceil(head.dueMs - performance.now()));
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#drain();
    }, delayMs);
  }

  #drain(): void {
    const nowMs = performance.now();
    let dueCount = 0;
    for (const { bytes, dueMs } of this.#queue) {
      if (dueMs > nowMs) break;
      this.#write(bytes);
      this.#queuedBytes -= bytes.length;
      dueCount += 1;
    }
    this.#queue.splice(0, dueCount);
    this.#readOn();
    if (this.#queue.length === 0 && this.#isEnding) this.end();
    this.#arm();
  }

  #write(bytes: Buffer): void {
    if (this.#to.destroyed || this.#to.writableEnded) return;
    if (!this.#to.write(bytes)) this.#from.pause();
  }

  #readOn(): void {
    const isFull = this.#queuedBytes > QUEUE_SIZE_BYTES_MAX / 2 || this.#to.writableNeedDrain;
    if (!isFull && this.#from.isPaused()) this.#from.resume();
  }
}

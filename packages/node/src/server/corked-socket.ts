/**
 * A server-side WebSocket whose frames of one turn leave in one write, and that says why before it
 * closes for an oversize frame (the ws library alone closes with a bare status code).
 */
import type { Socket } from 'node:net';
import { WebSocket } from 'ws';

/** RFC 6455 status: message too big. */
const CLOSE_TOO_BIG = 1009;

export class CorkedSocket extends WebSocket {
  /** Set by the owner: the last frame to send when the peer's frame is over the limit. */
  oversizeNotice: (() => Uint8Array) | undefined;
  #isCorked = false;

  /** Queues one binary frame; the write happens when the current turn's work is done. */
  sendFrame(frame: Uint8Array): void {
    if (this.readyState !== WebSocket.OPEN) return;
    this.#cork();
    this.send(frame, { binary: true, fin: true });
  }

  override close(code?: number, reason?: string | Buffer): void {
    if (code === CLOSE_TOO_BIG && this.readyState === WebSocket.OPEN && this.oversizeNotice) {
      this.send(this.oversizeNotice(), { binary: true });
    }
    super.close(code, reason);
  }

  #cork(): void {
    if (this.#isCorked) return;
    const { _socket: socket } = this as unknown as { readonly _socket: Socket | null };
    if (socket === null) return;
    this.#isCorked = true;
    socket.cork();
    process.nextTick(() => {
      this.#isCorked = false;
      socket.uncork();
    });
  }
}

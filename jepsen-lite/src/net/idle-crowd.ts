/**
 * Thousands of connections that say nothing, or say hello and then nothing. Whoever is refused or
 * sent away is let go; those that are held stay until the crowd goes home.
 */
import { readFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import type { Address } from './hostile-clients.ts';

/** Opened at one time, so that the listen queue is not what is tested. */
const BATCH_COUNT = 100;
const CONNECT_TIMEOUT_MS = 5_000;
/** Left for everything else that this process has open. */
const SPARED_DESCRIPTOR_COUNT = 2_000;

/** How many connections this process may open for a crowd of at most `wanted`. */
export function crowdCountMax(wanted: number): number {
  const limits = readFileSync('/proc/self/limits', 'utf8');
  const limit = Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? 1_024);
  return Math.max(0, Math.min(wanted, limit - SPARED_DESCRIPTOR_COUNT));
}

export class IdleCrowd {
  readonly #sockets = new Set<Socket>();

  /** Connections that are open now. */
  get heldCount(): number {
    return this.#sockets.size;
  }

  /** Opens `count` connections. Resolves with how many were made; the node may end any of them. */
  async gather(addresses: readonly Address[], count: number): Promise<number> {
    let madeCount = 0;
    for (let begun = 0; begun < count; begun += BATCH_COUNT) {
      const size = Math.min(BATCH_COUNT, count - begun);
      const made = await Promise.all(
        Array.from({ length: size }, (_unused, i) => this.#join(addresses, begun + i)),
      );
      madeCount += made.filter((isMade) => isMade).length;
    }
    return madeCount;
  }

  disperse(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }

  #join(addresses: readonly Address[], number: number): Promise<boolean> {
    const address = addresses[number % addresses.length];
    if (address === undefined) return Promise.resolve(false);
    return new Promise((resolve) => {
      const socket = createConnection(address);
      this.#sockets.add(socket);
      socket.setTimeout(CONNECT_TIMEOUT_MS, () => {
        if (socket.connecting) socket.destroy();
      });
      socket.once('connect', () => resolve(true));
      socket.on('error', () => socket.destroy());
      socket.once('close', () => {
        this.#sockets.delete(socket);
        resolve(false);
      });
      socket.resume();
    });
  }
}

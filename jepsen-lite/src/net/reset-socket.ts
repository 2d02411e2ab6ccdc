/**
 * Ends a connection with a reset. A socket that is saying goodbye cannot be reset (EINVAL), and
 * Node.js would then leave its handle open for good: the other end would never hear of it, and this
 * process would never end. Such a one is closed instead.
 */
import type { Socket } from 'node:net';

export function resetSocket(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}

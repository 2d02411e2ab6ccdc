/**
 * Ports for nodes that are killed and restarted. They are taken below the range from which the
 * kernel serves outgoing connections: a port from that range could be in use when the node returns.
 */
import { createServer } from 'node:net';

const PORT_MIN = 10_000;
/** Linux hands out 32768 and above to outgoing connections. */
const PORT_MAX = 32_000;
/** Far more than a busy machine needs; then the error says so. */
const ATTEMPT_COUNT_MAX = 500;

/** Chance comes in so that two runs started at once do not try the same ports in step. */
export type PickPort = () => number;

const pickRandomPort: PickPort = () => PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN));

/** Returns `count` different loopback ports that could be bound a moment ago. */
export async function findFreePorts(
  count: number,
  pickPort: PickPort = pickRandomPort,
): Promise<readonly number[]> {
  const ports: number[] = [];
  for (let attempt = 0; attempt < ATTEMPT_COUNT_MAX && ports.length < count; attempt++) {
    const port = pickPort();
    if (!ports.includes(port) && (await canBind(port))) ports.push(port);
  }
  if (ports.length < count) {
    throw new Error(`found only ${ports.length} of ${count} free ports on 127.0.0.1`);
  }
  return ports;
}

function canBind(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host: '127.0.0.1', port, exclusive: true }, () => {
      server.close(() => resolve(true));
    });
  });
}

/** The real client server of a node, without sockets: admission, handshake, requests, pushes. */
import type { Logger } from '@holdfast/base';
import { FRAME_SIZE_BYTES_MAX } from '@holdfast/protocol';
import { Admission } from '../server/admission.ts';
import { ApiKeyGuard } from '../server/api-key.ts';
import { ClientServer } from '../server/client-server.ts';
import type { ConnectionSocket, RawSocket } from '../server/connection-socket.ts';
import { Metrics } from '../server/metrics.ts';
import type { NodeService } from '../service-api.ts';
import type { SimProcess } from './sim-process.ts';

/** Those of a node, but the number of connections: a simulation has a handful of clients. */
const LIMITS = {
  maxConnections: 64,
  frameSizeBytesMax: FRAME_SIZE_BYTES_MAX,
  inflightRequestCountMax: 4_096,
  inflightRequestCountMaxPerConnection: 256,
  sendBufferSizeBytesMax: 8 * 1024 * 1024,
  slowReaderTimeoutMs: 10_000,
  handshakeTimeoutMs: 5_000,
  shutdownTimeoutMs: 10_000,
};

/** Returns what takes over a connection. The server ends with the process. */
export function openClientPort(
  service: NodeService,
  process: SimProcess,
  logger: Logger,
): (socket: ConnectionSocket, rawSocket: RawSocket) => void {
  const admission = new Admission(LIMITS);
  const server = new ClientServer({
    service,
    admission,
    guard: new ApiKeyGuard(null),
    metrics: new Metrics({ service, admission, hasProcessMetrics: false }),
    limits: LIMITS,
    clock: process,
    timers: process,
    logger,
  });
  server.start();
  return (socket, rawSocket) => server.accept(socket, rawSocket);
}

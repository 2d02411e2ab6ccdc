export type { FakeServer, FakeServerEnd, FakeTransportOptions } from './fake-transport.ts';
export { FakeTransport } from './fake-transport.ts';
export { LoopbackServers } from './loopback-servers.ts';
export type { ModelClusterOptions, ModelFault } from './model-cluster.ts';
export { ModelCluster } from './model-cluster.ts';
export { pass, passUntil } from './pass.ts';

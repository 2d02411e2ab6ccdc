/** The real transport over loopback sockets, and use from CommonJS. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { promisify } from 'node:util';
import { SeededRandom } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import t from 'tap';
import { WebSocketServer } from 'ws';
import { HoldfastClient } from '../src/client.ts';
import { SYSTEM_CLOCK, SYSTEM_TIMERS } from '../src/system.ts';
import { LoopbackServers } from '../src/testing/loopback-servers.ts';
import { ModelCluster } from '../src/testing/model-cluster.ts';
import { WsTransport } from '../src/ws-transport.ts';

async function loopbackCluster() {
  const servers = await LoopbackServers.start(3);
  const cluster = new ModelCluster({
    timers: SYSTEM_TIMERS,
    random: new SeededRandom(3),
    transport: servers,
    addresses: servers.addresses,
  });
  return { servers, cluster };
}

t.test('the client works over real sockets, through a failover', async (t) => {
  const { servers, cluster } = await loopbackCluster();
  const client = await HoldfastClient.connect({ nodes: servers.addresses });
  const docs = client.collection('docs');
  const payload = { text: 'naïve ☃', list: [1, 2.5, null] };
  const vector = new Float32Array(768).fill(0.25);
  t.ok((await docs.upsert({ id: 2 ** 53 - 1, vector, payload })).index > 0);
  const ids = Array.from({ length: 200 }, (_, id) => id);
  const writes = ids.map((id) => docs.upsert({ id, vector }));
  cluster.elect(null);
  cluster.kill(0);
  cluster.elect(2);
  await Promise.all(writes);
  t.ok(
    ids.every((id) => cluster.executionCounts.get(id) === 1),
    'each write happened once',
  );
  t.equal(client.leader?.nodeId, 'n3');
  t.equal((await docs.count()).count, 201);
  await client.close();
  await servers.stop();
});

t.test('a silent server is pinged and then given up', async (t) => {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, autoPong: false });
  await once(server, 'listening');
  const clock = new VirtualClock();
  const transport = new WsTransport(clock, clock);
  const { port } = server.address() as AddressInfo;
  const pinged = once(server, 'connection').then(([socket]) => once(socket, 'ping'));
  const closed = new Promise<Error>((resolve) => {
    transport.connect(`127.0.0.1:${port}`, {
      onOpen: () => clock.advance(2_000),
      onFrame: () => t.fail('no frame was sent'),
      onClose: resolve,
    });
  });
  await pinged;
  clock.advance(8_000);
  t.match((await closed).message, /nothing was heard for \d+ ms/);
  await new Promise((resolve) => server.close(resolve));
});

t.test('a failed dial is a close, whatever the address', async (t) => {
  const transport = new WsTransport(SYSTEM_CLOCK, SYSTEM_TIMERS);
  const dial = (address: string): Promise<Error> =>
    new Promise((onClose) => {
      transport.connect(address, {
        onOpen: () => t.fail('nobody is there'),
        onFrame: () => t.fail('nobody is there'),
        onClose,
      });
    });
  const refusing = createServer().listen(0, '127.0.0.1');
  await once(refusing, 'listening');
  const { port } = refusing.address() as AddressInfo;
  await new Promise((resolve) => refusing.close(resolve));
  t.match((await dial(`127.0.0.1:${port}`)).message, /ECONNREFUSED/);
  t.ok((await dial('not a url:1')) instanceof Error);
});

t.test('a server that is no Holdfast is named as the reason', async (t) => {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  await once(server, 'listening');
  server.on('connection', (socket) => socket.send('{"hello":"json"}'));
  const { port } = server.address() as AddressInfo;
  await t.rejects(HoldfastClient.connect({ nodes: [`127.0.0.1:${port}`], timeoutMs: 300 }), {
    code: 'NO_NODE_REACHABLE',
    message: /text frame/,
  });
  for (const socket of server.clients) socket.terminate();
  await new Promise((resolve) => server.close(resolve));
});

t.test('a CommonJS program can require the client, without a word on stderr', async (t) => {
  const script = new URL('../../test/require-client.cjs', import.meta.url);
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [script.pathname]);
  t.equal(stdout, 'NO_NODE_REACHABLE');
  t.equal(stderr, '');
});

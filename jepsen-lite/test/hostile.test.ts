// Hostile strangers against plain servers: each attack really does what it says, and ends.
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { SeededRandom } from '@holdfast/base';
import { decodePeerHandshake, decodeUp } from '@holdfast/protocol';
import t, { type Test } from 'tap';
import { WebSocketServer } from 'ws';
import {
  announceHugeFrame,
  BAD_MESSAGES,
  forgePeer,
  readNothing,
  sendBadMessage,
  sendGarbage,
} from '../src/net/hostile-clients.ts';
import { crowdCountMax, IdleCrowd } from '../src/net/idle-crowd.ts';

// Real sockets, files and processes take as long as the machine lets them.
t.setTimeout(0);

const random = () => new SeededRandom(3);
const addressOf = (server: Server | WebSocketServer) => ({
  host: '127.0.0.1',
  port: (server.address() as AddressInfo).port,
});

/** Keeps what each message was, and ends the connection after so many. */
async function doorThatEndsAfter(t: Test, messageCount: number) {
  const messages: Buffer[] = [];
  const errors: string[] = [];
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, maxPayload: 1 << 20 });
  await once(server, 'listening');
  server.on('connection', (socket) => {
    socket.on('message', (message: Buffer) => {
      messages.push(message);
      if (messages.length >= messageCount) socket.terminate();
      else socket.send('go on');
    });
    socket.on('error', (error: Error) => errors.push(error.message));
  });
  t.teardown(() => {
    for (const socket of server.clients) socket.terminate();
    server.close();
  });
  return { address: addressOf(server), messages, errors };
}

t.test('garbage arrives as it is, and a closed door is a refusal', async (t) => {
  const chunks: Buffer[] = [];
  const server = createServer((socket) => {
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      socket.destroy();
    });
    socket.on('error', () => undefined);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = addressOf(server);
  t.equal(await sendGarbage(address, random()), 'closed');
  t.ok((chunks[0]?.length ?? 0) > 0);
  await new Promise((resolve) => server.close(resolve));
  t.equal(await sendGarbage(address, random()), 'refused');
});

t.test('a huge frame is announced behind a good upgrade', async (t) => {
  const { address, errors, messages } = await doorThatEndsAfter(t, 1);
  t.equal(await announceHugeFrame(address, 'client', random()), 'closed');
  t.match(errors, [/Max payload size exceeded|Unsupported WebSocket frame/]);
  t.same(messages, []);
});

t.test('a client says hello before a bad message, a peer does not', async (t) => {
  for (const [name, make] of Object.entries(BAD_MESSAGES)) {
    const client = await doorThatEndsAfter(t, 2);
    t.equal(await sendBadMessage(client.address, 'client', make()), 'closed', name);
    t.equal(decodeUp(client.messages[0] ?? Buffer.alloc(0)).kind, 'hello');
    t.ok(client.messages[1]?.equals(make()), 'then as it is');
    t.throws(() => decodeUp(make()), `${name} does not decode`);
    const peer = await doorThatEndsAfter(t, 1);
    t.equal(await sendBadMessage(peer.address, 'peer', make()), 'closed');
    t.ok(peer.messages[0]?.equals(make()));
  }
});

t.test('a slow reader asks thousands of times and reads nothing', async (t) => {
  const { address, messages } = await doorThatEndsAfter(t, 5_000);
  t.equal(await readNothing(address), 'closed');
  t.ok(messages.length >= 5_000, `${messages.length} questions`);
  t.match(decodeUp(messages[1] ?? Buffer.alloc(0)), { kind: 'status', id: 1 });
});

t.test('a forged peer says a good hello and cannot prove it', async (t) => {
  const { address, messages } = await doorThatEndsAfter(t, 3);
  const identity = {
    ...{ clusterId: 'a'.repeat(32), nodeId: 'n2', incarnation: 'b'.repeat(32) },
    peerAddress: '127.0.0.1:7201',
  };
  t.equal(await forgePeer(address, identity, random()), 'closed');
  const [hello, response, noise] = messages;
  t.match(decodePeerHandshake(hello ?? Buffer.alloc(0)), { kind: 'hello', nodeId: 'n2' });
  t.equal(decodePeerHandshake(response ?? Buffer.alloc(0)).kind, 'response');
  t.equal(noise?.length, 512, 'and sends messages all the same');
});

t.test('a crowd is held until it goes home, and knows who was sent away', async (t) => {
  const held = new Set<unknown>();
  const server = createServer((socket) => {
    held.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => held.delete(socket));
    if (held.size > 150) socket.destroy();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const crowd = new IdleCrowd();
  const made = await crowd.gather([addressOf(server)], 200);
  t.ok(made >= 150, `${made} connected`);
  while (crowd.heldCount > 150) await new Promise((resolve) => setImmediate(resolve));
  t.equal(crowd.heldCount, 150, 'the rest was sent away');
  crowd.disperse();
  t.equal(crowd.heldCount, 0);
  await new Promise((resolve) => server.close(resolve));
  t.equal(crowdCountMax(10), 10);
  t.ok(crowdCountMax(1_000_000) < 1_000_000, 'never all descriptors');
});

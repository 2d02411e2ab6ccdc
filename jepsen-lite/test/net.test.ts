// The relays over real loopback sockets: they lose exactly what they were told to lose.
import { once } from 'node:events';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { encodeDown, encodeUp } from '@holdfast/protocol';
import t from 'tap';
import { WebSocket, WebSocketServer } from 'ws';
import { findFreePorts } from '../src/cluster/free-ports.ts';
import { metricIn } from '../src/cluster/node-http.ts';
import { fileSystemTypeIn, isMemoryFileSystem } from '../src/cluster/scratch-directory.ts';
import { MessageRelay } from '../src/net/message-relay.ts';
import { ReplyCutting } from '../src/net/reply-cutting.ts';
import { resetSocket } from '../src/net/reset-socket.ts';
import { TcpProxy } from '../src/net/tcp-proxy.ts';

/** Answers every chunk with the same chunk, and keeps what arrived. */
async function echoServer(): Promise<{ server: Server; port: number; received: string[] }> {
  const received: string[] = [];
  const server = createServer((socket) => {
    socket.on('data', (chunk) => {
      received.push(chunk.toString());
      socket.write(chunk);
    });
    socket.on('error', () => socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('not TCP');
  return { server, port: address.port, received };
}

/** Resets are expected here: only the end matters (`once` would reject on the error event). */
function closeOf(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.on('error', () => undefined);
    socket.once('close', () => resolve());
  });
}

async function connectTo(port: number): Promise<Socket> {
  const socket = createConnection({ host: '127.0.0.1', port });
  await once(socket, 'connect');
  return socket;
}

t.test('the TCP relay passes, delays, drops only answers, and cuts', async (t) => {
  const echo = await echoServer();
  const proxy = await TcpProxy.listen({ host: '127.0.0.1', port: echo.port });
  t.teardown(async () => {
    await proxy.stop();
    echo.server.close();
  });
  const socket = await connectTo(proxy.port);

  socket.write('one');
  t.equal(String(await once(socket, 'data')), 'one');

  proxy.setMode({ kind: 'delay', delayMs: 30 });
  const sentMs = performance.now();
  socket.write('two');
  t.equal(String(await once(socket, 'data')), 'two');
  t.ok(performance.now() - sentMs >= 55, 'both directions waited');

  proxy.setMode({ kind: 'dropReplies' });
  socket.write('three');
  while (proxy.droppedBytes < 5) await new Promise((resolve) => setImmediate(resolve));
  t.same(echo.received, ['one', 'two', 'three'], 'the request arrived, its answer did not');

  const closed = closeOf(socket);
  proxy.setMode({ kind: 'cut' });
  await closed;
  await closeOf(createConnection({ host: '127.0.0.1', port: proxy.port }));

  proxy.setMode({ kind: 'pass' });
  const again = await connectTo(proxy.port);
  again.write('four');
  t.equal(String(await once(again, 'data')), 'four');
  again.destroy();
});

t.test('the message relay swallows a chosen answer after the node gave it', async (t) => {
  const received: string[] = [];
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, path: '/v1/ws' });
  await once(server, 'listening');
  server.on('connection', (socket) =>
    socket.on('message', (message) => {
      received.push(String(message));
      socket.send(Buffer.from(`re:${message}`));
    }),
  );
  const address = server.address();
  if (typeof address === 'string' || address === null) throw new Error('not TCP');
  const answered: string[] = [];
  const relay = await MessageRelay.listen(`127.0.0.1:${address.port}`, () => ({
    onRequest: () => 'pass',
    onReply: (message) => {
      answered.push(Buffer.from(message).toString());
      return answered.at(-1) === 're:b' ? 'cut' : 'pass';
    },
  }));
  t.teardown(async () => {
    await relay.stop();
    for (const socket of server.clients) socket.terminate();
    server.close();
  });
  const client = new WebSocket(`ws://${relay.address}/v1/ws`);
  const seen: string[] = [];
  client.on('message', (message) => seen.push(String(message)));
  await once(client, 'open');
  client.send('a');
  await once(client, 'message');
  client.send('b');
  await once(client, 'close');
  t.same(received, ['a', 'b']);
  t.same(answered, ['re:a', 're:b'], 'the relay saw both answers');
  t.same(seen, ['re:a'], 'the client saw only the first');
});

t.test(
  'reply cutting loses the first answer to each write, and compares it with the second',
  async (t) => {
    const upsert = (id: number, sequence: number) =>
      encodeUp({
        id,
        kind: 'upsert',
        session: { id: 5, sequence, ackedThrough: 0 },
        collection: 'c',
        points: [{ id: 1, vector: new Float32Array(1) }],
      });
    const answer = (id: number, index: number) =>
      encodeDown({ id, ok: true, result: { index, term: 1 } });
    const hello = (client: string) => encodeUp({ kind: 'hello', protocolVersions: [1], client });
    const cuts: number[] = [];
    const cutting = new ReplyCutting((cutCount) => cuts.push(cutCount));

    const under = cutting.makeFilter();
    t.equal(under.onRequest(hello('cut-1')), 'pass');
    t.equal(under.onRequest(upsert(1, 1)), 'pass');
    t.equal(under.onReply(answer(1, 77)), 'cut', 'the first answer is lost');
    const again = cutting.makeFilter();
    again.onRequest(hello('cut-1'));
    again.onRequest(upsert(2, 1));
    t.equal(again.onReply(answer(2, 77)), 'pass', 'the answer to the retry arrives');
    t.same(cutting.contradictions, []);
    again.onRequest(upsert(3, 1));
    again.onReply(answer(3, 78));
    t.match(cutting.contradictions, [/session 5 sequence 1: 77, then 78/]);

    const side = cutting.makeFilter();
    side.onRequest(hello('side'));
    side.onRequest(upsert(1, 9));
    t.equal(side.onReply(answer(1, 80)), 'pass', 'other clients are left alone');
    cutting.hold();
    t.equal(cutting.makeFilter().onRequest(hello('cut-1')), 'cut', 'held: cannot connect');
    t.equal(cutting.makeFilter().onRequest(hello('side')), 'pass');
    cutting.release();
    t.equal(cutting.makeFilter().onRequest(hello('cut-1')), 'pass');
    t.same(cuts, [1]);
  },
);

t.test('a metric is summed over its labels, and a longer name is another metric', async (t) => {
  const text = [
    '# HELP sent_total Sent.',
    'sent_total{peer="n1"} 3',
    'sent_total{peer="n2"} 4',
    'sent_total_bytes 100',
    'up 1',
  ].join('\n');
  t.equal(metricIn(text, 'sent_total'), 7);
  t.equal(metricIn(text, 'up'), 1);
  t.equal(metricIn(text, 'absent'), 0);
});

t.test('free ports are different, and below the range of outgoing connections', async (t) => {
  const ports = await findFreePorts(6);
  t.equal(new Set(ports).size, 6);
  t.ok(ports.every((port) => port >= 10_000 && port < 32_768));
  const busy = createServer();
  busy.listen(ports[0], '127.0.0.1');
  await once(busy, 'listening');
  const picks = [ports[0] ?? 0, ports[1] ?? 0];
  t.same(await findFreePorts(1, () => picks.shift() ?? 0), [ports[1]], 'a busy port is passed by');
  busy.close();
});

t.test('the file system of a path is that of the longest mount point above it', async (t) => {
  const mounts = [
    'rootfs / ext4 rw 0 0',
    'tmpfs /tmp tmpfs rw 0 0',
    '/dev/b /tmp/with\\040blank xfs rw 0 0',
    '/dev/c /tmpfoo btrfs rw 0 0',
  ].join('\n');
  t.equal(fileSystemTypeIn(mounts, '/var/data'), 'ext4');
  t.equal(fileSystemTypeIn(mounts, '/tmp'), 'tmpfs');
  t.equal(fileSystemTypeIn(mounts, '/tmp/a/b'), 'tmpfs');
  t.equal(fileSystemTypeIn(mounts, '/tmp/with blank/a'), 'xfs');
  t.equal(fileSystemTypeIn(mounts, '/tmpfoo/a'), 'btrfs');
  t.ok(isMemoryFileSystem('tmpfs'));
  t.notOk(isMemoryFileSystem('ext4'));
});

t.test('a silent relay swallows both ways, and mending resets what lost bytes', async (t) => {
  const echo = await echoServer();
  const proxy = await TcpProxy.listen({ host: '127.0.0.1', port: echo.port });
  t.teardown(async () => {
    await proxy.stop();
    echo.server.close();
  });
  const socket = await connectTo(proxy.port);
  socket.write('one');
  t.equal(String(await once(socket, 'data')), 'one');
  proxy.setMode({ kind: 'silence' });
  const closed = closeOf(socket);
  socket.write('two');
  const other = await connectTo(proxy.port);
  other.write('three');
  const otherClosed = closeOf(other);
  proxy.setMode({ kind: 'silence' });
  // The relay has handled its bytes when a connection that is not silenced has come full circle.
  const second = await TcpProxy.listen({ host: '127.0.0.1', port: echo.port });
  t.teardown(() => second.stop());
  const through = await connectTo(second.port);
  through.write('four');
  t.equal(String(await once(through, 'data')), 'four');
  through.destroy();
  proxy.setMode({ kind: 'pass' });
  await Promise.all([closed, otherClosed]);
  t.notOk(echo.received.some((chunk) => chunk.includes('two') || chunk.includes('three')));
  const fresh = await connectTo(proxy.port);
  fresh.write('five');
  t.equal(String(await once(fresh, 'data')), 'five');
  fresh.destroy();
});

t.test('a socket that says goodbye is closed by a reset all the same', async (t) => {
  const accepted: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => accepted.push(socket));
  t.teardown(() => server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('not TCP');
  const socket = await connectTo(address.port);
  if (accepted.length === 0) await once(server, 'connection');
  const other = closeOf(accepted[0]!);
  let error: Error | null = null;
  socket.on('error', (cause) => {
    error = cause;
  });
  socket.end();
  resetSocket(socket);
  await once(socket, 'close');
  t.equal(error, null);
  accepted[0]!.end();
  accepted[0]!.resume();
  await other;
});

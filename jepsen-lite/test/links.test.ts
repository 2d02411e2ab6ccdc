// Lines that misbehave, over real loopback sockets: each fault is seen by who talks over the line.
import { once } from 'node:events';
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net';
import { SeededRandom } from '@holdfast/base';
import t, { type Test } from 'tap';
import { WebSocket, WebSocketServer } from 'ws';
import { FrameSpans } from '../src/net/frame-spans.ts';
import { FrameTamper } from '../src/net/frame-tamper.ts';
import { shaped } from '../src/net/link-mode.ts';
import { type ProxyOptions, TcpProxy } from '../src/net/tcp-proxy.ts';

// Real sockets, files and processes take as long as the machine lets them.
t.setTimeout(0);

/** An echo behind a proxy; closed when the test is over. */
async function echoBehindProxy(t: Test, options: ProxyOptions = {}) {
  const received: Buffer[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('data', (chunk: Buffer) => {
      received.push(chunk);
      socket.write(chunk);
    });
    socket.on('end', () => socket.end());
    socket.on('error', () => socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const proxy = await TcpProxy.listen({ host: '127.0.0.1', port }, options);
  t.teardown(async () => {
    await proxy.stop();
    server.close();
  });
  return { proxy, received };
}

async function connectTo(proxy: TcpProxy): Promise<Socket> {
  const socket = createConnection({ host: '127.0.0.1', port: proxy.port });
  await once(socket, 'connect');
  return socket;
}

/** Reads until so many bytes have come back. */
async function readBytes(socket: Socket, count: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  while (sizeBytes < count) {
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    chunks.push(chunk);
    sizeBytes += chunk.length;
  }
  return Buffer.concat(chunks);
}

function closeOf(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.on('error', () => undefined);
    socket.once('close', () => resolve());
  });
}

t.test('a line with jitter delivers every byte in order, each later than its delay', async (t) => {
  const { proxy } = await echoBehindProxy(t);
  const socket = await connectTo(proxy);
  proxy.setMode(shaped({ delayMs: 10, jitterMs: 15 }));
  const sentMs = performance.now();
  const parts = Array.from({ length: 20 }, (_unused, i) => `part ${i};`);
  const echoed = readBytes(socket, parts.join('').length);
  for (const part of parts) {
    socket.write(part);
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.equal(String(await echoed), parts.join(''));
  t.ok(performance.now() - sentMs >= 19, 'both directions waited');
  socket.destroy();
});

t.test('a narrow line takes the time that its bytes need', async (t) => {
  const { proxy } = await echoBehindProxy(t);
  const socket = await connectTo(proxy);
  proxy.setMode(shaped({ bytesPerSecondMax: 1_000_000 }));
  const sentMs = performance.now();
  socket.write(Buffer.alloc(100_000, 7));
  const echoed = await readBytes(socket, 100_000);
  t.ok(performance.now() - sentMs >= 99, 'a tenth of a second for a tenth of a megabyte');
  t.ok(echoed.every((byte) => byte === 7));
  socket.destroy();
});

t.test('a reader that does not read stops the sender instead of filling memory', async (t) => {
  const { proxy, received } = await echoBehindProxy(t);
  const socket = await connectTo(proxy);
  proxy.setMode(shaped({ bytesPerSecondMax: 1_000_000, delayMs: 1 }));
  socket.pause();
  const piece = Buffer.alloc(1024 * 1024);
  for (let i = 0; i < 64; i++) socket.write(piece);
  // Half a second on this line: without a limit all of it would have been read by then.
  const arrivedBytes = () => received.reduce((sum, { length }) => sum + length, 0);
  while (arrivedBytes() < 500_000) await new Promise((resolve) => setImmediate(resolve));
  t.ok(socket.writableLength > 40 * 1024 * 1024, 'most is still with the sender');
  socket.destroy();
});

t.test('one way is deaf: requests vanish, the connection lives, mending resets it', async (t) => {
  const { proxy, received } = await echoBehindProxy(t);
  const socket = await connectTo(proxy);
  socket.write('one');
  t.equal(String(await readBytes(socket, 3)), 'one');
  proxy.setMode({ kind: 'dropRequests' });
  socket.write('two');
  while (proxy.droppedBytes < 3) await new Promise((resolve) => setImmediate(resolve));
  t.same(received.map(String), ['one']);
  const closed = closeOf(socket);
  proxy.setMode({ kind: 'pass' });
  await closed;
});

t.test('a line that loses connections resets them, and lets new ones come', async (t) => {
  const { proxy } = await echoBehindProxy(t);
  proxy.setMode(shaped({ resetChance: 1 }));
  const socket = await connectTo(proxy);
  const closed = closeOf(socket);
  socket.write('x');
  await closed;
  t.equal(proxy.counts.resets, 1);
  proxy.setMode({ kind: 'pass' });
  const again = await connectTo(proxy);
  again.write('y');
  t.equal(String(await readBytes(again, 1)), 'y');
  const lost = closeOf(again);
  proxy.resetConnections();
  await lost;
});

t.test('a half-closed connection still gets its answer', async (t) => {
  const { proxy } = await echoBehindProxy(t);
  proxy.setMode(shaped({ delayMs: 5 }));
  const socket = createConnection({ host: '127.0.0.1', port: proxy.port, allowHalfOpen: true });
  await once(socket, 'connect');
  socket.end('last words');
  t.equal(String(await readBytes(socket, 10)), 'last words');
  await once(socket, 'end');
});

t.test('a bad line without frames flips one bit of what goes over it', async (t) => {
  const { proxy } = await echoBehindProxy(t, { seed: 3 });
  proxy.setMode(shaped({ corruptChance: 1 }));
  const socket = await connectTo(proxy);
  socket.write(Buffer.alloc(64));
  const echoed = await readBytes(socket, 64);
  t.equal(proxy.counts.corruptions, 2, 'there and back');
  const bits = [...echoed].reduce((sum, byte) => sum + byte.toString(2).split('1').length - 1, 0);
  t.equal(bits, 2);
  socket.destroy();
});

/** A WebSocket echo behind a proxy that knows frames. */
async function framesBehindProxy(t: Test) {
  const received: Buffer[] = [];
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  await once(server, 'listening');
  server.on('connection', (socket) =>
    socket.on('message', (message) => {
      received.push(message as Buffer);
      socket.send(`${received.length}`);
    }),
  );
  const target = { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
  const proxy = await TcpProxy.listen(target, { hasFrames: true, seed: 5 });
  const client = new WebSocket(`ws://127.0.0.1:${proxy.port}`, { perMessageDeflate: false });
  await once(client, 'open');
  t.teardown(async () => {
    client.terminate();
    await proxy.stop();
    for (const socket of server.clients) socket.terminate();
    server.close();
  });
  return { client, proxy, received };
}

t.test(
  'corruption hits the inside of a message: it arrives whole with one wrong bit',
  async (t) => {
    const { client, proxy, received } = await framesBehindProxy(t);
    client.send(Buffer.alloc(1_000));
    await once(client, 'message');
    proxy.setMode(shaped({ corruptChance: 1 }));
    for (const sizeBytes of [1, 200, 70_000]) {
      client.send(Buffer.alloc(sizeBytes));
      await once(client, 'message');
      const got = received.at(-1);
      t.equal(got?.length, sizeBytes, 'the framing is untouched');
      const wrong = [...(got ?? [])].filter((byte) => byte !== 0);
      t.equal(wrong.length, 1, `one byte of ${sizeBytes} is wrong`);
    }
    t.equal(proxy.counts.corruptions, 3);
  },
);

t.test('a replayed message arrives twice, and only messages of before are replayed', async (t) => {
  const { client, proxy, received } = await framesBehindProxy(t);
  proxy.setMode(shaped({ replayChance: 1 }));
  client.send('only');
  await once(client, 'message');
  while (received.length < 2) await once(client, 'message');
  t.same(received.map(String), ['only', 'only']);
  t.equal(proxy.counts.replays, 1);
});

t.test('frames are found however the network cuts them', async (t) => {
  const frame = (payload: Buffer, first = 0x82): Buffer => {
    const { length } = payload;
    if (length < 126) return Buffer.concat([Buffer.from([first, length]), payload]);
    const header = Buffer.alloc(4);
    header.set([first, 126]);
    header.writeUInt16BE(length, 2);
    return Buffer.concat([header, payload]);
  };
  const head = Buffer.from('GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n');
  const sizes = [5, 0, 300, 125, 126];
  const frames = sizes.map((size) => frame(Buffer.alloc(size, 9)));
  const stream = Buffer.concat([head, ...frames, frame(Buffer.from('ping'), 0x89)]);
  const random = new SeededRandom(11);
  for (let round = 0; round < 200; round++) {
    const spans = new FrameSpans();
    let payload = 0;
    let begun = 0;
    for (let at = 0; at < stream.length; ) {
      const chunk = stream.subarray(at, at + 1 + random.nextBelow(round % 2 === 0 ? 4 : 200));
      for (const span of spans.advance(chunk)) {
        if (span.isData) payload += span.to - span.from;
        if (span.headerAt !== null) begun += 1;
        if (!span.isData) continue;
        const isPayload = chunk.subarray(span.from, span.to).every((byte) => byte === 9);
        if (!isPayload) t.fail(`round ${round}: a span that is not payload`);
      }
      at += chunk.length;
    }
    if (payload !== 556) t.fail(`round ${round}: ${payload} bytes of payload`);
    if (begun > 6) t.fail(`round ${round}: ${begun} frames begun`);
  }
  const whole = new FrameSpans().advance(stream);
  t.same(
    whole.map(({ from, isData, isWhole, to }) => [to - from, isData, isWhole]),
    [...sizes.map((size) => [size, true, true]), [4, false, true]],
  );
});

t.test('tampering leaves pings alone and never changes the chunk it was given', async (t) => {
  const tamper = new FrameTamper(new SeededRandom(2));
  tamper.follow(Buffer.from('\r\n\r\n'));
  const chunk = Buffer.from([0x89, 2, 1, 1, 0x82, 2, 0, 0]);
  const before = Buffer.from(chunk);
  const spans = tamper.follow(chunk);
  const done = tamper.tamper(chunk, spans, { corruptChance: 1, replayChance: 0 });
  t.equal(done.corruptions, 1);
  t.same(chunk, before);
  t.same(done.bytes.subarray(0, 6), before.subarray(0, 6));
  t.notSame(done.bytes.subarray(6), before.subarray(6));
});

// Holdfast on raw ws + msgpackr, as docs/PROTOCOL.md describes it: node raw-client.mjs HOST:PORT
import { Packr } from 'msgpackr';
import { WebSocket } from 'ws';

const packr = new Packr({ useRecords: false });

async function connect(address) {
  const socket = new WebSocket(`ws://${address}/v1/ws`, { perMessageDeflate: false });
  const hello = { kind: 'hello', protocolVersions: [1], client: 'raw-client' };
  socket.on('open', () => socket.send(packr.pack(hello)));
  const waiting = new Map();
  const first = await new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.on('message', (bytes) => {
      const message = packr.unpack(bytes);
      if (message.id === undefined)
        resolve(message); // welcome or refused, later notices
      else waiting.get(message.id)(message);
    });
  });
  if (first.kind !== 'welcome') throw new Error(first.error.message);
  if (first.leader && first.leader.address !== address) return connect(first.leader.address);
  return async (id, request) => {
    socket.send(packr.pack({ id, ...request }));
    const { ok, result, error } = await new Promise((resolve) => waiting.set(id, resolve));
    if (!ok) throw new Error(`${error.code}: ${error.message}`);
    return result;
  };
}

const ask = await connect(process.argv[2] ?? '127.0.0.1:7101');
const vector = Buffer.from(new Float32Array([1, 2, 3]).buffer); // float32, little-endian
const points = [{ id: 7, vector, payload: { text: 'hello' } }];
const docs = { name: 'raw', dimension: 3, metric: 'l2', ifNotExists: true };
await ask(1, { kind: 'createCollection', ...docs });
console.log('written', await ask(2, { kind: 'upsert', collection: 'raw', points }));
const { hits } = await ask(3, { kind: 'search', collection: 'raw', vector, k: 1 });
console.log('found', hits[0]?.id, hits[0]?.payload);
process.exit(hits[0]?.payload.text === 'hello' ? 0 : 1);

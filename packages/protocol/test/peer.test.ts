/** Frames between nodes: checksums, bounds, the handshake proofs. */
import { createHmac } from 'node:crypto';
import { HoldfastError, incarnation, MEMBER_COUNT_MAX, type Member, nodeId } from '@holdfast/base';
import fc from 'fast-check';
import t from 'tap';
import { crc32c } from '../src/crc32c.ts';
import { writeMsgpack } from '../src/msgpack-writer.ts';
import type { PeerChallenge, PeerHandshake, PeerHello } from '../src/peer.ts';
import {
  decodePeerHandshake,
  encodePeerHandshake,
  PEER_ACCEPTED_FRAME_SIZE_BYTES_MAX,
  peerProof,
  peerProofTranscript,
} from '../src/peer.ts';
import type { PeerFrame } from '../src/peer-frame.ts';
import {
  decodePeerFrame,
  encodePeerFrame,
  makeSnapshotChunk,
  sealPeerFrame,
} from '../src/peer-frame.ts';

const identity = (nodeId: string) => ({
  clusterId: 'a'.repeat(32),
  nodeId,
  incarnation: 'b'.repeat(32),
  epoch: 1,
  publicAddress: '127.0.0.1:7101',
  peerAddress: '127.0.0.1:7201',
  isJoining: false,
  confIndex: 7,
  wallMs: 1_700_000_000_000,
  planDigest: '',
});
const member = (id: string): Member => ({
  nodeId: nodeId(id),
  incarnation: incarnation('d'.repeat(32)),
  address: '127.0.0.1:7202',
  clientAddress: null,
});
const hello: PeerHello = {
  kind: 'hello',
  version: 2,
  ...identity('n1'),
  channel: 'control',
  nonce: new Uint8Array(32).fill(1),
};
const challenge: PeerChallenge = {
  kind: 'challenge',
  version: 2,
  ...identity('n2'),
  nonce: new Uint8Array(32).fill(2),
  proof: new Uint8Array(32).fill(3),
};
const refused = new HoldfastError('PEER_WRONG_CLUSTER', 'another cluster').toBody();
const HANDSHAKES: readonly PeerHandshake[] = [
  hello,
  challenge,
  { kind: 'response', proof: new Uint8Array(32) },
  { kind: 'accepted', members: [] },
  { kind: 'accepted', members: [member('n1'), member('n2')] },
  { kind: 'refused', error: refused },
];
const bytes = (size: number) => new Uint8Array(size).map((_, i) => i * 7);
const FRAMES: readonly PeerFrame[] = [
  {
    kind: 'raft',
    messages: [
      { group: 1, body: bytes(300) },
      { group: 0xffff_ffff, body: bytes(0) },
    ],
  },
  {
    kind: 'snapshotBegin',
    transferId: 5,
    group: 1,
    meta: bytes(10),
    files: [{ path: 'collections/ab-1/0/seg_1.dat', sizeBytes: 2 ** 40, checksum: bytes(16) }],
  },
  makeSnapshotChunk({ transferId: 5, fileIndex: 0, offset: 2 ** 40, bytes: bytes(1000) }),
  { kind: 'snapshotEnd', transferId: 5 },
  { kind: 'snapshotAbort', transferId: 5, reason: 'stopping' },
  { kind: 'snapshotReply', transferId: 5, status: 'failed', receivedSizeBytes: 7, reason: 'full' },
  {
    kind: 'snapshotReply',
    transferId: 5,
    status: 'accepted',
    receivedSizeBytes: 7,
    heldSizesBytes: [7, 0],
  },
];
const codeOf = (run: () => unknown): string => {
  try {
    run();
    return 'nothing';
  } catch (error) {
    if (error instanceof HoldfastError) return error.code;
    throw error;
  }
};

t.test('crc32c agrees with the published check values', async (t) => {
  t.equal(crc32c(new TextEncoder().encode('123456789')), 0xe306_9283);
  t.equal(crc32c(new Uint8Array(32)), 0x8a91_36aa, 'RFC 3720, 32 zero bytes');
  t.equal(crc32c(new Uint8Array(32).fill(255)), 0x62a8_ab43, 'RFC 3720, 32 bytes of ones');
  t.equal(crc32c(new Uint8Array()), 0);
});

t.test('every peer message comes out of the codec as it went in', async (t) => {
  for (const message of HANDSHAKES) {
    t.same(decodePeerHandshake(encodePeerHandshake(message)), message, message.kind);
  }
  for (const frame of FRAMES) t.same(decodePeerFrame(encodePeerFrame(frame)), frame, frame.kind);
});

t.test('any flipped bit is found before anything is interpreted', async (t) => {
  for (const frame of FRAMES) {
    const good = encodePeerFrame(frame);
    for (let bit = 0; bit < Math.min(good.byteLength * 8, 800); bit++) {
      const bad = good.slice();
      bad[bit >> 3]! ^= 1 << (bit & 7);
      if (codeOf(() => decodePeerFrame(bad)) !== 'PEER_FRAME_CORRUPT') t.fail(`bit ${bit}`);
    }
  }
  const chunk = { ...FRAMES[2], crc: 1 } as PeerFrame;
  const resealed = encodePeerFrame(chunk);
  t.equal(
    codeOf(() => decodePeerFrame(resealed)),
    'PEER_FRAME_CORRUPT',
    "a chunk's own checksum",
  );
});

t.test('a good checksum over a bad shape is a protocol error', async (t) => {
  const chunk = { kind: 'snapshotChunk', transferId: 1, fileIndex: 0, offset: 0, bytes: bytes(4) };
  const begin = { kind: 'snapshotBegin', transferId: 1, group: 1, meta: bytes(1) };
  const file = (path: string) => ({
    ...begin,
    files: [{ path, sizeBytes: 1, checksum: bytes(1) }],
  });
  const bad: readonly object[] = [
    { kind: 'nonsense' },
    { kind: 'raft', messages: [{ group: -1, body: bytes(1) }] },
    { kind: 'raft', messages: [{ group: 1, body: 'text' }] },
    { kind: 'raft', messages: [], from: 'n9' },
    { ...chunk, crc: 0, bytes: bytes(2 ** 20 + 1) },
    { kind: 'snapshotReply', transferId: 1, status: 'maybe', receivedSizeBytes: 0 },
    {
      ...{ kind: 'snapshotReply', transferId: 1, status: 'accepted', receivedSizeBytes: 0 },
      heldSizesBytes: [-1],
    },
    ...['../x', '/etc/passwd', 'a//b', 'a/./b', 'a/..', '', 'a\\b', 'a/b/', '.hidden', 'a\0b'].map(
      file,
    ),
  ];
  for (const message of bad) {
    const code = codeOf(() => decodePeerFrame(sealPeerFrame(message)));
    t.equal(code, 'PEER_PROTOCOL', JSON.stringify(message).slice(0, 80));
  }
  for (const frame of [bytes(0), bytes(4), bytes(3)]) {
    t.equal(
      codeOf(() => decodePeerFrame(frame)),
      'PEER_PROTOCOL',
    );
  }
});

t.test('before authentication only small handshake messages decode', async (t) => {
  t.equal(
    codeOf(() => decodePeerHandshake(encodePeerFrame(FRAMES[0] as PeerFrame))),
    'PEER_PROTOCOL',
  );
  t.equal(
    codeOf(() => decodePeerHandshake(sealPeerFrame({ ...hello, x: bytes(5_000) }))),
    'PEER_PROTOCOL',
  );
  const bad: readonly object[] = [
    { ...hello, extra: 1 },
    { ...hello, nonce: bytes(31) },
    { ...hello, clusterId: 'A'.repeat(32) },
    { ...hello, nodeId: '../n' },
    { ...hello, channel: 'other' },
    { kind: 'response', proof: bytes(16) },
  ];
  for (const message of bad) {
    t.equal(
      codeOf(() => decodePeerHandshake(sealPeerFrame(message))),
      'PEER_PROTOCOL',
    );
  }
});

t.test('a full list of members fits the frame that tells it', async (t) => {
  const members = Array.from({ length: MEMBER_COUNT_MAX }, (_, i) => ({
    ...member(`n${i}`.padEnd(64, 'x')),
    address: 'a'.repeat(255),
    clientAddress: 'c'.repeat(255),
  }));
  const frame = encodePeerHandshake({ kind: 'accepted', members });
  t.same(decodePeerHandshake(frame, PEER_ACCEPTED_FRAME_SIZE_BYTES_MAX), {
    kind: 'accepted',
    members,
  });
  t.equal(
    codeOf(() => decodePeerHandshake(frame)),
    'PEER_PROTOCOL',
    'but not before the other side has proved itself',
  );
});

t.test('a proof is bound to role, channel, nonces and both identities', async (t) => {
  const hmac = (message: Uint8Array) => createHmac('sha256', 'secret').update(message).digest();
  const proofs = new Set<string>();
  const add = (input: Parameters<typeof peerProof>[1]) =>
    proofs.add(Buffer.from(peerProof(hmac, input)).toString('hex'));
  const base = { role: 'accept', hello, challenge } as const;
  add(base);
  add({ ...base, role: 'connect' });
  add({ ...base, hello: { ...hello, channel: 'bulk' } });
  add({ ...base, hello: { ...hello, nonce: bytes(32) } });
  add({ ...base, challenge: { ...challenge, nonce: bytes(32) } });
  add({ ...base, hello: { ...hello, nodeId: 'n12' } });
  add({ ...base, hello: { ...hello, incarnation: 'c'.repeat(32) } });
  add({ ...base, challenge: { ...challenge, nodeId: 'n3' } });
  add({ ...base, challenge: { ...challenge, publicAddress: '127.0.0.1:9' } });
  add({ ...base, hello: { ...hello, version: 3 } });
  add({ ...base, hello: { ...hello, channel: 'inquiry' } });
  add({ ...base, hello: { ...hello, peerAddress: '127.0.0.1:9' } });
  add({ ...base, hello: { ...hello, isJoining: true } });
  add({ ...base, hello: { ...hello, confIndex: 8 } });
  add({ ...base, hello: { ...hello, wallMs: 1 } });
  add({ ...base, hello: { ...hello, planDigest: 'e'.repeat(64) } });
  t.equal(proofs.size, 16, 'each change gives another proof');
  const other = { ...challenge, proof: bytes(32) };
  t.same(peerProofTranscript(base), peerProofTranscript({ ...base, challenge: other }));
});

t.test('random and mutated peer bytes throw nothing but HoldfastError', async (t) => {
  const isClean = (frame: Uint8Array): boolean =>
    codeOf(() => decodePeerFrame(frame)).length > 0 &&
    codeOf(() => decodePeerHandshake(frame)).length > 0;
  const seal = (body: Uint8Array): Uint8Array => {
    const frame = new Uint8Array(4 + body.byteLength);
    new DataView(frame.buffer).setUint32(0, crc32c(body), true);
    frame.set(body, 4);
    return frame;
  };
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (body) => isClean(seal(body))),
      {
        numRuns: 3_000,
      },
    ),
  );
  const bodies = [...FRAMES, ...HANDSHAKES].map((message) => writeMsgpack(message));
  const edit = fc.tuple(fc.nat(bodies.length - 1), fc.nat(400), fc.nat(255));
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(edit, ([which, at, value]) => {
        const body = (bodies[which] ?? bytes(1)).slice();
        if (at < body.byteLength) body[at] = value;
        return isClean(seal(body));
      }),
      { numRuns: 6_000 },
    ),
  );
});

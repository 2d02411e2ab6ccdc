/**
 * Goal: frames about damage and digests come out as they went in, and nothing that a peer sends,
 * honest or not, passes their limits.
 * Method: round trips; every field put wrong, one at a time; bytes by chance.
 */
import { HoldfastError, SeededRandom } from '@holdfast/base';
import t from 'tap';
import type { BlockResponse, CareFrame, CareMessage, DigestReport } from '../src/peer-care.ts';
import { CARE_BLOCK_COUNT_MAX, CARE_DIGEST_COUNT_MAX } from '../src/peer-care.ts';
import { decodePeerFrame, encodePeerFrame, sealPeerFrame } from '../src/peer-frame.ts';

const LIFE = '0123456789abcdef0123456789abcdef';
const CHECKSUM = 'ab'.repeat(32);
const file = { uid: 2, shard: 3, ordinal: 4, checksum: CHECKSUM };

const REQUEST = { kind: 'blockRequest', requestId: 7, file, blocks: [0, 5] } as const;
const RESPONSE: BlockResponse = {
  kind: 'blockResponse',
  requestId: 7,
  outcome: 'blocks',
  isWhole: true,
  sizeBytes: 131_152,
  appliedIndex: 99,
  header: new Uint8Array(64).fill(1),
  blocks: [{ number: 5, bytes: new Uint8Array(65_544).fill(2) }],
};
const DIGEST = { uid: 2, shard: 0, digest: LIFE };
const REPORT: DigestReport = { kind: 'digestReport', index: 12, shards: [DIGEST] };

const frameOf = (message: CareMessage): CareFrame => ({
  ...{ kind: 'care', group: 1, toIncarnation: LIFE, message },
});

t.test('what is sent is what is received', async (t) => {
  for (const message of [REQUEST, RESPONSE, REPORT]) {
    const frame = frameOf(message);
    const decoded = decodePeerFrame(encodePeerFrame(frame));
    t.same(JSON.stringify(decoded), JSON.stringify(frame), message.kind);
  }
});

t.test('a frame that is wrong in any one field is refused as a breach of protocol', async (t) => {
  const tooMany = Array.from({ length: CARE_BLOCK_COUNT_MAX + 1 }, (_, i) => i);
  const bytes = new Uint8Array(1);
  const wrong: Readonly<Record<string, object>> = {
    'life of the receiver': { ...frameOf(REQUEST), toIncarnation: 'x' },
    group: { ...frameOf(REQUEST), group: -1 },
    'unknown field': { ...frameOf(REQUEST), more: 1 },
    'unknown kind': frameOf({ ...REQUEST, kind: 'other' } as never),
    'request id': frameOf({ ...REQUEST, requestId: 2 ** 32 }),
    'block list': frameOf({ ...REQUEST, blocks: tooMany }),
    'order of blocks': frameOf({ ...REQUEST, blocks: [5, 5] }),
    'block number': frameOf({ ...REQUEST, blocks: [-1] }),
    checksum: frameOf({ ...REQUEST, file: { ...file, checksum: CHECKSUM.toUpperCase() } }),
    'path in place of a file': frameOf({ ...REQUEST, file: { path: '../identity.json' } } as never),
    'shard of a file': frameOf({ ...REQUEST, file: { ...file, shard: 1.5 } }),
    outcome: frameOf({ ...RESPONSE, outcome: 'fine' } as never),
    header: frameOf({ ...RESPONSE, header: new Uint8Array(63) }),
    'size of a block': frameOf({
      ...RESPONSE,
      blocks: [{ number: 0, bytes: new Uint8Array(65_536 + 33) }],
    }),
    'blocks twice': frameOf({
      ...RESPONSE,
      blocks: [
        { number: 1, bytes },
        { number: 1, bytes },
      ],
    }),
    'size of the file': frameOf({ ...RESPONSE, sizeBytes: -1 }),
    digest: frameOf({ ...REPORT, shards: [{ uid: 1, shard: 0, digest: 'no' }] }),
    'digest list': frameOf({
      ...REPORT,
      shards: Array.from({ length: CARE_DIGEST_COUNT_MAX + 1 }, () => DIGEST),
    }),
  };
  for (const [name, frame] of Object.entries(wrong)) {
    t.throws(() => decodePeerFrame(sealPeerFrame(frame)), { code: 'PEER_PROTOCOL' }, name);
  }
});

t.test('bytes by chance never do worse than a typed refusal', async (t) => {
  const seed = Number(process.env.HOLDFAST_SEED ?? 1);
  const random = new SeededRandom(seed);
  const good = encodePeerFrame(frameOf(RESPONSE));
  for (let round = 0; round < 500; round++) {
    const bytes = good.slice();
    for (let i = 0; i < 3; i++) bytes[random.nextBelow(400)] = random.nextBelow(256);
    try {
      decodePeerFrame(bytes);
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      const isTyped = error.code === 'PEER_PROTOCOL' || error.code === 'PEER_FRAME_CORRUPT';
      if (!isTyped) t.fail(`seed ${seed}, round ${round}: ${error.code}`);
    }
  }
  t.pass();
});

/**
 * Goal: what comes out of a sealed object is what went in, or a refusal that names the object.
 * Method: round trips by chance; small objects with every byte flipped, cut at every length, their
 * frames mixed; the right bytes under another name or key; frozen bytes of format 1.
 */
import { createDecipheriv, createHash, hkdfSync } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { gunzipSync, gzipSync } from 'node:zlib';
import { HoldfastError, SeededRandom } from '@holdfast/base';
import fc from 'fast-check';
import t from 'tap';
import {
  ARCHIVE_KEY_COUNT_MAX,
  makeArchiveKey,
  makeKeyRing,
  NO_KEYS,
  parseArchiveKey,
  readArchiveKeyFile,
} from '../src/archive/archive-key.ts';
import type { Compression } from '../src/archive/compression.ts';
import { loadCompressor, zstdContentSizeBytes } from '../src/archive/compression.ts';
import type { OpenOptions, RandomBytes, SealOptions } from '../src/archive/sealed-frames.ts';
import { FrameSealer } from '../src/archive/sealed-frames.ts';
import {
  encodeSealedHeader,
  parseSealedHeader,
  SEALED_FRAME_SIZE_BYTES,
  SEALED_HEADER_SIZE_BYTES,
  sealedSizeBytesMax,
} from '../src/archive/sealed-layout.ts';
import {
  openSealed,
  openSealedStream,
  peekSealedHeader,
  sealBytes,
  sealStream,
} from '../src/archive/sealed-object.ts';
import { MemoryFileSystem } from '../src/testing/memory-fs.ts';

const SEED = Number(process.env.HOLDFAST_SEED ?? 4711);
const FIXTURES = new URL('../../test/fixtures/sealed-v1/', import.meta.url);
const CONTEXT = 'c1/files/abc';
const KEY = makeArchiveKey(new Uint8Array(32).fill(7));
const OTHER_KEY = makeArchiveKey(new Uint8Array(32).fill(8));
const KEYS = makeKeyRing({ current: KEY });
const COMPRESSIONS: readonly Compression[] = ['none', 'gzip', 'zstd'];

function randomFrom(seed: number): RandomBytes {
  const random = new SeededRandom(seed);
  return (sizeBytes) => new Uint8Array(sizeBytes).map(() => random.nextBelow(256));
}

const sealing = (changes: Partial<SealOptions> = {}): SealOptions => ({
  ...{ kind: 'file', context: CONTEXT, compression: 'none', key: KEY, random: randomFrom(SEED) },
  ...changes,
});

const opening = (changes: Partial<OpenOptions> = {}): OpenOptions => ({
  ...{ kind: 'file', context: CONTEXT, keys: KEYS, sizeBytesMax: 16 * 1024 * 1024 },
  ...changes,
});

const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'utf8'));

/** Half of it compresses well. */
function contentOf(sizeBytes: number, seed = SEED): Uint8Array {
  const random = new SeededRandom(seed);
  const bytes = new Uint8Array(sizeBytes).fill(65);
  for (let i = 0; i < sizeBytes; i += 2) bytes[i] = random.nextU32() & 255;
  return bytes;
}

async function refusalOf(body: () => Promise<unknown>): Promise<HoldfastError | null> {
  try {
    await body();
    return null;
  } catch (error) {
    if (error instanceof HoldfastError) return error;
    throw error;
  }
}

const codeOf = async (bytes: Uint8Array, changes: Partial<OpenOptions> = {}): Promise<string> =>
  (await refusalOf(() => openSealed(bytes, opening(changes))))?.code ?? 'opened';

async function* inPieces(bytes: Uint8Array, sizeBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += sizeBytes) yield bytes.subarray(at, at + sizeBytes);
}

async function joined(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const list: Uint8Array[] = [];
  for await (const piece of pieces) list.push(piece);
  return new Uint8Array(Buffer.concat(list));
}

const isSame = (left: Uint8Array, right: Uint8Array): boolean => Buffer.compare(left, right) === 0;

t.test('any content comes back through any compression, with and without a key', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 5_000 }),
      fc.constantFrom(...COMPRESSIONS),
      fc.boolean(),
      fc.integer({ min: 1, max: 300 }),
      async (body, compression, isEncrypted, pieceSizeBytes) => {
        const key = isEncrypted ? KEY : null;
        const sealed = await sealBytes(body, sealing({ compression, key }));
        const opened = await openSealed(sealed, opening());
        const pieces = inPieces(sealed, pieceSizeBytes);
        const streamed = await joined(openSealedStream(pieces, opening()));
        return (
          isSame(opened, body) &&
          isSame(streamed, body) &&
          sealed.byteLength <= sealedSizeBytesMax(body.byteLength)
        );
      },
    ),
    { seed: SEED, numRuns: 150 },
  );
  t.pass(`seed ${SEED}`);
});

t.test('content of many frames streams through, whatever the sizes of the pieces', async (t) => {
  const sizes = [
    SEALED_FRAME_SIZE_BYTES - 1,
    SEALED_FRAME_SIZE_BYTES,
    SEALED_FRAME_SIZE_BYTES + 1,
    2 * SEALED_FRAME_SIZE_BYTES,
    2 * SEALED_FRAME_SIZE_BYTES + 70_000,
  ];
  for (const sizeBytes of sizes) {
    const body = contentOf(sizeBytes);
    for (const compression of sizeBytes > 2_100_000 ? COMPRESSIONS : (['none'] as const)) {
      const options = { ...sealing({ compression }), sizeBytes };
      const sealed = await joined(sealStream(inPieces(body, 333_333), options));
      let largest = 0;
      const pieces: Uint8Array[] = [];
      for await (const piece of openSealedStream(inPieces(sealed, 100_000), opening())) {
        largest = Math.max(largest, piece.byteLength);
        pieces.push(piece);
      }
      t.ok(isSame(Buffer.concat(pieces), body), `${sizeBytes} bytes, ${compression}`);
      t.ok(largest <= SEALED_FRAME_SIZE_BYTES, 'never more than a frame at a time');
      if (compression === 'none') t.equal(sealed.byteLength, sealedSizeBytesMax(sizeBytes));
      else t.ok(sealed.byteLength < sizeBytes * 0.8, `${compression} makes it smaller`);
    }
  }
});

t.test('every flipped byte and every cut of an object is refused by its name', async (t) => {
  for (const compression of COMPRESSIONS) {
    for (const key of [KEY, null]) {
      const label = `${compression}, ${key === null ? 'in clear' : 'encrypted'}`;
      const sealed = await sealBytes(bytesOf('a'.repeat(90)), sealing({ compression, key }));
      const wrong: string[] = [];
      for (let at = 0; at < sealed.byteLength; at++) {
        for (const mask of [1, 0x80, 0xff]) {
          const bytes = sealed.slice();
          bytes[at] = (bytes[at] as number) ^ mask;
          const error = await refusalOf(() => openSealed(bytes, opening()));
          const isNamed = error?.message.includes(CONTEXT) === true;
          if (error?.code !== 'BACKUP_CORRUPT' || !isNamed) wrong.push(`${at}: ${error?.code}`);
        }
      }
      t.same(wrong, [], `${label}: no flipped byte passes`);
      for (let sizeBytes = 0; sizeBytes < sealed.byteLength; sizeBytes++) {
        const code = await codeOf(sealed.subarray(0, sizeBytes));
        if (code !== 'BACKUP_CORRUPT') wrong.push(`cut at ${sizeBytes}: ${code}`);
      }
      const longer = new Uint8Array([...sealed, 0]);
      t.equal(await codeOf(longer), 'BACKUP_CORRUPT', `${label}: no byte may follow`);
      t.same(wrong, [], `${label}: no cut passes`);
    }
  }
});

t.test('frames cannot change places, be left out, repeated or come from elsewhere', async (t) => {
  for (const key of [KEY, null]) {
    const body = contentOf(3 * SEALED_FRAME_SIZE_BYTES);
    const sealed = await sealBytes(body, sealing({ key }));
    const other = await sealBytes(body, sealing({ key, random: randomFrom(SEED + 1) }));
    const header = sealed.subarray(0, SEALED_HEADER_SIZE_BYTES);
    const frameSizeBytes = (sealed.byteLength - SEALED_HEADER_SIZE_BYTES) / 3;
    const frameOf = (bytes: Uint8Array, number: number): Uint8Array => {
      const start = SEALED_HEADER_SIZE_BYTES + number * frameSizeBytes;
      return bytes.subarray(start, start + frameSizeBytes);
    };
    const made = (...frames: readonly Uint8Array[]): Uint8Array =>
      new Uint8Array(Buffer.concat([header, ...frames]));
    const [a, b, c] = [0, 1, 2].map((number) => frameOf(sealed, number)) as [
      ...[Uint8Array, Uint8Array, Uint8Array],
    ];
    t.equal(await codeOf(made(a, b, c)), 'opened', 'as it was');
    t.equal(await codeOf(made(b, a, c)), 'BACKUP_CORRUPT', 'swapped');
    t.equal(await codeOf(made(a, c)), 'BACKUP_CORRUPT', 'left out');
    t.equal(await codeOf(made(a, b)), 'BACKUP_CORRUPT', 'the end is missing');
    t.equal(await codeOf(made(a, b, b)), 'BACKUP_CORRUPT', 'repeated');
    t.equal(await codeOf(made(a, frameOf(other, 1), c)), 'BACKUP_CORRUPT', 'of another object');
    // The number in a frame is forged to fit its new place: the tag knows better.
    const forged = b.slice();
    forged[8] = 0;
    t.equal(await codeOf(made(forged, b, c)), 'BACKUP_CORRUPT', 'forged number');
  }
});

t.test('an object under another name, or of another kind, is refused', async (t) => {
  for (const key of [KEY, null]) {
    const sealed = await sealBytes(bytesOf('content'), sealing({ key }));
    t.equal(await codeOf(sealed, { context: 'c1/files/abd' }), 'BACKUP_CORRUPT');
    t.equal(await codeOf(sealed, { kind: 'manifest' }), 'BACKUP_CORRUPT');
    t.equal(await codeOf(sealed, { sizeBytesMax: 6 }), 'BACKUP_CORRUPT', 'larger than allowed');
    t.equal(await codeOf(sealed, { sizeBytesMax: 7 }), 'opened');
  }
});

t.test('a missing key is named, older keys still open, plain objects can be refused', async (t) => {
  const sealed = await sealBytes(bytesOf('content'), sealing());
  const error = await refusalOf(() => openSealed(sealed, opening({ keys: NO_KEYS })));
  t.equal(error?.code, 'BACKUP_KEY_WRONG');
  t.match(error?.message, KEY.id);
  t.equal(error?.details.keyId, KEY.id);
  const rotated = makeKeyRing({ current: OTHER_KEY, older: [KEY] });
  t.equal(await codeOf(sealed, { keys: rotated }), 'opened');
  t.equal(await codeOf(sealed, { keys: makeKeyRing({ current: OTHER_KEY }) }), 'BACKUP_KEY_WRONG');
  const plain = await sealBytes(bytesOf('content'), sealing({ key: null }));
  const strict = makeKeyRing({ current: KEY, isPlainRefused: true });
  t.equal(await codeOf(plain, { keys: strict }), 'BACKUP_KEY_WRONG');
  t.equal(await codeOf(sealed, { keys: strict }), 'opened');
});

t.test('a key service gives keys by id, is asked once, and cannot pass off another', async (t) => {
  const sealed = await sealBytes(bytesOf('content'), sealing());
  let askedCount = 0;
  const serviceOf = (bytes: Uint8Array | null) => ({
    keyById: async (): Promise<Uint8Array | null> => {
      askedCount += 1;
      return bytes;
    },
  });
  const keys = makeKeyRing({ service: serviceOf(new Uint8Array(32).fill(7)) });
  t.equal(await codeOf(sealed, { keys }), 'opened');
  t.equal(await codeOf(sealed, { keys }), 'opened');
  t.equal(askedCount, 1);
  const wrong = makeKeyRing({ service: serviceOf(new Uint8Array(32).fill(9)) });
  t.equal(await codeOf(sealed, { keys: wrong }), 'BACKUP_KEY_WRONG');
  const without = makeKeyRing({ service: serviceOf(null) });
  t.equal(await codeOf(sealed, { keys: without }), 'BACKUP_KEY_WRONG');
  t.throws(() => makeKeyRing({ older: new Array(ARCHIVE_KEY_COUNT_MAX + 1).fill(KEY) }));
});

t.test('keys are read as hex, base64 or raw bytes; a refusal never shows the text', async (t) => {
  const bytes = new Uint8Array(32).map((_, i) => i * 7 + 1);
  const hex = Buffer.from(bytes).toString('hex');
  const id = createHash('sha256').update(bytes).digest('hex').slice(0, 16);
  t.equal(parseArchiveKey(`${hex}\n`, 'X').id, id);
  t.equal(parseArchiveKey(Buffer.from(bytes).toString('base64'), 'X').id, id);
  t.equal(parseArchiveKey(Buffer.from(bytes).toString('base64url'), 'X').id, id);
  t.notMatch(JSON.stringify(parseArchiveKey(hex, 'X')), hex.slice(0, 10), 'a key prints nothing');
  const fileSystem = new MemoryFileSystem();
  const write = (path: string, content: Uint8Array): void => {
    const handle = fileSystem.open(path, 'createNew');
    handle.write([content], 0);
    handle.close();
  };
  write('/raw', bytes);
  write('/text', bytesOf(`${hex}\n`));
  write('/password', bytesOf('a password of 32 characters 1234'));
  write('/large', new Uint8Array(5_000));
  t.equal(readArchiveKeyFile(fileSystem, '/raw').id, id);
  t.equal(readArchiveKeyFile(fileSystem, '/text').id, id);
  const refused = [
    () => parseArchiveKey('secret-but-short', 'HOLDFAST_KEY'),
    () => parseArchiveKey(hex.slice(2), 'HOLDFAST_KEY'),
    () => readArchiveKeyFile(fileSystem, '/password'),
    () => readArchiveKeyFile(fileSystem, '/large'),
  ];
  for (const body of refused) {
    const error = await refusalOf(async () => body());
    t.equal(error?.code, 'CONFIG_INVALID');
    t.notMatch(error?.message, /secret-but-short|password of|080f16/);
  }
});

t.test(
  'a frame that would expand to more than it says is refused and takes no memory',
  async (t) => {
    const bomb = new Uint8Array(64 * 1024 * 1024);
    const gzip = await loadCompressor('gzip');
    await t.rejects(gzip.expand(new Uint8Array(gzipSync(bomb)), 1_000), 'gzip');
    const zstd = await loadCompressor('zstd');
    const packed = await zstd.compress(bomb);
    t.equal(zstdContentSizeBytes(packed), bomb.byteLength);
    await t.rejects(zstd.expand(packed, 1_000), /claims 67108864/);
    // Two frames, of which the first says what is allowed: the second one does not fit.
    const small = await zstd.compress(new Uint8Array(1_000));
    await t.rejects(zstd.expand(new Uint8Array([...small, ...packed]), 1_000));
    for (const sizeBytes of [1, 100, 255, 256, 300, 65_791, 65_792, 100_000]) {
      const content = contentOf(sizeBytes);
      const frame = await zstd.compress(content);
      t.equal(zstdContentSizeBytes(frame), sizeBytes, `${sizeBytes}`);
      t.ok(isSame(await zstd.expand(frame, sizeBytes), content));
    }
    t.equal(zstdContentSizeBytes(bytesOf('no frame')), null);
  },
);

t.test('a header says what an object is, and refuses what it does not know', async (t) => {
  const sealed = await sealBytes(bytesOf('content'), sealing({ compression: 'zstd' }));
  const header = peekSealedHeader(sealed, CONTEXT);
  t.equal(header.kind, 'file');
  t.equal(header.compression, 'zstd');
  t.equal(header.keyId, KEY.id);
  t.equal(header.plainSizeBytes, 7);
  const encoded = encodeSealedHeader({ ...header, kind: 'gap' });
  t.equal(parseSealedHeader(encoded, CONTEXT).kind, 'gap');
  const error = await refusalOf(async () => peekSealedHeader(bytesOf('x'.repeat(64)), CONTEXT));
  t.match(error?.message, 'is not a sealed object');
});

t.test('a frame sealed again is the same, and an empty object has one frame', async (t) => {
  const body = contentOf(SEALED_FRAME_SIZE_BYTES + 10);
  for (const compression of COMPRESSIONS) {
    const sealer = await FrameSealer.create(sealing({ compression }), body.byteLength);
    const last = body.subarray(SEALED_FRAME_SIZE_BYTES);
    const first = await sealer.seal(1, last);
    await sealer.seal(0, body.subarray(0, SEALED_FRAME_SIZE_BYTES));
    t.ok(isSame(await sealer.seal(1, last), first), compression);
  }
  const empty = await sealBytes(new Uint8Array(0), sealing());
  t.equal(empty.byteLength, SEALED_HEADER_SIZE_BYTES + 32);
  t.equal((await openSealed(empty, opening())).byteLength, 0);
});

t.test('two objects with equal content under one key share no stored byte runs', async (t) => {
  const body = new Uint8Array(4_096);
  const random = randomFrom(SEED);
  const first = await sealBytes(body, sealing({ random }));
  const second = await sealBytes(body, sealing({ random }));
  // The same salt under another name is still another key.
  const third = await sealBytes(body, sealing({ context: 'c1/files/abd' }));
  const stored = [first, second, third].map((sealed) =>
    Buffer.from(sealed.subarray(80, 80 + 4_096)).toString('hex'),
  );
  t.equal(new Set(stored).size, 3);
  const runs = new Set(stored.flatMap((hex) => hex.match(/.{32}/g) ?? []));
  t.equal(runs.size, 3 * 256, 'no 16 bytes occur twice');
  const frames = await sealBytes(new Uint8Array(2 * SEALED_FRAME_SIZE_BYTES), sealing());
  const secondStart = SEALED_HEADER_SIZE_BYTES + 16 + SEALED_FRAME_SIZE_BYTES + 16 + 16;
  const startOf = (at: number): Uint8Array => frames.subarray(at, at + 64);
  const firstStart = SEALED_HEADER_SIZE_BYTES + 16;
  t.notOk(isSame(startOf(firstStart), startOf(secondStart)), 'nor in two frames of one object');
});

t.test('a source of another size than it said is a bug', async (t) => {
  const options = { ...sealing(), sizeBytes: 10 };
  await t.rejects(joined(sealStream([new Uint8Array(9)], options)));
  await t.rejects(joined(sealStream([new Uint8Array(11)], options)));
});

t.test('objects of format 1 open for ever', async (t) => {
  for (const compression of COMPRESSIONS) {
    for (const key of [KEY, null]) {
      const body = bytesOf('The quick brown fox jumps over the lazy dog. '.repeat(20));
      const name = `${compression}-${key === null ? 'plain' : 'encrypted'}.sealed`;
      const file = new URL(name, FIXTURES);
      if (process.env.HOLDFAST_REWRITE === '1' && !existsSync(file)) {
        writeFileSync(file, await sealBytes(body, sealing({ compression, key })));
      }
      const frozen = new Uint8Array(readFileSync(file));
      t.ok(isSame(await openSealed(frozen, opening()), body), name);
      if (compression !== 'none') continue;
      const sealed = await sealBytes(body, sealing({ compression, key, random: randomFrom(4711) }));
      t.ok(isSame(sealed, frozen), `${name} is written as it was`);
    }
  }
});

t.test('a sealed object can be decoded with nothing but the page on the data format', async (t) => {
  const body = bytesOf('by hand '.repeat(50));
  for (const key of [KEY, null]) {
    const sealed = Buffer.from(await sealBytes(body, sealing({ compression: 'gzip', key })));
    t.equal(sealed.toString('latin1', 0, 4), 'HFSO');
    t.same([sealed.readUInt16LE(6), sealed.readUInt16LE(8)], [5, 1], 'a file, gzip');
    t.equal(sealed.readBigUInt64LE(16), BigInt(body.byteLength));
    const header = sealed.subarray(0, 64);
    const binding = createHash('sha256').update(header).update(CONTEXT).digest();
    const frameHeader = sealed.subarray(64, 80);
    t.equal(frameHeader.readUInt32LE(4), 3, 'last and compressed');
    const end = 80 + frameHeader.readUInt32LE(0);
    t.equal(end + 16, sealed.byteLength);
    const stored = sealed.subarray(80, end);
    const tag = sealed.subarray(end);
    let content: Uint8Array = stored;
    if (key === null) {
      const digest = createHash('sha256').update(binding).update(frameHeader).update(stored);
      t.same(digest.digest().subarray(0, 16), tag);
    } else {
      const secret = new Uint8Array(32).fill(7);
      const id = createHash('sha256').update(secret).digest().subarray(0, 8);
      t.same(header.subarray(24, 32), id);
      const info = Buffer.concat([Buffer.from('holdfast sealed object 1'), binding]);
      const salt = header.subarray(32, 48);
      const objectKey = new Uint8Array(hkdfSync('sha256', secret, salt, info, 32));
      const decipher = createDecipheriv('aes-256-gcm', objectKey, new Uint8Array(12));
      decipher.setAAD(frameHeader).setAuthTag(tag);
      content = Buffer.concat([decipher.update(stored), decipher.final()]);
    }
    t.ok(isSame(gunzipSync(content), body));
  }
});

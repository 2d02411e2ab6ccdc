/** Large objects: by parts, with bounded memory, raced for, aborted and failing in the middle. */
import { createHash } from 'node:crypto';
import { HoldfastError } from '@holdfast/base';
import { PatternSource } from './pattern-source.ts';
import type { SinkCase, SinkExpect, SinkWorld } from './sink-conformance.ts';

const MIB = 1024 * 1024;
const LARGE_SIZE_BYTES = 40 * MIB;
/** Just by parts. */
const RACED_SIZE_BYTES = 17 * MIB;
/** Four parts of 8 MiB, and the piece that is being read. */
const HELD_SIZE_BYTES_MAX = 33 * MIB;
const PIECE_SIZE_BYTES_MAX = MIB;

function digestOf(source: PatternSource): string {
  const hash = createHash('sha256');
  for (let at = 0; at < source.sizeBytes; at += MIB)
    hash.update(source.at(at, Math.min(MIB, source.sizeBytes - at)));
  return hash.digest('hex');
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'nothing';
  } catch (error) {
    return error instanceof HoldfastError ? error.code : String(error);
  }
}

async function nothingIsLeft(world: SinkWorld, key: string, expect: SinkExpect): Promise<void> {
  expect((await world.sink.head(key)) === null, `${key} is not there`);
  const leftovers = await world.leftovers();
  expect(leftovers.length === 0, `nothing is left behind (${leftovers.join()})`);
}

async function storeLarge(world: SinkWorld, ifAbsent: boolean, expect: SinkExpect) {
  const { sink, folder } = world;
  const key = `${folder}large-${ifAbsent}`;
  const source = new PatternSource(3, LARGE_SIZE_BYTES);
  let confirmedSizeBytes = 0;
  let heldSizeBytesMax = 0;
  let lastOffset = -1;
  let passCount = 0;
  source.onRead = (offset, length) => {
    if (offset <= lastOffset) passCount += 1;
    lastOffset = offset;
    // the first of two passes only takes the digest and holds nothing
    if (passCount === 1 || confirmedSizeBytes > 0)
      heldSizeBytesMax = Math.max(heldSizeBytesMax, offset + length - confirmedSizeBytes);
  };
  const onProgress = (sizeBytes: number) => {
    confirmedSizeBytes = sizeBytes;
  };
  expect((await sink.put(key, source, { ifAbsent, onProgress })) === 'stored', `${key} is stored`);
  expect(confirmedSizeBytes === LARGE_SIZE_BYTES, 'progress reaches the size');
  const held = Math.round(heldSizeBytesMax / MIB);
  expect(heldSizeBytesMax <= HELD_SIZE_BYTES_MAX, `at most 33 MiB are held (${held})`);
  const hash = createHash('sha256');
  let pieceSizeBytesMax = 0;
  for await (const piece of sink.read(key)) {
    pieceSizeBytesMax = Math.max(pieceSizeBytesMax, piece.byteLength);
    hash.update(piece);
  }
  expect(hash.digest('hex') === digestOf(source), `${key} comes back`);
  expect(pieceSizeBytesMax <= PIECE_SIZE_BYTES_MAX, 'in pieces of at most 1 MiB');
  expect((await sink.put(key, source, { ifAbsent: true })) === 'exists', `${key} again`);
  await sink.remove([key]);
  await nothingIsLeft(world, key, expect);
}

export const sinkTransferCases: readonly SinkCase[] = [
  {
    title: 'an object of 40 MiB goes and comes with bounded memory',
    run: (world, expect) => storeLarge(world, false, expect),
  },
  {
    title: 'an object of 40 MiB is stored once, with bounded memory',
    run: (world, expect) => storeLarge(world, true, expect),
  },
  {
    title: 'of racing conditional puts of a large object exactly one wins',
    async run(world, expect) {
      const { sink, folder, largeWriterCount } = world;
      const key = `${folder}raced-large`;
      const sources = Array.from(
        { length: largeWriterCount },
        (_, i) => new PatternSource(i, RACED_SIZE_BYTES),
      );
      const outcomes = await Promise.all(
        sources.map((source) => sink.put(key, source, { ifAbsent: true })),
      );
      const winners = sources.filter((_, i) => outcomes[i] === 'stored');
      expect(winners.length === 1, `one winner of ${largeWriterCount} (${winners.length})`);
      const hash = createHash('sha256');
      for await (const piece of sink.read(key)) hash.update(piece);
      const [winner] = winners;
      expect(winner !== undefined && hash.digest('hex') === digestOf(winner), 'it is the winner’s');
      await sink.remove([key]);
      await nothingIsLeft(world, key, expect);
    },
  },
  {
    title: 'a put that is aborted in the middle leaves nothing, seen or unseen',
    async run(world, expect) {
      for (const ifAbsent of [false, true]) {
        const key = `${world.folder}aborted-${ifAbsent}`;
        const controller = new AbortController();
        const { signal } = controller;
        const onProgress = () => controller.abort();
        const source = new PatternSource(5, LARGE_SIZE_BYTES);
        const put = world.sink.put(key, source, { ifAbsent, signal, onProgress });
        const code = await codeOf(put);
        expect(code === 'ABORTED', `ABORTED (${code})`);
        await nothingIsLeft(world, key, expect);
      }
    },
  },
  {
    title: 'a source that fails in the middle fails the put with its own error and leaves nothing',
    async run(world, expect) {
      for (const ifAbsent of [false, true]) {
        const key = `${world.folder}failing-${ifAbsent}`;
        const source = new PatternSource(6, LARGE_SIZE_BYTES);
        let isStoring = false;
        source.onRead = (offset) => {
          // sinks that read twice fail in the second pass, after something has been sent
          if (isStoring && offset >= 30 * MIB) throw new HoldfastError('FILE_IO', 'unreadable');
        };
        const onProgress = () => {
          isStoring = true;
        };
        const code = await codeOf(world.sink.put(key, source, { ifAbsent, onProgress }));
        expect(code === 'FILE_IO', `FILE_IO (${code})`);
        await nothingIsLeft(world, key, expect);
      }
    },
  },
  {
    title: 'an object that is larger than any store takes is refused',
    async run({ sink, folder }, expect) {
      const source = new PatternSource(1, 700 * 1024 * MIB);
      source.onRead = () => {
        throw new HoldfastError('FILE_IO', 'nothing should be read');
      };
      const code = await codeOf(sink.put(`${folder}huge`, source, { ifAbsent: false }));
      expect(code === 'SINK_REFUSED', `SINK_REFUSED (${code})`);
    },
  },
];

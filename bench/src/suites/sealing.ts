/**
 * What compression does to what backups hold, said honestly: float vectors, which hardly shrink,
 * and payloads, which do; and what the SHA-256 chain of the archive costs per entry of the log.
 * Sealed in this thread with a key, a frame at a time, as backups are.
 */
import { createHash } from 'node:crypto';
import { SeededRandom } from '@holdfast/base';
import {
  type Compression,
  makeArchiveKey,
  makeKeyRing,
  openSealed,
  sealBytes,
  systemRandomBytes,
} from '@holdfast/storage';
import { clusteredDataset } from '../dataset.ts';
import { type Bench, type Figure, figure } from '../result.ts';
import { median } from '../statistics.ts';

const DIMENSION = 128;
const ROW_COUNT = 100_000;
const QUICK_ROW_COUNT = 2_000;
const ROUND_COUNT = 3;
const COMPRESSIONS: readonly Compression[] = ['none', 'gzip', 'zstd'];
const CONTEXT = 'bench/files/sealing';
/** Of an entry with one point of 128-d, as it stands in the log. */
const ENTRY_SIZE_BYTES = 640;
const CHUNK_ENTRY_COUNT = 6_000;
const WORDS = ['north', 'harbour', 'quiet', 'ledger', 'amber', 'river', 'signal', 'copper', 'oak'];

interface Sealed {
  readonly ratio: number;
  readonly sealMegabytesPerS: number;
  readonly openMegabytesPerS: number;
}

export const sealingBench: Bench = {
  name: 'sealing',
  description: 'sizes and speed of sealed vectors and payloads; the SHA-256 chain per entry',
  run: async ({ isQuick, log, sizes }) => {
    const rowCount = sizes.rows ?? (isQuick ? QUICK_ROW_COUNT : ROW_COUNT);
    const contents = { vectors: vectorsOf(rowCount), payloads: payloadsOf(rowCount) };
    const figures: Figure[] = [];
    const raw: Record<string, readonly Sealed[]> = {};
    for (const [name, content] of Object.entries(contents)) {
      for (const compression of COMPRESSIONS) {
        const rounds: Sealed[] = [];
        for (let round = 0; round < (isQuick ? 1 : ROUND_COUNT); round++) {
          rounds.push(await sealed(content, compression));
        }
        raw[`${name} ${compression}`] = rounds;
        const of = (read: (one: Sealed) => number): number => median(rounds.map(read));
        figures.push(
          figure(`${name}, ${compression}: stored of plain`, 100 * of((r) => r.ratio), '%'),
          figure(
            `${name}, ${compression}: sealed`,
            of((r) => r.sealMegabytesPerS),
            'MB/s',
          ),
          figure(
            `${name}, ${compression}: opened`,
            of((r) => r.openMegabytesPerS),
            'MB/s',
          ),
        );
        log(`sealing: ${name} ${compression} ${JSON.stringify(rounds.at(-1))}`);
      }
    }
    figures.push(figure('SHA-256 chain of the archive, per entry', chainMicroseconds(), 'us'));
    const notes = ['single-point entries of 640 bytes, in chunks of 4 MiB; one thread'];
    return { figures, notes, raw };
  },
};

/** As segments have them: one after the other. */
function vectorsOf(rowCount: number): Uint8Array {
  const { vectors } = clusteredDataset({
    ...{ seed: 4711, dimension: DIMENSION, vectorCount: rowCount, queryCount: 1, clusterCount: 20 },
  });
  const bytes = new Float32Array(rowCount * DIMENSION);
  for (const [i, vector] of vectors.entries()) bytes.set(vector, i * DIMENSION);
  return new Uint8Array(bytes.buffer);
}

/** Small documents that have their keys in common, and little else. */
function payloadsOf(rowCount: number): Uint8Array {
  const random = new SeededRandom(7);
  const word = () => WORDS[random.nextBelow(WORDS.length)];
  const texts = Array.from({ length: rowCount }, (_, id) =>
    JSON.stringify({
      ...{ id, title: `${word()} ${word()} ${word()}`, group: random.nextBelow(50) },
      ...{ price: random.nextBelow(100_000) / 100, tags: [word(), word()] },
    }),
  );
  return new TextEncoder().encode(texts.join('\n'));
}

async function sealed(content: Uint8Array, compression: Compression): Promise<Sealed> {
  const key = makeArchiveKey(new Uint8Array(32).fill(9));
  const rate = (sinceMs: number): number =>
    content.byteLength / 1e6 / ((performance.now() - sinceMs) / 1_000);
  const startMs = performance.now();
  const object = await sealBytes(content, {
    ...{ kind: 'file', context: CONTEXT, compression, key, random: systemRandomBytes },
  });
  const sealMegabytesPerS = rate(startMs);
  const openMs = performance.now();
  const opened = await openSealed(object, {
    ...{ kind: 'file', context: CONTEXT, keys: makeKeyRing({ current: key }) },
    sizeBytesMax: content.byteLength,
  });
  const openMegabytesPerS = rate(openMs);
  if (Buffer.compare(opened, content) !== 0) throw new Error('sealed bytes come back as they were');
  return { ratio: object.byteLength / content.byteLength, sealMegabytesPerS, openMegabytesPerS };
}

/** One hash over a whole chunk, which is what the chain takes; of that a share for each entry. */
function chainMicroseconds(): number {
  const chunk = new Uint8Array(ENTRY_SIZE_BYTES * CHUNK_ENTRY_COUNT).fill(5);
  const samples: number[] = [];
  for (let round = 0; round < 20; round++) {
    const startMs = performance.now();
    createHash('sha256').update(chunk).digest();
    samples.push(((performance.now() - startMs) * 1_000) / CHUNK_ENTRY_COUNT);
  }
  return median(samples);
}

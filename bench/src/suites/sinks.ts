/**
 * Our S3 sink against one plain request of the client library, the same bytes up and down in turns,
 * to Ceph on loopback. Ours takes two digests of what it sends, and one of what it reads; the plain
 * one trusts everybody. The bytes are made in memory by both, so no disk is in it.
 */
import { assert, must, SeededRandom } from '@holdfast/base';
import { openPlainS3, openSinkForTests, PatternSource } from '@holdfast/node/testing';
import { storeMissing, withStore } from '../backup/store-place.ts';
import { atLeast, type Bench, type Figure, figure } from '../result.ts';
import { median } from '../statistics.ts';

const MIB = 1024 * 1024;
const OBJECT_SIZE_BYTES = 256 * MIB;
const QUICK_OBJECT_SIZE_BYTES = 20 * MIB;
/** The first one warms both up, and is not counted. */
const ROUND_COUNT = 6;
const RATIO_MIN = 0.6;

/** Megabytes per second. */
interface Round {
  readonly plainUp: number;
  /** By parts. */
  readonly partsUp: number;
  /** Only if it is not there, as backups are put. */
  readonly conditionalUp: number;
  readonly plainDown: number;
  readonly down: number;
}

export const sinksBench: Bench = {
  name: 'sinks',
  description: 'bytes per second to S3 and back, against a plain stream of the client library',
  run: async ({ isQuick, log }) => {
    const missing = storeMissing('S3');
    if (missing !== null) return { figures: [], notes: [missing], raw: {} };
    const sizeBytes = isQuick ? QUICK_OBJECT_SIZE_BYTES : OBJECT_SIZE_BYTES;
    const rounds: Round[] = [];
    for (let number = 0; number < (isQuick ? 1 : ROUND_COUNT); number++) {
      // A server each: it holds everything in memory, and what was removed for hours.
      const round = await withStore('S3', (url) => measure(url, number, sizeBytes));
      rounds.push(round);
      log(`sinks round ${number + 1}: ${JSON.stringify(round)}`);
    }
    const counted = isQuick ? rounds : rounds.slice(1);
    return { figures: figuresOf(counted), notes: [], raw: { sizeBytes, rounds } };
  },
};

async function measure(url: string, number: number, sizeBytes: number): Promise<Round> {
  const sink = await openSinkForTests(url, new SeededRandom(Date.now()));
  const { host: bucket, searchParams } = new URL(url);
  const plain = await openPlainS3(must(searchParams.get('endpoint')), bucket);
  try {
    // Neither is the first that this server sees.
    const small = new PatternSource(number, MIB);
    await plain.put('small', small);
    await sink.put('small', small, { ifAbsent: false });
    const source = new PatternSource(number, sizeBytes);
    const put = (key: string, ifAbsent: boolean) => () => sink.put(key, source, { ifAbsent });
    return {
      plainUp: await megabytesPerS(sizeBytes, () => plain.put('plain', source)),
      partsUp: await megabytesPerS(sizeBytes, put('parts', false)),
      conditionalUp: await megabytesPerS(sizeBytes, put('new', true)),
      plainDown: await megabytesPerS(sizeBytes, async () =>
        expectWhole(await plain.get('plain'), sizeBytes),
      ),
      down: await megabytesPerS(sizeBytes, async () =>
        expectWhole(await drain(sink.read('parts')), sizeBytes),
      ),
    };
  } finally {
    plain.close();
    await sink.close();
  }
}

async function megabytesPerS(sizeBytes: number, body: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await body();
  return sizeBytes / 1e6 / ((performance.now() - startMs) / 1_000);
}

async function drain(pieces: AsyncIterable<Uint8Array>): Promise<number> {
  let sizeBytes = 0;
  for await (const piece of pieces) sizeBytes += piece.byteLength;
  return sizeBytes;
}

/** A round that moved other bytes than these has measured something else. */
const expectWhole = (movedSizeBytes: number, sizeBytes: number): void =>
  assert(movedSizeBytes === sizeBytes, 'an object is whole', { movedSizeBytes, sizeBytes });

function figuresOf(rounds: readonly Round[]): readonly Figure[] {
  const of = (read: (round: Round) => number): number => median(rounds.map(read));
  return [
    figure(
      'plain stream up',
      of(({ plainUp }) => plainUp),
      'MB/s',
    ),
    atLeast(
      'up by parts, of plain',
      of((r) => r.partsUp / r.plainUp),
      'x',
      RATIO_MIN,
    ),
    atLeast(
      'up if absent, of plain',
      of((r) => r.conditionalUp / r.plainUp),
      'x',
      RATIO_MIN,
    ),
    figure(
      'plain stream down',
      of(({ plainDown }) => plainDown),
      'MB/s',
    ),
    atLeast(
      'down and verified, of plain',
      of((r) => r.down / r.plainDown),
      'x',
      RATIO_MIN,
    ),
  ];
}

/**
 * Goal: what is lost with a block of a segment is named, as far as the bytes that are left tell.
 * Method: a segment of four blocks with 400 rows whose ids count up; each damage of its second
 * block by chance and by place, compared with the rows that were written.
 */
import { SeededRandom } from '@holdfast/base';
import type { Steps } from '@holdfast/storage';
import { BlockFileShape, readHeaderBytes } from '@holdfast/storage';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import t from 'tap';
import { InlineHost } from '../src/host/inline-host.ts';
import type { PointOp } from '../src/point-op.ts';
import { checkpointFiles } from '../src/segment/references.ts';
import type { RowsInBlocks } from '../src/segment/rows-in-blocks.ts';
import { describeRows, LOST_ROWS_NAMED_MAX, rowsInBlocks } from '../src/segment/rows-in-blocks.ts';
import { definitionOf, HostDriver } from './harness.ts';

const DATA = '/data';
const DIMENSION = 128;
const ROW_COUNT = 400;
const RECORD_SIZE_BYTES = 32 + 48 + DIMENSION * 4;
const BLOCK_SIZE_BYTES = 65_536;
const CONTENT_HEADER_SIZE_BYTES = 40;
const SEED = Number(process.env.HOLDFAST_TEST_SEED ?? 4711);

/** First and last row with a byte in block 1. */
const FIRST = Math.floor((BLOCK_SIZE_BYTES - CONTENT_HEADER_SIZE_BYTES) / RECORD_SIZE_BYTES);
const LAST = Math.floor((2 * BLOCK_SIZE_BYTES - CONTENT_HEADER_SIZE_BYTES) / RECORD_SIZE_BYTES);
const LOST = Array.from({ length: LAST - FIRST + 1 }, (_, i) => FIRST + i);

async function segmentOnDisk() {
  const fileSystem = new MemoryFileSystem();
  const definition = definitionOf({
    ...{ dimension: DIMENSION, metric: 'l2', shardCount: 1, sealRowCount: ROW_COUNT },
  });
  const host = new InlineHost({ fs: fileSystem, dataDirectory: DATA, laneCount: 1 });
  const driver = new HostDriver(host, definition);
  await driver.openEmpty();
  await driver.create();
  const points = Array.from({ length: ROW_COUNT }, (_, id): PointOp => {
    const vector = new Float32Array(DIMENSION).fill(id + 0.5);
    return { type: 'upsert', id, vector, payload: null, condition: { kind: 'none' } };
  });
  await driver.write(points);
  const manifests = await driver.checkpoint('c1');
  const files = checkpointFiles(fileSystem, DATA, manifests);
  const path = `${DATA}/${files.find(({ kind }) => kind === 'segment')!.path}`;
  const handle = fileSystem.open(path, 'readWrite');
  const shape = new BlockFileShape(readHeaderBytes(handle), path);
  const content = shape.readUnverified(handle, 1);
  const damage = (at: number, bytes: Uint8Array): void => {
    handle.write([bytes], shape.positionOf(1) + at);
  };
  const heal = (): void => damage(0, content);
  const look = (blocks = [1]): RowsInBlocks => run(rowsInBlocks(fileSystem, path, shape, blocks));
  return { content, damage, heal, look };
}

function run<Value>(steps: Steps<Value>): Value {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** Where row `row` begins, in block 1. */
const startOf = (row: number): number =>
  CONTENT_HEADER_SIZE_BYTES + row * RECORD_SIZE_BYTES - BLOCK_SIZE_BYTES;

t.test('one flipped bit leaves one row of a block in doubt', async (t) => {
  const { damage, heal, look } = await segmentOnDisk();
  const row = FIRST + 3;
  damage(startOf(row) + 200, Uint8Array.of(7));
  const rows = look();
  t.same(rows.doubtfulIds, [row]);
  t.same(rows.ids, LOST.filter((id) => id !== row).slice(0, LOST_ROWS_NAMED_MAX - 1));
  t.equal(rows.unnamedCount, LOST.length - LOST_ROWS_NAMED_MAX);
  t.match(describeRows(rows), `perhaps ${row}; ${LOST.length - LOST_ROWS_NAMED_MAX} more`);
  heal();
  t.same(look([]), { ids: [], doubtfulIds: [], unnamedCount: 0 }, 'nothing is lost, nothing told');
});

t.test('of a block of zeros only the row that reaches into it is named', async (t) => {
  const { damage, look } = await segmentOnDisk();
  damage(0, new Uint8Array(BLOCK_SIZE_BYTES));
  // The last row of the block has its head in the zeros.
  t.same(look(), { ids: [], doubtfulIds: [FIRST], unnamedCount: LOST.length - 1 });
});

t.test(
  'whatever a block holds, no row is named that lies elsewhere, and none is missed',
  async (t) => {
    const { content, damage, heal, look } = await segmentOnDisk();
    const random = new SeededRandom(SEED);
    for (let round = 0; round < 60; round++) {
      heal();
      const at = random.nextBelow(BLOCK_SIZE_BYTES);
      const size = 1 + random.nextBelow(round % 3 === 0 ? 40_000 : 64);
      const bytes = content.slice(at, at + size).map((byte) => byte ^ (1 + random.nextBelow(255)));
      damage(at, bytes);
      const { ids, doubtfulIds, unnamedCount } = look();
      const wrong = ids.filter((id) => !LOST.includes(Number(id)));
      const named = ids.length + doubtfulIds.length;
      const found = { wrong, count: named + (unnamedCount ?? 0), isBounded: named <= 16 };
      const expected = { wrong: [], count: LOST.length, isBounded: true };
      t.same(found, expected, `seed ${SEED}, round ${round}: ${size} bytes at ${at}`);
    }
  },
);

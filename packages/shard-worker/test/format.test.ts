/** The frozen bytes of each format, and a reader of segments that knows nothing but the page. */
import { fileURLToPath } from 'node:url';
import { must } from '@holdfast/base';
import { digestChecksummedFile, NodeFileSystem, readWholeFile, toHex } from '@holdfast/storage';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import tap from 'tap';
import { InlineHost } from '../src/host/inline-host.ts';
import type { PointId } from '../src/model.ts';
import type { PointOp } from '../src/point-op.ts';
import { readManifest } from '../src/segment/manifest.ts';
import type { RowDescription } from '../src/segment/reader.ts';
import { describeRowsFile } from '../src/segment/reader.ts';
import { manifestFiles } from '../src/segment/references.ts';
import { logTimeMs } from '../src/testing/brute-force-oracle.ts';
import { at, definitionOf, HostDriver } from './harness.ts';

const DATA = '/data';
/** Frozen: what the rows of format-v2 must always sum to. */
const GOLDEN_DIGEST = 'b52db61b04d6d9edc70cafdfb62a529c';
const UUID = '0123abcd-4567-4abc-8def-0123456789ab';
const IDS = [1, 2 ** 53 - 1, UUID, 5, 6, 7];
const definition = definitionOf({ shardCount: 1, sealRowCount: 6, dimension: 3 });
const fixturesOf = (version: number): string =>
  fileURLToPath(new URL(`../../test/fixtures/format-v${version}`, import.meta.url));

const upsert = (id: PointId, n: number, payload: string | null): PointOp => ({
  type: 'upsert',
  id,
  vector: Float32Array.from([n, -n / 2, 1e-3]),
  payload: payload === null ? null : new TextEncoder().encode(payload),
  condition: { kind: 'none' },
});

async function writeGolden(fs: MemoryFileSystem) {
  fs.makeDirectory(DATA);
  const host = new InlineHost({ fs, dataDirectory: DATA, laneCount: 1, graphFactory: null });
  const driver = new HostDriver(host, definition);
  await driver.openEmpty();
  await driver.create();
  await driver.write([
    upsert(1, 1, '{"a":1}'),
    upsert(2 ** 53 - 1, 2, null),
    upsert(UUID, 3, '{}'),
  ]);
  await driver.write([upsert(1, 4, null), upsert(5, 5, ''), upsert(6, 6, '{"b":"\u00e9"}')]);
  await driver.write([{ type: 'delete', id: 5, condition: { kind: 'none' } }, upsert(7, 7, null)]);
  return { driver, manifests: await driver.checkpoint('golden') };
}

tap.test('files of format version 2 are written and read as ever', async (t) => {
  const fs = new MemoryFileSystem();
  const { driver, manifests } = await writeGolden(fs);
  const paths = manifestFiles(fs, DATA, manifests);
  t.equal(paths.length, 3, 'a segment, a growing file, a manifest');
  const fixtures = fixturesOf(2);
  const disk = new NodeFileSystem();
  for (const path of paths) {
    const file = `${fixtures}/${path}`;
    const stored = toHex(readWholeFile(disk, file));
    t.equal(toHex(readWholeFile(fs, `${DATA}/${path}`)), stored, `${path} is written as stored`);
  }
  const host = new InlineHost({ fs: disk, dataDirectory: fixtures, laneCount: 1 });
  await host.open({ appliedIndex: at(4), definitions: [definition], manifests });
  const again = new HostDriver(host, definition, 4);
  t.same(await again.get(IDS), await driver.get(IDS), 'read back');
  t.same(await again.digests(), [{ uid: 5, shard: 0, digest: GOLDEN_DIGEST, liveRowCount: 5 }]);
  const rows: RowDescription[] = [];
  const segment = must(paths.find((path) => path.endsWith('.seg')));
  const header = describeRowsFile(disk, `${fixtures}/${segment}`, (row) => rows.push(row));
  t.same(header, { uid: 5, shard: 0, dimension: 3, rowCount: 5 });
  t.same(
    rows.map(({ id, version, timestampMs, payloadSizeBytes }) => ({
      ...{ id, version, timestampMs, payloadSizeBytes },
    })),
    [
      { id: 2 ** 53 - 1, version: 2, timestampMs: logTimeMs(2), payloadSizeBytes: 0 },
      { id: UUID, version: 2, timestampMs: logTimeMs(2), payloadSizeBytes: 2 },
      { id: 1, version: 3, timestampMs: logTimeMs(3), payloadSizeBytes: 0 },
      { id: 5, version: 3, timestampMs: logTimeMs(3), payloadSizeBytes: 0 },
      { id: 6, version: 3, timestampMs: logTimeMs(3), payloadSizeBytes: 10 },
    ],
  );
});

tap.test('a segment can be decoded with nothing but the page on the data format', async (t) => {
  const bytes = readWholeFile(
    new NodeFileSystem(),
    `${fixturesOf(2)}/collections/5/0/segment-00000001.seg`,
  );
  const view = new DataView(bytes.buffer);
  const text = (offset: number, size: number) =>
    Buffer.from(bytes.subarray(offset, offset + size)).toString();
  t.equal(text(0, 4), 'HFBF');
  t.equal(view.getUint16(6, true), 1, 'kind: segment');
  t.equal(view.getUint16(8, true), 2, 'checksum algorithm: xxhash3');
  const payloadSizeBytes = Number(view.getBigUint64(16, true));
  t.equal(bytes.byteLength, 64 + payloadSizeBytes + 8, 'one block and its checksum');
  const rows = 64;
  t.equal(text(rows, 4), 'HFRW');
  t.same([view.getUint16(rows + 4, true), view.getUint16(rows + 6, true)], [2, 0]);
  t.equal(view.getBigUint64(rows + 24, true), 5n, 'row count');
  const found = [];
  for (let at = rows + 40; at < 64 + payloadSizeBytes; at += view.getUint32(at + 8, true)) {
    t.equal(text(at, 4), 'HFRR');
    const row = at + 32;
    const dimension = view.getUint32(row + 4, true);
    const payloadSize = view.getUint32(row + 40, true);
    const id =
      bytes[row] === 0 ? view.getFloat64(row + 8, true) : toHex(bytes.subarray(row + 8, row + 24));
    const vector = Array.from({ length: dimension }, (_, i) =>
      view.getFloat32(row + 48 + 4 * i, true),
    );
    const hasPayload = (view.getUint16(row + 2, true) & 1) === 1;
    const payload = hasPayload ? text(row + 48 + 4 * dimension, payloadSize) : null;
    const sequence = Number(view.getBigUint64(row + 24, true));
    const timestampMs = view.getFloat64(row + 32, true);
    found.push({ id, vector, sequence, timestampMs, payload });
  }
  const small = Math.fround(1e-3);
  t.same(found, [
    {
      id: 2 ** 53 - 1,
      vector: [2, -1, small],
      sequence: 2,
      timestampMs: logTimeMs(2),
      payload: null,
    },
    {
      ...{ id: UUID.replaceAll('-', ''), vector: [3, -1.5, small] },
      ...{ sequence: 2, timestampMs: logTimeMs(2), payload: '{}' },
    },
    { id: 1, vector: [4, -2, small], sequence: 3, timestampMs: logTimeMs(3), payload: null },
    { id: 5, vector: [5, -2.5, small], sequence: 3, timestampMs: logTimeMs(3), payload: '' },
    {
      id: 6,
      vector: [6, -3, small],
      sequence: 3,
      timestampMs: logTimeMs(3),
      payload: '{"b":"\u00e9"}',
    },
  ]);
});

tap.test('files of format version 1, which was never released, are refused by name', async (t) => {
  const disk = new NodeFileSystem();
  const directory = `${fixturesOf(1)}/collections/5/0`;
  const refusal = { code: 'FORMAT_UNKNOWN', message: /version 1|format 1/ };
  t.throws(
    () => describeRowsFile(disk, `${directory}/segment-00000001.seg`, () => undefined),
    refusal,
  );
  const manifestPath = 'collections/5/0/manifest-golden.man';
  const checksum = digestChecksummedFile(disk, `${fixturesOf(1)}/${manifestPath}`);
  const reference = { uid: 5, shard: 0, manifestPath, checksum };
  t.throws(() => readManifest(disk, fixturesOf(1), reference), refusal);
});

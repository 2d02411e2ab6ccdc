/**
 * Goal: what the sealing thread makes of a file is what this thread makes of it, what it refuses is
 * a typed error, and a thread that dies, idles or is stopped fails one backup at most.
 * Method: the real thread on files of a temporary directory; virtual time, so that nothing waits.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Logger } from '@holdfast/base';
import { SILENT_LOGGER } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import type { Compression } from '@holdfast/storage';
import {
  NodeFileSystem,
  SEALED_FRAME_SIZE_BYTES,
  writeAtomicFile,
  writeChecksummedFile,
} from '@holdfast/storage';
import t from 'tap';
import type { PinnedFile } from '../src/backup/checkpoint-source.ts';
import { SealedFileSource } from '../src/backup/sealed-file.ts';
import type { SealingPlace, SealOrder } from '../src/backup/sealing/file-frames.ts';
import { sealingHere } from '../src/backup/sealing/file-frames.ts';
import { SealThread } from '../src/backup/sealing/seal-thread.ts';
import { errorOf, KEY, pause, sealing } from './support/backup.ts';
import { until } from './support/until.ts';

const fileSystem = new NodeFileSystem();
const root = mkdtempSync(join(process.env.TMPDIR ?? '/tmp', 'holdfast-seal-'));
t.teardown(() => rmSync(root, { recursive: true, force: true }));
const here = sealingHere(fileSystem, pause);

function open(worker?: URL) {
  const clock = new VirtualClock();
  const told: string[] = [];
  const logger: Logger = { ...SILENT_LOGGER, error: (_, message) => void told.push(message) };
  const given = worker === undefined ? {} : { worker };
  const thread = new SealThread({ timers: clock, logger, ...given });
  t.teardown(() => thread.stop());
  return { clock, told, thread };
}

function writeFile(name: string, payloadSizeBytes: number): PinnedFile {
  const fullPath = join(root, name);
  const payload = new Uint8Array(payloadSizeBytes).map((_, i) => (i * i) >> 7);
  const options = { kind: 'segment', algorithm: 'xxhash3' } as const;
  const { checksum, sizeBytes } = writeChecksummedFile(fileSystem, fullPath, options, [payload]);
  return { path: name, fullPath, kind: 'segment', checksum, sizeBytes };
}

async function orderOf(
  place: SealingPlace,
  file: PinnedFile,
  compression: Compression,
): Promise<SealOrder> {
  const facts = await place.examine(file);
  const salt = new Uint8Array(16).fill(7);
  const key = compression === 'gzip' ? null : KEY;
  return { fullPath: file.fullPath, facts, context: 'cluster/files/name', compression, key, salt };
}

async function objectOf(place: SealingPlace, order: SealOrder) {
  const frames = await place.open(order);
  const parts: Uint8Array[] = [frames.header];
  for (let number = 0; number + 1 < frames.starts.length; number++) {
    parts.push(await frames.frame(number));
  }
  const bytes = Buffer.concat(parts);
  const digest = await frames.digest();
  frames.close();
  return { bytes, digest, starts: frames.starts };
}

/** What this process has open below the directory of the test. */
function openFiles(): readonly string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`);
      return path.startsWith(root) ? [path] : [];
    } catch {
      // It was that of the folder itself.
      return [];
    }
  });
}

/** Its start costs more than all that it is asked here. */
const shared = open();

t.test('the thread seals, measures and hashes as this one does', async (t) => {
  const { thread } = shared;
  const file = writeFile('three.seg', 2 * SEALED_FRAME_SIZE_BYTES + 70_000);
  for (const compression of ['none', 'gzip', 'zstd'] as const) {
    const order = await orderOf(thread, file, compression);
    t.same(order, await orderOf(here, file, compression), compression);
    const [there, own] = [await objectOf(thread, order), await objectOf(here, order)];
    t.equal(Buffer.compare(there.bytes, own.bytes), 0, 'the same bytes');
    t.same(there.starts, own.starts);
    t.equal(there.digest, own.digest);
    t.equal(own.digest, createHash('sha256').update(own.bytes).digest('hex'));
  }
});

t.test('what the thread refuses is typed, and it goes on', async (t) => {
  const { thread, told } = shared;
  const file = writeFile('rot.seg', SEALED_FRAME_SIZE_BYTES + 70_000);
  const order = await orderOf(thread, file, 'none');
  const frames = await thread.open(order);
  const handle = fileSystem.open(file.fullPath, 'readWrite');
  handle.write([Uint8Array.of(1, 2, 3)], SEALED_FRAME_SIZE_BYTES + 10);
  handle.close();
  const changed = await errorOf(() => frames.frame(1));
  t.match(changed, { code: 'FILE_CORRUPT', message: /rot\.seg has changed/ });
  t.equal((await errorOf(() => thread.examine(file)))?.code, 'FILE_CORRUPT');
  const missing = { ...file, fullPath: join(root, 'none.seg') };
  t.equal((await errorOf(() => thread.examine(missing)))?.code, 'FILE_IO');
  t.equal((await frames.frame(0)).byteLength, frames.starts[1]! - frames.starts[0]!);
  frames.close();
  t.same(told, []);
});

t.test('an abort is heard at once, and no file stays open', async (t) => {
  const { thread } = shared;
  const file = writeFile('large.seg', 6 * SEALED_FRAME_SIZE_BYTES);
  const order = await orderOf(thread, file, 'zstd');
  const abort = new AbortController();
  const opening = errorOf(() => thread.open(order, abort.signal));
  abort.abort();
  t.equal((await opening)?.code, 'ABORTED');
  t.equal((await errorOf(() => thread.open(order, abort.signal)))?.code, 'ABORTED', 'not begun');
  const frames = await thread.open(order);
  t.same(openFiles(), [file.fullPath], 'one of two');
  const digesting = new AbortController();
  const digest = errorOf(() => frames.digest(digesting.signal));
  digesting.abort();
  t.equal((await digest)?.code, 'ABORTED');
  frames.close();
  await thread.examine(writeFile('small.seg', 10));
  t.same(openFiles(), []);
});

t.test('a thread that dies fails what it worked on, and the next one works', async (t) => {
  const path = join(root, 'dies.mjs');
  const dies = "import { parentPort } from 'node:worker_threads';";
  const text = `${dies} parentPort.on('message', () => { throw new Error('bug'); });`;
  writeAtomicFile(fileSystem, path, [Buffer.from(text)]);
  const { thread, told } = open(pathToFileURL(path));
  const file = writeFile('any.seg', 1_000);
  const failed = await Promise.all([1, 2].map(() => errorOf(() => thread.examine(file))));
  t.same(
    failed.map((error) => error?.code),
    ['INTERNAL', 'INTERNAL'],
  );
  t.same(told, ['the sealing thread has died']);
  t.equal((await errorOf(() => thread.examine(file)))?.code, 'INTERNAL');
  t.equal(told.length, 2, 'another one was started');
});

t.test('a file of a dead thread is refused, and its successor is spared', async (t) => {
  const path = join(root, 'opens.mjs');
  const text = `import { parentPort } from 'node:worker_threads';
    const answers = { open: { header: new Uint8Array(1), starts: [1, 2] }, examine: 'facts' };
    parentPort.on('message', ({ kind, id, file }) => {
      if (file?.path === 'deadly' || kind === 'frame' || kind === 'digest') throw new Error(kind);
      if (kind in answers) parentPort.postMessage({ kind: 'answer', id, answer: answers[kind] });
    });`;
  writeAtomicFile(fileSystem, path, [Buffer.from(text)]);
  const { thread, told } = open(pathToFileURL(path));
  const file = writeFile('alive.seg', 10);
  const frames = await thread.open(await orderOf(here, file, 'none'));
  t.equal((await errorOf(() => thread.examine({ ...file, path: 'deadly' })))?.code, 'INTERNAL');
  t.equal(await thread.examine(file), 'facts', 'another thread');
  const expected = {
    code: 'INTERNAL',
    message: /alive\.seg is not open .* start the backup again/,
  };
  t.match(await errorOf(() => frames.frame(0)), expected);
  t.match(await errorOf(() => frames.digest()), expected);
  frames.close();
  t.equal(await thread.examine(file), 'facts');
  t.same(told, ['the sealing thread has died'], 'once');
});

t.test('the thread ends when nobody has asked for a while, not while a file is open', async (t) => {
  const { clock, thread } = open();
  const file = writeFile('idle.seg', 1_000);
  const order = await orderOf(thread, file, 'none');
  const frames = await thread.open(order);
  clock.advance(60_000);
  t.ok(thread.isUp);
  frames.close();
  clock.advance(4_999);
  t.ok(thread.isUp);
  clock.advance(1);
  t.notOk(thread.isUp);
  await thread.examine(file);
  t.ok(thread.isUp, 'and comes again');
  await thread.stop();
  t.equal((await errorOf(() => thread.examine(file)))?.code, 'SHUTTING_DOWN');
});

t.test('a source reads through the thread what it reads here', async (t) => {
  const { thread } = shared;
  const file = writeFile('source.seg', 3 * SEALED_FRAME_SIZE_BYTES);
  const facts = await thread.examine(file);
  const wholes: Uint8Array[] = [];
  for (const place of [thread, here]) {
    const source = await SealedFileSource.open({
      ...{ fileSystem, pause, sealing: place, fullPath: file.fullPath, facts, budget: null },
      ...{ context: 'cluster/files/name', seal: sealing({ compression: 'zstd' }) },
    });
    const half = Math.floor(source.sizeBytes / 2);
    const [second, first] = await Promise.all([
      source.read(half, source.sizeBytes - half),
      source.read(0, half),
    ]);
    wholes.push(Buffer.concat([first, second]));
    source.close();
  }
  t.equal(Buffer.compare(wholes[0]!, wholes[1]!), 0);
  await until(() => openFiles().length === 0);
});

/**
 * Goal: what the scrub thread says of a file is what the same look says on this thread, a disk that
 * refuses is a typed error, and a thread that dies, idles or is stopped costs a pass at most.
 * Method: the real thread on files of a temporary directory; virtual time, so that nothing waits.
 */
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { getPriority } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { Logger } from '@holdfast/base';
import { HoldfastError, SILENT_LOGGER } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import type { ScrubJob } from '@holdfast/storage';
import {
  lookAtFile,
  NodeFileSystem,
  scrubLook,
  writeAtomicFile,
  writeChecksummedFile,
} from '@holdfast/storage';
import t from 'tap';
import { ScrubThread } from '../src/heal/scrub-thread.ts';
import { pauseBy } from '../src/replica/slices.ts';

const fileSystem = new NodeFileSystem();
const root = mkdtempSync(join(process.env.TMPDIR ?? '/tmp', 'holdfast-scrub-'));
t.teardown(() => rmSync(root, { recursive: true, force: true }));

function open(worker?: URL) {
  const clock = new VirtualClock();
  const told: string[] = [];
  const logger: Logger = { ...SILENT_LOGGER, error: (_, message) => void told.push(message) };
  const pause = pauseBy((callback) => setImmediate(callback));
  const thread = new ScrubThread({
    ...{ clock, timers: clock, logger, pause, bytesPerSecMax: 0 },
    ...(worker === undefined ? {} : { worker }),
  });
  t.teardown(() => thread.stop());
  return { clock, told, thread };
}

const BLOCK_COUNT = 9;

function writeFile(name: string): ScrubJob & { readonly kind: 'blockFile' } {
  const path = join(root, name);
  const payload = new Uint8Array(BLOCK_COUNT * 65_536 - 1_000).map((_, i) => i % 251);
  const options = { kind: 'segment', algorithm: 'xxhash3' } as const;
  const { checksum } = writeChecksummedFile(fileSystem, path, options, [payload]);
  return { kind: 'blockFile', path, checksum };
}

function program(name: string, text: string): URL {
  const path = join(root, name);
  writeAtomicFile(fileSystem, path, [Buffer.from(text)]);
  return pathToFileURL(path);
}

function flip(path: string, offset: number): void {
  const handle = fileSystem.open(path, 'readWrite');
  const byte = new Uint8Array(1);
  handle.read(byte, offset);
  handle.write([Uint8Array.of(byte[0]! ^ 4)], offset);
  handle.close();
}

function lookHere(job: ScrubJob) {
  const steps = scrubLook(fileSystem, lookAtFile(job));
  let sizeBytes = 0;
  for (;;) {
    const step = steps.next();
    if (step.done === true) return { flaws: step.value, sizeBytes };
    sizeBytes += step.value;
  }
}

t.test('a look on the scrub thread finds what the same look finds here', async (t) => {
  const { thread } = open();
  const job = writeFile('sound.seg');
  t.same(await thread.look(lookAtFile(job)), lookHere(job));
  t.same((await thread.look(lookAtFile(job))).flaws, []);
  flip(job.path, 3 * 65_536);
  flip(job.path, 7 * 65_536);
  const { flaws } = await thread.look(lookAtFile(job));
  t.equal(flaws.length, 2);
  t.same(flaws, lookHere(job).flaws);
  const log = { kind: 'logFile', directory: root, fileId: 4 } as const;
  const gone = { fileId: 4, sizeBytes: 8_192, lastBatch: 9, isClosed: true };
  const missing = { ...log, expected: gone };
  const found = await thread.look(lookAtFile(missing));
  t.match(found.flaws, [{ kind: 'batch', isFileMissing: true, committed: new Map() }]);
  t.same(found, lookHere(missing), 'with everything that a repair needs to know');
});

t.test('what is small is looked at without a thread, and what is judged is judged', async (t) => {
  const { thread } = open();
  let stepCount = 0;
  const steps = (function* () {
    stepCount += 1;
    yield 100;
    return [];
  })();
  t.same(await thread.look({ kind: 'small', steps }), { flaws: [], sizeBytes: 100 });
  t.equal(stepCount, 1);
  t.notOk(thread.isUp);
  const job = writeFile('judged.seg');
  flip(job.path, 65_536);
  const { flaws } = await thread.look({ kind: 'file', job, judge: (all) => all.slice(1) });
  t.same(flaws, []);
});

t.test('a disk that refuses is a typed error, and the thread goes on', async (t) => {
  const { thread } = open();
  const path = join(root, 'a-directory');
  mkdirSync(path);
  const refused = thread.look(lookAtFile({ kind: 'blockFile', path, checksum: '' }));
  const error = await refused.catch((thrown: unknown) => thrown);
  t.ok(error instanceof HoldfastError);
  t.match(error, { code: 'FILE_IO', details: { code: 'EISDIR', path } });
  const job = writeFile('after.seg');
  t.same((await thread.look(lookAtFile(job))).flaws, []);
});

t.test('a scrub thread that dies fails its looks, and the next one waits a while', async (t) => {
  const dying = program('dying.mjs', 'throw new Error("out of luck");\n');
  const { clock, thread, told } = open(dying);
  const job = writeFile('unread.seg');
  for (const delayMs of [1_000, 2_000, 4_000]) {
    await t.rejects(thread.look(lookAtFile(job)), { code: 'INTERNAL' });
    t.notOk(thread.isUp);
    const deaths = told.length;
    clock.advance(delayMs - 1);
    await t.rejects(thread.look(lookAtFile(job)), { message: /again in 1 ms/ });
    t.equal(told.length, deaths, 'nothing was started');
    clock.advance(1);
  }
  t.same(new Set(told), new Set(['the scrub thread has died']));
});

t.test('the scrub thread ends when nobody asks, and comes back when asked', async (t) => {
  const { clock, thread } = open();
  const job = writeFile('idle.seg');
  await thread.look(lookAtFile(job));
  t.ok(thread.isUp);
  clock.advance(4_999);
  t.ok(thread.isUp);
  clock.advance(1);
  t.notOk(thread.isUp);
  t.same((await thread.look(lookAtFile(job))).flaws, []);
  t.ok(thread.isUp);
});

t.test('stopping rejects the look under way and every later one', async (t) => {
  const { thread } = open();
  const job = writeFile('stopped.seg');
  // A byte per second: it cannot end by itself.
  thread.bytesPerSecMax = 1;
  const under = t.rejects(thread.look(lookAtFile(job)), { code: 'SHUTTING_DOWN' });
  await thread.stop();
  await under;
  await t.rejects(thread.look(lookAtFile(job)), { code: 'SHUTTING_DOWN' });
  t.notOk(thread.isUp);
});

t.test('a rate that is changed counts for the thread that runs', async (t) => {
  const path = join(root, 'rates.json');
  const echo = program(
    'echo.mjs',
    `import { writeFileSync } from 'node:fs';
    import { parentPort, workerData } from 'node:worker_threads';
    const seen = [workerData.bytesPerSecMax];
    parentPort.on('message', ({ kind, id, bytesPerSecMax }) => {
      if (kind === 'rate') seen.push(bytesPerSecMax);
      else writeFileSync(${JSON.stringify(path)}, JSON.stringify(seen));
      const answer = { flaws: [], sizeBytes: 0 };
      if (kind === 'look') parentPort.postMessage({ kind: 'answer', id, answer });
    });\n`,
  );
  const { thread } = open(echo);
  thread.bytesPerSecMax = 5;
  const job = writeFile('rate.seg');
  await thread.look(lookAtFile(job));
  thread.bytesPerSecMax = 7;
  await thread.look(lookAtFile(job));
  const handle = fileSystem.open(path, 'read');
  const bytes = Buffer.alloc(handle.sizeBytes());
  handle.read(bytes, 0);
  handle.close();
  t.same(JSON.parse(bytes.toString()), [5, 7]);
});

t.test('on Linux the scrub thread alone runs at the lowest priority', async (t) => {
  const before = getPriority();
  const worker = new Worker(new URL('../src/heal/scrub-worker.js', import.meta.url), {
    workerData: { bytesPerSecMax: 0 },
  });
  const [started] = await once(worker, 'message');
  const isLinux = process.platform === 'linux';
  t.equal(started.priorityRefusal === null, isLinux, String(started.priorityRefusal));
  t.equal(getPriority(), before, 'the process keeps its own');
  if (isLinux) {
    const threads = readdirSync('/proc/self/task').map(Number);
    t.ok(threads.some((id) => getPriority(id) === 19));
  }
  await worker.terminate();
});

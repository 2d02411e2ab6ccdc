// The library under a process: what it is told while the process runs is what the process sees.
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { Interposer, SOUND_DISK } from '../src/cluster/interposer.ts';
import { compileNative } from '../src/cluster/native-program.ts';
import { makeScratchDirectory, removeScratchDirectory } from '../src/cluster/scratch-directory.ts';

// Real sockets, files and processes take as long as the machine lets them.
t.setTimeout(0);

/** Runs a small program under the library, and returns what it printed as JSON. */
async function runUnder(interposer: Interposer, program: string): Promise<unknown> {
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', program], {
    env: { ...process.env, ...interposer.environment },
  });
  return JSON.parse(stdout);
}

const TRY = 'const attempt = (f) => { try { return f(); } catch (error) { return error.errno; } };';

t.test('a process sees the disk and the clock that it is given', async (t) => {
  const directory = makeScratchDirectory('interposer');
  t.teardown(() => removeScratchDirectory(directory));
  const library = await compileNative('interposer.c', directory);
  const data = join(directory, 'data');
  mkdirSync(data);
  const interposer = new Interposer(library, join(directory, 'control'), data);
  const file = JSON.stringify(join(data, 'file'));
  const outside = JSON.stringify(join(directory, 'outside'));
  writeFileSync(join(data, 'file'), '');

  const disk = `${TRY}
    const fs = require('node:fs');
    const inner = fs.openSync(${file}, 'r+');
    const outer = fs.openSync(${outside}, 'w');
    const beganMs = performance.now();
    const sync = attempt(() => fs.fdatasyncSync(inner)) ?? 0;
    const tookMs = performance.now() - beganMs;
    const writes = [0, 1, 2].map(() => attempt(() => fs.writeSync(inner, 'abcdefgh', 0)));
    console.log(JSON.stringify({ sync, tookMs, writes,
      vector: attempt(() => fs.writevSync(inner, [Buffer.from('abcdefgh')], 0)),
      outside: attempt(() => fs.writeSync(outer, 'abcdefgh')) }));`;

  t.match(await runUnder(interposer, disk), {
    ...{ sync: 0, writes: [8, 8, 8], vector: 8, outside: 8 },
  });
  interposer.setDisk({ ...SOUND_DISK, syncDelayMs: 200 });
  const slow = (await runUnder(interposer, disk)) as { readonly tookMs: number };
  t.ok(slow.tookMs >= 200, `a slow sync took ${slow.tookMs} ms`);
  interposer.setDisk({ ...SOUND_DISK, syncErrno: 5 });
  t.match(await runUnder(interposer, disk), { sync: -5, writes: [8, 8, 8] });
  interposer.setDisk({ ...SOUND_DISK, writeErrno: 28 });
  t.match(await runUnder(interposer, disk), {
    ...{ sync: 0, writes: [-28, -28, -28], vector: -28, outside: 8 },
  });
  const before = interposer.counts;
  interposer.setDisk({ ...SOUND_DISK, writeErrno: 28, hasShortWrites: true });
  // The runtime writes the rest of a short write itself, is refused, and tells only the first.
  t.match(await runUnder(interposer, disk), { writes: [4, 4, 4], vector: 4 });
  const { counts } = interposer;
  t.equal(counts.writesShort - before.writesShort, 4);
  t.equal(counts.writesFailed - before.writesFailed, 4);
  t.match(counts, { syncsDelayed: 1, syncsFailed: 1 });
  interposer.setDisk(SOUND_DISK);

  const clock = `const wallMs = Date.now(); const monotonicMs = performance.now();
    new (require('node:worker_threads').Worker)(
      'require("node:worker_threads").parentPort.postMessage(Date.now())', { eval: true },
    ).on('message', (threadMs) => {
      console.log(JSON.stringify({ wallMs, monotonicMs, threadMs }));
    });`;
  const read = async () => (await runUnder(interposer, clock)) as Readonly<Record<string, number>>;
  for (const offsetMs of [-86_400_000, 3_600_000]) {
    interposer.setClock({ offsetMs, driftMsPerS: 0 });
    const { monotonicMs = 0, threadMs = 0, wallMs = 0 } = await read();
    const error = wallMs - Date.now() - offsetMs;
    t.ok(Math.abs(error) < 60_000, `off by ${offsetMs} ms, and ${error}`);
    t.ok(threadMs >= wallMs && threadMs - wallMs < 60_000, 'other threads see the same');
    t.ok(monotonicMs > 0 && monotonicMs < 60_000, 'the monotonic clock is not touched');
  }
  // A thousand times as fast: a process that lives for 50 ms sees a minute go by.
  interposer.setClock({ offsetMs: 0, driftMsPerS: 1_000_000 });
  const { wallMs = 0 } = await read();
  t.ok(wallMs - Date.now() > 10_000, 'it drifts');
});

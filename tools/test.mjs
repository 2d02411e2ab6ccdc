/**
 * `npm test`: set-up, then every compiled test file of the workspace, each a program that uses tap.
 *
 *   npm test                         everything
 *   npm test -- wal raft/            files whose path contains one of the words
 *   npm test -- packages/raft/test/paper.test.ts
 *   JOBS=1 npm test                  test files at a time (one more than processors unless told)
 *   TEST_SECONDS_MAX=900 npm test    stop the whole run after this time and count it as failed
 *
 * On a terminal one line shows the progress; elsewhere the TAP stream is passed through. Failures
 * are repeated at the end, and the last line is always `N passed, N failed[, N skipped]`, counted
 * by the runner. The exit code is 0 only when nothing failed: a file that crashes, a run without a
 * total and a run that was interrupted all count as failures.
 */
import { existsSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { ROOT, setupOrExit, workspaceFolders } from './setup.mjs';
import { TapReader } from './tap-reader.mjs';
import { TestPool } from './test-pool.mjs';

/** Failures repeated at the end; the stream above has the rest. */
const FAILURES_SHOWN_MAX = 50;
/** Begun first, so that no long one is left alone at the end. One that is not here comes later. */
const LONG_FILES = [
  'jepsen-lite/dist/test/sim.test.js',
  'packages/raft/dist/test/hostile-peers.test.js',
  'packages/node/dist/test/storm.test.js',
  'jepsen-lite/dist/test/torture.test.js',
  'jepsen-lite/dist/test/process.test.js',
  'jepsen-lite/dist/test/membership.test.js',
  'jepsen-lite/dist/test/repair.test.js',
  'jepsen-lite/dist/test/recover.test.js',
];

/** Compiled test files, relative to the root, that match one of the words (all without words). */
function testFiles(words) {
  const files = [];
  for (const folder of workspaceFolders()) {
    const base = join(ROOT, folder, 'dist/test');
    if (!existsSync(base)) continue;
    for (const name of readdirSync(base, { recursive: true }))
      if (name.endsWith('.test.js')) files.push(`${folder}/dist/test/${name}`);
  }
  // a word may name the source: packages/raft/test/log.test.ts
  const sourceOf = (file) => file.replace('/dist/test/', '/test/').replace(/\.js$/, '.ts');
  const isWanted = (file) =>
    words.length === 0 ||
    words.some((word) => file.includes(word) || sourceOf(file).includes(word));
  const wanted = files.filter(isWanted).sort();
  const long = LONG_FILES.filter((file) => wanted.includes(file));
  return [...long, ...wanted.filter((file) => !long.includes(file))];
}

function progressLine(reader, startedAt) {
  const seconds = Math.round((Date.now() - startedAt) / 1000);
  const files = `${reader.fileCount}/${reader.filePlan ?? '?'} files`;
  const counts = `${reader.passCount} passed, ${reader.failCount} failed`;
  const text = `  ${files}  ${counts}  ${seconds} s  ${reader.currentFile ?? ''}`;
  return text.slice(0, (process.stdout.columns ?? 80) - 1);
}

/** Runs the files and returns the exit code; `reader` has seen every line. */
async function runAll(files, reader) {
  const isLive = process.stdout.isTTY === true;
  const startedAt = Date.now();
  const timer = isLive
    ? setInterval(() => process.stdout.write(`\r\u001b[2K${progressLine(reader, startedAt)}`), 250)
    : undefined;
  const pool = new TestPool({
    ...{ files, cwd: ROOT },
    jobCount: Number(process.env.JOBS ?? availableParallelism() + 1),
    onStart: (file) => {
      reader.currentFile = file;
    },
    onLine: (line) => {
      reader.line(line);
      if (!isLive) process.stdout.write(`${line}\n`);
    },
  });
  const stop = (reason) => {
    reader.interruptedBy = reason;
    pool.stop('SIGTERM');
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  const secondsMax = Number(process.env.TEST_SECONDS_MAX ?? 0);
  const limitTimer =
    secondsMax > 0
      ? setTimeout(() => stop(`the limit of ${secondsMax} s`), secondsMax * 1000)
      : undefined;
  reader.filePlan = files.length;
  const code = await pool.run();
  clearInterval(timer);
  clearTimeout(limitTimer);
  if (isLive) process.stdout.write('\r\u001b[2K');
  return code;
}

function printFailures(reader) {
  if (reader.failures.length === 0) return;
  process.stdout.write(`\nFailures (${reader.failures.length}):\n`);
  for (const failure of reader.failures.slice(0, FAILURES_SHOWN_MAX))
    process.stdout.write(`\n  ${failure.path.join(' > ')}\n${failure.lines.join('\n')}\n`);
  const hiddenCount = reader.failures.length - FAILURES_SHOWN_MAX;
  if (hiddenCount > 0) process.stdout.write(`\n  and ${hiddenCount} more, see above\n`);
}

function printSkips(reader) {
  if (reader.skips.length === 0) return;
  process.stdout.write(`\nSkipped (${reader.skips.length}):\n`);
  for (const skip of reader.skips) process.stdout.write(`  ${skip}\n`);
}

async function main() {
  await setupOrExit('0 passed, 1 failed');
  const words = process.argv.slice(2);
  const files = testFiles(words);
  const reader = new TapReader();
  if (files.length === 0) {
    process.stdout.write(`no test file matches ${words.join(', ') || 'the workspace'}\n`);
    process.stdout.write('0 passed, 1 failed\n');
    process.exit(1);
  }
  const code = await runAll(files, reader);
  if (reader.interruptedBy !== undefined)
    process.stdout.write(
      `\ninterrupted by ${reader.interruptedBy} while ${reader.currentFile} was running\n`,
    );
  printSkips(reader);
  printFailures(reader);
  const totals = reader.totals(code);
  process.stdout.write(`\n${totals.text}\n`);
  process.exit(totals.isGood ? 0 : 1);
}

await main();

/**
 * Runs test files, each in a process of its own and several at a time, and tells their TAP as one
 * stream with a subtest per file. A file's lines come when it has ended.
 *
 * The runner that tap brings would do this too, but it loads its hooks into every process and every
 * thread that a test starts: a node of a cluster took 2.4 s of processor time to start with them
 * and 1.3 s without (docs/adr/0032).
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { TapReader } from './tap-reader.mjs';

/** After an interruption test files get this long to stop what they started. */
const STOP_GRACE_MS = 10_000;

export class TestPool {
  #options;
  #waiting;
  #running = new Set();
  #ended = 0;
  #counts = { total: 0, pass: 0, fail: 0, skip: 0, todo: 0 };
  #killTimer;
  #finish;

  /** `onLine` gets every line of the stream, `onStart` the name of each file that begins. */
  constructor({ files, jobCount, cwd, onLine, onStart = () => {} }) {
    this.#options = { jobCount, cwd, onLine, onStart };
    this.#waiting = [...files];
  }

  /** Resolves with the exit code of the run: 0 when every file ended well. */
  run() {
    return new Promise((resolve) => {
      this.#finish = resolve;
      this.#next();
    });
  }

  /** Begins no more files and ends those that run, with everything that they have started. */
  stop(signal) {
    this.#waiting = [];
    this.#signal(signal);
    this.#killTimer ??= setTimeout(() => this.#signal('SIGKILL'), STOP_GRACE_MS);
  }

  #signal(signal) {
    for (const { child } of this.#running) signalGroup(child.pid, signal);
  }

  #next() {
    const { jobCount } = this.#options;
    while (this.#running.size < jobCount && this.#waiting.length > 0) {
      this.#start(this.#waiting.shift());
    }
    if (this.#running.size > 0) return;
    clearTimeout(this.#killTimer);
    this.#tellTotals();
    this.#finish(this.#counts.fail > 0 ? 1 : 0);
  }

  #start(file) {
    const { cwd, onStart } = this.#options;
    onStart(file);
    const child = spawn(process.execPath, ['--enable-source-maps', file], {
      cwd,
      stdio: ['ignore', 'pipe', 'inherit'],
      // a process group of its own: what the file starts is stopped with it
      detached: true,
      // a slow machine is no failure: no file has a time limit
      env: { ...process.env, TAP: '1', TAP_TIMEOUT: '0' },
    });
    const run = { child, file, lines: [], reader: new TapReader(), startedAt: performance.now() };
    this.#running.add(run);
    createInterface({ input: child.stdout }).on('line', (line) => {
      run.reader.line(line);
      if (!line.startsWith('TAP version ')) run.lines.push(line);
    });
    let code = { exitCode: 127, signal: null };
    child.on('error', (error) => run.lines.push(`# it could not be started: ${error.message}`));
    child.on('exit', (exitCode, signal) => {
      code = { exitCode, signal };
    });
    child.on('close', () => {
      this.#running.delete(run);
      this.#end(run, code);
      this.#next();
    });
  }

  #end({ file, lines, reader, startedAt }, { exitCode, signal }) {
    const { onLine } = this.#options;
    const counts = reader.counts(exitCode === 0 && signal === null ? 0 : 1);
    for (const name of Object.keys(this.#counts)) this.#counts[name] += counts[name];
    onLine(`# Subtest: ${file}`);
    for (const line of lines) onLine(`    ${line}`);
    this.#ended += 1;
    const time = `# time=${(performance.now() - startedAt).toFixed(0)}ms`;
    onLine(`${counts.fail === 0 ? 'ok' : 'not ok'} ${this.#ended} - ${file} ${time}`);
    if (counts.fail > 0) {
      for (const text of ['---', `exitCode: ${exitCode}`, `signal: ${signal}`, '...']) {
        onLine(`  ${text}`);
      }
    }
    onLine('');
  }

  #tellTotals() {
    const { onLine } = this.#options;
    const counts = Object.entries(this.#counts).filter(
      ([name, count]) => name === 'total' || count,
    );
    onLine(`1..${this.#ended}`);
    onLine(`# { ${counts.map(([name, count]) => `${name}: ${count}`).join(', ')} }`);
  }
}

/** Signals every process of the group that is still there. */
function signalGroup(groupId, signal) {
  try {
    process.kill(-groupId, signal);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

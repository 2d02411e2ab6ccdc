/**
 * One bash in which the steps of pages run, one after the other, as an operator types them: values,
 * functions and nodes in the background stay from step to step. A step that fails ends the shell,
 * as `set -e` says.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { assert } from '@holdfast/base';

export interface ShellOptions {
  /** Where steps run. */
  readonly folder: string;
  /** For the texts of steps and what they print. */
  readonly notesFolder: string;
  readonly environment: NodeJS.ProcessEnv;
  /** Of one step; far more than any needs on a slow machine. */
  readonly stepTimeoutMs: number;
}

export interface StepResult {
  /** Null: it took too long, or bash was ended by a signal. */
  readonly exitCode: number | null;
  readonly output: string;
  readonly tookMs: number;
}

export class Shell {
  readonly #options: ShellOptions;
  readonly #process: ChildProcess;
  readonly #exited: Promise<number | null>;
  #stepCount = 0;
  #said = '';
  #onSaid: () => void = () => {};
  #isOver = false;

  constructor(options: ShellOptions) {
    this.#options = options;
    const { environment, folder, notesFolder } = options;
    mkdirSync(notesFolder, { recursive: true });
    this.#process = spawn('bash', ['--noprofile', '--norc'], {
      cwd: folder,
      env: environment,
      // What it says of its jobs; what steps say goes where they send it.
      stdio: ['pipe', 'ignore', 'ignore', 'pipe'],
    });
    const results = this.#process.stdio[3] as Readable;
    results.setEncoding('utf8').on('data', (text: string) => {
      this.#said += text;
      this.#onSaid();
    });
    this.#exited = new Promise((resolve) => {
      this.#process.once('exit', (code) => {
        this.#isOver = true;
        // Nodes in the background hold the other end.
        results.destroy();
        resolve(code);
      });
    });
    // Of a bash that ended: `run` says so.
    this.#process.stdin?.on('error', () => undefined);
    this.#process.stdin?.write('set -euo pipefail\n');
  }

  /** False: a step has failed, and the next ones need another shell. */
  get isOpen(): boolean {
    return !this.#isOver;
  }

  /** One step at a time. `mayFail`: its exit code is an answer, and the shell goes on. */
  async run(code: string, mayFail = false): Promise<StepResult> {
    assert(this.isOpen, 'a shell that has ended runs nothing');
    this.#stepCount += 1;
    const path = join(this.#options.notesFolder, `${this.#stepCount}`);
    writeFileSync(`${path}.sh`, `${code}\n`);
    writeFileSync(`${path}.out`, '');
    const source = `source '${path}.sh' </dev/null >'${path}.out' 2>&1 3>&-`;
    const report = (value: string): string => `printf 'done ${this.#stepCount} %s\\n' ${value} >&3`;
    // Not behind `||` or `if`: bash would not stop at the first command that fails.
    const script = mayFail
      ? `set +e; (set -e; ${source}); code=$?; set -e; ${report('$code')}\n`
      : `${source}; ${report('0')}\n`;
    const startMs = performance.now();
    this.#process.stdin?.write(script);
    const exitCode = await this.#untilDone();
    const tookMs = performance.now() - startMs;
    return { exitCode, output: readFileSync(`${path}.out`, 'utf8'), tookMs };
  }

  async close(): Promise<void> {
    this.#process.stdin?.end();
    await this.#exited;
  }

  async #untilDone(): Promise<number | null> {
    const wanted = new RegExp(`^done ${this.#stepCount} (\\d+)$`, 'm');
    const done = new Promise<number>((resolve) => {
      this.#onSaid = () => {
        const code = wanted.exec(this.#said)?.[1];
        if (code !== undefined) resolve(Number(code));
      };
      this.#onSaid();
    });
    const timeout = setTimeout(() => this.#process.kill('SIGKILL'), this.#options.stepTimeoutMs);
    const exitCode = await Promise.race([done, this.#exited]);
    clearTimeout(timeout);
    return exitCode;
  }
}

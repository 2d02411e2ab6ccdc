/**
 * A server of others as a child process of a test: it ends with the test, is killed by its process
 * id alone, and what it printed is there when it did not start.
 */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

const OUTPUT_LENGTH_MAX = 8_000;
const LOOK_AGAIN_MS = 20;
/** A loaded machine takes long; a server that never answers must not hang a run. */
const START_MS_MAX = 120_000;

/** A test that ends early must not leave servers behind. */
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export class ChildServer {
  readonly #process: ChildProcess;
  readonly #name: string;
  readonly #exited: Promise<unknown>;
  #output = '';

  constructor(
    command: string,
    args: readonly string[],
    environment: Readonly<Record<string, string>> = {},
  ) {
    this.#name = command;
    this.#process = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...environment },
    });
    this.#exited = once(this.#process, 'exit').catch(() => undefined);
    running.add(this.#process);
    this.#process.on('exit', () => running.delete(this.#process));
    const take = (chunk: Buffer): void => {
      this.#output = `${this.#output}${chunk}`.slice(-OUTPUT_LENGTH_MAX);
    };
    this.#process.stdout?.on('data', take);
    this.#process.stderr?.on('data', take);
    this.#process.on('error', (error) => take(Buffer.from(error.message)));
  }

  get isRunning(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** Until something listens on the port. */
  async untilListening(port: number): Promise<void> {
    const startedMs = performance.now();
    while (!(await isListening(port))) {
      if (!this.isRunning || performance.now() - startedMs > START_MS_MAX)
        throw new Error(`${this.#name} did not start:\n${this.#output}`);
      await pause(LOOK_AGAIN_MS);
    }
  }

  async stop(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (this.isRunning) this.#process.kill(signal);
    await this.#exited;
  }
}

async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/**
 * One node of a local cluster as a child process: started with its flags, its output kept in a log
 * file, restarted with growing delays when it dies after it had been serving.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { RestartPolicy } from '@holdfast/base';
import { nodeEnvironment } from '../cluster/memory-environment.ts';
import type { PlannedNode } from '../cluster/plan.ts';
import { removeProcessMark, writeProcessMark } from './cluster-file.ts';

export interface NodeChildEvents {
  onExit(child: NodeChild, how: string): void;
  /** It will not be started again. */
  onGivenUp(child: NodeChild, how: string): void;
  onRestart(child: NodeChild, delayMs: number, attempt: number): void;
}

/** Shutdown drains requests and closes files; after this it is cut. */
const STOP_TIMEOUT_MS = 20_000;

const MAIN_PATH = fileURLToPath(new URL('../main.js', import.meta.url));

export class NodeChild {
  readonly node: PlannedNode;
  readonly logPath: string;
  readonly #directory: string;
  readonly #extraFlags: readonly string[];
  readonly #events: NodeChildEvents;
  #process: ChildProcess | null = null;
  #restartTimer: NodeJS.Timeout | null = null;
  readonly #restarts = new RestartPolicy();
  #isStopping = false;
  /** Set by the owner once the node answered: from then on a death is worth a restart. */
  hasServed = false;

  constructor(
    node: PlannedNode,
    directory: string,
    extraFlags: readonly string[],
    events: NodeChildEvents,
  ) {
    this.node = node;
    this.#directory = directory;
    this.#extraFlags = extraFlags;
    this.#events = events;
    this.logPath = join(directory, `${node.nodeId}.log`);
  }

  get pid(): number | null {
    return this.#process?.pid ?? null;
  }

  start(): void {
    const log = openSync(this.logPath, 'a');
    // Own process group: Ctrl-C in the terminal reaches only the parent, which stops in order.
    const child = spawn(process.execPath, [MAIN_PATH, 'serve', ...this.#flags()], {
      stdio: ['ignore', log, log],
      detached: true,
      env: nodeEnvironment(process.env),
    });
    closeSync(log);
    this.#process = child;
    this.#restarts.started(performance.now());
    child.on('error', (error) => this.#onExit(child, error.message));
    child.on('exit', (code, signal) => {
      this.#onExit(child, signal === null ? `exit code ${code}` : signal);
    });
    if (child.pid !== undefined) writeProcessMark(this.#directory, this.node.nodeId, child.pid);
  }

  /** Graceful, then cut. Resolves when the process is gone. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    if (this.#restartTimer !== null) clearTimeout(this.#restartTimer);
    const child = this.#process;
    if (child === null) return;
    const gone = new Promise<void>((resolve) => {
      child.on('exit', () => resolve());
    });
    child.kill('SIGTERM');
    const cut = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await gone;
    clearTimeout(cut);
  }

  /** Leaves the process running when this one ends. */
  release(): void {
    this.#isStopping = true;
    this.#process?.unref();
  }

  /** The last line of the log: the reason, when the node could not start. */
  lastLogLine(): string {
    const lines = readFileSync(this.logPath, 'utf8').trimEnd().split('\n');
    return lines.findLast((line) => line.startsWith('holdfast: ')) ?? lines.at(-1) ?? '';
  }

  #flags(): readonly string[] {
    const { nodeId, dataDirectory, publicAddress, peerAddress } = this.node;
    return [
      ...['--data', dataDirectory, '--node-id', nodeId],
      ...['--listen', publicAddress, '--peer-listen', peerAddress],
      ...this.#extraFlags,
    ];
  }

  #onExit(child: ChildProcess, how: string): void {
    if (this.#process !== child) return;
    this.#process = null;
    removeProcessMark(this.#directory, this.node.nodeId);
    if (this.#isStopping) return;
    this.#events.onExit(this, how);
    const delayMs = this.hasServed ? this.#restarts.died(performance.now()) : null;
    if (delayMs === null) {
      this.#events.onGivenUp(this, how);
      return;
    }
    this.#events.onRestart(this, delayMs, this.#restarts.attemptCount);
    this.#restartTimer = setTimeout(() => this.start(), delayMs);
  }
}

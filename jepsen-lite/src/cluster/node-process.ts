/**
 * One server process: spawned, signalled by its own process id, its output kept in a log file.
 * Nothing here ever signals a process it did not start.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { nodeEnvironment } from '@holdfast/node';
import type { KillSignal, NodeName } from './cluster.ts';

export interface NodeProcessOptions {
  readonly nodeName: NodeName;
  readonly command: string;
  readonly commandArguments: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly logPath: string;
}

/** How much of the log an error shows. */
const LOG_TAIL_LINE_COUNT = 15;

/** Children of this process; killed when it ends in whatever way lets code run. */
const runningChildren = new Set<ChildProcess>();
let isExitHookInstalled = false;

export class NodeProcess {
  readonly nodeName: NodeName;
  readonly logPath: string;
  readonly #child: ChildProcess;
  readonly #gone: Promise<void>;
  #exitText: string | null = null;

  constructor(options: NodeProcessOptions) {
    installExitHook();
    this.nodeName = options.nodeName;
    this.logPath = options.logPath;
    const log = openSync(options.logPath, 'a');
    try {
      this.#child = spawn(options.command, [...options.commandArguments], {
        stdio: ['ignore', log, log],
        env: nodeEnvironment({ ...inheritedEnvironment(), ...options.environment }),
      });
    } finally {
      closeSync(log);
    }
    runningChildren.add(this.#child);
    this.#gone = new Promise((resolve) => {
      const onGone = (text: string) => {
        this.#exitText ??= text;
        runningChildren.delete(this.#child);
        resolve();
      };
      this.#child.once('error', (cause) => onGone(`could not be started: ${cause.message}`));
      this.#child.once('exit', (code, signal) =>
        onGone(signal === null ? `exited with code ${code}` : `was ended by ${signal}`),
      );
    });
  }

  /** Undefined when the process could not be spawned. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  get isRunning(): boolean {
    return this.#exitText === null;
  }

  /** "exited with code 1", or null while it runs. */
  get exitText(): string | null {
    return this.#exitText;
  }

  /** SIGKILL and SIGTERM resolve when the process is gone; the others at once. */
  async signal(signal: KillSignal): Promise<void> {
    if (!this.isRunning) return;
    this.#child.kill(signal);
    if (signal === 'SIGKILL' || signal === 'SIGTERM') await this.#gone;
  }

  /** Resolves true when the process is gone within the time. */
  goneWithin(timeoutMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), timeoutMs);
      void this.#gone.then(() => {
        clearTimeout(timer);
        resolve(true);
      });
    });
  }

  /** The last lines the process wrote, for error messages. */
  logTail(): string {
    if (!existsSync(this.logPath)) return '(no log)';
    const lines = readFileSync(this.logPath, 'utf8').trimEnd().split('\n');
    return lines.slice(-LOG_TAIL_LINE_COUNT).join('\n');
  }
}

/** Without server settings of the shell that runs the tests: they would change what is tested. */
function inheritedEnvironment(): Record<string, string | undefined> {
  const entries = Object.entries(process.env);
  return Object.fromEntries(entries.filter(([name]) => !name.startsWith('HOLDFAST_')));
}

/**
 * A test that dies must not leave servers behind. SIGKILL of this process itself cannot be seen.
 */
function installExitHook(): void {
  if (isExitHookInstalled) return;
  isExitHookInstalled = true;
  process.once('exit', () => {
    for (const child of runningChildren) child.kill('SIGKILL');
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => {
      if (process.listenerCount(signal) === 0) process.exit(128 + (signal === 'SIGINT' ? 2 : 15));
    });
  }
}

/**
 * Restores of collections in a process of their own, at the lowest priority: the past state that is
 * laid, replayed and read there weighs neither on the memory nor on the thread of who serves. It is
 * the shipped command, given the same store and keys and the addresses of the cluster.
 *
 * Told to end it purges what it made; if it does not end in time it is killed, and what is left is
 * hidden until its time is over.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { constants, setPriority } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Timers } from '@holdfast/base';
import { HoldfastError, toHoldfastError } from '@holdfast/base';
import { nodeEnvironment } from '../../cluster/memory-environment.ts';
import type { CarryOutOptions, RestoreOrder, RestoreWorker } from './restores-api.ts';
import { parseStepLine } from './step-lines.ts';

export interface ChildWorkerOptions {
  /** By the name of the store. */
  readonly urls: ReadonlyMap<string, string>;
  readonly keyFiles: readonly string[];
  readonly apiKeyFile: string | null;
  readonly workDirectory: string;
  /** Makes the working directory, empty. */
  readonly prepare: () => void;
  /** Client addresses of the cluster, host:port, this node's first. */
  readonly addresses: () => readonly string[];
  readonly timers: Timers;
}

const MAIN_PATH = fileURLToPath(new URL('../../main.js', import.meta.url));
/** For what it says of itself when it fails. */
const ERRORS_LENGTH_MAX = 64 * 1024;
/** A purge is a write; who stops a node waits no longer than this for it. */
const END_TIMEOUT_MS = 10_000;

export class ChildRestoreWorker implements RestoreWorker {
  readonly #options: ChildWorkerOptions;

  constructor(options: ChildWorkerOptions) {
    this.#options = options;
  }

  async carryOut(order: RestoreOrder, { onStep, signal }: CarryOutOptions): Promise<void> {
    this.#options.prepare();
    const child = spawn(process.execPath, [MAIN_PATH, ...this.#words(order)], {
      // The channel says to the child whether its parent still is: see program.ts.
      ...{ stdio: ['ignore', 'pipe', 'pipe', 'ipc'], env: nodeEnvironment(process.env) },
    });
    const letGo = this.#endWith(child, signal);
    let failure: HoldfastError | null = null;
    let errors = '';
    const lines = child.stdout === null ? null : createInterface({ input: child.stdout });
    lines?.on('line', (text) => {
      const line = parseStepLine(text);
      if (line?.kind === 'failed') failure = line.error;
      if (line?.kind === 'step') onStep(line.step);
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      errors = (errors + text).slice(-ERRORS_LENGTH_MAX);
    });
    child.on('spawn', () => {
      if (child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_LOW);
    });
    try {
      const code = await ended(child);
      if (code === 0) return;
      throw failure ?? unexplained(code, errors);
    } finally {
      letGo();
    }
  }

  #words(order: RestoreOrder): readonly string[] {
    const { addresses, apiKeyFile, keyFiles, urls, workDirectory } = this.#options;
    const { clusterId, collections, isPublished, prefix, source, target, timeline } = order;
    return [
      ...['restore', 'collections', '--json', '--work-dir', workDirectory],
      // As one word each: what begins with a dash is no flag.
      ...[`--from=${urls.get(source) ?? source}`, `--cluster=${clusterId}`, `--target=${target}`],
      ...[`--collections=${collections.join(',')}`, `--target-prefix=${prefix}`],
      ...(timeline === null ? [] : [`--timeline=${timeline}`]),
      ...(isPublished ? ['--publish'] : []),
      ...['--nodes', addresses().join(',')],
      ...(apiKeyFile === null ? [] : ['--api-key-file', apiKeyFile]),
      ...(keyFiles.length === 0 ? [] : ['--key-file', ...keyFiles]),
    ];
  }

  #endWith(child: ChildProcess, signal: AbortSignal): () => void {
    const { timers } = this.#options;
    let timer: ReturnType<Timers['after']> | null = null;
    const end = (): void => {
      child.kill('SIGTERM');
      timer = timers.after(END_TIMEOUT_MS, () => void child.kill('SIGKILL'));
    };
    signal.addEventListener('abort', end, { once: true });
    if (signal.aborted) end();
    return () => {
      signal.removeEventListener('abort', end);
      timer?.cancel();
    };
  }
}

/** Its exit code; null: a signal. */
function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.on('error', (error) => reject(toHoldfastError(error)));
    child.on('close', (code) => resolve(code));
  });
}

function unexplained(code: number | null, errors: string): HoldfastError {
  const last = errors.trimEnd().split('\n').at(-1) ?? '';
  const how = code === null ? 'was killed' : `ended with ${code}`;
  return new HoldfastError('INTERNAL', `the process of the restore ${how}: ${last}`);
}

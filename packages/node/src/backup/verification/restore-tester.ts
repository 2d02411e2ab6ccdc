/**
 * Restore tests that a node makes by itself: each in a process of its own, at the lowest priority,
 * so that neither its memory nor its work weighs on who serves. It is the shipped command, given
 * the same store and keys; it prints its result and ends. Ours to end when nobody waits any more.
 */
import { spawn } from 'node:child_process';
import { constants, setPriority } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Clock } from '@holdfast/base';
import { HoldfastError, toHoldfastError } from '@holdfast/base';
import { JsonFields, type RestoreTestResult, restoreTestFromJson } from '@holdfast/storage';
import { nodeEnvironment } from '../../cluster/memory-environment.ts';
import { NOTHING_KNOWN } from './restore-test-store.ts';

export interface RestoreTestOrder {
  /** Name of the store. */
  readonly sink: string;
  readonly clusterId: string;
  readonly signal: AbortSignal;
}

export interface RestoreTester {
  /** What goes wrong is the result. @throws HoldfastError ABORTED, by the signal alone */
  test(order: RestoreTestOrder): Promise<RestoreTestResult>;
}

export interface ChildTesterOptions {
  /** By the name of the store. */
  readonly urls: ReadonlyMap<string, string>;
  readonly keyFiles: readonly string[];
  readonly scratchDirectory: string;
  readonly nodeId: string;
  readonly clock: Clock;
  /** Makes the scratch directory, empty. */
  readonly prepare: () => void;
}

const MAIN_PATH = fileURLToPath(new URL('../../main.js', import.meta.url));
/** The result is the last thing that the command prints. */
const OUTPUT_SIZE_BYTES_MAX = 1024 * 1024;

export class ChildRestoreTester implements RestoreTester {
  readonly #options: ChildTesterOptions;

  constructor(options: ChildTesterOptions) {
    this.#options = options;
  }

  async test(order: RestoreTestOrder): Promise<RestoreTestResult> {
    const { clock, nodeId, prepare } = this.#options;
    const [startedMs, startedMonotonicMs] = [Math.round(clock.wallMs()), clock.monotonicMs()];
    const by = `node ${nodeId}`;
    try {
      prepare();
      const { code, output, errors } = await this.#run(order);
      if (order.signal.aborted) throw new HoldfastError('ABORTED', 'the restore test was ended');
      return { ...parseResult(output, errors, code), by };
    } catch (thrown) {
      const { code, message } = toHoldfastError(thrown);
      if (order.signal.aborted) throw thrown;
      const durationMs = Math.round(clock.monotonicMs() - startedMonotonicMs);
      const { clusterId } = order;
      const facts = { ...NOTHING_KNOWN, clusterId, startedMs, durationMs };
      return { ...facts, by, failure: { code, message } };
    }
  }

  #run({ clusterId, signal, sink }: RestoreTestOrder): Promise<Ended> {
    const { keyFiles, scratchDirectory, urls } = this.#options;
    const flags = [
      ...['--restore', '--json', '--no-keep-result', '--scratch', scratchDirectory],
      ...['--from', urls.get(sink) ?? sink, '--cluster', clusterId],
      ...(keyFiles.length === 0 ? [] : ['--key-file', ...keyFiles]),
    ];
    return new Promise((resolve, reject) => {
      // The channel says to the child whether its parent still is: see program.ts.
      const child = spawn(process.execPath, [MAIN_PATH, 'backup', 'verify', ...flags], {
        ...{ stdio: ['ignore', 'pipe', 'pipe', 'ipc'], env: nodeEnvironment(process.env) },
      });
      const end = (): void => void child.kill('SIGKILL');
      let [output, errors] = ['', ''];
      child.stdout?.setEncoding('utf8').on('data', (text: string) => {
        output = (output + text).slice(-OUTPUT_SIZE_BYTES_MAX);
      });
      child.stderr?.setEncoding('utf8').on('data', (text: string) => {
        errors = (errors + text).slice(-OUTPUT_SIZE_BYTES_MAX);
      });
      child.on('spawn', () => {
        if (child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_LOW);
      });
      child.on('error', (error) => reject(toHoldfastError(error)));
      child.on('close', (code) => {
        signal.removeEventListener('abort', end);
        resolve({ code, output, errors });
      });
      signal.addEventListener('abort', end, { once: true });
      if (signal.aborted) end();
    });
  }
}

interface Ended {
  readonly code: number | null;
  readonly output: string;
  readonly errors: string;
}

function parseResult(output: string, errors: string, code: number | null): RestoreTestResult {
  const line = output.trimEnd().split('\n').at(-1) ?? '';
  try {
    return restoreTestFromJson(new JsonFields('result of the restore test', JSON.parse(line)));
  } catch (cause) {
    const last = errors.trimEnd().split('\n').at(-1) ?? '';
    const message = `the restore test ended with ${code ?? 'a signal'} and no result: ${last}`;
    throw new HoldfastError('INTERNAL', message, { cause });
  }
}

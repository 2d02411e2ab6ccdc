/** What a command may touch of its process. Tests give their own. */
import { HoldfastError, toHoldfastError } from '@holdfast/base';
import type { StartNodeOverrides } from '../compose.ts';

export interface CliIo {
  out(text: string): void;
  err(text: string): void;
  /** True: a person is looking; progress may be drawn in place. */
  readonly isInteractive: boolean;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Resolves at the first SIGINT, SIGTERM or SIGHUP. */
  untilStopped(): Promise<string>;
  /** Of nodes that a command starts in this process; for tests. */
  readonly startOverrides?: StartNodeOverrides;
}

/** One Ctrl-C can arrive twice; what comes later is a second one. */
const REPEATED_SIGNAL_MS = 1_000;

export const EXIT_OK = 0;
/** The command could not do what it was asked to. */
export const EXIT_FAILED = 1;
/** The command line was wrong. */
export const EXIT_USAGE = 2;

/** The last line of a failed command. */
export function failureLine(thrown: unknown): string {
  const error = toHoldfastError(thrown);
  return `holdfast: ${error.code}: ${error.message}\n`;
}

/** A mistake on the command line: exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** An error whose message was already shown where it happened. */
export class ExitWith extends Error {
  override readonly name = 'ExitWith';
  readonly exitCode: number;

  constructor(exitCode: number) {
    super(`exit ${exitCode}`);
    this.exitCode = exitCode;
  }
}

export function integerOption(text: string, name: string, min: number, max: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new UsageError(`${name}: must be an integer from ${min} to ${max}, got '${text}'`);
}

export function isCode(thrown: unknown, code: string): boolean {
  return thrown instanceof HoldfastError && thrown.code === code;
}

/** Aborted by the first signal that ends the command. */
export function abortWhenStopped(io: CliIo): AbortSignal {
  const controller = new AbortController();
  io.untilStopped().then(
    () => controller.abort(),
    () => undefined, // nobody listens for signals: nobody stops it
  );
  return controller.signal;
}

export function processIo(): CliIo {
  let stopped: Promise<string> | null = null;
  return {
    out: (text) => {
      process.stdout.write(text);
    },
    err: (text) => {
      process.stderr.write(text);
    },
    isInteractive: process.stdout.isTTY === true,
    environment: process.env,
    untilStopped() {
      stopped ??= new Promise((resolve) => {
        let firstSignalMs: number | null = null;
        for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
          process.on(signal, () => {
            firstSignalMs ??= performance.now();
            // Meant as "now", unless it is the same Ctrl-C: the terminal and npm both pass it on.
            if (performance.now() - firstSignalMs > REPEATED_SIGNAL_MS) process.exit(EXIT_FAILED);
            resolve(signal);
          });
        }
      });
      return stopped;
    },
  };
}

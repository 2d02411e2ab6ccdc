/**
 * The Logger seam over pino. The destination is synchronous: the last lines before a crash are the
 * ones that matter.
 */
import type { LogFields, Logger } from '@holdfast/base';
import { type LoggerOptions, type Logger as PinoLogger, pino, stdTimeFunctions } from 'pino';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

/** Keys that must never reach a log, whoever passes them. */
const REDACTED_PATHS = ['apiKey', 'secret', 'clusterSecret', '*.apiKey', '*.secret'];

const STDERR = 2;

/** JSON lines on standard error (or `fileDescriptor`). */
export function createPinoLogger(
  level: LogLevel,
  fields: LogFields,
  fileDescriptor = STDERR,
): Logger {
  const options: LoggerOptions = {
    level,
    base: { ...fields },
    redact: REDACTED_PATHS,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  };
  const destination = pino.destination({ fd: fileDescriptor, sync: true });
  return new PinoBackedLogger(pino(options, destination));
}

class PinoBackedLogger implements Logger {
  readonly #pino: PinoLogger;

  constructor(logger: PinoLogger) {
    this.#pino = logger;
  }

  debug(fields: LogFields, message: string): void {
    this.#pino.debug(fields, message);
  }

  info(fields: LogFields, message: string): void {
    this.#pino.info(fields, message);
  }

  warn(fields: LogFields, message: string): void {
    this.#pino.warn(fields, message);
  }

  error(fields: LogFields, message: string): void {
    this.#pino.error(fields, message);
  }

  child(fields: LogFields): Logger {
    return new PinoBackedLogger(this.#pino.child(fields));
  }
}

/**
 * Assertions stay on in production. They guard against our own bugs, never against user input or
 * disk contents: those are errors (errors.ts). A failed assertion means the process must stop.
 */

export class InvariantViolation extends Error {
  override readonly name = 'InvariantViolation';
  readonly details: Readonly<Record<string, unknown>>;

  constructor(message: string, details: Readonly<Record<string, unknown>> = {}) {
    super(Object.keys(details).length === 0 ? message : `${message} ${formatDetails(details)}`);
    this.details = details;
  }
}

/** Throws `InvariantViolation` with the numbers attached when `condition` is false. */
export function assert(
  condition: boolean,
  message: string,
  details?: Readonly<Record<string, unknown>>,
): asserts condition {
  if (!condition) throw new InvariantViolation(message, details);
}

/** The default branch of an exhaustive switch: fails to compile when a variant is missing. */
export function unreachable(value: never, message = 'unreachable variant'): never {
  throw new InvariantViolation(message, { value });
}

/** Returns `value`, asserting that it is neither null nor undefined. */
export function must<T>(value: T | null | undefined, message = 'value must be present'): T {
  if (value === null || value === undefined) throw new InvariantViolation(message);
  return value;
}

function formatDetails(details: Readonly<Record<string, unknown>>): string {
  return JSON.stringify(details, (_key, value: unknown) => {
    if (typeof value === 'bigint') return `${value}n`;
    if (value instanceof Uint8Array) return `bytes(${value.byteLength})`;
    return value;
  });
}

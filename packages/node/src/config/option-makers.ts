/** What a setting is, and the usual kinds of them. */
import { z } from 'zod';

/** How text of a flag or of the environment becomes a value. */
export type OptionInput = 'text' | 'integer' | 'boolean' | 'peers';

export interface Option<Value> {
  readonly schema: z.ZodType<Value>;
  readonly input: OptionInput;
  /** Undefined: the setting is required, or optional when its schema says so. */
  readonly default: Value | undefined;
  readonly help: string;
  /** Placeholder in `--help`. */
  readonly placeholder: string;
}

export const integer = (min: number, max: number) => z.int().min(min).max(max);

export const text = <Value>(
  schema: z.ZodType<Value>,
  placeholder: string,
  help: string,
  fallback?: Value,
): Option<Value> => ({ schema, input: 'text', default: fallback, help, placeholder });

/** A whole number of `placeholder`, between two bounds. */
const wholeNumber =
  (placeholder: string) =>
  (min: number, max: number, fallback: number, help: string): Option<number> => ({
    ...{ schema: integer(min, max), input: 'integer', default: fallback, help, placeholder },
  });

export const count = wholeNumber('N');
export const bytes = wholeNumber('BYTES');
export const milliseconds = wholeNumber('MS');

export const flag = (help: string, fallback = false): Option<boolean> => ({
  schema: z.boolean(),
  input: 'boolean',
  default: fallback,
  help,
  placeholder: '',
});

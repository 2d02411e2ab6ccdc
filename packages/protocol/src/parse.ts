/** Zod behind the house's error: the first issue becomes a refusal that names the field. */
import type { ErrorCode } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import type { z } from 'zod';

/** Runs a zod schema and turns its first issue into a refusal that names the field. */
export function parse<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  code: ErrorCode = 'REQUEST_INVALID',
): z.infer<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const path = issue === undefined ? '' : issue.path.map(String).join('.');
  const message = issue === undefined ? 'is invalid' : issue.message;
  throw new HoldfastError(code, path === '' ? `message: ${message}` : `${path}: ${message}`, {
    details: { path },
  });
}

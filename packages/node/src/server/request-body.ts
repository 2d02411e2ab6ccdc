/** The JSON body of an HTTP request, of the shape that its route wants. */
import { HoldfastError } from '@holdfast/base';
import type { Context } from 'hono';
import type { z } from 'zod';

/** @throws HoldfastError REQUEST_INVALID: it is no JSON, or not of that shape; names the field */
export async function bodyOf<Body>(context: Context, schema: z.ZodType<Body>): Promise<Body> {
  let body: unknown;
  try {
    body = await context.req.json();
  } catch (cause) {
    throw new HoldfastError('REQUEST_INVALID', 'the body must be JSON', { cause });
  }
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const message = `${issue?.path.join('.') || 'body'}: ${issue?.message ?? 'is invalid'}`;
  throw new HoldfastError('REQUEST_INVALID', message);
}

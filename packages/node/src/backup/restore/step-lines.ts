/**
 * Steps of a restore as lines of JSON, one each: what `restore collections --json` prints, for the
 * node that started it and for programs.
 */
import { HoldfastError, isErrorCode, logIndex } from '@holdfast/base';
import { z } from 'zod';
import type { BesideStep } from './beside-live.ts';
import type { RestoreStep } from './lay-directory.ts';

export type StepLine =
  | { readonly kind: 'step'; readonly step: RestoreStep | BesideStep }
  /** The last one of a command that failed. */
  | { readonly kind: 'failed'; readonly error: HoldfastError };

const count = z.int().min(0);
const target = z.object({ name: z.string(), uid: count });
const error = z
  .object({
    code: z.string().refine(isErrorCode),
    message: z.string(),
    definite: z.boolean(),
    details: z.record(z.string(), z.unknown()),
  })
  .transform(
    ({ code, definite, details, message }) =>
      new HoldfastError(code, message, { details, ...(definite ? {} : { definite: false }) }),
  );
const index = count.transform((value) => logIndex(value));

const lineSchema = z.discriminatedUnion('kind', [
  z.object({
    ...{ kind: z.literal('files'), done: count, total: count },
    ...{ bytesDone: count, bytesTotal: count },
  }),
  z.object({ kind: z.literal('entries'), index, through: index }),
  z.object({ kind: z.literal('done') }),
  z.object({ kind: z.literal('opened'), pointCount: count }),
  z.object({ kind: z.literal('created'), target }),
  z.object({ kind: z.literal('rows'), target, pointCount: count }),
  z.object({
    ...{ kind: z.literal('compared'), target },
    content: z.object({ pointCount: count, digest: z.string() }),
  }),
  z.object({ kind: z.literal('published'), targets: z.array(target) }),
  z.object({ kind: z.literal('purged'), target }),
  z.object({ kind: z.literal('purgeFailed'), target, error }),
  z.object({ kind: z.literal('failed'), error }),
]);

/** Without its end of line. */
export function formatStepLine(line: StepLine): string {
  if (line.kind === 'failed') return JSON.stringify({ ...line, error: line.error.toBody() });
  const { step } = line;
  return JSON.stringify(
    step.kind === 'purgeFailed' ? { ...step, error: step.error.toBody() } : step,
  );
}

/** Null: it is none. */
export function parseStepLine(text: string): StepLine | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  const parsed = lineSchema.safeParse(value);
  if (!parsed.success) return null;
  const line = parsed.data;
  return line.kind === 'failed' ? line : { kind: 'step', step: line };
}
